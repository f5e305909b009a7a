"""The life of a request: what an Evacuate attests, when a request ends without a move, and how long it may keep a
server off. Tables keyed by an English sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from testbed.lifecycle.life import Life
from testbed.lifecycle.little_cloud import SERVER, START, LittleCloud
from vmferry.cloud.actions import Evacuate, LiveMigrate
from vmferry.cloud.model import Fact, InstanceAction, Part
from vmferry.policy import Policy
from vmferry.reconcilers.world import World
from vmferry.resources.base import format_time

POLICY = Policy(host_down_for=timedelta(seconds=30))
SECOND = timedelta(seconds=1)


def cloud(*, dead: bool = False, vm_state: str = "active") -> LittleCloud:
    """web-1 on cmp1, which may be dead for two minutes."""
    made = LittleCloud()
    for host in ("cmp1", "cmp2", "cmp3"):
        made.add_host(host)
    if dead:
        kill(made, "cmp1", silent=120)
    made.add_server("cmp1", vm_state=vm_state)
    return made


def kill(made: LittleCloud, host: str, silent: float = 0) -> None:
    made.set_service(host, up=False, last_seen=made.now - timedelta(seconds=silent))


def request(made: LittleCloud, spec: dict[str, Any], *, created: float = 0, policy: Policy = POLICY) -> Life:
    """Made `created` seconds ago."""
    life = Life(made, spec, policy)
    life.body["metadata"]["creationTimestamp"] = format_time(made.now - timedelta(seconds=created))
    return life


def evacuation(made: LittleCloud, more: dict[str, Any] | None = None, *, created: float = 0) -> Life:
    return request(made, {"type": "Evacuate", **(more or {})}, created=created)


def moves_to(made: LittleCloud, host: str) -> None:
    made.servers[SERVER] = replace(made.servers[SERVER], host=host)


def acts(made: LittleCloud, action: str, ago: float) -> None:
    """Nova's record of what somebody asked of the server."""
    made._about[f"req-{action}"] = SERVER
    started = made.now - timedelta(seconds=ago)
    made.actions.append(InstanceAction(f"req-{action}", action, None, "somebody", started_at=started))


def ended(life: Life) -> tuple[str | None, str]:
    """The phase, and the reason with its message."""
    ready = life.status.condition("Ready")
    return life.status.phase, f"{ready.reason}: {ready.message}" if ready else ""


# ---- I38: an attestation is about one host and one moment


def at_a_host_that_is_up() -> Life:
    return evacuation(cloud())


def at_a_host_that_another_source_hears_of() -> Life:
    made = cloud(dead=True)
    host = made.hosts["cmp1"]
    made.hosts["cmp1"] = replace(host, facts=replace(host.facts, responding=(Fact(True, "resource manager"),)))
    return evacuation(made)


def and_the_server_is_elsewhere_by_then() -> Life:
    life = evacuation(cloud(dead=True), {"paused": True})
    life.one_pass()
    moves_to(life.cloud, "cmp2")
    kill(life.cloud, "cmp2", silent=300)
    life.body["spec"]["paused"] = False
    return life


def and_its_host_comes_back_and_dies_again() -> Life:
    life = evacuation(cloud(dead=True), {"paused": True})
    life.one_pass()
    life.cloud.now += timedelta(minutes=10)
    kill(life.cloud, "cmp1", silent=60)
    life.body["spec"]["paused"] = False
    return life


def and_a_failed_attempt_has_left_it_on_the_target() -> Life:
    life = evacuation(cloud(dead=True))
    life.one_pass()
    record = life.cloud.migrations[0]
    life.cloud.migrations[0] = replace(record, status="error")
    broken = {"host": "cmp2", "vm_state": "error", "status": "ERROR", "task_state": None}
    life.cloud.servers[SERVER] = replace(life.cloud.servers[SERVER], **broken)  # type: ignore[arg-type]
    kill(life.cloud, "cmp2", silent=300)
    return life


def and_another_host_is_named() -> Life:
    return evacuation(cloud(dead=True), {"attestation": {"host": "cmp2"}})


def and_an_unknown_host_is_named() -> Life:
    return evacuation(cloud(dead=True), {"attestation": {"host": "nope"}})


def and_the_named_time_has_not_come() -> Life:
    at = format_time(START + timedelta(hours=1))
    return evacuation(cloud(dead=True), {"attestation": {"host": "cmp1", "at": at}})


def and_the_host_reported_after_the_named_time() -> Life:
    at = format_time(START - timedelta(hours=1))
    return evacuation(cloud(dead=True), {"attestation": {"host": "cmp1", "at": at}})


def of_a_server_on_no_host() -> Life:
    made = cloud(dead=True)
    made.servers[SERVER] = replace(made.servers[SERVER], host=None, vm_state="shelved_offloaded")
    return evacuation(made)


def of_a_name_that_no_server_has() -> Life:
    return evacuation(cloud(dead=True), {"server": {"name": "nope", "project": "shop"}})


def that_nobody_saw_for_an_hour_in_which_it_was_moved() -> Life:
    made = cloud(dead=True)
    acts(made, "evacuate", ago=1800)
    return evacuation(made, created=3600)


def that_nobody_saw_for_an_hour_and_whose_host_died_meanwhile() -> Life:
    return evacuation(cloud(dead=True), created=3600)


def that_was_a_live_migration_and_is_edited_after_it_was_moved() -> Life:
    made = cloud()
    made.servers[SERVER] = replace(made.servers[SERVER], locked=True)
    life = request(made, {"type": "Live"})
    life.one_pass()
    moves_to(made, "cmp2")
    kill(made, "cmp2", silent=300)
    life.body["spec"]["type"] = "Evacuate"
    life.body["metadata"]["generation"] = 2
    return life


CONTRADICTED: dict[Callable[[], Life], str] = {
    at_a_host_that_is_up: "cmp1 is not dead: its compute service is up",
    at_a_host_that_another_source_hears_of: "it responds, according to resource manager",
    and_the_server_is_elsewhere_by_then: "attests that cmp1 is dead, and the server is on cmp2",
    and_its_host_comes_back_and_dies_again: "reported after that",
    and_a_failed_attempt_has_left_it_on_the_target: "attests that cmp1 is dead, and the server is on cmp2",
    and_another_host_is_named: "attests that cmp2 is dead, and the server is on cmp1",
    and_an_unknown_host_is_named: "attests that nope is dead",
    and_the_named_time_has_not_come: "spec.attestation.at is in the future",
    and_the_host_reported_after_the_named_time: "reported after that",
    of_a_server_on_no_host: "the server is on no host",
    that_nobody_saw_for_an_hour_in_which_it_was_moved: "may have been on another host",
    that_nobody_saw_for_an_hour_and_whose_host_died_meanwhile: "reported after that",
    that_was_a_live_migration_and_is_edited_after_it_was_moved: "was on cmp1 when it was last checked",
}


@pytest.mark.parametrize("make", CONTRADICTED, ids=lambda f: f.__name__)
def test_I38_an_evacuation_ends_that_was_asked_for(make: Callable[[], Life]) -> None:
    life = make()
    asked = len(life.cloud.migrations)
    life.run(120)
    phase, words = ended(life)
    assert phase == "Failed" and words.startswith("HostNotFailed: "), words
    assert CONTRADICTED[make] in words
    assert life.over and len(life.cloud.migrations) == asked, "nothing was evacuated"


def test_I38_an_evacuation_of_a_name_that_no_server_has_attests_nothing() -> None:
    life = of_a_name_that_no_server_has()
    life.run(60)
    assert ended(life)[0] == "Failed" and "attests no host" in ended(life)[1]


def test_I38_a_refused_evacuation_is_no_standing_attestation_for_the_next_host() -> None:
    """The newcomer's story: a typo on a living host, then a live migration, then the other host's service stops."""
    life = evacuation(cloud())
    life.one_pass()
    other = request(life.cloud, {"type": "Live", "target": {"host": "cmp2"}})
    other.run()
    assert other.status.phase == "Succeeded"
    life.cloud.pass_time(17 * SECOND)
    kill(life.cloud, "cmp2")
    life.cloud.now += timedelta(minutes=5)
    life.one_pass()
    assert [kind for _, kind, _ in life.cloud.moved] == ["live-migration"]


def long_dead(made: LittleCloud, action: str, ago: float) -> None:
    kill(made, "cmp1", silent=7200)
    acts(made, action, ago)


STILL_GOOD: dict[str, tuple[Callable[[LittleCloud], None], dict[str, Any], float]] = {
    "the host was dead before the request": (lambda made: None, {}, 0),
    "nobody saw it for an hour, and nothing has changed since": (
        lambda made: kill(made, "cmp1", silent=7200),
        {},
        3600,
    ),
    "nobody saw it for an hour in which the server was rebooted": (
        lambda made: long_dead(made, "reboot", ago=1800),
        {},
        3600,
    ),
    "it was moved there before the request": (
        lambda made: long_dead(made, "live-migration", ago=7300),
        {},
        3600,
    ),
    "the host is named, and nobody saw it for an hour in which the server was moved there": (
        lambda made: long_dead(made, "evacuate", ago=1800),
        {"attestation": {"host": "cmp1", "by": "on-call"}},
        3600,
    ),
    "the host is named by its hypervisor's UUID": (lambda made: None, {"attestation": {"host": "h-cmp1"}}, 0),
    "the clocks of Kubernetes and the cloud differ by half a minute": (
        lambda made: kill(made, "cmp1", silent=30),
        {},
        50,
    ),
}


@pytest.mark.parametrize("sentence", STILL_GOOD)
def test_I38_an_attestation_holds_when(sentence: str) -> None:
    change, more, created = STILL_GOOD[sentence]
    made = cloud(dead=True)
    change(made)
    life = evacuation(made, more, created=created)
    decision = life.look()
    assert decision.action == Evacuate(SERVER, "cmp2", start=True)
    assert decision.status.attestation is not None and decision.status.attestation.host == "cmp1"


def test_I38_the_attestation_is_kept_over_a_restart_and_while_the_view_is_stale() -> None:
    life = evacuation(cloud(dead=True), {"paused": True})
    life.one_pass()
    before = life.status.attestation
    assert before is not None and before.host == "cmp1"
    life.cloud.now += timedelta(minutes=3)
    old = replace(life.cloud.snapshot(), read_at=dict.fromkeys(Part, START), trouble="down")
    assert life.look(World(old)).status.attestation == before
    assert life.one_pass().status.attestation == before


def test_I38_a_stale_view_freezes_no_host() -> None:
    life = evacuation(cloud(dead=True))
    old = replace(life.cloud.snapshot(), read_at=dict.fromkeys(Part, START - timedelta(hours=1)), trouble="down")
    assert life.look(World(old)).status.attestation is None


def test_I38_a_preflight_attests_nothing_for_later() -> None:
    life = evacuation(cloud(dead=True), {"preflightOnly": True})
    life.one_pass()
    assert life.condition("Ready") == ("True", "PreflightPassed") and life.status.attestation is None
    moves_to(life.cloud, "cmp2")
    life.one_pass()
    assert life.condition("Ready") == ("False", "HostNotFailed") and life.status.completed_at is None
    life.body["spec"]["preflightOnly"] = False
    life.cloud.now += timedelta(seconds=5)
    life.one_pass()
    life.cloud.now += timedelta(seconds=5)
    life.one_pass()
    assert ended(life)[0] == "Failed", "cmp2 is up"


def test_I38_a_view_that_is_older_than_the_request_ends_no_request() -> None:
    """A host dies, somebody attests it at once, and the operator's view of the services is still the one before."""
    life = evacuation(cloud())
    before = life.cloud.snapshot()
    for _ in range(3):
        decision = life.look(World(before))
        assert decision.status.completed_at is None and decision.action is None
        assert [one.reason for one in decision.status.conditions if one.type == "Ready"] == ["CloudViewStale"]
        # no time that passes makes the old view newer
        life.cloud.now += timedelta(seconds=5)
    life.one_pass()
    assert ended(life)[0] == "Failed", "a newer view shows that the host is alive"


def test_I38_auto_attests_nothing_and_may_wait_for_a_mark() -> None:
    life = request(cloud(dead=True), {})
    life.one_pass()
    assert life.status.phase == "Blocked" and life.status.attestation is None
    life.cloud.set_service("cmp1", forced_down=True)
    life.run()
    assert life.status.phase == "Succeeded"


# ---- I39: requests end


def locked(made: LittleCloud) -> None:
    made.servers[SERVER] = replace(made.servers[SERVER], locked=True, locked_reason="payroll run")


def stops_everything(life: Life) -> World:
    return World(replace(life.cloud.snapshot(), read_at=dict.fromkeys(Part, START), trouble="401 from Keystone"))


EXPIRES: dict[str, tuple[dict[str, Any], str]] = {
    "blocked": ({"type": "Live"}, "locked: payroll run"),
    "paused": ({"paused": True, "stopIfRunning": True, "type": "Cold"}, "payroll run"),
    "for a name that never came": ({"server": {"name": "nope", "project": "shop"}}, "no server is named nope"),
    "for a host that never came": ({"target": {"host": "nope"}}, "no host nope"),
}


@pytest.mark.parametrize("sentence", EXPIRES)
@pytest.mark.parametrize("by", ["startBefore", "expireAfter"])
def test_I39_a_request_expires_that_waits(sentence: str, by: str) -> None:
    spec, words = EXPIRES[sentence]
    made = cloud()
    locked(made)
    more = {"startBefore": format_time(START + timedelta(hours=1))} if by == "startBefore" else {}
    life = request(made, {**spec, **more}, policy=replace(POLICY, expire_after=timedelta(hours=1)))
    life.one_pass()
    made.now = START + timedelta(minutes=59, seconds=59)
    life.one_pass()
    assert life.status.completed_at is None
    made.now += SECOND
    decision = life.one_pass()
    phase, told = ended(life)
    assert phase == "Failed" and told.startswith("Expired: it did not start before 2026-01-01T13:00:00Z"), told
    assert by in told and words in told
    assert [event.reason for event in decision.events] == ["Expired"]
    made.servers[SERVER] = replace(made.servers[SERVER], locked=False)
    life.body["spec"]["paused"] = False
    life.one_pass()
    assert made.migrations == [] and made.actions == [], "what blocked it is gone, and it stays ended"


def test_I39_a_request_expires_while_the_view_is_stale() -> None:
    life = request(cloud(), {"startBefore": format_time(START + SECOND)})
    life.look(stops_everything(life))
    life.cloud.now = START + timedelta(hours=1)
    status = life.look(stops_everything(life)).status
    assert (status.phase, status.completed_at) == ("Failed", life.cloud.now)


def test_I39_a_request_whose_time_is_past_starts_nothing() -> None:
    life = request(cloud(), {"startBefore": format_time(START - SECOND)})
    decision = life.look()
    assert decision.action is None and decision.status.phase == "Failed"


def test_I39_no_further_attempt_starts_after_its_time() -> None:
    made = cloud()
    made.bad_targets = {"cmp2"}
    life = request(made, {"type": "Live", "startBefore": format_time(START + 5 * SECOND)})
    life.run()
    phase, told = ended(life)
    assert phase == "Failed" and "no further attempt started before" in told
    assert len(made.migrations) == 1


def test_I39_what_has_begun_runs_to_its_end() -> None:
    life = request(cloud(), {"type": "Cold", "stopIfRunning": True, "startBefore": format_time(START + 5 * SECOND)})
    life.run()
    assert life.status.phase == "Succeeded" and life.cloud.servers[SERVER].vm_state == "active"


def made_by_a_maintenance(life: Life) -> None:
    owner = life.api.create("HostMaintenance", {"metadata": {"name": "cmp1"}, "spec": {"host": "cmp1"}})
    reference = {"kind": "HostMaintenance", "name": "cmp1", "uid": owner["metadata"]["uid"], "controller": True}
    life.body["metadata"]["ownerReferences"] = [reference]


KEPT: dict[str, Callable[[Life], None]] = {
    "a HostMaintenance made it": made_by_a_maintenance,
    "it only checks": lambda life: life.body["spec"].update(preflightOnly=True),
}


@pytest.mark.parametrize("sentence", KEPT)
def test_I39_a_request_does_not_expire_when(sentence: str) -> None:
    made = cloud()
    locked(made)
    life = request(made, {"type": "Live"})
    KEPT[sentence](life)
    life.one_pass()
    made.now += timedelta(days=9)
    life.one_pass()
    assert life.status.phase == "Blocked" and life.status.completed_at is None


def test_I39_expiry_may_be_switched_off() -> None:
    made = cloud()
    locked(made)
    life = request(made, {"type": "Live"}, policy=replace(POLICY, expire_after=timedelta()))
    life.one_pass()
    made.now += timedelta(days=99)
    life.one_pass()
    assert life.status.phase == "Blocked"


def test_I39_the_time_of_a_preflight_does_not_count() -> None:
    life = request(cloud(), {"preflightOnly": True})
    life.one_pass()
    life.cloud.now += timedelta(days=3)
    life.cloud.pass_time(SECOND)
    life.body["spec"]["preflightOnly"] = False
    life.run()
    assert life.status.phase == "Succeeded"


def test_I39_the_time_in_which_no_operator_was_there_counts() -> None:
    life = request(cloud(), {}, created=25 * 3600)
    life.one_pass()
    assert ended(life)[1].startswith("Expired: ") and life.cloud.migrations == []


def test_I39_requests_from_before_an_upgrade_have_their_time_from_then_on() -> None:
    made = cloud()
    locked(made)
    life = request(made, {"type": "Live"}, created=99 * 3600, policy=replace(POLICY, expire_after=timedelta()))
    life.one_pass()
    del life.body["status"]["requestedAt"]
    life.policy = POLICY
    life.one_pass()
    assert life.status.phase == "Blocked" and life.status.requested_at == made.now


def test_an_id_that_nova_does_not_know_fails_and_a_name_may_still_come() -> None:
    made = cloud()
    life = request(made, {"server": {"id": SERVER[:-1] + "9"}})
    life.run(60)
    assert ended(life) == ("Failed", f"ServerNotFound: the cloud has no server {SERVER[:-1]}9")
    waiting = request(made, {"server": {"name": "web-2", "project": "shop"}})
    waiting.one_pass()
    assert waiting.status.phase == "Blocked"
    made.add_server("cmp1", id=SERVER[:-1] + "2", name="web-2")
    assert waiting.look().action == LiveMigrate(SERVER[:-1] + "2", "cmp2")


# ---- a server that was stopped for its move is not kept off


def stopped_for_its_move() -> Life:
    life = request(cloud(), {"type": "Cold", "stopIfRunning": True})
    life.one_pass()
    life.cloud.pass_time(life.policy.record_grace)
    assert life.cloud.servers[SERVER].vm_state == "stopped"
    return life


def pauses(life: Life) -> None:
    life.body["spec"]["paused"] = True


def locks(life: Life) -> None:
    locked(life.cloud)


def loses_its_targets(life: Life) -> None:
    for host in ("cmp2", "cmp3"):
        life.cloud.set_service(host, enabled=False)


@pytest.mark.parametrize("change", [locks, loses_its_targets], ids=lambda f: f.__name__)
def test_a_server_that_was_stopped_for_a_move_that_is_blocked_since_is_started_again_at_once(
    change: Callable[[Life], None],
) -> None:
    life = stopped_for_its_move()
    change(life)
    life.run(60)
    assert life.cloud.servers[SERVER].vm_state == "active" and life.cloud.moved == []
    assert life.status.phase == "Blocked" and life.status.graceful_stop is None


def test_a_server_that_was_stopped_for_its_move_is_started_again_if_somebody_pauses_that() -> None:
    waits, ends = "Paused", "Conflict"
    life = stopped_for_its_move()
    pauses(life)
    life.one_pass()
    off = life.cloud.now
    assert life.condition("Ready") == ("False", waits) and life.condition("Stalled") == ("True", waits)
    ready = life.status.condition("Ready")
    assert ready is not None and "the server is off for this move since 2026-01-01T12:00:20Z" in ready.message
    while life.status.completed_at is None:
        life.one_pass()
        life.cloud.pass_time(2 * SECOND)
        assert life.cloud.now - off < life.policy.stop_timeout + timedelta(minutes=1), "it is off without an end"
    assert life.cloud.servers[SERVER].vm_state == "active" and life.cloud.moved == []
    assert life.over and life.condition("Succeeded") == ("False", ends)
    assert "did not start within 5m after the server was stopped" in ended(life)[1]


@pytest.mark.parametrize("then", ["unpaused", "deleted"])
def test_a_pause_that_ends_in_time_does_no_harm(then: str) -> None:
    life = stopped_for_its_move()
    pauses(life)
    life.one_pass()
    life.cloud.pass_time(life.policy.stop_timeout / 2)
    if then == "deleted":
        life.delete()
    else:
        life.body["spec"]["paused"] = False
    life.run()
    assert life.cloud.servers[SERVER].vm_state == "active"
    assert len(life.cloud.moved) == (then == "unpaused")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_any_effect_a_server_that_was_off_for_too_long_is_started_again(after: bool) -> None:
    point = 0
    while True:
        point += 1
        life = stopped_for_its_move()
        pauses(life)
        life.effects, life.crash_at, life.crash_after = 0, point, after
        life.run(1200)
        where = f"killed {'after' if after else 'before'} effect {point}\n" + "\n".join(life.log)
        assert life.over and life.status.phase == "Failed", where
        assert life.cloud.servers[SERVER].vm_state == "active" and not life.cloud.moved, where
        if life.effects < point:
            return


# ---- Nova's own queue is not our deadline


def queued(life: Life, status: str) -> None:
    life.cloud.never_ends = True
    life.cloud.migrations[0] = replace(life.cloud.migrations[0], status=status)


@pytest.mark.parametrize("status", ["accepted", "queued", "preparing"])
@pytest.mark.parametrize("on_timeout", ["Abort", "ForceComplete"])
def test_what_waits_in_nova_is_not_aborted_and_its_deadline_counts_from_running(status: str, on_timeout: str) -> None:
    life = request(cloud(), {"type": "Live", "timeout": "20s", "onTimeout": on_timeout, "retries": 0})
    life.one_pass()
    queued(life, status)
    for _ in range(100):
        life.cloud.now += 5 * SECOND
        assert life.one_pass().action is None
    attempt = life.status.open_attempt
    assert attempt is not None and (attempt.state, attempt.running_since) == (status.capitalize(), None)
    assert life.condition("Reconciling") == ("True", "Migrating")
    queued(life, "running")
    life.one_pass()
    running = life.status.open_attempt
    assert running is not None and running.running_since == life.cloud.now
    life.cloud.now += 19 * SECOND
    assert life.one_pass().action is None
    life.cloud.now += SECOND
    assert life.one_pass().action is not None


def test_what_waits_in_nova_for_long_is_reported_and_goes_on_by_itself() -> None:
    life = request(cloud(), {"type": "Live"})
    life.one_pass()
    queued(life, "queued")
    life.cloud.now += life.policy.stuck_after
    assert life.one_pass().action is None
    assert life.condition("Stalled") == ("True", "WaitingForNova")
    ready = life.status.condition("Ready")
    assert ready is not None and "max_concurrent_live_migrations" in ready.message
    life.cloud.never_ends = False
    life.run()
    assert life.status.phase == "Succeeded" and len(life.cloud.migrations) == 1


def test_I9_a_person_who_deletes_a_queued_one_has_it_aborted() -> None:
    life = request(cloud(), {"type": "Live"})
    life.one_pass()
    queued(life, "queued")
    life.delete()
    life.run(60)
    assert [m.status for m in life.cloud.migrations] == ["cancelled"] and life.gone


def test_a_cold_migration_that_waits_for_its_compute_is_not_late() -> None:
    life = request(cloud(vm_state="stopped"), {"type": "Cold", "timeout": "20s"})
    life.one_pass()
    queued(life, "pre-migrating")
    life.cloud.now += timedelta(minutes=5)
    life.one_pass()
    ready = life.status.condition("Ready")
    assert ready is not None and "over its deadline" not in ready.message
