"""Types of the prerequisite checks: each is one function from a question to a finding.

A check is a pure function of a `Question`. It never raises because of what the cloud reports, and it never guesses:
what the cloud does not report is `Unknown` (R19).
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
    """A move that was decided but that Placement's figures may not include yet (R16)."""

    server_id: str
    type: ResolvedType
    source_host: str
    target_host: str
    #: by Placement resource class
    needs: dict[str, int]
    #: when it was decided: figures read after Nova's claim already include it
    decided_at: datetime
    #: for a queued move without a fixed target: its alternative hosts, best first; None: its target is fixed
    elsewhere: tuple[str, ...] | None = None
    #: its server was shut down for it, and the migration has not started yet
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class OSUpgradeMove:
    """A server's one-way move to a newer operating system (R22)."""

    server_id: str
    source: OperatingSystem
    target: OperatingSystem
    #: the resource that moved it, for people: `VMMigration migrations/web-1`
    by: str


@dataclass(frozen=True, slots=True)
class BrokenServer:
    """The last attempt of a server, if it was this operator's and left the server in ERROR."""

    #: the resource that made the attempt, for people: `VMMigration migrations/web-1`
    by: str
    attempt: int
    type: ResolvedType
    source: str
    target: str
    at: datetime
    #: the cloud's error text
    message: str


@dataclass(frozen=True, slots=True)
class Question:
    """Whether `server` may be moved by `type` from `source` to `target`."""

    server: Server
    type: ResolvedType
    #: None: the server is on no host, or on one that the cloud does not list
    source: Host | None
    #: None only for checks about the server itself
    target: Host | None
    snapshot: Snapshot
    policy: Policy
    now: datetime
    #: the server's group, None: it has none
    group: ServerGroup | None
    #: the types of the server's ports other than `normal`, None: unknown (`Snapshot.ports_of`)
    ports: tuple[str, ...] | None
    #: moves of other requests, decided or in flight
    moves: tuple[PlannedMove, ...]
    #: queued moves of other requests that are earlier in the queue than this one
    earlier: Sequence[PlannedMove]
    #: Cold: the request includes a graceful shutdown first (R5)
    stop_if_running: bool
    #: the host that the request attests as dead, None: none (I12, I38)
    attested: str | None
    #: the move may go to a newer operating system or hypervisor (R22)
    os_upgrade: bool
    #: hosts in, entering or queued for maintenance (I18)
    in_maintenance: frozenset[str]
    #: by server id: the furthest OS upgrade move of each server (R22)
    os_upgrades: Mapping[str, OSUpgradeMove]
    #: set if an attempt of this operator left the server in ERROR
    broken: BrokenServer | None

    @property
    def os_upgrade_of_server(self) -> OSUpgradeMove | None:
        """The furthest OS upgrade move of this server."""
        return self.os_upgrades.get(self.server.id)

    @property
    def server_is_moving(self) -> bool:
        """Whether this server may be among the moves and migrations; code that counts these must then leave it out."""
        moving = self.snapshot.derived.once(_moving, self.snapshot.migrations, self.moves, self.earlier)
        return self.server.id in moving


def _moving(
    migrations: Mapping[str, Migration], moves: Sequence[PlannedMove], earlier: Sequence[PlannedMove]
) -> frozenset[str]:
    return frozenset([one.server_id for some in (migrations.values(), moves, earlier) for one in some])


#: checks of whether a host is alive: `tolerateUnknown` never applies to them (I12, I36)
_ALIVE = (Name.SOURCE_HOST, Name.TARGET_HOST)


@dataclass(frozen=True, slots=True)
class Finding:
    """A check's result: what it found, on which host, and what to do about it (R20)."""

    name: Name
    result: Result
    message: str
    reason: Reason | None = None
    host: str | None = None
    remedy: str | None = None
    #: it fails only until other moves end, so the request waits in the queue
    waits: bool = False

    def blocks(self, policy: Policy) -> bool:
        if self.result is Result.UNKNOWN:
            return self.name in _ALIVE or self.name not in policy.tolerate_unknown
        return self.result is Result.FAILED


class About(Enum):
    """Whether a check is about the server itself or needs a target."""

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


#: message and remedy for a server that is on no host
ON_NO_HOST = "the server is on no host"
PLACE_IT = "unshelve or start it: the scheduler will place it"


def seconds(span: timedelta) -> str:
    """A short, stable text for a time span."""
    return f"{int(span.total_seconds())} s"
