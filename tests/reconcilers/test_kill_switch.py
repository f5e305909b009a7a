"""The kill switch (I31): nothing new begins, what has begun goes on, and lifted all goes on by itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from testbed.build import ident
from testbed.lifecycle.drains import Drain, a_cloud
from testbed.lifecycle.life import Life
from testbed.lifecycle.little_cloud import SERVER, LittleCloud
from vmferry.cloud.actions import (
    AbortMigration,
    Action,
    ColdMigrate,
    ConfirmResize,
    DisableService,
    EnableService,
    Evacuate,
    ForceComplete,
    LiveMigrate,
    NotSent,
    StartServer,
    StopServer,
)
from vmferry.reconcilers.kill_switch import KillSwitchState, parse
from vmferry.reconcilers.migration.outcome import record_outcome
from vmferry.reconcilers.reads import ReadServer
from vmferry.reconcilers.rows import VM_MIGRATION
from vmferry.reconcilers.world import World
from vmferry.resources.vmmigration import VMMigration

ALL = parse({"stop": "true"}, "ConfigMap home/vmferry-stop")


def cloud(**over: Any) -> LittleCloud:
    made = LittleCloud()
    for host, zone in {"cmp1": "az1", "cmp2": "az1", "cmp3": "az2"}.items():
        made.add_host(host, zone=zone)
    made.add_server("cmp1", **over)
    return made


ACTIONS: dict[str, tuple[Action, bool]] = {
    "a live migration is stopped": (LiveMigrate(SERVER, "cmp2"), True),
    "a cold migration is stopped": (ColdMigrate(SERVER, "cmp2"), True),
    "an evacuation is stopped": (Evacuate(SERVER, "cmp2"), True),
    "the stop before a cold migration is stopped": (StopServer(SERVER), True),
    "forcing a migration is stopped": (ForceComplete(SERVER, 1), True),
    "a cordon is stopped": (DisableService("7", "cmp1", "ours"), True),
    "the start after our stop goes on": (StartServer(SERVER), False),
    "the confirmation of our move goes on": (ConfirmResize(SERVER), False),
    "the abortion of our move goes on": (AbortMigration(SERVER, 1), False),
    "giving a host back goes on": (EnableService("7", "cmp1"), False),
}


@pytest.mark.parametrize("sentence", ACTIONS)
def test_what_is_stopped(sentence: str) -> None:
    action, stopped = ACTIONS[sentence]
    snapshot = cloud().snapshot()
    for stop, wanted in {
        ALL: stopped,
        KillSwitchState(zones=frozenset({"az1"}), message="no"): stopped,
        KillSwitchState(): False,
    }.items():
        assert bool(stop.against_action(action, snapshot)) is wanted
    assert KillSwitchState(zones=frozenset({"az9"}), message="no").against_action(action, snapshot) is None


ZONES: dict[str, tuple[Action, bool]] = {
    "out of the zone": (LiveMigrate(SERVER, "cmp3"), True),
    "within another zone": (LiveMigrate(ident("elsewhere"), "cmp3"), False),
    "into the zone": (LiveMigrate(ident("elsewhere"), "cmp2"), True),
    "to a host that nobody knows": (LiveMigrate(ident("elsewhere"), "cmp9"), True),
    "of a server that nobody knows": (LiveMigrate(ident("nobody"), "cmp3"), True),
}


@pytest.mark.parametrize("sentence", ZONES)
def test_a_zone_is_stopped_from_and_to_it(sentence: str) -> None:
    action, stopped = ZONES[sentence]
    made = cloud()
    made.add_server("cmp3", id=ident("elsewhere"))
    stop = KillSwitchState(zones=frozenset({"az1"}), message="no")
    assert bool(stop.against_action(action, made.snapshot())) is stopped


def test_a_move_says_so_once_and_takes_nobodys_turn() -> None:
    life = Life(cloud())
    decision = life.look(World(life.cloud.snapshot(), kill_switch=ALL))
    assert (decision.action, decision.status.phase, decision.move) == (None, "Queued", None)
    ready = decision.status.condition("Ready")
    assert ready is not None
    assert (ready.reason, ready.message) == ("Stopped", "new moves are stopped by ConfigMap home/vmferry-stop")
    assert [event.reason for event in decision.events] == ["Stopped"]
    life.body["status"] = decision.status.to_json()
    again = life.look(World(life.cloud.snapshot(), kill_switch=ALL))
    assert again.events == ()
    assert again.status.to_json() == decision.status.to_json()
    life.body["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    assert VM_MIGRATION.moves is not None
    assert VM_MIGRATION.moves.queued_move(VMMigration.read(life.body), life.cloud.snapshot()) is None
    assert life.run().phase == "Succeeded", "lifted it goes on"


def test_another_zone_goes_on() -> None:
    life = Life(cloud())
    decision = life.look(
        World(life.cloud.snapshot(), kill_switch=KillSwitchState(zones=frozenset({"az2"}), message="no"))
    )
    assert decision.action == LiveMigrate(SERVER, "cmp2")


def test_what_blocks_a_move_is_told_all_the_same() -> None:
    life = Life(cloud(locked=True))
    decision = life.look(World(life.cloud.snapshot(), kill_switch=ALL))
    assert decision.status.phase == "Blocked"


def test_a_stop_of_a_server_that_got_lost_is_not_asked_for_again_and_nothing_is_owed() -> None:
    life = Life(cloud(), {"type": "Cold", "stopIfRunning": True})
    life.look()
    decision = life.look()
    assert decision.action == StopServer(SERVER)
    life.body["status"] = decision.status.to_json()
    life.cloud.pass_time(timedelta(minutes=1))
    detail = life.cloud.detail(SERVER, actions=False)
    decision = life.look(World(life.cloud.snapshot(), kill_switch=ALL).with_answer(ReadServer(SERVER), detail))
    assert (decision.action, decision.status.phase) == (None, "Queued")
    assert decision.status.graceful_stop is None


def test_a_request_that_was_not_sent_ends_its_attempt_at_once_and_uses_none_up() -> None:
    life = Life(cloud(), {"retries": 0})
    decision = life.look()
    assert decision.action is not None
    life.body["status"] = decision.status.to_json()
    status, events = record_outcome(life.obj, decision.action, NotSent("the switch was thrown"), life.cloud.now)
    assert (status.attempts[0].state, status.attempts[0].open) == ("NotSent", False)
    assert [event.reason for event in events] == ["NotSent"]
    life.body["status"] = status.to_json()
    assert life.run().phase == "Succeeded"
    assert [attempt.state for attempt in life.status.attempts] == ["NotSent", "Completed"]


def test_a_maintenance_does_not_begin() -> None:
    d = Drain(a_cloud("web-1", "web-2"))
    d.stop = ALL
    d.switch()
    d.run(lambda: d.is_("cmp1", "Stopped"), 60)
    for _ in range(200):
        d.tick()
    assert d.phase() == "Queued"
    assert d.cloud.hosts["cmp1"].service.enabled and not d.migrations and not d.leases
    d.stop = KillSwitchState()
    d.in_maintenance()


def test_a_drain_in_the_middle_ends_what_runs_keeps_its_host_and_goes_on_when_lifted() -> None:
    d = Drain(a_cloud(*(f"web-{n}" for n in range(8))))
    d.switch(maxParallel=2)
    d.run(lambda: len(d.cloud.moved) >= 1, 300)
    d.stop = ALL
    d.run(lambda: d.is_("cmp1", "Stopped") and not [m for m in d.cloud.migrations if m.open], 300)
    moved, children = len(d.cloud.moved), len(d.migrations)
    for _ in range(200):
        d.tick()
    assert (len(d.cloud.moved), len(d.migrations)) == (moved, children)
    assert d.phase() == "Draining"
    assert d.cloud.now - d.renewed["cmp1"] < timedelta(minutes=2), "nobody else may take the host meanwhile"
    assert sum("Normal Stopped" in line for line in d.log if line.split()[1] == "cmp1:") == 1
    d.stop = KillSwitchState()
    d.in_maintenance()
    assert len(d.cloud.moved) == 8


def test_a_host_is_given_back_though_moves_are_stopped() -> None:
    d = Drain(a_cloud("web-1"))
    d.switch()
    d.in_maintenance()
    d.stop = ALL
    for _ in range(60):
        d.tick()
    assert d.phase() == "InMaintenance", "observation goes on"
    d.switch(enabled=False)
    d.released()
    assert d.cloud.hosts["cmp1"].service.enabled
