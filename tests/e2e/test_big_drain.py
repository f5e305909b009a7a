"""I24, I25, R30: fifty servers leave one host of a real Nova, ten at a time, each moved once.

It has a cloud and a Kubernetes API of its own: Nova runs two live migrations at once from a host in the other tests.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.bed import CRDS, OPERATOR_NAMESPACE, Bed
from testbed.kubernetes.cluster import Cluster
from testbed.nova.hosts import Host
from testbed.nova.lab import NovaLab
from testbed.processes import Supervisor, run_root

SERVERS = 50
AT_ONCE = 10
#: seconds that a copy takes at least
COPY = 2.0
#: a record that is in none of these counts as in flight
ENDED = ("completed", "failed", "error", "cancelled")

pytestmark = [pytest.mark.nova, pytest.mark.kubernetes, pytest.mark.long]


@pytest.fixture
def bed() -> Iterator[Bed]:
    """Three hosts that are alike, and an operator with the limits of this test."""
    run_dir = Path(tempfile.mkdtemp(prefix="tests-drain-", dir=run_root()))
    supervisor = Supervisor(run_dir)
    try:
        lab = NovaLab.start(
            supervisor,
            run_dir / "nova",
            hosts=tuple(Host(name) for name in ("cmp1", "cmp2", "cmp3")),
            settings={"max_concurrent_live_migrations": AT_ONCE},
        )
        bed = Bed(supervisor, run_dir, Cluster.start(supervisor, run_dir / "kubernetes", CRDS), lab)
        bed.install_operator(policy={"limits": {"perSource": AT_ONCE, "perTarget": AT_ONCE, "total": AT_ONCE}})
        bed.start_operator()
        yield bed
    finally:
        supervisor.stop_all(grace=0)
        shutil.rmtree(run_dir)


def records(bed: Bed) -> list[dict[str, Any]]:
    """All that Nova has of this lab's servers; `/os-migrations` has them of every project."""
    found: list[dict[str, Any]] = bed.tenant.call("GET", "/os-migrations")["migrations"]
    return found


def test_I24_I25_fifty_servers_ten_at_a_time_each_moved_once(bed: Bed) -> None:
    tenant = bed.tenant
    began = time.monotonic()
    servers = [tenant.boot(f"small-{n:02}", "cmp1", wait=False) for n in range(SERVERS)]
    for server in servers:
        tenant.wait_for_status(server, "ACTIVE", timeout=120)
    print(f"\n{SERVERS} servers booted in {time.monotonic() - began:.0f} s")

    bed.cloud.knob("cmp1", live_seconds=COPY)
    maintenance = {
        "apiVersion": "vmferry.dev/v1alpha1",
        "kind": "HostMaintenance",
        "metadata": {"name": "cmp1"},
        "spec": {"host": "cmp1", "enabled": True, "reason": "fifty", "maxParallel": AT_ONCE},
    }
    began = time.monotonic()
    bed.cluster.kubectl_run("apply", "-f", "-", input=yaml.safe_dump(maintenance))
    in_flight: list[int] = []
    empty_after = None
    while True:
        now = records(bed)
        in_flight.append(sum(record["status"] not in ENDED for record in now))
        if empty_after is None and sum(record["status"] == "completed" for record in now) == SERVERS:
            empty_after = time.monotonic() - began
        status = json.loads(bed.cluster.kubectl_run("get", "hm", "cmp1", "-o", "json")).get("status", {})
        if status.get("phase") == "InMaintenance":
            break
        tail = bed.supervisor.log_tail("operator", 30)
        assert time.monotonic() - began < 400, f"not drained:\n{yaml.safe_dump(status)}\n{tail}"
        time.sleep(0.2)
    drained = time.monotonic() - began
    seen = dict(sorted(Counter(in_flight).items()))
    print(f"moved in {empty_after:.0f} s, said to be drained after {drained:.0f} s; looks by number in flight: {seen}")

    assert max(in_flight) <= AT_ONCE, "I24: never more than the limits, by Nova's own records"
    assert max(in_flight) > AT_ONCE // 2, "and the limits are used"
    found = records(bed)
    assert sorted(record["instance_uuid"] for record in found) == sorted(servers), "exactly one migration each"
    assert {(record["migration_type"], record["status"]) for record in found} == {("live-migration", "completed")}
    hosts = Counter(tenant.host_of(server) for server in servers)
    assert set(hosts) == {"cmp2", "cmp3"} and sum(hosts.values()) == SERVERS
    assert status["progress"]["moved"] == status["progress"]["total"] == SERVERS
    children = json.loads(bed.cluster.kubectl_run("get", "vmm", "-n", OPERATOR_NAMESPACE, "-o", "json"))["items"]
    assert sorted(child["spec"]["server"]["id"] for child in children) == sorted(servers), "and one VMMigration each"
    assert {child["status"]["phase"] for child in children} == {"Succeeded"}
