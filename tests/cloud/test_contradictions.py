"""I36: two records of one key are believed neither, whatever list they are in and whichever comes first."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.build import host, hypervisor, server, service, snapshot
from vmferry.cloud.contradictions import doubtful_hosts
from vmferry.cloud.facts import resource_manager
from vmferry.cloud.model import CONTRADICTORY, Hypervisor, ServerGroup, Service, agree
from vmferry.cloud.nova import parse

OLD = service("cmp1", id="11111111", up=False, forced_down=True)
LIVING = service("cmp1", id="22222222")
IRONIC = [hypervisor("ctl-ironic", id=f"node-{n}", type="ironic") for n in range(3)]

#: services, hypervisors; the doubtful hosts, and what their problems name
CASES: dict[str, tuple[list[Service], list[Hypervisor], dict[str, tuple[str, ...]]]] = {
    "one service of each name": ([LIVING, service("cmp2")], [hypervisor("cmp1"), hypervisor("cmp2")], {}),
    "an old, dead service of a living host": (
        [LIVING, OLD, service("cmp2")],
        [hypervisor("cmp1")],
        {"cmp1": ("11111111 (forced down, enabled)", "22222222 (up, enabled)")},
    ),
    "two that say the same": ([LIVING, replace(LIVING, id="33")], [], {"cmp1": ("22222222", "33")}),
    "three of them": ([LIVING, OLD, replace(OLD, id="44")], [], {"cmp1": ("3 compute services", "44")}),
    "one record that two pages show": ([LIVING, LIVING], [hypervisor("cmp1"), hypervisor("cmp1")], {}),
    "one record that changed between two pages": ([LIVING, replace(LIVING, enabled=False)], [], {}),
    "names that differ by case are two hosts": ([LIVING, service("CMP1")], [], {}),
    "two hypervisors of one host": (
        [LIVING],
        [hypervisor("cmp1", id="aa"), hypervisor("cmp1", id="bb")],
        {"cmp1": ("2 hypervisors", "aa", "bb")},
    ),
    "one hypervisor of two hosts": (
        [LIVING, service("cmp2")],
        [hypervisor("cmp1", id="aa"), hypervisor("cmp2", id="aa")],
        {"cmp1": ("aa", "cmp1, cmp2"), "cmp2": ("aa", "cmp1, cmp2")},
    ),
    "the nodes of one Ironic service contradict nothing": ([service("ctl-ironic")], IRONIC, {}),
}


@pytest.mark.parametrize("sentence", CASES)
def test_I36_records_that_contradict_each_other(sentence: str) -> None:
    services, hypervisors, expected = CASES[sentence]
    for order in permutations(services):
        found = doubtful_hosts(order, hypervisors)
        assert found.keys() == expected.keys()
        for name, words in expected.items():
            assert all(word in found[name].problem for word in words), found[name].problem
            assert found[name].remedy
        joined = parse.join_hosts(order, hypervisors, [], None, found)
        assert joined.keys() == {one.host for one in services} - expected.keys()


services_of = st.builds(
    service,
    st.sampled_from(("cmp1", "cmp2", "cmp3")),
    id=st.sampled_from(("a", "b", "c", "d", "e")),
    up=st.booleans(),
    forced_down=st.booleans(),
    enabled=st.booleans(),
)
nodes_of = st.builds(
    hypervisor,
    st.sampled_from(("cmp1", "cmp2", "cmp3")),
    id=st.sampled_from(("p", "q", "r", "s")),
    type=st.sampled_from(("QEMU", "ironic")),
)


@given(st.lists(services_of, max_size=6), st.lists(nodes_of, max_size=5), st.randoms(use_true_random=False))
def test_I36_the_order_of_the_records_decides_nothing(
    services: list[Service], hypervisors: list[Hypervisor], random: object
) -> None:
    # records of one id differ in nothing that counts here: the later reading of one record is the true one
    services = list({(one.id, one.host): one for one in services}.values())
    hypervisors = list({(one.id, one.service_host): one for one in hypervisors}.values())
    shuffled, nodes = services.copy(), hypervisors.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    random.shuffle(nodes)  # type: ignore[attr-defined]
    assert doubtful_hosts(services, hypervisors) == doubtful_hosts(shuffled, nodes)
    for name, one in parse.join_hosts(services, hypervisors, [], None, doubtful_hosts(services, hypervisors)).items():
        assert [s for s in services if s.host == name] == [one.service]


def test_I1_a_doubtful_host_is_found_by_its_name_and_its_hypervisors() -> None:
    doubts = doubtful_hosts([LIVING, OLD], [hypervisor("cmp1", id="aa")])
    view = replace(snapshot(hosts=[host("cmp2")]), doubtful_hosts=doubts)
    assert view.find_doubt("cmp1") is view.find_doubt("aa") is doubts["cmp1"]
    assert view.find_doubt("cmp") is view.find_doubt("cmp2") is None
    assert view.find_host("cmp1") is view.find_host("aa") is None


@pytest.mark.parametrize("turned", [False, True], ids=["as listed", "the other way round"])
def test_I36_an_id_that_the_resource_manager_lists_twice(turned: bool) -> None:
    hosts = [
        {"id": "cmp1", "info": {"os_info": "Ubuntu 22.04", "responding": True}},
        {"id": "cmp1", "info": {"os_info": "Ubuntu 24.04", "responding": False}},
    ]
    found = resource_manager.parse(hosts[::-1] if turned else hosts, [], None)["cmp1"]
    assert agree(found.operating_system).contradictory
    assert agree(found.responding).contradictory


@pytest.mark.parametrize("turned", [False, True], ids=["as listed", "the other way round"])
def test_I36_a_server_in_two_groups_has_no_policy_that_is_believed(turned: bool) -> None:
    one, two = server(), server(name="web-2")
    groups = [
        ServerGroup("g1", "apart", "anti-affinity", frozenset({one.id, two.id})),
        ServerGroup("g2", "wish", "soft-affinity", frozenset({one.id})),
    ]
    for view in (
        snapshot([one, two], server_groups=groups[::-1] if turned else groups),
        replace(snapshot([one, two], server_groups=groups), groups_by_server=None),
    ):
        found, other = view.group_of(one.id), view.group_of(two.id)
        assert found is not None and found.policy == CONTRADICTORY and "g1" in found.id and "g2" in found.id
        assert other is not None and other.policy == "anti-affinity"


def test_I36_a_project_whose_name_two_domains_have() -> None:
    view = snapshot(projects={"p1": "shop", "p2": "shop", "p3": "bank"})
    assert "p1, p2" in (view.ambiguous_project("shop") or "")
    assert view.ambiguous_project("p1") is view.ambiguous_project("bank") is view.ambiguous_project("no") is None
