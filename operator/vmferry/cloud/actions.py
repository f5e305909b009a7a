"""What may be asked of the cloud, and what comes back. Plain data: decided in `reconcilers`, done by `cloud.nova`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LiveMigrate:
    """`os-migrateLive`, with `block_migration: auto`; the scheduler validates the host (2.30, I19)."""

    server_id: str
    target_host: str


@dataclass(frozen=True, slots=True)
class ColdMigrate:
    """`migrate`; the scheduler validates the host (2.56)."""

    server_id: str
    target_host: str


@dataclass(frozen=True, slots=True)
class Evacuate:
    """`evacuate`; the scheduler validates the host (2.29)."""

    server_id: str
    target_host: str
    #: it ran before, so it is to run again; else it stays powered off (2.95) without booting in between (I15)
    start: bool = False


@dataclass(frozen=True, slots=True)
class StopServer:
    """`os-stop`: graceful, Nova powers off only after the image's shutdown timeout."""

    server_id: str


@dataclass(frozen=True, slots=True)
class StartServer:
    """`os-start`."""

    server_id: str


@dataclass(frozen=True, slots=True)
class ConfirmResize:
    """`confirmResize` of a cold migration that is ours (I7)."""

    server_id: str


@dataclass(frozen=True, slots=True)
class AbortMigration:
    """Abort a live migration that is ours (I9); queued ones too (2.65)."""

    server_id: str
    migration_id: int


@dataclass(frozen=True, slots=True)
class ForceComplete:
    """Make a running live migration converge, by post-copy or a pause (2.22)."""

    server_id: str
    migration_id: int


@dataclass(frozen=True, slots=True)
class DisableService:
    """Cordon: the scheduler places nothing new on the host (`PUT /os-services/{id}`, 2.53)."""

    service_id: str
    #: for people and logs; the id decides
    host: str
    #: at most 255 characters
    reason: str


@dataclass(frozen=True, slots=True)
class EnableService:
    """Undo a cordon of ours (I8); a forced-down mark stays as it is."""

    service_id: str
    host: str


#: what changes a server
#: how the reason of each service that this operator disables begins
OUR_REASON = "vmferry HostMaintenance "

ServerAction = (
    LiveMigrate | ColdMigrate | Evacuate | StopServer | StartServer | ConfirmResize | AbortMigration | ForceComplete
)
#: what changes a compute service
HostAction = DisableService | EnableService
Action = ServerAction | HostAction

#: the actions that start a migration: never sent twice, never blindly (I3)
Move = LiveMigrate | ColdMigrate | Evacuate


@dataclass(frozen=True, slots=True)
class Accepted:
    """Nova answered 2xx."""

    request_id: str | None


@dataclass(frozen=True, slots=True)
class Refused:
    """Nova answered 4xx or a 5xx that says the request was not taken; `message` is Nova's own text."""

    code: int
    message: str
    request_id: str | None


@dataclass(frozen=True, slots=True)
class Unanswered:
    """No answer, or one that says nothing of the effect (time-out, reset, 5xx): look it up, never repeat (I4)."""

    message: str
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class NotSent:
    """We forbade it ourselves at the last moment (I31, I32): Nova was not asked."""

    message: str
    request_id: None = None


@dataclass(frozen=True, slots=True)
class NotNow:
    """Certainly not done, because of a rate limit, a busy server or a token that is not renewed (I40).

    It uses up no attempt and blames no host; the request may be made again after `retry_after` seconds.
    """

    message: str
    retry_after: float
    request_id: str | None = None


Outcome = Accepted | Refused | Unanswered | NotSent | NotNow
