"""The breaker in whole lives (I37, R46): a cause that is common to a host or to the cloud costs one or two servers."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from testbed.build import ident
from testbed.lifecycle.control_plane import POLICY
from testbed.lifecycle.drains import Drain, a_cloud, add
from vmferry.cloud.actions import NotNow, Refused
from vmferry.policy import Breaker, Limits
from vmferry.reconcilers.breaker_resume import Marks
from vmferry.resources.hostmaintenance import HostMaintenance
from vmferry.resources.vmmigration import VMMigration
from vmferry.resources.words import MaintenancePhase, Phase

RULES = replace(POLICY, limits=Limits(per_source=2, per_target=2, total=10))
PAUSE = RULES.breaker.pause
NAMES = [f"web-{n:02}" for n in range(14)]


def a_drain(*names: str, policy: Any = RULES, breaking: tuple[str, ...] = ("cmp1",), **spec: Any) -> Drain:
    """Of cmp1, where every migration leaves its server in ERROR."""
    drain = Drain(a_cloud(*(names or NAMES)), policy)
    drain.cloud.breaking |= set(breaking)
    drain.apply("cmp1", **{"maxParallel": 4, **spec})
    return drain


def in_error(drain: Drain) -> int:
    return sum(server.vm_state == "error" for server in drain.cloud.servers.values())


def asked_to_stop(drain: Drain) -> int:
    return sum(action.action == "stop" for action in drain.cloud.actions)


def held(drain: Drain, name: str = "cmp1") -> bool:
    return drain.is_(name, "BreakerOpen")


def status(drain: Drain) -> Any:
    return HostMaintenance.read(drain.maintenances["cmp1"]).status


def migration(drain: Drain, name: str) -> Any:
    return VMMigration.read(drain.migrations[name]).status


def resume(drain: Drain, key: str) -> None:
    drain.resume(Marks({key: drain.cloud.now}))


def test_I37_a_live_drain_loses_two_of_fourteen_servers_and_says_why() -> None:
    drain = a_drain()
    drain.run(lambda: held(drain))
    drain.rest(120)
    assert in_error(drain) == 2
    found = status(drain)
    assert found.phase is MaintenancePhase.BLOCKED
    stalled = found.condition("Stalled")
    assert (stalled.status, stalled.reason) == ("True", "BreakerOpen")
    assert "ssh: cannot connect" in stalled.message and "kubectl ferry resume cmp1" in stalled.message
    assert sum("BreakerOpen" in line for line in drain.log if "Warning" in line) == 1


def test_I37_the_blocker_of_a_server_that_we_broke_says_so_and_links_the_run_book() -> None:
    drain = a_drain()
    drain.run(lambda: held(drain))
    blockers = status(drain).blockers
    assert len(blockers) == 2
    for blocker in blockers:
        assert "attempt 1 of VMMigration" in blocker.message and "ssh: cannot connect" in blocker.message
        assert "docs/runbooks/server-in-error-after-an-abort.md" in blocker.remedy


def test_I37_a_cold_drain_stops_no_more_servers_than_two() -> None:
    drain = a_drain(*NAMES[:6], running="ColdMigrate")
    drain.run(lambda: held(drain))
    drain.rest(120)
    assert (in_error(drain), asked_to_stop(drain)) == (2, 2)
    assert sum(server.vm_state == "active" for server in drain.cloud.servers.values()) == 4


def test_I37_one_more_in_flight_than_may_fail_is_all_that_is_lost() -> None:
    drain = a_drain(policy=replace(RULES, limits=Limits(per_source=4, per_target=4, total=10)))
    drain.run(lambda: held(drain))
    drain.rest(120)
    assert in_error(drain) == 4


def test_I37_a_server_that_turns_to_error_after_its_migration_has_ended_counts_as_well() -> None:
    """As Nova 33 has it: the record says failed, and some seconds later the server is in ERROR."""
    drain = a_drain()
    drain.cloud.late_error = 12
    drain.run(lambda: held(drain))
    drain.rest(120)
    assert in_error(drain) == 2
    assert all("attempt 1 of VMMigration" in blocker.message for blocker in status(drain).blockers)


def test_I37_with_refuse_it_is_blocked_by_the_first_server() -> None:
    drain = a_drain(onBlockers="Refuse")
    drain.run(lambda: drain.phase() == MaintenancePhase.BLOCKED)
    drain.rest(600)
    assert in_error(drain) == 2


def test_I37_a_server_that_was_stopped_for_its_move_is_started_again_when_the_breaker_opens() -> None:
    """Two break while the third is being stopped."""
    drain = a_drain("web-1", "web-2", "web-3", running="ColdMigrate", policy=replace(RULES, limits=Limits(4, 4, 10)))
    late = ident("web-3")
    drain.run(lambda: drain.cloud.servers[late].task_state == "powering-off")
    drain.cloud._due[late] += timedelta(seconds=30)
    drain.run(lambda: held(drain))
    drain.rest(120)
    assert in_error(drain) == 2
    assert drain.cloud.servers[late].vm_state == "active"
    assert drain.cloud.servers[late].host == "cmp1"


def test_I37_a_server_that_was_stopped_for_a_move_that_is_blocked_is_started_again_and_moves_later() -> None:
    drain = Drain(a_cloud("web-1"), RULES)
    drain.migrate("mine", ident("web-1"), type="Cold", stopIfRunning=True, target={"host": "cmp2"})
    drain.run(lambda: drain.cloud.servers[ident("web-1")].task_state == "powering-off")
    drain.service("cmp2", enabled=False)
    drain.run(lambda: migration(drain, "mine").phase is Phase.BLOCKED)
    drain.rest(120)
    assert drain.cloud.servers[ident("web-1")].vm_state == "active"
    assert asked_to_stop(drain) == 1
    drain.service("cmp2", enabled=True)
    drain.run(lambda: migration(drain, "mine").phase is Phase.SUCCEEDED)
    assert drain.cloud.servers[ident("web-1")].vm_state == "active"


def test_I37_one_trial_move_closes_it_once_the_cause_is_repaired() -> None:
    drain = a_drain()
    drain.run(lambda: held(drain))
    drain.cloud.breaking.clear()
    drain.rest(PAUSE.total_seconds() - 120)
    assert held(drain) and not drain.cloud.moved
    drain.run(lambda: len(drain.cloud.moved) == 12, 3600)
    assert in_error(drain) == 2
    assert sum("TrialMove" in line for line in drain.log) == 1


def test_I37_a_trial_that_fails_costs_one_server_and_doubles_the_pause() -> None:
    drain = a_drain()
    drain.run(lambda: held(drain))
    drain.run(lambda: in_error(drain) == 3, PAUSE.total_seconds() + 120)
    drain.rest(2 * PAUSE.total_seconds() - 60)
    assert in_error(drain) == 3 and held(drain)
    drain.run(lambda: in_error(drain) == 4, 240)


@pytest.mark.parametrize("key", ["cmp1", "cloud"])
def test_I37_a_person_closes_it_at_once(key: str) -> None:
    drain = a_drain()
    drain.run(lambda: held(drain))
    drain.cloud.breaking.clear()
    resume(drain, key)
    drain.run(lambda: len(drain.cloud.moved) == 12, 300)
    assert in_error(drain) == 2


def test_I37_a_person_who_closes_it_too_early_loses_two_more() -> None:
    drain = a_drain()
    drain.run(lambda: held(drain))
    resume(drain, "cmp1")
    drain.run(lambda: held(drain) and in_error(drain) > 2, 300)
    drain.rest(120)
    assert in_error(drain) == 4


def test_I37_a_restart_while_it_is_open_changes_nothing() -> None:
    drain = a_drain()
    drain.run(lambda: held(drain))
    for _ in range(3):
        drain.crash_at = drain.effects + 1
        drain.rest(60)
        drain.switch(reason=f"again {drain.effects}")
    assert in_error(drain) == 2 and held(drain)
    # the pause goes on from where it was
    drain.run(lambda: in_error(drain) == 3, PAUSE.total_seconds())


def test_I37_a_single_vmmigration_from_there_is_held_and_goes_on() -> None:
    drain = a_drain()
    drain.run(lambda: held(drain))
    drain.migrate("mine", ident("web-13"), type="Cold", stopIfRunning=True)
    drain.rest(60)
    found = migration(drain, "mine")
    assert (found.phase, found.condition("Ready").reason) == (Phase.QUEUED, "BreakerOpen")
    assert asked_to_stop(drain) == 0
    drain.cloud.breaking.clear()
    resume(drain, "cmp1")
    drain.run(lambda: migration(drain, "mine").phase is Phase.SUCCEEDED)


def test_I37_single_vmmigrations_open_it_as_a_drain_does() -> None:
    drain = Drain(a_cloud(*NAMES), RULES)
    drain.cloud.breaking.add("cmp1")
    for name in NAMES:
        drain.migrate(f"m-{name}", ident(name), ttlAfterFinished="0s")
    drain.rest(600)
    assert in_error(drain) == 2
    phases = [migration(drain, name).phase for name in drain.migrations]
    assert (phases.count(Phase.FAILED), phases.count(Phase.QUEUED)) == (2, 12), "the failed ones outlive their ttl"


def test_I37_servers_do_not_return_from_a_host_whose_breaker_is_open() -> None:
    drain = Drain(a_cloud(*NAMES[:6], hosts=("cmp1", "cmp2")), RULES)
    drain.apply("cmp1", returnVMs=True)
    drain.in_maintenance()
    drain.cloud.breaking.add("cmp2")
    drain.switch(enabled=False)
    drain.run(lambda: held(drain))
    drain.rest(120)
    assert in_error(drain) == 2
    assert status(drain).phase is MaintenancePhase.RELEASING
    drain.cloud.breaking.clear()
    resume(drain, "cmp2")
    drain.released()
    assert sum(server.host == "cmp1" for server in drain.cloud.servers.values()) == 4


def test_I37_failures_from_several_hosts_hold_the_whole_cloud_but_no_evacuation() -> None:
    cloud = a_cloud("web-1", hosts=("cmp1", "cmp2", "cmp3", "cmp4", "cmp5"))
    drain = Drain(cloud, RULES)
    cloud.breaking |= {"cmp1", "cmp2", "cmp3"}
    for number, host in enumerate(("cmp1", "cmp2", "cmp3")):
        name = f"one-{number}"
        add(cloud, name, host)
        drain.migrate(name, ident(name), retries=0)
    drain.run(lambda: all(migration(drain, name).phase is Phase.FAILED for name in drain.migrations))
    add(cloud, "other", "cmp5")
    drain.migrate("other", ident("other"))
    add(cloud, "dead", "cmp4")
    drain.service("cmp4", up=False, forced_down=True, last_seen=cloud.now - timedelta(hours=1))
    drain.migrate("dead", ident("dead"), type="Evacuate")
    drain.run(lambda: migration(drain, "dead").phase is Phase.SUCCEEDED)
    found = migration(drain, "other")
    assert (found.phase, found.condition("Ready").reason) == (Phase.QUEUED, "BreakerOpen")
    assert "the breaker of the cloud is open" in found.condition("Ready").message
    resume(drain, "cloud")
    drain.run(lambda: migration(drain, "other").phase is Phase.SUCCEEDED)


def test_I37_refusals_that_harm_no_server_stop_no_further_servers_for_their_moves() -> None:
    """Cold: each would be shut down, refused and started again."""
    drain = a_drain(*NAMES[:6], running="ColdMigrate", breaking=())
    act = drain.cloud._do
    refuse = Refused(403, "Policy doesn't allow os_compute_api:os-migrate-server:migrate to be performed.", "req-1")
    drain.cloud._do = lambda action: refuse if "ColdMigrate" in type(action).__name__ else act(action)  # type: ignore[method-assign]
    drain.run(lambda: held(drain))
    drain.rest(120)
    assert asked_to_stop(drain) <= 3
    assert all(server.vm_state == "active" for server in drain.cloud.servers.values())


def test_I37_not_now_is_no_failure_and_slows_nothing() -> None:
    drain = a_drain(*NAMES[:4], breaking=())
    drain.cloud.answers = [None, *[NotNow("429: slow down", 1, "req-1")] * 3]
    drain.in_maintenance()
    assert not any("BreakerOpen" in line for line in drain.log)
    assert drain.store.history.breakers().rows == {}


def test_I37_busy_servers_open_nothing() -> None:
    drain = a_drain(*NAMES[:6], breaking=())
    drain.cloud.answers = [None, *[Refused(409, "Cannot 'migrate' instance while it is busy", "req-1")] * 6]
    drain.in_maintenance()
    assert not any("BreakerOpen" in line for line in drain.log)


def test_I37_a_policy_may_allow_more() -> None:
    drain = a_drain(policy=replace(RULES, breaker=Breaker(attempts=5)))
    drain.run(lambda: held(drain))
    assert in_error(drain) == 5
