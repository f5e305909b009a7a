"""The drain plan: which server goes where, chosen together, and in which order (R26, R27, R30, I18, I22-I25)."""

from __future__ import annotations

from dataclasses import dataclass

from vmferry.cloud.model import MigrationKind, Server
from vmferry.planning.request import Request
from vmferry.prerequisites.frame import Finding


@dataclass(frozen=True, slots=True)
class Leaving:
    """A server that has to leave the host, and how."""

    server: Server
    #: its target is the one host that is allowed, None: any
    request: Request
    kind: MigrationKind
    #: hosts that a try failed on
    avoid: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Planned:
    """A server that can go, and where to."""

    leaving: Leaving
    target: str
    #: why it cannot start yet although a limit admits it: another member of its server group goes first, room is
    #: still being freed; None: it can
    waits: str | None = None


@dataclass(frozen=True, slots=True)
class Stuck:
    """A server that cannot go."""

    leaving: Leaving
    #: what stands against it, the most telling first; never empty
    against: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class DrainPlan:
    #: in the order in which they should start
    planned: tuple[Planned, ...]
    #: by the server's name, then id
    stuck: tuple[Stuck, ...]
    #: why the rest of the cluster would be too full afterwards (I22); None: it would not
    too_full: str | None = None
