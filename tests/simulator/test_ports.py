"""What of a server may not move everywhere, as the simulated cloud tells it: ports with devices, image properties."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from testbed.simulator import SimulatedCloud
from tests.simulator.bench import Bench
from tests.simulator.own_cloud import look, own_cloud
from vmferry.cloud.model import ResolvedType, Snapshot
from vmferry.planning.request import NO_OTHERS, Request
from vmferry.policy import Policy
from vmferry.prerequisites import devices
from vmferry.prerequisites.check import Finding
from vmferry.prerequisites.enums import Result
from vmferry.resources.words import MigrationType

FLEET = {
    "projects": ["admin", "tenant"],
    "flavors": [{"name": "m1.tiny", "vcpus": 1, "ram_mb": 256, "disk_gb": 1}],
    "images": [{"name": "cirros"}, {"name": "windows", "properties": {"hw_tpm_version": "2.0"}}],
    "hosts": [{"name": "a"}, {"name": "b"}],
    "servers": [
        {"name": "plain", "flavor": "m1.tiny", "image": "cirros", "host": "a"},
        {"name": "sriov", "flavor": "m1.tiny", "image": "cirros", "host": "a", "ports": ["normal", "direct"]},
        {"name": "smart", "flavor": "m1.tiny", "image": "cirros", "host": "a", "ports": ["accelerator-direct"]},
        {"name": "vtpm", "flavor": "m1.tiny", "image": "windows", "host": "a"},
    ],
}


async def test_ports_are_listed_by_type_and_page_by_page() -> None:
    bench = await Bench.open()
    try:
        one = await bench.server(ports=["direct", "vdpa"])
        two = await bench.server(ports=["vdpa"])
        path = "/network/v2.0/ports?binding:vnic_type=vdpa&binding:vnic_type=macvtap&fields=device_id&fields=id&limit=1"
        seen = []
        while path:
            body = await (await bench.raw("GET", path)).json()
            seen += [port["device_id"] for port in body["ports"]]
            links = body.get("ports_links", [])
            path = "/network/v2.0" + links[0]["href"].partition("/network/v2.0")[2] if links else ""
        assert seen == [one, two]
    finally:
        await bench.close()


@pytest.fixture(scope="module")
def cloud() -> Iterator[SimulatedCloud]:
    with own_cloud(FLEET) as made:
        yield made


def judge(view: Snapshot) -> dict[str, Finding]:
    """What Devices finds, by the server's name."""
    request, now = Request(MigrationType.LIVE, None, attested=None), datetime.now(UTC)
    return {
        server.name: devices.check(request.question(server, ResolvedType.LIVE, view, Policy(), now, NO_OTHERS))
        for server in view.servers.values()
    }


@pytest.mark.simulator
async def test_R18_what_is_attached_decides(cloud: SimulatedCloud) -> None:
    found = judge(await look(cloud))
    assert {name: finding.result for name, finding in found.items()} == {
        "plain": Result.PASSED,
        "sriov": Result.UNKNOWN,
        "smart": Result.FAILED,
        "vtpm": Result.FAILED,
    }
    assert "ports of type direct" in found["sriov"].message
    assert "vTPM" in found["vtpm"].message


@pytest.mark.simulator
@pytest.mark.parametrize("fault", [{"status": 503}, {"status": 403}, {"drop": "before"}])
async def test_R19_a_neutron_that_tells_nothing_leaves_ports_unknown_and_the_view_fresh(
    cloud: SimulatedCloud, fault: dict[str, object]
) -> None:
    cloud.fault(method="GET", path="/network", **fault)
    try:
        view = await look(cloud)
    finally:
        cloud.clear_faults()
    found = judge(view)
    assert found["plain"].result is Result.UNKNOWN
    assert "which ports it has" in found["plain"].message
    assert found["vtpm"].result is Result.FAILED, "what is known for certain stays so"
    assert view.age(datetime.now(UTC)) is not None
    assert view.trouble is None
