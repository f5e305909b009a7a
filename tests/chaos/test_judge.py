"""That `make chaos` sees each harm, and takes nothing else for one: its judge on facts that were spoilt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from testbed.build import ident
from testbed.chaos.judge import Facts, Harm, Record, ServerFact, is_settled, judge
from testbed.proxy.journal import Passed

VM, MOVE = ident("web-1"), "uid-of-m"
RECORD = Record(7, "u-7", VM, "live-migration", "completed", "cmp1", "cmp2")


def post(status: int = 202) -> Passed:
    return Passed(0.0, "POST", f"/servers/{VM}/action", VM, "os-migrateLive", status, "drop after")


def a_move(**over: Any) -> dict[str, Any]:
    """One that moved web-1 once."""
    attempt = {"number": 1, "migrationID": "u-7", "state": "Completed", "targetHost": "cmp2", "endedAt": "t"}
    return {
        "kind": "VMMigration",
        "metadata": {"name": "m", "finalizers": ["f"]},
        "spec": {"server": {"id": VM}, "type": "Live"},
        "status": {"phase": "Succeeded", "completedAt": "t", "attempts": [attempt]} | over,
    }


def sound() -> Facts:
    return Facts(
        servers=[ServerFact(VM, "web-1", "ACTIVE", "ACTIVE", None, "cmp2")],
        records=[RECORD],
        hosts={"cmp1": (True, True), "cmp2": (True, True)},
        sent=[post()],
        objects={MOVE: a_move()},
        writes={MOVE: (9, 20.0)},
        quiet={"compute": 5},
        busy={"compute": 7},
    )


def server(**over: Any) -> Callable[[Facts], Facts]:
    return lambda f: replace(f, servers=[replace(f.servers[0], **over)])


def records(*found: Record) -> Callable[[Facts], Facts]:
    return lambda f: replace(f, records=list(found))


def told(**over: Any) -> Callable[[Facts], Facts]:
    return lambda f: replace(f, objects={MOVE: a_move(**over)})


def facts(**over: Any) -> Callable[[Facts], Facts]:
    return lambda f: replace(f, **over)


ANOTHER = replace(RECORD, id=8, uuid="u-8")
OTHER_ATTEMPT = [{"number": 1, "state": "Requested", "targetHost": "cmp2"}]
SPOILT: dict[str, tuple[Callable[[Facts], Facts], set[Harm]]] = {
    "nothing": (lambda f: f, set()),
    "a second move": (records(RECORD, ANOTHER), {Harm.MOVED_TWICE, Harm.UNTRUE}),
    "a request that was sent again and that the cloud refused": (facts(sent=[post(), post(409)]), {Harm.MOVED_TWICE}),
    "two migrations open at once": (facts(overlaps=[(VM, (7, 8))]), {Harm.MOVED_TWICE}),
    "a server in ERROR for no reason": (server(status="ERROR"), {Harm.LOST}),
    "a server that was left powered off": (server(status="SHUTOFF"), {Harm.LOST}),
    "a server that is gone": (server(status="", host=None), {Harm.LOST}),
    "a server on a dead host": (facts(hosts={"cmp1": (True, True), "cmp2": (False, True)}), {Harm.LOST, Harm.STUCK}),
    "a server with a task that never ends": (server(task="migrating"), {Harm.LOST}),
    "a server that waits for its confirmation": (server(status="VERIFY_RESIZE"), {Harm.LOST}),
    "a migration that is still open": (records(replace(RECORD, status="running")), {Harm.LOST, Harm.UNTRUE}),
    "an object that cannot go": (facts(left=[MOVE]), {Harm.STUCK}),
    "an object that comes to no end": (facts(late=["m"]), {Harm.STUCK}),
    "a host left disabled": (facts(hosts={"cmp1": (True, False), "cmp2": (True, True)}), {Harm.STUCK}),
    "a migration that no status knows": (told(attempts=OTHER_ATTEMPT), {Harm.UNTRUE}),
    "a success that was none": (records(replace(RECORD, status="failed")), {Harm.UNTRUE}),
    "a failure that was none": (told(phase="Failed"), {Harm.UNTRUE}),
    "another target than the record's": (records(replace(RECORD, destination="cmp3")), {Harm.UNTRUE}),
    "a host that is said to be empty and is not": (facts(lies=["cmp1"]), {Harm.UNTRUE}),
    "a traceback": (facts(log="x\nTraceback (most recent call last):\n y"), {Harm.NOISY}),
    "a loop of requests at rest": (facts(quiet={"compute": 100}), {Harm.NOISY}),
    "a loop of requests on the way": (facts(busy={"kubernetes": 500}), {Harm.NOISY}),
    "a loop of writes": (facts(writes={MOVE: (300, 20.0)}), {Harm.NOISY}),
    # and what is none
    "a server in ERROR whose migration was aborted": (
        lambda f: told(
            phase="Failed", attempts=[{**a_move()["status"]["attempts"][0], "state": "Cancelled", "targetHost": "cmp2"}]
        )(records(replace(RECORD, status="cancelled"))(server(status="ERROR")(f))),
        set(),
    ),
    "an evacuation whose source has come back": (
        lambda f: told(attempts=[{**a_move()["status"]["attempts"][0], "state": "Done"}])(f),
        set(),
    ),
    "a server that a person deleted": (server(status="", host=None, deleted=True), set()),
}


@pytest.mark.parametrize(("spoil", "harms"), SPOILT.values(), ids=SPOILT)
def test_each_harm_is_seen(spoil: Callable[[Facts], Facts], harms: set[Harm]) -> None:
    assert {one.harm for one in judge(spoil(sound()))} == harms


def waiting(reason: str, **spec: Any) -> dict[str, Any]:
    body = a_move(phase="Blocked", conditions=[{"type": "Ready", "status": "False", "reason": reason}])
    del body["status"]["completedAt"]
    return {**body, "spec": body["spec"] | spec}


RUNNING = sound().servers[0]
WAITS = {
    "it is over": (a_move(), RUNNING, True),
    "a live migration of a server that is off": (
        waiting("StateNotMigratable"),
        replace(RUNNING, status="SHUTOFF"),
        True,
    ),
    "a live migration of a server that runs": (waiting("StateNotMigratable"), RUNNING, False),
    "an evacuation from a host that is up": (waiting("HostNotFailed", type="Evacuate"), RUNNING, True),
    "a server that was deleted": (waiting("ServerNotFound"), replace(RUNNING, deleted=True), True),
    "a server that is there": (waiting("ServerNotFound"), RUNNING, False),
    "a host that has long been enabled again": (waiting("HostDisabled"), RUNNING, False),
}


@pytest.mark.parametrize(("body", "server", "settled"), WAITS.values(), ids=WAITS)
def test_only_what_no_time_brings_may_be_waited_for(body: Any, server: ServerFact, settled: bool) -> None:
    assert is_settled(body, {server.id: server}) is settled
