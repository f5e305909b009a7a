"""The chart's Pods, started as a kubelet would start them: any user, no rights, nothing to write to but /tmp.

The API server and the cloud are the testbed's; the program is the installed wheel, not the source.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.bed import QUICK
from testbed.cloud import CLOUD_NAME
from testbed.container import Container, image_configuration
from testbed.kubernetes.cluster import Cluster
from testbed.processes import Supervisor, free_port, run_root, wait_for
from testbed.simulator import SimulatedCloud
from testbed.tenant import Tenant
from tests.helm.chart import NAMESPACE, Objects, one, render
from tests.helm.switches import COMBINATIONS, values_of
from vmferry.resources.vmmigration import FINALIZER

#: the chart's own user, and one that OpenShift might choose: neither has an entry in /etc/passwd
USERS = {"the chart's user": None, "a user of OpenShift's": 1000660000}
#: the chart's values on OpenShift
NO_IDS = {"podSecurityContext": {"runAsUser": None, "runAsGroup": None, "fsGroup": None}}
#: the kinds of objects that make Pods, and how often the chart has them
PODS = {"Deployment": 1, "Pod": 1, "Job": 1}
SERVER = "web-1"


@dataclass
class Site:
    """A cluster and a cloud with the chart's objects applied."""

    cluster: Cluster
    cloud: SimulatedCloud
    supervisor: Supervisor
    folder: Path
    objects: Objects
    #: the same for a cluster that chooses user and group
    without_ids: Objects
    port: int
    server: str = ""
    made: int = field(default=0)

    def container(self, spec: dict[str, Any], user: int | None) -> Container:
        objects = {(found["kind"], found["metadata"]["name"]): found for found in self.objects}
        service = f"vmferry.{NAMESPACE}.svc"
        return Container(self.cluster, NAMESPACE, spec, objects, user=user, names=(service,))

    def pod(self, kind: str, user: int | None) -> dict[str, Any]:
        """The spec of the only Pod that an object of this kind makes."""
        spec = one(self.objects if user is None else self.without_ids, kind)["spec"]
        return dict(spec if kind == "Pod" else spec["template"]["spec"])

    def new_folder(self) -> Path:
        self.made += 1
        found = self.folder / f"container-{self.made}"
        found.mkdir()
        return found

    def run(self, spec: dict[str, Any], user: int | None) -> subprocess.CompletedProcess[str]:
        command = self.container(spec, user).command(self.new_folder())
        return subprocess.run(command, capture_output=True, text=True, timeout=300)

    def probe(self, probe: dict[str, Any]) -> tuple[int, str]:
        """As the kubelet asks; 0 while nobody answers."""
        url = f"http://127.0.0.1:{self.port}{probe['httpGet']['path']}"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(url, timeout=probe["timeoutSeconds"]) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def operator(self) -> dict[str, Any]:
        (found,) = one(self.objects, "Deployment")["spec"]["template"]["spec"]["containers"]
        return dict(found)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if os.geteuid() != 0:
        pytest.skip("it takes root to make a container")
    # a cluster of its own: the operator serves all namespaces
    run_dir = Path(tempfile.mkdtemp(prefix="tests-pod-", dir=run_root()))
    supervisor = Supervisor(run_dir)
    try:
        crds = sorted((Path(__file__).parents[2] / "crds").glob("*.yaml"))
        cluster = Cluster.start(supervisor, run_dir / "kubernetes", crds)
        cloud = SimulatedCloud.start(supervisor, run_dir)
        port = free_port()
        values = {
            "cloud": {"name": CLOUD_NAME, "cloudsYaml": cloud.clouds_yaml.read_text()},
            "config": QUICK,
            "crds": {"install": False},
            # tests share one machine, so one port; a Pod has an address of its own
            "env": [{"name": "VMFERRY_HEALTH_PORT", "value": str(port)}],
        }
        home = tmp_path_factory.mktemp("helm")
        objects, without_ids = render(home, values), render(home, values | NO_IDS)
        cluster.kubectl_run("create", "namespace", NAMESPACE)
        cluster.kubectl_run("create", "namespace", "migrations")
        plain = [found for found in objects if "helm.sh/hook" not in found["metadata"].get("annotations", {})]
        cluster.kubectl_run("apply", "--filename", "-", input=yaml.safe_dump_all(plain))
        server = Tenant(cloud.clouds_yaml).boot(SERVER, "cmp1")
        yield Site(cluster, cloud, supervisor, run_dir, objects, without_ids, port, server)
    finally:
        supervisor.stop_all()
        shutil.rmtree(run_dir)


def migrate(site: Site, name: str) -> str:
    text = {
        "apiVersion": "vmferry.dev/v1alpha1",
        "kind": "VMMigration",
        "metadata": {"name": name, "namespace": "migrations"},
        "spec": {"server": {"id": site.server}},
    }
    site.cluster.kubectl_run("apply", "--filename", "-", input=yaml.safe_dump(text))
    return f"vmm/{name}"


def phase(site: Site, what: str) -> str:
    return site.cluster.kubectl_run("get", what, "-n", "migrations", "-o", "jsonpath={.status.phase}")


@pytest.mark.kubernetes
@pytest.mark.simulator
@pytest.mark.parametrize("user", USERS.values(), ids=USERS.keys())
def test_it_migrates_a_server_as_the_chart_starts_it(user: int | None, site: Site) -> None:
    spec = site.pod("Deployment", user)
    operator = site.operator()
    site.supervisor.start("operator", site.container(spec, user).command(site.new_folder()))
    try:
        wait_for(
            lambda: site.probe(operator["readinessProbe"])[0] == 200,
            120,
            "readiness",
            lambda: site.supervisor.check("operator"),
        )
        assert site.probe(operator["livenessProbe"])[0] == 200
        name = migrate(site, f"as-{user or 65532}")
        wait_for(lambda: phase(site, name) == "Succeeded", 240, "the move", lambda: site.supervisor.check("operator"))
        # what `helm test` runs
        test = site.pod("Pod", user)
        command = [part.replace(":8080/", f":{site.port}/") for part in test["containers"][0]["command"]]
        test = {**test, "containers": [{**test["containers"][0], "command": command}]}
        done = site.run(test, user)
        assert (done.returncode, done.stdout.strip().splitlines()[0]) == (0, "ok"), done.stderr
    finally:
        pid = site.supervisor.pid("operator")
        if pid is not None:
            for child in _children(pid):
                os.kill(child, signal.SIGTERM)
        wait_for(lambda: not site.supervisor.alive("operator"), 240, "its end")
        site.supervisor.stop("operator")
    assert "runtime.operator: stopped" in site.supervisor.log_tail("operator", 3), site.supervisor.log_tail("operator")


def _children(pid: int) -> list[int]:
    """Of unshare: the container's first process, which the kubelet would send a signal to."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.kubernetes
@pytest.mark.simulator
@pytest.mark.parametrize("user", USERS.values(), ids=USERS.keys())
def test_the_job_before_an_uninstall_judges_as_the_chart_starts_it(user: int | None, site: Site) -> None:
    """No operator runs: what is waiting stays."""
    spec = site.pod("Job", user)
    done = site.run(spec, user)
    assert (done.returncode, done.stdout) == (0, "nothing is in flight and no host is held: the operator may go\n")
    name = migrate(site, "waiting")
    site.cluster.kubectl_run(
        "patch",
        name,
        "-n",
        "migrations",
        "--type=merge",
        f'--patch={{"metadata":{{"finalizers":["{FINALIZER}"]}}}}',
    )
    try:
        done = site.run(spec, user)
        assert done.returncode == 1, done.stderr
        assert "VMMigration migrations/waiting" in done.stdout
    finally:
        site.cluster.kubectl_run(
            "patch", name, "-n", "migrations", "--type=merge", '--patch={"metadata":{"finalizers":null}}'
        )
        site.cluster.kubectl_run("delete", name, "-n", "migrations")


@pytest.mark.kubernetes
@pytest.mark.simulator
@pytest.mark.parametrize("user", USERS.values(), ids=USERS.keys())
@pytest.mark.parametrize("kind", PODS)
def test_the_world_is_like_a_pods(kind: str, user: int | None, site: Site) -> None:
    """Otherwise the tests above would show nothing."""
    script = """
import getpass, json, os, pathlib
found = {"ids": [os.getuid(), os.getgid(), os.getgroups()], "environment": sorted(set(os.environ) - {"LC_CTYPE"})}
for name, path in (("root", "/x"), ("tmp", "/tmp/x"), ("secret", "/etc/vmferry/cloud/x"), ("code", "/opt/vmferry/x")):
    try:
        pathlib.Path(path).write_text("x")
        found[name] = True
    except OSError:
        found[name] = False
try:
    found["name"] = getpass.getuser()
except (KeyError, OSError):
    found["name"] = None
lines = pathlib.Path("/proc/self/status").read_text().splitlines()
found["capabilities"] = {line.split()[1] for line in lines if line.startswith("Cap")} == {"0" * 16}
found["no_new_privileges"] = "NoNewPrivs:\\t1" in lines
print(json.dumps(found))
"""
    spec = site.pod(kind, user)
    (container,) = spec["containers"]
    done = site.run({**spec, "containers": [{**container, "command": ["python", "-c", script], "args": []}]}, user)
    assert done.returncode == 0, done.stderr
    environment, _, _ = image_configuration()
    assert json.loads(done.stdout) == {
        "ids": [65532, 65532, []] if user is None else [user, 0, []],
        "environment": sorted(
            [*environment, "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"]
            + [variable["name"] for variable in container.get("env", ())]
        ),
        "root": False,
        "tmp": kind == "Deployment",
        "secret": False,
        "code": False,
        "name": None,
        "capabilities": True,
        "no_new_privileges": True,
    }


def pods(objects: Objects) -> list[tuple[str, dict[str, Any]]]:
    """Kind and Pod spec of everything that makes Pods, whatever its kind."""
    specs = [(found["kind"], found.get("spec", {})) for found in objects]
    specs = [(kind, spec["template"]["spec"] if "template" in spec else spec) for kind, spec in specs]
    return [(kind, spec) for kind, spec in specs if "containers" in spec]


@pytest.mark.parametrize("combination", COMBINATIONS, ids=lambda c: ",".join(c.values()))
@pytest.mark.parametrize("user", USERS.values(), ids=USERS.keys())
def test_every_pod_is_locked_down(user: int | None, combination: dict[str, str], tmp_path: Path) -> None:
    values = values_of(combination) | ({} if user is None else NO_IDS)
    found = pods(render(tmp_path, values))
    expected = PODS if values.get("uninstallCheck", {}).get("enabled", True) else {**PODS, "Job": 0}
    assert Counter(kind for kind, _ in found) == Counter(expected)
    ids = {"runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532} if user is None else {}
    for kind, pod in found:
        locked = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
        assert pod["securityContext"] == {**locked, **ids}
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers", "ephemeralContainers"} & pod.keys()
        assert {next(iter(volume.keys() - {"name"})) for volume in pod.get("volumes", ())} <= (
            {"configMap", "secret", "emptyDir"} if kind == "Deployment" else set()
        )
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
