"""One suite for both clouds: what the client does and what of Nova the operator relies on.

A test that passes on one of them only shows a defect of the simulator, or a fact about Nova that nobody knew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from testbed.cloud import CLOUD_NAME, CloudLab
from testbed.processes import wait_for
from testbed.tenant import Tenant
from tests.contract.looks import Looks
from vmferry.cloud.nova import NovaClient

#: (name, host, **more) -> server id; see `Tenant.boot`
Boot = Callable[..., str]


@pytest.fixture(
    scope="session",
    params=[
        pytest.param("simulated_cloud", marks=pytest.mark.simulator),
        pytest.param("nova_lab", marks=pytest.mark.nova),
    ],
    ids=["simulator", "nova"],
)
def lab(request: pytest.FixtureRequest) -> CloudLab:
    """Either cloud; a test that uses it runs on both."""
    found: CloudLab = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="session")
def client(lab: CloudLab) -> NovaClient:
    """The client, opened with an administrator's credentials."""
    made = NovaClient(CLOUD_NAME, clouds_yaml=lab.clouds_yaml)
    made.connect()
    return made


@pytest.fixture(scope="session")
def admin(lab: CloudLab) -> Tenant:
    """Another administrator."""
    return Tenant(lab.clouds_yaml)


@pytest.fixture(scope="session")
def tenant(lab: CloudLab) -> Tenant:
    """Somebody who is no administrator."""
    return Tenant(lab.clouds_yaml, cloud="tenant")


@pytest.fixture(scope="session")
def looks(client: NovaClient) -> Looks:
    """Waits, in the client's words."""
    return Looks(client)


@pytest.fixture
def boot(lab: CloudLab, admin: Tenant) -> Iterator[Boot]:
    """Boots servers that are deleted after the test, when the knobs are reset too."""
    booted: list[str] = []

    def boot_one(host: str = "cmp1", name: str = "contract", **more: object) -> str:
        booted.append(admin.boot(name, host, **more))  # type: ignore[arg-type]
        return booted[-1]

    yield boot_one
    lab.reset_knobs()
    admin.delete(*booted)


@pytest.fixture(scope="module")
def active(admin: Tenant) -> Iterator[str]:
    """One ACTIVE server on cmp1 for all tests of a module that leave it as it is."""
    server = admin.boot("active", "cmp1")
    yield server
    admin.delete(server)


@pytest.fixture(scope="module")
def stopped(admin: Tenant) -> Iterator[str]:
    """The same, stopped."""
    server = admin.boot("stopped", "cmp1")
    admin.stop(server)
    yield server
    admin.delete(server)


@pytest.fixture(scope="module")
def dead_host(lab: CloudLab, admin: Tenant) -> Iterator[str]:
    """cmp4 without its nova-compute, seen as down; comes back after the module unless a test started it."""
    lab.kill_compute("cmp4")
    try:
        wait_for(lambda: admin.service("cmp4")["state"] == "down", 240, "cmp4 to be down")
        yield "cmp4"
    finally:
        if admin.service("cmp4")["state"] != "up":
            lab.start_compute("cmp4")
