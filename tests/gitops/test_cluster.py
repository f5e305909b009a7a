"""As a repository's tools use it, on the real API server with a real operator: apply, compare, wait, prune.

The walk-through of `docs/gitops.md` is run as it stands there, command by command.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.bed import ROOT, Bed
from testbed.gitops.engines import Question, ask
from testbed.kubernetes.cluster import Cluster, KubectlError
from testbed.processes import Supervisor, wait_for
from testbed.simulator import SimulatedCloud

pytestmark = [pytest.mark.simulator, pytest.mark.kubernetes]

NAMESPACE = "migrations"
CLUSTERS = ROOT / "manifests/kustomize/clusters"
MAINTENANCES = CLUSTERS / "lab/maintenances"
PAGE = ROOT / "docs/gitops.md"
OVERLAYS = sorted(CLUSTERS.glob("*/*/kustomization.yaml"))
HOSTS = ("cmp1", "cmp2", "cmp3", "cmp4")


@pytest.fixture(scope="module")
def bed(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """The lab of the example repository: its hosts, and the namespace of its migrations."""
    run_dir: Path = tmp_path_factory.mktemp("gitops")
    supervisor = Supervisor(run_dir)
    cluster.kubectl_run("create", "namespace", NAMESPACE)
    try:
        made = Bed(supervisor, run_dir, cluster, SimulatedCloud.start(supervisor, run_dir))
        made.install_operator(namespaces=[NAMESPACE], policy={"maintenance": {"namespace": NAMESPACE, "settle": "1s"}})
        made.start_operator()
        yield made
        cluster.kubectl_run("delete", "hm", *HOSTS, "--ignore-not-found", "--timeout=240s")
        cluster.kubectl_run("delete", "vmm", "--all", "-n", NAMESPACE, "--timeout=240s")
    finally:
        supervisor.stop_all()


def kubectl(bed: Bed, *args: str | Path, input: str | None = None) -> str:
    return bed.cluster.kubectl_run("-n", NAMESPACE, *args, input=input)


def get(bed: Bed, what: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(kubectl(bed, "get", what, "-o", "json", "--show-managed-fields"))
    return found


def applied(name: str, server: str, target: str, **metadata: Any) -> str:
    body = {
        "apiVersion": "vmferry.dev/v1alpha1",
        "kind": "VMMigration",
        "metadata": {"name": name, "namespace": NAMESPACE, **metadata},
        "spec": {"server": {"id": server}, "target": {"host": target}},
    }
    return yaml.safe_dump(body)


def kstatus(bed: Bed, what: str) -> str:
    (answer,) = ask([Question.kstatus(get(bed, what))])
    return answer.status


# ---- what is shipped


@pytest.mark.parametrize("overlay", [f"{path.parent.relative_to(CLUSTERS)}" for path in OVERLAYS])
def test_every_overlay_is_admitted(bed: Bed, overlay: str) -> None:
    folder = CLUSTERS / overlay
    run = bed.cluster.kubectl_run
    said = run("apply", "--server-side", "--force-conflicts", "--dry-run=server", "-k", folder)
    built = [one for one in yaml.safe_load_all(run("kustomize", folder)) if one]
    assert len(said.splitlines()) == len(built) > 1


# ---- the walk-through


def commands(page: str) -> Iterator[tuple[str, str]]:
    """Each command of the page's console blocks, with what it prints."""
    for block in re.findall(r"^```console\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, said = part.partition("\n")
            yield command, said


def plain(text: str) -> str:
    """Without what is different each time: ages, and the columns that they widen."""
    return re.sub(r" +", " ", re.sub(r"\b\d+(s|m|h|m\d+s)$", "AGE", text, flags=re.MULTILINE)).strip()


class Repository:
    """A bare repository, the clone of a person, and a pipeline that applies what is pushed."""

    def __init__(self, folder: Path, bed: Bed) -> None:
        self.bed = bed
        self.work, self.pipeline = folder / "work", folder / "pipeline"
        self.env = {
            **os.environ,
            "PATH": f"{bed.cluster.kubectl.parent}:{os.environ['PATH']}",
            "KUBECONFIG": str(bed.cluster.kubeconfig),
            "KUBECACHEDIR": str(folder / "kubectl-cache"),
            "KUBERC": "off",
            "HOME": str(folder),
            "GIT_CONFIG_NOSYSTEM": "1",
            **{f"GIT_{who}_{what}": f"me@{who}" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
        }
        shutil.copytree(CLUSTERS.parent, self.work)
        for command in (
            "git init -q -b main && git add . && git commit -qm 'the lab as it is'",
            f"git clone -q --bare . {folder}/cloud.git && git remote add origin {folder}/cloud.git",
            "git push -q -u origin main",
            f"git clone -q {folder}/cloud.git {self.pipeline}",
        ):
            self.run(command)

    def run(self, command: str, *, cwd: Path | None = None) -> str:
        done = subprocess.run(
            ["bash", "-c", command], cwd=cwd or self.work, env=self.env, text=True, stdout=-1, stderr=subprocess.STDOUT
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        return done.stdout

    def start_pipeline(self, loop: str) -> None:
        """The page's own loop, at a test's pace."""
        loop = loop.replace("sleep 60", "sleep 1")
        self.bed.supervisor.start("pipeline", ["bash", "-c", loop], env=self.env, cwd=self.pipeline)


def test_the_walk_through_goes_as_the_page_says(bed: Bed, tmp_path: Path) -> None:
    page = PAGE.read_text()
    web, db = (bed.tenant.boot(name, "cmp1", wait=False) for name in ("web-1", "db-1"))
    for server in (web, db):
        bed.tenant.wait_for_status(server, "ACTIVE")
    bed.tenant.lock(db, "monthly audit")
    repository = Repository(tmp_path, bed)
    (loop,) = re.findall(r"^```sh\n# the pipeline\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    repository.start_pipeline(loop)
    wait_for(lambda: "cmp4" in bed.cluster.kubectl_run("get", "hm", "-o", "name"), 240, "the first run of the pipeline")
    ran = 0
    try:
        for command, said in commands(page):
            ran += 1
            if command.startswith("openstack server unlock"):
                bed.tenant.unlock({"db-1": db}[command.split()[-1]])
                continue
            assert plain(repository.run(command)) == plain(said), f"$ {command}"
    finally:
        bed.supervisor.stop("pipeline")
    assert ran > 10
    assert bed.tenant.service("cmp1")["status"] == "enabled"
    assert [len(bed.tenant.migrations(server)) for server in (web, db)] == [2, 2], "away and back, once each"
    bed.tenant.delete_booted()


# ---- appliers and comparers


def test_R34_what_is_applied_again_changes_nothing_and_differs_in_nothing(bed: Bed) -> None:
    kubectl(bed, "apply", "-k", MAINTENANCES)
    for host in HOSTS:
        kubectl(bed, "wait", "--for=condition=Ready", f"hm/{host}", "--timeout=240s")
    version = get(bed, "hm/cmp3")["metadata"]["resourceVersion"]
    assert {line.split()[-1] for line in kubectl(bed, "apply", "-k", MAINTENANCES).splitlines()} == {"unchanged"}
    assert kubectl(bed, "diff", "-k", MAINTENANCES) == ""
    assert get(bed, "hm/cmp3")["metadata"]["resourceVersion"] == version


def test_R33_two_appliers_and_the_operator_own_different_fields(bed: Bed) -> None:
    server = bed.tenant.boot("ssa-1", "cmp1")
    text = applied("ssa", server, "cmp2")
    apply = ("apply", "--server-side", "--field-manager=kustomize-controller", "-f", "-")
    kubectl(bed, *apply, input=text)
    kubectl(bed, "wait", "--for=condition=Ready", "vmm/ssa", "--timeout=240s")
    kubectl(bed, *apply, input=text)
    kubectl(bed, "apply", "--server-side", "--field-manager=another", "-f", "-", input=text)
    assert kubectl(bed, "diff", "--server-side", "--field-manager=kustomize-controller", "-f", "-", input=text) == ""
    found = get(bed, "vmm/ssa")
    ours = [one for one in found["metadata"]["managedFields"] if one["manager"] == "vmferry"]
    assert {one.get("subresource") for one in ours} <= {"status", None}
    owned = {key for one in ours for key in one["fieldsV1"]} | {
        key for one in ours for key in one["fieldsV1"].get("f:metadata", {})
    }
    assert owned <= {"f:status", "f:metadata", "f:finalizers"}, "nothing that a repository would say"
    assert kstatus(bed, "vmm/ssa") == "Current"


def test_a_request_that_comes_back_from_the_repository_does_not_move_its_server_again(bed: Bed) -> None:
    server = bed.tenant.boot("back-1", "cmp1")
    text = applied("back", server, "cmp2")
    for _ in range(2):
        kubectl(bed, "apply", "-f", "-", input=text)
        kubectl(bed, "wait", "--for=condition=Ready", "vmm/back", "--timeout=240s")
        reason = kubectl(bed, "get", "vmm", "back", "-o", "jsonpath={.status.conditions[?(@.type=='Ready')].reason}")
        kubectl(bed, "delete", "vmm", "back", "--timeout=240s")
    assert reason == "AlreadyOnTarget"
    assert len(bed.tenant.migrations(server)) == 1


def test_I33_a_commit_cannot_redirect_what_has_begun_and_is_told_so(bed: Bed) -> None:
    server = bed.tenant.boot("fixed-1", "cmp1")
    kubectl(bed, "apply", "-f", "-", input=applied("fixed", server, "cmp2"))
    kubectl(bed, "wait", "--for=condition=Ready", "vmm/fixed", "--timeout=240s")
    with pytest.raises(KubectlError, match="the migration has started: only paused, priority and ttlAfterFinished"):
        kubectl(bed, "apply", "-f", "-", input=applied("fixed", server, "cmp1"))
    kubectl(bed, "apply", "-f", "-", input=applied("fixed", server, "cmp2", labels={"team": "shop"}))


def test_a_file_that_is_taken_out_is_pruned_by_an_apply_set(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECTL_APPLYSET", "true")
    ids = {name: bed.tenant.boot(name, "cmp2") for name in ("set-1", "set-2")}
    files = {name: applied(name, server, "cmp2") for name, server in ids.items()}
    for names in (["set-1", "set-2"], ["set-2"]):
        text = "---\n".join(files[name] for name in names)
        kubectl(bed, "apply", "--prune", "--applyset=moves", "-f", "-", input=text)
    found = json.loads(kubectl(bed, "get", "vmm", "-o", "json"))["items"]
    labels = {one["metadata"]["name"]: one["metadata"].get("labels", {}) for one in found}
    assert "set-1" not in labels
    assert "applyset.kubernetes.io/part-of" in labels["set-2"], "by this the operator knows that it would come back"


def test_one_word_lists_both_kinds_with_the_columns_that_a_person_needs(bed: Bed) -> None:
    kubectl(bed, "apply", "-k", MAINTENANCES)
    kubectl(bed, "wait", "--for=condition=Ready", "hm/cmp2", "--timeout=240s")
    listed = kubectl(bed, "get", "vmferry")
    assert re.search(r"^NAME +HOST +ENABLED +PHASE +MOVED +BLOCKED +AGE$", listed, re.MULTILINE)
    assert re.search(r"^hostmaintenance.vmferry.dev/cmp2 +cmp2 +false +InService ", listed, re.MULTILINE)
    assert re.search(r"^NAME +SERVER +TYPE +SOURCE +TARGET +PHASE +PROGRESS +AGE$", listed, re.MULTILINE)


def test_R33_a_commit_is_not_taken_for_done_before_the_operator_has_looked(bed: Bed) -> None:
    kubectl(bed, "apply", "-k", MAINTENANCES)
    kubectl(bed, "wait", "--for=condition=Ready", "hm/cmp3", "--timeout=240s")
    assert kstatus(bed, "hm/cmp3") == "Current"
    bed.stop_operator()  # the last test of this module: nobody needs it any more
    kubectl(bed, "patch", "hm", "cmp3", "--type=merge", "-p", '{"spec":{"enabled":true}}')
    kubectl(bed, "create", "-f", "-", input=applied("unseen", "00000000-0000-4000-8000-000000000000", "cmp2"))
    assert [kstatus(bed, one) for one in ("hm/cmp3", "vmm/unseen")] == ["InProgress", "InProgress"]
    with pytest.raises(KubectlError, match="timed out waiting for the condition"):
        kubectl(bed, "wait", "--for=condition=Ready", "hm/cmp3", "--timeout=1s")
