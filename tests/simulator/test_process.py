"""The simulator as a process of its own, through openstacksdk, as demo and tests use it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.cloud import CloudLab
from testbed.processes import ProcessDiedError, Supervisor
from testbed.simulator import SimulatedCloud
from testbed.tenant import Tenant, TenantError
from tests.simulator_fixtures import simulated_cloud

__all__ = ["simulated_cloud"]

pytestmark = pytest.mark.simulator


@pytest.fixture
def admin(simulated_cloud: SimulatedCloud) -> Iterator[Tenant]:
    tenant = Tenant(simulated_cloud.clouds_yaml)
    yield tenant
    simulated_cloud.reset_knobs()
    tenant.delete_booted()


def test_it_is_a_lab(simulated_cloud: SimulatedCloud) -> None:
    lab: CloudLab = simulated_cloud
    assert (lab.name, lab.hosts) == ("simulator", ("cmp1", "cmp2", "cmp3", "cmp4"))


def test_a_server_boots_and_moves(admin: Tenant) -> None:
    server = admin.boot("traveller", "cmp1")
    admin.live_migrate(server, "cmp2")
    admin.wait_idle(server)
    assert admin.host_of(server) == "cmp2"


def test_a_tenant_may_boot_but_not_migrate(simulated_cloud: SimulatedCloud) -> None:
    tenant = Tenant(simulated_cloud.clouds_yaml, cloud="tenant")
    server = tenant.boot("mine")
    try:
        with pytest.raises(TenantError) as refused:
            tenant.live_migrate(server)
        assert refused.value.status == 403
    finally:
        tenant.delete_booted()


def test_a_wrong_knob_is_refused(simulated_cloud: SimulatedCloud) -> None:
    with pytest.raises(ValueError, match="no knob nonsense"):
        simulated_cloud.knob("cmp1", nonsense=1)


def test_a_wrong_fleet_file_ends_it_with_the_reason(tmp_path: Path) -> None:
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text("hosts: [{name: a, cpus: 1}]")
    with pytest.raises(ProcessDiedError, match=r"hosts\[0\].cpus"):
        SimulatedCloud.start(Supervisor(tmp_path / "run"), tmp_path / "run", fleet)


def test_it_prints_its_address_and_keeps_the_secrets_private(tmp_path: Path) -> None:
    clouds = tmp_path / "clouds.yaml"
    command = [sys.executable, "-m", "vmferry.simulator", "--clouds-yaml", str(clouds)]
    project = Path(__file__).resolve().parent.parent.parent
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=project / "operator") as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        assert clouds.stat().st_mode & 0o777 == 0o600
        process.terminate()
        assert process.wait(10) == 0


def test_ten_thousand_servers_on_five_hundred_hosts_are_listed_in_pages(tmp_path: Path) -> None:
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text(
        'hosts: [{name: "h{n}", count: 500}]\n'
        "flavors: [{name: s, vcpus: 1, ram_mb: 512, disk_gb: 1}]\n"
        "images: [{name: i}]\n"
        'servers: [{name: "s{n}", count: 10000, flavor: s, image: i}]\n'
    )
    supervisor = Supervisor(tmp_path / "run")
    try:
        cloud = SimulatedCloud.start(supervisor, tmp_path / "run", fleet)
        admin = Tenant(cloud.clouds_yaml)
        seen: set[str] = set()
        marker = ""
        while page := admin.call("GET", f"/servers/detail?all_tenants=1{marker}")["servers"]:
            assert len(page) == 1000
            seen |= {server["id"] for server in page}
            marker = f"&marker={page[-1]['id']}"
        assert len(seen) == 10_000
    finally:
        supervisor.stop_all()
