"""The testbed's Kubernetes is a real one in what the project relies on, and leaves nothing behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from testbed.kubernetes.cluster import PROGRAMS, Cluster, KubectlError
from testbed.processes import Supervisor, wait_for

pytestmark = pytest.mark.kubernetes

BOAT_CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: boats.testbed.example}
spec:
  group: testbed.example
  names: {kind: Boat, plural: boats}
  scope: Namespaced
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              properties: {seats: {type: integer}}
              x-kubernetes-validations:
                - {rule: self.seats % 2 == 0, message: a boat has an even number of seats}
                - {rule: self.seats >= oldSelf.seats, message: a boat never shrinks}
"""

NAMESPACE = json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"generateName": "testbed-"}})


def boat(name: str, seats: int, **metadata: object) -> str:
    spec = {"seats": seats}
    return json.dumps(
        {
            "apiVersion": "testbed.example/v1",
            "kind": "Boat",
            "metadata": {"name": name, **metadata},
            "spec": spec,
        }
    )


@pytest.fixture(scope="module")
def boats(cluster: Cluster) -> Iterator[Cluster]:
    cluster.kubectl_run("apply", "--filename", "-", input=BOAT_CRD)
    cluster.wait_established("crd/boats.testbed.example")
    yield cluster
    cluster.kubectl_run("delete", "crd", "boats.testbed.example")


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    name = cluster.kubectl_run("create", "--filename", "-", "--output=name", input=NAMESPACE).strip().split("/")[1]
    yield name
    cluster.kubectl_run("delete", "namespace", name, "--wait=false")


def test_a_cel_rule_accepts_and_refuses(boats: Cluster, namespace: str) -> None:
    def apply(seats: int) -> str:
        return boats.kubectl_run("apply", "-n", namespace, "-f", "-", input=boat("ferry", seats))

    apply(4)
    with pytest.raises(KubectlError, match="a boat has an even number of seats"):
        apply(5)
    with pytest.raises(KubectlError, match="a boat never shrinks"):
        apply(2)
    apply(6)


def test_rbac_gives_a_service_account_only_what_a_role_says(boats: Cluster, namespace: str, tmp_path: Path) -> None:
    boats.kubectl_run("create", "serviceaccount", "reader", "-n", namespace)
    kubeconfig = boats.service_account_kubeconfig(namespace, "reader", tmp_path / "reader.kubeconfig")
    assert kubeconfig.stat().st_mode & 0o777 == 0o600

    def as_reader(*args: str, input: str | None = None) -> str:
        return boats.kubectl_run("--kubeconfig", kubeconfig, *args, input=input)

    user = f"system:serviceaccount:{namespace}:reader"
    assert user in as_reader("auth", "whoami")
    with pytest.raises(KubectlError, match="Forbidden"):
        as_reader("get", "boats")
    boats.kubectl_run("create", "role", "reader", "--verb=get,list", "--resource=boats", "-n", namespace)
    binding = ("--role=reader", f"--serviceaccount={namespace}:reader")
    boats.kubectl_run("create", "rolebinding", "reader", *binding, "-n", namespace)
    wait_for(
        lambda: (
            "yes" in boats.kubectl_run("auth", "can-i", "list", "boats", "-n", namespace, "--as", user, check=False)
        ),
        10,
        "the role",
    )
    assert as_reader("get", "boats", "--output=name") == ""
    with pytest.raises(KubectlError, match="Forbidden"):
        as_reader("create", "--filename", "-", input=boat("ferry", 4))

    asked = [
        (event["verb"], event["responseStatus"]["code"])
        for event in map(json.loads, boats.audit_log.read_text().splitlines())
        if event.get("user", {}).get("username") == user and event.get("objectRef", {}).get("resource") == "boats"
    ]
    assert asked == [("list", 403), ("list", 200), ("create", 403)]


def test_the_garbage_collector_deletes_what_its_owner_leaves(boats: Cluster, namespace: str) -> None:
    boats.kubectl_run("create", "configmap", "owner", "-n", namespace)
    uid = boats.kubectl_run("get", "configmap", "owner", "-n", namespace, "--output=jsonpath={.metadata.uid}")
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid}
    owned = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "owned", "ownerReferences": [owner]},
    }
    boats.kubectl_run("create", "-n", namespace, "--filename", "-", input=json.dumps(owned))
    boats.kubectl_run("delete", "configmap", "owner", "-n", namespace)
    boats.kubectl_run("wait", "--for=delete", "configmap/owned", "-n", namespace, "--timeout=240s")


def test_the_same_supervisor_has_one_cluster(cluster: Cluster) -> None:
    pids = [cluster.supervisor.pid(name) for name in PROGRAMS]
    with pytest.raises(RuntimeError, match="already run"):
        Cluster.start(cluster.supervisor, cluster.run_dir)
    assert [cluster.supervisor.pid(name) for name in PROGRAMS] == pids
    assert None not in pids


def test_a_cluster_has_its_crds_from_the_start_and_leaves_nothing(tmp_path: Path) -> None:
    crd = tmp_path / "boats.yaml"
    crd.write_text(BOAT_CRD)
    supervisor = Supervisor(tmp_path / "run")
    try:
        cluster = Cluster.start(supervisor, tmp_path / "run" / "kubernetes", crds=[crd])
        cluster.kubectl_run("create", "--filename", "-", input=boat("ferry", 4))
        pids = [pid for name in PROGRAMS if (pid := supervisor.pid(name)) is not None]
        listening = {connection.laddr for pid in pids for connection in psutil.Process(pid).net_connections("inet")}
        cluster.stop()
    finally:
        supervisor.stop_all()
    assert len(pids) == 3
    assert {address.ip for address in listening} == {"127.0.0.1"}
    assert [pid for pid in pids if psutil.pid_exists(pid)] == []
    assert supervisor.names() == []
