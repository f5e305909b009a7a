"""One event of a storm, and functions that choose its server or host."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from vmferry.simulator.model import Host, Server

if TYPE_CHECKING:
    from testbed.storm.world import World

#: executes the event; returns a description for the log, or None if there is nothing to log
Do = Callable[["World"], str | None]

#: the namespace of the VMMigrations that people create
MIGRATIONS = "migrations"


@dataclass(frozen=True, slots=True)
class Happening:
    """An event; `at` is in seconds since the start of the storm."""

    at: float
    do: Do


def a_server(world: World, dice: Random) -> Server:
    found = [one for one in world.site.cloud.servers.values() if one.deleted_at is None]
    return dice.choice(found or list(world.site.cloud.servers.values()))


def a_host(world: World, dice: Random) -> Host:
    return dice.choice(list(world.site.cloud.hosts.values()))
