"""Where all servers of a host stand: each is in exactly one list (R27, R28)."""

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
    """It cannot be planned now, but somebody is at it."""

    server: Server
    message: str
    child: OwnedMigration | None = None


@dataclass(frozen=True, slots=True)
class Blocked:
    """It cannot move before somebody does something."""

    server: Server
    hindrance: Hindrance
    child: OwnedMigration | None = None


@dataclass(slots=True)
class Survey:
    """Where all servers of a host stand. Made by `take_survey`; every step that needs it takes it."""

    host: Host
    #: a VMMigration of ours moves them now; a server that has left the host already may be among them
    moving: list[tuple[OwnedMigration, Server | None]] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)
    blocked: list[Blocked] = field(default_factory=list)
    #: they have left the host, but their VMMigrations need a person; they do not keep the host from being empty
    astray: list[Blocked] = field(default_factory=list)
    #: they stay, because the spec says so
    staying: list[Server] = field(default_factory=list)
    #: they can go, in the order in which they should start
    planned: list[Planned] = field(default_factory=list)
    #: ids of those that have left with a VMMigration of this round, with it
    moved: dict[str, OwnedMigration] = field(default_factory=dict)
    #: by server id: which limit keeps a planned one from starting
    limited: dict[str, str] = field(default_factory=dict)
    #: open migration records of this host that Nova no longer works on
    leftovers: list[Migration] = field(default_factory=list)
    too_full: str | None = None
    #: a move whose name another object has, which was not tried again for a while
    retry: CreateObject[VMMigrationSpec] | None = None
    #: the next back-off of a failed try ends then
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
        """The reason and the words of what stands in the way, None: nothing does."""
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
