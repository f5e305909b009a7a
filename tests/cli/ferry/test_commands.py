"""Whole commands against a cluster in memory: what is written, what is printed, how they end."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.build import NOW
from tests.cli.ferry.bodies import (
    NAMESPACE,
    WEB,
    Clock,
    FakeKube,
    Run,
    applied,
    attempt,
    failed,
    hm,
    prerequisite,
    ready,
    stalled,
    under_way,
    vmm,
)
from vmferry.cli.ferry import completion
from vmferry.cli.ferry.arguments import parser
from vmferry.cli.ferry.main import main
from vmferry.cli.verdict import ExitStatus
from vmferry.resources.hostmaintenance import HostMaintenance
from vmferry.resources.vmmigration import VMMigration
from vmferry.runtime.kube_api import KubeError, NoConnectionError, NotInstalledError

ROOT = Path(__file__).resolve().parents[3]
MOVED = {"phase": "Succeeded", "conditions": ready("MigrationSucceeded", "Live from cmp1 to cmp2 is complete")}
HALF = {"phase": "Migrating", "conditions": under_way("Migrating"), "progress": {"percent": 50}}
LOCKED = {
    "phase": "Blocked",
    "conditions": stalled("Locked", "it is locked"),
    "prerequisites": [prerequisite("ServerLock", reason="Locked", remedy="ask its owner")],
}
UNTOLD = {
    "phase": "Blocked",
    "conditions": stalled("FactUnknown", "nobody tells"),
    "prerequisites": [prerequisite("OperatingSystem", "Unknown", reason="FactUnknown")],
}
CAN_GO = {
    "phase": "Succeeded",
    "conditions": ready("PreflightPassed", "the server can go to cmp2"),
    "eligibleTargets": [{"host": "cmp2", "rank": 1, "message": "most room"}],
    "ineligibleTargets": [{"reason": "HostDown", "hosts": 3, "example": "cmp7", "message": "it is down"}],
}
DRAINED = {"phase": "InMaintenance", "conditions": ready("InMaintenance", "the host is verified empty")}

#: command line, and the spec that is created
MOVES: dict[str, tuple[str, dict[str, Any]]] = {
    "live": (f"live {WEB}", {"server": {"id": WEB}, "type": "Live"}),
    "cold with all": (
        "cold shop/web-1 --host cmp2 --stop-if-running --timeout 90m --priority high --os-upgrade",
        {
            "server": {"name": "web-1", "project": "shop"},
            "type": "Cold",
            "target": {"host": "cmp2"},
            "stopIfRunning": True,
            "timeout": "1h30m",
            "priority": "High",
            "osUpgrade": True,
        },
    ),
    "evacuate": (
        "evacuate web-1 --project shop --from cmp1 --yes",
        {
            "server": {"name": "web-1", "project": "shop"},
            "type": "Evacuate",
            "attestation": {"host": "cmp1", "at": "2026-03-02T12:00:00Z"},
        },
    ),
    "with a time": (
        "live shop/web-1 --start-before 2026-12-01T07:00:00+01:00",
        {"server": {"name": "web-1", "project": "shop"}, "type": "Live", "startBefore": "2026-12-01T06:00:00Z"},
    ),
    "move": ("move shop/web-1", {"server": {"name": "web-1", "project": "shop"}, "type": "Auto"}),
}


@pytest.mark.parametrize("command", MOVES)
def test_a_move_becomes_a_migration(command: str) -> None:
    line, spec = MOVES[command]
    run = Run(line)
    ((verb, body, dry_run),) = run.kube.written
    assert (run.status, verb, dry_run, body["spec"]) == (0, "create", False, spec)
    VMMigration.read(body)
    assert body["metadata"]["namespace"] == NAMESPACE, "that of the context"
    assert run.said == f"vmmigration.vmferry.dev/{body['metadata']['name']} created\n"


@pytest.mark.parametrize(
    "line",
    [
        "live shop/web-1",
        "cold shop/web-1",
        "evacuate shop/web-1",
        "evacuate shop/web-1 --from cmp1",
        "drain cmp1 --reason x --return-vms",
        "release cmp1",
    ],
)
def test_dry_run_client_prints_a_manifest_and_asks_no_cluster(line: str) -> None:
    run = Run(f"{line} --dry-run=client")
    body: Any = yaml.safe_load(run.said)
    assert (run.status, run.connected) == (0, None)
    (VMMigration if body["kind"] == "VMMigration" else HostMaintenance).read(body)
    assert "namespace" not in body["metadata"], "as kubectl has it: only what the command line says"
    assert json.loads(Run(f"{line} --dry-run=client -o json").said) == body
    assert Run(f"{line} --dry-run=client -o name").said.strip().endswith(f"/{body['metadata']['name']}")


def test_dry_run_client_names_the_namespace_of_the_command_line() -> None:
    run = Run("live shop/web-1 --dry-run=client -n away --name mine")
    assert yaml.safe_load(run.said)["metadata"] == {"name": "mine", "namespace": "away"}


@pytest.mark.parametrize("line", ["live shop/web-1", "drain cmp1"])
def test_dry_run_server_lets_the_cluster_check_it(line: str) -> None:
    run = Run(f"{line} --dry-run=server")
    assert run.status == 0 and run.said.endswith(" (server dry run)\n")
    assert [dry for _, _, dry in run.kube.written] == [True] and not run.kube.bodies


#: the command, what the operator does at each look, the exit status, the last words
ENDS: dict[str, tuple[str, list[Any], int, str]] = {
    "moved": ("live shop/web-1", [None, HALF, MOVED], 0, "Succeeded: Live from cmp1 to cmp2 is complete"),
    "blocked": ("live shop/web-1", [HALF, LOCKED], 1, "remedy    ask its owner"),
    "untold": ("live shop/web-1", [UNTOLD], 2, "OperatingSystem: FactUnknown"),
    "failed": ("live shop/web-1", [{"conditions": failed("CloudRefused", "Nova says no")}], 1, "Nova says no"),
    "drained": ("drain cmp1", [DRAINED], 0, "InMaintenance: the host is verified empty"),
    "the cluster is away for a moment": ("live shop/web-1", [NoConnectionError("x"), MOVED], 0, "Succeeded"),
}


@pytest.mark.parametrize("how", ["--wait", "--watch"])
@pytest.mark.parametrize("sentence", ENDS)
def test_waiting_ends_when(sentence: str, how: str) -> None:
    line, script, status, words = ENDS[sentence]
    kube = FakeKube()
    kube.script = [*script]
    run = Run(f"{line} {how}", kube)
    assert (run.status, run.error) == (status, "")
    assert words in run.said
    assert ("50%" in run.said) == (how == "--watch" and HALF in script), "only --watch shows progress"


def test_a_release_is_not_done_by_what_was_said_of_the_drain() -> None:
    """The status still says Ready, of the generation before."""
    kube = FakeKube(hm(DRAINED, managedFields=applied("host", "enabled")))
    kube.script = [None, {"phase": "Released", "conditions": ready("Released", "the host is back in service")}]
    run = Run("release cmp1 --wait", kube)
    assert run.status == 0 and "Released: the host is back in service" in run.said
    ((verb, body, _),) = kube.written
    assert (verb, body["spec"]) == ("apply", {"host": "cmp1", "enabled": False})


def test_it_gives_up_in_time_and_says_whether_anybody_was_there() -> None:
    silent = Run("live shop/web-1 --wait --wait-timeout 40s")
    assert silent.status == 2 and "has not looked at it in time: is it running?" in silent.error
    assert silent.err.getvalue() == "note: the operator has not looked at it yet: is it running?\n"
    kube = FakeKube()
    kube.script = [HALF]
    slow = Run("live shop/web-1 --wait --wait-timeout 40s", kube)
    assert slow.status == 2 and "is not done in time: it goes on; it goes on in the cluster" in slow.error
    for run in (silent, slow):
        assert run.error.endswith(f"Withdraw it: kubectl ferry cancel web-1-live-x7k2p -n {NAMESPACE}")


def test_a_cluster_that_stays_away_is_no_cluster() -> None:
    kube, clock = FakeKube(), Clock()
    kube.script = [NoConnectionError("no connection to x")] * 100
    run = Run("live shop/web-1 --wait", kube, clock=clock)
    assert (run.status, run.error) == (2, "no connection to x")
    assert timedelta(seconds=30) <= clock.now - NOW < timedelta(seconds=40)


def test_what_is_deleted_while_it_is_watched_has_failed() -> None:
    kube = FakeKube()
    name = "web-1-live-x7k2p"

    class Impatient(Clock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            kube.bodies.clear()

    run = Run("live shop/web-1 --watch", kube, clock=Impatient())
    assert (run.status, run.error) == (1, f"VMMigration {NAMESPACE}/{name} was deleted meanwhile")


def test_an_interruption_leaves_it_and_says_so() -> None:
    clock = Clock()
    clock.interrupt_at = 3
    run = Run("live shop/web-1 --watch", clock=clock)
    assert run.status == ExitStatus.INTERRUPTED
    assert run.error == (
        f"VMMigration {NAMESPACE}/web-1-live-x7k2p stays as it is and goes on in the cluster. "
        f"Withdraw it: kubectl ferry cancel web-1-live-x7k2p -n {NAMESPACE}"
    )
    assert [verb for verb, _, _ in run.kube.written] == ["create"]


HELD = {**LOCKED, "startedAt": "2026-03-02T12:00:00Z"}
PREFLIGHT = {"phase": "Checked", "conditions": stalled("HostDown", "it is down")}

#: the command, what the operator does, whether the request is withdrawn, what is printed of that
WITHDRAWALS: dict[str, tuple[str, list[Any], bool, str]] = {
    "a blocked request is withdrawn": ("live shop/web-1 --wait", [HALF, LOCKED], True, "The request was withdrawn"),
    "one that cannot be judged is, too": ("live shop/web-1 --watch", [UNTOLD], True, "The request was withdrawn"),
    "--keep keeps it, and says how to withdraw it": (
        "live shop/web-1 --wait --keep",
        [LOCKED],
        False,
        f"Withdraw it: kubectl ferry cancel web-1-live-x7k2p -n {NAMESPACE}",
    ),
    "what has begun is never withdrawn": (
        "cold shop/web-1 --stop-if-running --wait",
        [HELD],
        False,
        f"Withdraw it: kubectl ferry cancel web-1-cold-x7k2p -n {NAMESPACE}",
    ),
    "what has failed stays as the record of it": (
        "live shop/web-1 --wait",
        [{"conditions": failed("CloudRefused", "Nova says no")}],
        False,
        "Nova says no",
    ),
    "a drain stays, and says how to release the host": (
        "drain cmp1 --wait",
        [{**LOCKED, "blockers": [], "prerequisites": []}],
        False,
        "Withdraw it: kubectl ferry release cmp1",
    ),
    "a drain that only checks starts nothing later": (
        "drain cmp1 --preflight-only --wait",
        [PREFLIGHT],
        False,
        "HostDown",
    ),
}


@pytest.mark.parametrize("sentence", WITHDRAWALS)
def test_I39_a_command_that_ends_blocked_leaves_nothing_armed(sentence: str) -> None:
    line, script, withdrawn, words = WITHDRAWALS[sentence]
    kube = FakeKube()
    kube.script = [*script]
    run = Run(line, kube)
    assert run.status in (1, 2) and (not kube.bodies) == withdrawn
    assert words in run.said
    assert ("starts by itself as soon as" in run.said) == ("Withdraw it" in words)


def test_I39_what_starts_in_the_moment_of_its_withdrawal_is_seen_to_its_end() -> None:
    kube = FakeKube()
    kube.script = [LOCKED, None, MOVED]
    kube.changes = [{"phase": "Migrating", "conditions": under_way("Migrating"), "startedAt": "2026-03-02T12:00:00Z"}]
    run = Run("live shop/web-1 --wait", kube)
    assert run.status == 0 and "Succeeded: Live from cmp1 to cmp2" in run.said
    assert [verb for verb, _, _ in kube.written] == ["create"], "it is not aborted"


DEAD = {
    "phase": "Succeeded",
    "conditions": ready("PreflightPassed", "the server can go to cmp2"),
    "sourceHost": "cmp1",
    "prerequisites": [prerequisite("SourceHost", "Passed", host="cmp1")],
}
ALIVE = {
    "phase": "Blocked",
    "conditions": stalled("HostNotFailed", "cmp1 is up"),
    "sourceHost": "cmp1",
    "prerequisites": [prerequisite("SourceHost", reason="HostNotFailed", host="cmp1", remedy="ask for type Live")],
}


def test_I38_evacuate_names_the_host_and_asks() -> None:
    asked: list[str] = []

    def answer(yes: bool) -> Any:
        return lambda question: [yes, asked.append(question)][0]  # type: ignore[func-returns-value]

    kube = FakeKube()
    kube.script = [DEAD]
    refused = Run("evacuate shop/web-1", kube, ask=answer(False))
    assert refused.status == 1 and "nothing was done" in refused.said and not kube.bodies
    assert asked == ["cmp1 is dead: evacuate shop/web-1 from it? [y/N] "]
    kube.script = [DEAD]
    kube.written.clear()
    agreed = Run("evacuate shop/web-1", kube, ask=answer(True))
    (_, question, _), _, (_, made, _) = kube.written
    assert agreed.status == 0 and question["spec"]["preflightOnly"] is True
    assert made["spec"]["attestation"] == {"host": "cmp1", "at": "2026-03-02T12:00:01Z"}
    assert list(kube.bodies) == [("VMMigration", NAMESPACE, made["metadata"]["name"])]


@pytest.mark.parametrize("how", ["", " --yes"])
def test_I38_evacuate_from_a_host_that_is_up_creates_nothing(how: str) -> None:
    kube = FakeKube()
    kube.script = [ALIVE]
    run = Run(f"evacuate shop/web-1{how}", kube, ask=lambda question: pytest.fail("nobody need be asked"))
    assert run.status == 1 and not kube.bodies
    assert "SourceHost: HostNotFailed" in run.said and "nothing was created" in run.said
    assert "starts by itself" not in run.said


def test_I38_a_script_says_that_it_is_certain_and_may_name_the_host() -> None:
    alone = Run("evacuate shop/web-1")
    assert alone.status == 2 and "use --yes once the host is powered off for certain" in alone.error
    assert not alone.kube.written
    named = Run("evacuate shop/web-1 --from cmp1 --yes")
    ((_, made, _),) = named.kube.written
    assert named.status == 0 and made["spec"]["attestation"]["host"] == "cmp1"


def test_data_is_alone_in_its_stream() -> None:
    kube = FakeKube()
    kube.script = [HALF, MOVED]
    run = Run("live shop/web-1 --watch -o json", kube)
    assert json.loads(run.said)["status"]["phase"] == "Succeeded"
    assert "created" in run.err.getvalue() and "50%" in run.err.getvalue()


def test_a_terminal_is_drawn_again() -> None:
    kube = FakeKube()
    kube.script = [HALF, MOVED]
    run = Run("live shop/web-1 --watch", kube, terminal=True)
    assert "[\x1b[32m############\x1b[0m............] 50%" in run.said


#: what the operator answers, exit status, words
TARGETS: dict[str, tuple[list[Any], int, str]] = {
    "there is one": ([None, CAN_GO], 0, "1     cmp2      most room\n\nHOSTS  INELIGIBLE  FOR EXAMPLE\n3      HostDown"),
    "it is blocked": ([LOCKED], 1, "ServerLock    Locked  -     what was found of ServerLock"),
    "nobody tells": ([UNTOLD], 2, "nobody tells"),
}


@pytest.mark.parametrize("sentence", TARGETS)
def test_targets_when(sentence: str) -> None:
    script, status, words = TARGETS[sentence]
    kube = FakeKube()
    kube.script = [*script]
    run = Run("targets shop/web-1 --type live", kube)
    assert (run.status, run.error) == (status, "")
    assert words in run.said
    assert [verb for verb, _, _ in kube.written] == ["create", "delete"] and not kube.bodies
    assert kube.written[0][1]["spec"]["preflightOnly"] is True, "nothing may move"


def test_targets_takes_away_its_request_whatever_happens() -> None:
    nobody = Run("targets shop/web-1")
    assert nobody.status == 2 and "is it running?" in nobody.error and not nobody.kube.bodies
    clock = Clock()
    clock.interrupt_at = 1
    interrupted = Run("targets shop/web-1", clock=clock)
    assert interrupted.status == 130 and not interrupted.kube.bodies


def test_targets_reads_what_was_asked_already() -> None:
    kube = FakeKube(vmm(CAN_GO))
    run = Run("targets --migration web-1", kube)
    assert run.status == 0 and "most room" in run.said and kube.written == []


def test_cancel_says_what_it_means_and_asks() -> None:
    asked: list[str] = []

    def no(question: str) -> bool:
        asked.append(question)
        return False

    owner = {"kind": "HostMaintenance", "name": "cmp1", "uid": "u"}
    kube = FakeKube(vmm({"attempts": [attempt()]}, ownerReferences=[owner]))
    refused = Run("cancel web-1", kube, ask=no)
    assert refused.status == 1 and asked and kube.written == []
    assert "the live migration to cmp2 is aborted" in refused.said
    assert "it belongs to HostMaintenance cmp1, which asks for another one" in refused.said
    alone = Run("cancel web-1", kube)
    assert (alone.status, alone.error) == (2, "nobody is there to be asked: say --yes")
    assert Run("cancel web-1 --yes", kube).status == 0 and not kube.bodies


#: command line: the key that is marked, and in which namespace
RESUMES: dict[str, tuple[str, str, str]] = {
    "a host": ("resume cmp7", "cmp7", "vmferry-system"),
    "a HostMaintenance's name means its host": ("resume rack-1", "cmp1", "vmferry-system"),
    "all of them": ("resume", "cloud", "vmferry-system"),
    "where the operator runs elsewhere": ("resume cmp1 --operator-namespace ferry", "cmp1", "ferry"),
}


@pytest.mark.parametrize("case", RESUMES)
def test_resume_marks_the_moment(case: str) -> None:
    line, key, namespace = RESUMES[case]
    run = Run(line, FakeKube(hm({}, name="rack-1")))
    ((verb, body, _),) = run.kube.written
    assert (run.status, verb, body["kind"]) == (0, "mark", "ConfigMap")
    assert body["metadata"] == {"name": "vmferry-resume", "namespace": namespace}
    assert body["data"] == {key: "2026-03-02T12:00:00Z"}
    assert "configmap/vmferry-resume marked: failures from" in run.said


def test_resume_prints_a_manifest_for_a_repository() -> None:
    run = Run("resume cmp1 --dry-run=client")
    assert (run.status, run.connected) == (0, None)
    assert yaml.safe_load(run.said)["data"] == {"cmp1": "2026-03-02T12:00:00Z"}


def test_release_deletes_only_if_told_so() -> None:
    kube = FakeKube(hm(DRAINED))
    assert Run("release cmp1 --delete --wait", kube).status == 0
    assert kube.written == [("delete", "cmp1", False)]


def test_release_says_who_keeps_the_host_in_maintenance() -> None:
    others = [hm(name="b"), hm(name="c", spec={"enabled": False}), hm(name="d", spec={"host": "cmp2"})]
    run = Run("release cmp1", FakeKube(hm(DRAINED), *others))
    assert run.status == 0
    assert run.err.getvalue() == "note: HostMaintenance b is for the same host, and is on\n"


def test_why_leads_to_the_hosts() -> None:
    groups = [{"reason": "HostDown", "hosts": 3, "example": "cmp7"}]
    run = Run("why web-1", FakeKube(vmm({**LOCKED, "ineligibleTargets": groups})))
    assert "the hosts: kubectl ferry targets --migration web-1 -n migrations" in run.said


def test_preflight_is_the_one_of_vmferry() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "vmferry.cli.ferry", "preflight", "--host", "a", "--all"],
        env={"PYTHONPATH": str(ROOT / "operator")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "Usage: kubectl ferry preflight" in done.stderr and "exactly one of the three" in done.stderr


def test_the_program_that_is_installed_is_this_one() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts["kubectl-ferry"] == f"{main.__module__}:{main.__name__}", "kubectl goes by the name"


def test_force_takes_over_what_others_have_written() -> None:
    assert Run("drain cmp1 --force-conflicts").kube.written[0][0] == "force"


STATUSES: dict[str, tuple[str, int, str]] = {
    "all": ("status", 0, "migrations/web-1"),
    "a migration": ("status web-1", 1, "why: kubectl ferry why web-1 -n migrations"),
    "a host": ("status cmp1", 0, "HostMaintenance cmp1: InMaintenance"),
    "the names of all": ("status -o name", 0, "hostmaintenance.vmferry.dev/cmp1\nvmmigration.vmferry.dev/web-1\n"),
    "a list of one as a list": ("status -o yaml -n nowhere", 0, "kind: List"),
    "why": ("why web-1", 1, "1. ServerLock: Locked"),
    "why of a host": ("why cmp1", 0, "nothing stands against it"),
}


@pytest.mark.parametrize("sentence", STATUSES)
def test_status_of(sentence: str) -> None:
    line, status, words = STATUSES[sentence]
    run = Run(line, FakeKube(vmm(LOCKED), hm(DRAINED)))
    assert (run.status, run.error) == (status, "")
    assert words in run.said


def test_a_namespace_that_is_empty_is_said() -> None:
    assert Run("status").said == "no HostMaintenance, and no VMMigration in the namespace migrations (-A: in all)\n"
    assert Run("status -A").said == "no HostMaintenance, and no VMMigration in any namespace\n"


USAGE: dict[str, tuple[str, str]] = {
    "waiting for a dry run": ("drain cmp1 --wait --dry-run=server", "nothing begins"),
    "a deadline of no waiting": ("drain cmp1 --wait-timeout 2h", "goes with --wait or --watch only"),
    "a manifest of a deletion": ("release cmp1 --delete --dry-run=client", "--delete has no manifest"),
    "targets of nothing": ("targets", "name a SERVER"),
    "targets of two": ("targets a/b --migration c", "name a SERVER"),
    "a release of nothing": ("release cmp9", "no HostMaintenance is for the host cmp9"),
    "why of nothing": ("why x", "no HostMaintenance is for or named x, and no VMMigration in the namespace migrations"),
    "cancelling nothing": ("cancel x", "there is none"),
    "a server without a project": ("live web-1", "name its project"),
    "preflight with options of kubectl": ("-n x preflight", "preflight asks the cloud and no cluster"),
}


@pytest.mark.parametrize("sentence", USAGE)
def test_it_cannot_tell(sentence: str) -> None:
    line, words = USAGE[sentence]
    run = Run(line)
    assert run.status == 2 and words in run.error and run.kube.written == []


@pytest.mark.parametrize("line", ["status", "why x", "live a/b", "drain x", "release x", "cancel x", "targets a/b"])
def test_an_error_of_the_cluster_ends_every_command(line: str) -> None:
    kube = FakeKube()
    kube.error = NotInstalledError("vmferry is not installed in this cluster")
    run = Run(line, kube)
    assert (run.status, run.error) == (2, "vmferry is not installed in this cluster")


def test_the_users_cluster_is_asked() -> None:
    assert Run("status --kubeconfig k --context c").connected == ("k", "c")


def test_a_refusal_of_the_cluster_is_no_doubt() -> None:
    kube = FakeKube()
    kube.error = KubeError("refused", code=422)
    assert Run("live a/b", kube).status == 1


COMPLETIONS: dict[str, tuple[list[str], list[str]]] = {
    "a command": (["rel"], ["release"]),
    "an option": (["drain", "--re"], ["--reason", "--return-vms"]),
    "an option's word": (["live", "a/b", "--priority", ""], ["High", "Low", "Normal"]),
    "an option's free text": (["live", "a/b", "--host", ""], []),
    "a name": (["why", "w"], ["web-1"]),
    "a shell": (["completion", "f"], ["fish"]),
    "an option of preflight": (["preflight", "--output-"], ["--output-file"]),
    "an option before the command": (["--cont"], ["--context"]),
    "after an option of kubectl": (["-n", "x", "drai"], ["drain"]),
}


@pytest.mark.parametrize("sentence", COMPLETIONS)
def test_it_completes(sentence: str) -> None:
    words, expected = COMPLETIONS[sentence]
    assert completion.candidates(words, parser(), lambda command: ["web-1", "cmp1"]) == expected


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_the_script_is_one_of_its_shell(shell: str) -> None:
    script = Run(f"completion {shell}").said
    assert "kubectl-ferry __complete" in script
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    subprocess.run([shell, "-n"], input=script, text=True, check=True)


def test_bash_completes_with_it(tmp_path: Path) -> None:
    """A stand-in answers as the program does."""
    program = tmp_path / "kubectl-ferry"
    program.write_text('#!/bin/sh\n[ "$*" = "__complete drain --re" ] && printf -- "--reason\\n--return-vms\\n:4\\n"\n')
    program.chmod(0o755)
    asks = 'COMP_WORDS=(kubectl-ferry drain --re); COMP_CWORD=2; _kubectl_ferry; echo "${COMPREPLY[*]}"'
    done = subprocess.run(
        ["bash", "-c", completion.script("bash") + asks],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "--reason --return-vms\n", done.stderr
