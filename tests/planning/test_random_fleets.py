"""What holds in every fleet, however broken (hypothesis)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from testbed.build import NOW, STATUS, flavor, host, hypervisor, migration, move, room, server, snapshot
from tests.examples import examples
from vmferry.cloud.model import Host, Inventory, Migration, ResolvedType, Server, ServerGroup
from vmferry.planning.limits import first_free, full
from vmferry.planning.targets import assess
from vmferry.policy import Limits, Policy, StoragePool
from vmferry.prerequisites.chains import TABLE
from vmferry.prerequisites.check import PlannedMove, Question
from vmferry.prerequisites.enums import NEVER_TOLERATED, Name, Reason, Result

NAMES = [f"h{n}" for n in range(5)]
#: half of what is drawn is the ordinary case: in a fleet where all is broken nothing is ever moved
USUALLY = st.sampled_from([True, True, True, False])
HOST = st.sampled_from(NAMES)
#: whose facts may be unknown
TOLERABLE = sorted(set(Name) - NEVER_TOLERATED.keys())


@st.composite
def hosts(draw: st.DrawFn, name: str) -> Host:
    version = draw(st.sampled_from([6_002_000, 6_002_000, 8_002_002]))
    inventory = st.builds(Inventory, st.integers(0, 20_000), st.integers(0, 10_000), st.none() | st.integers(0, 9_000))
    inventories: Any = room()
    if not draw(USUALLY):
        inventories = draw(st.none() | st.dictionaries(st.sampled_from(["VCPU", "MEMORY_MB", "DISK_GB"]), inventory))
    last_seen = draw(st.none() | st.integers(-60, 600).map(lambda ago: NOW - timedelta(seconds=ago)))
    return host(
        name,
        up=draw(USUALLY),
        enabled=draw(USUALLY),
        forced_down=not draw(USUALLY),
        zone=draw(st.sampled_from(["east", "east", "east", "west"])),
        last_seen=last_seen,
        hypervisor=hypervisor(name, version=version) if draw(USUALLY) else None,
        inventories=inventories,
    )


@st.composite
def servers(draw: st.DrawFn, name: str) -> Server:
    return server(
        name=name,
        vm_state=draw(st.sampled_from(["active", "active", "stopped", *STATUS, "never heard of"])),
        task_state=draw(st.sampled_from([None, None, None, "migrating"])),
        host=draw(st.sampled_from([*NAMES, "gone", None])),
        locked=not draw(USUALLY),
        image_id=draw(st.sampled_from([None, "image-1"])),
        flavor=flavor(disk_gb=draw(st.integers(0, 50)), swap_mb=draw(st.sampled_from([0, 512]))),
        pinned_availability_zone=draw(st.sampled_from([None, None, "east"])),
    )


@st.composite
def records(draw: st.DrawFn, of: Server, number: int) -> Migration:
    return migration(
        of,
        number,
        type=draw(st.sampled_from(["live-migration", "migration", "resize", "evacuation"])),
        status=draw(st.sampled_from(["queued", "running", "finished", "completed", "error", "teleporting"])),
        source_host=draw(HOST),
        target_host=draw(st.none() | HOST),
    )


@st.composite
def questions(draw: st.DrawFn) -> Question:
    fleet = [draw(hosts(name)) for name in NAMES if draw(USUALLY)]
    everyone = [draw(servers(f"s{n}")) for n in range(draw(st.integers(1, 4)))]
    some = st.lists(st.sampled_from(everyone), max_size=4)
    history = [draw(records(of, number)) for number, of in enumerate(draw(some), 1)]
    policy = draw(st.sampled_from(["affinity", "anti-affinity", "soft-affinity", "soft-anti-affinity"]))
    members = frozenset(one.id for one in everyone if draw(st.booleans()))
    group = ServerGroup("g-1", "shop", policy, members, draw(st.integers(1, 2)))
    view = snapshot(everyone, fleet, history, server_groups=[group])
    asked = everyone[0]
    others = [move(of, draw(HOST)) for of in everyone[1:] if draw(st.booleans())]
    pool = StoragePool("nfs", hosts=frozenset(draw(st.sets(HOST))))
    return Question(
        server=asked,
        type=draw(st.sampled_from(ResolvedType)),
        source=view.hosts.get(asked.host or ""),
        target=None,
        snapshot=view,
        policy=Policy(
            shared_storage=(pool,) if draw(st.booleans()) else (),
            local_unless_shared=draw(st.booleans()),
            bandwidth=draw(st.none() | st.integers(1, 3)),
            tolerate_unknown=frozenset(draw(st.sets(st.sampled_from(TOLERABLE), max_size=3))),
        ),
        now=NOW,
        group=view.group_of(asked.id),
        ports=view.ports_of(asked.id),
        moves=tuple(others),
        earlier=(),
        os_upgrades={},
        broken=None,
        stop_if_running=draw(st.booleans()),
        attested="host-a" if draw(st.booleans()) else None,
        os_upgrade=draw(st.booleans()),
        in_maintenance=frozenset(draw(st.sets(HOST, max_size=2))),
    )


@examples(80)
@given(questions(), st.none() | st.sampled_from([*NAMES, "nobody"]), st.sets(HOST, max_size=2))
def test_R9_R20_whatever_the_fleet_the_answer_is_whole_and_safe(
    asked: Question, wanted: str | None, avoid: set[str]
) -> None:
    found = assess(asked, wanted, frozenset(avoid))

    assert [f.name for f in found.findings] == [p.name for p, _ in TABLE], "every prerequisite exactly once"
    assert found.against == tuple(f for f in found.findings if f.blocks(asked.policy))
    for finding in found.findings:
        assert finding.message and "None" not in finding.message, finding
        if finding.result in (Result.FAILED, Result.UNKNOWN):
            assert finding.reason and finding.remedy and "None" not in finding.remedy, f"R20: {finding}"
            assert (finding.result is Result.UNKNOWN) == (finding.reason is Reason.FACT_UNKNOWN)

    ranked = [r.host for r in found.eligible]
    assert len(set(ranked)) == len(ranked) and not set(ranked) & avoid
    counted = sum(g.hosts for g in found.ineligible)
    if wanted is None:
        others = [name for name in asked.snapshot.hosts if name != asked.server.host]
        if asked.source is None and asked.server.host is not None:
            others = []  # compared with a host of which nothing is known, no target is judged
        assert len(ranked) + counted == len(others), "every other host is either eligible or counted with its reason"
    for name in ranked:
        check_safe(asked, name)
    if found.target is not None:
        assert not found.against, "nothing that blocks stands against what is chosen"
        assert found.target == ranked[0] and wanted in (None, found.target)
    elif not found.against:
        assert wanted in avoid, "only a named host that failed before is left without a finding against it"


def check_safe(asked: Question, name: str) -> None:
    """What must hold for every eligible host, said again without the checks (I18, I14)."""
    target, source = asked.snapshot.hosts[name], asked.source
    service = target.service
    assert name != asked.server.host
    assert service.up and service.enabled and not service.forced_down
    assert name not in asked.in_maintenance
    if source is not None:
        assert source.zone == target.zone
        if source.hypervisor is not None and target.hypervisor is not None:
            assert target.hypervisor.version >= source.hypervisor.version, "I18: never to an older one"
            assert asked.os_upgrade or target.hypervisor.version == source.hypervisor.version, "R23"
    check_group(asked, name)
    for resource, inventory in (target.inventories or {}).items():
        assert asked.server.needs.get(resource, 0) <= max(inventory.free, 0), "R16"
    on_host = asked.server.image_id is not None or asked.server.local_disk_gb > 0
    if asked.type is ResolvedType.EVACUATE and on_host:
        shared = {h for pool in asked.policy.shared_storage for h in pool.hosts}
        assert {name, asked.server.host} <= shared, "I14: never rebuild what is on a local disk"


def check_group(asked: Question, name: str) -> None:
    """I25: after the move no rule of the server's group is broken that was not, and no other member is moving."""
    group = next((g for g in asked.snapshot.server_groups if asked.server.id in g.members), None)
    if group is None or group.policy.startswith("soft-"):
        return
    others = [s for s in asked.snapshot.servers.values() if s.id in group.members and s.id != asked.server.id]
    assert not {s.id for s in others} & {m.server_id for m in asked.moves}
    there = sum(s.host == name for s in others)
    if group.policy == "anti-affinity":
        assert there < group.max_server_per_host
    else:
        assert there >= max(1, sum(s.host == asked.server.host for s in others))


PAIRS = st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"))


@examples(100)
@given(
    st.lists(PAIRS, max_size=8),
    st.lists(PAIRS, max_size=6),
    st.builds(Limits, st.integers(1, 3), st.integers(1, 3), st.integers(1, 6)),
)
def test_I24_whoever_starts_when_told_so_never_breaks_a_limit(
    queue: list[tuple[str, str]], foreign: list[tuple[str, str]], limits: Limits
) -> None:
    """The queue starts one by one, each asking with all that go before it; strangers are in flight already."""
    view = snapshot(
        migrations=[
            migration(server(name=f"f{n}", host=s), n, target_host=t, user_id="a stranger")
            for n, (s, t) in enumerate(foreign)
        ]
    )
    started: list[PlannedMove] = []
    waiting = [move(server(name=f"q{n}", host=s), t) for n, (s, t) in enumerate(queue)]
    progress = True
    while progress:
        progress = False
        for position, candidate in enumerate(waiting):
            earlier = tuple(waiting[:position])
            if full(candidate.source_host, candidate.target_host, view, tuple(started), earlier, limits) is None:
                started.append(waiting.pop(position))
                progress = True
                break

    def count(of: str, at: int) -> int:
        pairs = foreign + [(m.source_host, m.target_host) for m in started]
        return sum(pair[at] == of for pair in pairs)

    for m in started:
        assert count(m.source_host, 0) <= limits.per_source
        assert count(m.target_host, 1) <= limits.per_target
        assert len(foreign) + len(started) <= limits.total
    if waiting and len(foreign) + len(started) < limits.total:
        first = waiting[0]
        held = count(first.source_host, 0) >= limits.per_source or count(first.target_host, 1) >= limits.per_target
        assert held, "the first of the queue waits for a limit only"


@dataclass(frozen=True)
class Wish:
    """A request that waits; `named`: for the first of its hosts, and for no other one."""

    source: str
    hosts: tuple[str, ...]
    named: bool

    def as_move(self, number: int) -> PlannedMove:
        of = server(name=f"q{number}", host=self.source)
        return move(of, self.hosts[0], elsewhere=None if self.named else self.hosts[1:])


WISHES = st.builds(
    Wish,
    st.sampled_from("abcd"),
    st.lists(st.sampled_from("xyz"), min_size=1, max_size=2, unique=True).map(tuple),
    st.sampled_from([True, False, False]),
)


class Cloud:
    """What waits, in its order, and what is under way."""

    def __init__(self, waiting: list[PlannedMove], limits: Limits) -> None:
        self.waiting = waiting
        self.limits = limits
        self.flying: list[PlannedMove] = []

    def way(self, waits: PlannedMove) -> str | None:
        """Where it may go now."""
        asked = snapshot(), tuple(self.flying), tuple(self.waiting[: self.waiting.index(waits)]), self.limits
        if waits.elsewhere is None:
            free = full(waits.source_host, waits.target_host, *asked) is None
            return waits.target_host if free else None
        return first_free(waits.source_host, (waits.target_host, *waits.elsewhere), *asked)

    def after(self, starts: PlannedMove, target: str) -> Cloud:
        """What is left once it has started."""
        left = Cloud([one for one in self.waiting if one is not starts], self.limits)
        left.flying = [*self.flying, replace(starts, target_host=target)]
        return left

    def count(self, end: str, host: str) -> int:
        return sum(getattr(one, end) == host for one in self.flying)

    def over(self) -> bool:
        limits, hosts = self.limits, {host for one in self.flying for host in (one.source_host, one.target_host)}
        return len(self.flying) > limits.total or any(
            self.count("source_host", host) > limits.per_source or self.count("target_host", host) > limits.per_target
            for host in hosts
        )


@examples(80)
@given(
    st.lists(WISHES, min_size=2, max_size=7),
    st.builds(Limits, st.integers(1, 2), st.integers(1, 2), st.integers(2, 6)),
    st.lists(st.tuples(st.booleans(), st.integers(0, 6)), max_size=12),
)
def test_I24_whoever_has_a_choice_leaves_no_place_idle_and_takes_none_from_those_before_it(
    wishes: list[Wish], limits: Limits, happenings: list[tuple[bool, int]]
) -> None:
    """In any order those that wait are looked at, and moves end; then each gets its turn."""
    cloud = Cloud([wish.as_move(number) for number, wish in enumerate(wishes)], limits)

    def look(number: int) -> Cloud:
        """At each, whoever's turn it is."""
        ways = [(one, cloud.way(one)) for one in cloud.waiting]
        for place, (one, target) in enumerate(ways):
            if target is not None:
                after = cloud.after(one, target)
                assert not after.over()
                for before, could in ways[:place]:
                    assert could is None or after.way(before), "no place is taken that one before could take"
        one, target = ways[number % len(ways)]
        return cloud if target is None else cloud.after(one, target)

    for ends, number in happenings:
        if ends and cloud.flying:
            cloud.flying.pop(number % len(cloud.flying))
        elif cloud.waiting:
            cloud = look(number)
    while cloud.waiting:
        for one in [one for one in cloud.waiting if cloud.way(one) is not None]:
            cloud = look(cloud.waiting.index(one))
        if cloud.waiting and len(cloud.flying) < limits.total:
            first = cloud.waiting[0]
            hosts = (first.target_host, *(first.elsewhere or ()))
            assert cloud.count("source_host", first.source_host) >= limits.per_source or all(
                cloud.count("target_host", host) >= limits.per_target for host in hosts
            ), "no place is idle that the first could take"
        assert cloud.flying, "somebody may start, or something is under way"
        cloud.flying.pop(0)
