"""One look at a VMMigration: given this, the decision is that. Tables keyed by an English sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from testbed.build import flavor
from testbed.lifecycle.life import Life
from testbed.lifecycle.little_cloud import SERVER, LittleCloud
from vmferry.cloud.actions import ColdMigrate, Evacuate, LiveMigrate, StopServer
from vmferry.cloud.model import InstanceAction, Migration, Part, ResolvedType, Snapshot
from vmferry.policy import Limits, Policy, StoragePool
from vmferry.prerequisites.check import PlannedMove
from vmferry.prerequisites.enums import Name
from vmferry.reconcilers.migration.deadline import default_timeout
from vmferry.reconcilers.migration.scope import MigrationScope
from vmferry.reconcilers.reads import ReadServer
from vmferry.reconcilers.world import World
from vmferry.resources.base import format_time
from vmferry.resources.words import StorageClass

#: 1 GiB of memory, 40 GiB of disk
BIG_DISK = {"image_id": "image-1", "flavor": flavor(memory_mb=1024, disk_gb=40)}


def cloud(*, vm_state: str = "active", **over: object) -> LittleCloud:
    made = LittleCloud()
    for host in ("cmp1", "cmp2", "cmp3"):
        made.add_host(host)
    made.add_server("cmp1", vm_state=vm_state, **over)
    return made


def dead_source(made: LittleCloud, *, forced_down: bool = False) -> LittleCloud:
    made.add_host("cmp1", up=False, silent=120, forced_down=forced_down)
    return made


STARTS: dict[str, tuple[Callable[[], LittleCloud], dict[str, object], object]] = {
    "Auto moves a running server live to the best host (R7)": (cloud, {}, LiveMigrate(SERVER, "cmp2")),
    "Auto moves a powered-off server cold (R7)": (lambda: cloud(vm_state="stopped"), {}, ColdMigrate(SERVER, "cmp2")),
    "Auto evacuates from a host that was forced down by whoever fenced it (R7, I12)": (
        lambda: dead_source(cloud(), forced_down=True),
        {},
        Evacuate(SERVER, "cmp2", start=True),
    ),
    "Evacuate by name attests that a silent host is dead (I12)": (
        lambda: dead_source(cloud()),
        {"type": "Evacuate"},
        Evacuate(SERVER, "cmp2", start=True),
    ),
    "a paused server moves live": (lambda: cloud(vm_state="paused"), {"type": "Live"}, LiveMigrate(SERVER, "cmp2")),
    "a named host is asked for": (cloud, {"target": {"host": "cmp3"}}, LiveMigrate(SERVER, "cmp3")),
    "a hypervisor's UUID names its host (I1)": (cloud, {"target": {"host": "h-cmp3"}}, LiveMigrate(SERVER, "cmp3")),
    "a server is found by name and project": (
        cloud,
        {"server": {"name": "web-1", "project": "shop"}},
        LiveMigrate(SERVER, "cmp2"),
    ),
    "a project is found by its id too": (
        cloud,
        {"server": {"name": "web-1", "project": "p1"}},
        LiveMigrate(SERVER, "cmp2"),
    ),
    "Cold stops a running server first if it may (R5)": (
        cloud,
        {"type": "Cold", "stopIfRunning": True},
        StopServer(SERVER),
    ),
}


@pytest.mark.parametrize("sentence", STARTS)
def test_it_starts(sentence: str) -> None:
    make, spec, action = STARTS[sentence]
    life = Life(make(), spec)
    decision = life.look()
    assert decision.action == action
    assert decision.finalizer
    assert decision.status.started_at == life.cloud.now
    if not isinstance(action, StopServer):
        attempt = decision.status.open_attempt
        assert attempt is not None, "I3: the intent stands in the status before the request"
        assert attempt.source_host == "cmp1"
        assert decision.move is not None
        assert decision.move.target_host == attempt.target_host


BLOCKED: dict[str, tuple[Callable[[], LittleCloud], dict[str, object], str, str]] = {
    "an unknown name": (cloud, {"server": {"name": "nope", "project": "shop"}}, "ServerNotFound", "named nope"),
    "an unknown project": (cloud, {"server": {"name": "web-1", "project": "nope"}}, "ServerNotFound", "project nope"),
    "an unknown host": (cloud, {"target": {"host": "nope"}}, "HostNotFound", "no host nope"),
    "a running server, Cold, no stop allowed (R5)": (cloud, {"type": "Cold"}, "StateNotMigratable", "needs it stopped"),
    "a powered-off server, Live": (
        lambda: cloud(vm_state="stopped"),
        {"type": "Live"},
        "StateNotMigratable",
        "SHUTOFF",
    ),
    "Auto on a silent host without a proof of death (I12)": (
        lambda: dead_source(cloud()),
        {},
        "HostNotFailed",
        "nothing confirms",
    ),
    "a locked server (I10)": (lambda: cloud(locked=True, locked_reason="audit"), {}, "Locked", "audit"),
    "a server with a task": (lambda: cloud(task_state="image_snapshot"), {}, "TaskInProgress", "image_snapshot"),
    "a resize of somebody else (I7)": (
        lambda: cloud(vm_state="resized", status="VERIFY_RESIZE"),
        {"type": "Cold"},
        "StateNotMigratable",
        "ServerTask",
    ),
}


@pytest.mark.parametrize("sentence", BLOCKED)
def test_it_is_blocked_and_says_why(sentence: str) -> None:
    make, spec, reason, words = BLOCKED[sentence]
    life = Life(make(), spec)
    decision = life.look()
    assert decision.action is None
    assert decision.status.phase == "Blocked"
    assert not decision.finalizer
    met = decision.status.condition("PrerequisitesMet")
    assert met is not None
    assert (met.status, met.reason) == ("False", reason)
    assert words in met.message
    stalled = decision.status.condition("Stalled")
    assert stalled is not None
    assert stalled.status == "True"
    assert decision.requeue_after == life.policy.recheck
    assert [e.reason for e in decision.events] == ["PrerequisitesNotMet"]
    life.one_pass()
    writes = life.writes
    again = life.one_pass()
    assert life.writes == writes, "an unchanged refusal was written again"
    assert again.events == (), "an unchanged refusal was told again"


def test_R9_all_failed_prerequisites_stand_in_the_status_at_once() -> None:
    made = cloud(locked=True)
    made.add_host("cmp4", up=False, version=5000000)
    life = Life(made, {"type": "Cold", "target": {"host": "cmp4"}})
    status = life.look().status
    failed = {p.name for p in status.prerequisites if p.result == "Failed"}
    assert failed == {Name.POWER_STATE, Name.SERVER_LOCK, Name.TARGET_HOST, Name.HYPERVISOR_VERSION}
    assert all(p.remedy for p in status.prerequisites if p.result == "Failed")
    assert len({p.name for p in status.prerequisites}) == len(status.prerequisites)


def test_a_refusal_goes_on_by_itself_when_the_reason_is_gone() -> None:
    life = Life(cloud(locked=True))
    life.one_pass()
    assert life.status.phase == "Blocked"
    life.cloud.servers[SERVER] = replace(life.cloud.servers[SERVER], locked=False)
    life.run()
    assert life.status.phase == "Succeeded"
    assert life.condition("Stalled") is None


def test_two_servers_of_one_name_are_refused_with_the_ids_to_choose_from() -> None:
    made = cloud()
    other = SERVER[:-1] + "2"
    made.add_server("cmp2", id=other)
    life = Life(made, {"server": {"name": "web-1", "project": "shop"}})
    status = life.look().status
    met = status.condition("PrerequisitesMet")
    assert met is not None
    assert SERVER in met.message
    assert other in met.message


def test_a_server_that_is_on_the_wanted_host_already_is_a_success_without_a_move() -> None:
    life = Life(cloud(), {"target": {"host": "cmp1"}})
    life.one_pass()
    assert life.condition("Succeeded") == ("True", "AlreadyOnTarget")
    assert life.cloud.moved == []


def stale(life: Life, **over: object) -> World:
    fresh = life.cloud.snapshot()
    old = life.cloud.now - timedelta(minutes=10)
    return World(replace(fresh, read_at=dict.fromkeys(Part, old), trouble="401 from Keystone", **over))  # type: ignore[arg-type]


def test_a_stale_view_decides_nothing_and_says_so() -> None:
    life = Life(cloud())
    decision = life.look(stale(life))
    assert decision.action is None
    ready = decision.status.condition("Ready")
    assert ready is not None
    assert ready.reason == "CloudViewStale"
    assert "401 from Keystone" in ready.message
    again = life.look(stale(life))
    assert again.status.to_json() == decision.status.to_json(), "the message must not change with the age"


def test_before_the_first_view_only_a_new_object_is_written() -> None:
    life = Life(cloud())
    decision = life.look(World(Snapshot()))
    ready = decision.status.condition("Ready")
    assert ready is not None and ready.reason == "CloudViewStale" and "for the first time" in ready.message
    life.body["status"] = decision.status.to_json()
    again = life.look(World(Snapshot()))
    assert again.status.to_json() == life.status.to_json()
    assert again.requeue_after is not None


def test_a_stale_view_does_not_hold_a_deleted_object_that_owes_nothing() -> None:
    life = Life(cloud())
    life.body["metadata"] |= {"deletionTimestamp": format_time(life.cloud.now), "finalizers": ["vmferry.dev/migration"]}
    assert not life.look(stale(life)).finalizer


def test_preflight_only_moves_nothing_and_follows_the_world() -> None:
    life = Life(cloud(), {"preflightOnly": True})
    decision = life.one_pass()
    assert decision.action is None
    assert life.condition("PrerequisitesMet") == ("True", "AllPassed")
    assert life.condition("Ready") == ("True", "PreflightPassed")
    assert [t.host for t in life.status.eligible_targets] == ["cmp2", "cmp3"]
    assert life.status.started_at is None, "a preflight can still become a migration"
    life.cloud.servers[SERVER] = replace(life.cloud.servers[SERVER], locked=True)
    life.one_pass()
    assert life.condition("Ready") == ("False", "Locked")
    assert life.cloud.migrations == []


def test_paused_starts_nothing() -> None:
    life = Life(cloud(), {"paused": True})
    decision = life.one_pass()
    assert decision.action is None
    assert life.condition("Reconciling") == ("True", "Paused")
    life.body["spec"]["paused"] = False
    life.run()
    assert life.status.phase == "Succeeded"


def test_I24_it_waits_for_its_turn_behind_everybodys_migrations() -> None:
    made = cloud()
    foreign = [
        Migration(n, f"f-{n}", f"s-{n}", "live-migration", "running", "cmp1", "cmp3", "somebody") for n in (1, 2)
    ]
    for m in foreign:
        made.migrations.append(m)
        made._visible[m.uuid] = made.now
    life = Life(made, policy=Policy(limits=Limits(per_source=2)))
    decision = life.look()
    assert decision.action is None
    assert decision.status.phase == "Queued"
    ready = decision.status.condition("Ready")
    assert ready is not None
    assert "2 migrations leave cmp1" in ready.message


def busy(made: LittleCloud) -> LittleCloud:
    """A stranger's server leaves cmp1."""
    record = Migration(1, "f-1", "s-1", "live-migration", "running", "cmp1", "cmp3", "somebody")
    made.migrations.append(record)
    made._visible[record.uuid] = made.now
    return made


@pytest.mark.parametrize("spec", [{}, {"target": {"host": "cmp2"}}], ids=["any host", "a named host"])
def test_R17_what_only_waits_for_bandwidth_is_queued_and_goes_on_by_itself(spec: dict[str, object]) -> None:
    life = Life(busy(cloud()), spec, policy=Policy(bandwidth=1))
    decision = life.one_pass()
    assert decision.action is None and decision.status.phase == "Queued" and decision.events == ()
    assert decision.status.target_host == "cmp2", "it holds its place for the host that it will go to"
    assert life.condition("PrerequisitesMet") == ("False", "BandwidthExceeded")
    assert life.condition("Reconciling") == ("True", "Queued") and life.condition("Stalled") is None
    assert decision.requeue_after is not None and decision.requeue_after < life.policy.recheck
    life.cloud.migrations[0] = replace(life.cloud.migrations[0], status="completed")
    life.run()
    assert life.status.phase == "Succeeded"


def test_R17_with_something_else_against_it_it_is_blocked() -> None:
    life = Life(busy(cloud(locked=True)), policy=Policy(bandwidth=1))
    assert life.look().status.phase == "Blocked"


def test_R17_a_preflight_says_what_is_in_the_way_and_holds_no_place() -> None:
    life = Life(busy(cloud()), {"preflightOnly": True, "target": {"host": "cmp2"}}, policy=Policy(bandwidth=1))
    status = life.look().status
    assert (status.phase, status.target_host) == ("Blocked", None)
    met = status.condition("PrerequisitesMet")
    assert met is not None and met.reason == "BandwidthExceeded"


def test_R16_room_taken_by_decided_moves_is_not_given_twice() -> None:
    life = Life(cloud(), {"target": {"host": "cmp2"}})
    moves = tuple(
        PlannedMove(f"s-{n}", ResolvedType.LIVE, "cmp3", "cmp2", {"MEMORY_MB": 131072}, life.cloud.now) for n in (1, 2)
    )
    decision = life.look(World(life.cloud.snapshot(), moves=moves))
    met = decision.status.condition("PrerequisitesMet")
    assert met is not None
    assert met.reason == "InsufficientCapacity"


def before_it(now: datetime, source: str) -> tuple[PlannedMove, ...]:
    """Two that wait, go first, and like cmp2 best."""
    needs: dict[str, int] = {}
    return tuple(PlannedMove(f"s-{n}", ResolvedType.LIVE, source, "cmp2", needs, now, ()) for n in (1, 2))


WAYS: dict[str, tuple[str, dict[str, object], str | None]] = {
    "without a target it goes where it may go now": ("cmp9", {}, "cmp3"),
    "with a target it waits for it": ("cmp9", {"target": {"host": "cmp2"}}, None),
    "behind others of its own host it waits": ("cmp1", {}, None),
}


@pytest.mark.parametrize("sentence", WAYS)
def test_I24_behind_others_that_go_to_the_best_host(sentence: str) -> None:
    source, spec, target = WAYS[sentence]
    life = Life(cloud(), spec)
    world = World(life.cloud.snapshot(), earlier=before_it(life.cloud.now, source))
    world = world.with_answer(ReadServer(SERVER), life.cloud.detail(SERVER))
    decision = life.look(world)
    met = decision.status.condition("PrerequisitesMet")
    assert met is not None and met.status == "True"
    if target is None:
        assert (decision.action, decision.status.phase) == (None, "Queued")
        assert decision.status.target_host == "cmp2" and met.message == "the server can go to cmp2"
    else:
        assert decision.action == LiveMigrate(SERVER, target)
        assert [one.host for one in decision.status.eligible_targets] == ["cmp2", "cmp3"]
        assert met.message == "the server can go to cmp3 at once; to cmp2, which ranks first, others go before it"


def test_I3_two_resources_never_move_one_server_at_once() -> None:
    first = Life(cloud(), {"type": "Cold", "stopIfRunning": True})
    second = Life(first.cloud, {"type": "Auto"})
    while first.status.completed_at is None:
        decision = first.one_pass()
        move = decision.move
        found = second.look(World(first.cloud.snapshot(), moves=(move,) if move else ()))
        if first.status.completed_at is None:
            assert move is not None, "from the stop to the start the server is spoken for"
            assert found.action is None, f"a second move while the first is {first.status.phase}"
        first.cloud.pass_time(timedelta(seconds=2))
    assert first.cloud.moved == [(SERVER, "migration", "cmp2")]


def test_I35_an_unknown_status_word_stops_and_is_reported() -> None:
    life = Life(cloud())
    life.one_pass()
    life.cloud.migrations[0] = replace(life.cloud.migrations[0], status="teleporting")
    decision = life.one_pass()
    assert decision.action is None
    assert life.condition("Stalled") == ("True", "FactUnknown")
    assert life.status.open_attempt is not None


def test_I5_a_completed_record_is_no_success_while_the_server_is_elsewhere() -> None:
    life = Life(cloud())
    life.one_pass()
    life.cloud.migrations[0] = replace(life.cloud.migrations[0], status="completed")
    life.cloud.never_ends = True
    life.one_pass()
    assert life.status.phase == "Verifying"
    assert life.status.completed_at is None


def touched_right_after(action: str, **change: object) -> Life:
    """Our move is over, and before we look somebody else has asked something of the server."""
    life = Life(cloud())
    life.one_pass()
    target = life.cloud.migrations[0].target_host
    life.cloud.migrations[0] = replace(life.cloud.migrations[0], status="completed")
    fields = {"host": target, "task_state": None, **change}
    life.cloud.servers[SERVER] = replace(life.cloud.servers[SERVER], **fields)  # type: ignore[arg-type]
    life.cloud._about["req-theirs"] = SERVER
    life.cloud.actions.append(InstanceAction("req-theirs", action, None, "somebody", started_at=life.cloud.now))
    life.run(120)
    return life


def test_I5_a_server_that_somebody_suspends_right_after_its_move_has_moved() -> None:
    life = touched_right_after("suspend", vm_state="suspended", status="SUSPENDED")
    assert life.status.phase == "Succeeded"
    assert life.status.attempts[-1].message == "somebody else has changed the server since: it is SUSPENDED"


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("it is in ERROR", {"vm_state": "error", "status": "ERROR"}),
        ("it is elsewhere, and Nova has no record of another move", {"host": "cmp9"}),
        ("it is being changed", {"vm_state": "active", "task_state": "suspending"}),
    ],
)
def test_I5_somebody_elses_action_makes_no_success_of_a_server_that(what: str, change: dict[str, object]) -> None:
    assert touched_right_after("suspend", **change).status.phase == "Verifying", what


def test_a_person_who_aborts_our_migration_is_not_fought() -> None:
    life = Life(cloud())
    life.one_pass()
    life.cloud.migrations[0] = replace(life.cloud.migrations[0], status="cancelled")
    life.cloud.servers[SERVER] = replace(life.cloud.servers[SERVER], task_state=None)
    life.run()
    assert life.status.phase == "Failed"
    assert life.condition("Succeeded") == ("False", "Conflict")
    assert len(life.cloud.migrations) == 1


def test_a_server_deleted_midway_ends_the_request() -> None:
    life = Life(cloud())
    life.one_pass()
    del life.cloud.servers[SERVER]
    life.run()
    assert life.status.phase == "Failed"
    assert life.condition("Succeeded") == ("False", "ServerNotFound")
    assert "finalizers" not in life.body["metadata"]


def test_R34_a_finished_object_whose_time_is_0s_is_deleted_at_once_whatever_the_policy_says() -> None:
    life = Life(cloud(), {"ttlAfterFinished": "0s"}, Policy(ttl_after_finished=timedelta(hours=1)))
    life.run()
    assert life.one_pass().delete


def test_R34_a_finished_object_is_deleted_after_its_time_and_not_before() -> None:
    life = Life(cloud(), {"ttlAfterFinished": "1h"})
    life.run()
    assert not life.one_pass().delete
    life.cloud.pass_time(timedelta(hours=1))
    assert life.one_pass().delete


def test_progress_is_read_at_most_as_often_as_the_policy_says() -> None:
    life = Life(cloud())
    life.cloud.seconds = 100
    life.one_pass()
    life.cloud.pass_time(timedelta(seconds=2))
    life.one_pass()
    assert life.status.progress is not None
    assert life.status.progress.percent == 50
    read_at = life.status.progress.updated_at
    life.cloud.pass_time(timedelta(seconds=2))
    life.one_pass()
    assert life.status.progress.updated_at == read_at
    life.cloud.pass_time(timedelta(seconds=10))
    life.one_pass()
    assert life.status.progress is not None
    assert life.status.progress.updated_at != read_at


#: how many others are moved meanwhile, and after how many seconds the progress is read again
PACES = {
    "a migration alone keeps the policy's pace": (0, 10),
    "what ten a second allow changes nothing": (99, 10),
    "of a thousand each has its turn in a hundred seconds": (999, 100),
}


@pytest.mark.parametrize("sentence", PACES)
def test_all_progress_together_is_read_ten_times_a_second_at_most(sentence: str) -> None:
    others, seconds = PACES[sentence]
    life = Life(cloud())
    life.cloud.seconds = 1000
    life.one_pass()
    life.cloud.pass_time(timedelta(seconds=2))
    life.one_pass()
    assert life.status.progress is not None
    begun, read_at = life.cloud.now, life.status.progress.updated_at
    moves = tuple(PlannedMove(f"s-{n}", ResolvedType.LIVE, "a", "b", {}, begun) for n in range(others))
    for passed, again in ((seconds - 1, False), (seconds, True)):
        life.cloud.now = begun + timedelta(seconds=passed)
        decision = life.look(World(life.cloud.snapshot(), moves=moves))
        assert decision.status.progress is not None
        assert (decision.status.progress.updated_at != read_at) is again
        assert decision.requeue_after == timedelta(seconds=seconds)


def test_an_ERROR_after_the_copy_is_said_and_not_tried_again() -> None:
    life = Life(cloud(), {"type": "Live"})
    life.one_pass()
    life.cloud.migrations[0] = replace(life.cloud.migrations[0], status="error")
    broken = replace(
        life.cloud.servers[SERVER],
        vm_state="error",
        status="ERROR",
        task_state=None,
        fault="libvirt lost its connection",
    )
    life.cloud.servers[SERVER] = broken
    life.run(120)
    assert len(life.cloud.migrations) == 1
    assert "libvirt lost its connection" in (life.status.attempts[0].message or "")
    assert "ERROR on cmp1" in (life.status.attempts[0].message or "")
    assert life.status.phase == "Failed"
    assert life.condition("Ready") == ("False", "CloudRefused")


def test_the_decision_is_pure() -> None:
    life = Life(cloud())
    before = life.obj.to_json()
    world = World(life.cloud.snapshot()).with_answer(ReadServer(SERVER), life.cloud.detail(SERVER))
    first, second = life.look(world), life.look(world)
    assert first == second
    assert life.obj.to_json() == before


STORES = {
    "on one shared storage nothing of the disk is copied (R3)": (frozenset({"cmp1", "cmp2"}), 1),
    "off the shared storage the disk is copied (R5)": (frozenset({"cmp1"}), 41),
    "onto a shared storage too (R5)": (frozenset({"cmp2"}), 41),
    "what nobody knows counts as copied (R19)": (frozenset[str](), 41),
}


@pytest.mark.parametrize("sentence", STORES)
@pytest.mark.parametrize("now_on", ["cmp1", "cmp2"])
def test_the_deadline_grows_with_what_is_copied_wherever_the_server_is_by_now(sentence: str, now_on: str) -> None:
    hosts, gib = STORES[sentence]
    policy = Policy(shared_storage=(StoragePool("nfs", hosts=hosts),) if hosts else ())
    life = Life(cloud(vm_state="stopped", **BIG_DISK), {"type": "Cold", "target": {"host": "cmp2"}}, policy)
    attempt = life.look().status.open_attempt
    assert attempt is not None
    life.cloud.add_server(now_on, vm_state="stopped", **BIG_DISK)
    scope = MigrationScope(life.obj, World(life.cloud.snapshot()), life.cloud.now, policy)
    assert (
        default_timeout(attempt, scope.server, policy, scope.snapshot)
        == policy.timeout_base + gib * policy.timeout_per_gib
    )


@pytest.mark.parametrize(
    ("hosts", "wanted"), [(["cmp1", "cmp2"], StorageClass.EPHEMERAL_SHARED), (["cmp1"], StorageClass.EPHEMERAL_LOCAL)]
)
def test_the_status_says_what_the_move_does_to_the_disks(hosts: list[str], wanted: StorageClass) -> None:
    policy = Policy(shared_storage=(StoragePool("nfs", hosts=frozenset(hosts)),))
    life = Life(cloud(vm_state="stopped", **BIG_DISK), {"type": "Cold", "target": {"host": "cmp2"}}, policy)
    assert life.look().status.storage is wanted
