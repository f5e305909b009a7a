"""One-way upgrades (R22, R23): forward only where planned, remembered by the migration, never back."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from testbed.lifecycle.life import Life
from testbed.lifecycle.little_cloud import SERVER, LittleCloud
from vmferry.cloud.model import OperatingSystem
from vmferry.policy import Policy
from vmferry.prerequisites.check import OSUpgradeMove
from vmferry.prerequisites.enums import NEVER_TOLERATED, Name
from vmferry.reconcilers.migration.os_upgrade_moves import crossing_of, furthest
from vmferry.reconcilers.world import World
from vmferry.resources.words import Phase

JAMMY, NOBLE = OperatingSystem("Ubuntu", "22.04"), OperatingSystem("Ubuntu", "24.04")
RESOLUTE = OperatingSystem("Ubuntu", "26.04")
CROSSED = {SERVER: OSUpgradeMove(SERVER, JAMMY, NOBLE, "VMMigration default/web-1")}
UP = {"osUpgrade": True, "target": {"host": "new"}}


def half_upgraded(at: str = "old", **over: Any) -> LittleCloud:
    cloud = LittleCloud()
    cloud.add_host("old")
    cloud.add_host("new", version=8002002, system="24.04")
    cloud.add_server(at, **over)
    return cloud


def blocked_by(life: Life, world: World | None = None) -> dict[str, str | None]:
    status = life.look(world).status
    assert status.phase is Phase.BLOCKED
    return {p.name: p.reason for p in status.prerequisites if p.result == "Failed"}


@pytest.mark.parametrize(("kind", "state"), [("Live", "active"), ("Cold", "stopped")])
def test_R22_a_planned_upgrade_goes_forward_and_is_remembered(kind: str, state: str) -> None:
    life = Life(half_upgraded(vm_state=state), {**UP, "type": kind})
    status = life.run()
    assert status.phase is Phase.SUCCEEDED
    assert life.cloud.servers[SERVER].host == "new"
    crossing = crossing_of(life.obj)
    assert crossing == CROSSED[SERVER]


def test_R23_an_ordinary_move_between_versions_is_refused() -> None:
    assert blocked_by(Life(half_upgraded(), {"target": {"host": "new"}})) == {
        Name.OPERATING_SYSTEM: "OSMismatch",
        Name.HYPERVISOR_VERSION: "HypervisorMismatch",
    }


def test_R22_the_way_back_is_refused_whatever_the_resource_says() -> None:
    life = Life(half_upgraded("new"), {"osUpgrade": True, "target": {"host": "old"}})
    found = blocked_by(life, World(life.cloud.snapshot(), os_upgrades=CROSSED))
    assert found[Name.OPERATING_SYSTEM] == "NotReturnable"
    assert life.look(World(life.cloud.snapshot(), os_upgrades=CROSSED)).action is None


def test_R22_the_way_back_is_refused_whatever_is_told_of_the_hosts_since() -> None:
    """The host's facts are gone or wrong, its hypervisor looks the same, and the policy tolerates everything."""
    cloud = LittleCloud()
    cloud.add_host("old")
    cloud.add_host("new")
    cloud.hosts["new"] = replace(cloud.hosts["new"], facts=replace(cloud.hosts["new"].facts, operating_system=()))
    cloud.add_server("new")
    life = Life(cloud, {"target": {"host": "old"}}, Policy(tolerate_unknown=frozenset(Name) - NEVER_TOLERATED.keys()))
    assert life.look().status.phase is Phase.MIGRATING, "without the memory it would go"
    assert blocked_by(life, World(cloud.snapshot(), os_upgrades=CROSSED)) == {Name.OPERATING_SYSTEM: "NotReturnable"}


def test_a_server_that_did_not_get_there_has_not_crossed() -> None:
    cloud = half_upgraded()
    cloud.bad_targets = {"new"}
    life = Life(cloud, {**UP, "retries": 0})
    assert life.run().phase is Phase.FAILED
    assert life.status.attempts[0].crossing is not None
    assert crossing_of(life.obj) is None


def test_a_move_within_a_version_is_no_crossing() -> None:
    cloud = half_upgraded()
    cloud.add_host("old-2")
    life = Life(cloud, {"target": {"host": "old-2"}, "osUpgrade": True})
    assert life.run().phase is Phase.SUCCEEDED
    assert life.status.attempts[0].crossing is None and crossing_of(life.obj) is None


def test_R22_the_memory_outlives_its_time_for_as_long_as_the_server_lives() -> None:
    life = Life(half_upgraded(), {**UP, "ttlAfterFinished": "1h"})
    life.run()
    life.cloud.now += timedelta(hours=2)
    decision = life.look()
    assert not decision.delete and decision.requeue_after
    view = life.cloud.snapshot()
    hidden = replace(view, servers={})
    assert not life.look(World(hidden)).delete, "a server that a list lacks is not gone (I4)"
    del life.cloud.servers[SERVER]
    assert life.look().delete


def test_other_migrations_go_after_their_time() -> None:
    cloud = half_upgraded()
    cloud.add_host("old-2")
    life = Life(cloud, {"target": {"host": "old-2"}, "ttlAfterFinished": "1h"})
    life.run()
    life.cloud.now += timedelta(hours=2)
    assert life.look().delete


def test_the_furthest_of_many_crossings_counts() -> None:
    on = OSUpgradeMove(SERVER, NOBLE, RESOLUTE, "second")
    first = CROSSED[SERVER]
    assert furthest([first, on]) == furthest([on, first]) == {SERVER: on}
