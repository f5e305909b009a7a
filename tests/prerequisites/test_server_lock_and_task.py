"""ServerLock and ServerTask (R18, R32, I3, I7, I10, I15): nothing and nobody else has a hand on the server."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from testbed.build import migration, question, server, snapshot
from tests.prerequisites.expect import Case, compare, fails, passes
from vmferry.cloud.model import Migration, ResolvedType, Server
from vmferry.prerequisites import server_lock, server_task
from vmferry.prerequisites.check import Question
from vmferry.prerequisites.enums import Name, Reason, Result

LIVE, COLD, EVACUATE = ResolvedType
WEB = server()
RESIZED = server(vm_state="resized")


def ask(of: Server, kind: ResolvedType, *records: Migration) -> Question:
    return question(of, kind, snapshot([of], migrations=records), target=None)


def resize(status: str = "finished", **over: Any) -> Migration:
    return migration(WEB, type="resize", status=status, **over)


LOCK: dict[str, Case] = {
    "an unlocked server may be moved": passes(ask(WEB, LIVE)),
    "a locked one is left alone, though Nova would let an administrator (R18, I10)": fails(
        ask(server(locked=True), LIVE), Reason.LOCKED, ("locked",), ("owner", f"server unlock {WEB.id}"), "host-a"
    ),
    "why it was locked is said (R20)": fails(
        ask(server(locked=True, locked_reason="backup runs"), COLD), Reason.LOCKED, ("backup runs",), (), "host-a"
    ),
    "a server whose owner opted it out is left alone (R32)": fails(
        ask(server(metadata={"migration-priority": "never"}), LIVE),
        Reason.OPTED_OUT,
        ("its owner", "migration-priority: never"),
        ("owner's decision", f"unset --property migration-priority {WEB.id}"),
        "host-a",
    ),
    "an evacuation is a move as well": fails(
        ask(server(metadata={"migration-priority": "never"}), EVACUATE), Reason.OPTED_OUT, ("never",), (), "host-a"
    ),
    "locked and opted out: both are said (R20)": fails(
        ask(server(locked=True, locked_reason="audit", metadata={"migration-priority": "never"}), LIVE),
        Reason.LOCKED,
        ("audit", "migration-priority: never"),
        ("server unlock", "unset --property"),
        "host-a",
    ),
    "only the word never opts out": passes(ask(server(metadata={"migration-priority": "low"}), LIVE)),
    "not in other letters": passes(ask(server(metadata={"migration-priority": "Never"}), LIVE)),
    "nor under another key": passes(ask(server(metadata={"priority": "never"}), LIVE)),
}

TASK: dict[str, Case] = {
    "an idle server": passes(ask(WEB, LIVE), "idle"),
    "old records do not matter": passes(
        ask(
            WEB,
            LIVE,
            *(migration(WEB, n, status=s) for n, s in enumerate(["completed", "failed", "cancelled", "reverted"])),
        )
    ),
    "another server's migration does not matter": passes(ask(WEB, LIVE, migration(server(name="other")))),
    "a task of Nova (R18)": fails(
        ask(server(task_state="image_snapshot"), LIVE),
        Reason.TASK_IN_PROGRESS,
        ("image_snapshot",),
        ("wait",),
        "host-a",
    ),
    "somebody's migration, even while the server looks idle (I3)": fails(
        ask(WEB, COLD, migration(WEB, status="queued", uuid="m-7")),
        Reason.TASK_IN_PROGRESS,
        ("live-migration m-7", "queued"),
        ("wait",),
        "host-a",
    ),
    "a status word that nobody knows counts as going on (I35)": fails(
        ask(WEB, LIVE, migration(WEB, status="teleporting")), Reason.TASK_IN_PROGRESS, ("teleporting",), (), "host-a"
    ),
    "a resize that waits for its confirmation (R18, I7)": fails(
        ask(RESIZED, LIVE, resize()),
        Reason.RESIZE_PENDING,
        ("waits for its confirmation",),
        (f"server resize confirm {WEB.id}", "revert"),
        "host-a",
    ),
    "a resize whose record has gone": fails(ask(RESIZED, COLD), Reason.RESIZE_PENDING, ("confirmation",), ("revert",)),
    "a resize that is being confirmed is a task, nothing to decide": fails(
        ask(WEB, COLD, resize("confirming")), Reason.TASK_IN_PROGRESS, ("resize", "confirming"), ("wait",)
    ),
    "a record that waits for a confirmation which the idle server does not": passes(ask(WEB, LIVE, resize()), "idle"),
    "Nova would confirm that record instead of a new cold migration's": fails(
        ask(server(vm_state="stopped"), COLD, resize(uuid="m-old")),
        Reason.LEFTOVER_RECORD,
        ("m-old", "finished", "SHUTOFF"),
        ("Live", "Nova's database"),
        "host-a",
    ),
    "the same record while the server is busy is no leftover": fails(
        ask(server(task_state="resize_finish"), LIVE, resize()), Reason.RESIZE_PENDING, ("confirmation",), ()
    ),
    "an evacuation while another one is going on: Nova would not notice (I15)": fails(
        ask(WEB, EVACUATE, migration(WEB, type="evacuation", status="accepted")),
        Reason.TASK_IN_PROGRESS,
        ("evacuation", "accepted"),
        ("wait",),
        "host-a",
    ),
    "what a dead host was doing has ended with it, and is said (I15)": passes(
        ask(server(task_state="migrating"), EVACUATE, migration(WEB)), "busy with migrating"
    ),
}


@pytest.mark.parametrize("sentence", LOCK)
def test_the_lock(sentence: str) -> None:
    case = LOCK[sentence]
    compare(server_lock.check(case.question), Name.SERVER_LOCK, case)


@pytest.mark.parametrize("sentence", TASK)
def test_the_task(sentence: str) -> None:
    case = TASK[sentence]
    compare(server_task.check(case.question), Name.SERVER_TASK, case)


OPEN = ["accepted", "queued", "pre-migrating", "preparing", "running", "post-migrating", "finished", "confirming"]


@pytest.mark.parametrize(
    ("status", "kind", "type_"), list(product(OPEN, [LIVE, COLD], ["live-migration", "migration"]))
)
def test_I3_no_open_migration_is_overtaken(status: str, kind: ResolvedType, type_: str) -> None:
    of = RESIZED if status == "finished" else WEB
    finding = server_task.check(ask(of, kind, migration(of, status=status, type=type_)))
    assert finding.result is Result.FAILED


def test_an_older_record_that_is_open_counts_below_a_newer_one_that_has_ended() -> None:
    old, new = migration(WEB, 1, status="running"), migration(WEB, 2, status="completed")
    assert server_task.check(ask(WEB, LIVE, old, new)).reason is Reason.TASK_IN_PROGRESS
