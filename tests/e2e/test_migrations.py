"""The main paths of a VMMigration, on both clouds, with real kubectl."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import yaml

from testbed.processes import wait_for
from tests.e2e.conftest import PATIENCE, Player, manifest


def test_R1_live_to_a_named_host_with_progress(player: Player) -> None:
    server = player.boot("cmp1")
    player.bed.cloud.knob("cmp1", live_seconds=8)
    name = player.apply(server, type="Live", target={"host": "cmp2"})
    seen = player.wait(name, "showing progress", lambda s: 0 < s.get("progress", {}).get("percent", 0) < 100)
    assert seen["progress"]["memoryRemainingBytes"] > 0
    player.kubectl("wait", "--for=condition=Succeeded", f"vmm/{name}", "--timeout=240s")
    status = player.finished(name)
    assert (status["sourceHost"], status["targetHost"]) == ("cmp1", "cmp2")
    assert player.tenant.host_of(server) == "cmp2"
    assert player.records(server) == [("live-migration", "completed")]
    attempt = status["attempts"][0]
    assert attempt["requestID"].startswith("req-")
    assert (attempt["sourceHost"], attempt["targetHost"], attempt["state"]) == ("cmp1", "cmp2", "Completed")
    events = player.kubectl("get", "events", "--field-selector", f"involvedObject.name={name}", "-o", "name")
    assert len(events.split()) >= 3, "I33: every decision leaves an Event"
    # the finalizer is removed after the last status
    wait_for(lambda: "finalizers" not in player.get(name)["metadata"], PATIENCE, "the finalizer to be removed")


def test_R8_live_without_a_target_lists_the_eligible_ones_and_picks_the_best(player: Player) -> None:
    server = player.boot("cmp3")
    name = player.apply(server)
    status = player.finished(name)
    assert status["type"] == "Live"
    assert status["targetHost"] == status["eligibleTargets"][0]["host"] == player.tenant.host_of(server)
    assert status["eligibleTargets"][0]["rank"] == 1
    (out,) = status["ineligibleTargets"]
    assert (out["reason"], out["hosts"], out["example"]) == ("OSMismatch", 1, "cmp4")


def test_R5_cold_of_a_powered_off_server_stays_powered_off_and_is_confirmed(player: Player) -> None:
    server = player.boot("cmp1")
    player.tenant.stop(server)
    name = player.apply(server, type="Cold")
    player.finished(name)
    moved = player.tenant.server(server)
    assert moved is not None
    assert moved["OS-EXT-SRV-ATTR:host"] != "cmp1"
    assert moved["status"] == "SHUTOFF"
    assert player.records(server) == [("migration", "confirmed")]


def test_R5_cold_of_a_running_server_stops_it_and_starts_it_again(player: Player) -> None:
    server = player.boot("cmp1")
    refused = player.apply(server, type="Cold")
    assert "needs it stopped" in yaml.safe_dump(player.blocked(refused)["prerequisites"], width=1000)
    name = player.apply(server, type="Cold", stopIfRunning=True, target={"host": "cmp2"})
    player.finished(name)
    moved = player.tenant.server(server)
    assert moved is not None
    assert (moved["OS-EXT-SRV-ATTR:host"], moved["status"]) == ("cmp2", "ACTIVE")


def test_R6_I38_evacuation_after_the_death_of_a_host_and_not_by_an_attestation_from_before(player: Player) -> None:
    server = player.boot("cmp3")
    mistaken = player.apply(server, type="Evacuate")
    assert "cmp3 is not dead" in yaml.safe_dump(player.finished(mistaken, "Failed")["conditions"], width=1000)
    try:
        player.bed.cloud.kill_compute("cmp3")
        asked_first = player.apply(server, type="Evacuate", preflightOnly=True)
        player.wait(asked_first, "that the host is seen to be dead", lambda s: s.get("phase") == "Checked")
        assert player.records(server) == [], "what was attested while it was up evacuates nothing"
        status = player.finished(player.apply(server, type="Evacuate", attestation={"host": "cmp3", "by": "on-call"}))
        assert status["attempts"][0]["type"] == "Evacuate" and status["attestation"]["host"] == "cmp3"
        assert player.tenant.host_of(server) not in (None, "cmp3")
        assert len(player.records(server)) == 1
    finally:
        player.bed.cloud.start_compute("cmp3")


def test_I39_a_request_ends_when_its_time_is_over(player: Player) -> None:
    server = player.boot("cmp1")
    until = (datetime.now(UTC) + timedelta(seconds=10)).strftime("%Y-%m-%dT%H:%M:%SZ")
    name = player.apply(server, type="Live", paused=True, startBefore=until)
    status = player.finished(name, "Failed")
    assert [one["reason"] for one in status["conditions"] if one["type"] == "Ready"] == ["Expired"]
    assert player.records(server) == []


def test_R12_a_target_without_what_the_guest_uses_is_refused_before(player: Player) -> None:
    server = player.boot("cmp1")
    name = player.apply(server, type="Live", target={"host": "cmp3"})
    cpu = {p["name"]: p for p in player.blocked(name)["prerequisites"]}["CPUModel"]
    assert (cpu["result"], cpu["reason"], cpu["host"]) == ("Failed", "CPUIncompatible", "cmp3")
    assert player.records(server) == []


def test_R20_a_failed_pre_check_shows_novas_own_words_and_the_request_id(player: Player) -> None:
    """The configuration says, wrongly, that all guests see one CPU: only Nova finds out."""
    server = player.boot("cmp1")
    wrong = [{"mode": "Custom", "model": "IvyBridge-IBRS", "aggregates": ["cluster1"]}]
    with player.configured(policy={"guestCPU": wrong}):
        name = player.apply(server, type="Live", target={"host": "cmp3"})
        status = player.finished(name, "Failed")
    attempt = status["attempts"][-1]
    assert "CPU doesn't have compatibility" in attempt["message"]
    assert attempt["requestID"] in attempt["message"]
    assert player.tenant.host_of(server) == "cmp1"
    (succeeded,) = [c for c in status["conditions"] if c["type"] == "Succeeded"]
    assert (succeeded["status"], succeeded["reason"]) == ("False", "CloudRefused")


def test_I9_deleting_a_running_live_migration_aborts_it(player: Player) -> None:
    server = player.boot("cmp1")
    player.bed.cloud.knob("cmp1", live_seconds=60)
    name = player.apply(server, type="Live", target={"host": "cmp2"})
    player.running(name)
    player.kubectl("delete", "vmm", name, "--timeout=240s")
    assert not player.exists(name)
    assert player.tenant.host_of(server) == "cmp1"
    ((kind, state),) = player.records(server)
    assert kind == "live-migration"
    assert state in ("cancelled", "error")


def test_R9_all_that_is_missing_is_told_at_once(player: Player) -> None:
    server = player.boot("cmp4")
    player.tenant.lock(server, "monthly audit")
    name = player.apply(server, type="Cold", target={"host": "cmp1"})
    status = player.blocked(name)
    failed = {p["name"] for p in status["prerequisites"] if p["result"] == "Failed"}
    assert failed == {"PowerState", "ServerLock", "OperatingSystem", "HypervisorVersion"}
    assert all(p["remedy"] for p in status["prerequisites"] if p["result"] == "Failed")
    assert player.records(server) == []


def test_I3_killed_while_a_live_migration_runs_it_ends_with_one_migration(player: Player) -> None:
    server = player.boot("cmp1")
    player.bed.cloud.knob("cmp1", live_seconds=12)
    name = player.apply(server, type="Live", target={"host": "cmp2"})
    player.running(name)
    player.bed.kill_operator()
    player.bed.start_operator()
    status = player.finished(name)
    assert player.records(server) == [("live-migration", "completed")]
    assert len(status["attempts"]) == 1


def test_a_deadline_aborts_and_says_so(player: Player) -> None:
    server = player.boot("cmp1")
    player.bed.cloud.knob("cmp1", live_seconds=4, never_converge=True)
    name = player.apply(server, type="Live", target={"host": "cmp2"}, timeout="8s")
    status = player.finished(name, "Failed")
    assert "deadline" in status["attempts"][0]["message"]
    assert player.tenant.host_of(server) == "cmp1"


def test_a_deadline_forces_completion_where_asked(player: Player) -> None:
    server = player.boot("cmp1")
    player.bed.cloud.knob("cmp1", live_seconds=4, never_converge=True)
    name = player.apply(server, type="Live", target={"host": "cmp2"}, timeout="8s", onTimeout="ForceComplete")
    player.finished(name)
    assert player.tenant.host_of(server) == "cmp2"


def test_R34_applying_the_same_manifest_twice_changes_nothing(player: Player) -> None:
    server = player.boot("cmp1")
    name = player.apply(server, type="Live", target={"host": "cmp2"})
    player.finished(name)
    text = yaml.safe_dump(manifest(name, player.namespace, server, type="Live", target={"host": "cmp2"}))
    before = player.get(name)
    assert "unchanged" in player.kubectl("apply", "-f", "-", input=text)
    assert player.kubectl("diff", "-f", "-", input=text) == ""
    assert player.get(name)["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    refused = player.kubectl(
        "patch", "vmm", name, "--type=merge", "-p", '{"spec":{"target":{"host":"cmp1"}}}', check=False
    )
    assert "the migration has started" in refused


def test_R35_unknown_servers_projects_and_hosts_are_told(player: Player) -> None:
    server = player.boot("cmp1")
    unknown = player.apply("00000000-0000-4000-8000-000000000000")
    status = player.wait(unknown, "failed: no server ever gets an id again", lambda s: s.get("phase") == "Failed")
    assert {one["reason"] for one in status["conditions"] if one["type"] == "Succeeded"} == {"ServerNotFound"}
    host = player.apply(server, target={"host": "nope"})
    prerequisites = {p["name"]: p for p in player.blocked(host)["prerequisites"]}
    assert prerequisites["TargetHost"]["reason"] == "HostNotFound"
