"""The fleet file: what it makes, and what it says when it is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from vmferry.simulator import fleet
from vmferry.simulator.__main__ import LAB

GOOD = """
hosts: [{name: a}]
flavors: [{name: small, vcpus: 1, ram_mb: 512, disk_gb: 1}]
images: [{name: cirros}]
"""


@dataclass(frozen=True)
class Wrong:
    text: str
    says: str


WRONG = {
    "not YAML": Wrong("hosts: [", "not YAML"),
    "a list": Wrong("- a", "a mapping with hosts and flavors is needed"),
    "no hosts": Wrong(
        "hosts: []\nflavors: [{name: s, vcpus: 1, ram_mb: 1}]", "hosts: List should have at least 1 item"
    ),
    "no flavors": Wrong("hosts: [{name: a}]", "flavors: Field required"),
    "an unknown key of a host": Wrong(GOOD.replace("name: a", "name: a, cpus: 3"), "hosts[0].cpus: Extra inputs"),
    "a host without CPUs": Wrong(GOOD.replace("name: a", "name: a, vcpus: 0"), "hosts[0].vcpus: Input should be"),
    "a version that is none": Wrong(
        GOOD.replace("name: a", "name: a, hypervisor: new"), "hosts[0].hypervisor: String should match"
    ),
    "two hosts of one name": Wrong(GOOD.replace("[{name: a}]", "[{name: a}, {name: a}]"), "there are two named a"),
    "several hosts of one name": Wrong(GOOD.replace("name: a", "name: a, count: 2"), "needs {n} in it"),
    "an aggregate of an unknown host": Wrong(
        GOOD + "aggregates: [{name: c, hosts: [b]}]", "aggregate c: there is no host b"
    ),
    "a host in two zones": Wrong(
        GOOD + "aggregates: [{name: c, zone: x, hosts: [a]}, {name: d, zone: y, hosts: [a]}]",
        "aggregate d: host a would be in two zones, x and y",
    ),
    "a server of an unknown flavor": Wrong(
        GOOD + "servers: [{name: s, flavor: big, image: cirros}]",
        "server s: there is no flavor big (there are: small)",
    ),
    "a server on an unknown host": Wrong(
        GOOD + "servers: [{name: s, flavor: small, image: cirros, host: b}]", "server s: there is no host b"
    ),
    "a server without a disk": Wrong(GOOD + "servers: [{name: s, flavor: small}]", "give either image or volume"),
    "a server in no known state": Wrong(
        GOOD + "servers: [{name: s, flavor: small, image: cirros, state: happy}]", "servers[0].state: Input should be"
    ),
    "more servers than a host can hold": Wrong(
        GOOD.replace("name: a", "name: a, memory_gb: 1, reserved_memory_mb: 0")
        + 'servers: [{name: "s{n}", count: 3, flavor: small, image: cirros}]',
        "server s3: host a has no room left for flavor small",
    ),
    "a user of an unknown project": Wrong(
        GOOD + "users: [{name: u, project: p}]", "user u: there is no project p (there are: admin, tenant)"
    ),
    "a microversion that Nova never had": Wrong(
        GOOD + 'settings: {nova: {max_microversion: "3.1"}}', "settings.nova.max_microversion: String should match"
    ),
    "a duration below zero": Wrong(
        GOOD + "settings: {durations: {boot: -1}}", "settings.durations.boot: Input should be greater"
    ),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_a_fleet_file_with(tmp_path: Path, wrong: Wrong) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(wrong.text)
    with pytest.raises(fleet.FleetError) as refused:
        fleet.build(fleet.load(file))
    assert wrong.says in str(refused.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(fleet.FleetError, match="No such file"):
        fleet.load(tmp_path / "none.yaml")


def test_the_lab_has_the_hosts_of_the_real_one() -> None:
    cloud = fleet.build(fleet.load(LAB))
    hosts = cloud.hosts
    assert list(hosts) == ["cmp1", "cmp2", "cmp3", "cmp4"]
    assert [host.hypervisor_version for host in hosts.values()] == [6002000, 6002000, 6002000, 8002002]
    assert hosts["cmp1"].cpu == hosts["cmp2"].cpu == hosts["cmp4"].cpu
    assert hosts["cmp1"].cpu.runs(hosts["cmp3"].cpu)
    assert not hosts["cmp3"].cpu.runs(hosts["cmp1"].cpu)
    assert {host.store for host in hosts.values()} == {"lab"}
    assert {cloud.zone_of(name) for name in hosts} == {"cluster1"}
    assert {flavor.name for flavor in cloud.flavors.values()} == {"m1.small", "m1.tiny", "m1.large"}


def test_servers_without_a_host_are_spread_over_all(tmp_path: Path) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(
        GOOD.replace("name: a", 'name: "h{n}", count: 3')
        + 'servers: [{name: "s{n}", count: 6, flavor: small, image: cirros}]'
    )
    cloud = fleet.build(fleet.load(file))
    assert [len(cloud.servers_on(host)) for host in cloud.hosts] == [2, 2, 2]


def test_the_same_seed_makes_the_same_ids() -> None:
    first, second = (fleet.build(fleet.load(LAB)) for _ in range(2))
    assert [host.uuid for host in first.hosts.values()] == [host.uuid for host in second.hosts.values()]
