"""A drain, and a single migration, in which nothing goes on says so, whatever the reason is (R47)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from testbed.build import ident
from testbed.lifecycle.control_plane import POLICY
from testbed.lifecycle.drains import Drain, a_cloud, add, where
from testbed.lifecycle.little_cloud import LittleCloud
from vmferry.cloud.model import Migration, MigrationStage
from vmferry.policy import Limits, Policy
from vmferry.reconcilers.backoff import LONGEST, pause_after
from vmferry.reconcilers.conditions import unread
from vmferry.reconcilers.kill_switch import KillSwitchState
from vmferry.reconcilers.maintenance import plan as hostmaintenance
from vmferry.reconcilers.migration import plan as vmmigration
from vmferry.reconcilers.world import World
from vmferry.resources.hostmaintenance import HostMaintenanceStatus
from vmferry.resources.vmmigration import VMMigration

AFTER = POLICY.stuck_after.total_seconds()
#: a view of what "does not go on" means: nothing of this may be read in such a state
REASSURING = ("nothing stands against", "nothing blocks")


def record(cloud: LittleCloud, name: str, status: str, **over: object) -> Migration:
    """A live migration of somebody's from cmp1 to cmp4, two years old."""
    long_ago = (cloud.now - timedelta(days=730)).isoformat()
    fields: dict[str, object] = {
        "id": len(cloud.migrations) + 1,
        "uuid": f"old-{len(cloud.migrations) + 1}",
        "server_id": ident(name),
        "type": "live-migration",
        "status": status,
        "source_host": "cmp1",
        "target_host": "cmp4",
        "user_id": "somebody",
        "created_at": long_ago,
        "updated_at": long_ago,
    }
    made = Migration(**{**fields, **over})  # type: ignore[arg-type]
    cloud.migrations.append(made)
    cloud._due[made.uuid] = cloud.now + timedelta(days=999)
    return made


def days_ago(cloud: LittleCloud, days: float) -> str:
    return (cloud.now - timedelta(days=days)).isoformat()


class Still(LittleCloud):
    """Somebody else's records stay as they are."""

    def _advance(self, record: Migration) -> None:
        if not record.uuid.startswith("old-"):
            super()._advance(record)


def still(*servers: str, hosts: tuple[str, ...] = ("cmp1", "cmp2", "cmp3", "cmp4")) -> Still:
    plain = a_cloud(*servers, hosts=hosts)
    return Still(**{name: getattr(plain, name) for name in ("hosts", "servers", "groups", "seconds")})


def status_of(d: Drain) -> HostMaintenanceStatus:
    return d.maintenance("cmp1").status


def says_it_is_stuck(d: Drain, reason: str, *words: str) -> None:
    """Blocked and Stalled for that reason; each of the words is read somewhere, and nothing reassuring is."""
    status = status_of(d)
    stalled = status.condition("Stalled")
    assert d.phase() == "Blocked" and stalled is not None, d.told(f"{d.phase()}")
    assert stalled.reason == reason, d.told(f"{stalled}")
    text = str(status.to_json())
    for word in words:
        assert word in text, d.told(f"{word!r} is not in {text}")
    for word in REASSURING:
        assert word not in text, d.told(text)
    assert status.progress is not None
    end = status.progress.estimated_end
    assert end is None or end > d.cloud.now
    assert status.condition("Reconciling") is None


# ---- leftover records


def with_leftover_records() -> Still:
    cloud = still("v-ok")
    for name, status in (("v-s1", "pre-migrating"), ("v-s2", "accepted")):
        add(cloud, name, "cmp4", updated=days_ago(cloud, 700))
        record(cloud, name, status)
    return cloud


def test_leftover_records_use_up_no_limit_and_keep_no_host_from_being_empty() -> None:
    cloud = with_leftover_records()
    d = Drain(cloud, replace(POLICY, limits=Limits(per_source=2, per_target=2, total=2)))
    d.apply("cmp1")
    d.in_maintenance(seconds=240)
    assert where(cloud)["v-ok"] != "cmp1"
    status = status_of(d)
    assert [one.migration for one in status.leftover_records] == ["old-1", "old-2"]
    first = status.leftover_records[0]
    assert "pre-migrating" in first.message and "2024-01-02" in first.message
    assert first.remedy is not None and "UPDATE migrations SET status='error' WHERE uuid='old-1'" in first.remedy


LEFTOVERS: dict[str, tuple[dict[str, object], dict[str, object], bool]] = {
    "old, and its server is idle": ({}, {}, True),
    "its status word is none that we know": ({"status": "dreaming"}, {}, True),
    "it was changed a moment ago": ({"updated_at": "2026-01-01T11:59:00"}, {}, False),
    "Nova does not tell when it was changed": ({"updated_at": "", "created_at": ""}, {}, False),
    "its times cannot be read": ({"updated_at": "yesterday", "created_at": ""}, {}, False),
    "Nova is busy with its server": ({}, {"task_state": "migrating"}, False),
    "its server was changed a moment ago": ({}, {"updated": "2026-01-01T11:59:30Z"}, False),
    "nobody knows when its server was changed": ({}, {"updated": ""}, False),
    "its server is being built": ({}, {"vm_state": "building"}, False),
    "its server waits for a confirmation": ({}, {"vm_state": "resized"}, False),
    "it waits for its confirmation": ({"status": "finished"}, {}, False),
    "it has ended": ({"status": "completed"}, {}, False),
}


@pytest.mark.parametrize("case", LEFTOVERS.values(), ids=list(LEFTOVERS))
def test_what_is_a_leftover(case: tuple[dict[str, object], dict[str, object], bool]) -> None:
    of_record, of_server, expected = case
    cloud = still()
    add(cloud, "v-s1", "cmp4", **{"updated": days_ago(cloud, 700), **of_server})
    made = record(cloud, "v-s1", **{"status": "pre-migrating", **of_record})  # type: ignore[arg-type]
    (seen,) = cloud.snapshot().migrations.values()
    assert (seen.stage is MigrationStage.LEFTOVER) is expected
    assert seen.open == made.open, "it stays open: nothing is asked for its server"


def test_a_leftover_of_a_server_on_the_host_blocks_that_server_and_no_other() -> None:
    cloud = still("v-ok", "v-mig")
    cloud.servers[ident("v-mig")] = replace(cloud.servers[ident("v-mig")], updated=days_ago(cloud, 90))
    record(cloud, "v-mig", "pre-migrating")
    d = Drain(cloud)
    d.apply("cmp1")
    d.run(lambda: d.phase() == "Blocked")
    says_it_is_stuck(d, "LeftoverRecord", "old-1", "WHERE uuid='old-1'")
    assert where(cloud) == {"v-ok": where(cloud)["v-ok"], "v-mig": "cmp1"} and where(cloud)["v-ok"] != "cmp1"
    d.people("the database is mended", lambda: cloud._set(cloud.migrations[0], status="error"))
    d.in_maintenance()


# ---- tasks that do not end

TASKS: dict[str, tuple[dict[str, object], str | None, str]] = {
    "being built": ({"vm_state": "building", "task_state": "spawning"}, None, "openstack server delete "),
    "being deleted": ({"task_state": "deleting"}, None, "openstack server delete --force "),
    "being moved by somebody": ({"task_state": "migrating"}, "running", "openstack server migration abort "),
    "being moved, but not to be aborted": ({"task_state": "migrating"}, "pre-migrating", "virsh list"),
    "being snapshotted": ({"task_state": "image_snapshot"}, None, "openstack server set --state active "),
}


@pytest.mark.parametrize("case", TASKS.values(), ids=list(TASKS))
def test_a_server_that_was_in_one_task_for_too_long_is_a_blocker(
    case: tuple[dict[str, object], str | None, str],
) -> None:
    state, moved, remedy = case
    cloud = still("v-ok")
    add(cloud, "v-stuck", **{**state, "updated": days_ago(cloud, 90)})  # type: ignore[arg-type]
    if moved:
        record(cloud, "v-stuck", moved, created_at=days_ago(cloud, 90), updated_at=days_ago(cloud, 90))
    d = Drain(cloud)
    d.apply("cmp1")
    d.run(lambda: d.phase() == "Blocked", 120)
    says_it_is_stuck(d, "TaskStuck", "unchanged since 2025-10-03", remedy)
    assert where(cloud)["v-ok"] != "cmp1"


def test_a_server_in_a_task_is_waited_for_until_its_age_says_that_it_does_not_end() -> None:
    cloud = still()
    add(cloud, "v-build", vm_state="building", task_state="spawning", updated=cloud.now.isoformat())
    d = Drain(cloud)
    d.apply("cmp1")
    d.rest(60)
    assert d.phase() == "Draining" and d.is_("cmp1", "Draining")
    d.rest(AFTER)
    says_it_is_stuck(d, "TaskStuck", "it is being built (spawning)")
    d.server("v-build", vm_state="active", task_state=None, updated=cloud.now.isoformat())
    d.in_maintenance()


def test_a_single_migration_of_a_server_in_a_stuck_task_names_the_remedy() -> None:
    cloud = still()
    add(cloud, "v-del", task_state="deleting", updated=days_ago(cloud, 90))
    d = Drain(cloud)
    d.migrate("one", ident("v-del"))
    d.rest(10)
    (found,) = [p for p in d.migrations["one"]["status"]["prerequisites"] if p["name"] == "ServerTask"]
    assert found["reason"] == "TaskStuck" and "delete --force" in found["remedy"]


# ---- completed, but the server is not there


def completed_and(where_to: str, **state: Any) -> Drain:
    """Nova's record is completed, and the server is somewhere else, or not well."""
    cloud = a_cloud("v-half")
    d = Drain(cloud)
    d.apply("cmp1")
    d.run(lambda: bool(cloud.migrations))

    def spoil() -> None:
        cloud._set(cloud.migrations[-1], status="completed")
        cloud.servers[ident("v-half")] = replace(cloud.servers[ident("v-half")], host=where_to, **state)

    d.people("the record ends, the server does not arrive", spoil)
    return d


def test_completed_and_still_at_its_source_is_a_blocker_after_the_deadline() -> None:
    d = completed_and("cmp1", task_state="migrating")
    d.rest(60)
    assert d.phase() == "Draining"
    d.run(lambda: d.phase() == "Blocked", 3 * AFTER)
    says_it_is_stuck(d, "FactUnknown", "this server needs a person", "waiting for the server at ")
    assert status_of(d).progress.blocked == 1  # type: ignore[union-attr]


def test_completed_and_in_error_at_its_target_the_empty_host_is_in_maintenance_and_the_server_named() -> None:
    d = completed_and("cmp2", task_state=None, vm_state="error", status="ERROR")
    d.in_maintenance(seconds=3 * AFTER)
    status = status_of(d)
    assert [one.name for one in status.blockers] == ["v-half"]
    assert "this server needs a person" in (status.blockers[0].remedy or "")
    assert "v-half" in status.condition("Ready").message  # type: ignore[union-attr]


# ---- a resize from the host


def test_a_resize_from_the_host_that_nobody_confirms_is_a_blocker() -> None:
    cloud = still("v-ok")
    add(cloud, "v-resized", "cmp2", vm_state="resized", updated=cloud.now.isoformat())
    for _ in range(2):  # of an older one, too, Nova may say that it is finished
        record(cloud, "v-resized", "finished", type="resize", target_host="cmp2", old_flavor_id=1, new_flavor_id=2)
    d = Drain(cloud)
    d.apply("cmp1")
    d.run(lambda: d.phase() == "Blocked", 120)
    assert [blocker.name for blocker in status_of(d).blockers] == ["v-resized"]
    says_it_is_stuck(d, "ResizePending", f"openstack server resize confirm {ident('v-resized')}")
    assert where(cloud)["v-ok"] != "cmp1"

    def confirm() -> None:
        for migration in cloud.migrations[:2]:
            cloud._set(migration, status="confirmed")

    d.people("it is confirmed", confirm)
    d.server("v-resized", vm_state="active", status="ACTIVE")
    d.in_maintenance()


# ---- whatever the reason is


def test_a_drain_that_a_limit_holds_up_names_the_limit_and_then_that_nothing_moves() -> None:
    cloud = still("v-ok", "v-too")
    add(cloud, "o-1", "cmp4", task_state="migrating", updated=days_ago(cloud, 3))
    record(cloud, "o-1", "running", source_host="cmp1", target_host="cmp4", updated_at=days_ago(cloud, 3))
    d = Drain(cloud, replace(POLICY, limits=Limits(per_source=1, per_target=2, total=10)))
    d.apply("cmp1")
    d.rest(60)
    status = status_of(d)
    assert status.progress is not None and status.progress.limited_by == "limited by perSource 1 (policy.limits)"
    assert {one.message for one in status.moves} == {"limited by perSource 1 (policy.limits)"}
    assert "(limited by perSource 1 (policy.limits))" in status.condition("Ready").message  # type: ignore[union-attr]
    d.rest(AFTER)
    says_it_is_stuck(d, "NoProgress", "nothing has moved since 2026-01-01T12:0", "perSource 1", "old-1 of o-1 (running")
    assert d.cloud.moved == []
    d.people("the record ends", lambda: cloud._set(cloud.migrations[0], status="error"))
    d.in_maintenance()


def test_max_parallel_is_named_as_a_limit() -> None:
    d = Drain(a_cloud("a-1", "a-2", "a-3", seconds=60))
    d.apply("cmp1", maxParallel=1)
    d.run(lambda: bool(d.cloud.migrations))
    d.rest(20)
    assert status_of(d).progress.limited_by == "limited by maxParallel 1 (spec.maxParallel)"  # type: ignore[union-attr]
    d.in_maintenance()
    assert status_of(d).progress.limited_by is None  # type: ignore[union-attr]


def test_a_long_copy_within_its_deadline_is_progress() -> None:
    cloud = a_cloud("v-big", seconds=3 * AFTER)
    d = Drain(cloud)
    d.apply("cmp1", migration={"timeout": "6h"})
    d.rest(2.5 * AFTER)
    assert d.phase() == "Draining"
    d.in_maintenance(seconds=2 * AFTER)
    assert not [line for line in d.log if "NoProgress" in line]


def test_a_host_that_was_empty_for_days_is_not_stuck_when_something_lands_there() -> None:
    cloud = a_cloud("v-ok")
    d = Drain(cloud)
    d.apply("cmp1")
    d.in_maintenance()
    d.rest(2 * AFTER)
    add(cloud, "late-1")
    d.run(lambda: d.phase() != "InMaintenance", 120)
    d.in_maintenance()
    assert not [line for line in d.log if "NoProgress" in line]


def test_the_time_under_the_kill_switch_does_not_count() -> None:
    cloud = a_cloud("v-ok")
    d = Drain(cloud)
    d.apply("cmp1", maxParallel=1)
    d.run(lambda: not cloud.hosts["cmp1"].service.enabled)
    d.stop = KillSwitchState(everywhere=True, message="new moves are stopped")
    d.rest(3 * AFTER)
    assert d.is_("cmp1", "Stopped")
    d.stop = KillSwitchState()
    d.in_maintenance()
    assert not [line for line in d.log if "NoProgress" in line]


def test_a_pause_after_many_failures_is_no_half_year() -> None:
    assert pause_after(1, Policy()) == timedelta(seconds=15)
    assert pause_after(3, Policy()) == timedelta(seconds=60)
    assert pause_after(19, Policy()) == LONGEST
    assert pause_after(19, Policy(retry_backoff=timedelta(hours=2))) == timedelta(hours=2)


def test_a_resource_that_is_made_while_the_cloud_fails_says_so_at_once() -> None:
    d = Drain(a_cloud("v-ok"))
    d.apply("cmp1")
    d.migrate("one", ident("v-ok"))
    world = World(d.cloud.snapshot(), unread="GET /servers/x: connection refused")
    for decision in (
        hostmaintenance.plan(d.maintenance("cmp1"), world, d.cloud.now, d.policy),
        vmmigration.plan(VMMigration.read(d.migrations["one"]), world, d.cloud.now, d.policy),
    ):
        ready = decision.status.condition("Ready")
        assert ready is not None and ready.reason == "CloudViewStale"
        assert "the cloud is unreachable" in ready.message and "connection refused" in ready.message


CAUSES = {
    "GET /servers: HTTP 503 Service Unavailable": "the cloud fails",
    "cannot log in: The request you have made requires authentication. (HTTP 401)": "the credentials are refused",
    "GET /os-services: HTTP 403 Policy doesn't allow it": "a right is missing",
    "GET /servers/detail: ReadTimeout": "no answer in time",
    "ConnectFailure: Unable to establish connection": "the cloud is unreachable",
    "reading servers failed: KeyError": "the cloud cannot be read",
}


@pytest.mark.parametrize("trouble", CAUSES)
def test_the_class_of_the_cause_is_named(trouble: str) -> None:
    assert f"{CAUSES[trouble]}: {trouble}" in unread(trouble)
