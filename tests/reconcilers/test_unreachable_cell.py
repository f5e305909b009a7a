"""A cell that does not answer stops what concerns it, and nothing else."""

from __future__ import annotations

from dataclasses import replace

from testbed.build import ident
from testbed.lifecycle.drains import Drain, a_cloud, add, where
from testbed.lifecycle.life import Life
from testbed.lifecycle.little_cloud import SERVER, LittleCloud
from vmferry.cloud.model import ServerGroup
from vmferry.reconcilers.world import World
from vmferry.resources.words import MaintenancePhase, Phase


def two_cells() -> Drain:
    """cmp1 and cmp2 are in one cell, cmp3 in the one that does not answer."""
    cloud = a_cloud("web-1", "web-2")
    add(cloud, "far-1", "cmp3")
    cloud.unreachable = {"cmp3"}
    return Drain(cloud)


def test_a_drain_in_another_cell_goes_on() -> None:
    d = two_cells()
    d.apply("cmp1")
    d.in_maintenance()
    assert where(d.cloud) == {"web-1": "cmp2", "web-2": "cmp2", "far-1": "cmp3"}


def test_I36_a_drain_in_that_cell_says_why_it_does_not_and_goes_on_by_itself() -> None:
    d = two_cells()
    d.apply("cmp3")
    d.rest(200)
    stalled = d.maintenance("cmp3").status.condition("Stalled")
    assert d.phase("cmp3") == MaintenancePhase.BLOCKED and stalled is not None
    assert "cannot reach the cell of cmp3" in stalled.message and d.asked == 0
    d.cloud.unreachable.clear()
    d.in_maintenance("cmp3")


def test_I43_a_host_in_maintenance_whose_cell_goes_away_is_not_taken_for_gone() -> None:
    d = two_cells()
    d.cloud.unreachable.clear()
    d.apply("cmp3")
    d.in_maintenance("cmp3")
    d.cloud.unreachable = {"cmp3"}
    d.apply("cmp3", enabled=False)
    d.rest(200)
    assert d.maintenance("cmp3").status.cordon is not None and not d.cloud.hosts["cmp3"].service.enabled
    d.cloud.unreachable.clear()
    d.released("cmp3")
    assert d.cloud.hosts["cmp3"].service.enabled


def a_server_in_that_cell() -> LittleCloud:
    cloud = LittleCloud()
    for name in ("cmp1", "cmp2"):
        cloud.add_host(name)
    cloud.add_server("cmp1")
    cloud.unreachable = {"cmp1"}
    return cloud


def test_a_server_of_that_cell_waits_and_says_why() -> None:
    life = Life(a_server_in_that_cell())
    life.run(seconds=120)
    assert life.status.phase == Phase.BLOCKED and not life.cloud.migrations
    ready = life.status.condition("Ready")
    assert ready is not None and ready.reason == "FactUnknown" and "cannot reach the cell of cmp1" in ready.message
    life.cloud.unreachable.clear()
    assert life.run(seconds=120).phase == Phase.SUCCEEDED


def test_I4_a_server_that_no_list_has_shown_yet_is_not_taken_for_gone() -> None:
    life = Life(a_server_in_that_cell())
    view = replace(life.cloud.snapshot(), servers={}, servers_by_host={}, unreachable_servers=frozenset({SERVER}))
    decision = life.look(World(view))
    ready = decision.status.condition("Ready")
    assert decision.status.phase is Phase.BLOCKED
    assert ready is not None and ready.reason == "FactUnknown" and "cannot reach the cell of server" in ready.message


def test_I25_a_group_with_members_in_that_cell_is_not_judged_by_the_others_alone() -> None:
    cloud = a_cloud("web-1")
    cloud.groups = [ServerGroup("g", "apart", "anti-affinity", frozenset({ident("web-1"), ident("never-seen")}))]
    d = Drain(cloud)
    cloud.unreachable = {"cmp3"}
    d.apply("cmp1")
    d.rest(60)
    (blocker,) = d.maintenance("cmp1").status.blockers
    assert (blocker.prerequisite, blocker.reason) == ("ServerGroup", "FactUnknown") or "cell" in blocker.message
    cloud.unreachable.clear()
    d.in_maintenance()
