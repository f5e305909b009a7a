"""Users with the chart's own roles as attackers: what the API server refuses them, and what the operator ignores."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.bed import CRDS, OPERATOR_NAMESPACE, Bed
from testbed.kubernetes.cluster import Cluster
from testbed.processes import Supervisor, wait_for
from testbed.simulator import SimulatedCloud
from tests.e2e.conftest import Player
from tests.helm.chart import render

pytestmark = [pytest.mark.simulator, pytest.mark.kubernetes]

#: where the operator creates migrations, and where mallory may
OWNED, HERS = "users", "team-mallory"
HOST = "cmp1"
API = "vmferry.dev/v1alpha1"


class Users(Player):
    """An operator, and mallory: an editor of migrations in a namespace of her own, a viewer everywhere."""

    def as_mallory(self, *args: str, body: Any = None) -> str:
        """What kubectl prints, errors included."""
        given = None if body is None else yaml.safe_dump(body)
        return str(self.bed.cluster.kubectl_run(*args, "--as=mallory", input=given, check=False))

    def maintenance(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", "hm", HOST, "-o", "json"))
        return found

    def maintain(self, enabled: bool) -> None:
        body = {"apiVersion": API, "kind": "HostMaintenance", "metadata": {"name": HOST}}
        self.kubectl("apply", "-f", "-", input=yaml.safe_dump({**body, "spec": {"host": HOST, "enabled": enabled}}))

    def until(self, phase: str) -> None:
        wait_for(lambda: self.maintenance().get("status", {}).get("phase") == phase, 120, phase)


def bindings() -> list[dict[str, Any]]:
    subject = [{"kind": "User", "name": "mallory", "apiGroup": "rbac.authorization.k8s.io"}]
    made = []
    for kind, role, metadata in (
        ("RoleBinding", "vmferry-editor", {"name": "mallory", "namespace": HERS}),
        ("ClusterRoleBinding", "vmferry-viewer", {"name": "mallory"}),
    ):
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
        made.append(
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": kind,
                "metadata": metadata,
                "roleRef": reference,
                "subjects": subject,
            }
        )
    return made


@pytest.fixture(scope="module")
def users(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Users]:
    run_dir = tmp_path_factory.mktemp("users")
    supervisor = Supervisor(run_dir)
    with ExitStack() as stack:
        stack.callback(supervisor.stop_all)
        bed = Bed(supervisor, run_dir, cluster, SimulatedCloud.start(supervisor, run_dir))
        bed.install_operator(policy={"maintenance": {"namespace": OWNED}})
        for namespace in (OWNED, HERS):
            cluster.kubectl_run("create", "namespace", namespace)
        roles = [one for one in render(run_dir, {}) if re.search("-(viewer|editor|admin)$", one["metadata"]["name"])]
        assert {one["kind"] for one in roles} == {"ClusterRole"}
        cluster.kubectl_run("apply", "-f", "-", input=yaml.safe_dump_all([*roles, *bindings()]))
        made = Users(bed, OWNED)
        made.maintain(False)
        cluster.kubectl_run("create", "-f", "-", input=yaml.safe_dump(migration(OWNED, UNKNOWN, name="owned")))
        bed.start_operator()
        yield made
        for kind in ("hm", "vmm"):
            made.kubectl("delete", kind, "--all", "-A" if kind == "vmm" else "--wait", check=False)


def migration(namespace: str, server: str, **metadata: Any) -> dict[str, Any]:
    about = {"name": "evil-1", "namespace": namespace, **metadata}
    spec = {"server": {"id": server}, "paused": True}
    return {"apiVersion": API, "kind": "VMMigration", "metadata": about, "spec": spec}


def config_map(name: str, **data: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": OPERATOR_NAMESPACE}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


UNKNOWN = "00000000-0000-4000-8000-000000000000"
PATCH = ("--type=merge", "-p")
#: what she tries: arguments of kubectl, and a manifest
TRIES: dict[str, tuple[tuple[str, ...], Any]] = {
    "to write the status of a migration": (
        ("patch", "vmm", "evil-1", "-n", HERS, "--subresource=status", *PATCH, '{"status": {"phase": "Succeeded"}}'),
        None,
    ),
    "to write the status of a maintenance": (
        ("patch", "hm", HOST, "--subresource=status", *PATCH, '{"status": {"phase": "InMaintenance"}}'),
        None,
    ),
    "to release a host": (("patch", "hm", HOST, *PATCH, '{"spec": {"enabled": false}}'), None),
    "to let go of a maintenance": (("patch", "hm", HOST, *PATCH, '{"metadata": {"finalizers": []}}'), None),
    "to delete a maintenance": (("delete", "hm", HOST), None),
    "to maintain a host": (
        ("create", "-f", "-"),
        {"apiVersion": API, "kind": "HostMaintenance", "metadata": {"name": "evil"}, "spec": {"host": "cmp2"}},
    ),
    "to take the name of an owned migration": (("create", "-f", "-"), migration(OWNED, UNKNOWN)),
    "to delete owned migrations": (("delete", "vmm", "--all", "-n", OWNED), None),
    "to set the kill switch": (("create", "-f", "-"), config_map("vmferry-stop", stop="true")),
    "to close a breaker": (("create", "-f", "-"), config_map("vmferry-resume", all="now")),
    "to see who leads, and to take it": (("get", "leases", "-n", OPERATOR_NAMESPACE), None),
    "to read the credential": (("get", "secrets", "-n", OPERATOR_NAMESPACE), None),
    "to read the configuration": (("get", "configmaps", "-n", OPERATOR_NAMESPACE), None),
    "to read the log": (("logs", "deployment/vmferry", "-n", OPERATOR_NAMESPACE), None),
    "to speak as the operator": (("create", "token", "vmferry", "-n", OPERATOR_NAMESPACE), None),
}


@pytest.mark.parametrize("sentence", TRIES)
def test_the_shipped_roles_do_not_allow(users: Users, sentence: str) -> None:
    args, body = TRIES[sentence]
    told = users.as_mallory(*args, body=body)
    assert "forbidden" in told.lower(), told


def test_a_status_that_comes_along_is_dropped(users: Users) -> None:
    """She may create migrations: what she writes as their status counts for nothing."""
    server = users.boot("cmp2")
    forged = {**migration(HERS, server, name="forged-status"), "status": {"phase": "Succeeded", "attempts": []}}
    assert "created" in users.as_mallory("create", "--validate=false", "-f", "-", body=forged)
    found: dict[str, Any] = {}

    def judged() -> bool:
        found.update(json.loads(users.kubectl("get", "vmm", "forged-status", "-n", HERS, "-o", "json")))
        return "phase" in found.get("status", {})

    wait_for(judged, 60, "the operator to look at it")
    assert found["status"]["phase"] == "Pending", found["status"]
    assert users.tenant.host_of(server) == "cmp2"


FORGED: dict[str, dict[str, Any]] = {
    "in her own namespace": {},
    "with a finalizer of her own": {"finalizers": ["mallory.example.org/hold"]},
}


@pytest.mark.parametrize("case", FORGED)
def test_she_holds_up_no_host(users: Users, case: str) -> None:
    server = users.boot(HOST)
    users.maintain(False)
    owner = {"apiVersion": API, "kind": "HostMaintenance", "name": HOST, "controller": True}
    forged = migration(
        HERS,
        server,
        labels={f"vmferry.dev/{key}": word for key, word in LABELS.items()},
        ownerReferences=[{**owner, "uid": users.maintenance()["metadata"]["uid"]}],
        **FORGED[case],
    )
    told = users.as_mallory("create", "-f", "-", body=forged)
    assert "created" in told, told
    users.maintain(True)
    users.until("InMaintenance")
    assert users.tenant.host_of(server) != HOST
    conditions = {one["type"]: one for one in users.maintenance()["status"]["conditions"]}
    assert f"{HERS}/evil-1" in conditions["FalseClaims"]["message"]
    users.maintain(False)
    users.until("Released")
    users.as_mallory("patch", "vmm", "evil-1", "-n", HERS, *PATCH, '{"metadata": {"finalizers": []}}')
    users.as_mallory("delete", "vmm", "evil-1", "-n", HERS)


LABELS = {"maintenance": HOST, "purpose": "drain", "round": "1", "try": "1"}


def names(schema: Any) -> Iterator[str]:
    """Of all properties of a schema."""
    for name, inner in (schema.get("properties") or {}).items():
        yield name
        yield from names(inner)
    yield from names(schema["items"]) if "items" in schema else ()


@pytest.mark.parametrize("file", CRDS, ids=lambda path: Path(path).stem)
def test_no_field_makes_the_operator_read_something_for_her(file: Path) -> None:
    """It has rights and files that she does not have: a field that names one would lend them."""
    (version,) = yaml.safe_load(file.read_text(encoding="utf-8"))["spec"]["versions"]
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    found = [
        one for one in names(spec) if re.search("secret|configmap|file|path|url|command|credential|ref$", one.lower())
    ]
    assert list(names(spec)) and found == []
