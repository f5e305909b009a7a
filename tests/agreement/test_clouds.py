"""The hosts of a fleet as the simulator's own."""

from __future__ import annotations

import dataclasses

import pytest

from testbed.agreement.clouds import SIMULATOR_SETTINGS, fleet_file
from testbed.agreement.fleet import generate
from testbed.nova.hosts import DEFAULT_HOSTS
from vmferry.simulator import fleet
from vmferry.simulator.__main__ import LAB
from vmferry.simulator.model import Host


def facts(host: Host) -> dict[str, object]:
    """What does not differ from run to run, and neither what a store is called nor what only the simulator tells."""
    skipped = ("uuid", "service_uuid", "started_at", "store", "os_version")
    return {field.name: getattr(host, field.name) for field in dataclasses.fields(host) if field.name not in skipped}


def test_the_real_labs_hosts_are_those_of_the_simulators_lab() -> None:
    made = fleet.build(fleet.Fleet.model_validate(fleet_file(DEFAULT_HOSTS)))
    lab = fleet.build(fleet.load(LAB))
    assert {name: facts(host) for name, host in made.hosts.items()} == {n: facts(h) for n, h in lab.hosts.items()}


@pytest.mark.parametrize("seed", range(5))
def test_a_generated_fleet_is_a_fleet_file(seed: int) -> None:
    hosts = generate(seed).hosts
    cloud = fleet.build(fleet.Fleet.model_validate(fleet_file(hosts, SIMULATOR_SETTINGS)))
    assert list(cloud.hosts) == [host.name for host in hosts]
    for host in hosts:
        made = cloud.hosts[host.name]
        assert (made.cpu.model, made.cpu.features) == (host.cpu_model, frozenset(host.cpu_features))
        assert made.hypervisor_version == host.qemu[0] * 1_000_000 + host.qemu[1] * 1000 + host.qemu[2]
        assert (made.memory_mb, made.disk_gb) == (host.memory_gb * 1024, host.disk_gb)
        assert made.vcpus == host.numa_cells * host.cores_per_cell * host.threads_per_core
        assert made.store == (None if host.store == "local" else host.store)
        assert cloud.zone_of(host.name) == "cluster1"
    assert cloud.settings.durations.live_copy < 1
    assert cloud.settings.nova.copy_failure == "error"  # what the lab's file says stays
