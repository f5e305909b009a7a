"""The chart on a real node, from nothing to its uninstallation, with drains that outlive their operator's Pod.

python -m testbed.node          # make node
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from testbed.bed import QUICK, merge
from testbed.cloud import CLOUD_NAME
from testbed.debian import InstallError
from testbed.image import image
from testbed.kubernetes.install import install
from testbed.node.node import ADDRESS, MODULE, Node
from testbed.processes import Supervisor, run_root, wait_for
from testbed.sandbox import enter, inside, quiet, remove_groups
from testbed.simulator import SimulatedCloud
from testbed.tenant import Tenant

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "vmferry-system"
SELECTOR = "app.kubernetes.io/name=vmferry"
SERVERS = 12


class Story:
    def __init__(self, node: Node, cloud: SimulatedCloud, home: Path) -> None:
        self.node = node
        self.cluster = node.cluster
        self.cloud = cloud
        self.tenant = Tenant(cloud.clouds_yaml)
        self.home = home
        self.began = time.monotonic()

    def say(self, text: str) -> None:
        print(f"node: {time.monotonic() - self.began:5.0f} s  {text}", flush=True)

    def kubectl(self, *arguments: str, **options: Any) -> str:
        return self.cluster.kubectl_run(*arguments, **options)

    def helm(self, *arguments: str | Path, values: dict[str, Any] | None = None) -> str:
        command: list[str | Path] = [install() / "helm", *arguments, "--namespace", NAMESPACE]
        command += [f"--kubeconfig={self.cluster.kubeconfig}"]
        if values is not None:
            path = self.home / "values.yaml"
            path.write_text(yaml.safe_dump(values))
            command += ["--values", path]
        return quiet("env", f"HELM_CACHE_HOME={self.home}", f"HELM_CONFIG_HOME={self.home}", *command)

    def values(self, **over: Any) -> dict[str, Any]:
        repository, tag = image().rsplit(":", 1)
        return merge(
            {
                "image": {"repository": repository, "tag": tag, "pullPolicy": "Never"},
                "cloud": {"name": CLOUD_NAME, "cloudsYaml": self.cloud.clouds_yaml.read_text()},
                "config": QUICK,
            },
            over,
        )

    def wait(self, met: Callable[[], bool], what: str, seconds: float = 240) -> None:
        wait_for(met, seconds, what, lambda: self.node.supervisor.check("kubelet", "containerd", "kube-apiserver"))

    def pods(self) -> list[dict[str, Any]]:
        found = json.loads(self.kubectl("get", "pods", "-n", NAMESPACE, "-l", SELECTOR, "-o", "json"))["items"]
        return [pod for pod in found if pod["metadata"].get("deletionTimestamp") is None]

    def ready(self) -> int:
        return sum(
            condition["type"] == "Ready" and condition["status"] == "True"
            for pod in self.pods()
            for condition in pod["status"].get("conditions", ())
        )

    def leader(self) -> str:
        path = "jsonpath={.spec.holderIdentity}"
        holder = self.kubectl("get", "lease", "vmferry", "-n", NAMESPACE, "-o", path, check=False)
        return holder.partition("_")[0]

    def maintenance(self, host: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", "hm", host, "-o", "json"))
        return dict(found.get("status", {}))

    # -- the parts

    def installs(self) -> None:
        self.helm("install", "vmferry", ROOT / "helm/vmferry", "--create-namespace", values=self.values())
        self.wait(lambda: self.ready() == 2, "two Pods that are ready")
        self.say("helm install: two Pods are Ready by the kubelet's probes")
        self.helm("test", "vmferry", "--timeout", "3m")
        self.say("helm test passes")

    def drains(self, host: str, name: str, disturb: Callable[[], None]) -> None:
        """The host's servers leave, each once, while `disturb` ends the leader's Pod."""
        ids = [self.tenant.boot(f"{name}-{number}", host, wait=False) for number in range(SERVERS)]
        for server in ids:
            self.tenant.wait_for_status(server, "ACTIVE")
        self.cloud.knob(host, live_seconds=4)
        text = {
            "apiVersion": "vmferry.dev/v1alpha1",
            "kind": "HostMaintenance",
            "metadata": {"name": host},
            "spec": {"host": host},
        }
        self.kubectl("apply", "-f", "-", input=yaml.safe_dump(text))
        self.wait(lambda: self.maintenance(host).get("progress", {}).get("moved", 0) > 0, "the first move")
        before = self.leader()
        disturb()
        self.wait(lambda: self.maintenance(host).get("phase") == "InMaintenance", f"{host} in maintenance")
        for server in ids:
            records = [one for one in self.tenant.migrations(server) if one["migration_type"] == "live-migration"]
            if [one["status"] for one in records] != ["completed"]:
                raise InstallError(f"{name}: {server} was not moved exactly once: {records}")
        self.say(
            f"{host} drained while the leader's Pod was {name}: {before} -> {self.leader()}; each server moved once"
        )
        self.kubectl("patch", "hm", host, "--type=merge", '--patch={"spec":{"enabled":false}}')
        self.wait(lambda: self.maintenance(host).get("phase") == "Released", f"{host} released")
        self.kubectl("delete", "hm", host, "--timeout=120s")
        self.tenant.delete_booted()
        self.wait(lambda: self.ready() == 2, "two Pods again")

    def deleted(self) -> None:
        self.kubectl("delete", "pod", self.leader(), "-n", NAMESPACE)

    def evicted(self) -> None:
        name = self.leader()
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": NAMESPACE},
        }
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{name}/eviction"
        self.kubectl("create", "--raw", path, "-f", "-", input=json.dumps(body))

    def rolled(self) -> None:
        self.helm("upgrade", "vmferry", ROOT / "helm/vmferry", "--wait", values=self.values(podAnnotations={"a": "b"}))

    def rolls_back(self) -> None:
        self.helm("rollback", "vmferry", "1", "--wait")
        self.wait(lambda: self.ready() == 2, "two Pods after the rollback")
        self.say("helm rollback: two Pods are Ready")

    def uninstalls(self) -> None:
        text = {
            "apiVersion": "vmferry.dev/v1alpha1",
            "kind": "HostMaintenance",
            "metadata": {"name": "cmp1"},
            "spec": {"host": "cmp1"},
        }
        self.kubectl("apply", "-f", "-", input=yaml.safe_dump(text))
        self.wait(lambda: self.maintenance("cmp1").get("phase") == "InMaintenance", "cmp1 in maintenance")
        try:
            self.helm("uninstall", "vmferry", "--timeout", "3m")
        except InstallError:
            pass
        else:
            raise InstallError("helm uninstall went through while a host is held")
        logs = self.kubectl("logs", "-n", NAMESPACE, "job/vmferry-uninstall")
        if "HostMaintenance cmp1" not in logs or self.ready() != 2:
            raise InstallError(f"the refusal is odd: {logs}")
        self.say("helm uninstall is refused while a host is held")
        self.kubectl("patch", "hm", "cmp1", "--type=merge", '--patch={"spec":{"enabled":false}}')
        self.wait(lambda: self.maintenance("cmp1").get("phase") == "Released", "cmp1 released")
        self.kubectl("delete", "hm", "cmp1", "--timeout=120s")
        self.helm("uninstall", "vmferry", "--timeout", "3m")
        self.wait(lambda: not self.pods(), "no Pods")
        self.say("helm uninstall goes through when nothing is held")


def tell(run_dir: Path) -> None:
    supervisor = Supervisor(run_dir)
    try:
        node = Node(supervisor, run_dir)
        cloud = SimulatedCloud.start(supervisor, run_dir, address=ADDRESS)
        home = run_dir / "helm"
        home.mkdir()
        story = Story(node, cloud, home)
        node.start()
        story.say("the node is ready")
        story.installs()
        story.drains("cmp1", "deleted", story.deleted)
        story.drains("cmp2", "evicted", story.evicted)
        story.drains("cmp1", "rolled", story.rolled)
        story.rolls_back()
        story.uninstalls()
        story.say("ok")
    finally:
        supervisor.stop_all()
        remove_groups()


def main() -> int:
    try:
        if not inside():
            # what has to be fetched is fetched outside, where there is a network
            MODULE.install()
            install()
            if subprocess.run([sys.executable, "-u", "-m", "testbed.image"]).returncode != 0:
                raise InstallError("there is no image")
        enter("testbed.node", sys.argv[1:], network=True)
        run_dir = run_root() / "node"
        shutil.rmtree(run_dir, ignore_errors=True)
        run_dir.mkdir(mode=0o700)
        tell(run_dir)
    except (InstallError, TimeoutError) as error:
        print(f"node: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
