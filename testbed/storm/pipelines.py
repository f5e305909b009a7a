"""Effects of pipelines, policies and backups on Kubernetes objects: a prune with foreground propagation, a policy that
refuses new migrations, and an etcd that is restored from a backup."""

from __future__ import annotations

import copy
from random import Random
from typing import TYPE_CHECKING, Any

from testbed.storm.faults import Kind, Span
from testbed.storm.happening import Happening

if TYPE_CHECKING:
    from testbed.storm.world import World


def draw(dice: Random) -> list[Happening]:
    """Draw such events for some storms."""
    chosen: list[Happening] = []
    if dice.random() < 0.2:
        chosen += [Happening(dice.uniform(20, 280), _Prune(Random(dice.random()))) for _ in range(6)]
    if dice.random() < 0.15:
        chosen.append(_refused(dice))
    if dice.random() < 0.08:
        chosen += _set_back(dice)
    return chosen


class _Prune:
    """A pipeline deletes a HostMaintenance with foreground propagation.

    The garbage collector then deletes the owned objects at once. The event chooses a HostMaintenance that is moving
    servers, because only then something can go wrong.
    """

    def __init__(self, dice: Random) -> None:
        self._dice = dice

    def __call__(self, world: World) -> str | None:
        busy = {
            owner["uid"]
            for body in world.api.objects.values()
            for owner in body["metadata"].get("ownerReferences", [])
            if any("endedAt" not in attempt for attempt in body.get("status", {}).get("attempts", []))
        }
        keys = [key for key, body in world.api.objects.items() if body["metadata"]["uid"] in busy]
        if not keys:
            return None
        key = self._dice.choice(keys)
        world.api.prune(key)
        return f"kubectl delete {key} --cascade=foreground"


def _refused(dice: Random) -> Happening:
    at, seconds = dice.uniform(0, 200), dice.uniform(20, 150)

    def do(world: World) -> str:
        span = Span(Kind.CREATES_REFUSED, at, at + seconds, 1.0, Random(0))
        world.faults.spans.append(span)
        return str(span)

    return Happening(at, do)


def _set_back(dice: Random) -> list[Happening]:
    kept: dict[str, Any] = {}
    at = dice.uniform(20, 150)
    again = at + dice.uniform(20, 120)

    def keep(world: World) -> str:
        kept.update(copy.deepcopy(world.api.kept()))
        return "a snapshot of etcd is taken"

    def put_back(world: World) -> str | None:
        if not kept:
            return None
        world.api.set_back(kept)
        world.judge.forgives = True
        world.faults.spans.append(Span(Kind.WATCH_AWAY, again, again + 3, 1.0, Random(0)))
        return "etcd is set back to its snapshot"

    return [Happening(at, keep), Happening(again, put_back)]
