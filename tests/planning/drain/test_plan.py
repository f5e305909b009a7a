"""Where the servers of a drained host go, chosen together, and who starts next (R26, R27, R30, I18, I22, I24, I25)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from testbed.build import NOW, flavor, host, hypervisor, ident, migration, move, room, server, snapshot
from vmferry.cloud.model import Host, Inventory, Migration, ResolvedType, Server, ServerGroup, Snapshot
from vmferry.planning.drain.plan import Departure, DrainPlan, Planned, Stuck, next_moves, plan_drain
from vmferry.planning.host_assessments import HostAssessments, Takers
from vmferry.planning.request import NO_OTHERS, Request
from vmferry.policy import Limits, Maintenance, Policy
from vmferry.prerequisites.chains import CHAINS
from vmferry.prerequisites.check import Finding, PlannedMove, Question
from vmferry.prerequisites.enums import Name, Reason
from vmferry.resources.words import MigrationType

GIB = 1024
A, B, C, D = (host(f"host-{x}") for x in "abcd")
WIDE = Limits(per_source=10, per_target=10, total=10)


def vm(name: str, gib: int = 4, **over: Any) -> Server:
    """A server on host-a with so much memory."""
    return server(name=name, flavor=flavor(memory_mb=gib * GIB, **over.pop("flavor", {})), **over)


def picky(name: str, gib: int, trait: str) -> Server:
    """Only hosts with the trait will do."""
    return vm(name, gib, flavor={"extra_specs": {f"trait:{trait}": "required"}})


def with_memory(name: str, gib: int, **over: Any) -> Host:
    """So much of its 64 GiB is free."""
    return host(name, inventories=room(MEMORY_MB=Inventory(64 * GIB, (64 - gib) * GIB)), **over)


def group(policy: str, *members: Server, **over: Any) -> ServerGroup:
    return ServerGroup("g-1", "shop", policy, frozenset(m.id for m in members), **over)


@dataclass(frozen=True)
class Case:
    """A drain of host-a, and what is planned: `name: target`, `(waits)` after it if it does, or `name: reason`."""

    servers: list[Server]
    hosts: list[Host]
    planned: dict[str, str] = field(default_factory=dict)
    stuck: dict[str, Reason] = field(default_factory=dict)
    groups: list[ServerGroup] = field(default_factory=list)
    #: servers elsewhere
    others: list[Server] = field(default_factory=list)
    records: list[Migration] = field(default_factory=list)
    moves: list[PlannedMove] = field(default_factory=list)
    policy: Policy = field(default_factory=Policy)
    in_maintenance: frozenset[str] = frozenset()
    request: Request = field(default_factory=lambda: Request(MigrationType.LIVE, attested=None))
    kind: ResolvedType = ResolvedType.LIVE
    avoid: frozenset[str] = frozenset()
    ignore_headroom: bool = False

    @property
    def view(self) -> Snapshot:
        return snapshot(self.servers + self.others, [A, *self.hosts], self.records, server_groups=self.groups)

    def plan(self, view: Snapshot | None = None) -> DrainPlan:
        return plan_drain(
            [Departure(one, self.request, self.kind, self.avoid) for one in self.servers],
            view or self.view,
            self.policy,
            NOW,
            replace(NO_OTHERS, moves=tuple(self.moves), in_maintenance=self.in_maintenance),
            ignore_headroom=self.ignore_headroom,
        )


def told(plan: DrainPlan) -> dict[str, str]:
    """In the plan's order."""
    return {p.departure.server.name: p.target + (" (waits)" if p.waits else "") for p in plan.planned}


def reasons(plan: DrainPlan) -> dict[str, Reason | None]:
    return {s.departure.server.name: s.against[0].reason for s in plan.stuck}


WEB, WEB_2, DB = vm("web-1"), vm("web-2"), vm("db", 8)
FRIEND = server(name="friend", host="host-b")
ELSEWHERE = server(name="elsewhere", host="host-z")
LOW, HIGH = {"migration-priority": "low"}, {"migration-priority": "high"}

CASES: dict[str, Case] = {
    "equal servers are spread over equal hosts, by name": Case(
        [WEB, WEB_2, vm("web-3")], [B, C, D], {"web-1": "host-b", "web-2": "host-c", "web-3": "host-d"}
    ),
    "the emptiest host comes first": Case(
        [WEB], [with_memory("host-b", 10), with_memory("host-c", 20)], {"web-1": "host-c"}
    ),
    "a host with moves on their way comes later, whoever moves": Case(
        [WEB, WEB_2],
        [B, C],
        {"web-1": "host-c", "web-2": "host-b"},
        moves=[move(ELSEWHERE, "host-b")],
    ),
    "I18 never to a host that is disabled, down, forced down, in maintenance, older or the source": Case(
        [WEB],
        [
            host("host-b", enabled=False),
            host("host-c", up=False),
            host("host-d", forced_down=True),
            host("host-e"),
            host("host-f", hypervisor=hypervisor("host-f", version=5_000_000)),
            with_memory("host-g", 5),
        ],
        {"web-1": "host-g"},
        in_maintenance=frozenset({"host-e"}),
    ),
    "I18 to nowhere if there is no better host": Case(
        [WEB], [host("host-b", enabled=False)], stuck={"web-1": Reason.NO_ELIGIBLE_TARGET}
    ),
    "the named host alone is allowed": Case(
        [WEB, WEB_2],
        [B, C],
        {"web-1": "host-c", "web-2": "host-c"},
        request=Request(MigrationType.LIVE, "host-c", attested=None),
    ),
    "a hypervisor's UUID names its host": Case(
        [WEB],
        [B, C],
        {"web-1": "host-c"},
        request=Request(MigrationType.LIVE, ident("hypervisor-host-c"), attested=None),
    ),
    "a host that nobody knows is not found": Case(
        [WEB], [B], stuck={"web-1": Reason.HOST_NOT_FOUND}, request=Request(MigrationType.LIVE, "host-x", attested=None)
    ),
    "a host that a try failed on is out": Case([WEB], [B, C], {"web-1": "host-c"}, avoid=frozenset({"host-b"})),
    "a named host that a try failed on leaves none, and that is said": Case(
        [WEB],
        [B, C],
        stuck={"web-1": Reason.CLOUD_REFUSED},
        request=Request(MigrationType.LIVE, "host-b", attested=None),
        avoid=frozenset({"host-b"}),
    ),
    "room is shared out: what one takes no other one gets": Case(
        [vm("s1", 10), vm("s2", 10), vm("s3", 10)],
        [with_memory("host-b", 20), with_memory("host-c", 12)],
        {"s1": "host-b", "s2": "host-c", "s3": "host-b"},
    ),
    "what decided moves take is gone": Case(
        [vm("s1", 10)],
        [with_memory("host-b", 20)],
        stuck={"s1": Reason.NO_ELIGIBLE_TARGET},
        moves=[move(vm("x", 15, host="host-z"), "host-b")],
    ),
    "the big one is placed before the small ones, that would have taken its room": Case(
        [vm("a-small", 4), vm("b-small", 4), vm("z-big", 8)],
        [with_memory("host-b", 9), with_memory("host-c", 8)],
        {"a-small": "host-c", "b-small": "host-c", "z-big": "host-b"},
    ),
    "the one with fewest hosts is placed first": Case(
        [vm("a", 8), vm("picky", 8, flavor={"extra_specs": {"trait:CUSTOM_X": "required"}})],
        [with_memory("host-b", 10, traits=frozenset({"CUSTOM_X"})), with_memory("host-c", 8)],
        {"a": "host-c", "picky": "host-b"},
    ),
    "one that is placed gives way if it finds room elsewhere": Case(
        # x goes to host-b, the emptier of its two hosts, and w to host-d: that leaves y none
        [picky("x", 13, "X"), picky("w", 12, "W"), picky("y", 11, "Y")],
        [
            with_memory("host-b", 14, traits=frozenset({"X", "Y"})),
            with_memory("host-c", 13, traits=frozenset({"X"})),
            with_memory("host-d", 13, traits=frozenset({"W", "Y"})),
            with_memory("host-e", 12, traits=frozenset({"W"})),
        ],
        {"x": "host-c", "y": "host-b", "w": "host-d"},
    ),
    "alone there was room, together there is not": Case(
        [vm("s1", 10), vm("s2", 10)],
        [with_memory("host-b", 12)],
        {"s1": "host-b"},
        {"s2": Reason.INSUFFICIENT_CAPACITY},
    ),
    "I23 one that cannot go holds back no other": Case(
        [vm("huge", 100), WEB], [B], {"web-1": "host-b"}, {"huge": Reason.NO_ELIGIBLE_TARGET}
    ),
    "a locked server is stuck and takes no room": Case(
        [vm("s1", 10, locked=True), vm("s2", 10)], [with_memory("host-b", 12)], {"s2": "host-b"}, {"s1": Reason.LOCKED}
    ),
    "an owner may say never": Case(
        [vm("s1", metadata={"migration-priority": "never"})], [B], stuck={"s1": Reason.OPTED_OUT}
    ),
    "a task in progress is stuck with its finding": Case(
        [vm("s1", task_state="rebooting")], [B], stuck={"s1": Reason.TASK_IN_PROGRESS}
    ),
    "I25 anti-affinity counts those that the plan has placed; one goes after the other": Case(
        [WEB, WEB_2],
        [B, with_memory("host-c", 10)],
        {"web-1": "host-b", "web-2": "host-c (waits)"},
        groups=[group("anti-affinity", WEB, WEB_2)],
    ),
    "I25 anti-affinity leaves the second one no host": Case(
        [WEB, WEB_2],
        [B],
        {"web-1": "host-b"},
        {"web-2": Reason.AFFINITY_CONFLICT},
        groups=[group("anti-affinity", WEB, WEB_2)],
    ),
    "I25 as many as the group allows on one host": Case(
        [WEB, WEB_2],
        [B],
        {"web-1": "host-b", "web-2": "host-b (waits)"},
        groups=[group("anti-affinity", WEB, WEB_2, max_server_per_host=2)],
    ),
    "I25 anti-affinity counts members that are elsewhere": Case(
        [WEB],
        [B, with_memory("host-c", 10)],
        {"web-1": "host-c"},
        groups=[group("anti-affinity", WEB, FRIEND)],
        others=[FRIEND],
    ),
    "I25 a member that is on its way is waited for, and its target is taken": Case(
        [WEB],
        [B, with_memory("host-c", 10)],
        {"web-1": "host-c (waits)"},
        groups=[group("anti-affinity", WEB, ELSEWHERE)],
        others=[ELSEWHERE],
        moves=[move(ELSEWHERE, "host-b")],
    ),
    "I25 where a member on its way leaves room, there is some": Case(
        [WEB],
        [B, with_memory("host-c", 2)],
        {"web-1": "host-b (waits)"},
        groups=[group("anti-affinity", WEB, FRIEND)],
        others=[FRIEND],
        records=[migration(FRIEND, target_host="host-c")],
    ),
    "I25 a member on its way to the only host leaves none": Case(
        [WEB],
        [B],
        stuck={"web-1": Reason.AFFINITY_CONFLICT},
        groups=[group("anti-affinity", WEB, ELSEWHERE)],
        others=[ELSEWHERE],
        moves=[move(ELSEWHERE, "host-b")],
    ),
    "I25 a member gives way to another one of its group": Case(
        [picky("x", 13, "X"), picky("w", 12, "W"), picky("y", 11, "Y")],
        [
            with_memory("host-b", 30, traits=frozenset({"X", "Y"})),
            with_memory("host-c", 13, traits=frozenset({"X"})),
            with_memory("host-d", 13, traits=frozenset({"W", "Y"})),
            with_memory("host-e", 12, traits=frozenset({"W"})),
        ],
        {"x": "host-c", "w": "host-d", "y": "host-b (waits)"},
        groups=[group("anti-affinity", vm("x"), vm("y"))],
    ),
    "affinity goes to its members": Case(
        [WEB],
        [with_memory("host-b", 6), C],
        {"web-1": "host-b"},
        groups=[group("affinity", WEB, FRIEND)],
        others=[FRIEND],
    ),
    "affinity that is together stays: Nova moves it nowhere": Case(
        [WEB, WEB_2],
        [B],
        stuck={"web-1": Reason.NO_ELIGIBLE_TARGET, "web-2": Reason.NO_ELIGIBLE_TARGET},
        groups=[group("affinity", WEB, WEB_2)],
    ),
    "soft affinity wishes for its members, and for those that the plan placed": Case(
        [WEB, WEB_2], [B, C], {"web-1": "host-b", "web-2": "host-b"}, groups=[group("soft-affinity", WEB, WEB_2)]
    ),
    "soft affinity goes elsewhere where there is no room": Case(
        [WEB, WEB_2],
        [with_memory("host-b", 6), with_memory("host-c", 5)],
        {"web-1": "host-b", "web-2": "host-c"},
        groups=[group("soft-affinity", WEB, WEB_2)],
    ),
    "soft anti-affinity wishes for hosts without members": Case(
        [WEB],
        [B, with_memory("host-c", 5)],
        {"web-1": "host-c"},
        groups=[group("soft-anti-affinity", WEB, FRIEND)],
        others=[FRIEND],
    ),
    "a soft group counts a member where it is and where it goes, as for a request of its own": Case(
        [WEB],
        [B, C],
        {"web-1": "host-b"},
        groups=[group("soft-affinity", WEB, FRIEND)],
        others=[FRIEND],
        moves=[move(FRIEND, "host-c")],
    ),
    "memory that decided moves will take does not count in the rank, as for a request of its own": Case(
        [WEB],
        [with_memory("host-b", 9), C, with_memory("host-d", 8)],
        {"web-1": "host-b"},
        records=[migration(ELSEWHERE, target_host="host-c")],
        moves=[move(ELSEWHERE, "host-b")],
    ),
    "soft anti-affinity takes what there is": Case(
        [WEB, WEB_2], [B], {"web-1": "host-b", "web-2": "host-b"}, groups=[group("soft-anti-affinity", WEB, WEB_2)]
    ),
    "bandwidth that others take is waited for": Case(
        [WEB], [B], {"web-1": "host-b (waits)"}, moves=[move(ELSEWHERE, "host-b")], policy=Policy(bandwidth=1)
    ),
    "a host with bandwidth is better than an emptier one to wait for": Case(
        [WEB],
        [B, with_memory("host-c", 5)],
        {"web-1": "host-c"},
        moves=[move(FRIEND, "host-z")],  # from host-b
        policy=Policy(bandwidth=1),
    ),
    "nobody gives way where both would take of one shared room": Case(
        [
            vm("p", flavor={"disk_gb": 20, "extra_specs": {"trait:P": "required"}}, image_id="i"),
            vm("s", flavor={"disk_gb": 35}, image_id="i"),
        ],
        [
            host(f"host-{x}", inventories=room(DISK_GB=Inventory(50, 0, shared="nfs")), traits=frozenset(traits))
            for x, traits in (("b", {"P"}), ("c", {"P"}), ("d", set[str]()))
        ],
        {"p": "host-b"},
        {"s": Reason.INSUFFICIENT_CAPACITY},
    ),
    "hosts of one sharing provider take of the same room": Case(
        [vm("s1", flavor={"disk_gb": 30}, image_id="i"), vm("s2", flavor={"disk_gb": 30}, image_id="i")],
        [host(f"host-{x}", inventories=room(DISK_GB=Inventory(50, 0, shared="nfs"))) for x in "bc"],
        {"s1": "host-b"},
        {"s2": Reason.INSUFFICIENT_CAPACITY},
    ),
    "the owner's priority comes first, then the biggest copy": Case(
        [vm("a", 4), vm("b", 8), vm("c", 2, metadata=HIGH), vm("d", 30, metadata=LOW)],
        [B],
        {"c": "host-b", "b": "host-b", "a": "host-b", "d": "host-b"},
    ),
    "a priority that is no word of ours is normal": Case(
        [vm("a", 4), vm("b", 8, metadata={"migration-priority": "urgent"})], [B], {"b": "host-b", "a": "host-b"}
    ),
    "a local disk is copied, so it counts": Case(
        [vm("a", 8), vm("b", 4, flavor={"disk_gb": 20}, image_id="i")], [B], {"b": "host-b", "a": "host-b"}
    ),
    "targets take turns": Case(
        [vm("a", 10), vm("b", 9), vm("c", 8), vm("d", 7)],
        [with_memory("host-b", 28), with_memory("host-c", 9)],
        {"b": "host-c", "a": "host-b", "c": "host-b", "d": "host-b"},
    ),
}


@pytest.mark.parametrize("sentence", CASES)
def test_R26_I18_I23_I25_each_server_has_its_place(sentence: str) -> None:
    case = CASES[sentence]
    plan = case.plan()
    assert (told(plan), reasons(plan)) == (case.planned, case.stuck)
    if len(set(case.planned.values())) == 1:
        assert list(told(plan)) == list(case.planned), "in this order"


def test_R26_targets_take_turns_and_the_biggest_copy_goes_first() -> None:
    servers = [vm(name, gib) for name, gib in {"a": 10, "b": 9, "c": 8, "d": 7, "e": 6}.items()]
    plan = Case(servers, [B, C]).plan()
    assert list(told(plan).items()) == [
        ("a", "host-b"),
        ("b", "host-c"),
        ("c", "host-c"),
        ("d", "host-b"),
        ("e", "host-b"),
    ]


def test_R27_all_that_stands_against_a_server_is_known_at_once_its_own_first() -> None:
    plan = Case([vm("s", 100, locked=True, task_state="rebooting")], [B]).plan()
    assert [f.reason for f in plan.stuck[0].against] == [
        Reason.LOCKED,
        Reason.TASK_IN_PROGRESS,
        Reason.NO_ELIGIBLE_TARGET,
        Reason.INSUFFICIENT_CAPACITY,
    ]


def test_R20_no_room_together_says_where_there_is_some_alone_and_what_to_do() -> None:
    hosts = [with_memory(f"host-{n}", 12) for n in range(5)]
    plan = Case([vm(f"s{n}", 10) for n in range(6)], hosts).plan()
    (found,) = plan.stuck[0].against
    assert found.message == (
        "host-0, host-1, host-2 and 2 more would take it alone, but not together with the other departing servers"
    )
    assert found.remedy and (found.name, found.reason) == (Name.CAPACITY, Reason.INSUFFICIENT_CAPACITY)


def test_R20_a_group_in_the_way_is_named() -> None:
    found = CASES["I25 anti-affinity leaves the second one no host"].plan().stuck[0].against[0]
    assert "host-b would take it alone" in found.message and "anti-affinity group shop" in found.message
    assert found.remedy and "openstack server group delete g-1" in found.remedy


def test_stuck_servers_come_by_name() -> None:
    plan = Case([vm(name, 100) for name in "cab"], [B]).plan()
    assert list(reasons(plan)) == ["a", "b", "c"]


def test_nobody_leaves() -> None:
    assert Case([], [B]).plan() == DrainPlan((), ())


def test_what_waits_only_for_its_own_plan_says_so() -> None:
    plan = CASES["I25 as many as the group allows on one host"].plan()
    assert [(p.behind, p.waits) for p in plan.planned] == [
        (False, None),
        (True, "web-1 of the same anti-affinity group shop goes first: its members move one after another"),
    ]
    strangers = CASES["I25 a member that is on its way is waited for, and its target is taken"].plan().planned[0]
    assert not strangers.behind and "elsewhere" in (strangers.waits or "")


def keeping(percent: int) -> Policy:
    return Policy(maintenance=Maintenance(headroom_percent=percent))


HEADROOM: dict[str, tuple[Case, str | None]] = {
    "it is off by default": (Case([vm("s", 60)], [B]), None),
    "a quarter stays free": (Case([vm("s", 48)], [B], policy=keeping(25)), None),
    "a little more is too much": (
        Case([vm("s", 49)], [B], policy=keeping(25)),
        "once host-a is drained, 15360 of 65536 MiB memory (23%) are free on the 1 other enabled hosts of nova; "
        "25% must stay free (headroomPercent)",
    ),
    "somebody may take it upon himself": (Case([vm("s", 49)], [B], policy=keeping(25), ignore_headroom=True), None),
    "what others are about to take is not free": (
        Case([], [B], policy=keeping(25), moves=[move(vm("x", 46, host="host-z"), "host-b")]),
        "15360 of 65536",
    ),
    "hosts that take nothing do not count": (
        Case(
            [vm("s", 49)],
            [
                B,
                host("host-c", enabled=False),
                host("host-d", up=False),
                host("host-e"),
                host("host-f", zone="west"),
                host("host-g", inventories=None),
                host("host-h", forced_down=True),
            ],
            policy=keeping(25),
            in_maintenance=frozenset({"host-e"}),
        ),
        "15360 of 65536",
    ),
    "without any other host there is no headroom": (
        Case([WEB], [], policy=keeping(1)),
        "no other enabled host of nova",
    ),
}


@pytest.mark.parametrize("sentence", HEADROOM)
def test_I22_the_rest_of_the_cluster_still_holds(sentence: str) -> None:
    case, words = HEADROOM[sentence]
    if not case.servers:  # somebody has to leave for there to be a plan
        case = replace(case, servers=[vm("s", 3)])
    too_full = case.plan().too_full
    assert (words is None and too_full is None) or (words is not None and words in (too_full or ""))


def next_of(
    case: Case, limits: Limits = WIDE, slots: int = 10, earlier: tuple[PlannedMove, ...] = (), **over: Any
) -> list[str]:
    facts: dict[str, Any] = {"moves": tuple(case.moves), **over}
    chosen = next_moves(case.plan(), case.view, earlier=earlier, limits=limits, slots=slots, **facts).moves
    return [p.departure.server.name for p in chosen]


FOUR = Case([vm("a", 10), vm("b", 9), vm("c", 8), vm("d", 7)], [B, C])  # a, d to host-b; b, c to host-c
APART = CASES["I25 anti-affinity counts those that the plan has placed; one goes after the other"]

NEXT: dict[str, tuple[list[str], list[str]]] = {
    "I24 as many as there are slots": (next_of(FOUR, slots=3), ["a", "b", "c"]),
    "I24 none without a slot": (next_of(FOUR, slots=0), []),
    "I24 the source's limit": (next_of(FOUR, Limits(2, 9, 9)), ["a", "b"]),
    "I24 each target's limit, and the first of both": (next_of(FOUR, Limits(9, 1, 9)), ["a", "b"]),
    "I24 the total": (next_of(FOUR, Limits(9, 9, 3)), ["a", "b", "c"]),
    "R30 a target that is full holds back no other": (
        next_of(FOUR, Limits(9, 1, 9), moves=(move(ELSEWHERE, "host-b"),)),
        ["b"],
    ),
    "I24 those that wait for their turn go first": (
        next_of(FOUR, Limits(9, 1, 9), earlier=(move(ELSEWHERE, "host-c"),)),
        ["a"],
    ),
    "one that moves already is not started again": (
        next_of(FOUR, moves=(move(FOUR.servers[0], "host-b"),)),
        ["b", "c", "d"],
    ),
    "one that waits is left out": (next_of(CASES["bandwidth that others take is waited for"]), []),
    "I25 never two of one hard group": (next_of(APART), ["web-1"]),
    "I25 nor beside one that Nova moves": (
        next_of(replace(APART, records=[migration(WEB, target_host="host-b")]), moves=()),
        [],
    ),
    "I25 two of a soft group": (
        next_of(CASES["soft anti-affinity takes what there is"]),
        ["web-1", "web-2"],
    ),
    "R30 a member that cannot start leaves its turn to the next": (
        next_of(APART, Limits(9, 1, 9), moves=(move(ELSEWHERE, "host-b"),)),
        ["web-2"],
    ),
}


@pytest.mark.parametrize("sentence", NEXT)
def test_I24_I25_R30_who_starts_now(sentence: str) -> None:
    got, wanted = NEXT[sentence]
    assert got == wanted


def fleet(servers: int, hosts: int) -> Case:
    """All of few classes; every tenth in a group with one more member elsewhere."""
    mine = [vm(f"s{n}", 1 + n % 7, flavor={"disk_gb": n % 3}, image_id="i") for n in range(servers)]
    others = [server(name=f"o{n}", host=f"h{n}") for n in range(servers // 10)]
    groups = [
        ServerGroup(f"g-{n}", f"g-{n}", "anti-affinity", frozenset({mine[10 * n].id, other.id}))
        for n, other in enumerate(others)
    ]
    return Case(mine, [host(f"h{n}") for n in range(hosts)], groups=groups, others=others)


def count_checks(case: Case, monkeypatch: pytest.MonkeyPatch) -> int:
    asked = 0

    def counted(check: Any) -> Any:
        def count(question: Question) -> Finding:
            nonlocal asked
            asked += 1
            found: Finding = check(question)
            return found

        return count

    with monkeypatch.context() as patch:
        chain = tuple(replace(p, check=counted(p.check)) for p in CHAINS[ResolvedType.LIVE])
        patch.setitem(CHAINS, ResolvedType.LIVE, chain)
        plan = case.plan()
    assert len(plan.planned) == len(case.servers)
    return asked


def test_twice_the_fleet_costs_twice_the_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    once, twice = (count_checks(fleet(n, n), monkeypatch) for n in (40, 80))
    assert twice <= 2.2 * once
    assert once <= 40 * len(CHAINS[ResolvedType.LIVE]) * 3, "hosts are asked once for all servers of a class"


def test_a_class_that_is_too_wide_lets_nobody_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if every host were said to take every server, each one is judged for itself on the host that was chosen."""
    everywhere = Takers(0b111, 0, [B, C, D])
    monkeypatch.setattr(HostAssessments, "takers", lambda *_: everywhere)
    fit = with_memory("host-c", 10, traits=frozenset({"CUSTOM_X"}))
    plan = Case([vm("a-1"), picky("picky", 4, "CUSTOM_X")], [B, fit, D]).plan()
    assert told(plan) == {"a-1": "host-b", "picky": "host-c"}


@pytest.mark.parametrize("sentence", [s for s in CASES if "placed before" in s or "placed first" in s])
def test_the_hardest_comes_first_so_that_nobody_has_to_give_way(sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vmferry.planning.drain.plan._DISPLACED", 0)
    assert told(CASES[sentence].plan()) == CASES[sentence].planned


def test_a_turn_of_a_small_one_comes_before_the_second_of_another_target() -> None:
    plan = Case([vm("a", 10), vm("b", 8), vm("z", 3)], [with_memory("host-b", 18), with_memory("host-c", 3)]).plan()
    assert list(told(plan).items()) == [("a", "host-b"), ("z", "host-c"), ("b", "host-b")]


def test_the_clouds_order_of_hosts_picks_no_example() -> None:
    west = [host(f"host-{x}", zone="west") for x in "bcd"]
    assert Case([WEB], west).plan().stuck == Case([WEB], west[::-1]).plan().stuck


def test_I25_a_member_that_somebody_moves_since_the_plan_was_made_is_waited_for() -> None:
    since = snapshot(APART.servers, [A, *APART.hosts], [migration(WEB)], server_groups=APART.groups)
    rest = DrainPlan(APART.plan().planned[1:], ())
    assert next_moves(rest, since, moves=(), earlier=(), limits=WIDE, slots=9).moves == ()


def test_every_word_of_the_plan_is_said() -> None:
    for case in CASES.values():
        for one in case.plan().stuck:
            assert isinstance(one, Stuck) and one.against and all(f.message and f.remedy for f in one.against)
        assert all(isinstance(p, Planned) for p in case.plan().planned)
