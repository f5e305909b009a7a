"""One thing that happens in a storm, and whom it may happen to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from vmferry.simulator.model import Host, Server

if TYPE_CHECKING:
    from testbed.storm.world import World

#: does it; returns what it did, None: nothing, for it could not
Do = Callable[["World"], str | None]

#: the namespace of what people ask for
MIGRATIONS = "migrations"


@dataclass(frozen=True, slots=True)
class Happening:
    """`at` is in seconds from the beginning."""

    at: float
    do: Do


def a_server(world: World, dice: Random) -> Server:
    found = [one for one in world.site.cloud.servers.values() if one.deleted_at is None]
    return dice.choice(found or list(world.site.cloud.servers.values()))


def a_host(world: World, dice: Random) -> Host:
    return dice.choice(list(world.site.cloud.hosts.values()))
