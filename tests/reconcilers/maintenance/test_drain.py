"""Whole drains, each told by a golden log (`golden/drain_<name>.log`).

To see new logs: run with VMFERRY_WRITE_GOLDEN=1 and read the difference before committing it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from testbed.build import ident
from testbed.lifecycle.drains import Drain, a_cloud, add, where
from vmferry.cloud.actions import LiveMigrate, Refused, Unanswered
from vmferry.cloud.model import Flavor, ServerGroup

GOLDEN = Path(__file__).parents[1] / "golden"


def everything_moves_and_the_host_is_released() -> Drain:
    d = Drain(a_cloud("web-1", "web-2", "web-3", "db-1 stopped", "job-1 paused"))
    d.switch(reason="DIMM 4")
    d.in_maintenance()
    assert "cmp1" not in where(d.cloud).values()
    d.switch(enabled=False)
    d.released()
    assert d.cloud.hosts["cmp1"].service.enabled
    assert "cmp1" not in where(d.cloud).values()
    return d


def servers_of_every_kind() -> Drain:
    cloud = a_cloud(
        "run-1", "run-2", "off-1 stopped", "paused-1 paused", "susp-1 suspended", "err-1 error", "resc-1 rescued"
    )
    add(cloud, "lock-1", locked=True, locked_reason="the auditors")
    add(cloud, "never-1", metadata={"migration-priority": "never"})
    add(cloud, "resize-1", vm_state="resized")
    add(cloud, "snap-1", task_state="image_snapshot")
    add(cloud, "big-1", flavor=Flavor("m1.huge", 65, 1024, 0))
    for name in ("ring-1", "ring-2"):
        add(cloud, name)
    add(cloud, "ring-3", "cmp2")
    cloud.add_host("cmp4")
    cloud.groups.append(
        ServerGroup("g1", "ring", "anti-affinity", frozenset(map(ident, ("ring-1", "ring-2", "ring-3"))), 2)
    )
    d = Drain(cloud)
    d.switch()
    d.blocked()
    assert {b.name for b in d.maintenance("cmp1").status.blockers} == {
        "big-1", "err-1", "lock-1", "never-1", "resc-1", "resize-1", "snap-1", "susp-1",
    }  # fmt: skip
    d.server("snap-1", task_state=None)
    d.rest(60)
    d.server("lock-1", locked=False)
    d.server("never-1", metadata={})
    d.rest(60)
    d.server("susp-1", vm_state="active", status="ACTIVE", power_state=1)
    d.server("err-1", vm_state="stopped", status="SHUTOFF")
    d.server("resc-1", vm_state="active", status="ACTIVE")
    d.server("resize-1", vm_state="active", status="ACTIVE")
    d.rest(90)
    assert [b.name for b in d.maintenance("cmp1").status.blockers] == ["big-1"]
    d.people("big-1 is deleted", lambda: cloud.servers.pop(ident("big-1")))
    d.in_maintenance()
    return d


def refused_while_something_is_blocked() -> Drain:
    cloud = a_cloud("web-1")
    add(cloud, "lock-1", locked=True)
    d = Drain(cloud)
    d.switch(onBlockers="Refuse")
    d.blocked()
    d.rest(60)
    assert cloud.hosts["cmp1"].service.enabled and not d.leases and not cloud.moved
    d.server("lock-1", locked=False)
    d.in_maintenance()
    return d


def powered_off_ones_stay() -> Drain:
    d = Drain(a_cloud("web-1", "db-1 stopped", "susp-1 suspended"))
    d.switch(poweredOff="Leave")
    d.in_maintenance()
    assert d.condition("cmp1", "Drained") == ("True", "ServersStay")
    d.rest(120)
    d.people("db-1 is started", lambda: None)
    d.server("db-1", vm_state="active", status="ACTIVE", power_state=1)
    d.run(lambda: where(d.cloud)["db-1"] != "cmp1")
    d.in_maintenance()
    return d


def running_ones_stay() -> Drain:
    d = Drain(a_cloud("web-1", "db-1 stopped"))
    d.switch(running="Leave")
    d.in_maintenance()
    assert where(d.cloud)["web-1"] == "cmp1" != where(d.cloud)["db-1"]
    return d


def running_ones_are_stopped_moved_and_started() -> Drain:
    d = Drain(a_cloud("web-1", "web-2", "db-1 stopped"))
    d.switch(running="ColdMigrate")
    d.in_maintenance()
    states = {s.name: s.vm_state for s in d.cloud.servers.values()}
    assert states == {"web-1": "active", "web-2": "active", "db-1": "stopped"}
    return d


def to_a_named_target() -> Drain:
    d = Drain(a_cloud("web-1", "web-2", "db-1 stopped"))
    d.switch(target={"host": "cmp3"}, maxParallel=5)
    d.in_maintenance()
    assert set(where(d.cloud).values()) == {"cmp3"}
    return d


def a_migration_fails_is_given_up_and_tried_again() -> Drain:
    cloud = a_cloud("web-1")
    cloud.bad_targets = {"cmp2", "cmp3", "cmp4"}
    cloud.add_host("cmp4")
    d = Drain(cloud)
    d.switch(migration={"retries": 1})
    d.blocked()
    d.rest(300)
    assert len(cloud.migrations) == 2, "tries are bounded, each one elsewhere"
    last = d.maintenance("cmp1").status.moves[0].migration
    assert last is not None
    cloud.bad_targets = set()
    d.people(f"the cause is mended, and {last} deleted", lambda: d.delete_migration(last.rpartition("/")[2]))
    d.in_maintenance()
    return d


def the_host_dies_and_is_not_forced_down() -> Drain:
    cloud = a_cloud("web-1", "web-2", "db-1 stopped")
    d = Drain(cloud)
    d.switch(maxParallel=1, migration={"timeout": "1m"})
    d.run(lambda: any(m.type == "live-migration" for m in cloud.migrations))
    d.service("cmp1", up=False)
    d.blocked(seconds=1800)
    d.rest(300)
    assert not [m for m in cloud.migrations if m.type == "evacuation"]
    d.service("cmp1", up=True)
    d.in_maintenance()
    return d


def the_host_dies_and_is_forced_down() -> Drain:
    cloud = a_cloud("web-1", "web-2", "db-1 stopped", start_after=True)
    d = Drain(cloud)
    d.switch(maxParallel=1, migration={"timeout": "1m"})
    d.run(lambda: any(m.type == "live-migration" for m in cloud.migrations))
    d.service("cmp1", up=False)
    d.rest(20)
    d.service("cmp1", forced_down=True)
    d.in_maintenance(seconds=1800)
    assert "cmp1" not in where(cloud).values()
    return d


def a_build_in_flight_lands_after_the_cordon() -> Drain:
    cloud = a_cloud("web-1")
    late = add(cloud, "late-1", "", vm_state="building")
    cloud.servers[late] = replace(cloud.servers[late], host=None)
    cloud.claimed[late] = "cmp1"
    d = Drain(cloud)
    d.switch()
    d.rest(120)
    assert d.phase() == "Draining", "the build holds room of the host"
    d.server("late-1", host="cmp1", vm_state="building", task_state="spawning")
    d.rest(30)
    d.server("late-1", vm_state="active", status="ACTIVE", task_state=None)
    cloud.claimed.clear()
    d.in_maintenance()
    assert where(cloud)["late-1"] != "cmp1"
    return d


def somebody_migrates_a_server_onto_the_host() -> Drain:
    cloud = a_cloud("web-1")
    add(cloud, "guest-1", "cmp2")
    d = Drain(cloud)
    d.switch()
    d.in_maintenance()
    d.people("somebody migrates guest-1 to cmp1", lambda: cloud.act(LiveMigrate(ident("guest-1"), "cmp1")))
    cloud.migrations[-1] = replace(cloud.migrations[-1], user_id="somebody")
    d.run(lambda: not d.is_("cmp1", "InMaintenance"))
    d.in_maintenance()
    assert where(cloud)["guest-1"] != "cmp1"
    return d


def somebody_enables_the_host_during_the_maintenance() -> Drain:
    d = Drain(a_cloud("web-1"))
    d.switch(reason="DIMM 4")
    d.in_maintenance()
    d.service("cmp1", enabled=True, disabled_reason=None)
    d.run(lambda: not d.cloud.hosts["cmp1"].service.enabled)
    d.in_maintenance()
    d.switch(enabled=False)
    d.released()
    assert d.cloud.hosts["cmp1"].service.enabled
    return d


def somebody_disables_it_with_another_reason() -> Drain:
    d = Drain(a_cloud("web-1"))
    d.switch()
    d.in_maintenance()
    d.service("cmp1", disabled_reason="burn-in test, keep off")
    d.rest(60)
    d.switch(enabled=False)
    d.released()
    assert d.cloud.hosts["cmp1"].service.disabled_reason == "burn-in test, keep off"
    assert d.condition("cmp1", "Cordoned") == ("False", "LeftDisabled")
    return d


def it_was_disabled_before() -> Drain:
    cloud = a_cloud("web-1")
    cloud.set_service("cmp1", enabled=False, disabled_reason="new rack")
    d = Drain(cloud)
    d.switch()
    d.in_maintenance()
    d.switch(enabled=False)
    d.released()
    service = cloud.hosts["cmp1"].service
    assert (service.enabled, service.disabled_reason) == (False, "new rack")
    return d


def switched_off_in_the_middle() -> Drain:
    cloud = a_cloud("web-1", "web-2", "web-3", "web-4")
    d = Drain(cloud)
    d.switch(maxParallel=2)
    d.run(lambda: len(cloud.migrations) == 2)
    d.switch(enabled=False)
    d.released()
    assert len(cloud.moved) == 2
    assert cloud.hosts["cmp1"].service.enabled
    return d


def toggled_off_and_on_quickly() -> Drain:
    cloud = a_cloud("web-1", "web-2", "web-3")
    d = Drain(cloud)
    d.switch(maxParallel=1)
    d.run(lambda: len(cloud.migrations) == 1)
    d.switch(enabled=False)
    d.tick()
    d.switch(enabled=True)
    d.tick()
    d.switch(enabled=False)
    d.rest(6)
    d.switch(enabled=True)
    d.in_maintenance()
    assert len(cloud.moved) == 3
    assert d.maintenance("cmp1").status.host_before.status == "enabled"  # type: ignore[union-attr]
    d.switch(enabled=False)
    d.released()
    assert cloud.hosts["cmp1"].service.enabled
    return d


def deleted_in_the_middle() -> Drain:
    cloud = a_cloud("web-1", "db-1 stopped", "web-3")
    d = Drain(cloud)
    d.switch(maxParallel=2)
    d.run(lambda: len(cloud.migrations) == 2)
    d.people("kubectl delete cmp1", lambda: d.delete("cmp1"))
    d.gone()
    assert len(cloud.moved) == 2
    assert cloud.hosts["cmp1"].service.enabled and not d.leases
    assert not [m for m in cloud.migrations if m.open]
    return d


def they_return_but_for_two() -> Drain:
    cloud = a_cloud("web-1", "web-2", "db-1 stopped", "lock-1")
    d = Drain(cloud)
    d.switch(returnVMs=True)
    d.in_maintenance()
    elsewhere = "cmp2" if where(cloud)["web-2"] == "cmp3" else "cmp3"
    d.server("web-2", host=elsewhere)
    d.server("lock-1", locked=True)
    d.switch(enabled=False)
    d.released()
    d.rest(30)
    assert where(cloud) == {"web-1": "cmp1", "db-1": "cmp1", "web-2": elsewhere, "lock-1": where(cloud)["lock-1"]}
    assert [m.name for m in d.maintenance("cmp1").status.moves if m.state == "Failed"] == ["lock-1"]
    return d


def two_resources_for_one_host() -> Drain:
    d = Drain(a_cloud("web-1", "web-2"))
    d.switch("older", host="cmp1")
    d.cloud.pass_time(timedelta(seconds=2))
    d.switch("newer", host="cmp1")
    d.in_maintenance("older")
    assert d.is_("newer", "Conflict", "False")
    d.people("kubectl delete older", lambda: d.delete("older"))
    d.in_maintenance("newer")
    return d


def two_hosts_and_room_for_one_in_the_budget() -> Drain:
    cloud = a_cloud("web-1")
    add(cloud, "web-2", "cmp2")
    d = Drain(cloud)
    d.switch("cmp1")
    d.switch("cmp2")
    d.in_maintenance("cmp1")
    assert d.is_("cmp2", "Queued", "False")
    assert cloud.hosts["cmp2"].service.enabled
    d.switch("cmp1", enabled=False)
    d.in_maintenance("cmp2")
    return d


def preflight_only() -> Drain:
    cloud = a_cloud("web-1", "db-1 stopped")
    add(cloud, "lock-1", locked=True)
    d = Drain(cloud)
    d.switch(preflightOnly=True)
    d.rest(60)
    assert d.phase() == "Checked" and not d.migrations and cloud.hosts["cmp1"].service.enabled
    d.server("lock-1", locked=False)
    d.run(lambda: d.is_("cmp1", "PreflightPassed", "True"))
    assert len(d.maintenance("cmp1").status.moves) == 3
    d.switch(preflightOnly=False)
    d.in_maintenance()
    return d


def a_second_operator_has_the_lease() -> Drain:
    d = Drain(a_cloud("web-1"))
    d.leases["cmp1"] = "another operator"
    d.switch()
    d.rest(60)
    assert d.is_("cmp1", "Conflict", "False") and d.cloud.hosts["cmp1"].service.enabled
    d.people("the other operator gives it back", d.leases.clear)
    d.in_maintenance()
    return d


def the_cloud_refuses_the_cordon() -> Drain:
    cloud = a_cloud("web-1")
    cloud.answers = [Refused(403, "Policy doesn't allow os_compute_api:os-services:update", "req-x")] * 3
    d = Drain(cloud)
    d.switch()
    d.in_maintenance()
    cloud.answers = [
        Refused(403, "Policy doesn't allow os_compute_api:os-services:update", "req-y"),
        Unanswered("reset"),
    ]
    d.switch(enabled=False)
    d.released()
    return d


DRAINS: tuple[Callable[[], Drain], ...] = (
    everything_moves_and_the_host_is_released,
    servers_of_every_kind,
    refused_while_something_is_blocked,
    powered_off_ones_stay,
    running_ones_stay,
    running_ones_are_stopped_moved_and_started,
    to_a_named_target,
    a_migration_fails_is_given_up_and_tried_again,
    the_host_dies_and_is_not_forced_down,
    the_host_dies_and_is_forced_down,
    a_build_in_flight_lands_after_the_cordon,
    somebody_migrates_a_server_onto_the_host,
    somebody_enables_the_host_during_the_maintenance,
    somebody_disables_it_with_another_reason,
    it_was_disabled_before,
    switched_off_in_the_middle,
    toggled_off_and_on_quickly,
    deleted_in_the_middle,
    they_return_but_for_two,
    two_resources_for_one_host,
    two_hosts_and_room_for_one_in_the_budget,
    preflight_only,
    a_second_operator_has_the_lease,
    the_cloud_refuses_the_cordon,
)


@pytest.mark.parametrize("make", DRAINS, ids=lambda f: f.__name__)
def test_the_drain_goes_as_the_golden_log_says(make: Callable[[], Drain]) -> None:
    text = make().story()
    path = GOLDEN / f"drain_{make.__name__}.log"
    if os.environ.get("VMFERRY_WRITE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


def test_every_golden_log_of_a_drain_has_its_scenario() -> None:
    assert {path.stem for path in GOLDEN.glob("drain_*.log")} == {f"drain_{make.__name__}" for make in DRAINS}
