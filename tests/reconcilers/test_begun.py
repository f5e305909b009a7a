"""A server that was stopped for its cold migration has begun, and goes before all that wait."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.reconcilers.life import Life
from tests.reconcilers.little_cloud import SERVER
from tests.reconcilers.test_decisions import before_it, cloud
from vmferry.cloud.actions import ColdMigrate
from vmferry.policy import Limits, Policy
from vmferry.reconcilers.decision import World


@pytest.mark.parametrize("policy", [Policy(bandwidth=1), Policy(limits=Limits(1, 1, 1))], ids=["bandwidth", "limits"])
def test_I24_whose_server_was_stopped_for_its_move_waits_for_nobody_who_waits_for_it(policy: Policy) -> None:
    """Those that have an earlier turn and were looked at later wait for it already."""
    life = Life(cloud(), {"type": "Cold", "stopIfRunning": True}, policy=policy)
    life.one_pass()
    life.cloud.pass_time(timedelta(seconds=20))
    world = World(life.cloud.snapshot(), ahead=before_it(life.cloud.now, "cmp1"))
    decision = life.look(replace(world, detail=life.cloud.detail(SERVER)))
    assert decision.action == ColdMigrate(SERVER, "cmp2")
