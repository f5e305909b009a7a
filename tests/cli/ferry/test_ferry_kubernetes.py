"""`kubectl ferry` as a process on the real API server, with the CRDs and no operator: the test writes the statuses."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml

from testbed.build import ident
from testbed.kubernetes.cluster import Cluster
from tests.cli.ferry.bodies import ready, stalled, under_way
from vmferry.cli.ferry import kube_client
from vmferry.resources.hostmaintenance import HostMaintenance
from vmferry.runtime import kube_api
from vmferry.runtime.kube_api import NotInstalledError

pytestmark = pytest.mark.kubernetes

OPERATOR = Path(__file__).resolve().parents[3] / "operator"
COMMAND = [sys.executable, "-m", "vmferry.cli.ferry"]
SECONDS = 240.0
WEB = ident("web-1")
SERVER = {"id": WEB, "name": "web-1", "state": "ACTIVE"}
MIGRATING = {
    "phase": "Migrating",
    "conditions": under_way("Migrating", "attempt 1"),
    "server": SERVER,
    "sourceHost": "cmp1",
    "targetHost": "cmp2",
    "progress": {"percent": 42, "memoryRemainingBytes": 1 << 30, "diskRemainingBytes": 0},
}
SUCCEEDED = {
    "phase": "Succeeded",
    "conditions": ready("MigrationSucceeded", "Live from cmp1 to cmp2 is complete"),
    "progress": {"percent": 100, "memoryRemainingBytes": 0, "diskRemainingBytes": 0},
}
BLOCKED = {
    "phase": "Blocked",
    "server": SERVER,
    "conditions": stalled("Locked", "the server is locked"),
    "prerequisites": [
        {
            "name": "ServerLock",
            "result": "Failed",
            "reason": "Locked",
            "host": "cmp1",
            "message": "the server is locked: monthly audit",
            "remedy": "ask its owner",
        }
    ],
}
CAN_GO = {
    "phase": "Succeeded",
    "conditions": ready("PreflightPassed", "the server can go to cmp2"),
    "eligibleTargets": [{"host": "cmp2", "rank": 1, "message": "most room"}],
}


@dataclass(frozen=True)
class Space:
    """A namespace of its own, and a host of its own, for HostMaintenances lie in no namespace."""

    cluster: Cluster
    namespace: str
    host: str

    def environment(self, **more: str) -> dict[str, str]:
        return {
            **os.environ,
            "KUBECONFIG": str(self.cluster.kubeconfig),
            "PYTHONPATH": str(OPERATOR),
            "TERM": "xterm",
            "COLUMNS": "100",
            **more,
        }

    def ferry(self, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, "-n", self.namespace, *args],
            env=self.environment(**environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )

    def start(self, *args: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*COMMAND, "-n", self.namespace, *args],
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def kubectl(self, *args: str, input: str | None = None) -> str:
        return self.cluster.kubectl_run("--namespace", self.namespace, *args, input=input)

    def get(self, kind: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", kind, name, "-o", "json", "--show-managed-fields"))
        return found

    def exists(self, kind: str, name: str) -> bool:
        return bool(self.kubectl("get", kind, name, "--ignore-not-found", "-o", "name").strip())

    def operate(self, kind: str, name: str, status: dict[str, Any]) -> None:
        """What an operator would: the status of the generation that is there, once it is there."""
        until(lambda: self.exists(kind, name), f"{kind} {name}")
        generation = self.get(kind, name)["metadata"]["generation"]
        change = {"status": {**status, "observedGeneration": generation}}
        self.kubectl("patch", kind, name, "--subresource=status", "--type=merge", "-p", json.dumps(change))


@pytest.fixture
def space(cluster: Cluster) -> Iterator[Space]:
    token = uuid4().hex[:8]
    namespace = f"ferry-{token}"
    cluster.kubectl_run("create", "namespace", namespace)
    yield Space(cluster, namespace, f"cmp-{token}")
    cluster.kubectl_run("delete", "namespace", namespace, "--wait=false")
    cluster.kubectl_run("delete", "hm", f"cmp-{token}", "--ignore-not-found")


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)


class Terminal:
    """The command in a terminal of its own, as a person has it."""

    def __init__(self, space: Space, *args: str) -> None:
        self._master, slave = pty.openpty()
        self.text = ""
        self.process = subprocess.Popen(
            [*COMMAND, "-n", space.namespace, *args],
            env=space.environment(),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            # tests that run in the background ignore it, and would hand that down
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        os.close(slave)

    def read_until(self, words: str) -> None:
        until(lambda: self._read() or words in self.text, f"{words!r} in {self.text!r}")

    def end(self) -> int:
        until(lambda: self._read() or self.process.poll() is not None, f"the end after {self.text!r}")
        self._read()
        os.close(self._master)
        return self.process.wait(SECONDS)

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def _read(self) -> bool:
        """All that is there; False, so that it can stand before an `or`."""
        with contextlib.suppress(OSError):  # how Linux says that the other side is closed
            while select.select([self._master], [], [], 0)[0]:
                data = os.read(self._master, 65536)
                if not data:
                    break
                self.text += data.decode(errors="replace")
        return False


def test_a_migration_from_its_request_to_its_end(space: Space) -> None:
    asked = space.ferry("live", WEB, "--name", "web-1", "--host", "cmp2", "--timeout", "30m")
    assert (asked.returncode, asked.stdout) == (0, "vmmigration.vmferry.dev/web-1 created\n"), asked.stderr
    made = space.get("vmm", "web-1")
    assert made["spec"]["target"] == {"host": "cmp2"} and made["spec"]["type"] == "Live"
    assert [entry["manager"] for entry in made["metadata"]["managedFields"]] == ["kubectl-ferry"]

    again = space.ferry("live", WEB, "--name", "web-1")
    assert again.returncode == 1 and "choose another --name" in again.stderr
    unseen = space.ferry("why", "web-1")
    assert unseen.returncode == 2 and "is it running?" in unseen.stdout

    space.operate("vmm", "web-1", BLOCKED)
    why = space.ferry("why", "web-1")
    assert why.returncode == 1
    assert "1. ServerLock: Locked\n    where     cmp1\n    found     the server is locked: monthly audit" in why.stdout
    assert "remedy    ask its owner" in why.stdout
    assert space.ferry("status", "web-1").returncode == 1

    space.operate("vmm", "web-1", {**SUCCEEDED, "prerequisites": []})
    why = space.ferry("why", "web-1")
    assert why.returncode == 0 and why.stdout.endswith("nothing stands against it\n")
    everything = space.ferry("status", "-A")
    assert everything.returncode == 0 and f"{space.namespace}/web-1" in everything.stdout
    listed = json.loads(space.ferry("status", "-o", "json").stdout)
    assert "web-1" in [item["metadata"]["name"] for item in listed["items"]]

    gone = space.ferry("cancel", "web-1", "--yes")
    assert gone.returncode == 0 and "only this record" in gone.stdout and not space.exists("vmm", "web-1")


def test_waiting_ends_with_the_migration(space: Space) -> None:
    process = space.start("move", "shop/web-1", "--name", "web-1", "--wait")
    space.operate("vmm", "web-1", MIGRATING)
    space.operate("vmm", "web-1", SUCCEEDED)
    out, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, err) == (0, "")
    assert out.splitlines()[-1].endswith("Succeeded: Live from cmp1 to cmp2 is complete")


def test_watching_in_a_terminal(space: Space) -> None:
    terminal = Terminal(space, "live", WEB, "--name", "web-1", "--watch")
    space.operate("vmm", "web-1", MIGRATING)
    terminal.read_until("[\x1b[32m##########\x1b[0m..............] 42%")
    space.operate("vmm", "web-1", SUCCEEDED)
    assert terminal.end() == 0, terminal.text
    assert "cmp1 -> cmp2, 1.0 GiB left" in terminal.text
    assert "F\x1b[J" in terminal.text, "drawn again in its place"
    assert "\x1b[32mSucceeded\x1b[0m: Live from cmp1 to cmp2 is complete" in terminal.text.splitlines()[-1]


def test_resume_writes_its_own_key_and_no_other(space: Space) -> None:
    own = ("--operator-namespace", space.namespace)
    assert space.ferry("resume", "cmp1", *own, "--dry-run=server").returncode == 0
    assert not space.exists("configmap", "vmferry-resume")
    for host in ("cmp1", "cmp2"):
        run = space.ferry("resume", host, *own)
        assert run.returncode == 0, run.stderr
    marks = space.get("configmap", "vmferry-resume")["data"]
    assert marks.keys() == {"cmp1", "cmp2"}
    space.kubectl("patch", "configmap", "vmferry-resume", "--type=merge", "-p", '{"data": {"cmp1": "before"}}')
    assert space.ferry("resume", "cmp1", *own).returncode == 0
    after = space.get("configmap", "vmferry-resume")["data"]
    assert after["cmp1"].startswith("2") and after["cmp2"] == marks["cmp2"]
    nowhere = space.ferry("resume", "cmp1", "--operator-namespace", "no-such-namespace")
    assert nowhere.returncode == 2 and "no-such-namespace" in nowhere.stderr


def test_cancelling_in_a_terminal_asks(space: Space) -> None:
    space.ferry("live", WEB, "--name", "web-1")
    terminal = Terminal(space, "cancel", "web-1")
    terminal.read_until("cancel it? [y/N] ")
    assert "nothing has begun: it is gone at once" in terminal.text
    terminal.type("n\n")
    assert terminal.end() == 1 and space.exists("vmm", "web-1")
    terminal = Terminal(space, "cancel", "web-1")
    terminal.read_until("cancel it? [y/N] ")
    terminal.type("y\n")
    assert terminal.end() == 0 and not space.exists("vmm", "web-1")


def test_a_maintenance_from_drain_to_release(space: Space) -> None:
    host = space.host
    process = space.start("drain", host, "--reason", "DIMM 4", "--return-vms", "--max-parallel", "3", "--watch")
    moving = {"server": WEB, "name": "web-1", "state": "Moving", "targetHost": "cmp2"}
    progress = {"total": 4, "moved": 1, "moving": 1, "waiting": 2, "blocked": 0, "staying": 0, "percent": 25}
    status = {"phase": "Draining", "conditions": under_way("Draining"), "progress": progress, "moves": [moving]}
    space.operate("hm", host, status)
    assert process.stdout is not None
    lines = iter(process.stdout)
    assert next(line for line in lines if "Draining" in line).split(" Draining ")[1].startswith("25% 1 of 4 moved")
    space.operate("hm", host, {"phase": "InMaintenance", "conditions": ready("InMaintenance", "found empty twice")})
    assert list(lines)[-1] == f"HostMaintenance {host}: InMaintenance: found empty twice\n"
    assert process.wait(SECONDS) == 0
    made = space.get("hm", host)
    assert (made["spec"]["reason"], made["spec"]["returnVMs"], made["spec"]["maxParallel"]) == ("DIMM 4", True, 3)
    ours = [entry for entry in made["metadata"]["managedFields"] if entry["manager"] == "kubectl-ferry"]
    assert [entry["operation"] for entry in ours] == ["Apply"]

    more = space.ferry("drain", host, "--max-parallel", "9")
    assert (more.returncode, more.stdout) == (0, f"hostmaintenance.vmferry.dev/{host} serverside-applied\n")
    spec = space.get("hm", host)["spec"]
    assert (spec["maxParallel"], spec["returnVMs"], spec["reason"]) == (9, True, "DIMM 4"), "what was said stays"

    process = space.start("release", host, "--wait")
    until(lambda: space.get("hm", host)["spec"]["enabled"] is False, "the release")
    assert space.get("hm", host)["spec"]["returnVMs"] is True, "or no server would come back"
    space.operate("hm", host, {"phase": "Released", "conditions": ready("Released", "the host is back in service")})
    assert process.communicate(timeout=SECONDS)[0].endswith("Released: the host is back in service\n")
    assert process.returncode == 0

    assert space.ferry("release", host, "--delete", "--wait").returncode == 0 and not space.exists("hm", host)
    assert space.ferry("release", host).returncode == 2, "there is nothing to release any more"


def test_a_drain_that_is_blocked_is_told_as_a_page(space: Space) -> None:
    process = space.start("drain", space.host, "--wait")
    blocker = {
        "server": WEB,
        "name": "db-7",
        "prerequisite": "ServerLock",
        "reason": "Locked",
        "message": "the server is locked",
        "remedy": "ask its owner",
    }
    said = stalled("Locked", "db-7: the server is locked")
    space.operate("hm", space.host, {"phase": "Blocked", "conditions": said, "blockers": [blocker]})
    out, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert f"1. db-7 ({WEB}): ServerLock: Locked" in out and "remedy    ask its owner" in out
    assert space.ferry("why", space.host).stdout in out


def test_what_a_file_says_is_not_overwritten_unasked(space: Space) -> None:
    body = {
        "apiVersion": "vmferry.dev/v1alpha1",
        "kind": "HostMaintenance",
        "metadata": {"name": space.host},
        "spec": {"host": space.host, "enabled": True},
    }
    space.kubectl("apply", "--server-side", "--field-manager=argocd-controller", "-f", "-", input=json.dumps(body))
    refused = space.ferry("release", space.host)
    assert refused.returncode == 1
    assert ".spec.enabled belongs to argocd-controller" in refused.stderr and "--force-conflicts" in refused.stderr
    assert space.get("hm", space.host)["spec"]["enabled"] is True
    assert space.ferry("release", space.host, "--force-conflicts").returncode == 0
    assert space.get("hm", space.host)["spec"]["enabled"] is False


def test_dry_runs_change_nothing(space: Space) -> None:
    manifest = space.ferry("cold", "shop/web-1", "--stop-if-running", "--name", "web-1", "--dry-run=client").stdout
    assert yaml.safe_load(manifest)["spec"]["stopIfRunning"] is True
    assert "web-1" in space.kubectl("apply", "--dry-run=server", "-f", "-", input=manifest), "it can be applied"
    checked = space.ferry("cold", "shop/web-1", "--name", "web-1", "--dry-run=server", "-o", "yaml")
    assert checked.returncode == 0 and yaml.safe_load(checked.stdout)["spec"]["retries"] == 2, "the server's defaults"
    drained = space.ferry("drain", space.host, "--dry-run=server")
    assert drained.stdout == f"hostmaintenance.vmferry.dev/{space.host} serverside-applied (server dry run)\n"
    assert not space.exists("vmm", "web-1") and not space.exists("hm", space.host)

    refused = space.ferry("drain", space.host, "--target", space.host, "--dry-run=server")
    assert refused.returncode == 1 and "target.host must be another host" in refused.stderr, "in the server's words"


def test_targets_asks_the_operator_and_cleans_up(space: Space) -> None:
    process = space.start("targets", "shop/web-1", "--type", "live")

    def names() -> list[str]:
        return space.kubectl("get", "vmm", "-o", "jsonpath={.items[*].metadata.name}").split()

    until(lambda: bool(names()), "the request")
    (name,) = names()
    assert space.get("vmm", name)["spec"]["preflightOnly"] is True
    space.operate("vmm", name, CAN_GO)
    out, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, err) == (0, "")
    assert "1     cmp2      most room" in out and out.endswith("the server can go to cmp2\n")
    assert names() == []


def test_a_deadline_of_a_pipeline_leaves_no_request_behind(space: Space) -> None:
    process = space.start("targets", "shop/web-1")
    until(lambda: bool(space.kubectl("get", "vmm", "-o", "name").strip()), "the request")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, err.strip()) == (130, "interrupted")
    assert space.kubectl("get", "vmm", "-o", "name").strip() == ""


def test_its_errors_are_sentences(space: Space, tmp_path: Path) -> None:
    cluster = space.cluster
    space.kubectl("create", "serviceaccount", "nobody")
    nobody = str(cluster.service_account_kubeconfig(space.namespace, "nobody", tmp_path / "nobody"))
    config = json.loads(cluster.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    dead = tmp_path / "dead"
    dead.write_text(json.dumps(config))
    for args, environment, status, words in (
        (["status"], {"KUBECONFIG": nobody}, 2, "Error: not allowed to list hostmaintenances"),
        (["live", WEB], {"KUBECONFIG": nobody}, 2, "Error: not allowed to create VMMigration"),
        (["status"], {"KUBECONFIG": str(dead)}, 2, "no connection to https://127.0.0.1:1: Connection refused"),
        (["status", "--kubeconfig", str(tmp_path / "none")], {}, 2, "no way to Kubernetes"),
        (["status", "--context", "nowhere"], {}, 2, "the kubeconfig has no context nowhere"),
        (["live", WEB, "-n", "no-such"], {}, 2, "the namespace no-such does not exist"),
        (["why", "nothing"], {}, 2, "no HostMaintenance is for or named nothing"),
    ):
        done = space.ferry(*args, **environment)
        assert done.returncode == status, done.stderr
        assert words in done.stderr and done.stdout == ""
        assert len(done.stderr.splitlines()) == 1 and "Traceback" not in done.stderr


def test_a_cluster_without_the_definitions(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube_api, "VERSION", "v9")  # as foreign to this server as ours is to one without vmferry
    kube = kube_client.connect(str(cluster.kubeconfig), None)
    with pytest.raises(NotInstalledError, match=r"vmferry is not installed in this cluster: .* HostMaintenance"):
        kube.list(HostMaintenance, None)


def test_kubectl_finds_it(space: Space, tmp_path: Path) -> None:
    program = tmp_path / "kubectl-ferry"
    program.write_text(f'#!/bin/sh\nexec {" ".join(COMMAND)} "$@"\n')
    program.chmod(0o755)
    done = subprocess.run(
        [str(space.cluster.kubectl), "ferry", "status", "-n", space.namespace],
        env=space.environment(PATH=f"{tmp_path}:{os.environ['PATH']}", KUBERC="off"),
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
