"""What a prerequisite is: one question, one function, one finding.

A check is a pure function of a `Question`. It never raises for what the cloud says, and it never guesses: what
the cloud does not report is `Unknown` (R19).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from vmferry.cloud.model import Host, Migration, OperatingSystem, ResolvedType, Server, ServerGroup, Snapshot
from vmferry.policy import Policy
from vmferry.prerequisites.enums import Name, Reason, Result


@dataclass(frozen=True, slots=True)
class PlannedMove:
    """A move that was decided but that Nova's figures may not show yet (R16)."""

    server_id: str
    type: ResolvedType
    source_host: str
    target_host: str
    #: by Placement resource class
    needs: dict[str, int]
    #: when it was decided: figures read later than Nova's claim already contain it
    decided_at: datetime
    #: for a queued move without a fixed target: its alternative hosts, best first; None: its target is fixed
    elsewhere: tuple[str, ...] | None = None
    #: its server was stopped for it, and is not on its way yet
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class OSUpgradeMove:
    """A server's one-way move to a newer operating system (R22)."""

    server_id: str
    source: OperatingSystem
    target: OperatingSystem
    #: who moved it, for people: `VMMigration migrations/web-1`
    by: str


@dataclass(frozen=True, slots=True)
class BrokenServer:
    """An attempt of ours that left a server in ERROR, and was the last one of that server."""

    #: for people: `VMMigration migrations/web-1`
    by: str
    attempt: int
    type: ResolvedType
    source: str
    target: str
    at: datetime
    #: what the cloud said
    message: str


@dataclass(frozen=True, slots=True)
class Question:
    """May `server` be moved by `type` from `source` to `target`?"""

    server: Server
    type: ResolvedType
    #: None: the server is on no host, or on one that the cloud does not list
    source: Host | None
    #: None only for checks about the server itself
    target: Host | None
    snapshot: Snapshot
    policy: Policy
    now: datetime
    #: the group that the server is in, None: in none
    group: ServerGroup | None
    #: the types of the server's ports that are not `normal` ones, None: unknown (`Snapshot.ports_of`)
    ports: tuple[str, ...] | None
    #: moves of other requests, decided or in flight
    moves: tuple[PlannedMove, ...]
    #: queued moves of other requests that are earlier in the queue than this one
    earlier: Sequence[PlannedMove]
    #: Cold: the request asks for a graceful stop first (R5)
    stop_if_running: bool
    #: the host whose death the request attests, None: it attests none (I12, I38)
    attested: str | None
    #: this move may cross to a newer version (R22)
    os_upgrade: bool
    #: hosts in, entering or queued for maintenance (I18)
    in_maintenance: frozenset[str]
    #: by server id: the furthest OS upgrade move of each server (R22)
    os_upgrades: Mapping[str, OSUpgradeMove]
    #: set if an attempt of ours left the server in ERROR
    broken: BrokenServer | None

    @property
    def os_upgrade_of_server(self) -> OSUpgradeMove | None:
        """The furthest OS upgrade move of this server."""
        return self.os_upgrades.get(self.server.id)

    @property
    def server_is_moving(self) -> bool:
        """Whether the server itself may be among the moves and migrations: who counts them has to leave it out."""
        moving = self.snapshot.derived.once(_moving, self.snapshot.migrations, self.moves, self.earlier)
        return self.server.id in moving


def _moving(
    migrations: Mapping[str, Migration], moves: Sequence[PlannedMove], earlier: Sequence[PlannedMove]
) -> frozenset[str]:
    return frozenset([one.server_id for some in (migrations.values(), moves, earlier) for one in some])


#: whether a host is alive is never taken for granted, whatever a policy says (I12, I36)
_ALIVE = (Name.SOURCE_HOST, Name.TARGET_HOST)


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer: what was found, where, and what to do about it (R20)."""

    name: Name
    result: Result
    message: str
    reason: Reason | None = None
    host: str | None = None
    remedy: str | None = None
    #: it fails only for as long as other moves last: the request waits in the queue meanwhile
    waits: bool = False

    def blocks(self, policy: Policy) -> bool:
        if self.result is Result.UNKNOWN:
            return self.name in _ALIVE or self.name not in policy.tolerate_unknown
        return self.result is Result.FAILED


class About(Enum):
    """Whether a check needs a target to be answered."""

    SERVER = "server"
    TARGET = "target"


@dataclass(frozen=True, slots=True)
class Prerequisite:
    name: Name
    about: About
    check: Callable[[Question], Finding]


def passed(name: Name, message: str, host: str | None = None) -> Finding:
    return Finding(name, Result.PASSED, message, host=host)


def failed(
    name: Name, reason: Reason, message: str, remedy: str, host: str | None = None, *, waits: bool = False
) -> Finding:
    return Finding(name, Result.FAILED, message, reason, host, remedy, waits)


def unknown(name: Name, message: str, remedy: str, host: str | None = None) -> Finding:
    return Finding(name, Result.UNKNOWN, message, Reason.FACT_UNKNOWN, host, remedy)


def not_applicable(name: Name, message: str) -> Finding:
    return Finding(name, Result.NOT_APPLICABLE, message)


#: what to say of a server that is on no host, and what to do about it
ON_NO_HOST = "the server is on no host"
PLACE_IT = "unshelve or start it: the scheduler will place it"


def seconds(span: timedelta) -> str:
    """A short, stable text for a span of time."""
    return f"{int(span.total_seconds())} s"
