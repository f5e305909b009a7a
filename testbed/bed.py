"""A bed: a real Kubernetes API, a cloud, and the operator with its own ServiceAccount and RBAC."""

from __future__ import annotations

import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from testbed.cloud import CLOUD_NAME, CloudLab
from testbed.kubernetes.cluster import Cluster
from testbed.processes import Supervisor, free_port, plain_environment, wait_for
from testbed.tenant import Tenant

ROOT = Path(__file__).resolve().parent.parent
CRDS = sorted((ROOT / "crds").glob("*.yaml"))
OPERATOR_NAMESPACE = "vmferry-system"
SERVICE_ACCOUNT = "vmferry"
OPERATOR = "operator"
CLOUDS = ("simulator", "nova")

#: short intervals for a demo and for tests; a real cloud uses the defaults
QUICK: dict[str, Any] = {
    "policy": {
        "sharedStorage": [{"name": "lab", "aggregates": ["cluster1"]}],
        # a cloud in the middle of an OS upgrade: cmp4 has the newer system and the newer QEMU
        "operatingSystems": [
            {"system": "Ubuntu 22.04", "hosts": ["cmp1", "cmp2", "cmp3"]},
            {"system": "Ubuntu 24.04", "hosts": ["cmp4"]},
        ],
        "hostDownFor": "5s",
        "recheck": "2s",
        "retryBackoff": "2s",
        "progressEvery": "2s",
        "recordGrace": "10s",
        "maintenance": {"settle": "4s", "verifyEvery": "4s"},
    },
    "polling": {
        "poll": "1s",
        "hosts": "2s",
        "resources": "3s",
        "groups": "10s",
        "projects": "10s",
    },
    "leaderElection": {"leaseDuration": "5s", "renewDeadline": "3s", "retryPeriod": "1s"},
    "log": {"format": "text"},
}


def start_cloud(kind: str, supervisor: Supervisor, run_dir: Path) -> CloudLab:
    """Start a `simulator` or `nova` cloud with hosts cmp1 to cmp4."""
    if kind == "nova":
        # imported here, because the other cloud does not need these modules and their dependencies
        from testbed.nova.lab import NovaLab

        return NovaLab.start(supervisor, run_dir / "nova")
    from testbed.simulator import SimulatedCloud

    return SimulatedCloud.start(supervisor, run_dir / "simulator")


class Bed:
    """The environment of the demo, of `make up`, and of the end-to-end tests."""

    def __init__(self, supervisor: Supervisor, run_dir: Path, cluster: Cluster, cloud: CloudLab) -> None:
        self.supervisor = supervisor
        self.run_dir = run_dir
        self.cluster = cluster
        self.cloud = cloud
        self.tenant = Tenant(cloud.clouds_yaml)
        self.health_port = free_port()
        #: by name of each started operator
        self._health_ports = {OPERATOR: self.health_port}

    @property
    def config_file(self) -> Path:
        return self.run_dir / "operator.yaml"

    @property
    def operator_kubeconfig(self) -> Path:
        return self.run_dir / "operator.kubeconfig"

    def install_operator(self, **overrides: Any) -> None:
        """Apply the shipped ServiceAccount and RBAC, and write the operator's configuration."""
        self.cluster.kubectl_run("apply", "-f", ROOT / "manifests/operator/rbac.yaml")
        self.cluster.service_account_kubeconfig(OPERATOR_NAMESPACE, SERVICE_ACCOUNT, self.operator_kubeconfig)
        config = merge(
            QUICK,
            {
                "cloud": {"name": CLOUD_NAME, "cloudsFile": str(self.cloud.clouds_yaml)},
                "kubeconfig": str(self.operator_kubeconfig),
                "health": {"port": self.health_port},
                # operators of other beds on the same cluster use other Leases
                "leaderElection": {"name": f"vmferry-{self.health_port}"},
            },
        )
        self.config_file.write_text(yaml.safe_dump(merge(config, overrides)))

    def start_operator(self, *, ready: bool = True, name: str = OPERATOR) -> None:
        """Start `vmferry operator` and, with `ready`, wait until it reports that it is ready.

        Operators with another name are further replicas with the same configuration.
        """
        port = self._health_ports.setdefault(name, free_port())
        self.supervisor.start(
            name,
            [sys.executable, "-m", "vmferry", "operator", "--config", str(self.config_file)],
            env={
                **plain_environment(),
                "PYTHONPATH": f"{ROOT / 'operator'}",
                "PYTHONUNBUFFERED": "1",
                "VMFERRY_HEALTH_PORT": str(port),
            },
        )
        if ready:
            wait_for(
                lambda: self.probe("readyz", name)[0] == 200,
                180,
                f"{name} to be ready",
                lambda: self.supervisor.check(name),
            )

    def stop_operator(self, name: str = OPERATOR) -> None:
        self.supervisor.stop(name)

    def kill_operator(self) -> None:
        """Kill the operator with SIGKILL, so that it cannot shut down in order."""
        pid = self.supervisor.pid(OPERATOR)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        self.supervisor.stop(OPERATOR, grace=0)

    def probe(self, path: str, name: str = OPERATOR) -> tuple[int, str]:
        """Return status code and body of an operator's health endpoint; status 0 while it does not respond."""
        try:
            url = f"http://127.0.0.1:{self._health_ports[name]}/{path}"
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    @classmethod
    def start(cls, kind: str, supervisor: Supervisor, run_dir: Path) -> Bed:
        """Start a new Kubernetes cluster and a new cloud. The operator is not started."""
        run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        cluster = Cluster.start(supervisor, run_dir / "kubernetes", CRDS)
        cloud = start_cloud(kind, supervisor, run_dir)
        return cls(supervisor, run_dir, cluster, cloud)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Merge mappings recursively; values of `over` take precedence."""
    out = dict(base)
    for key, value in over.items():
        old = out.get(key)
        out[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return out
