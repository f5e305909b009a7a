"""Requests to the cloud and their outcomes, as plain data: decided in `reconcilers`, sent by `cloud.nova`."""

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
    #: the server ran before and must run again; else it stays powered off without booting in between (2.95, I15)
    start: bool = False


@dataclass(frozen=True, slots=True)
class StopServer:
    """`os-stop`: a graceful shutdown; Nova powers the server off only after the image's shutdown timeout."""

    server_id: str


@dataclass(frozen=True, slots=True)
class StartServer:
    """`os-start`."""

    server_id: str


@dataclass(frozen=True, slots=True)
class ConfirmResize:
    """`confirmResize` of a cold migration that this operator requested (I7)."""

    server_id: str


@dataclass(frozen=True, slots=True)
class AbortMigration:
    """Abort a live migration that this operator requested (I9), also a queued one (2.65)."""

    server_id: str
    migration_id: int


@dataclass(frozen=True, slots=True)
class ForceComplete:
    """Make a running live migration converge, by post-copy or by pausing the server (2.22)."""

    server_id: str
    migration_id: int


@dataclass(frozen=True, slots=True)
class DisableService:
    """Cordon: disable the service so that the scheduler avoids the host (`PUT /os-services/{id}`, 2.53)."""

    service_id: str
    #: for people and logs; the request uses the id
    host: str
    #: at most 255 characters
    reason: str


@dataclass(frozen=True, slots=True)
class EnableService:
    """Undo this operator's cordon (I8); a forced-down mark stays as it is."""

    service_id: str
    host: str


#: prefix of the disabled reason of each service that this operator disables
OUR_REASON = "vmferry HostMaintenance "

#: actions that change a server
ServerAction = (
    LiveMigrate | ColdMigrate | Evacuate | StopServer | StartServer | ConfirmResize | AbortMigration | ForceComplete
)
#: actions that change a compute service
HostAction = DisableService | EnableService
Action = ServerAction | HostAction

#: the actions that start a migration; no such request is ever repeated without checking its effect (I3)
Move = LiveMigrate | ColdMigrate | Evacuate


@dataclass(frozen=True, slots=True)
class Accepted:
    """Nova answered 2xx."""

    request_id: str | None


@dataclass(frozen=True, slots=True)
class Refused:
    """Nova answered 4xx, or a 5xx that shows that it did not accept the request; `message` is Nova's own text."""

    code: int
    message: str
    request_id: str | None


@dataclass(frozen=True, slots=True)
class Unanswered:
    """No answer, or one that does not show the effect (timeout, reset, 5xx): read the effect, never repeat (I4)."""

    message: str
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class NotSent:
    """The operator itself withheld the request at the last moment (I31, I32); Nova did not receive it."""

    message: str
    request_id: None = None


@dataclass(frozen=True, slots=True)
class NotNow:
    """Certainly not done, because of a rate limit, a busy server or a token that cannot be renewed yet (I40).

    It does not count as an attempt, nor against a host; the request may be repeated after `retry_after` seconds.
    """

    message: str
    retry_after: float
    request_id: str | None = None


Outcome = Accepted | Refused | Unanswered | NotSent | NotNow
