"""A fixed sample of what `make agreement` does at random: our verdict first, then what Nova does (R21).

Real and simulated: what is expected of the two is the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from testbed.agreement.classes import Outcome
from testbed.agreement.clouds import CLOUDS
from testbed.agreement.fleet import Fleet, Slot
from testbed.agreement.report import disagreement
from testbed.agreement.trial import Case
from testbed.agreement.world import Wish, World
from testbed.cloud import CloudLab
from testbed.nova.hosts import DEFAULT_HOSTS
from vmferry.cloud.model import ResolvedType

PASS, REFUSE, POLICY = Outcome.AGREE_PASS, Outcome.AGREE_REFUSE, Outcome.STRICTER_BY_POLICY


def live(target: str | None, status: str | None = None, *, locked: bool = False, os_upgrade: bool = False) -> Wish:
    return Wish(0, ResolvedType.LIVE, status, locked, target=target, os_upgrade=os_upgrade)


def cold(target: str | None, status: str | None = None, *, stop: bool = False) -> Wish:
    return Wish(0, ResolvedType.COLD, status, target=target, stop_if_running=stop)


def evacuate(target: str | None, status: str | None = None) -> Wish:
    return Wish(0, ResolvedType.EVACUATE, status, target=target)


FLEET = Fleet(
    DEFAULT_HOSTS,
    alike=("cmp1", "cmp2"),
    systems=dict.fromkeys(("cmp1", "cmp2", "cmp3", "cmp4"), "22.04"),
    slots=(
        Slot("runs", "m1.tiny", "cmp1"),
        Slot("stops", "m1.tiny", "cmp1"),
        Slot("newer", "m1.tiny", "cmp4"),
        Slot("changes", "m1.tiny", "cmp2"),
        Slot("older", "m1.tiny", "cmp3"),
        Slot("apart-1", "m1.tiny", "cmp1", "anti-affinity"),
        Slot("apart-2", "m1.tiny", "cmp2", "anti-affinity"),
    ),
)
VICTIMS = (
    Slot("victim-1", "m1.tiny", "cmp2"),
    Slot("victim-2", "m1.tiny", "cmp2"),
    Slot("victim-3", "m1.tiny", "cmp2"),
)

#: by server, one after another: each begins where the one before has left the server
LIVING: Mapping[str, Mapping[str, tuple[Wish, Outcome]]] = {
    "runs": {
        "live to a host of the same kind": (live("cmp2"), PASS),
        "live to the host it is on": (live("cmp2"), REFUSE),
        "live to a lesser CPU": (live("cmp3"), REFUSE),
        "live to a host that is unknown": (live("nowhere"), REFUSE),
        "live to the best host": (live(None), PASS),
        "live of a paused server": (live("cmp2", "PAUSED"), PASS),
    },
    "stops": {
        "cold of a running server (R5)": (cold("cmp2"), POLICY),
        "cold of a running server that is stopped first": (cold("cmp1", stop=True), PASS),
        "cold to the host it is on": (cold("cmp1"), REFUSE),
        "live of a powered-off server": (live("cmp2"), REFUSE),
        "cold to the best host": (cold(None), PASS),
        "cold to a lesser CPU (R12)": (cold("cmp3"), POLICY),
    },
    "newer": {
        "live to an older hypervisor": (live("cmp1"), REFUSE),
        "cold to an older hypervisor (R14)": (cold("cmp1", "SHUTOFF"), POLICY),
        "live to a newer hypervisor (R14)": (live("cmp4", "ACTIVE"), POLICY),
    },
    "changes": {
        "a locked server (I10)": (live("cmp1", locked=True), POLICY),
        "cold of a suspended server": (cold("cmp2", "SUSPENDED"), REFUSE),
        "live of a server in ERROR": (live("cmp2", "ERROR"), REFUSE),
        "a resize that waits for its confirmation": (live("cmp2", "VERIFY_RESIZE"), REFUSE),
        "evacuation from a host that is up": (evacuate("cmp2", "ACTIVE"), REFUSE),
    },
    "older": {
        "live to a better CPU": (live("cmp1"), PASS),
        "cold while somebody else moves it": (replace(cold("cmp4", "ACTIVE", stop=True), busy=True), REFUSE),
        "live to a newer hypervisor, as planned": (live("cmp4", os_upgrade=True), PASS),
    },
    "apart-1": {
        "live to where anti-affinity forbids it": (live("cmp2"), REFUSE),
    },
}
#: while cmp2 is dead
DEAD: Mapping[str, Mapping[str, tuple[Wish, Outcome]]] = {
    "victim-1": {
        "live from a dead host": (live("cmp1"), REFUSE),
        "evacuation to a host of the same kind": (evacuate("cmp1"), PASS),
    },
    "victim-2": {
        "evacuation to the dead host": (evacuate("cmp2"), REFUSE),
        "evacuation to a lesser CPU (R12)": (evacuate("cmp3"), POLICY),
    },
    "victim-3": {
        "cold from a dead host": (cold("cmp1"), REFUSE),
        "evacuation of a server in ERROR": (evacuate("cmp1", "ERROR"), PASS),
    },
}
EXPECTED = {
    sentence: outcome
    for part in (LIVING, DEAD)
    for sequence in part.values()
    for sentence, (_, outcome) in sequence.items()
}


async def ask_all(lab: CloudLab) -> dict[str, Case]:
    cases: dict[str, Case] = {}
    # on the tests' own lab a host is seen as down after 8 s
    tempo = replace(CLOUDS[lab.name].tempo, down_for=timedelta(seconds=9))
    world = World(lab, FLEET, tempo)

    async def in_turn(name: str, sequence: Mapping[str, tuple[Wish, Outcome]]) -> None:
        place = next(place for place in (*world.places, *world.victims) if place.slot.name == name)
        for sentence, (wish, _) in sequence.items():
            cases[sentence] = await world.carry_out(replace(wish, step=len(cases) + 1), place)

    try:
        await world.start()
        await asyncio.gather(*(in_turn(name, sequence) for name, sequence in LIVING.items()))
        world.victims = list(await asyncio.gather(*map(world.placed, VICTIMS)))
        await world.break_hosts(killed="cmp2")
        await asyncio.gather(*(in_turn(name, sequence) for name, sequence in DEAD.items()))
    finally:
        await world.stop(clear=True)
    return cases


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("simulated_cloud", marks=pytest.mark.simulator),
        pytest.param("nova_lab", marks=pytest.mark.nova),
    ],
    ids=["simulator", "nova"],
)
def cases(request: pytest.FixtureRequest) -> dict[str, Case]:
    """All of the sample, carried out once on each cloud."""
    return asyncio.run(ask_all(request.getfixturevalue(request.param)))


@pytest.mark.parametrize("sentence", EXPECTED)
def test_our_verdict_and_nova_s_deed(sentence: str, cases: dict[str, Case]) -> None:
    case = cases[sentence]
    assert case.outcome is EXPECTED[sentence], disagreement(case, 0)
