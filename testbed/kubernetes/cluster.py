"""A running Kubernetes: etcd, kube-apiserver and the few controllers that custom resources need.

There is no kubelet and no scheduler, so Pods stay Pending. An operator runs as a process with a token of its
ServiceAccount.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import signal
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from testbed.kubernetes.certificates import write_certificates
from testbed.kubernetes.install import install
from testbed.processes import Supervisor, free_ports, wait_for

#: in starting order
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager")
CONTROLLERS = (
    "garbage-collector-controller",
    "namespace-controller",
    "resourcequota-controller",
    "serviceaccount-controller",
    "root-ca-certificate-publisher-controller",
)
START_SECONDS = 120
LOOPBACK = "127.0.0.1"
TOKEN_LIFE = "24h"


class KubectlError(RuntimeError):
    """kubectl failed; the message is its arguments and its error output."""


@dataclass(frozen=True)
class Cluster:
    """A started cluster. All its files are in `run_dir`; the logs are in the supervisor's directory."""

    supervisor: Supervisor
    run_dir: Path
    server_url: str
    kubectl: Path

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig of an administrator (group system:masters)."""
        return self.run_dir / "admin.kubeconfig"

    @property
    def ca_file(self) -> Path:
        return self.run_dir / "ca.crt"

    @property
    def audit_log(self) -> Path:
        """The audit log, with a JSON event (audit.k8s.io/v1, level Metadata) per line for each answered request."""
        return self.run_dir / "audit.log"

    @classmethod
    def start(
        cls, supervisor: Supervisor, run_dir: Path, crds: Sequence[Path] = (), *, node_address: str | None = None
    ) -> Cluster:
        """Build the programs if needed, start a new, empty cluster with `crds`, and wait until it works.

        `node_address`, an address of this machine, prepares the cluster for Pods: they reach the API server at this
        address, and all controllers run.

        Raises InstallError, ProcessDiedError or TimeoutError on failure, after stopping what was started, and
        RuntimeError if a cluster already runs under this supervisor.
        """
        if running := [name for name in PROGRAMS if supervisor.alive(name)]:
            raise RuntimeError(f"{', '.join(running)} already run in {supervisor.run_dir}")
        binaries = install()
        run_dir = run_dir.resolve()
        run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.rmtree(run_dir / "etcd", ignore_errors=True)
        port, etcd_port, peer_port = free_ports(3)
        cluster = cls(supervisor, run_dir, f"https://{node_address or LOOPBACK}:{port}", binaries / "kubectl")
        try:
            cluster._start(binaries, port, etcd_port, peer_port, crds, node_address)
        except BaseException:
            cluster.stop()
            raise
        return cluster

    def stop(self) -> None:
        for name in reversed(PROGRAMS):
            self.supervisor.stop(name)

    def kubectl_run(self, *args: str | Path, input: str | None = None, check: bool = True) -> str:
        """Run kubectl as administrator (or with `--kubeconfig` in `args`) and return its output.

        Raises KubectlError if it fails; without `check`, returns its output and error output instead.
        """
        command = [str(self.kubectl), *map(str, args)]
        env = {
            **os.environ,
            "KUBECONFIG": str(self.kubeconfig),
            "KUBECACHEDIR": str(self.run_dir / "kubectl-cache"),
            "KUBERC": "off",  # without the user's preferences
        }
        done = subprocess.run(command, input=input or "", env=env, capture_output=True, text=True)
        if done.returncode == 0:
            return done.stdout
        if check:
            raise KubectlError(f"kubectl {' '.join(command[1:])}: {done.stderr.strip()}")
        return done.stdout + done.stderr

    def wait_established(self, *which: str | Path) -> None:
        """Wait until a CRD is established; `which` names it as `kubectl get` does.

        `kubectl wait` cannot be used: it fails while a new CRD has no conditions yet.
        """

        def established() -> bool:
            found = json.loads(self.kubectl_run("get", *which, "--output", "json"))
            conditions = found.get("status", {}).get("conditions") or []
            return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)

        wait_for(established, 60, f"{' '.join(map(str, which))} to be established")

    def service_account_kubeconfig(self, namespace: str, name: str, path: Path) -> Path:
        """Write a kubeconfig (mode 0600) with a token of an existing ServiceAccount, valid for `TOKEN_LIFE`."""
        token = self.kubectl_run("create", "token", name, "--namespace", namespace, "--duration", TOKEN_LIFE)
        self._write_kubeconfig(path, token.strip(), namespace)
        return path

    def _start(
        self,
        binaries: Path,
        port: int,
        etcd_port: int,
        peer_port: int,
        crds: Sequence[Path],
        node_address: str | None,
    ) -> None:
        run = self.run_dir
        address = node_address or LOOPBACK
        write_certificates(run, addresses=(*{LOOPBACK, address}, "10.96.0.1"))
        admin, controllers = secrets.token_hex(24), secrets.token_hex(24)
        _write_private(
            run / "tokens.csv",
            f'{admin},admin,admin,"system:masters"\n'
            f"{controllers},system:kube-controller-manager,kube-controller-manager\n",
        )
        self._write_kubeconfig(self.kubeconfig, admin, "default")
        self._write_kubeconfig(run / "kube-controller-manager.kubeconfig", controllers, "default")
        (run / "audit-policy.yaml").write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "audit.k8s.io/v1",
                    "kind": "Policy",
                    "omitStages": ["RequestReceived"],
                    "rules": [{"level": "Metadata"}],
                }
            )
        )

        etcd_url = f"http://127.0.0.1:{etcd_port}"
        self._run(
            "etcd",
            [
                binaries / "etcd",
                f"--data-dir={run / 'etcd'}",
                f"--listen-client-urls={etcd_url}",
                f"--listen-peer-urls=http://127.0.0.1:{peer_port}",
                "--unsafe-no-fsync",
            ],
        )
        self._run(
            "kube-apiserver",
            [
                binaries / "kube-apiserver",
                f"--etcd-servers={etcd_url}",
                f"--bind-address={address}",
                f"--advertise-address={address}",
                f"--secure-port={port}",
                f"--endpoint-reconciler-type={'lease' if node_address else 'none'}",
                "--kubelet-preferred-address-types=InternalIP",
                f"--tls-cert-file={run / 'tls.crt'}",
                f"--tls-private-key-file={run / 'tls.key'}",
                f"--token-auth-file={run / 'tokens.csv'}",
                "--authorization-mode=RBAC",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={run / 'sa.pub'}",
                f"--service-account-signing-key-file={run / 'sa.key'}",
                "--service-cluster-ip-range=10.96.0.0/16",
                "--enable-priority-and-fairness=false",
                f"--audit-policy-file={run / 'audit-policy.yaml'}",
                f"--audit-log-path={self.audit_log}",
                "--shutdown-delay-duration=0s",
                "--v=1",
            ],
        )
        self._wait_for("/readyz", admin, "the API server to be ready", PROGRAMS[:2])
        # The garbage collector discovers new kinds only every 30 s, so CRDs are created before it starts.
        for crd in crds:
            self.kubectl_run("apply", "--filename", crd)
            self.wait_established("--filename", crd)
        # Started after the API server has created the RBAC roles, without which the controllers give up.
        self._run(
            "kube-controller-manager",
            [
                binaries / "kube-controller-manager",
                f"--kubeconfig={run / 'kube-controller-manager.kubeconfig'}",
                "--secure-port=0",
                "--leader-elect=false",
                "--use-service-account-credentials=true",
                f"--service-account-private-key-file={run / 'sa.key'}",
                f"--root-ca-file={self.ca_file}",
                f"--controllers={'*' if node_address else ','.join(CONTROLLERS)}",
                "--v=1",
            ],
        )
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        self._wait_for(account, admin, "the controllers to make the default ServiceAccount", PROGRAMS)

    def _run(self, name: str, command: Sequence[str | Path]) -> None:
        """Start a program, and save its command for `set_back`."""
        _write_private(self.run_dir / f"{name}.command.json", json.dumps([str(part) for part in command]))
        self.supervisor.start(name, command, cwd=self.run_dir)

    def snapshot(self, path: Path) -> None:
        """Copy etcd's current data."""
        pid = self.supervisor.pid("etcd")
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            shutil.copytree(self.run_dir / "etcd", path)
        finally:
            os.kill(pid, signal.SIGCONT)

    def set_back(self, path: Path) -> None:
        """Restore etcd's data from a snapshot, as from a backup, and restart everything."""
        self.stop()
        shutil.rmtree(self.run_dir / "etcd")
        shutil.copytree(path, self.run_dir / "etcd")
        token = json.loads(self.kubeconfig.read_text())["users"][0]["user"]["token"]
        for name in PROGRAMS:
            command = json.loads((self.run_dir / f"{name}.command.json").read_text())
            self.supervisor.start(name, command, cwd=self.run_dir)
            if name == "kube-apiserver":
                self._wait_for("/readyz", token, "the API server to be ready again", PROGRAMS[:2])

    def _wait_for(self, path: str, token: str, what: str, programs: Sequence[str]) -> None:
        context = ssl.create_default_context(cafile=self.ca_file)
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        request = urllib.request.Request(self.server_url + path, headers={"Authorization": f"Bearer {token}"})

        def answered() -> bool:
            try:
                with opener.open(request, timeout=5):
                    return True
            except OSError:  # no connection yet, or an HTTP error, which is also an OSError in urllib
                return False

        wait_for(answered, START_SECONDS, what, lambda: self.supervisor.check(*programs))

    def _write_kubeconfig(self, path: Path, token: str, namespace: str) -> None:
        name = "vmferry-testbed"
        authority = base64.b64encode(self.ca_file.read_bytes()).decode()
        context = {"cluster": name, "user": name, "namespace": namespace}
        kubeconfig = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "clusters": [
                {
                    "name": name,
                    "cluster": {"server": self.server_url, "certificate-authority-data": authority},
                }
            ],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [{"name": name, "context": context}],
        }
        _write_private(path, json.dumps(kubeconfig, indent=2))  # JSON is YAML


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)
