"""A cell whose database does not answer, as the client reads it from the simulated cloud."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from testbed.cloud import CLOUD_NAME
from testbed.simulator import SimulatedCloud
from tests.simulator.own_cloud import look, own_cloud
from vmferry.cloud.nova import CellUnreachableError, NovaClient

pytestmark = pytest.mark.simulator
FLEET = {
    "flavors": [{"name": "m1.tiny", "vcpus": 1, "ram_mb": 256, "disk_gb": 1}],
    "images": [{"name": "cirros"}],
    "hosts": [{"name": "near"}, {"name": "far"}],
    "servers": [
        {"name": f"vm-{host}", "host": host, "flavor": "m1.tiny", "image": "cirros"} for host in ("near", "far")
    ],
}


@pytest.fixture(scope="module")
def cloud() -> Iterator[SimulatedCloud]:
    with own_cloud(FLEET) as made:
        yield made


def test_what_lies_in_the_other_cells_is_read(cloud: SimulatedCloud) -> None:
    servers = {one.name: one.id for one in asyncio.run(look(cloud)).servers.values()}
    cloud.control("PUT", "/hosts/far/cell", {"down": True})
    view = asyncio.run(look(cloud))
    assert set(view.hosts) == {"near"} and view.trouble is None
    assert view.doubtful_hosts["far"].unreachable
    assert set(view.servers) == {servers["vm-near"]}
    client = NovaClient(CLOUD_NAME, clouds_yaml=cloud.clouds_yaml)
    client.connect()
    for read in (lambda: client.server(servers["vm-far"]), lambda: client.host_look("far")):
        with pytest.raises(CellUnreachableError):
            read()
    cloud.control("PUT", "/hosts/far/cell", {"down": False})
    assert set(asyncio.run(look(cloud)).hosts) == {"near", "far"}
