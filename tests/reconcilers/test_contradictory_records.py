"""I36: a host of which Nova lists two compute services is neither dead nor alive, neither cordoned nor empty."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from testbed.lifecycle.drains import Drain, a_cloud, moves_of, where
from testbed.lifecycle.life import Life
from testbed.lifecycle.little_cloud import START, LittleCloud
from vmferry.cloud.model import ResolvedType, Service
from vmferry.resources.words import MaintenancePhase

#: a dead record of a living host, and a living record of a dead one
DEAD = Service("11111111", "cmp1", "cluster1", True, False, True, None, START - timedelta(days=300))
ALIVE = Service("22222222", "cmp1", "cluster1", True, True, False, None, START)


def a_drain(*servers: str, stray: Service | None = DEAD) -> Drain:
    cloud = a_cloud(*servers)
    if stray is not None:
        cloud.stray_services["cmp1"] = stray
    return Drain(cloud)


def says_both(d: Drain) -> None:
    status = d.maintenance("cmp1").status
    for condition in ("PrerequisitesMet", "Cordoned", "Drained"):
        found = status.condition(condition)
        assert found is not None and (found.status, found.reason) == ("Unknown", "FactUnknown"), d.told(condition)
    stalled = status.condition("Stalled")
    assert stalled is not None and "11111111" in stalled.message and "s-cmp1" in stalled.message
    assert "openstack compute service delete" in stalled.message
    assert status.phase is MaintenancePhase.BLOCKED
    assert d.condition("cmp1", "Reconciling") is None


@pytest.mark.parametrize("stray", [DEAD, ALIVE], ids=["a dead record", "a living record"])
def test_I36_a_host_listed_twice_is_not_drained(stray: Service) -> None:
    d = a_drain("web-1", "web-2", stray=replace(stray, id="11111111"))
    d.apply("cmp1")
    d.rest(300)
    assert not d.cloud.moved and not d.migrations and d.asked == 0
    assert d.cloud.hosts["cmp1"].service.enabled
    says_both(d)
    assert sum("FactUnknown" in line and "compute services" in line for line in d.log) == 1, "it is told once"


def test_I36_an_empty_host_listed_twice_counts_as_neither_cordoned_nor_empty() -> None:
    d = a_drain()
    d.apply("cmp1")
    d.rest(300)
    says_both(d)


def test_I36_once_the_records_agree_the_drain_goes_on_by_itself() -> None:
    d = a_drain("web-1")
    d.apply("cmp1")
    d.rest(60)
    d.people("the stale record is deleted", d.cloud.stray_services.clear)
    d.in_maintenance()
    assert moves_of(d.cloud, "web-1") == 1


def test_I36_I27_a_record_that_comes_during_the_maintenance_ends_the_claim_that_it_is_empty() -> None:
    d = a_drain("web-1", stray=None)
    d.apply("cmp1")
    d.in_maintenance()
    d.people("a second record is made", lambda: d.cloud.stray_services.update(cmp1=DEAD))
    d.blocked()
    says_both(d)
    d.cloud.stray_services.clear()
    d.in_maintenance()


def test_I36_I43_the_cordon_stays_owed_until_it_is_known_which_record_carries_it() -> None:
    d = a_drain("web-1", stray=None)
    d.apply("cmp1")
    d.in_maintenance()
    d.cloud.stray_services["cmp1"] = DEAD
    d.apply("cmp1", enabled=False)
    d.rest(200)
    assert d.phase() == MaintenancePhase.RELEASING and d.maintenance("cmp1").status.cordon is not None
    assert not d.cloud.hosts["cmp1"].service.enabled and d.condition("cmp1", "Stalled") == ("True", "FactUnknown")
    d.cloud.stray_services.clear()
    d.released()
    assert d.cloud.hosts["cmp1"].service.enabled


def test_I36_I26_a_host_of_unknown_zone_in_maintenance_counts_in_the_budget() -> None:
    d = a_drain("web-1", stray=None)
    d.apply("cmp1")
    d.in_maintenance()
    d.cloud.stray_services["cmp1"] = DEAD
    d.apply("cmp2")
    d.rest(120)
    assert d.phase("cmp2") == MaintenancePhase.QUEUED


def test_I36_a_host_listed_twice_is_nobodys_target() -> None:
    cloud = a_cloud("web-1", "web-2")
    cloud.stray_services["cmp2"] = replace(DEAD, host="cmp2")
    d = Drain(cloud)
    d.apply("cmp1")
    d.in_maintenance()
    assert set(where(cloud).values()) == {"cmp3"}


def dead(cloud: LittleCloud) -> None:
    cloud.set_service("cmp1", up=False, forced_down=True, last_seen=START - timedelta(hours=1))


def living(cloud: LittleCloud) -> None:
    pass


@pytest.mark.parametrize("state", [dead, living])
@pytest.mark.parametrize("type_", ["Auto", "Evacuate", "Live", "Cold"])
def test_I12_I36_nothing_is_moved_from_a_host_listed_twice(type_: str, state: Callable[[LittleCloud], None]) -> None:
    cloud = LittleCloud()
    for name in ("cmp1", "cmp2"):
        cloud.add_host(name)
    cloud.add_server("cmp1", vm_state="stopped" if type_ == "Cold" else "active")
    state(cloud)
    cloud.stray_services["cmp1"] = ALIVE if state is dead else DEAD
    life = Life(cloud, {"type": type_})
    life.run(seconds=120)
    assert not cloud.migrations and not cloud.moved
    status = life.obj.status
    assert status.type is not ResolvedType.EVACUATE or type_ == "Evacuate"
    against = [one for one in status.prerequisites if one.result in ("Failed", "Unknown")]
    assert [one.name for one in against if one.result == "Unknown"] == ["SourceHost"], against
    source = next(one for one in against if one.name == "SourceHost")
    assert "s-cmp1" in source.message and cloud.stray_services["cmp1"].id in source.message
