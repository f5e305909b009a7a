"""The real Nova of the testbed: its own checks and states, and the levers that tests have on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from testbed.cloud import CloudLab
from testbed.nova.configuration import TENANT_CLOUD_NAME
from testbed.nova.hosts import Host
from testbed.nova.lab import NovaLab
from testbed.nova.launch import compute_name
from testbed.processes import Supervisor, wait_for
from testbed.tenant import Tenant, TenantError

pytestmark = pytest.mark.nova


@pytest.fixture(scope="module")
def admin(nova_lab: NovaLab) -> Tenant:
    return Tenant(nova_lab.clouds_yaml)


@pytest.fixture(autouse=True)
def leave_no_trace(nova_lab: NovaLab, admin: Tenant) -> Iterator[None]:
    yield
    nova_lab.reset_knobs()
    admin.delete_booted()


def migration_after(admin: Tenant, server: str, condition: Callable[[dict[str, Any]], bool], what: str) -> Any:
    """The server's only migration, once it meets the condition."""

    def found() -> Any:
        return next((record for record in admin.migrations(server) if condition(record)), None)

    return wait_for(found, 240, what)


def test_it_is_a_cloud_lab(nova_lab: NovaLab) -> None:
    lab: CloudLab = nova_lab
    assert (lab.name, lab.hosts) == ("nova", ("cmp1", "cmp2", "cmp3", "cmp4"))


def test_the_seed_is_there(nova_lab: NovaLab, admin: Tenant) -> None:
    flavors = admin.call("GET", "/flavors/detail")["flavors"]
    assert {flavor["name"]: (flavor["vcpus"], flavor["ram"], flavor["disk"]) for flavor in flavors} == {
        "m1.tiny": (1, 256, 1),
        "m1.small": (1, 1024, 10),
        "m1.large": (4, 8192, 40),
    }
    cluster = admin.aggregate("cluster1")
    assert (sorted(cluster["hosts"]), cluster["availability_zone"]) == (list(nova_lab.hosts), "cluster1")


def test_a_tenant_may_boot_but_not_migrate(nova_lab: NovaLab) -> None:
    tenant = Tenant(nova_lab.clouds_yaml, cloud=TENANT_CLOUD_NAME)
    server = tenant.boot("mine")
    try:
        with pytest.raises(TenantError) as refused:
            tenant.live_migrate(server)
        assert refused.value.status == 403
    finally:
        tenant.delete_booted()


def test_a_server_boots_where_asked_and_its_live_migration_shows_bytes(nova_lab: NovaLab, admin: Tenant) -> None:
    server = admin.boot("traveller", "cmp1", flavor="m1.small", availability_zone="cluster1")
    assert admin.host_of(server) == "cmp1"

    nova_lab.knob("cmp1", live_seconds=8)
    admin.live_migrate(server, "cmp2")

    def copying() -> Any:
        running = admin.call("GET", f"/servers/{server}/migrations")["migrations"]
        return next((record for record in running if (record["memory_processed_bytes"] or 0) > 0), None)

    seen = wait_for(copying, 240, "bytes of a running migration")
    assert seen["status"] == "running"
    assert seen["memory_total_bytes"] == 2**30
    assert seen["memory_processed_bytes"] + seen["memory_remaining_bytes"] == 2**30
    assert seen["memory_remaining_bytes"] > 0
    assert seen["disk_total_bytes"] == 0  # the instances folder is shared

    migration_after(admin, server, lambda record: record["status"] == "completed", "the end of the migration")
    admin.wait_idle(server)
    assert admin.host_of(server) == "cmp2"


@dataclass(frozen=True)
class Copy:
    knobs: dict[str, float | bool]
    request: str | None  # what to ask of the running migration
    #: the record's status, or one of them: libvirt's report of the abort turns `cancelled` into `error` soon after
    ends: tuple[str, ...]
    host: str


COPIES = {
    "fails half way": Copy({"live_seconds": 2, "fail_live_at": 0.5}, None, ("error",), "cmp1"),
    "never converges until it is forced": Copy({"never_converge": True}, "force_complete", ("completed",), "cmp2"),
    "never converges until it is aborted": Copy({"never_converge": True}, "abort", ("cancelled", "error"), "cmp1"),
}


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES.keys())
def test_a_live_migration_that(nova_lab: NovaLab, admin: Tenant, copy: Copy) -> None:
    server = admin.boot("traveller", "cmp1")
    nova_lab.knob("cmp1", **copy.knobs)
    admin.live_migrate(server, "cmp2")
    if copy.request:
        running = migration_after(admin, server, lambda record: record["status"] == "running", "a running migration")
        path = f"/servers/{server}/migrations/{running['id']}"
        if copy.request == "abort":
            admin.call("DELETE", path)
        else:
            admin.call("POST", f"{path}/action", {copy.request: None})
    migration_after(admin, server, lambda record: record["status"] in copy.ends, f"the end: {copy.ends}")
    assert admin.host_of(server) == copy.host


def test_a_migration_to_an_older_cpu_is_refused_by_nova_itself(admin: Tenant) -> None:
    server = admin.boot("traveller", "cmp1")
    admin.live_migrate(server, "cmp3")
    migration_after(admin, server, lambda record: record["status"] == "error", "the refusal")
    action = admin.call("GET", f"/servers/{server}/os-instance-actions")["instanceActions"][0]["request_id"]
    events = admin.call("GET", f"/servers/{server}/os-instance-actions/{action}")["instanceAction"]["events"]
    details = " ".join(event.get("details") or "" for event in events)
    assert "CPU doesn't have compatibility" in details
    assert admin.host_of(server) == "cmp1"


def test_a_dead_host_is_seen_evacuated_and_comes_back(nova_lab: NovaLab, admin: Tenant) -> None:
    server = admin.boot("survivor", "cmp1")
    nova_lab.kill_compute("cmp1")
    try:
        admin.wait_for_service("cmp1", "down")
        admin.act(server, {"evacuate": {"host": "cmp2"}})
        admin.wait_for(server, lambda seen: seen["OS-EXT-SRV-ATTR:host"] == "cmp2", "on cmp2")
        admin.wait_for_status(server, "ACTIVE")
    finally:
        nova_lab.start_compute("cmp1")
    assert admin.service("cmp1")["state"] == "up"
    # what is left of the server on cmp1 goes, and the evacuation is over
    migration_after(admin, server, lambda record: record["status"] == "completed", "the end of the evacuation")
    assert admin.host_of(admin.boot("newcomer", "cmp1")) == "cmp1"


def test_a_second_lab_runs_beside_and_another_supervisor_ends_all_of_it(tmp_path: Path, nova_lab: NovaLab) -> None:
    supervisor = Supervisor(tmp_path)
    before = {process.pid for process in psutil.process_iter()}
    try:
        lab = NovaLab.start(supervisor, tmp_path, hosts=(Host("alone", store="local"),))
        admin = Tenant(lab.clouds_yaml)
        assert admin.host_of(admin.boot("first")) == "alone"
        assert supervisor.alive(compute_name("alone"))
    finally:
        Supervisor(tmp_path).stop_all(grace=0)
    left = [
        process.cmdline()
        for process in psutil.process_iter()
        if process.pid not in before and process.status() != psutil.STATUS_ZOMBIE and str(tmp_path) in _told(process)
    ]
    assert left == []
    assert Tenant(nova_lab.clouds_yaml).service("cmp1")["state"] == "up"


def _told(process: psutil.Process) -> str:
    """Everything that ties a process to a lab: its command line, environment and folder."""
    try:
        return " ".join([*process.cmdline(), *process.environ().values(), process.cwd()])
    except psutil.Error:  # ended meanwhile
        return ""
