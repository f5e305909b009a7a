"""The parameters of a move request, from a VMMigration or the command line, and the question for the checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from vmferry.cloud.model import Host, ResolvedType, Server, Snapshot
from vmferry.planning.choose_type import Choice, TypeReason, choose_type
from vmferry.policy import Policy
from vmferry.prerequisites.check import BrokenServer, OSUpgradeMove, PlannedMove, Question
from vmferry.resources.words import MigrationType


@dataclass(frozen=True, slots=True)
class Others:
    """What a move must know of other requests. There are no defaults, so that no caller can forget a field."""

    #: moves that are decided or in flight
    moves: tuple[PlannedMove, ...]
    #: queued moves that are earlier in the queue
    earlier: Sequence[PlannedMove]
    #: hosts in, entering or queued for maintenance (I18)
    in_maintenance: frozenset[str]
    #: by server id: the furthest OS upgrade move of each server (R22)
    os_upgrades: Mapping[str, OSUpgradeMove]
    #: by server id: servers that this operator's own attempts left in ERROR
    broken: Mapping[str, BrokenServer]


#: for callers that know of no other requests, such as the command line
NO_OTHERS = Others((), (), frozenset(), {}, {})


@dataclass(frozen=True, slots=True)
class Request:
    """The parameters of a server's move; the fields are those of a VMMigration's spec."""

    type: MigrationType = MigrationType.AUTO
    #: compute service host name or hypervisor UUID; None: the best eligible host
    target: str | None = None
    stop_if_running: bool = False
    os_upgrade: bool = False
    #: Evacuate only: the host that the request attests as dead (I38). No type implies it, so there is no default
    attested: str | None = field(kw_only=True)

    def resolved_type(self, server: Server, source: Host | None) -> Choice:
        """The type in force for the server in its current state (R7)."""
        if self.type is not MigrationType.AUTO:
            return Choice(ResolvedType(self.type.value), TypeReason.REQUESTED, f"{self.type.value} was asked for")
        return choose_type(server, source)

    def question(
        self,
        server: Server,
        type_: ResolvedType,
        snapshot: Snapshot,
        policy: Policy,
        now: datetime,
        others: Others,
    ) -> Question:
        """The question to check on all hosts, or on the named one."""
        return Question(
            server=server,
            type=type_,
            source=source_of(server, snapshot),
            target=None,
            snapshot=snapshot,
            policy=policy,
            now=now,
            group=snapshot.group_of(server.id),
            ports=snapshot.ports_of(server.id),
            moves=others.moves,
            earlier=others.earlier,
            stop_if_running=self.stop_if_running,
            attested=self.attested if self.type is MigrationType.EVACUATE else None,
            os_upgrade=self.os_upgrade,
            in_maintenance=others.in_maintenance,
            os_upgrades=others.os_upgrades,
            broken=others.broken.get(server.id),
        )

    def is_met(self, server: Server, type_: ResolvedType, source: Host | None) -> bool:
        """Whether the server is already on the requested host and idle."""
        if self.target is None or type_ is ResolvedType.EVACUATE or source is None:
            return False
        return source.answers_to(self.target) and server.task_state is None


def source_of(server: Server, snapshot: Snapshot) -> Host | None:
    """The server's host; None: it is on none, or on a host that the cloud does not list."""
    return snapshot.hosts.get(server.host) if server.host else None
