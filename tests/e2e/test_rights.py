"""Least privilege: what the operator may do in Kubernetes is what it does; and it tells nobody its secrets."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from testbed.bed import OPERATOR, OPERATOR_NAMESPACE, ROOT, Bed
from testbed.bench.counting import requests
from testbed.kubernetes.cluster import Cluster
from testbed.processes import Supervisor, wait_for
from testbed.simulator import SimulatedCloud
from tests.e2e.conftest import PATIENCE, Player, install
from tests.e2e.test_maintenance import Maintenance, maintenance

__all__ = ["maintenance"]

pytestmark = [pytest.mark.simulator, pytest.mark.kubernetes]

NAMESPACE = "e2e-rights"

#: API group, resource with subresource, verb
Right = tuple[str, str, str]

#: granted, though an undisturbed run does not need it
EXPLAINED: dict[Right, str] = {
    ("vmferry.dev", "vmmigrations", "get"): "it is read again after a conflict or a failed write",
    ("vmferry.dev", "hostmaintenances", "get"): "it is read again after a conflict or a failed write",
    ("", "namespaces", "get"): "before a running migration is aborted because its resource is being deleted",
}


@pytest.fixture(scope="module")
def bed(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """An operator that tells all it can."""
    run_dir: Path = tmp_path_factory.mktemp("e2e-rights")
    supervisor = Supervisor(run_dir)
    cluster.kubectl_run("create", "namespace", NAMESPACE)
    try:
        made = Bed(supervisor, run_dir, cluster, SimulatedCloud.start(supervisor, run_dir))
        install(made, NAMESPACE, log={"level": "debug"})
        yield made
    finally:
        supervisor.stop_all()


@pytest.fixture
def player(bed: Bed) -> Iterator[Player]:
    yield Player(bed, NAMESPACE)
    assert isinstance(bed.cloud, SimulatedCloud)
    bed.cloud.clear_faults()
    bed.tenant.delete_booted()
    bed.stop_operator()


def granted() -> set[Right]:
    rules = [
        rule
        for document in yaml.safe_load_all((ROOT / "manifests/operator/rbac.yaml").read_text())
        for rule in document.get("rules", [])
    ]
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_every_right_is_used_and_none_is_missing(player: Player, maintenance: Maintenance) -> None:
    bed = player.bed
    since = bed.cluster.audit_log.stat().st_size
    bed.start_operator()
    server = player.boot("cmp1")
    move = player.apply(server, type="Live", target={"host": "cmp2"}, ttlAfterFinished="1s")
    wait_for(lambda: not player.exists(move), PATIENCE, "the move to be over, and its time")
    assert player.records(server) == [("live-migration", "completed")]
    servers = [player.boot("cmp1") for _ in range(2)]
    maintenance.apply()
    maintenance.phase("InMaintenance")
    maintenance.apply(enabled=False)
    maintenance.phase("Released")
    assert [player.tenant.host_of(one) for one in servers] == ["cmp2"] * 2
    player.kubectl("delete", "hm", maintenance.name, "--timeout=240s")
    bed.stop_operator()

    seen = requests(bed, since)
    assert [one["requestURI"] for one in seen if one["responseStatus"]["code"] in (401, 403)] == []
    used = {
        (
            where.get("apiGroup", ""),
            "/".join(filter(None, (where["resource"], where.get("subresource")))),
            one["verb"],
        )
        for one in seen
        if (where := one.get("objectRef"))
    }
    rights = granted()
    assert used <= rights
    assert rights - used <= EXPLAINED.keys(), "granted and not needed"
    assert EXPLAINED.keys() <= rights, "explained and not granted"
    maps = [one["requestURI"] for one in seen if "/configmaps/" in one["requestURI"]]
    names = ("vmferry-stop", "vmferry-resume")
    places = [f"/namespaces/{OPERATOR_NAMESPACE}/configmaps/{name}" for name in names]
    assert all(any(place in uri for place in places) for uri in maps)


def events(player: Player) -> str:
    return player.kubectl("get", "events.v1.events.k8s.io", "-o", "yaml")


def test_I33_no_secret_is_told_to_anybody(player: Player) -> None:
    """Planted in the configuration, and in what a proxy in front of Nova echoes."""
    bed = player.bed
    assert isinstance(bed.cloud, SimulatedCloud)
    password = yaml.safe_load(bed.cloud.clouds_yaml.read_text())["clouds"]["vmferry"]["auth"]["password"]
    account = yaml.safe_load(bed.operator_kubeconfig.read_text())["users"][0]["user"]["token"]
    echoed, hidden = "gAAAAABmVmZlcnJ5LXBsYW50ZWQtdG9rZW4tMQ", "planted-pa55word"
    text = f"upstream failed: X-Auth-Token: {echoed} password={hidden}"
    bed.start_operator()
    server = player.boot("cmp1")
    bed.cloud.fault(
        method="POST", path=r"/servers/[^/]+/action$", status=409, body={"conflictingRequest": {"message": text}}
    )
    move = player.apply(server, type="Live", target={"host": "cmp2"}, retries=0)
    status = player.finished(move, "Failed")
    assert "upstream failed" in status["attempts"][-1]["message"], "what is no secret is told"
    # an Event is written after the status that it belongs to
    wait_for(lambda: "upstream failed" in events(player), PATIENCE, "the Event")

    told = {
        "the log": bed.supervisor.log(OPERATOR).read_text(),
        "the status": json.dumps(player.get(move)),
        "events": events(player),
        "metrics": bed.probe("metrics")[1],
        "readyz": bed.probe("readyz")[1],
    }
    assert "upstream failed" in told["the log"]
    for where, words in told.items():
        for secret in (account, echoed, hidden):
            assert secret not in words, f"{where} tells a secret"
        # the simulator's password is a word that is in other words too
        assert not re.search(rf"password\W{{1,4}}{re.escape(password)}\b", words), f"{where} tells the password"
