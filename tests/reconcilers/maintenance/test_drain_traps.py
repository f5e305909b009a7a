"""Corners of a maintenance in which it once went wrong, or where others do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from testbed.build import ident
from testbed.lifecycle.control_plane import POLICY
from testbed.lifecycle.drains import Drain, a_cloud, add, moves_of, where
from vmferry.cloud.actions import LiveMigrate, Refused, Unanswered
from vmferry.policy import Limits
from vmferry.resources.words import Phase
from vmferry.runtime.key import Key
from vmferry.runtime.store import Body

FORBIDDEN = Refused(403, "Policy doesn't allow os_compute_api:os-services:update to be performed.", "req-x")


def queued_child(**spec: object) -> Drain:
    """The VMMigration of web-1 waits: it is paused by a webhook."""
    cloud = a_cloud("web-1")
    d = Drain(cloud)
    d.admission = lambda body: body["spec"].update(paused=True)
    d.apply("cmp1", **spec)
    d.run(lambda: bool(d.migrations))
    d.admission = lambda body: None
    d.rest(4)
    assert not cloud.migrations, "it must not have begun"
    return d


def test_a_server_that_is_deleted_while_its_move_waits_holds_up_nothing() -> None:
    d = queued_child()
    del d.cloud.servers[ident("web-1")]
    d.in_maintenance(seconds=120)
    assert not d.cloud.moved and all("completedAt" in body["status"] for body in d.migrations.values())


def test_a_server_that_somebody_moves_away_while_its_move_waits_is_not_moved_again() -> None:
    d = queued_child()
    d.cloud.servers[ident("web-1")] = replace(d.cloud.servers[ident("web-1")], host="cmp3")
    d.in_maintenance(seconds=120)
    assert not d.migrations and not d.cloud.moved and where(d.cloud)["web-1"] == "cmp3"


def test_a_server_that_shall_stay_since_its_move_waits_stays() -> None:
    d = queued_child()
    d.apply("cmp1", running="Leave")
    d.in_maintenance(seconds=120)
    assert not d.migrations and not d.cloud.moved and where(d.cloud)["web-1"] == "cmp1"


@pytest.mark.parametrize("answer", [FORBIDDEN, Unanswered("connection reset")], ids=["refused", "lost"])
def test_a_cordon_that_is_refused_is_asked_for_now_and_then(answer: Refused | Unanswered) -> None:
    cloud = a_cloud("web-1")
    cloud.answers = [answer] * 100
    d = Drain(cloud)
    d.apply("cmp1")
    d.rest(120)
    assert 3 <= d.asked <= 10, d.told(f"asked {d.asked} times in two minutes")
    if answer is FORBIDDEN:
        assert d.phase() == "Blocked" and d.is_("cmp1", "CloudRefused", "False")
        assert sum("NotCordoned" in line for line in d.log) == 1, "one Event"
    cloud.answers = []
    d.in_maintenance()


@pytest.mark.parametrize("answer", [FORBIDDEN, Unanswered("connection reset")], ids=["refused", "lost"])
def test_an_uncordon_that_is_refused_is_asked_for_now_and_then(answer: Refused | Unanswered) -> None:
    cloud = a_cloud("web-1")
    d = Drain(cloud)
    d.apply("cmp1")
    d.in_maintenance()
    cloud.answers, d.asked = [answer] * 100, 0
    d.apply("cmp1", enabled=False)
    d.rest(120)
    assert 3 <= d.asked <= 10, d.told(f"asked {d.asked} times in two minutes")
    if answer is FORBIDDEN:
        assert d.is_("cmp1", "CloudRefused", "False")
    cloud.answers = []
    d.released()
    assert cloud.hosts["cmp1"].service.enabled


def test_I20_I27_a_host_that_was_open_for_a_while_is_verified_empty_anew() -> None:
    d = Drain(a_cloud("web-1"))
    d.apply("cmp1")
    d.in_maintenance()
    d.cloud.set_service("cmp1", enabled=True, disabled_reason=None)
    d.run(lambda: not d.cloud.hosts["cmp1"].service.enabled)
    begun = d.cloud.now
    assert d.condition("cmp1", "Drained") == ("False", "Cordoning")
    d.in_maintenance()
    assert d.cloud.now - begun >= d.policy.maintenance.settle


def test_our_own_uncordon_is_not_somebody_else() -> None:
    d = Drain(a_cloud("web-1", "web-2", "web-3"))
    d.apply("cmp1", maxParallel=1)
    d.run(lambda: bool(d.cloud.migrations))
    d.apply("cmp1", enabled=False)
    d.tick()
    d.apply("cmp1", enabled=True)
    d.in_maintenance()
    assert not [line for line in d.log if "CordonReasserted" in line]


def test_a_move_that_ends_after_a_toggle_is_counted_and_returned() -> None:
    d = Drain(a_cloud("web-1", "web-2"))
    d.apply("cmp1", maxParallel=1, returnVMs=True)
    d.run(lambda: bool(d.cloud.migrations))
    d.apply("cmp1", enabled=False)
    d.tick()
    d.apply("cmp1", enabled=True)
    d.in_maintenance()
    progress = d.maintenance("cmp1").status.progress
    assert progress is not None and (progress.total, progress.moved) == (2, 2)
    d.apply("cmp1", enabled=False)
    d.released()
    assert where(d.cloud) == {"web-1": "cmp1", "web-2": "cmp1"}


@pytest.mark.parametrize("spec", [{}, {"onBlockers": "Refuse"}, {"preflightOnly": True}], ids=str)
def test_switched_off_before_it_began_again_it_says_released(spec: dict[str, object]) -> None:
    cloud = a_cloud("web-1")
    add(cloud, "web-2", "cmp2")
    d = Drain(cloud)
    d.apply("cmp1")
    d.in_maintenance()
    d.apply("cmp1", enabled=False)
    d.released()
    d.apply("cmp2")
    d.in_maintenance("cmp2")
    add(cloud, "lock-1", locked=True)
    d.apply("cmp1", enabled=True, **spec)
    d.rest(20)
    assert d.phase() in ("Queued", "Blocked", "Checked")
    d.apply("cmp1", enabled=False)
    d.rest(10)
    status = d.maintenance("cmp1").status
    assert d.is_("cmp1", "Released", "True") and d.condition("cmp1", "Reconciling") is None
    assert not status.moves and not status.blockers and status.progress is None


def test_a_round_that_has_not_begun_counts_nothing_of_the_last_one() -> None:
    cloud = a_cloud("web-1", "bad-1")
    d = Drain(cloud)
    d.apply("cmp1", migration={"retries": 0}, maxParallel=1)
    d.run(lambda: len(cloud.moved) == 1)
    cloud.bad_targets = {"cmp2", "cmp3"}
    d.blocked()
    d.apply("cmp1", enabled=False)
    d.released()
    cloud.bad_targets = set()
    d.apply("cmp1", enabled=True, preflightOnly=True)
    d.rest(20)
    progress = d.maintenance("cmp1").status.progress
    assert progress is not None and (progress.total, progress.moved, progress.blocked) == (1, 0, 0)
    d.apply("cmp1", preflightOnly=False, onBlockers="Refuse")
    d.in_maintenance()
    assert moves_of(cloud, "web-1") == moves_of(cloud, "bad-1") == 1


def test_I8_a_host_that_others_disabled_is_never_said_to_be_open_again() -> None:
    cloud = a_cloud("web-1", seconds=40)
    d = Drain(cloud)
    d.apply("cmp1")
    d.run(lambda: bool(cloud.migrations))
    cloud.set_service("cmp1", disabled_reason="burn-in test")
    d.apply("cmp1", enabled=False)
    d.released()
    assert cloud.hosts["cmp1"].service.disabled_reason == "burn-in test"
    assert d.condition("cmp1", "Cordoned") == ("False", "LeftDisabled")


def test_a_view_that_shows_the_uncordon_late_keeps_nobody_from_returning() -> None:
    d = Drain(a_cloud("web-1"))
    d.apply("cmp1", returnVMs=True)
    d.in_maintenance()
    d.cloud.old_view["cmp1"] = d.cloud.hosts["cmp1"].service
    d.apply("cmp1", enabled=False)
    d.rest(8)
    d.cloud.old_view.clear()
    d.released()
    assert where(d.cloud)["web-1"] == "cmp1"


def test_what_did_not_return_is_named_as_long_as_it_is_released() -> None:
    d = Drain(a_cloud("web-1"))
    d.apply("cmp1", returnVMs=True)
    d.in_maintenance()
    server = d.cloud.servers[ident("web-1")]
    d.cloud.servers[server.id] = replace(server, locked=True)
    d.apply("cmp1", enabled=False)
    d.released()
    d.rest(60)
    (move,) = d.maintenance("cmp1").status.moves
    assert move.state == "Failed" and "locked" in (move.message or "")
    assert "1 servers were not brought back" in d.maintenance("cmp1").status.condition("Ready").message  # type: ignore[union-attr]


def test_a_way_back_that_did_not_open_is_not_taken_after_the_release() -> None:
    """Killed between the status that says Released and the deletion of the VMMigration that waits."""
    d = Drain(a_cloud("web-1"))
    d.apply("cmp1", returnVMs=True)
    d.in_maintenance()
    server = d.cloud.servers[ident("web-1")]
    d.admission = lambda body: d.cloud.servers.update({server.id: replace(server, locked=True)})
    d.apply("cmp1", enabled=False)
    d.run(lambda: any(name for name in d.migrations if "-back-" in name))
    back = next(name for name in d.migrations if "-back-" in name)
    d.admission = lambda body: None
    d.run(lambda: d.migrations[back].get("status", {}).get("phase") == Phase.BLOCKED)
    assert any(kill_at_release(d) for _ in range(60))
    assert back in d.migrations, "killed too late"
    d.rest(30)
    d.cloud.servers[server.id] = replace(server, locked=False)
    d.rest(120)
    assert d.phase() == "Released" and back not in d.migrations and where(d.cloud)["web-1"] != "cmp1"


def kill_at_release(d: Drain) -> bool:
    """Right after the status is written for the first time that says Released."""
    if d.phase() == "Released":
        return True
    d.crash_at, d.crash_after = None, True
    on_status = d.on_status

    def and_die(key: Key, before: Body, status: Body) -> None:
        on_status(key, before, status)
        if key.kind == "HostMaintenance" and status["phase"] == "Released":
            d.crash_at = d.effects

    d.on_status = and_die  # type: ignore[method-assign]
    d.tick()
    d.on_status = on_status  # type: ignore[method-assign]
    return d.phase() == "Released"


def test_I23_one_that_fails_again_and_again_holds_back_no_other() -> None:
    cloud = a_cloud("bad-1", *(f"web-{n}" for n in range(6)))
    d = Drain(cloud)
    bad = ident("bad-1")
    act: Callable[..., object] = cloud.act

    def but_not_bad_1(action: object) -> object:
        if isinstance(action, LiveMigrate) and action.server_id == bad:
            return Refused(500, "Unexpected API Error.", "req-500")
        return act(action)

    cloud.act = but_not_bad_1  # type: ignore[method-assign, assignment]
    d.apply("cmp1", maxParallel=1)
    d.blocked()
    assert all(host != "cmp1" for name, host in where(cloud).items() if name != "bad-1")
    attempts = len([line for line in d.log if "LiveMigrate bad-1" in line])
    d.rest(600)
    assert len([line for line in d.log if "LiveMigrate bad-1" in line]) == attempts, "it never gives up"


def test_I24_limits_count_the_moves_of_others() -> None:
    cloud = a_cloud("web-1", "web-2", seconds=60)
    for name in ("o-1", "o-2"):
        add(cloud, name, "cmp2")
        cloud.act(LiveMigrate(ident(name), "cmp3"))
        cloud.migrations[-1] = replace(cloud.migrations[-1], user_id="somebody")
    d = Drain(cloud, replace(POLICY, limits=Limits(per_source=4, per_target=2, total=3)))
    d.apply("cmp1", maxParallel=5)
    d.rest(40)
    assert len(cloud.migrations) == 3
    d.in_maintenance()


def test_a_move_that_has_begun_and_is_blocked_now_holds_up_no_release() -> None:
    cloud = a_cloud("web-1")
    d = Drain(cloud)
    d.apply("cmp1", returnVMs=True)
    snapshotted = Refused(409, "Cannot 'os-migrateLive' while it is being snapshotted.", "req-409")
    d.admission = lambda body: cloud.answers.append(snapshotted)
    d.run(lambda: any(body.get("status", {}).get("attempts") for body in d.migrations.values()))
    server = cloud.servers[ident("web-1")]
    cloud.servers[server.id] = replace(server, locked=True)
    d.run(lambda: any(body.get("status", {}).get("phase") == "Blocked" for body in d.migrations.values()))
    d.apply("cmp1", enabled=False)
    d.released(seconds=120)
    assert not d.migrations and not cloud.moved


def test_I28_a_maintenance_that_outlasts_the_time_of_finished_migrations_forgets_nothing() -> None:
    d = Drain(a_cloud("web-1"), replace(POLICY, ttl_after_finished=timedelta(seconds=60)))
    d.apply("cmp1", returnVMs=True)
    d.in_maintenance()
    d.rest(300)
    progress = d.maintenance("cmp1").status.progress
    assert progress is not None and progress.moved == 1
    d.apply("cmp1", enabled=False)
    d.released()
    assert where(d.cloud)["web-1"] == "cmp1"


def test_the_records_of_maintenances_long_past_do_not_pile_up() -> None:
    d = Drain(a_cloud("web-1"))
    for _ in range(4):
        d.apply("cmp1", enabled=True, returnVMs=True)
        d.in_maintenance()
        d.apply("cmp1", enabled=False)
        d.released()
    assert {child.round for child in d.children("cmp1")} == {3, 4}


def paused_once_its_server_is_off() -> tuple[Drain, Body]:
    """The server of a drain's VMMigration was stopped for its move when somebody pauses that."""
    cloud = a_cloud("web-1", seconds=10)
    d = Drain(cloud)
    d.apply("cmp1", running="ColdMigrate")
    d.run(lambda: cloud.servers[ident("web-1")].vm_state == "stopped")
    (body,) = d.migrations.values()
    body["spec"]["paused"] = True
    return d, body


def test_a_move_that_is_paused_after_its_server_was_stopped_is_reported_in_both_objects_and_ends() -> None:
    d, body = paused_once_its_server_is_off()
    cloud = d.cloud
    d.run(lambda: d.phase() == "Blocked", seconds=60)
    (blocker,) = d.maintenance("cmp1").status.blockers
    assert blocker.reason == "Paused" and "is started again" in blocker.message
    assert blocker.remedy is not None and "spec.paused" in blocker.remedy
    assert d.condition("cmp1", "Stalled") == ("True", "Paused")
    assert body["status"]["phase"] == "Pending"
    d.run(lambda: cloud.servers[ident("web-1")].vm_state == "active", seconds=POLICY.stop_timeout.total_seconds() + 60)
    d.run(lambda: "completedAt" in body["status"], seconds=60)
    stops = [line for line in d.log if "StopServer" in line]
    d.rest(1200)
    assert [line for line in d.log if "StopServer" in line] == stops, (
        "a person paused it: the server is not stopped again"
    )
    (blocker,) = d.maintenance("cmp1").status.blockers
    assert blocker.reason == "Conflict" and d.phase() == "Blocked" and cloud.moved == []


def test_a_move_that_is_paused_after_its_server_was_stopped_holds_up_no_release() -> None:
    d, _ = paused_once_its_server_is_off()
    d.run(lambda: d.phase() == "Blocked", seconds=60)
    d.apply("cmp1", enabled=False)
    d.released(seconds=120)
    assert d.cloud.servers[ident("web-1")].vm_state == "active" and not d.migrations


def test_a_move_that_is_paused_before_it_began_is_a_blocker_and_goes_on_once_it_may() -> None:
    d = queued_child()
    (body,) = [one for one in d.migrations.values() if "startedAt" not in one.get("status", {})]
    body["spec"]["paused"] = True
    d.run(lambda: d.phase() == "Blocked", seconds=300)
    assert d.condition("cmp1", "Stalled") == ("True", "Paused")
    body["spec"]["paused"] = False
    d.in_maintenance()
