"""Random requests. Pure: a step of a seed is always the same request, but may meet another server."""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence
from typing import TypeVar

from testbed.agreement.world import Wish
from vmferry.cloud.model import ResolvedType

T = TypeVar("T")

LIVE, COLD, EVACUATE = ResolvedType.LIVE, ResolvedType.COLD, ResolvedType.EVACUATE

KINDS = {LIVE: 45, COLD: 30, EVACUATE: 25}
#: status to bring the server to, by weight; None leaves it as it is
STATUSES: dict[ResolvedType, dict[str | None, int]] = {
    LIVE: {
        None: 45,
        "ACTIVE": 32,
        "PAUSED": 9,
        "SHUTOFF": 5,
        "SUSPENDED": 2,
        "RESCUE": 2,
        "ERROR": 2,
        "VERIFY_RESIZE": 3,
    },
    COLD: {
        None: 40,
        "SHUTOFF": 35,
        "ACTIVE": 12,
        "PAUSED": 3,
        "SUSPENDED": 3,
        "RESCUE": 1,
        "ERROR": 3,
        "VERIFY_RESIZE": 3,
    },
    EVACUATE: {None: 75, "ERROR": 10, "ACTIVE": 15},
}
#: probability that the request is for a server of a failed host
OF_FAILED_HOST = {LIVE: 0.06, COLD: 0.08, EVACUATE: 0.88}


def weighted(rng: random.Random, weights: dict[T, int]) -> T:
    return rng.choices(list(weights), list(weights.values()))[0]


def draw(seed: int, step: int, hosts: Sequence[str], alike: Sequence[str]) -> tuple[Wish, bool, float]:
    """Return the request, whether it is for a server of a failed host, and a number from 0 to 1 that selects the
    server."""
    rng = random.Random(f"{seed}/{step}")
    kind = weighted(rng, KINDS)
    status = weighted(rng, STATUSES[kind])
    dice = rng.random()
    # otherwise three of four requests would fail for their target alone
    target: str | None = rng.choice(list(alike if dice > 0.60 else hosts))
    if dice < 0.28:
        target = None
    elif dice < 0.30:
        target = f"unknown-{uuid.UUID(int=rng.getrandbits(128))}"
    busy = kind is not EVACUATE and rng.random() < 0.03
    wish = Wish(
        step,
        kind,
        "ACTIVE" if busy else status,
        locked=rng.random() < 0.05,
        busy=busy,
        target=target,
        local_unless_shared=rng.random() < 0.7,
        stop_if_running=kind is COLD and rng.random() < 0.5,
        os_upgrade=rng.random() < 0.25,
    )
    return wish, rng.random() < OF_FAILED_HOST[kind], rng.random()
