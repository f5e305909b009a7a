"""PCD's resource manager, as the simulated cloud has it: its facts reach the shared view, its failures do not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from testbed.processes import wait_for
from testbed.simulator import SimulatedCloud
from tests.simulator.own_cloud import look, own_cloud
from vmferry.cloud.model import Snapshot
from vmferry.policy import Policy
from vmferry.prerequisites import host_facts

pytestmark = pytest.mark.simulator

FLEET = {
    "settings": {"resource_manager": True, "nova": {"cpu_mode": "custom", "cpu_model": "IvyBridge-IBRS"}},
    "projects": ["admin", "tenant"],
    "flavors": [{"name": "m1.tiny", "vcpus": 1, "ram_mb": 256, "disk_gb": 1}],
    "images": [{"name": "cirros"}],
    "hosts": [
        {"name": "a", "os": "Ubuntu 22.04.5 LTS"},
        {"name": "b", "os": "Ubuntu 24.04.1 LTS"},
        {"name": "c", "os": ""},
        {"name": "d", "os": "Ubuntu 22.04.4 LTS"},
    ],
    "aggregates": [
        {"name": "c1", "zone": "c1", "hosts": ["a", "b", "c"]},
        {"name": "rack-1", "hosts": ["d"], "metadata": {"vmferry:os_version": "Ubuntu 24.04"}},
    ],
}


@pytest.fixture(scope="module")
def managed() -> Iterator[SimulatedCloud]:
    """A cloud with a resource manager."""
    with own_cloud(FLEET) as made:
        yield made


async def test_its_facts_reach_the_shared_view(managed: SimulatedCloud) -> None:
    hosts = (await look(managed)).hosts
    systems = {name: host_facts.operating_system(host, Policy()) for name, host in hosts.items()}
    assert str(systems["a"].value) == "Ubuntu 22.04"
    assert str(systems["b"].value) == "Ubuntu 24.04"
    assert systems["c"].facts == ()
    assert str(systems["d"]) == "Ubuntu 22.04 (resource manager), Ubuntu 24.04 (aggregate rack-1, vmferry:os_version)"
    assert systems["d"].contradictory
    guests = {name: host_facts.guest_cpu(host, Policy()).value for name, host in hosts.items()}
    assert str(guests["a"]) == "Custom IvyBridge-IBRS"
    assert guests["d"] is None, "it is in no cluster"
    assert [fact.origin for fact in hosts["a"].facts.cpu] == ["Nova", "resource manager"]
    cpu = host_facts.cpu(hosts["a"]).value
    assert cpu is not None and cpu.features_complete


async def test_it_is_a_second_witness_of_a_failed_host(managed: SimulatedCloud) -> None:
    def responding(view: Snapshot) -> dict[str, bool]:
        return {name: host.facts.responding[0].value for name, host in view.hosts.items()}

    assert all(responding(await look(managed)).values())
    managed.kill_compute("b")
    try:
        assert responding(await look(managed)) == {"a": True, "b": False, "c": True, "d": True}
    finally:
        managed.start_compute("b")
        wait_for(lambda: managed.control("GET", "/state")["hosts"]["b"], 240, "b to be back")


@pytest.mark.parametrize("fault", [{"status": 503}, {"status": 404}, {"drop": "before"}])
async def test_its_failure_leaves_its_facts_missing_and_the_view_fresh(
    managed: SimulatedCloud, fault: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    managed.fault(method="GET", path="/resmgr", **fault)
    try:
        view = await look(managed)
    finally:
        managed.clear_faults()
    assert host_facts.operating_system(view.hosts["a"], Policy()).facts == ()
    assert str(host_facts.operating_system(view.hosts["d"], Policy()).value) == "Ubuntu 24.04", (
        "the aggregate still tells"
    )
    assert host_facts.cpu(view.hosts["a"]).value is not None, "so does Nova"
    age = view.age(datetime.now(UTC))
    assert age is not None and age.total_seconds() < 60
    assert view.trouble is None
    assert "its facts are missing" in caplog.text


async def test_a_cloud_without_one_is_not_asked(simulated_cloud: SimulatedCloud) -> None:
    simulated_cloud.forget_requests()
    view = await look(simulated_cloud)
    assert all(host.facts.operating_system == () and host.facts.cpu for host in view.hosts.values())
    assert not [route for route in simulated_cloud.requests() if "resmgr" in route]
