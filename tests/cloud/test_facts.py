"""Facts of hosts: what free texts, marks and the resource manager say, and what they say together."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.build import JAMMY, NOBLE, NOW, SKYLAKE, host, hypervisor
from tests.cloud.samples import HYPERVISOR
from vmferry.cloud.facts import marks, resource_manager
from vmferry.cloud.facts.collect import with_facts
from vmferry.cloud.facts.guest_cpu import guest_cpu
from vmferry.cloud.facts.os_info import operating_system, unreadable
from vmferry.cloud.model import CPU, Aggregate, Fact, GuestCPU, GuestCPUMode, HostFacts, OperatingSystem, agree
from vmferry.cloud.nova import parse

OS_INFO: dict[str, str | None] = {
    "Ubuntu 22.04.5 LTS": "Ubuntu 22.04",
    "Ubuntu 22.04": "Ubuntu 22.04",
    "Ubuntu 24.04.1 LTS (GNU/Linux 6.8.0-45-generic x86_64)": "Ubuntu 24.04",
    "Linux Ubuntu 22.04 jammy 5.15.0-91-generic": "Ubuntu 22.04",
    "('Ubuntu', '22.04', 'jammy')": "Ubuntu 22.04",
    'PRETTY_NAME="Ubuntu 24.04 LTS"': "Ubuntu 24.04",
    "  ubuntu-22.04 ": "Ubuntu 22.04",
    "ubuntu_22.04": "Ubuntu 22.04",
    "Ubuntu 22.10": "Ubuntu 22.10",
    "Debian GNU/Linux 12 (bookworm)": "Debian 12",
    "Debian 12.5": "Debian 12",
    "Red Hat Enterprise Linux 9.4 (Plow)": "Red Hat Enterprise Linux 9.4",
    "Red Hat Enterprise Linux Server release 7.9 (Maipo)": "Red Hat Enterprise Linux 7.9",
    "CentOS Stream 9": "CentOS Stream 9",
    "CentOS Linux release 7.9.2009 (Core)": "CentOS 7",
    "Rocky Linux 9.4 (Blue Onyx)": "Rocky Linux 9.4",
    "AlmaLinux 9.3": "AlmaLinux 9.3",
    "Oracle Linux Server 8.10": "Oracle Linux 8.10",
    "openEuler 22.03 (LTS-SP3)": "openEuler 22.03",
    # systems without known steps: their text, to be compared for equality
    "Garden Linux 1592.4": "Garden Linux 1592.4",
    " Garden  Linux 1592.4 ": "Garden Linux 1592.4",
    "SLES 15.5": "SLES 15.5",
    "openSUSE Leap 15.5": "openSUSE Leap 15.5",
    "RHEL CoreOS": "RHEL CoreOS",
    "Debian bookworm": "Debian bookworm",
    "Rocky Linux 9": "Rocky Linux 9",
    "Ubuntu 22": "Ubuntu 22",
    "jammy": "jammy",
    "Kubuntu 22.04": "Kubuntu 22.04",
    "Windows Server 2022": "Windows Server 2022",
    # a name without a version, a kernel, a version of nothing, several systems: nothing is guessed
    "Ubuntu": None,
    "Rocky Linux": None,
    "RHEL": None,
    "22.04": None,
    "Linux": None,
    "Linux 5.15.0-91-generic": None,
    "Ubuntu 22.04 or Ubuntu 24.04": None,
    "Ubuntu 22.04, Debian 12": None,
    "": None,
}


@pytest.mark.parametrize(("text", "found"), OS_INFO.items(), ids=OS_INFO)
def test_R13_distribution_and_version_out_of_free_text(text: str, found: str | None) -> None:
    system = operating_system(text)
    assert (None if system is None else str(system)) == found


def test_no_text_is_no_system() -> None:
    assert operating_system(None) is None


def test_versions_compare_as_numbers_and_only_within_a_distribution() -> None:
    assert OperatingSystem("Rocky Linux", "9.4").older_than(OperatingSystem("Rocky Linux", "9.10"))
    assert JAMMY.older_than(NOBLE) and not NOBLE.older_than(JAMMY) and not JAMMY.older_than(JAMMY)
    assert not OperatingSystem("Debian", "12").older_than(JAMMY)


def test_R13_other_systems_are_equal_to_their_own_text_only_and_have_no_order() -> None:
    texts = ["Garden Linux 1592.4", "Garden Linux 1592.5", "SLES 15.5", "Rocky Linux 9", "Rocky Linux 9.4", "jammy"]
    systems = [operating_system(text) for text in texts]
    assert None not in systems and len(set(systems)) == len(texts)
    for one in systems:
        for other in systems:
            assert one is not None and other is not None
            assert not one.older_than(other), f"{one} < {other}"
    assert operating_system("garden linux  1592.4") == operating_system("Garden Linux 1592.4")
    assert hash(operating_system("SLES 15.5")) == hash(operating_system("sles 15.5"))


@given(st.text(max_size=40), st.text(max_size=40))
def test_R13_any_text_is_a_system_or_has_a_reason_not_to_be(one: str, other: str) -> None:
    first, second = operating_system(one), operating_system(other)
    assert (first is None) == (unreadable(one) is not None)
    if first is not None and second is not None:
        assert not (first.older_than(second) and second.older_than(first))
        assert not (first == second and first.older_than(second))
        assert operating_system(str(first)) == first, "a text in a configuration means what it was written for"


# ---- Nova's cpu_info

_CPU = {"vendor": "Intel", "arch": "x86_64", "model": "Haswell", "topology": {}, "features": ["fpu", "avx2"]}
_READ = CPU("Intel", "x86_64", "Haswell", frozenset({"fpu", "avx2"}))
CPU_INFO: dict[str, tuple[Any, CPU | None]] = {
    "an object": (_CPU, _READ),
    "JSON in a string": (json.dumps(_CPU), _READ),
    "an empty object: the driver tells none": ({}, None),
    "missing": (None, None),
    "an empty string": ("", None),
    "a string that is no JSON": ("Haswell", None),
    "a CPU without a name": ({**_CPU, "model": None, "features": None}, CPU("Intel", "x86_64")),
}


@pytest.mark.parametrize("sentence", CPU_INFO)
def test_cpu_info_of_a_hypervisor(sentence: str) -> None:
    raw, cpu = CPU_INFO[sentence]
    assert parse.hypervisor({**HYPERVISOR, "cpu_info": raw}).cpu == cpu


# ---- marks


def aggregate(name: str = "rack-1", **metadata: str) -> Aggregate:
    return Aggregate(1, name, None, frozenset({"host-a"}), {k.replace("__", ":"): v for k, v in metadata.items()})


def said(facts: HostFacts) -> list[str]:
    read = [str(f) for f in (*facts.operating_system, *facts.guest_cpu, *facts.storage_pool)]
    return read + [one.message for one in facts.unreadable]


MARKS: dict[str, tuple[dict[str, str], list[str]]] = {
    "one text": ({"os_version": "Ubuntu 22.04"}, ["Ubuntu 22.04 (aggregate rack-1, os_version)"]),
    "distribution and version": (
        {"os_distro": "ubuntu", "os_version": "22.04"},
        ["Ubuntu 22.04 (aggregate rack-1, os_version)"],
    ),
    "with the prefix": (
        {"vmferry__os_version": "Ubuntu 22.04"},
        ["Ubuntu 22.04 (aggregate rack-1, vmferry:os_version)"],
    ),
    "the prefixed key wins: the plain one may be about guests": (
        {"os_version": "Debian 12", "vmferry__os_version": "Ubuntu 22.04"},
        ["Ubuntu 22.04 (aggregate rack-1, vmferry:os_version)"],
    ),
    "a version without its distribution": (
        {"os_version": "22.04"},
        ["aggregate rack-1 has os_version='22.04': it names no distribution"],
    ),
    "a distribution without its version": (
        {"vmferry__os_distro": "ubuntu"},
        ["aggregate rack-1 has vmferry:os_distro='ubuntu': it names no version"],
    ),
    "another system, meant of the hosts": (
        {"vmferry__os_version": "Garden Linux 1592.4"},
        ["Garden Linux 1592.4 (aggregate rack-1, vmferry:os_version)"],
    ),
    "another system in two keys": (
        {"vmferry__os_distro": "sles", "vmferry__os_version": "15.5"},
        ["sles 15.5 (aggregate rack-1, vmferry:os_version)"],
    ),
    "another system in a plain key may be the guests'": (
        {"os_version": "Windows 2022"},
        [
            "aggregate rack-1 has os_version='Windows 2022': not a system that is known here; if it is the host's, "
            "write it as vmferry:os_version"
        ],
    ),
    "several systems": (
        {"vmferry__os_version": "Ubuntu 22.04, Debian 12"},
        [
            "aggregate rack-1 has vmferry:os_version='Ubuntu 22.04, Debian 12': it names several systems: Debian 12, "
            "Ubuntu 22.04"
        ],
    ),
    "a custom CPU": (
        {"cpu_mode": "custom", "cpu_model": "Haswell"},
        ["Custom Haswell (aggregate rack-1, cpu_mode)"],
    ),
    "a CPU model alone is a custom one": ({"cpu_model": "Haswell"}, ["Custom Haswell (aggregate rack-1, cpu_mode)"]),
    "the hosts' own CPU": ({"vmferry__cpu_mode": "host-model"}, ["HostModel (aggregate rack-1, vmferry:cpu_mode)"]),
    "a custom CPU without its model": (
        {"cpu_mode": "custom"},
        ["aggregate rack-1 has cpu_mode='custom': cpu_model is missing"],
    ),
    "a CPU mode that Nova does not have": (
        {"cpu_mode": "none-such"},
        ["aggregate rack-1 has cpu_mode='none-such': host-model, host-passthrough or custom is expected"],
    ),
    "a CPU model that goes with another mode": (
        {"cpu_mode": "host-model", "cpu_model": "Haswell"},
        [
            "HostModel (aggregate rack-1, cpu_mode)",
            "aggregate rack-1 has cpu_model='Haswell': it goes with cpu_mode=custom, and cpu_mode is host-model",
        ],
    ),
    "a shared storage": ({"shared_storage": "nfs-1"}, ["nfs-1 (aggregate rack-1, shared_storage)"]),
    "that some storage is shared names none": (
        {"shared_storage": "True"},
        ["aggregate rack-1 has shared_storage='True': give the storage a name, equal for hosts that share it"],
    ),
    "other keys": ({"availability_zone": "cluster1", "ssd": "true"}, []),
}


@pytest.mark.parametrize("sentence", MARKS)
def test_aggregate_metadata(sentence: str) -> None:
    metadata, facts = MARKS[sentence]
    assert said(marks.facts([aggregate(**metadata)], (), NOW)) == facts


TRAITS = {
    "CUSTOM_OS_UBUNTU_22_04": "Ubuntu 22.04",
    "CUSTOM_OS_ROCKY_LINUX_9_4": "Rocky Linux 9.4",
    "CUSTOM_OS_DEBIAN_12": "Debian 12",
    "CUSTOM_OS_GARDEN_LINUX_1592_4": "GARDEN LINUX 1592.4",
    "CUSTOM_UBUNTU_22_04": None,
    "HW_CPU_X86_AVX": None,
}


@pytest.mark.parametrize(("trait", "system"), TRAITS.items())
def test_custom_traits(trait: str, system: str | None) -> None:
    assert said(marks.facts((), {trait}, NOW)) == ([f"{system} (trait {trait})"] if system else [])


@pytest.mark.parametrize("trait", ["CUSTOM_OS_UBUNTU", "CUSTOM_OS_DISK_SSD", "CUSTOM_OS_22_04"])
def test_a_trait_that_names_no_system_is_not_silently_ignored(trait: str) -> None:
    (message,) = said(marks.facts((), {trait}, NOW))
    assert trait in message and "it names no" in message


@pytest.mark.parametrize("word", ["", "none", "host", "maximum"])
def test_an_unknown_cpu_mode_says_nothing(word: str) -> None:
    assert guest_cpu(word, "Haswell") is None


# ---- the resource manager

HOST = {
    "id": "host-a",
    "info": {
        "hostname": "a.example.org",
        "os_family": "Linux",
        "arch": "x86_64",
        "os_info": "Ubuntu 22.04.5 LTS jammy",
        "responding": True,
        "cpu_info": {"vendor": "GenuineIntel", "model": "Intel(R) Xeon(R) Gold 6130"},
    },
    "roles": [],
}
CLUSTER = {"name": "c1", "hostlist": ["host-a", "host-b"], "cpu": {"mode": "custom", "model": "Haswell"}}


def test_the_resource_managers_hosts_and_clusters() -> None:
    found = resource_manager.parse([HOST], [CLUSTER], NOW)
    assert found["host-a"] == HostFacts(
        operating_system=(Fact(JAMMY, "resource manager"),),
        cpu=(Fact(CPU("Intel", "x86_64", "Intel(R) Xeon(R) Gold 6130"), "resource manager"),),
        guest_cpu=(Fact(GuestCPU(GuestCPUMode.CUSTOM, "Haswell"), "resource manager, cluster c1"),),
        responding=(Fact(True, "resource manager"),),
    )
    assert found["host-b"].guest_cpu and not found["host-b"].operating_system, "in a cluster, not among the hosts"
    assert found["host-a"].operating_system[0].read_at == found["host-b"].guest_cpu[0].read_at == NOW


def test_a_cluster_without_a_cpu_mode_leaves_novas_default() -> None:
    (fact,) = resource_manager.parse([], [{**CLUSTER, "cpu": {"mode": None, "model": None}}], NOW)["host-a"].guest_cpu
    assert fact.value == GuestCPU(GuestCPUMode.HOST_MODEL)


ODD: dict[str, tuple[Any, Any]] = {
    "nothing": (None, None),
    "objects instead of lists": ({"hosts": []}, {"clusters": []}),
    "lists of texts": (["host-a"], ["c1"]),
    "no info": ([{"id": "host-a"}], [{"name": "c1", "hostlist": ["host-a"]}]),
    "info that is no object": ([{"id": "host-a", "info": "?"}], [{"hostlist": "host-a", "cpu": []}]),
    "fields of other types": (
        [
            {"id": "host-a", "info": {"os_info": 22.04, "responding": "yes", "arch": None, "cpu_info": []}},
            {"id": 7, "info": {"os_info": "Ubuntu 22.04"}},
        ],
        [{"name": 1, "hostlist": [None, 1], "cpu": {"mode": "host-model"}}, {"hostlist": None, "cpu": {"mode": 1}}],
    ),
}


@pytest.mark.parametrize("sentence", ODD)
def test_what_is_not_as_expected_says_nothing(sentence: str) -> None:
    found = resource_manager.parse(*ODD[sentence], NOW)
    assert all(facts == HostFacts() for facts in found.values()), found


def test_a_resource_manager_that_fails_leaves_its_facts_missing_and_says_why() -> None:
    class Client:
        def resource_manager(self, path: str, query: Any = None) -> Any:
            if path == resource_manager.CLUSTERS:
                raise RuntimeError("clusters are on fire")
            return [HOST]

    found, trouble = resource_manager.read(Client())
    assert found["host-a"].operating_system and not found["host-a"].guest_cpu
    assert trouble == "clusters are on fire"


# ---- together


def test_all_sources_are_kept_with_their_origin() -> None:
    seen = host(
        "host-a",
        hypervisor=hypervisor("host-a", cpu=SKYLAKE),
        aggregates=(aggregate(os_version="Ubuntu 24.04", shared_storage="nfs-1"),),
        traits=frozenset({"CUSTOM_OS_UBUNTU_22_04", "HW_CPU_X86_AVX"}),
    )
    facts = with_facts({"host-a": seen}, resource_manager.parse([HOST], [CLUSTER], NOW), NOW)["host-a"].facts
    assert [str(f) for f in facts.operating_system] == [
        "Ubuntu 22.04 (resource manager)",
        "Ubuntu 24.04 (aggregate rack-1, os_version)",
        "Ubuntu 22.04 (trait CUSTOM_OS_UBUNTU_22_04)",
    ]
    assert [f.origin for f in facts.cpu] == ["Nova", "resource manager"]
    assert [f.value for f in facts.storage_pool] == ["nfs-1"]


def test_R19_sources_agree_or_nothing_is_known() -> None:
    first, same, other = Fact(JAMMY, "one"), Fact(JAMMY, "two"), Fact(NOBLE, "three")
    assert agree([first, same]).value == JAMMY
    assert not agree([first, same]).contradictory
    nothing = agree(list[Fact[OperatingSystem]]())
    assert (nothing.value, nothing.contradictory, str(nothing)) == (None, False, "nothing")
    both = agree([first, same, other])
    assert (both.value, both.contradictory) == (None, True), "no source outvotes another one"
    assert str(both) == "Ubuntu 22.04 (one), Ubuntu 22.04 (two), Ubuntu 24.04 (three)"


def test_facts_that_say_the_same_are_equal_whenever_they_were_read() -> None:
    assert Fact(JAMMY, "Nova", NOW) == Fact(JAMMY, "Nova", NOW + timedelta(hours=1))
