"""A second record of a compute service, as the client reads it from the simulated cloud (I36)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from testbed.cloud import CLOUD_NAME
from testbed.simulator import SimulatedCloud
from tests.simulator.own_cloud import look, own_cloud
from vmferry.cloud.nova import CloudError, NovaClient

pytestmark = pytest.mark.simulator
STRAY = "11111111-1111-4111-8111-111111111111"
FLEET = {
    "flavors": [{"name": "m1.tiny", "vcpus": 1, "ram_mb": 256, "disk_gb": 1}],
    "hosts": [{"name": "a"}, {"name": "b"}],
}


@pytest.fixture(scope="module", params=[False, True], ids=["it is last", "it is first"])
def cloud(request: pytest.FixtureRequest) -> Iterator[SimulatedCloud]:
    stray = {"id": STRAY, "host": "a", "forced_down": True, "first": request.param}
    with own_cloud({**FLEET, "services": [stray]}) as made:
        yield made


async def test_I36_the_view_holds_no_host_of_that_name(cloud: SimulatedCloud) -> None:
    view = await look(cloud)
    assert set(view.hosts) == {"b"} and set(view.doubtful_hosts) == {"a"}
    doubt = view.doubtful_hosts["a"]
    assert STRAY in doubt.problem and "(up, enabled)" in doubt.problem
    (uuid,) = doubt.hypervisors
    assert view.find_doubt(uuid) is doubt


def test_I36_no_look_at_such_a_host_says_anything(cloud: SimulatedCloud) -> None:
    client = NovaClient(CLOUD_NAME, clouds_yaml=cloud.clouds_yaml)
    client.connect()
    for read in (client.service, client.host_look):
        with pytest.raises(CloudError, match=STRAY):
            read("a")
    assert client.service("b") is not None and client.service("c") is None
