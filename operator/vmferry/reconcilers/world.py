"""What is true now, as far as it is known: all that a reconciler decides from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from vmferry.cloud.model import Snapshot
from vmferry.planning.breaker import Breakers
from vmferry.planning.request import Others
from vmferry.planning.targets import AssessHosts, assess_hosts
from vmferry.prerequisites.check import BrokenServer, OSUpgradeMove, PlannedMove
from vmferry.reconcilers.host_claims import Claim
from vmferry.reconcilers.kill_switch import KillSwitchState
from vmferry.reconcilers.owned import Owned, Owner
from vmferry.reconcilers.reads import Answer, Read
from vmferry.reconcilers.refused_writes import Refusal


@dataclass(frozen=True, slots=True)
class World:
    snapshot: Snapshot
    #: decided moves of the other resources
    moves: tuple[PlannedMove, ...] = ()
    #: moves of queued resources that go before this one: higher priority, or the same and older
    earlier: Sequence[PlannedMove] = ()
    in_maintenance: frozenset[str] = frozenset()
    #: by server id: the furthest one-way move to a newer operating system that any resource remembers (R22)
    os_upgrades: Mapping[str, OSUpgradeMove] = field(default_factory=dict)
    #: what keeps moves from being started after common failures (I37)
    breakers: Breakers = field(default_factory=Breakers)
    #: by server id: servers that our own attempts left in ERROR
    broken: Mapping[str, BrokenServer] = field(default_factory=dict)
    #: the objects that the resource owns, of any kind
    owned: tuple[Owned, ...] = ()
    #: the object that the resource's ownerReference names, if it is there
    owner: Owner | None = None
    #: writes for this resource that Kubernetes has refused when they were last tried
    refusals: tuple[Refusal, ...] = ()
    #: what the other HostMaintenances claim
    claims: tuple[Claim, ...] = ()
    #: the kill switch (I31)
    kill_switch: KillSwitchState = field(default_factory=KillSwitchState)
    #: how targets are judged: `assess_hosts`, or what remembers its answers
    assess_hosts: AssessHosts = assess_hosts
    #: why a read that this pass asked for failed, None: none did; see `reported` of the scopes
    unread: str | None = None
    #: what was read for this decision, in its order
    answers: tuple[tuple[Read[Any], Any], ...] = ()

    def answer(self, read: type[Read[Answer]]) -> Answer | None:
        """The last answer to a read of that type, None: nothing of it was read for this decision."""
        return next((answer for asked, answer in reversed(self.answers) if isinstance(asked, read)), None)

    def with_answer(self, read: Read[Answer], answer: Answer) -> World:
        return replace(self, answers=(*self.answers, (read, answer)))

    def others(self, moves: tuple[PlannedMove, ...], earlier: Sequence[PlannedMove]) -> Others:
        """What a move of this resource has to respect, with those of the other moves that count for it."""
        return Others(moves, earlier, self.in_maintenance, self.os_upgrades, self.broken)
