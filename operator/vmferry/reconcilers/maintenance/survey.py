"""The state of all servers of a host: each server is in exactly one list (R27, R28)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from vmferry.cloud.model import Host, Migration, Server
from vmferry.planning.drain.plan import Planned
from vmferry.prerequisites.enums import Reason
from vmferry.reconcilers.owned import CreateObject
from vmferry.reconcilers.owned_migrations import Hindrance, OwnedMigration
from vmferry.resources.documented import PassedOn, ReasonWord
from vmferry.resources.vmmigration import VMMigrationSpec


@dataclass(frozen=True, slots=True)
class Waiting:
    """A server that cannot be planned now, but is expected to change without intervention."""

    server: Server
    message: str
    child: OwnedMigration | None = None


@dataclass(frozen=True, slots=True)
class Blocked:
    """A server that cannot move without intervention."""

    server: Server
    hindrance: Hindrance
    child: OwnedMigration | None = None


@dataclass(slots=True)
class Survey:
    """The state of all servers of a host. `take_survey` creates it; steps that need it take it as an argument."""

    host: Host
    #: servers that an owned migration moves now, including servers that have already left the host
    moving: list[tuple[OwnedMigration, Server | None]] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)
    blocked: list[Blocked] = field(default_factory=list)
    #: servers that have left the host, but whose VMMigrations need a person; they do not keep the host from being empty
    astray: list[Blocked] = field(default_factory=list)
    #: servers that stay, as the spec requires
    staying: list[Server] = field(default_factory=list)
    #: servers that can move, in the order in which their moves should start
    planned: list[Planned] = field(default_factory=list)
    #: by server id: the migration of this maintenance that moved the server away
    moved: dict[str, OwnedMigration] = field(default_factory=dict)
    #: by server id: the limit that delays a planned move
    limited: dict[str, str] = field(default_factory=dict)
    #: open migration records of this host that Nova no longer works on
    leftovers: list[Migration] = field(default_factory=list)
    too_full: str | None = None
    #: a move whose name another object has, to be tried again because the last refusal is old
    retry: CreateObject[VMMigrationSpec] | None = None
    #: when the next back-off of a failed try ends
    next_try: datetime | None = None

    @property
    def outstanding(self) -> int:
        return len(self.moving) + len(self.waiting) + len(self.blocked) + len(self.planned)

    @property
    def to_leave(self) -> int:
        return self.outstanding + len(self.astray) + len(self.moved)

    @property
    def total(self) -> int:
        return self.to_leave + len(self.staying)

    def first_blocker(self) -> tuple[ReasonWord, str] | None:
        """The reason and message of the first blocker; None if there is none."""
        if self.too_full is not None:
            return Reason.INSUFFICIENT_CAPACITY, self.too_full
        if not self.blocked:
            return self.first_astray()
        first = self.blocked[0]
        how_many = f"{len(self.blocked)} of {self.to_leave} servers cannot move"
        return PassedOn(first.hindrance.reason), f"{how_many}: {first.server.name}: {first.hindrance.message}"

    def first_astray(self) -> tuple[ReasonWord, str] | None:
        if not self.astray:
            return None
        first = self.astray[0]
        how_many = f"{len(self.astray)} of {self.to_leave} servers have left and need a person"
        return PassedOn(first.hindrance.reason), f"{how_many}: {first.server.name}: {first.hindrance.message}"
