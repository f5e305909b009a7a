"""The known facts: the input of a reconciler besides the object, the time and the policy."""

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
    #: decided moves of the other objects
    moves: tuple[PlannedMove, ...] = ()
    #: moves earlier in the queue: of higher priority, or of the same priority and older
    earlier: Sequence[PlannedMove] = ()
    in_maintenance: frozenset[str] = frozenset()
    #: by server id: the one-way move to the newest operating system that any object records (R22)
    os_upgrades: Mapping[str, OSUpgradeMove] = field(default_factory=dict)
    #: the breakers, which prevent moves after common failures (I37)
    breakers: Breakers = field(default_factory=Breakers)
    #: by server id: servers that the operator's own attempts left in ERROR
    broken: Mapping[str, BrokenServer] = field(default_factory=dict)
    #: the objects of any kind that this object owns
    owned: tuple[Owned, ...] = ()
    #: the object that the ownerReference names, if it exists
    owner: Owner | None = None
    #: writes for this object that Kubernetes refused at the last try
    refusals: tuple[Refusal, ...] = ()
    #: the claims of the other HostMaintenances
    claims: tuple[Claim, ...] = ()
    #: the kill switch (I31)
    kill_switch: KillSwitchState = field(default_factory=KillSwitchState)
    #: the function that assesses targets: `assess_hosts`, or a version of it that caches results
    assess_hosts: AssessHosts = assess_hosts
    #: why a read that this reconcile requested failed; None if none failed (see `reported` of the scopes)
    unread: str | None = None
    #: the reads for this decision with their answers, in order
    answers: tuple[tuple[Read[Any], Any], ...] = ()

    def answer(self, read: type[Read[Answer]]) -> Answer | None:
        """The last answer to a read of that type; None if no such read was carried out for this decision."""
        return next((answer for asked, answer in reversed(self.answers) if isinstance(asked, read)), None)

    def with_answer(self, read: Read[Answer], answer: Answer) -> World:
        return replace(self, answers=(*self.answers, (read, answer)))

    def others(self, moves: tuple[PlannedMove, ...], earlier: Sequence[PlannedMove]) -> Others:
        """The facts about other moves that a move of this object must respect."""
        return Others(moves, earlier, self.in_maintenance, self.os_upgrades, self.broken)
