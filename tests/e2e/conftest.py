"""The whole way, from `kubectl apply` to a moved server: real Kubernetes, and both clouds one after the other."""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.bed import Bed, merge
from testbed.kubernetes.cluster import Cluster
from testbed.processes import Supervisor

Status = dict[str, Any]

#: seconds until a wait is given up: longer than anything takes on a busy machine, for only a failure waits that long
PATIENCE = 240.0
#: seconds between two looks: each is a kubectl, which costs more than what it looks at
PAUSE = 0.7


class Player:
    """A user with `kubectl` and a cloud: what a test does, in a test's words."""

    def __init__(self, bed: Bed, namespace: str) -> None:
        self.bed = bed
        self.namespace = namespace
        self.tenant = bed.tenant

    @contextlib.contextmanager
    def configured(self, **overrides: Any) -> Iterator[None]:
        """With another configuration of the operator, for a while."""
        self._restart(**overrides)
        try:
            yield
        finally:
            self._restart()

    def _restart(self, **overrides: Any) -> None:
        self.bed.stop_operator()
        install(self.bed, self.namespace, **overrides)
        self.bed.start_operator()

    def kubectl(self, *args: str, input: str | None = None, check: bool = True) -> str:
        return self.bed.cluster.kubectl_run("-n", self.namespace, *args, input=input, check=check)

    def name(self, word: str) -> str:
        return f"{word}-{uuid.uuid4().hex[:6]}"

    def boot(self, host: str, **over: Any) -> str:
        return self.tenant.boot(self.name("e2e"), host, **over)

    def apply(self, server_id: str, **spec: Any) -> str:
        """Apply a VMMigration of the server; returns its name."""
        name = self.name("move")
        self.kubectl("apply", "-f", "-", input=yaml.safe_dump(manifest(name, self.namespace, server_id, **spec)))
        return name

    def get(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", "vmm", name, "-o", "json"))
        return found

    def status(self, name: str) -> Status:
        status: Status = self.get(name).get("status", {})
        return status

    def exists(self, name: str) -> bool:
        return bool(self.kubectl("get", "vmm", name, "--ignore-not-found", "-o", "name").strip())

    def wait(self, name: str, what: str, met: Callable[[Status], bool], seconds: float = PATIENCE) -> Status:
        end = time.monotonic() + seconds
        while True:
            status = self.status(name)
            if met(status):
                return status
            if time.monotonic() > end:
                text = yaml.safe_dump(status)
                raise AssertionError(
                    f"{name}: not {what} after {seconds:.0f} s:\n{text}\n{self.bed.supervisor.log_tail('operator', 30)}"
                )
            time.sleep(PAUSE)

    def finished(self, name: str, phase: str = "Succeeded", seconds: float = PATIENCE) -> Status:
        status = self.wait(name, "finished", lambda s: "completedAt" in s, seconds)
        assert status["phase"] == phase, yaml.safe_dump(status)
        return status

    def blocked(self, name: str) -> Status:
        return self.wait(name, "blocked", lambda s: s.get("phase") == "Blocked")

    def running(self, name: str) -> Status:
        """Until Nova copies."""
        return self.wait(name, "running", lambda s: bool(s.get("attempts")) and s["attempts"][-1]["state"] == "Running")

    def records(self, server_id: str) -> list[tuple[str, str]]:
        """(type, status) of every migration that Nova knows of the server, newest first."""
        return [(m["migration_type"], m["status"]) for m in self.tenant.migrations(server_id)]


def install(bed: Bed, namespace: str, **overrides: Any) -> None:
    """An operator that works in this namespace only."""
    here: Status = {"namespaces": [namespace], "policy": {"maintenance": {"namespace": namespace}}}
    if bed.cloud.name == "nova":  # half of what a real Nova computes is for the polls
        here["polling"] = {"poll": "2s", "hosts": "4s", "resources": "6s"}
    bed.install_operator(**merge(here, overrides))


def manifest(name: str, namespace: str, server_id: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "vmferry.dev/v1alpha1",
        "kind": "VMMigration",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"server": {"id": server_id}, **spec},
    }


@pytest.fixture(
    # not longer: tests elsewhere share the cluster, and an operator that serves whatever is in it would join in
    scope="module",
    params=[
        pytest.param("simulator", marks=[pytest.mark.simulator, pytest.mark.kubernetes]),
        pytest.param("nova", marks=[pytest.mark.nova, pytest.mark.kubernetes]),
    ],
)
def bed(request: pytest.FixtureRequest, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """The session's cluster and cloud with an operator that watches one namespace."""
    kind: str = request.param
    cloud = request.getfixturevalue({"simulator": "simulated_cloud", "nova": "nova_lab"}[kind])
    run_dir: Path = tmp_path_factory.mktemp(f"e2e-{kind}")
    supervisor = Supervisor(run_dir)
    made = Bed(supervisor, run_dir, cluster, cloud)
    namespace = f"e2e-{kind}"
    cluster.kubectl_run("create", "namespace", namespace, check=False)  # an earlier module may have
    install(made, namespace)
    made.start_operator()
    try:
        yield made
    finally:
        supervisor.stop_all()
        made.tenant.delete_booted()


@pytest.fixture
def player(bed: Bed) -> Iterator[Player]:
    """A user with a clean cloud afterwards."""
    yield Player(bed, f"e2e-{bed.cloud.name}")
    bed.cloud.reset_knobs()
    bed.tenant.delete_booted()
