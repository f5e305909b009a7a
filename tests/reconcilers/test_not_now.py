"""The cloud says "not now" (I40): no attempt is used up, no host is blamed, and it is asked again after the pause."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from testbed.lifecycle.drains import Drain, a_cloud, where
from testbed.lifecycle.life import Life
from testbed.lifecycle.little_cloud import SERVER, LittleCloud
from vmferry.cloud.actions import Accepted, DisableService, EnableService, LiveMigrate, NotNow, StopServer
from vmferry.reconcilers.maintenance import outcome as maintenance_outcome
from vmferry.reconcilers.migration.ended_attempts import ended_attempts
from vmferry.reconcilers.migration.outcome import record_outcome
from vmferry.resources.hostmaintenance import Cordon, HostMaintenance

LIMIT = NotNow("HTTP 429: Too many requests", 30.0, "req-1")


def cloud(**over: Any) -> LittleCloud:
    made = LittleCloud()
    for host in ("cmp1", "cmp2", "cmp3"):
        made.add_host(host)
    made.add_server("cmp1", **over)
    return made


def limited(times: int, **over: Any) -> LittleCloud:
    made = cloud(**over)
    made.answers = [LIMIT] * times
    return made


@pytest.mark.parametrize("spec", [{"retries": 0}, {"retries": 0, "target": {"host": "cmp2"}}], ids=["free", "named"])
@pytest.mark.parametrize("times", [1, 12, 40])
def test_a_migration_outlasts_a_rate_limit(times: int, spec: dict[str, object]) -> None:
    life = Life(limited(times), spec)
    first = life.look().action
    assert life.run(seconds=3600).phase == "Succeeded"
    assert [(one.number, one.state, one.target_host) for one in life.status.attempts] == [(1, "Completed", "cmp2")]
    assert isinstance(first, LiveMigrate)
    assert first.target_host == "cmp2", "the host is not blamed: it is the same one"


def test_the_pause_that_the_cloud_names_is_kept_and_shown() -> None:
    life = Life(limited(1))
    life.one_pass()
    attempt = life.status.attempts[-1]
    assert (attempt.state, attempt.retry_at) == ("NotNow", life.cloud.now + timedelta(seconds=30))
    told = "Warning NotNow: not now: HTTP 429: Too many requests (request req-1)"
    assert any(told in line for line in life.log), life.log
    asked = life.cloud.now
    while life.look().action is None:
        assert life.one_pass().action is None
        assert life.condition("Reconciling") == ("True", "NotNow")
        ready = life.status.condition("Ready")
        assert ready is not None
        assert "Too many requests" in ready.message
        life.cloud.pass_time(timedelta(seconds=1))
    assert life.cloud.now - asked >= timedelta(seconds=30)


def test_a_clock_that_was_set_back_makes_the_pause_no_longer() -> None:
    life = Life(limited(1))
    life.one_pass()
    life.cloud.now -= timedelta(hours=5)
    assert life.run(seconds=600).phase == "Succeeded"


def test_the_time_for_a_graceful_shutdown_begins_when_nova_accepts_the_request() -> None:
    """A limit that lasts longer than `policy.stopTimeout` is not the server's failure."""
    life = Life(limited(30), {"type": "Cold", "stopIfRunning": True})
    assert life.run(seconds=6 * 3600).phase == "Succeeded"


@pytest.mark.parametrize("action", [StopServer(SERVER), LiveMigrate(SERVER, "cmp2")])
def test_an_outcome_without_anything_to_write_it_into_is_harmless(action: StopServer | LiveMigrate) -> None:
    life = Life(cloud())
    status, _ = record_outcome(life.obj, action, LIMIT, life.cloud.now)
    assert status == life.status


def test_a_drain_outlasts_a_rate_limit_of_its_moves() -> None:
    drain = Drain(a_cloud("web-1", "web-2", "web-3", "web-4"))
    drain.switch()
    drain.run(lambda: bool(drain.migrations))
    drain.cloud.answers = [LIMIT] * 24
    drain.in_maintenance(seconds=7200)
    assert "cmp1" not in where(drain.cloud).values()
    assert not [line for line in drain.log if "CloudRefused" in line or "Failed" in line], drain.story()


def test_a_cordon_and_its_end_outlast_a_rate_limit_and_say_so() -> None:
    drain = Drain(a_cloud("web-1"))
    drain.cloud.answers = [LIMIT] * 3
    drain.switch()
    drain.run(lambda: drain.condition("cmp1", "Cordoned") == ("False", "NotNow"))
    assert any("NotCordoned" in line and "429" in line for line in drain.log), drain.story()
    drain.run(lambda: drain.condition("cmp1", "Reconciling") == ("True", "NotNow"))
    assert not drain.cloud.hosts["cmp1"].service.disabled_reason
    drain.in_maintenance()
    drain.cloud.answers = [LIMIT] * 3
    drain.switch("cmp1", enabled=False)
    drain.run(lambda: drain.condition("cmp1", "Cordoned") == ("True", "NotNow"))
    drain.released()
    assert drain.cloud.hosts["cmp1"].service.enabled


@pytest.mark.parametrize("action", [DisableService("7", "cmp1", "ours"), EnableService("7", "cmp1")])
def test_a_request_of_a_host_that_is_accepted_afterwards_is_not_limited_any_more(
    action: DisableService | EnableService,
) -> None:
    drain = Drain(a_cloud("web-1"))
    drain.switch()
    obj = HostMaintenance.read(drain.maintenances["cmp1"])
    obj.status.cordon = Cordon(service_id="7", disabled_reason="ours", requested_at=drain.cloud.now)
    obj.status, _ = maintenance_outcome.record_outcome(obj, action, LIMIT, drain.cloud.now)
    cordoned = obj.status.condition("Cordoned")
    assert cordoned is not None
    assert cordoned.reason == "NotNow"
    status, _ = maintenance_outcome.record_outcome(obj, action, Accepted("req-2"), drain.cloud.now)
    cordoned = status.condition("Cordoned")
    assert cordoned is not None
    assert cordoned.reason in ("Cordoning", "Uncordoning")


def test_a_rate_limit_opens_no_breaker() -> None:
    life = Life(limited(1))
    life.one_pass()
    assert life.status.attempts[-1].ended_at is not None
    assert ended_attempts(life.obj) == ()
