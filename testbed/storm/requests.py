"""Requests that random draws would rarely produce.

They are: an evacuation from a live host that dies later, a request that expires, a pause after the server was shut
down, a move that fails, a move that another user aborts, and an evacuation from a host that has come back.
"""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any

from testbed.storm.happening import MIGRATIONS, Happening
from testbed.storm.scenes import aborts, asks, busiest, changes, movable, moves, on, service
from vmferry.resources.base import format_time
from vmferry.runtime.key import Key
from vmferry.simulator import lifecycle
from vmferry.simulator.model import Host, Server

if TYPE_CHECKING:
    from testbed.storm.world import World


def draw_requests(dice: Random) -> list[Happening]:
    """Draw one of the first three for some storms."""
    if dice.random() > 0.25:
        return []
    return dice.choice([a_mistaken_evacuation, a_time_that_passes, a_pause_in_the_middle])(Random(dice.random()))


def a_mistaken_evacuation(dice: Random) -> list[Happening]:
    """A person requests the evacuation of a server on a live host.

    Another user may move the server; then the server's current host dies.
    """
    at, asked = dice.uniform(20, 60), list[Server]()
    moves = dice.random() < 0.7

    def evacuate(world: World) -> str | None:
        living = [one for one in movable(world) if world.site.cloud.hosts[one.host or ""].alive]
        if not living:
            return None
        asked.append(dice.choice(living))
        return asks(world, asked[0], "Evacuate")

    def move(world: World) -> str | None:
        if not asked or not moves:
            return None
        body: dict[str, Any] = {"migrate": {"host": None}}
        if asked[0].vm_state == "active":
            body = {"os-migrateLive": {"host": None, "block_migration": "auto"}}
        answer = world.site.ask("somebody", "compute", "POST", f"/servers/{asked[0].id}/action", (), body)
        return f"somebody moves {asked[0].name}: {answer.status_code}"

    def die(world: World) -> str | None:
        host = world.site.cloud.hosts.get(asked[0].host or "") if asked else None
        if host is None or not host.alive:
            return None
        lifecycle.kill_compute(world.site.cloud, host)
        return f"{host.name} dies"

    return [Happening(at, evacuate), Happening(at + 20, move), Happening(at + 110, die)]


def a_time_that_passes(dice: Random) -> list[Happening]:
    """A request that is blocked (locked or paused) until after its `startBefore`, and is unblocked then."""
    at, asked = dice.uniform(5, 60), list[Server]()
    span, paused = dice.uniform(5, 60), dice.random() < 0.5

    def ask(world: World) -> str | None:
        asked.append(dice.choice(movable(world)))
        until = format_time(world.moment() + timedelta(seconds=span))
        if not paused:
            world.site.ask("somebody", "compute", "POST", f"/servers/{asked[0].id}/action", (), {"lock": None})
        return asks(world, asked[0], "Auto", {"startBefore": until, "paused": paused})

    def free(world: World) -> str | None:
        if not asked:
            return None
        world.site.ask("somebody", "compute", "POST", f"/servers/{asked[0].id}/action", (), {"unlock": None})
        return changes(world, _key(asked[0]), {"paused": False})

    return [Happening(at, ask), Happening(at + span + dice.uniform(70, 110), free)]


def a_pause_in_the_middle(dice: Random) -> list[Happening]:
    """A person pauses a migration that may have shut down its server already."""
    at, asked = dice.uniform(5, 60), list[Server]()

    def ask(world: World) -> str | None:
        running = [one for one in movable(world) if one.vm_state == "active"]
        if not running:
            return None
        asked.append(dice.choice(running))
        return asks(world, asked[0], "Cold", {"stopIfRunning": True})

    def pause(world: World) -> str | None:
        return changes(world, _key(asked[0]), {"paused": True}) if asked else None

    return [Happening(at, ask), Happening(at + dice.choice([1, 5, 12, 27]), pause)]


def draw_failures(dice: Random) -> list[Happening]:
    """Draw one of the last three for some storms."""
    if dice.random() > 0.15:
        return []
    return dice.choice([a_move_that_fails, a_move_that_is_aborted, an_evacuation_too_late])(Random(dice.random()))


def a_move_that_fails(dice: Random) -> list[Happening]:
    """Live migrations from the server's host fail, and the request allows few attempts."""
    retries = dice.choice([0, 0, 1])

    def ask(world: World) -> str | None:
        running = [one for one in movable(world) if one.vm_state == "active" and one.host]
        if not running:
            return None
        server = dice.choice(running)
        world.site.cloud.hosts[server.host or ""].knobs = {"fail_pre_live": True}
        return asks(world, server, "Live", {"retries": retries})

    return [Happening(dice.uniform(5, 60), ask)]


def a_move_that_is_aborted(dice: Random) -> list[Happening]:
    """Another user aborts the operator's live migration, and the request allows more attempts."""
    at, asked = dice.uniform(5, 60), list[Server]()

    def ask(world: World) -> str | None:
        running = [one for one in movable(world) if one.vm_state == "active" and one.host]
        if not running:
            return None
        asked.append(dice.choice(running))
        world.site.cloud.hosts[asked[0].host or ""].knobs = {"live_seconds": 90}
        return asks(world, asked[0], "Live", {"timeout": "2m", "retries": 3})

    def abort(world: World) -> str | None:
        return aborts(world, asked[0]) if asked else None

    return [Happening(at, ask), *(Happening(at + after, abort) for after in (10, 25, 45))]


def an_evacuation_too_late(dice: Random) -> list[Happening]:
    """A host dies, some of its servers are evacuated, and it comes back; then further evacuations are requested."""
    at, dead = dice.uniform(5, 30), list[Host]()

    def die(world: World) -> str:
        dead.append(busiest(world))
        lifecycle.kill_compute(world.site.cloud, dead[0])
        return f"{dead[0].name} dies"

    def evacuate(world: World) -> str | None:
        here = [one for host in dead for one in on(world, host) if not moves(world, one)]
        return asks(world, dice.choice(here), "Evacuate") if here else None

    def come_back(world: World) -> str | None:
        if not dead:
            return None
        lifecycle.start_compute(world.site.cloud, dead[0])
        return f"{dead[0].name} comes back; {service(world, dead[0], {'forced_down': False})}"

    return [
        Happening(at, die),
        *(Happening(at + after, evacuate) for after in (60, 65)),
        Happening(at + 110, come_back),
        *(Happening(at + after, evacuate) for after in (215, 220, 225)),
    ]


def _key(server: Server) -> Key:
    return Key("VMMigration", MIGRATIONS, f"scene-{server.number}")
