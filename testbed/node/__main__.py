"""Installs the chart on a real node, drains hosts while the operator's Pods are replaced, and uninstalls it.

python -m testbed.node          # make node
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from testbed.bed import QUICK, Bed, merge
from testbed.cloud import CLOUD_NAME
from testbed.debian import InstallError
from testbed.demo import Demo
from testbed.image import image
from testbed.kubernetes.install import install
from testbed.node import node as programs
from testbed.node.node import ADDRESS, Node
from testbed.processes import Supervisor, run_root, wait_for
from testbed.sandbox import enter, group, inside, lock, quiet
from testbed.shown import DemoError
from testbed.simulator import SimulatedCloud
from testbed.tenant import Tenant

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "vmferry-system"
SELECTOR = "app.kubernetes.io/name=vmferry"
SERVERS = 12
#: size of the large cloud
HOSTS, PER_HOST = 500, 20
#: the chart's memory limit, in bytes
LIMIT = 512 << 20


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

    def values(self, config: dict[str, Any] = QUICK, **over: Any) -> dict[str, Any]:
        repository, tag = image().rsplit(":", 1)
        return merge(
            {
                "image": {"repository": repository, "tag": tag, "pullPolicy": "Never"},
                "cloud": {"name": CLOUD_NAME, "cloudsYaml": self.cloud.clouds_yaml.read_text()},
                "config": config,
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
        """Drain the host while `disturb` ends the leader's Pod, and check that each server moves exactly once."""
        ids = [self.tenant.boot(f"{name}-{number}", host, wait=False) for number in range(SERVERS)]
        for server in ids:
            self.tenant.wait_for_status(server, "ACTIVE")
        self.cloud.knob(host, live_seconds=4)
        self.kubectl("apply", "-f", "-", input=yaml.safe_dump(maintenance(host)))
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

    def frozen(self) -> None:
        """Suspend the leader's process, until the kubelet's liveness probe has its container restarted."""
        name = self.leader()
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if f"HOSTNAME={name}".encode() in (process / "environ").read_bytes().split(b"\0"):
                    os.kill(int(process.name), signal.SIGSTOP)
        self.wait(lambda: self.restarts().get(name, 0) > 0, f"a new container of {name}", 360)

    def restarts(self) -> dict[str, int]:
        """Restarts of the operator's container, by Pod."""
        statuses = ((pod["metadata"]["name"], pod["status"].get("containerStatuses", ())) for pod in self.pods())
        return {name: sum(status["restartCount"] for status in containers) for name, containers in statuses}

    def rolled(self) -> None:
        self.helm("upgrade", "vmferry", ROOT / "helm/vmferry", "--wait", values=self.values(podAnnotations={"a": "b"}))

    def rolls_back(self) -> None:
        self.helm("rollback", "vmferry", "1", "--wait")
        self.wait(lambda: self.ready() == 2, "two Pods after the rollback")
        self.say("helm rollback: two Pods are Ready")

    def bears(self, cloud: SimulatedCloud) -> None:
        """Drain a host of a large cloud with the default intervals, within the chart's memory limit."""
        # the simulator does not report operating systems
        zones = [zone["name"] for zone in large()["aggregates"]]
        system = {"policy": {"operatingSystems": [{"system": "Ubuntu 22.04", "aggregates": zones}]}}
        values = self.values(config=system, cloud={"cloudsYaml": cloud.clouds_yaml.read_text()})
        self.helm("upgrade", "vmferry", ROOT / "helm/vmferry", "--wait", "--timeout", "6m", values=values)
        self.wait(lambda: self.ready() == 2, "two Pods that see the large cloud", 360)
        self.kubectl("apply", "-f", "-", input=yaml.safe_dump(maintenance("big0000")))
        self.wait(lambda: self.maintenance("big0000").get("phase") == "InMaintenance", "a host of the large cloud", 480)
        self.kubectl("patch", "hm", "big0000", "--type=merge", '--patch={"spec":{"enabled":false}}')
        self.wait(lambda: self.maintenance("big0000").get("phase") == "Released", "its release")
        self.kubectl("delete", "hm", "big0000", "--timeout=120s")
        groups = [path.parent for path in Path(f"/sys/fs/cgroup/memory{group()}").rglob("memory.limit_in_bytes")]
        limited = [path for path in groups if int((path / "memory.limit_in_bytes").read_text()) == LIMIT]
        peaks = [int((path / "memory.max_usage_in_bytes").read_text()) for path in limited]
        said = ", ".join(f"{peak / 2**20:.0f}" for peak in sorted(peaks, reverse=True))
        self.say(f"{HOSTS} hosts, {HOSTS * PER_HOST} servers, one host drained: at most {said} MiB of {LIMIT >> 20}")
        if any(self.restarts().values()) or not peaks:
            raise InstallError(f"a container was started again: {self.restarts()}, {peaks}")

    def uninstalls(self) -> None:
        self.kubectl("apply", "-f", "-", input=yaml.safe_dump(maintenance("cmp1")))
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


def maintenance(host: str) -> dict[str, Any]:
    return {
        "apiVersion": "vmferry.dev/v1alpha1",
        "kind": "HostMaintenance",
        "metadata": {"name": host},
        "spec": {"host": host},
    }


def large() -> dict[str, Any]:
    """The fleet file of the large cloud."""
    names = [f"big{number:04}" for number in range(HOSTS)]
    zones = [names[at : at + 50] for at in range(0, HOSTS, 50)]
    return {
        "hosts": [
            {"name": name, "memory_gb": 512, "disk_gb": 4000, "store": "lab", "os": "Ubuntu 22.04.5 LTS"}
            for name in names
        ],
        "aggregates": [{"name": f"zone{n}", "zone": f"zone{n}", "hosts": hosts} for n, hosts in enumerate(zones)],
        "flavors": [{"name": "m1.small", "vcpus": 1, "ram_mb": 1024, "disk_gb": 10}],
        "images": [{"name": "cirros"}],
        "servers": [
            {"name": f"web-{n}", "host": names[n % HOSTS], "flavor": "m1.small", "volume": "new"}
            for n in range(HOSTS * PER_HOST)
        ],
    }


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
        story.drains("cmp2", "frozen", story.frozen)
        story.drains("cmp1", "rolled", story.rolled)
        story.rolls_back()
        fleet = run_dir / "large.yaml"
        fleet.write_text(json.dumps(large()))
        aside = Supervisor(run_dir / "large")
        try:
            story.bears(SimulatedCloud.start(aside, run_dir / "large", fleet, address=ADDRESS))
        finally:
            aside.stop_all()
        story.helm("rollback", "vmferry", "1", "--wait")
        story.uninstalls()
        cloud.stop()
        story = Story(node, SimulatedCloud.start(supervisor, run_dir, address=ADDRESS), home)
        story.installs()
        Demo(Bed(supervisor, run_dir, node.cluster, story.cloud)).run()
        story.say("the demo's story, with the operator as a Pod")
    finally:
        supervisor.stop_all()


def main() -> int:
    try:
        if not inside():
            # downloads happen outside, where there is a network
            programs.install()
            install()
            if subprocess.run([sys.executable, "-u", "-m", "testbed.image"]).returncode != 0:
                raise InstallError("there is no image")
        enter("testbed.node", sys.argv[1:], network=True)
        with lock("node"):
            run_dir = run_root() / "node"
            shutil.rmtree(run_dir, ignore_errors=True)
            run_dir.mkdir(mode=0o700)
            tell(run_dir)
    except (InstallError, TimeoutError, DemoError) as error:
        print(f"node: {error}", file=sys.stderr)
        return 1
    print("node: ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
