"""What a migration costs, counted: requests to the cloud, writes to Kubernetes. `make bench` counts at fleet size."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testbed.bed import Bed
from testbed.bench import counting
from testbed.kubernetes.cluster import Cluster
from testbed.processes import Supervisor, wait_for
from testbed.simulator import SimulatedCloud
from tests.e2e.conftest import PATIENCE, Player, install, manifest

pytestmark = [pytest.mark.simulator, pytest.mark.kubernetes]

NAMESPACE = "e2e-costs"
#: of each kind
SERVERS = 10
PROGRESS_SECONDS = 2
#: at most: requests to the cloud beside progress and the shared polls, and writes beside progress and Events
CALLS = {"Live": 4, "Cold": 7}
WRITES = 6


@pytest.fixture(scope="module")
def player(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Player]:
    run_dir: Path = tmp_path_factory.mktemp("e2e-costs")
    supervisor = Supervisor(run_dir)
    cluster.kubectl_run("create", "namespace", NAMESPACE)
    try:
        cloud = SimulatedCloud.start(supervisor, run_dir)
        cloud.settings(nova={"max_concurrent_live_migrations": SERVERS}, durations={"live_copy": 5})
        bed = Bed(supervisor, run_dir, cluster, cloud)
        at_once = {"perSource": SERVERS, "perTarget": SERVERS, "total": SERVERS}
        install(bed, NAMESPACE, policy={"limits": at_once, "progressEvery": f"{PROGRESS_SECONDS}s"})
        bed.start_operator()
        yield Player(bed, NAMESPACE)
    finally:
        supervisor.stop_all()


def boot(player: Player, kind: str) -> list[str]:
    """Servers on cmp1, all at once."""
    cloud = player.bed.cloud
    assert isinstance(cloud, SimulatedCloud)
    entry = {"host": "cmp1", "flavor": "m1.tiny", "volume": "new", "state": "stopped" if kind == "Cold" else "active"}
    names = [player.name("cost") for _ in range(SERVERS)]
    for name in names:
        cloud.control("POST", "/servers", {"name": name, **entry})
    listed = player.tenant.call("GET", "/servers?all_tenants=1")["servers"]
    return [server["id"] for server in listed if server["name"] in names]


@pytest.mark.parametrize("kind", ["Live", "Cold"])
def test_a_migration_costs_at_most(player: Player, kind: str) -> None:
    bed, cloud = player.bed, player.bed.cloud
    assert isinstance(cloud, SimulatedCloud)
    servers = boot(player, kind)
    since = bed.cluster.audit_log.stat().st_size
    cloud.forget_requests()
    items = [manifest(player.name(kind.lower()), NAMESPACE, s, type=kind, target={"host": "cmp2"}) for s in servers]
    player.kubectl("create", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    names = {item["metadata"]["name"] for item in items}

    def found() -> dict[str, Any]:
        listed = json.loads(player.kubectl("get", "vmm", "-o", "json"))["items"]
        return {one["metadata"]["name"]: one for one in listed if one["metadata"]["name"] in names}

    def over() -> bool:
        # the finalizer goes last
        seen = found().values()
        return all(o.get("status", {}).get("completedAt") and not o["metadata"].get("finalizers") for o in seen)

    wait_for(over, PATIENCE, f"{SERVERS} {kind} migrations")
    statuses = {name: one["status"] for name, one in found().items()}
    assert {status["phase"] for status in statuses.values()} == {"Succeeded"}
    counts = cloud.requests()
    assert counting.calls(counts) <= CALLS[kind] * SERVERS, counts
    read = sum(times for route, times in counts.items() if counting.is_progress(route))
    assert read <= sum(counting.progresses(status, PROGRESS_SECONDS) for status in statuses.values())
    written = counting.writes(bed, since)
    assert written.keys() == names
    costs = {name: written[name] - counting.progresses(statuses[name], PROGRESS_SECONDS) for name in names}
    assert max(costs.values()) <= WRITES, costs
