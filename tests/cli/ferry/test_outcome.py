"""Where an object stands, what it says of itself, and what the server's answers mean."""

from __future__ import annotations

import copy
import json
from datetime import timedelta
from typing import Any

import pytest

from testbed.build import NOW
from tests.cli.ferry.bodies import (
    Terminal,
    attempt,
    conditions,
    failed,
    hm,
    prerequisite,
    ready,
    stalled,
    under_way,
    vmm,
)
from vmferry.cli.ferry.kube import FerryError, exit_status, refusal
from vmferry.cli.ferry.outcome import Standing, outcome, read
from vmferry.cli.ferry.screen import Screen, fit
from vmferry.cli.ferry.views import VIEWS, frame, overview, page
from vmferry.cli.ferry.views.migration import cancelling
from vmferry.cli.ferry.views.view import EXPECTED, size
from vmferry.cli.terminal import Paint
from vmferry.cli.verdict import ExitStatus
from vmferry.prerequisites.enums import Name
from vmferry.resources.base import format_time
from vmferry.resources.catalog import CATALOG
from vmferry.resources.vmmigration import VMMigration
from vmferry.runtime.kube_api import (
    AlreadyExistsError,
    ConflictError,
    InvalidError,
    KubeError,
    NoConnectionError,
    NotFoundError,
    NotInstalledError,
)

PLAIN = Paint(False)
OK, BLOCKED, CANNOT_TELL = ExitStatus.ALL_OK, ExitStatus.BLOCKED, ExitStatus.CANNOT_TELL
DENIED = [prerequisite("ServerLock", reason="Locked", remedy="ask its owner")]
UNTOLD = [prerequisite("OperatingSystem", "Unknown", reason="FactUnknown")]
BLOCKER = {"server": "s", "name": "db-7", "prerequisite": "ServerLock", "reason": "Locked", "message": "it is locked"}

STANDINGS: dict[str, tuple[dict[str, Any], Standing, ExitStatus]] = {
    "without a status": (vmm(), Standing.UNSEEN, CANNOT_TELL),
    "seen before its last change": (
        vmm({"conditions": ready("MigrationSucceeded"), "observedGeneration": 1}, generation=2),
        Standing.UNSEEN,
        CANNOT_TELL,
    ),
    "migrating": (vmm({"conditions": under_way("Migrating")}), Standing.UNDER_WAY, OK),
    "moved": (vmm({"conditions": ready("MigrationSucceeded")}), Standing.DONE, OK),
    "failed": (vmm({"conditions": failed("CloudRefused"), "prerequisites": UNTOLD}), Standing.FAILED, BLOCKED),
    "blocked": (vmm({"conditions": stalled("Locked"), "prerequisites": DENIED + UNTOLD}), Standing.BLOCKED, BLOCKED),
    "blocked by what nobody tells": (
        vmm({"conditions": stalled("FactUnknown"), "prerequisites": UNTOLD}),
        Standing.CANNOT_TELL,
        CANNOT_TELL,
    ),
    "of no server": (vmm({"conditions": stalled("ServerNotFound")}), Standing.CANNOT_TELL, CANNOT_TELL),
    "a host in maintenance": (hm({"conditions": ready("InMaintenance")}), Standing.DONE, OK),
    "a drain that leaves some behind, under way": (
        hm({"conditions": under_way("Draining"), "blockers": [BLOCKER]}),
        Standing.UNDER_WAY,
        OK,
    ),
    "a drain that does not go on": (
        hm({"conditions": stalled("Locked"), "blockers": [BLOCKER]}),
        Standing.BLOCKED,
        BLOCKED,
    ),
    "a drain for which facts are missing": (
        hm({"conditions": stalled("FactUnknown"), "blockers": [{**BLOCKER, "reason": "FactUnknown"}]}),
        Standing.CANNOT_TELL,
        CANNOT_TELL,
    ),
    "two resources for one host": (hm({"conditions": stalled("Conflict")}), Standing.BLOCKED, BLOCKED),
}


@pytest.mark.parametrize("sentence", STANDINGS)
def test_an_object_stands(sentence: str) -> None:
    body, standing, status = STANDINGS[sentence]
    found = outcome(read(body)).standing
    assert (found, found.exit_status) == (standing, status)


def test_a_status_of_another_version_is_told_as_such() -> None:
    with pytest.raises(FerryError, match=r"web-1 has a field status\.phase .* of the operator's version"):
        read(vmm({"phase": "Teleporting"}))


CROSSED = {"source": "Ubuntu 22.04", "target": "Ubuntu 24.04"}
SERVER = {"id": "s", "name": "web-1", "state": "ACTIVE"}
CANCELS: dict[str, tuple[dict[str, Any] | None, str]] = {
    "before anything": (None, "gone at once, and the server stays where it is"),
    "a live migration": (
        {"attempts": [attempt()]},
        "the live migration to cmp2 is aborted, then it is gone; from Nova",
    ),
    "a cold migration": ({"attempts": [attempt(type="Cold")]}, "a cold migration cannot be stopped: the one to cmp2"),
    "an evacuation": ({"attempts": [attempt(type="Evacuate")]}, "an evacuation cannot be stopped"),
    "a server stopped for it": ({"gracefulStop": {"requestedAt": "2026-03-02T12:00:00Z"}}, "it is started again"),
    "one that is over": (
        {"phase": "Succeeded", "completedAt": "2026-03-02T12:00:00Z", "attempts": [attempt("completed")]},
        "only this record",
    ),
    "one that crossed to a newer system": (
        {
            "phase": "Succeeded",
            "completedAt": "2026-03-02T12:00:00Z",
            "server": SERVER,
            "attempts": [attempt("completed", endedAt="2026-03-02T12:00:00Z", crossing=CROSSED)],
        },
        "cannot return: deleting it loses that",
    ),
}


@pytest.mark.parametrize("sentence", CANCELS)
def test_cancelling_means(sentence: str) -> None:
    status, words = CANCELS[sentence]
    obj = read(vmm(status))
    assert isinstance(obj, VMMigration)
    assert words in cancelling(obj)


def test_why_of_a_refusal_says_what_where_expected_and_remedy() -> None:
    status = {
        "phase": "Blocked",
        "server": SERVER,
        "sourceHost": "cmp4",
        "conditions": stalled("Locked", "two things stand against it"),
        "prerequisites": [
            prerequisite("Capacity", "Passed"),
            prerequisite("CPUModel", "Unknown", reason="FactUnknown", host="cmp3"),
            prerequisite("ServerLock", reason="Locked", host="cmp4", remedy="ask its \x1b[31mowner"),
        ],
    }
    text = "\n".join(page.why(read(vmm(status)), PLAIN))
    assert text == "\n".join(
        [
            "VMMigration migrations/web-1: Blocked: two things stand against it",
            "  server  web-1 (s), ACTIVE",
            "  type    Live",
            "  from    cmp4",
            "",
            "1. ServerLock: Locked",
            "    where     cmp4",
            "    found     what was found of ServerLock",
            "    expected  the server is not locked, and its owner has not opted it out",
            "    remedy    ask its [31mowner",
            "",
            "2. CPUModel: FactUnknown",
            "    where     cmp3",
            "    found     what was found of CPUModel",
            "    expected  a host that offers what the guest uses of its CPU",
            "",
            "The request stays, and starts by itself as soon as nothing blocks it any more.",
            "Withdraw it: kubectl ferry cancel web-1 -n migrations",
        ]
    )


REFUSED_TRY = attempt("Refused", endedAt="2026-03-02T12:00:00Z", message="Nova says no", requestID="req-1")
FAILED_MOVE = {"server": "t", "name": "web-2", "state": "Failed", "targetHost": "cmp2", "message": "the disk is full"}
#: not the hint, which says that it goes on once nothing stands against it
DOUBTLESS = f"\n\n{page.NOTHING}"
WHYS: dict[str, tuple[dict[str, Any], str, ExitStatus]] = {
    "it is done": (vmm({"conditions": ready("MigrationSucceeded")}), DOUBTLESS, OK),
    "it waits": (
        vmm({"conditions": under_way("Queued", "waits for its turn")}),
        "nothing stands against it; it goes on by itself: waits for its turn",
        OK,
    ),
    "nobody has looked": (vmm(), "is it running?", CANNOT_TELL),
    "the cloud refused it": (
        vmm({"conditions": failed("CloudRefused"), "attempts": [REFUSED_TRY]}),
        "1. attempt 1: Live, Refused\n    where    cmp1 to cmp2\n    found    Nova says no\n    request  req-1",
        BLOCKED,
    ),
    "there is no such server": (
        vmm({"conditions": stalled("ServerNotFound", "no server is named x")}),
        "1. ServerNotFound\n    found  no server is named x",
        CANNOT_TELL,
    ),
    "a tolerated fact is missing while it moves": (
        vmm(
            {
                "conditions": under_way("Migrating") + conditions(PrerequisitesMet=(True, "AllPassed", "it can go")),
                "prerequisites": UNTOLD,
            }
        ),
        DOUBTLESS,
        OK,
    ),
    "a drain goes on but leaves one behind": (
        hm({"conditions": under_way("Draining"), "blockers": [BLOCKER], "progress": {"total": 4, "blocked": 3}}),
        "2. and 2 more servers, which the status does not list",
        BLOCKED,
    ),
    "a move of a drain failed": (
        hm({"conditions": under_way("Draining"), "moves": [FAILED_MOVE]}),
        "1. web-2 (t): its move failed\n    where  cmp2\n    found  the disk is full",
        BLOCKED,
    ),
    "two maintenances claim the host": (
        hm({"conditions": stalled("Conflict", "HostMaintenance b has it already")}),
        "1. Conflict\n    found  HostMaintenance b has it already",
        BLOCKED,
    ),
    "the host is empty": (hm({"conditions": ready("InMaintenance")}), DOUBTLESS, OK),
}


@pytest.mark.parametrize("sentence", WHYS)
def test_why_when(sentence: str) -> None:
    body, words, status = WHYS[sentence]
    obj = read(body)
    assert words in "\n".join(page.why(obj, PLAIN))
    assert page.exit_status_of_why(obj) == status


def test_every_prerequisite_has_its_expectation() -> None:
    assert set(EXPECTED) == set(Name)


MIGRATING = vmm(
    {
        "phase": "Migrating",
        "conditions": under_way("Migrating", "attempt 1"),
        "server": SERVER,
        "sourceHost": "cmp1",
        "targetHost": "cmp2",
        "progress": {"percent": 50, "memoryRemainingBytes": 1 << 30, "diskRemainingBytes": 1 << 29},
    }
)
DRAINING = hm(
    {
        "phase": "Draining",
        "conditions": under_way("Draining", "31 of 38 …"),
        "progress": {"total": 40, "moved": 31, "moving": 1, "waiting": 5, "blocked": 1, "staying": 2, "percent": 81},
        "moves": [{"server": "s", "name": "web-3", "state": "Moving", "targetHost": "cmp4"}],
        "blockers": [BLOCKER],
    }
)


def test_the_frame_of_a_migration_shows_its_bytes() -> None:
    assert frame.frame(read(MIGRATING), NOW) == [
        "VMMigration migrations/web-1 Migrating 7s",
        "  [############............] 50%, cmp1 -> cmp2, 1.5 GiB left",
        "  attempt 1",
    ]
    assert frame.line(read(MIGRATING)) == (
        "VMMigration migrations/web-1 Migrating 50% cmp1 -> cmp2 1.5 GiB left attempt 1"
    )


def test_the_frame_of_a_drain_shows_its_servers() -> None:
    head, numbers, *below = frame.frame(read(DRAINING), NOW)
    assert head == "HostMaintenance cmp1 Draining 7s"
    assert numbers.endswith("] 81%, 31 of 38 moved, 1 moving, 5 waiting, 1 blocked, 2 stay")
    assert below == ["  moving web-3 -> cmp4", "  blocked db-7: Locked: it is locked"]


def test_the_frame_of_a_drain_counts_from_this_drain_and_names_the_limit() -> None:
    """A maintenance is made once and switched on again for years."""
    body = copy.deepcopy(DRAINING)
    body["metadata"]["creationTimestamp"] = "2020-01-01T00:00:00Z"
    body["status"]["admittedAt"] = format_time(NOW - timedelta(seconds=61))
    body["status"]["progress"]["limitedBy"] = "limited by perSource 2 (policy.limits)"
    head, numbers, *_ = frame.frame(read(body), NOW)
    assert head == "HostMaintenance cmp1 Draining 1m"
    assert "5 waiting (limited by perSource 2 (policy.limits))" in numbers
    assert "5 waiting (limited by perSource 2 (policy.limits))" in "\n".join(page.details(read(body), PLAIN))


SIZES = {0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536 << 20: "1.5 GiB", 1 << 60: "1048576.0 TiB"}


@pytest.mark.parametrize("count", SIZES)
def test_bytes_are_told_in_units(count: int) -> None:
    assert size(count) == SIZES[count]


def test_a_terminal_is_drawn_again_in_place_and_no_line_wraps() -> None:
    out = Terminal()
    screen = Screen(out, {"TERM": "xterm"}, width=lambda: 11)
    screen.show(["0123456789abc", "second"], "")
    screen.show(["new"], "")
    screen.clear()
    assert out.getvalue() == "012345678…\nsecond\n\x1b[2F\x1b[Jnew\n\x1b[1F\x1b[J"


def test_wide_characters_take_two_places() -> None:
    assert fit("日本語", 6) == "日本語"
    assert fit("日本語", 5) == "日…"


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {}])
def test_a_terminal_that_cannot_draw_gets_lines(environment: dict[str, str]) -> None:
    out = Terminal()
    screen = Screen(out, environment)
    for line in ("one", "one", "two"):
        screen.show(["frame"], line)
    screen.clear()
    assert out.getvalue() == "one\ntwo\n"


def test_the_overview_begins_with_what_needs_somebody() -> None:
    bodies = [
        MIGRATING,
        vmm(
            {"phase": "Blocked", "conditions": stalled("Locked", "it is locked")},
            name="z",
            spec={"target": {"host": "h"}},
        ),
        vmm({"phase": "Succeeded", "conditions": ready("MigrationSucceeded")}, name="a"),
        DRAINING,
    ]
    lines = overview.overview([read(b) for b in bodies], NOW, PLAIN, wide=True, where="x")
    assert [line.split() for line in lines] == [
        ["MAINTENANCE", "HOST", "PHASE", "MOVED", "BLOCKED", "AGE", "MESSAGE"],
        ["cmp1", "cmp1", "Draining", "31/38", "1", "7s", "31", "of", "38", "…"],
        [],
        ["MIGRATION", "SERVER", "TYPE", "SOURCE", "TARGET", "PHASE", "PROGRESS", "AGE", "MESSAGE"],
        ["migrations/z", vmm()["spec"]["server"]["id"], "Live", "-", "h", "Blocked", "-", "7s", "it", "is", "locked"],
        ["migrations/web-1", "web-1", "Live", "cmp1", "cmp2", "Migrating", "50%", "7s", "attempt", "1"],
        ["migrations/a", vmm()["spec"]["server"]["id"], "Live", "-", "-", "Succeeded", "-", "7s", "it", "is", "done"],
    ]


def status(reason: str, message: str, **details: Any) -> str:
    return json.dumps({"kind": "Status", "reason": reason, "message": message, "details": details})


CONFLICT = {"reason": "FieldManagerConflict", "message": 'conflict with "argocd"', "field": ".spec.enabled"}
ANSWERS: dict[str, tuple[int, str | bytes | None, type[KubeError], ExitStatus, str]] = {
    "no such kind": (404, b"404 page not found\n", NotInstalledError, CANNOT_TELL, "vmferry is not installed in this"),
    "no such object": (404, status("NotFound", "x", name="a", kind="k"), NotFoundError, CANNOT_TELL, "there is none"),
    "no such namespace": (
        404,
        status("NotFound", 'namespaces "b" not found', name="b", kind="namespaces"),
        KubeError,
        CANNOT_TELL,
        "the namespace b does not exist",
    ),
    "forbidden": (
        403,
        status("Forbidden", 'User "me" cannot'),
        KubeError,
        CANNOT_TELL,
        'not allowed to get.*"me" can',
    ),
    "not logged in": (401, status("Unauthorized", "Unauthorized"), KubeError, CANNOT_TELL, "does not accept"),
    "refused by a rule": (422, status("Invalid", "it has started"), InvalidError, BLOCKED, "it has started"),
    "refused by a webhook": (400, status("BadRequest", "no, says policy"), KubeError, BLOCKED, "no, says policy"),
    "taken": (409, status("AlreadyExists", "x"), AlreadyExistsError, BLOCKED, "choose another --name"),
    "somebody else's field": (
        409,
        status("Conflict", "x", causes=[CONFLICT]),
        ConflictError,
        BLOCKED,
        r"\.spec\.enabled belongs to argocd; .* --force-conflicts",
    ),
    "changed meanwhile": (409, status("Conflict", "it was changed"), ConflictError, BLOCKED, "it was changed"),
    "overloaded": (503, b"<html>\x1b[2J", NoConnectionError, CANNOT_TELL, "cannot answer now .503"),
    "something else": (418, None, KubeError, CANNOT_TELL, "418 no reason was given"),
}


@pytest.mark.parametrize("sentence", ANSWERS)
def test_an_answer_of_the_server_is_one_sentence(sentence: str) -> None:
    code, answer, kind, expected, words = ANSWERS[sentence]
    error = refusal("get VMMigration a/b", code, answer)
    assert (type(error), exit_status(error)) == (kind, expected)
    with pytest.raises(KubeError, match=words):
        raise error
    assert str(error).isprintable()


def test_every_kind_has_a_view() -> None:
    assert VIEWS.keys() == CATALOG.keys()
