"""A fleet's assessments are those of its servers one by one, and cost less."""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.bench.fleet import big_fleet
from testbed.build import JAMMY, NOBLE, NOW, flavor, host, move, server, snapshot
from tests.examples import examples
from tests.planning.test_random_fleets import HOST, NAMES, questions
from vmferry.cloud.model import Flavor, Host, Inventory, ResolvedType, Server, ServerGroup, Snapshot
from vmferry.planning import host_assessments
from vmferry.planning.host_assessments import HostAssessments
from vmferry.planning.request import NO_OTHERS, Request
from vmferry.planning.targets import assess_hosts, judge_others
from vmferry.policy import Policy
from vmferry.prerequisites.chains import CHAINS
from vmferry.prerequisites.check import Finding, OSUpgradeMove, Prerequisite, Question, failed, passed
from vmferry.prerequisites.enums import NEVER_TOLERATED, Name, Reason
from vmferry.resources.words import MigrationType

APART = (Name.CAPACITY, Name.SERVER_GROUP)


def takers(question: Question) -> dict[str, int]:
    """What `HostAssessments.takers` finds, host by host and check by check."""
    found: dict[str, int] = {}
    for one in judge_others(question):
        against = [f for f in one.against if f.name not in APART]
        if all(f.waits for f in against):
            found[one.host.name] = int(bool(against))
    return found


@examples(150)
@given(
    questions(),
    st.lists(
        st.tuples(
            st.sampled_from(ResolvedType),
            st.none() | st.none() | st.sampled_from([*NAMES, "nobody"]),
            st.frozensets(HOST, max_size=2),
            st.booleans(),
            st.booleans(),
            st.lists(st.tuples(HOST, HOST, st.none() | st.just(())), max_size=4),
        ),
        min_size=1,
        max_size=4,
    ),
)
def test_whatever_is_asked_in_whatever_order_the_assessment_is_the_uncached_one(
    fleet: Question, asks: list[tuple[ResolvedType, str | None, frozenset[str], bool, bool, list[Any]]]
) -> None:
    view, assessments = fleet.snapshot, HostAssessments()
    for kind, target, avoid, alone, crossed, line in asks:
        earlier = tuple([move(server(name=f"q{n}", host=a), b, elsewhere=c) for n, (a, b, c) in enumerate(line)])
        for of in view.servers.values():
            question = replace(
                fleet,
                server=of,
                type=kind,
                source=view.hosts.get(of.host or ""),
                group=view.group_of(of.id),
                ports=view.ports_of(of.id),
                moves=() if alone else fleet.moves,
                earlier=earlier,
                os_upgrades={of.id: OSUpgradeMove(of.id, JAMMY, NOBLE, "web-1")} if crossed else {},
            )
            assert assessments.assess_hosts(question, target, avoid) == assess_hosts(question, target, avoid)
            assert dict(assessments.takers(question, APART).tiers()) == takers(question)


@pytest.mark.slow
@pytest.mark.parametrize("type_", [MigrationType.AUTO, MigrationType.EVACUATE])
@pytest.mark.parametrize("policy", [Policy(), Policy(local_unless_shared=True, bandwidth=2)], ids=["strict", "local"])
def test_in_a_big_fleet_they_are_the_same(policy: Policy, type_: MigrationType) -> None:
    view, assessments = big_fleet(60, 240), HostAssessments()
    moves = (move(next(iter(view.servers.values())), "cmp0001"),)
    for of in sorted(view.servers.values(), key=lambda s: (s.host or "", s.name)):
        request = Request(type_, attested=None)
        kind = request.resolved_type(of, view.hosts[of.host or ""]).type
        question = request.question(of, kind, view, policy, NOW, replace(NO_OTHERS, moves=moves))
        assert assessments.assess_hosts(question, None, frozenset()) == assess_hosts(question, None, frozenset())


def test_another_view_or_another_policy_is_asked_anew() -> None:
    assessments = HostAssessments()
    for hosts in ("ab", "abc", "a"):
        for policy in (Policy(), Policy(tolerate_unknown=frozenset(Name) - NEVER_TOLERATED.keys())):
            view = snapshot([server()], [host(f"host-{x}", inventories=None) for x in hosts])
            question = Request(attested=None).question(server(), ResolvedType.LIVE, view, policy, NOW, NO_OTHERS)
            assert assessments.assess_hosts(question, None, frozenset()) == assess_hosts(question, None, frozenset())


def asked_of_hosts(monkeypatch: pytest.MonkeyPatch, servers: list[Server], view: Snapshot) -> Counter[Name]:
    """How often each check is asked of a host when all these servers are judged."""
    asked: Counter[Name] = Counter()

    def counting(prerequisite: Prerequisite) -> Prerequisite:
        def check(question: Question) -> Finding:
            asked[prerequisite.name] += 1
            return prerequisite.check(question)

        return replace(prerequisite, check=check)

    chains = {kind: tuple(counting(p) for p in chain) for kind, chain in CHAINS.items()}
    monkeypatch.setattr(host_assessments, "CHAINS", chains)
    memory, policy = HostAssessments(), Policy()
    for of in servers:
        question = Request(attested=None).question(of, ResolvedType.LIVE, view, policy, NOW, NO_OTHERS)
        memory.assess_hosts(question, None, frozenset())
    return asked


ONE = flavor()
SAME: dict[str, Callable[[int], Server]] = {
    "one flavor": lambda n: server(name=f"s{n}", flavor=ONE, metadata={"n": str(n)}),
    "flavors that need the same": lambda n: server(name=f"s{n}", flavor=flavor(name=f"m{n}")),
    "images of the same size": lambda n: server(name=f"s{n}", image_id=f"image-{n}", flavor=flavor(disk_gb=5)),
    "other states": lambda n: server(name=f"s{n}", locked=bool(n % 2), task_state=[None, "x"][n % 2]),
}


@pytest.mark.parametrize("sentence", SAME)
def test_servers_alike_ask_each_host_once(sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    servers = [SAME[sentence](n) for n in range(10)]
    view = snapshot(servers, [host(f"host-{n}") for n in "abcd"])
    assert set(asked_of_hosts(monkeypatch, servers, view).values()) == {3}


def test_room_is_not_asked_for_anew_for_every_source_host(monkeypatch: pytest.MonkeyPatch) -> None:
    servers = [server(name=f"s{n}", host=f"host-{'abcd'[n]}", flavor=ONE) for n in range(4)]
    view = snapshot(servers, [host(f"host-{n}") for n in "abcd"])
    asked = asked_of_hosts(monkeypatch, servers, view)
    assert asked[Name.CAPACITY] == 4 and asked[Name.CPU_MODEL] == 12


def test_a_host_that_one_check_refuses_is_not_asked_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    view = snapshot([server()], [host("host-a"), host("host-b"), *(host(f"down-{n}", up=False) for n in range(7))])
    asked = asked_of_hosts(monkeypatch, [server()], view)
    assert asked[Name.TARGET_HOST] == 8 and asked[Name.AVAILABILITY_ZONE] == asked[Name.CAPACITY] == 1


def test_a_check_that_reads_more_on_some_hosts_is_never_taken_for_another_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The row of the first server knows host-b only, where nothing of the flavor is read."""

    def check(question: Question) -> Finding:
        assert question.target is not None
        name = question.target.name
        if name == "host-b":
            return passed(Name.STORAGE, "fine", name)
        if question.server.flavor.vcpus > 2:
            return failed(Name.STORAGE, Reason.LOCAL_DISK, f"{question.server.flavor.vcpus} are many", "less", name)
        return passed(Name.STORAGE, "few", name)

    first, *rest = CHAINS[ResolvedType.LIVE]
    odd = [replace(p, check=check) if p.name is Name.STORAGE else p for p in (first, *rest)]
    for module in (host_assessments, __import__("vmferry.planning.targets", fromlist=["CHAINS"])):
        monkeypatch.setattr(module, "CHAINS", {ResolvedType.LIVE: tuple(odd)})
    pinned = server(name="one", flavor=flavor(vcpus=1, extra_specs={"trait:CUSTOM_B": "required"}))
    hosts = [host("host-a"), host("host-b", traits=frozenset({"CUSTOM_B"})), host("host-c")]
    others = [server(name=f"s{n}", flavor=flavor(vcpus=n)) for n in (4, 2, 6)]
    view = snapshot([pinned, *others], hosts)
    memory, policy = HostAssessments(), Policy()
    for of in (pinned, *others, pinned):
        question = Request(attested=None).question(of, ResolvedType.LIVE, view, policy, NOW, NO_OTHERS)
        assert memory.assess_hosts(question, None, frozenset()) == assess_hosts(question, None, frozenset())


READS: dict[str, Callable[[Server], object]] = {
    "compares whole servers": lambda one: one == server(),
    "hashes a server": lambda one: hash(one),
    "asks for what a server has not": lambda one: getattr(one, "colour"),  # noqa: B009
}


@pytest.mark.parametrize("sentence", READS)
def test_a_check_that_cannot_be_observed_fails_loudly(sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def check(question: Question) -> Finding:
        READS[sentence](question.server)
        return passed(Name.CAPACITY, "fine")

    capacity = [replace(p, check=check) for p in CHAINS[ResolvedType.LIVE] if p.name is Name.CAPACITY]
    monkeypatch.setattr(host_assessments, "CHAINS", {ResolvedType.LIVE: tuple(capacity)})
    view = snapshot()
    question = Request(attested=None).question(
        server(), ResolvedType.LIVE, view, Policy(), NOW + timedelta(seconds=1), NO_OTHERS
    )
    with pytest.raises((TypeError, AttributeError)):
        HostAssessments().assess_hosts(question, None, frozenset())


def test_what_another_view_makes_useless_is_freed_without_the_garbage_collector() -> None:
    """Each answer keeps its view: thousands of servers, which the collector may be kept from finding for minutes."""

    class Hosts(dict[str, Host]):
        """A mapping whose end can be seen."""

    plain = big_fleet(20, 40)
    views = [replace(plain, hosts=Hosts(plain.hosts)) for _ in range(2)]
    memory, first = HostAssessments(), weakref.ref(views[0].hosts)
    gc.collect()
    gc.disable()
    try:
        for _ in range(2):
            view = views.pop(0)
            for of in view.servers.values():
                memory.assess_hosts(
                    Request(attested=None).question(of, ResolvedType.LIVE, view, Policy(), NOW, NO_OTHERS),
                    None,
                    frozenset(),
                )
        assert first() is None
    finally:
        gc.enable()


def test_the_index_of_groups_says_what_going_through_them_does() -> None:
    view = big_fleet(20, 200)
    plain = replace(view, groups_by_server=None)
    found = {one: view.group_of(one) for one in [*view.servers, "nobody"]}
    assert found == {one: plain.group_of(one) for one in found}
    assert any(found.values()) and found["nobody"] is None


def test_flavors_of_another_size_are_told_apart() -> None:
    sizes: list[Flavor] = [flavor(memory_mb=size) for size in (1024, 60_000, 70_000)]
    servers = [server(name=f"s{n}", flavor=size) for n, size in enumerate(sizes)]
    view, memory, policy = snapshot(servers, [host(f"host-{x}") for x in "abc"]), HostAssessments(), Policy()
    seen = []
    for of in servers:
        question = Request(attested=None).question(of, ResolvedType.LIVE, view, policy, NOW, NO_OTHERS)
        seen.append([r.share for r in memory.assess_hosts(question, None, frozenset()).eligible])
    assert seen == [[0.02, 0.02], [0.92, 0.92], []]


def test_what_is_set_apart_refuses_no_host() -> None:
    """Capacity and server groups change while a plan grows, so a drain asks for hosts without them."""
    web, friend = server(), server(name="friend", host="host-b")
    group = ServerGroup("g", "apart", "anti-affinity", frozenset({web.id, friend.id}))
    full = host("host-c", inventories={"VCPU": Inventory(1, 1), "MEMORY_MB": Inventory(1, 1)})
    view = snapshot([web, friend], [host("host-a"), host("host-b"), full], server_groups=[group])
    question = Request(attested=None).question(web, ResolvedType.LIVE, view, Policy(), NOW, NO_OTHERS)
    assert HostAssessments().assess_hosts(question, None, frozenset()).target is None
    assert dict(HostAssessments().takers(question, APART).tiers()) == {"host-b": 0, "host-c": 0}
