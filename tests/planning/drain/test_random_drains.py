"""What holds of every drain plan, however broken the fleet (hypothesis)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import given
from hypothesis import strategies as st

from testbed.build import NOW, flavor, host, hypervisor, migration, move, room, server, snapshot
from tests.examples import examples
from vmferry.cloud.model import Host, Inventory, ResolvedType, Server, ServerGroup, Snapshot
from vmferry.planning.drain.plan import Departure, DrainPlan, next_moves, plan_drain
from vmferry.planning.request import NO_OTHERS, Request
from vmferry.planning.targets import assess, judge
from vmferry.policy import Limits, Maintenance, Policy
from vmferry.prerequisites.check import PlannedMove, Question
from vmferry.prerequisites.enums import Name
from vmferry.resources.words import MigrationType

NAMES = [f"h{n}" for n in range(5)]
TARGET = st.sampled_from(NAMES)
USUALLY = st.sampled_from([True] * 7 + [False])
GIB = 1024


@st.composite
def hosts(draw: st.DrawFn, name: str) -> Host:
    used = Inventory(64 * GIB, (64 - draw(st.integers(0, 24))) * GIB)
    shared = draw(st.none() | st.just("nfs"))
    figures = room(MEMORY_MB=used, DISK_GB=Inventory(60, 0, shared=shared))
    return host(
        name,
        up=draw(USUALLY),
        enabled=draw(USUALLY),
        forced_down=not draw(USUALLY),
        zone="nova" if draw(USUALLY) else "west",
        hypervisor=hypervisor(name, version=6_002_000 if draw(USUALLY) else 5_000_000),
        inventories=figures if draw(USUALLY) else None,
    )


@st.composite
def servers(draw: st.DrawFn, name: str) -> Server:
    return server(
        name=name,
        host="src",
        locked=not draw(USUALLY),
        task_state=None if draw(USUALLY) else "rebooting",
        image_id=draw(st.sampled_from([None, "image-1"])),
        flavor=flavor(memory_mb=draw(st.integers(1, 14)) * GIB, disk_gb=draw(st.integers(0, 30))),
        metadata=draw(st.sampled_from([{}, {"migration-priority": "high"}, {"migration-priority": "never"}])),
    )


@dataclass(frozen=True)
class Drain:
    leaving: list[Departure]
    view: Snapshot
    policy: Policy
    moves: tuple[PlannedMove, ...]
    in_maintenance: frozenset[str]

    def plan(self, leaving: list[Departure] | None = None, view: Snapshot | None = None) -> DrainPlan:
        return plan_drain(
            self.leaving if leaving is None else leaving,
            view or self.view,
            self.policy,
            NOW,
            replace(NO_OTHERS, moves=self.moves, in_maintenance=self.in_maintenance),
            ignore_headroom=False,
        )

    def question(self, one: Departure, moves: tuple[PlannedMove, ...] = ()) -> Question:
        return one.request.question(
            one.server,
            one.type,
            self.view,
            self.policy,
            NOW,
            replace(NO_OTHERS, moves=self.moves + moves, in_maintenance=self.in_maintenance),
        )


@st.composite
def drains(draw: st.DrawFn) -> Drain:
    fleet = [host("src", enabled=draw(st.booleans()))] + [draw(hosts(name)) for name in NAMES]
    mine = [draw(servers(f"s{n}")) for n in range(draw(st.integers(1, 7)))]
    others = [server(name=f"o{n}", host=draw(TARGET)) for n in range(draw(st.integers(0, 4)))]
    policies = st.sampled_from(["affinity", "anti-affinity", "anti-affinity", "soft-affinity", "soft-anti-affinity"])
    teams = [draw(st.integers(0, 3)) for _ in (*mine, *others)]
    groups = [
        ServerGroup(f"g-{team}", f"team {team}", draw(policies), members, draw(st.integers(1, 2)))
        for team in (1, 2)
        if (members := frozenset(one.id for one, its in zip((*mine, *others), teams, strict=True) if its == team))
    ]
    moving = [one for one in others if not draw(USUALLY)]
    records = [
        migration(one, n, target_host=draw(TARGET), status=draw(st.sampled_from(["running", "finished", "queued"])))
        for n, one in enumerate(others)
        if not draw(USUALLY)
    ]
    leaving = [
        Departure(
            one,
            Request(
                MigrationType.LIVE,
                None if draw(USUALLY) else draw(st.sampled_from([*NAMES, "src", "nobody"])),
                attested=None,
            ),
            ResolvedType.LIVE,
            frozenset() if draw(USUALLY) else frozenset({draw(TARGET)}),
        )
        for one in mine
    ]
    return Drain(
        leaving,
        snapshot(mine + others, fleet, records, server_groups=groups),
        Policy(
            bandwidth=draw(st.none() | st.none() | st.integers(1, 3)),
            tolerate_unknown=frozenset() if draw(USUALLY) else frozenset({Name.CAPACITY}),
            maintenance=Maintenance(headroom_percent=draw(st.integers(0, 20))),
        ),
        tuple(move(one, draw(TARGET)) for one in moving),
        frozenset(draw(st.sets(TARGET, max_size=1))),
    )


def words(plan: DrainPlan) -> object:
    return (
        [(p.departure.server.id, p.target, p.waits, p.behind) for p in plan.planned],
        [(s.departure.server.id, s.against) for s in plan.stuck],
        plan.too_full,
    )


@examples(150)
@given(drains())
def test_R27_I18_I25_every_server_is_planned_or_stuck_and_all_moves_hold_at_once(drain: Drain) -> None:
    plan = drain.plan()
    named = [p.departure.server.id for p in plan.planned] + [s.departure.server.id for s in plan.stuck]
    assert sorted(named) == sorted(one.server.id for one in drain.leaving), "each exactly once"
    assert all(s.against for s in plan.stuck)
    before: tuple[PlannedMove, ...] = ()
    for planned in plan.planned:
        one, target = planned.departure, drain.view.hosts[planned.target]
        service = target.service
        assert target.name != "src" and target.name not in drain.in_maintenance and target.name not in one.avoid, "I18"
        assert service.up and service.enabled and not service.forced_down and target.zone == "nova", "I18"
        assert target.hypervisor is not None and target.hypervisor.version >= 6_002_000, "I18: never to an older one"
        assert one.request.target in (None, target.name)
        found = judge(drain.question(one, before), target)
        assert all(f.waits for f in found.against), found.against
        now = judge(drain.question(one), target)
        assert (planned.waits is not None) == (bool(now.against) or planned.behind)
        before += (move(one.server, target.name),)
    check_room(drain, before)
    check_groups(drain, before)


def check_room(drain: Drain, planned: tuple[PlannedMove, ...]) -> None:
    """R16, counted again: whatever lands where the plan sends somebody has room there, or in what is shared."""
    whose = {
        (name, resource): (inventory.shared or name, resource)
        for name, one in drain.view.hosts.items()
        for resource, inventory in (one.inventories or {}).items()
    }
    free = {
        whose[name, resource]: inventory.free
        for name, one in drain.view.hosts.items()
        for resource, inventory in (one.inventories or {}).items()
    }
    for one in (*drain.moves, *planned):
        for resource, needed in one.needs.items():
            if (one.target_host, resource) in whose:
                free[whose[one.target_host, resource]] -= needed
    for one in planned:
        for resource in one.needs:
            assert free.get(whose.get((one.target_host, resource), ("", "")), 0) >= 0, f"R16: {one}"


def check_groups(drain: Drain, planned: tuple[PlannedMove, ...]) -> None:
    """I25: after all moves no host has more members of a group than it may, of those that the plan sends members to."""
    to = {m.server_id: m.target_host for m in (*drain.moves, *planned)}
    for record in drain.view.migrations.values():
        if record.stage.value == "in flight" and record.target_host:
            to[record.server_id] = record.target_host
    mine = {m.server_id for m in planned}
    for group in drain.view.server_groups:
        if group.policy != "anti-affinity":
            continue
        ends = [to.get(one, drain.view.servers[one].host) for one in group.members]
        for target in {to[one] for one in mine & group.members}:
            assert ends.count(target) <= group.max_server_per_host, "I25"


@examples(60)
@given(drains())
def test_the_clouds_order_decides_nothing(drain: Drain) -> None:
    leaving = list(reversed(drain.leaving))
    fleet = reversed(list(drain.view.hosts.values()))
    view = snapshot(
        reversed(list(drain.view.servers.values())),
        fleet,
        list(drain.view.migrations.values()),
        server_groups=reversed(drain.view.server_groups),
    )
    assert words(drain.plan(leaving, view)) == words(drain.plan())


@examples(100)
@given(drains())
def test_R30_who_could_go_alone_is_planned_alone(drain: Drain) -> None:
    for one in drain.leaving:
        plan = drain.plan([one])
        found = assess(drain.question(one), one.request.target, one.avoid)
        if found.target is not None:
            assert [(p.target, p.waits) for p in plan.planned] == [(found.target, None)], "as one alone would go"
        elif found.waits_for is None:
            assert plan.stuck and set(found.against) <= set(plan.stuck[0].against), "R27: all that is against it"
        elif plan.planned:
            assert plan.planned[0].waits is not None


@examples(100)
@given(drains(), st.builds(Limits, st.integers(1, 3), st.integers(1, 3), st.integers(1, 6)), st.integers(0, 5))
def test_I24_I25_who_starts_never_exceeds_a_limit(drain: Drain, limits: Limits, slots: int) -> None:
    plan = drain.plan()
    chosen = next_moves(plan, drain.view, moves=drain.moves, earlier=(), limits=limits, slots=slots).moves
    assert len(chosen) <= slots
    known = {m.server_id for m in drain.view.migrations.values() if m.stage.value == "in flight"}
    pairs = [(m.source_host, m.target_host) for m in drain.view.migrations.values() if m.server_id in known]
    pairs += [(m.source_host, m.target_host) for m in drain.moves if m.server_id not in known]
    mine = [("src", p.target) for p in chosen]
    if chosen:
        assert len(pairs) + len(mine) <= limits.total
        assert len(mine) <= limits.per_source
    for _, target in mine:
        assert sum(to == target for _, to in pairs + mine) <= limits.per_target
    busy = known | {m.server_id for m in drain.moves} | {p.departure.server.id for p in chosen}
    for p in chosen:
        group = drain.view.group_of(p.departure.server.id)
        if group is not None and not group.policy.startswith("soft-"):
            assert group.members & busy == {p.departure.server.id}, "I25"
    wide = next_moves(plan, drain.view, moves=drain.moves, earlier=(), limits=Limits(99, 99, 99), slots=1).moves
    assert bool(wide) == any(p.waits is None for p in plan.planned), "R30: somebody starts if anybody may"
