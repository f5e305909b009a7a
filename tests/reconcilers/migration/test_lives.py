"""Whole lives of a VMMigration, each told by a golden log (`golden/<name>.log`).

To see new logs: run with VMFERRY_WRITE_GOLDEN=1 and read the difference before committing it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from testbed.lifecycle.life import Life
from testbed.lifecycle.little_cloud import SERVER, START, LittleCloud
from vmferry.cloud.actions import LiveMigrate, Refused, Unanswered
from vmferry.resources.base import format_time

GOLDEN = Path(__file__).parents[1] / "golden"


def cloud(
    *, vm_state: str = "active", hosts: tuple[str, ...] = ("cmp1", "cmp2", "cmp3"), **over: object
) -> LittleCloud:
    made = LittleCloud()
    for host in hosts:
        made.add_host(host)
    made.add_server("cmp1", vm_state=vm_state, **over)
    return made


def live_without_target() -> Life:
    return Life(cloud())


def cold_of_a_powered_off_server() -> Life:
    return Life(cloud(vm_state="stopped"), {"type": "Cold", "target": {"host": "cmp3"}})


def cold_with_stop_and_start() -> Life:
    return Life(cloud(), {"type": "Cold", "stopIfRunning": True})


def evacuation_from_a_dead_host() -> Life:
    made = cloud(hosts=("cmp2", "cmp3"))
    made.add_host("cmp1", up=False, silent=60)
    return Life(made, {"type": "Evacuate"})


def second_attempt_on_another_target() -> Life:
    made = cloud()
    made.bad_targets = {"cmp2"}
    return Life(made, {"type": "Live"})


def no_target_is_left() -> Life:
    made = cloud()
    made.bad_targets = {"cmp2", "cmp3"}
    return Life(made, {"type": "Live", "retries": 5})


def retries_are_used_up() -> Life:
    made = cloud(hosts=("cmp1", "cmp2", "cmp3", "cmp4"))
    made.bad_targets = {"cmp2", "cmp3", "cmp4"}
    return Life(made, {"type": "Live", "retries": 1})


def a_named_target_that_fails_is_not_tried_twice() -> Life:
    made = cloud()
    made.bad_targets = {"cmp2"}
    return Life(made, {"type": "Live", "target": {"host": "cmp2"}})


def over_the_deadline_and_aborted() -> Life:
    made = cloud()
    made.never_ends = True
    return Life(made, {"type": "Live", "timeout": "20s", "retries": 0})


def over_the_deadline_and_forced() -> Life:
    made = cloud()
    made.never_ends = True
    return Life(made, {"type": "Live", "timeout": "20s", "onTimeout": "ForceComplete"})


def refused_by_the_cloud() -> Life:
    made = cloud()
    made.answers = [Refused(400, "Compute host cmp2 could not be found.", "req-x")]
    return Life(made, {"type": "Live", "target": {"host": "cmp2"}})


def the_answer_is_lost_but_nova_took_it() -> Life:
    made = cloud()
    made.lose_answers = 1
    made.late_record = 6
    return Life(made, {"type": "Live"})


def the_request_is_lost() -> Life:
    made = cloud()
    made.answers = [Unanswered("timed out")]
    return Life(made, {"type": "Live"})


def an_evacuation_of_a_host_that_is_up() -> Life:
    return Life(cloud(), {"type": "Evacuate"})


def a_locked_server_until_its_time_is_over() -> Life:
    until = format_time(START + timedelta(minutes=5))
    return Life(cloud(locked=True, locked_reason="payroll run"), {"type": "Live", "startBefore": until})


def paused_after_the_server_was_stopped() -> Life:
    life = Life(cloud(), {"type": "Cold", "stopIfRunning": True})
    life.one_pass()
    life.body["spec"]["paused"] = True
    return life


def in_novas_own_queue_for_longer_than_its_deadline() -> Life:
    made = cloud()
    made.queued = 60
    return Life(made, {"type": "Live", "timeout": "20s"})


LIVES: tuple[Callable[[], Life], ...] = (
    live_without_target,
    cold_of_a_powered_off_server,
    cold_with_stop_and_start,
    evacuation_from_a_dead_host,
    second_attempt_on_another_target,
    no_target_is_left,
    retries_are_used_up,
    a_named_target_that_fails_is_not_tried_twice,
    over_the_deadline_and_aborted,
    over_the_deadline_and_forced,
    refused_by_the_cloud,
    the_answer_is_lost_but_nova_took_it,
    the_request_is_lost,
    an_evacuation_of_a_host_that_is_up,
    a_locked_server_until_its_time_is_over,
    paused_after_the_server_was_stopped,
    in_novas_own_queue_for_longer_than_its_deadline,
)


@pytest.mark.parametrize("make", LIVES, ids=lambda f: f.__name__)
def test_the_life_goes_as_the_golden_log_says(make: Callable[[], Life]) -> None:
    life = make()
    status = life.run()
    text = "\n".join([*life.log, f"moved {life.cloud.moved}", f"attempts {[a.state for a in status.attempts]}"]) + "\n"
    path = GOLDEN / f"{make.__name__}.log"
    if os.environ.get("VMFERRY_WRITE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("make", LIVES, ids=lambda f: f.__name__)
def test_it_ends_and_leaves_no_finalizer(make: Callable[[], Life]) -> None:
    life = make()
    status = life.run()
    assert status.completed_at is not None
    assert "finalizers" not in life.body["metadata"]
    assert life.condition("Ready") is not None
    writes = life.writes
    life.one_pass()
    assert life.writes == writes, "a pass over a finished object wrote something"


EXPECTED_MOVES = {
    live_without_target: 1,
    cold_of_a_powered_off_server: 1,
    cold_with_stop_and_start: 1,
    evacuation_from_a_dead_host: 1,
    second_attempt_on_another_target: 1,
    over_the_deadline_and_forced: 1,
    the_answer_is_lost_but_nova_took_it: 1,
    the_request_is_lost: 1,
    in_novas_own_queue_for_longer_than_its_deadline: 1,
}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("make", EXPECTED_MOVES, ids=lambda f: f.__name__)
def test_I3_killed_at_any_effect_it_still_moves_exactly_once(make: Callable[[], Life], after: bool) -> None:
    total = make()
    total.run()
    for point in range(1, total.effects + 1):
        life = make()
        life.crash_at, life.crash_after = point, after
        status = life.run(1200)
        where = f"killed {'after' if after else 'before'} effect {point} of {total.effects}\n" + "\n".join(life.log)
        assert status.phase == "Succeeded", where
        assert len(life.cloud.moved) == EXPECTED_MOVES[make], where
        assert "finalizers" not in life.body["metadata"], where
        server = life.cloud.servers[SERVER]
        assert server.task_state is None and server.vm_state != "resized", where
        if make is cold_with_stop_and_start:
            assert server.vm_state == "active", where


@pytest.mark.parametrize("kind", ["Live", "Cold", "Evacuate"])
@pytest.mark.parametrize("after_passes", range(14))
def test_I9_deletion_at_any_time_leaves_no_migration_of_ours_open(kind: str, after_passes: int) -> None:
    life = {"Live": live_without_target, "Cold": cold_with_stop_and_start, "Evacuate": evacuation_from_a_dead_host}[
        kind
    ]()
    for _ in range(after_passes):
        if life.status.completed_at is None:
            life.one_pass()
            life.cloud.pass_time(life.policy.record_grace / 10)
    life.delete()
    life.run()
    assert life.gone
    assert not [m for m in life.cloud.migrations if m.open]
    server = life.cloud.servers[SERVER]
    assert server.task_state is None
    if kind == "Cold":
        assert server.vm_state == "active", "a server that we stopped was not started again"


def test_I9_a_running_live_migration_is_aborted_when_the_object_is_deleted() -> None:
    life = live_without_target()
    for _ in range(3):
        life.one_pass()
        life.cloud.pass_time(life.policy.record_grace / 10)
    life.delete()
    life.run()
    assert [m.status for m in life.cloud.migrations] == ["cancelled"]
    assert life.cloud.moved == []


def test_I3_a_foreign_migration_in_flight_is_never_doubled() -> None:
    made = cloud()
    made.act(LiveMigrate(SERVER, "cmp3"))
    made.migrations[0] = replace(made.migrations[0], user_id="somebody")
    life = Life(made, {"type": "Live", "target": {"host": "cmp2"}})
    life.one_pass()
    assert life.status.phase == "Blocked"
    assert life.condition("PrerequisitesMet") == ("False", "TaskInProgress")
    assert len(made.migrations) == 1
