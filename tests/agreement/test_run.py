"""What a run does when the lab does not do as it is told."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from testbed.agreement.__main__ import Run
from testbed.agreement.draw import draw
from testbed.agreement.fleet import Fleet, Slot
from testbed.agreement.hands import Place
from testbed.agreement.view import LateError
from testbed.agreement.world import World
from testbed.nova.hosts import DEFAULT_HOSTS

HOSTS = tuple(host.name for host in DEFAULT_HOSTS)
#: of seed 1, the steps about a server of a failed host
OF_FAILED = [step for step in range(1, 50) if draw(1, step, HOSTS, HOSTS)[1]]


@pytest.mark.parametrize(
    ("sentence", "victims", "evacuated", "asked"),
    [
        ("no failed host has a server left: the step is given up once", 0, False, ["s1"]),
        ("it fails on a server of a failed host: the step is given up once", 1, False, ["v1"]),
        ("somebody has evacuated that one meanwhile: another one is asked for", 1, True, ["v1", "s1"]),
    ],
)
def test_a_step_whose_server_does_not_get_ready(sentence: str, victims: int, evacuated: bool, asked: list[str]) -> None:
    met: list[str] = []
    lost: list[str] = []

    async def carry_out(_wish: object, place: Place) -> Any:
        met.append(place.slot.name)
        assert len(met) < 5, "it goes round in circles"
        if evacuated and place in world.victims:
            world.victims.remove(place)
        raise LateError("not ready")

    async def lose(place: Place) -> None:
        lost.append(place.slot.name)

    world = SimpleNamespace(
        lab=SimpleNamespace(hosts=HOSTS),
        fleet=Fleet(DEFAULT_HOSTS, alike=HOSTS),
        places=[Place(Slot("s1", "m1.tiny", "cmp1"), "1")],
        victims=[Place(Slot("v1", "m1.tiny", "cmp2"), "2")][:victims],
        carry_out=carry_out,
        lose=lose,
    )
    run = Run(cast(World, world), seed=1, count=1, seconds=60)
    asyncio.run(run._one(OF_FAILED[0]))
    assert (met, lost, len(run.troubles)) == (asked, asked[-1:], 1), sentence
