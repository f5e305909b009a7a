"""The drain plan: a target for each server, chosen together, and the order of the moves (R26, R27, R30, I18, I22-I25).

Every prerequisite is checked for each server. The remaining hosts are then assigned so that all moves fit together in
any order: hardest server first (fewest hosts, then the biggest share of all hosts' resources), each to the best host by
`targets.rank`. If a server finds no host, a server placed before may be displaced to another host. The plan is not
optimal, but each server that cannot move has a reason and a remedy.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from vmferry.cloud.model import ResolvedType, Server, ServerGroup, Snapshot
from vmferry.planning import targets
from vmferry.planning.drain.capacity import FreeCapacity
from vmferry.planning.drain.choice import APART, BEHIND, Pool, ServerToPlace
from vmferry.planning.drain.groups import HARD, Members, in_flight
from vmferry.planning.drain.order import in_turn
from vmferry.planning.host_assessments import HostAssessments
from vmferry.planning.limits import full
from vmferry.planning.request import Others, Request
from vmferry.policy import Limits, Policy
from vmferry.prerequisites import aggregate_rules
from vmferry.prerequisites.chains import CHAINS
from vmferry.prerequisites.check import About, Finding, PlannedMove, Question, failed
from vmferry.prerequisites.enums import Name, Reason

#: how many placed servers are considered for displacement in favour of a server that found no host
_DISPLACED = 30
#: maximum number of hosts that a message names
_NAMED = 3
#: placeholder time of a move that is not decided yet; limits do not use it
_SOME_TIME = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Departure:
    """A server that has to leave the host, and how it moves."""

    server: Server
    #: its target is the only allowed host; None: any host
    request: Request
    type: ResolvedType
    #: hosts on which an attempt failed
    avoid: frozenset[str] = frozenset()
    #: hosts that refused a similar server: used only if no other host is possible
    behind: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Planned:
    """A server that can move, and its target."""

    departure: Departure
    target: str
    #: why it cannot start yet even if the limits allow it: another member of its server group goes first, or capacity
    #: is still being freed; None: it can start
    waits: str | None = None
    #: it waits only for earlier members of its server group in this plan: if they cannot start, it may
    behind: bool = False


@dataclass(frozen=True, slots=True)
class Stuck:
    """A server that cannot move."""

    departure: Departure
    #: the findings that block it, most important first; never empty
    against: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class DrainPlan:
    #: in the order in which they should start
    planned: tuple[Planned, ...]
    #: by the server's name, then id
    stuck: tuple[Stuck, ...]
    #: why the availability zone's other hosts would be too full afterwards (I22); None: they would not
    too_full: str | None = None


def plan_drain(
    leaving: Sequence[Departure],
    snapshot: Snapshot,
    policy: Policy,
    now: datetime,
    others: Others,
    *,
    ignore_headroom: bool,
) -> DrainPlan:
    """Plan the moves of one host's servers, none of which has an open move. `others.moves` are all other moves."""
    if not leaving:
        return DrainPlan((), ())
    ids = {one.server.id for one in leaving}
    # only groups with a leaving member are kept, so that no server's lookup has to search the others
    view = snapshot.variant(
        server_groups=tuple(group for group in snapshot.server_groups if not ids.isdisjoint(group.members)),
    )
    asked = [
        (
            one,
            one.request.question(one.server, one.type, view, policy, now, others),
        )
        for one in sorted(leaving, key=lambda one: (one.server.name, one.server.id))
    ]
    return _Draft(asked).plan(ignore_headroom)


class _Draft:
    """A plan while it is being made."""

    def __init__(self, asked: list[tuple[Departure, Question]]) -> None:
        #: by name, then id
        self._asked = asked
        self._first = asked[0][1]
        self._capacity = FreeCapacity(self._first)
        self._moves = {move.server_id: move for move in self._first.moves}
        self._pools: dict[Hashable, Pool] = {}
        #: hosts whose aggregates have rules; below, which of them may refuse a server
        self._ruled = aggregate_rules.ruled(self._first.source, self._capacity.hosts.values())
        self._refusing: dict[Hashable, frozenset[str]] = {}
        self._members: dict[str, Members] = {}
        self._host_assessments = HostAssessments()
        #: why a placed server has to wait, by server id
        self._waits: dict[str, str | None] = {}
        #: pools of servers without a group for which neither a host nor a displacement was found since the last swap
        self._hopeless: set[Pool] = set()
        #: placed servers by target host, in the order of placement
        self._on: defaultdict[str, list[ServerToPlace]] = defaultdict(list)

    def plan(self, ignore_headroom: bool) -> DrainPlan:
        stuck: list[Stuck] = []
        candidates: list[tuple[Departure, ServerToPlace]] = []
        for one, question in self._asked:
            if _own_blocker(question):
                stuck.append(Stuck(one, self._against(one, question)))
                continue
            candidate = self._to_place(one, question)
            if candidate.choices():
                candidates.append((one, candidate))
            else:
                stuck.append(Stuck(one, self._nowhere(one, candidate)))
        left: list[tuple[Departure, ServerToPlace]] = []
        hardness = {one.server.id: (one.choices(), -self._capacity.weight(one.pool.needs)) for _, one in candidates}
        for one, candidate in sorted(candidates, key=lambda pair: hardness[pair[1].server.id]):
            if not self._settle(candidate) and not self._displace_another(candidate):
                left.append((one, candidate))
        stuck += [Stuck(one, self._left_over(one, candidate)) for one, candidate in left]
        leaving = {one.server.id: one for one, _ in self._asked}
        placed = [candidate for _, candidate in candidates if candidate.target is not None]
        return DrainPlan(
            planned=self._in_order(placed, leaving),
            stuck=tuple(sorted(stuck, key=lambda s: (s.departure.server.name, s.departure.server.id))),
            too_full=None if ignore_headroom else self._too_full(),
        )

    # ---- possible hosts

    def _to_place(self, one: Departure, question: Question) -> ServerToPlace:
        takers = self._host_assessments.takers(question, APART)
        allowed = None if one.request.target is None else self._first.snapshot.find_host(one.request.target)
        named = allowed.name if allowed is not None else one.request.target
        needs = one.server.needs
        behind = self._may_refuse(question) | one.behind
        key = (takers, named, one.avoid, behind, tuple(sorted(needs.items())))
        if key not in self._pools:
            tiers = {
                name: tier + BEHIND * (name in behind)
                for name, tier in takers.tiers()
                if name not in one.avoid and named in (None, name)
            }
            self._pools[key] = Pool(tiers, needs, self._capacity)
        return ServerToPlace(question, self._pools[key], self._members_of(question))

    def _may_refuse(self, question: Question) -> frozenset[str]:
        """Hosts whose aggregates have a rule by which Nova may refuse the server."""
        if not self._ruled:
            return frozenset()
        server = question.server
        specs = tuple(sorted(server.flavor.extra_specs.items()))
        properties = tuple(sorted((server.image_properties or {}).items()))
        key = (server.project_id, server.flavor.name, specs, properties, server.host)
        if key not in self._refusing:
            self._refusing[key] = frozenset(
                host.name for host in self._ruled if aggregate_rules.may_refuse(replace(question, target=host))
            )
        return self._refusing[key]

    def _members_of(self, question: Question) -> Members | None:
        group = question.group
        if group is None:
            return None
        if group.id not in self._members:
            self._members[group.id] = Members(group, question.server.host, question.snapshot, self._moves)
        return self._members[group.id]

    # ---- placing servers

    def _settle(self, candidate: ServerToPlace, but: str | None = None) -> bool:
        """Place the server on the best host that can take it."""
        while (target := candidate.best(but)) is not None:
            if self._takes(candidate, target):
                self._place(candidate, target)
                return True
        return False

    def _takes(self, candidate: ServerToPlace, target: str) -> bool:
        """Run every prerequisite for this server and host; findings that only wait are kept as the reason to wait."""
        found = targets.judge(candidate.question, self._capacity.hosts[target])
        if any(not finding.waits for finding in found.against):
            candidate.refused.add(target)
            return False
        self._waits[candidate.server.id] = "; ".join(f.message for f in found.against) or None
        return True

    def _place(self, candidate: ServerToPlace, target: str) -> None:
        candidate.place(self._capacity, target)
        self._on[target].append(candidate)

    def _release(self, candidate: ServerToPlace) -> None:
        assert candidate.target is not None
        self._on[candidate.target].remove(candidate)
        candidate.release(self._capacity)

    def _displace_another(self, candidate: ServerToPlace) -> bool:
        """Move a server placed before to another host, and take its place."""
        pool, members = candidate.pool, candidate.members
        if members is None and pool in self._hopeless:
            return False
        tries = _DISPLACED
        for target in sorted(name for name in self._on if name in pool.alone and name not in candidate.refused):
            for placed in list(self._on[target]):
                same = members is not None and placed.members is members
                if members is not None and not members.allows(target, leaving=1 if same else 0):
                    continue
                if not self._capacity.fits(pool.needs, target, (placed.pool.needs, target)):
                    continue
                if tries == 0:
                    return False
                tries -= 1
                if self._swap(candidate, placed, target):
                    return True
        if members is None and not candidate.refused:
            self._hopeless.add(pool)
        return False

    def _swap(self, candidate: ServerToPlace, placed: ServerToPlace, target: str) -> bool:
        elsewhere = placed.best(target)
        if elsewhere is None or not self._takes(candidate, target):
            return False
        before = self._waits[placed.server.id]
        if not self._takes(placed, elsewhere):
            return False
        self._release(placed)
        self._place(candidate, target)
        # hosts may share one provider's capacity, which the candidate may have used up now
        if not self._capacity.fits(placed.pool.needs, elsewhere):
            self._release(candidate)
            self._place(placed, target)
            self._waits[placed.server.id] = before
            return False
        self._place(placed, elsewhere)
        self._hopeless.clear()
        for pool in self._pools.values():
            pool.refill()
        return True

    # ---- why a server cannot move

    def _against(self, one: Departure, question: Question) -> tuple[Finding, ...]:
        return targets.assess(question, one.request.target, one.avoid, self._host_assessments.assess_hosts).against

    def _nowhere(self, one: Departure, candidate: ServerToPlace) -> tuple[Finding, ...]:
        """The findings of a server that no host can take, whatever other servers do."""
        named = self._first.snapshot.find_host(one.request.target) if one.request.target else None
        if named is not None and named.name in one.avoid:
            tried = failed(
                Name.TARGET_HOST,
                Reason.CLOUD_REFUSED,
                f"an attempt to move it to {named.name} has failed, and no other host is allowed",
                "fix the cause, or allow other hosts",
                named.name,
            )
            return (*self._against(one, candidate.question), tried)
        against = self._against(one, candidate.question)
        group = candidate.question.group
        if group is not None and any(f.name is Name.SERVER_GROUP and f.waits for f in against):
            afterwards = failed(
                Name.SERVER_GROUP,
                Reason.AFFINITY_CONFLICT,
                f"after the current moves of its {group.policy} group {group.name} end, no eligible host will satisfy "
                "the group",
                _give_up(group),
            )
            return (afterwards, *against)
        return against or (self._not_together(candidate),)

    def _left_over(self, one: Departure, candidate: ServerToPlace) -> tuple[Finding, ...]:
        if any(name not in candidate.refused for name in candidate.alone()):
            return (self._not_together(candidate),)
        return self._nowhere(one, candidate)

    def _not_together(self, candidate: ServerToPlace) -> Finding:
        """The finding of a server that hosts could take alone, but whose place other servers of the plan have taken."""
        hosts = [name for name in candidate.alone() if name not in candidate.refused]
        more = f" and {len(hosts) - _NAMED} more" if len(hosts) > _NAMED else ""
        where = ", ".join(hosts[:_NAMED]) + more
        message = f"{where} would take it alone, but not together with the other departing servers"
        group = candidate.question.group
        if group is not None and any(self._capacity.fits(candidate.pool.needs, name) for name in hosts):
            return failed(
                Name.SERVER_GROUP,
                Reason.AFFINITY_CONFLICT,
                f"{message}: its {group.policy} group {group.name} forbids it where members of it go",
                _give_up(group),
            )
        return failed(
            Name.CAPACITY,
            Reason.INSUFFICIENT_CAPACITY,
            message,
            "free capacity there, add a host, or move or shut down some of the other servers",
        )

    # ---- the result

    def _in_order(self, placed: Sequence[ServerToPlace], leaving: Mapping[str, Departure]) -> tuple[Planned, ...]:
        first: dict[str, Server] = {}
        planned: list[Planned] = []
        for candidate in in_turn(placed):
            server, group = candidate.server, candidate.question.group
            assert candidate.target is not None
            waits, behind = self._waits[server.id], False
            if group is not None and group.policy in HARD:
                ahead = first.setdefault(group.id, server)
                if ahead is not server and waits is None:
                    behind = True
                    waits = (
                        f"{ahead.name} of the same {group.policy} group {group.name} goes first: "
                        "its members move one after another"
                    )
            planned.append(Planned(leaving[server.id], candidate.target, waits, behind))
        return tuple(planned)

    def _too_full(self) -> str | None:
        """Why the drained host's availability zone would lack its headroom (I22), or None."""
        question = self._first
        percent, source = question.policy.maintenance.headroom_percent, question.source
        if percent <= 0 or source is None:
            return None
        others = [
            host.name
            for host in self._capacity.hosts.values()
            if host.zone == source.zone
            and host.name != source.name
            and host.name not in question.in_maintenance
            and host.service.enabled
            and host.service.up
            and not host.service.forced_down
        ]
        free, capacity = self._capacity.headroom(others)
        if capacity <= 0:
            return (
                f"no other enabled host of {source.zone} reports its memory, and {percent}% of it must stay free "
                "(headroomPercent)"
            )
        if free * 100 >= percent * capacity:
            return None
        return (
            f"once {source.name} is drained, {free} of {capacity} MiB memory ({free * 100 // capacity}%) are free on "
            f"the {len(others)} other enabled hosts of {source.zone}; {percent}% must stay free (headroomPercent)"
        )


def _give_up(group: ServerGroup) -> str:
    return f"add a host, or delete the group if it is no longer needed: `openstack server group delete {group.id}`"


def _own_blocker(question: Question) -> bool:
    """Whether a check about the server itself blocks its move."""
    found = (p.check(question) for p in CHAINS[question.type] if p.about is About.SERVER)
    return any(finding.blocks(question.policy) for finding in found)


@dataclass(frozen=True, slots=True)
class NextMoves:
    """The moves of a plan that may start now."""

    moves: tuple[Planned, ...]
    #: by server id: the limit that delays a server
    waits: Mapping[str, str]
    #: not examined, because no slot was left
    rest: tuple[Planned, ...]


def next_moves(
    plan: DrainPlan,
    snapshot: Snapshot,
    *,
    moves: tuple[PlannedMove, ...],
    earlier: Sequence[PlannedMove],
    limits: Limits,
    slots: int,
) -> NextMoves:
    """The moves of the plan that may start now, in order, at most `slots`. A blocked move delays no other (R30)."""
    chosen: list[Planned] = []
    waits: dict[str, str] = {}
    decided = {move.server_id for move in moves}
    counted = moves
    held: dict[tuple[str, str], str] = {}
    for at, planned in enumerate(plan.planned):
        if len(chosen) >= slots:
            return NextMoves(tuple(chosen), waits, tuple(plan.planned[at:]))
        server = planned.departure.server
        pair = (server.host or "", planned.target)
        if (planned.waits is not None and not planned.behind) or server.id in decided:
            continue
        if pair in held:
            waits[server.id] = held[pair]
            continue
        group = snapshot.group_of(server.id)
        if group is not None and group.policy in HARD:
            others = group.members - {server.id}
            if not decided.isdisjoint(others) or any(in_flight(snapshot, other) for other in others):
                continue
        if (why := full(*pair, snapshot, counted, earlier, limits)) is not None:
            held[pair] = waits[server.id] = why
            continue
        chosen.append(planned)
        decided.add(server.id)
        counted += (PlannedMove(server.id, planned.departure.type, *pair, server.needs, _SOME_TIME),)
    return NextMoves(tuple(chosen), waits, ())
