"""A server that was stopped for its cold migration has begun, and goes before all that wait."""

from __future__ import annotations

from datetime import timedelta

import pytest

from testbed.lifecycle.life import Life
from testbed.lifecycle.little_cloud import SERVER
from tests.reconcilers.migration.test_plan import before_it, cloud
from vmferry.cloud.actions import ColdMigrate
from vmferry.cloud.model import ResolvedType
from vmferry.policy import Limits, Policy
from vmferry.prerequisites.check import PlannedMove
from vmferry.reconcilers.reads import ReadServer
from vmferry.reconcilers.world import World


@pytest.mark.parametrize("policy", [Policy(bandwidth=1), Policy(limits=Limits(1, 1, 1))], ids=["bandwidth", "limits"])
def test_I24_whose_server_was_stopped_for_its_move_waits_for_nobody_who_waits_for_it(policy: Policy) -> None:
    """Those that have an earlier turn and were looked at later wait for it already."""
    life = Life(cloud(), {"type": "Cold", "stopIfRunning": True}, policy=policy)
    life.one_pass()
    life.cloud.pass_time(timedelta(seconds=20))
    world = World(life.cloud.snapshot(), earlier=before_it(life.cloud.now, "cmp1"))
    decision = life.look(world.with_answer(ReadServer(SERVER), life.cloud.detail(SERVER)))
    assert decision.action == ColdMigrate(SERVER, "cmp2")


#: when another server of the host was stopped for its move, whether it is on its way, and whether ours waits for it
OTHERS = {
    "stopped after ours": (10, True, False),
    "stopped before ours": (-10, True, True),
    "stopped after ours, and on its way": (10, False, True),
}


@pytest.mark.parametrize("policy", [Policy(bandwidth=1), Policy(limits=Limits(1, 1, 1))], ids=["bandwidth", "limits"])
@pytest.mark.parametrize("sentence", OTHERS)
def test_I24_of_two_servers_that_were_stopped_for_their_moves_the_first_goes_first(
    policy: Policy, sentence: str
) -> None:
    """Each counts against the other: they came to be stopped while one of them could go nowhere."""
    seconds, stopped, waits = OTHERS[sentence]
    life = Life(cloud(), {"type": "Cold", "stopIfRunning": True}, policy=policy)
    life.one_pass()
    stop = life.status.graceful_stop
    assert stop is not None
    other = PlannedMove(
        "another", ResolvedType.COLD, "cmp1", "cmp3", {}, stop.requested_at + timedelta(seconds=seconds), None, stopped
    )
    life.cloud.pass_time(timedelta(seconds=20))
    world = World(life.cloud.snapshot(), moves=(other,)).with_answer(ReadServer(SERVER), life.cloud.detail(SERVER))
    decision = life.look(world)
    assert (decision.status.phase, decision.action is None) == (("Queued", True) if waits else ("Migrating", False))
