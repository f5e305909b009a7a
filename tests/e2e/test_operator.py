"""The operator as a process: what it costs when idle, and what it says when the cloud is gone."""

from __future__ import annotations

import json
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from testbed.bed import OPERATOR, OPERATOR_NAMESPACE, SERVICE_ACCOUNT, Bed
from testbed.kubernetes.cluster import Cluster
from testbed.processes import Supervisor, wait_for
from testbed.simulator import SimulatedCloud
from tests.e2e.conftest import PATIENCE, Player, manifest

pytestmark = [pytest.mark.simulator, pytest.mark.kubernetes]

NAMESPACE = "e2e-operator"
#: of a finished object: what the operator writes at the end
FINISHED = {
    "observedGeneration": 1,
    "phase": "Succeeded",
    "completedAt": "2026-01-01T00:00:00Z",
    "conditions": [
        {
            "type": type_,
            "status": "True",
            "observedGeneration": 1,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
            "reason": "MigrationSucceeded",
            "message": "Live from cmp1 to cmp2 is complete",
        }
        for type_ in ("PrerequisitesMet", "Succeeded", "Ready")
    ],
}


@pytest.fixture(scope="module")
def bed(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """A cloud of its own, so that its faults are nobody else's."""
    run_dir: Path = tmp_path_factory.mktemp("e2e-operator")
    supervisor = Supervisor(run_dir)
    cluster.kubectl_run("create", "namespace", NAMESPACE)
    try:
        made = Bed(supervisor, run_dir, cluster, SimulatedCloud.start(supervisor, run_dir))
        quick = dict.fromkeys(("poll", "hosts", "resources", "groups"), "1s")
        policy = {"maxViewAge": "6s", "maintenance": {"namespace": NAMESPACE}}
        made.install_operator(namespaces=[NAMESPACE], policy=policy, polling=quick)
        yield made
    finally:
        supervisor.stop_all()


@pytest.fixture
def player(bed: Bed) -> Iterator[Player]:
    bed.start_operator()
    yield Player(bed, NAMESPACE)
    bed.stop_operator()
    simulator(bed).control("DELETE", "/faults")
    bed.tenant.delete_booted()


def simulator(bed: Bed) -> SimulatedCloud:
    assert isinstance(bed.cloud, SimulatedCloud)
    return bed.cloud


def test_a_dead_cloud_is_told_nothing_is_decided_and_it_recovers_by_itself(player: Player) -> None:
    bed = player.bed
    server = player.boot("cmp1")
    simulator(bed).control("POST", "/faults", {"path": "^/(compute|placement|identity)", "status": 503})
    name = player.apply(server, type="Live", target={"host": "cmp2"})
    status = player.wait(
        name,
        "told that the view is stale",
        lambda s: any(c["reason"] == "CloudViewStale" for c in s.get("conditions", [])),
    )
    assert not status.get("attempts")
    # one read that fails is reported by the object at once; the operator is unready when the view is too old
    wait_for(lambda: bed.probe("readyz")[0] == 503, PATIENCE, "the operator to be unready")
    assert "view" in bed.probe("readyz")[1] or "503" in bed.probe("readyz")[1]
    assert bed.probe("healthz")[0] == 200, "a dead cloud is no reason to be restarted"
    simulator(bed).control("DELETE", "/faults")
    player.finished(name)
    wait_for(lambda: bed.probe("readyz")[0] == 200, PATIENCE, "ready again")


def test_wrong_credentials_leave_it_not_ready_and_show_no_secret(player: Player) -> None:
    bed = player.bed
    bed.stop_operator()
    right = bed.cloud.clouds_yaml.read_text()
    clouds = yaml.safe_load(right)
    secret = "not-the-password-7d1f"
    for cloud in clouds["clouds"].values():
        cloud["auth"]["password"] = secret
    log = bed.supervisor.log(OPERATOR)
    before = len(log.read_text())
    bed.cloud.clouds_yaml.write_text(yaml.safe_dump(clouds))
    try:
        bed.start_operator(ready=False)
        wait_for(lambda: "401" in bed.probe("readyz")[1], PATIENCE, "readyz to say 401")
        assert bed.probe("readyz")[0] == 503
        said = log.read_text()[before:]
        assert "401" in said
        assert secret not in said
        assert secret not in bed.probe("readyz")[1]
    finally:
        bed.cloud.clouds_yaml.write_text(right)


def test_an_expired_token_is_renewed_without_anybody_noticing(player: Player) -> None:
    server = player.boot("cmp1")
    simulator(player.bed).control("DELETE", "/tokens")
    player.finished(player.apply(server, type="Live", target={"host": "cmp2"}))


def test_idle_with_a_thousand_finished_objects_it_writes_nothing_and_stays_small(player: Player) -> None:
    bed = player.bed
    make_finished(bed, 1000)
    bed.stop_operator()
    bed.start_operator()
    pid = bed.supervisor.pid(OPERATOR)
    assert pid is not None
    simulator(bed).forget_requests()
    since = len(bed.cluster.audit_log.read_text().splitlines())
    polls = 8
    wait_for(
        lambda: requests(bed)["GET /compute/v2.1/os-migrations"] >= polls, PATIENCE, f"{polls} polls of the observer"
    )
    user = f"system:serviceaccount:{OPERATOR_NAMESPACE}:{SERVICE_ACCOUNT}"
    lines = bed.cluster.audit_log.read_text().splitlines()[since:]
    events = [e for e in map(json.loads, lines) if e.get("user", {}).get("username") == user]
    kept = [e for e in events if "/leases/" in e["requestURI"]]
    writes = [e["requestURI"] for e in events if e["verb"] not in ("get", "list", "watch") and e not in kept]
    assert writes == []
    assert all(route.startswith("GET ") or "/auth/tokens" in route for route in requests(bed)), requests(bed)
    assert not [route for route in requests(bed) if "/servers/" in route and "detail" not in route], requests(bed)
    resident = psutil.Process(pid).memory_info().rss / 2**20
    print(f"idle operator with 1,000 finished objects: {resident:.0f} MiB")
    assert resident < 200


def requests(bed: Bed) -> Counter[str]:
    """How many requests of each method and route the cloud has seen since the count began."""
    return Counter(simulator(bed).requests())


def make_finished(bed: Bed, count: int) -> None:
    """Objects as the operator leaves them, written by an administrator."""
    items = [manifest(f"done-{n}", NAMESPACE, f"00000000-0000-4000-8000-{n:012d}") for n in range(count)]
    bed.stop_operator()
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    bed.cluster.kubectl_run("create", "-f", "-", input=text)
    proxy = bed.supervisor
    proxy.start(
        "proxy",
        [str(bed.cluster.kubectl), "--kubeconfig", str(bed.cluster.kubeconfig), "proxy", "--port", "0"],
    )
    url = wait_for(lambda: proxy_url(bed), PATIENCE, "kubectl proxy", lambda: proxy.check("proxy"))

    def finish(item: dict[str, Any]) -> None:
        path = f"/apis/vmferry.dev/v1alpha1/namespaces/{NAMESPACE}/vmmigrations/{item['metadata']['name']}/status"
        request = urllib.request.Request(
            url + path,
            method="PATCH",
            data=json.dumps({"status": FINISHED}).encode(),
            headers={"Content-Type": "application/merge-patch+json"},
        )
        urllib.request.urlopen(request, timeout=30).close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(finish, items))
    proxy.stop("proxy")


def proxy_url(bed: Bed) -> str:
    said = bed.supervisor.log("proxy").read_text() if bed.supervisor.log("proxy").exists() else ""
    return f"http://{said.split()[-1]}" if "Starting to serve on" in said else ""
