"""A real node in its own network namespace: kubelet, kube-proxy, scheduler, containerd and cluster DNS.

All files are below the run folder or in namespaces that end with this process: see `testbed.sandbox`.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import yaml

from testbed.golang import Module
from testbed.image import image, podman
from testbed.kubernetes.cluster import Cluster
from testbed.processes import Supervisor, free_port, wait_for
from testbed.sandbox import group, quiet

HERE = Path(__file__).resolve().parent
NAME = "node1"
#: the node's address on a separate interface, through which Pods, the API server and the cloud reach each other
ADDRESS = "10.250.0.1"
DNS = "10.250.0.53"
PODS, SERVICES = "10.244.0.0/24", "10.96.0.0/16"
PAUSE = "localhost/pause:1"
PROGRAMS = ("kubelet", "kube-proxy", "kube-scheduler")

MODULE = Module(
    name="node",
    source=HERE,
    programs=f"{', '.join(PROGRAMS)} and pause",
    packages=(".", "./pause"),
    patience="1 to 5 minutes",
    variables=lambda versions: {
        f"k8s.io/component-base/version.{name}": value
        for name, value in {
            "gitVersion": versions["k8s.io/kubernetes"],
            "gitMajor": "1",
            "gitMinor": versions["k8s.io/kubernetes"].split(".")[1],
        }.items()
    },
    links=PROGRAMS,
)
COREDNS = Module(
    name="coredns",
    source=HERE / "coredns",
    programs="coredns",
    packages=(".",),
    patience="1 to 8 minutes",
)


def install() -> Path:
    """Return the folder with all programs of a node; build them first if needed. Raises InstallError."""
    COREDNS.install()
    return MODULE.install()


class Node:
    """A node, which `start` starts and which ends with the process."""

    def __init__(self, supervisor: Supervisor, run_dir: Path, crds: Sequence[Path] = ()) -> None:
        self.supervisor = supervisor
        self.run_dir = run_dir
        self._interface()
        self.cluster = Cluster.start(supervisor, run_dir / "kubernetes", crds, node_address=ADDRESS)
        self.programs = install()
        # images and volumes; the sandbox removes them
        self.data = Path(tempfile.mkdtemp())

    def start(self) -> None:
        """Start the node and wait until it is ready; the operator's image is on it."""
        for controller in Path("/sys/fs/cgroup").iterdir():
            (controller / group().strip("/")).mkdir(parents=True, exist_ok=True)
        self._containerd()
        self._images()
        run = self.run_dir
        self._write("kubelet.yaml", self._kubelet())
        self._write("proxy.yaml", self._proxy())
        kubeconfig = f"--kubeconfig={self.cluster.kubeconfig}"
        self.supervisor.start(
            "kubelet",
            [
                self.programs / "kubelet",
                kubeconfig,
                f"--config={run / 'kubelet.yaml'}",
                f"--root-dir={self.data / 'kubelet'}",
                f"--cert-dir={run / 'kubelet-pki'}",
                f"--node-ip={ADDRESS}",
                f"--hostname-override={NAME}",
                "--v=1",
            ],
        )
        self.supervisor.start("kube-proxy", [self.programs / "kube-proxy", f"--config={run / 'proxy.yaml'}", "--v=1"])
        self.supervisor.start(
            "kube-scheduler",
            [self.programs / "kube-scheduler", kubeconfig, "--leader-elect=false", "--secure-port=0", "--v=1"],
        )
        services = f"kubernetes cluster.local {{\nkubeconfig {self.cluster.kubeconfig}\n}}"
        (run / "Corefile").write_text(f".:53 {{\nbind {DNS}\nerrors\n{services}\n}}\n")
        self.supervisor.start("coredns", [self.programs / "coredns", "-conf", run / "Corefile"])
        wait_for(self._is_ready, 180, "the node to be ready", lambda: self.supervisor.check("kubelet", "containerd"))

    def _is_ready(self) -> bool:
        found = json.loads(self.cluster.kubectl_run("get", "nodes", "-o", "json"))["items"]
        return any(
            condition["type"] == "Ready" and condition["status"] == "True"
            for node in found
            for condition in node["status"]["conditions"]
        )

    def _interface(self) -> None:
        quiet("mount", "-t", "tmpfs", "none", "/run")
        quiet("ip", "link", "add", "node0", "type", "bridge")
        for address in (ADDRESS, DNS):
            quiet("ip", "address", "add", f"{address}/24", "dev", "node0")
        quiet("ip", "link", "set", "node0", "up")
        quiet("ip", "route", "add", "default", "via", ADDRESS, "dev", "node0")
        for name in ("net/ipv4/ip_forward", "net/bridge/bridge-nf-call-iptables"):
            path = Path("/proc/sys") / name
            if path.exists():
                path.write_text("1")

    def _containerd(self) -> None:
        run = self.run_dir
        (run / "cni").mkdir()
        network = {
            "cniVersion": "0.4.0",
            "name": "pods",
            "plugins": [
                {
                    "type": "bridge",
                    "bridge": "cni0",
                    "isGateway": True,
                    "ipMasq": True,
                    "hairpinMode": True,
                    "ipam": {
                        "type": "host-local",
                        "subnet": PODS,
                        "dataDir": str(run / "ipam"),
                        "routes": [{"dst": "0.0.0.0/0"}],
                    },
                },
                {"type": "loopback"},
            ],
        }
        (run / "cni" / "10-pods.conflist").write_text(json.dumps(network))
        (run / "containerd.toml").write_text(
            f"""version = 2
root = "{self.data}/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{run}/cni"
"""
        )
        self.supervisor.start("containerd", ["containerd", "--config", run / "containerd.toml"])
        socket = Path("/run/containerd.sock")
        wait_for(socket.exists, 60, "containerd", lambda: self.supervisor.check("containerd"))

    def _images(self) -> None:
        pause = self.data / "pause"
        pause.mkdir()
        shutil.copy(self.programs / "pause", pause)
        quiet("tar", "-C", pause, "-cf", self.data / "pause.tar", "pause")
        podman("import", '--change=ENTRYPOINT ["/pause"]', self.data / "pause.tar", PAUSE)
        for name in (PAUSE, image()):
            archive = self.data / "image.tar"
            podman("save", "--format=docker-archive", f"--output={archive}", name)
            quiet("ctr", "--address=/run/containerd.sock", "-n", "k8s.io", "images", "import", archive)
            archive.unlink()

    def _kubelet(self) -> dict[str, object]:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "failCgroupV1": False,
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": group(),
            "failSwapOn": False,
            "containerRuntimeEndpoint": "unix:///run/containerd.sock",
            "podLogsDir": str(self.run_dir / "pods"),
            "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
            "authorization": {"mode": "AlwaysAllow"},
            "readOnlyPort": 0,
            "healthzPort": 0,
            "address": ADDRESS,
            "enforceNodeAllocatable": [],
            "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
            "imageGCHighThresholdPercent": 100,
            "localStorageCapacityIsolation": False,
            "clusterDNS": [DNS],
            "clusterDomain": "cluster.local",
            "resolvConf": "",
            "volumePluginDir": str(self.data / "plugins"),
        }

    def _proxy(self) -> dict[str, object]:
        return {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "iptables",
            "clusterCIDR": PODS,
            "clientConnection": {"kubeconfig": str(self.cluster.kubeconfig)},
            "hostnameOverride": NAME,
            "healthzBindAddress": f"127.0.0.1:{free_port()}",
            "metricsBindAddress": f"127.0.0.1:{free_port()}",
            "conntrack": {"maxPerCore": 0},
        }

    def _write(self, name: str, content: dict[str, object]) -> None:
        (self.run_dir / name).write_text(yaml.safe_dump(content))
