"""A release on the real API server: what is rendered is admitted; in its life nothing is lost or stranded."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from base64 import b64decode
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from helm.generate import CHART
from testbed.build import ident
from testbed.cloud import CLOUD_NAME
from testbed.kubernetes.cluster import Cluster, KubectlError
from testbed.processes import Supervisor, free_port, run_root, wait_for
from testbed.simulator import SimulatedCloud
from testbed.tenant import Tenant
from tests.helm.chart import NAMESPACE, HelmError, helm, one, render
from tests.helm.switches import COMBINATIONS, values_of

pytestmark = pytest.mark.kubernetes

CRDS = ("vmmigrations.vmferry.dev", "hostmaintenances.vmferry.dev")
#: of the Prometheus operator, as far as the API server needs them
FOREIGN = {"servicemonitors": "ServiceMonitor", "prometheusrules": "PrometheusRule"}


def foreign_crd(plural: str, kind: str) -> dict[str, Any]:
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": anything}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.monitoring.coreos.com"},
        "spec": {
            "group": "monitoring.coreos.com",
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural},
            "versions": [version],
        },
    }


@dataclass(frozen=True)
class Site:
    """A cluster without vmferry, and helm for it."""

    cluster: Cluster
    home: Path

    def helm(self, *args: str | Path, values: Mapping[str, Any] | None = None) -> str:
        where = ("--namespace", NAMESPACE)
        return helm(self.home, *args, *where, values=values, kubeconfig=self.cluster.kubeconfig)

    def get(self, *what: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.cluster.kubectl_run("get", *what, "--output=json"))
        return found

    def names(self, what: str) -> set[str]:
        """Of that kind in the release's namespace, or in none."""
        items = self.get(what, "--namespace", NAMESPACE)["items"]
        return {item["metadata"]["name"] for item in items}

    def columns(self) -> list[str]:
        """The columns of the VMMigrations that the API server shows now."""
        (version,) = self.get("crd", CRDS[0])["spec"]["versions"]
        return [column["name"] for column in version["additionalPrinterColumns"]]

    def package(self, version: str, change: Mapping[str, str] | None = None) -> Path:
        """The chart as that version; `change` replaces texts in the definition of VMMigration and in values.yaml."""
        copy = self.home / version / "vmferry"
        shutil.copytree(CHART, copy)
        for old, new in (change or {}).items():
            hits = 0
            for path in (copy / "files" / "crds" / "vmmigrations.yaml", copy / "values.yaml"):
                hits += (text := path.read_text()).count(old)
                path.write_text(text.replace(old, new))
            assert hits == 1, old
        self.helm("package", copy, "--version", version, "--destination", self.home)
        return self.home / f"vmferry-{version}.tgz"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A cluster of its own: the others share one that has the definitions already."""
    run_dir = Path(tempfile.mkdtemp(prefix="tests-helm-", dir=run_root()))
    supervisor = Supervisor(run_dir)
    crds = []
    for plural, kind in FOREIGN.items():
        crds.append(run_dir / f"{plural}.yaml")
        crds[-1].write_text(yaml.safe_dump(foreign_crd(plural, kind)))
    try:
        cluster = Cluster.start(supervisor, run_dir / "cluster", crds)
        cluster.kubectl_run("create", "namespace", NAMESPACE)
        cluster.kubectl_run("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
        cluster.kubectl_run("create", "namespace", "migrations")
        for account in ("default", "vmferry", "ferry", "someone"):
            if account != "default":
                cluster.kubectl_run("create", "serviceaccount", account, "--namespace", NAMESPACE)
            wait = ("wait", "--for=create", f"serviceaccount/{account}", "--timeout=240s")
            cluster.kubectl_run(*wait, "--namespace", NAMESPACE)
        yield Site(cluster, run_dir)
    finally:
        supervisor.stop_all()
        shutil.rmtree(run_dir)


@pytest.fixture
def clean(site: Site) -> Iterator[Site]:
    """Without a release or the definitions, before and after."""
    site.cluster.kubectl_run("delete", "serviceaccount", "vmferry", "--namespace", NAMESPACE, "--ignore-not-found")
    yield site
    # without a kubelet no hook ends
    site.helm("uninstall", "vmferry", "--ignore-not-found", "--no-hooks")
    # the API server comes back to a definition that it could not finish at once after longer and longer pauses
    site.cluster.kubectl_run("delete", "crd", *CRDS, "--ignore-not-found", "--timeout=300s")


@pytest.mark.parametrize("combination", COMBINATIONS, ids=lambda c: ",".join(c.values()))
def test_the_api_server_admits(combination: Mapping[str, str], site: Site) -> None:
    objects = render(site.home, values_of(combination))
    deployment = one(objects, "Deployment")
    # what the Deployment would make: only a Pod itself is held against Pod Security
    pod = {"apiVersion": "v1", "kind": "Pod", **deployment["spec"]["template"]}
    pod["metadata"] = {**pod["metadata"], "name": "made", "namespace": NAMESPACE}
    text = yaml.safe_dump_all([*objects, pod])
    answer = site.cluster.kubectl_run(
        "apply", "--server-side", "--dry-run=server", "--validate=strict", "--filename", "-", input=text
    )
    assert len(answer.splitlines()) == len(objects) + 1


def test_a_pod_that_may_become_root_is_not_admitted_here(site: Site) -> None:
    (pod,) = (o for o in render(site.home, {"podSecurityContext": {"runAsNonRoot": None}}) if o["kind"] == "Pod")
    with pytest.raises(KubectlError, match='violates PodSecurity "restricted'):
        site.cluster.kubectl_run("create", "--dry-run=server", "--filename", "-", input=yaml.safe_dump(pod))


#: English sentence: the values, and what the notes say about them
NOTES: dict[str, tuple[dict[str, Any], str]] = {
    "that the Pod waits for a Secret": ({}, "create secret generic vmferry-cloud -n vmferry-system --from-file=clouds"),
    "that the Pod waits for your Secret": (
        {"cloud": {"existingSecret": "mine", "name": "lab"}},
        "needs the Secret mine with the key clouds.yaml, which defines the cloud lab",
    ),
    "what a plain Nova does not tell": ({}, "every migration is blocked with FactUnknown"),
    "how everything is stopped": (
        {"config": {"stopSwitch": "halt"}},
        "kubectl create configmap halt -n vmferry-system",
    ),
    "what to do before uninstalling": ({}, "return the hosts in maintenance to service"),
    "where it is said why uninstalling is refused": (
        {},
        "kubectl logs job/vmferry-uninstall -n vmferry-system` shows why",
    ),
    "that uninstalling would delete everything": ({"crds": {"keep": False}}, "WARNING: crds.keep is false"),
}


@pytest.mark.parametrize("sentence", NOTES)
def test_the_notes_say(sentence: str, site: Site) -> None:
    values, words = NOTES[sentence]
    assert words in site.helm("install", "vmferry", CHART, "--dry-run=server", "--take-ownership", values=values)


def test_the_notes_ask_for_nothing_that_is_done(site: Site) -> None:
    systems = {"policy": {"operatingSystems": [{"system": "Ubuntu 22.04", "hosts": ["cmp1"]}]}}
    values = {"cloud": {"cloudsYaml": "clouds: {}"}, "config": systems}
    notes = site.helm("install", "vmferry", CHART, "--dry-run=server", "--take-ownership", values=values)
    assert "create secret" not in notes and "plain Nova" not in notes


MIGRATION = {
    "apiVersion": "vmferry.dev/v1alpha1",
    "kind": "VMMigration",
    "metadata": {"name": "web-1", "namespace": "migrations", "finalizers": ["vmferry.dev/migration"]},
    "spec": {"server": {"id": ident("web-1")}, "priority": "High"},
}
MAINTENANCE = {
    "apiVersion": "vmferry.dev/v1alpha1",
    "kind": "HostMaintenance",
    "metadata": {"name": "cmp1", "finalizers": ["vmferry.dev/maintenance"]},
    "spec": {"host": "cmp1", "enabled": True},
}


def put_resources(site: Site) -> None:
    """As a working operator leaves them: with finalizers and a status."""
    for crd in CRDS:
        site.cluster.wait_established(f"crd/{crd}")
    text = yaml.safe_dump_all([MIGRATION, MAINTENANCE])
    site.cluster.kubectl_run("create", "--filename", "-", input=text)
    for what, phase in ((("vmm", "web-1", "--namespace", "migrations"), "Queued"), (("hm", "cmp1"), "Draining")):
        patch = json.dumps({"status": {"phase": phase}})
        site.cluster.kubectl_run("patch", *what, "--subresource=status", "--type=merge", f"--patch={patch}")


def resources(site: Site) -> dict[str, Any]:
    """All that a user sees of them, and what would tell that they were made anew."""
    found = {}
    for item in site.get("vmm,hm", "--all-namespaces")["items"]:
        metadata = item["metadata"]
        assert "deletionTimestamp" not in metadata, "it waits for somebody to take off its finalizer"
        kept = [metadata[name] for name in ("uid", "finalizers", "generation")]
        found[item["kind"]] = [*kept, item["spec"], item["status"]]
    return found


def test_the_life_of_a_release_with_resources(clean: Site) -> None:
    site = clean
    column = "    - name: Progress\n"
    old = site.package("0.0.1", {column: "    - name: Percent\n", "  workers: 8\n": "  workers: 3\n"})
    new = site.package("0.0.2")

    site.helm("install", "vmferry", old)
    put_resources(site)
    before = resources(site)
    assert before.keys() == {"VMMigration", "HostMaintenance"}
    assert "Percent" in site.columns()

    def workers() -> int:
        text = site.get("configmap", "vmferry", "--namespace", NAMESPACE)["data"]["config.yaml"]
        return int(yaml.safe_load(text)["workers"])

    site.helm("upgrade", "vmferry", new)
    assert "Progress" in site.columns() and "Percent" not in site.columns(), "the definitions are upgraded"
    assert (workers(), resources(site)) == (8, before)

    site.helm("rollback", "vmferry", "1")
    assert "Percent" in site.columns(), "and go back with the operator that they belong to"
    assert (workers(), resources(site)) == (3, before)

    site.helm("upgrade", "vmferry", new, values={"replicas": 1, "config": {"leaderElection": {"enabled": False}}})
    assert site.get("deployment", "vmferry", "--namespace", NAMESPACE)["spec"]["strategy"] == {"type": "Recreate"}
    site.helm("upgrade", "vmferry", new, "--reset-values")
    strategy = site.get("deployment", "vmferry", "--namespace", NAMESPACE)["spec"]["strategy"]
    assert strategy["type"] == "RollingUpdate"

    site.helm("upgrade", "vmferry", new, values={"crds": {"install": False}})
    assert resources(site) == before, "definitions that are not the release's any more stay, too"
    site.helm("upgrade", "vmferry", new, "--reset-values")

    site.helm("uninstall", "vmferry", "--no-hooks")
    assert resources(site) == before
    for crd in CRDS:
        assert "deletionTimestamp" not in site.get("crd", crd)["metadata"]
    for kind in ("deployments", "services", "roles", "rolebindings", "poddisruptionbudgets"):
        assert site.names(kind) == set(), kind
    left = {name for kind in ("clusterroles", "clusterrolebindings") for name in site.names(kind)}
    assert not {name for name in left if "vmferry" in name}

    site.helm("install", "vmferry", new)
    assert resources(site) == before, "a later install goes on with them"

    # as the chart's README says, for those who have no operator any more
    site.helm("uninstall", "vmferry", "--no-hooks")
    for what in (("vmm", "web-1", "--namespace", "migrations"), ("hm", "cmp1")):
        site.cluster.kubectl_run("delete", *what, "--wait=false")
        site.cluster.kubectl_run("patch", *what, "--type=merge", '--patch={"metadata":{"finalizers":null}}')
    assert site.get("vmm,hm", "--all-namespaces")["items"] == []


@dataclass(frozen=True)
class Uninstall:
    """`helm uninstall` with its hook: the test is the kubelet and the Job's controller."""

    site: Site
    kubeconfig: Path

    def run(self) -> subprocess.CompletedProcess[str]:
        """What the hook's container said; helm's own end is checked by what it means for helm."""
        job = ("job", "vmferry-uninstall", "--namespace", NAMESPACE)
        before = self._uid()
        with ThreadPoolExecutor() as pool:
            helm_ends = pool.submit(self.site.helm, "uninstall", "vmferry", "--timeout", "120s")
            wait_for(lambda: self._uid() not in (None, before), 240, "the hook's Job")
            pod = self.site.get(*job)["spec"]["template"]["spec"]
            (container,) = pod["containers"]
            assert pod["serviceAccountName"] == "vmferry"
            command = [sys.executable, "-m", "vmferry", *container["args"], "--kubeconfig", str(self.kubeconfig)]
            said = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "NO_PROXY": "*"})
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            good = said.returncode == 0
            words = ("SuccessCriteriaMet", "Complete") if good else ("FailureTarget", "Failed")
            about = {"status": "True", "lastTransitionTime": now, "reason": "Test", "message": "as the kubelet saw it"}
            status: dict[str, Any] = {"startTime": now, "conditions": [{"type": word, **about} for word in words]}
            status |= {"completionTime": now, "succeeded": 1} if good else {"failed": 1}
            patch = json.dumps({"status": status})
            self.site.cluster.kubectl_run("patch", *job, "--subresource=status", "--type=merge", f"--patch={patch}")
            if good:
                helm_ends.result(120)
            else:
                with pytest.raises(HelmError, match=r"pre-delete hook|job vmferry-uninstall failed"):
                    helm_ends.result(120)
        return said

    def _uid(self) -> str | None:
        found = self.site.get("jobs", "--namespace", NAMESPACE)["items"]
        return next((one["metadata"]["uid"] for one in found), None)


def test_nothing_is_uninstalled_while_a_host_is_held_or_a_move_in_flight(clean: Site, tmp_path: Path) -> None:
    site = clean
    site.helm("install", "vmferry", CHART, values={"serviceAccount": {"create": False, "name": "vmferry"}})
    if "vmferry" not in site.names("serviceaccounts"):
        site.cluster.kubectl_run("create", "serviceaccount", "vmferry", "--namespace", NAMESPACE)
    put_resources(site)
    before = resources(site)
    kubeconfig = site.cluster.service_account_kubeconfig(NAMESPACE, "vmferry", tmp_path / "kubeconfig")
    uninstall = Uninstall(site, kubeconfig)

    said = uninstall.run()
    assert said.returncode == 1, said.stderr
    assert "HostMaintenance cmp1: Draining" in said.stdout and "VMMigration migrations/web-1: Queued" in said.stdout
    assert resources(site) == before and "vmferry" in site.names("deployments")

    def state() -> str:
        return str(json.loads(site.helm("status", "vmferry", "--output", "json"))["info"]["status"])

    assert state() == "uninstalling", "helm itself says so, although nothing is gone"
    site.helm("rollback", "vmferry", "1")
    assert (state(), resources(site)) == ("deployed", before), "as the chart's README says, for those who stay"

    # what the operator does at the end of each
    for what in (("vmm", "web-1", "--namespace", "migrations"), ("hm", "cmp1")):
        site.cluster.kubectl_run("patch", *what, "--type=merge", '--patch={"metadata":{"finalizers":null}}')
    said = uninstall.run()
    assert (said.returncode, said.stdout) == (0, "nothing is in flight and no host is held: the operator may go\n")
    assert not site.names("deployments") and not site.names("jobs"), "the Job goes, too"
    text = yaml.safe_dump_all([MIGRATION, MAINTENANCE])
    site.cluster.kubectl_run("delete", "--timeout=240s", "--filename", "-", input=text)


def test_definitions_that_are_there_already_are_taken_over_when_asked_for(clean: Site) -> None:
    for path in sorted((CHART / "files" / "crds").iterdir()):
        clean.cluster.kubectl_run("apply", "--filename", path)
    put_resources(clean)
    before = resources(clean)
    with pytest.raises(HelmError, match="cannot be imported into the current release"):
        clean.helm("install", "vmferry", CHART)
    clean.helm("install", "vmferry", CHART, "--take-ownership")
    assert resources(clean) == before
    for crd in CRDS:
        metadata = clean.get("crd", crd)["metadata"]
        assert metadata["annotations"]["meta.helm.sh/release-name"] == "vmferry"
    text = yaml.safe_dump_all([MIGRATION, MAINTENANCE])
    clean.cluster.kubectl_run("delete", "--wait=false", "--filename", "-", input=text)
    for what in (("vmm", "web-1", "--namespace", "migrations"), ("hm", "cmp1")):
        clean.cluster.kubectl_run("patch", *what, "--type=merge", '--patch={"metadata":{"finalizers":null}}')


@dataclass(frozen=True)
class Operator:
    """The process that a kubelet would start of a release's Deployment, with what it would mount."""

    site: Site
    release: str
    namespace: str
    folder: Path
    port: int

    @property
    def process(self) -> str:
        return f"operator-{self.namespace}"

    @classmethod
    def of(cls, site: Site, release: str, namespace: str, account: str, folder: Path) -> Operator:
        """Of a release that is installed; `account` is its ServiceAccount."""
        folder.mkdir(exist_ok=True)
        site.cluster.service_account_kubeconfig(namespace, account, folder / "kubeconfig")
        where = ("-n", namespace)
        (folder / "config.yaml").write_text(site.get("configmap", release, *where)["data"]["config.yaml"])
        clouds = site.get("secret", f"{release}-cloud", *where)["data"]["clouds.yaml"]
        (folder / "clouds.yaml").write_bytes(b64decode(clouds))
        return cls(site, release, namespace, folder, free_port())

    def start(self) -> None:
        deployment = self.site.get("deployment", self.release, "-n", self.namespace)
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        assert [variable["name"] for variable in container["env"]] == ["POD_NAMESPACE"]
        config = str(self.folder / "config.yaml")
        args = [config if arg == "/etc/vmferry/config/config.yaml" else arg for arg in container["args"]]
        environment = {
            **os.environ,
            "NO_PROXY": "*",
            "POD_NAMESPACE": self.namespace,
            "VMFERRY_CLOUDS_FILE": str(self.folder / "clouds.yaml"),
            "VMFERRY_HEALTH_ADDRESS": "127.0.0.1",
            "VMFERRY_HEALTH_PORT": str(self.port),
        }
        command = [sys.executable, "-m", "vmferry", *args, "--kubeconfig", str(self.folder / "kubeconfig")]
        self.site.cluster.supervisor.start(self.process, command, env=environment)

    def stop(self) -> None:
        self.site.cluster.supervisor.stop(self.process)

    def helm_test(self) -> subprocess.CompletedProcess[str]:
        """The script of the chart's test Pod."""
        (pod,) = (o for o in render(self.site.home, {}) if o["kind"] == "Pod")
        *_, script, url = pod["spec"]["containers"][0]["command"]
        assert url == f"http://vmferry.{NAMESPACE}.svc:8080/readyz"
        command = [sys.executable, "-c", script, f"http://127.0.0.1:{self.port}/readyz"]
        return subprocess.run(command, env={**os.environ, "NO_PROXY": "*"}, capture_output=True, text=True)

    def maintenances(self) -> int:
        """How many of the API server's it sees."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=60) as answer:
            found = re.search(r'^vmferry_objects\{kind="HostMaintenance"\} (\d+)', answer.read().decode(), re.MULTILINE)
        assert found
        return int(found[1])

    def ready(self) -> None:
        check = self.site.cluster.supervisor.check
        wait_for(lambda: self.helm_test().returncode == 0, 240, "helm test to pass", lambda: check(self.process))


@pytest.mark.simulator
def test_the_operator_works_with_what_a_release_gives_it(clean: Site, tmp_path: Path) -> None:
    cloud = SimulatedCloud.start(clean.cluster.supervisor, clean.home)
    clean.helm(
        "install",
        "vmferry",
        CHART,
        values={
            "cloud": {"name": CLOUD_NAME, "cloudsYaml": cloud.clouds_yaml.read_text()},
            "serviceAccount": {"name": "new"},
        },
    )
    operator = Operator.of(clean, "vmferry", NAMESPACE, "new", tmp_path)
    refused = operator.helm_test()
    assert refused.returncode == 1 and "no answer from http" in refused.stderr
    operator.start()
    try:
        operator.ready()
        text = yaml.safe_dump({**MIGRATION, "metadata": {"name": "nobody", "namespace": "migrations"}})
        clean.cluster.kubectl_run("create", "--filename", "-", input=text)
        told = ("vmm", "nobody", "--namespace", "migrations")
        wait_for(lambda: clean.get(*told).get("status", {}).get("phase"), 240, "a status")
        lease = clean.get("lease", "vmferry", "--namespace", NAMESPACE)
        assert lease["spec"]["holderIdentity"]
        clean.cluster.kubectl_run("delete", *told, "--timeout=300s")
    finally:
        operator.stop()
        cloud.stop()


#: the namespaces of two releases, which are also the classes of their operators
TWO = ("release-a", "release-b")
FLAVORS = [{"name": "small", "vcpus": 1, "ram_mb": 1024, "disk_gb": 10}]


def of_class(kind: str, namespace: str) -> list[str]:
    """kubectl's arguments for the objects of one release."""
    return [kind, "-A", "-l", f"vmferry.dev/class={namespace}"]


@pytest.mark.simulator
def test_R52_two_releases_for_two_clouds_in_one_cluster(clean: Site, tmp_path: Path) -> None:
    """Each serves its own objects; one that is away, or is uninstalled, takes nothing of the other one along."""
    kubectl = clean.cluster.kubectl_run
    operators: dict[str, Operator] = {}
    supervisors: list[Supervisor] = []
    clouds: list[SimulatedCloud] = []

    def in_release(namespace: str, *args: str | Path, values: Mapping[str, Any] | None = None) -> str:
        where = ("--namespace", namespace)
        return helm(clean.home, *args, *where, values=values, kubeconfig=clean.cluster.kubeconfig)

    def maintain(namespace: str, enabled: bool) -> None:
        metadata = {"name": f"host-of-{namespace}", "labels": {"vmferry.dev/class": namespace}}
        spec = {"host": f"cmp-{namespace}", "enabled": enabled}
        body = {"apiVersion": MAINTENANCE["apiVersion"], "kind": "HostMaintenance", "metadata": metadata, "spec": spec}
        kubectl("apply", "--filename", "-", input=yaml.safe_dump(body))

    def phase(namespace: str) -> str:
        return str(clean.get("hm", f"host-of-{namespace}").get("status", {}).get("phase"))

    def reaches(namespace: str, wanted: str) -> None:
        wait_for(lambda: phase(namespace) == wanted, 240, f"{namespace}: {wanted}")

    def disabled(number: int) -> bool:
        (service,) = Tenant(clouds[number].clouds_yaml).call("GET", "/os-services?binary=nova-compute")["services"]
        return bool(service["status"] == "disabled")

    def owned(namespace: str) -> set[str]:
        """What the API server keeps of a release besides its objects."""
        found = {f"crd/{crd}" for crd in CRDS if "deletionTimestamp" not in clean.get("crd", crd)["metadata"]}
        for kind in (
            "clusterroles",
            "clusterrolebindings",
            "roles",
            "rolebindings",
            "deployments",
            "secrets",
            "services",
        ):
            selector = f"app.kubernetes.io/instance=vmferry-{namespace}"
            items = clean.get(kind, "-l", selector, *(() if kind.startswith("cluster") else ("-n", namespace)))["items"]
            found |= {f"{kind}/{item['metadata']['name']}" for item in items}
        return found

    try:
        for number, namespace in enumerate(TWO):
            kubectl("create", "namespace", namespace)
            folder = tmp_path / namespace
            folder.mkdir()
            (folder / "fleet.yaml").write_text(
                yaml.safe_dump({"hosts": [{"name": f"cmp-{namespace}"}], "flavors": FLAVORS})
            )
            supervisors.append(Supervisor(folder))
            clouds.append(SimulatedCloud.start(supervisors[-1], folder / "cloud", folder / "fleet.yaml"))
            values = {
                "cloud": {"name": CLOUD_NAME, "cloudsYaml": clouds[-1].clouds_yaml.read_text()},
                "config": {
                    "class": namespace,
                    "policy": {"maintenance": {"namespace": namespace, "settle": "1s", "verifyEvery": "2s"}},
                    "polling": {"poll": "1s", "hosts": "1s"},
                },
                # the definitions are those of the first release
                "crds": {"install": number == 0},
            }
            release = f"vmferry-{namespace}"
            in_release(namespace, "install", release, CHART, values=values)
            operators[namespace] = Operator.of(clean, release, namespace, release, folder)
            operators[namespace].start()
        for operator in operators.values():
            operator.ready()
        for namespace in TWO:
            maintain(namespace, True)
        for namespace in TWO:
            reaches(namespace, "InMaintenance")
        assert disabled(0) and disabled(1)
        assert [operator.maintenances() for operator in operators.values()] == [1, 1], "each sees its own only"
        kept = {namespace: owned(namespace) for namespace in TWO}
        assert all(len(found) > len(CRDS) + 4 for found in kept.values())

        # one is away: the other one does nothing of its work, and goes on with its own
        for away, there in (TWO, TWO[::-1]):
            operators[away].stop()
            for namespace in (away, there):
                maintain(namespace, False)
            reaches(there, "Released")
            assert clean.get("hm", f"host-of-{away}")["status"]["cordon"], "nobody else undoes it"
            assert disabled(TWO.index(away)) and not disabled(TWO.index(there))
            operators[away].start()
            reaches(away, "Released")
            for namespace in (away, there):
                maintain(namespace, True)
                reaches(namespace, "InMaintenance")

        # the one that brought the definitions goes; without a kubelet no hook ends
        operators[TWO[0]].stop()
        in_release(TWO[0], "uninstall", f"vmferry-{TWO[0]}", "--no-hooks")
        assert owned(TWO[0]) == {f"crd/{crd}" for crd in CRDS}
        assert owned(TWO[1]) == kept[TWO[1]]
        assert {item["metadata"]["name"] for item in clean.get("hm")["items"]} == {f"host-of-{one}" for one in TWO}
        assert clean.get("hm", f"host-of-{TWO[0]}")["status"]["cordon"] and disabled(0), "nobody else undoes it"
        maintain(TWO[1], False)
        reaches(TWO[1], "Released")
        kubectl("delete", "hm", f"host-of-{TWO[1]}", "--timeout=240s")
    finally:
        for operator in operators.values():
            operator.stop()
        for supervisor in supervisors:
            supervisor.stop_all()
        for namespace in TWO:
            in_release(namespace, "uninstall", f"vmferry-{namespace}", "--ignore-not-found", "--no-hooks")
            patch = '--patch={"metadata":{"finalizers":null}}'
            kubectl("patch", "hm", f"host-of-{namespace}", "--type=merge", patch, check=False)
        kubectl("delete", "hm", "--all", "--timeout=240s", check=False)


#: who, what: whether they may
RIGHTS = {
    "the operator creates the moves of a maintenance": ("vmferry", "create vmmigrations.vmferry.dev -A", "yes"),
    "the operator keeps its Leases": ("vmferry", f"update leases -n {NAMESPACE}", "yes"),
    "the operator keeps no Leases elsewhere": ("vmferry", "update leases -n kube-system", "no"),
    "the operator reads its kill switch": ("vmferry", f"get configmaps/vmferry-stop -n {NAMESPACE}", "yes"),
    "the operator reads no other ConfigMap": ("vmferry", f"get configmaps/vmferry -n {NAMESPACE}", "no"),
    "the operator reads no Secrets": ("vmferry", f"get secrets -n {NAMESPACE}", "no"),
    "a viewer looks": ("viewer", "list hostmaintenances.vmferry.dev", "yes"),
    "a viewer moves nothing": ("viewer", "create vmmigrations.vmferry.dev -A", "no"),
    "an editor moves servers": ("editor", "create vmmigrations.vmferry.dev -A", "yes"),
    "an editor drains no hosts": ("editor", "patch hostmaintenances.vmferry.dev", "no"),
    "an admin drains hosts": ("admin", "patch hostmaintenances.vmferry.dev", "yes"),
    "an admin writes no status": ("admin", "update vmmigrations.vmferry.dev --subresource=status -A", "no"),
}


def test_who_may_do_what(clean: Site) -> None:
    clean.helm("install", "vmferry", CHART)
    for person in ("viewer", "editor", "admin"):
        role = (f"--clusterrole=vmferry-{person}", f"--user={person}")
        clean.cluster.kubectl_run("create", "clusterrolebinding", f"people-{person}", *role)
    wrong = []
    for sentence, (who, what, wanted) in RIGHTS.items():
        name = f"system:serviceaccount:{NAMESPACE}:vmferry" if who == "vmferry" else who
        answer = clean.cluster.kubectl_run("auth", "can-i", *what.split(), f"--as={name}", check=False)
        if answer.split()[-1] != wanted and answer.split()[0] != wanted:
            wrong.append((sentence, answer))
    assert not wrong
