"""Scenes: events that affect the same host or server within a minute or two, which random draws rarely produce.

Each storm has at most one scene; its other events are drawn at random.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

from testbed.storm.faults import Kind, Span
from testbed.storm.happening import MIGRATIONS, Happening
from vmferry.runtime.key import Key
from vmferry.simulator import lifecycle
from vmferry.simulator.model import Host, Server, ServerGroup

if TYPE_CHECKING:
    from testbed.storm.world import World


def draw_scene(dice: Random) -> list[Happening]:
    if dice.random() < 0.4:
        return []
    return dice.choice(SCENES)(dice, dice.uniform(10, 120))


def a_host_fails(dice: Random, at: float) -> list[Happening]:
    """A host dies, and people request moves of its servers; it may be forced down, and may come back."""
    back = dice.choice([None, 35.0, 60.0, 100.0])
    marked = dice.choice([None, None, 3.0, 40.0])
    asked = [dice.choice([2.0, 12.0, 45.0, 70.0]) for _ in range(3)]
    kinds = [dice.choice(["Auto", "Evacuate"]) for _ in asked]
    dead: list[Host] = []

    def dies(world: World) -> str:
        host = busiest(world)
        dead.append(host)
        lifecycle.kill_compute(world.site.cloud, host)
        return f"{host.name} fails"

    def mark(world: World) -> str | None:
        return service(world, dead[0], {"forced_down": True}) if dead else None

    def comes_back(world: World) -> str | None:
        if not dead:
            return None
        lifecycle.start_compute(world.site.cloud, dead[0])
        return f"{dead[0].name} comes back; {service(world, dead[0], {'forced_down': False})}"

    def ask(number: int) -> Callable[[World], str | None]:
        def do(world: World) -> str | None:
            here = [one for host in dead for one in on(world, host) if not moves(world, one)]
            return asks(world, here[0], kinds[number]) if here else None

        return do

    found = [Happening(at, dies), *(Happening(at + after, ask(n)) for n, after in enumerate(asked))]
    if marked is not None:
        found.append(Happening(at + marked, mark))
    if back is not None:
        found.append(Happening(at + back, comes_back))
    return found


def a_host_is_others_too(dice: Random, at: float) -> list[Happening]:
    """Another user disables or enables a host before, during or after its maintenance, which may end."""
    before = dice.choice([None, {"status": "disabled", "disabled_reason": "new rack"}])
    meanwhile = dice.choice([{"status": "disabled", "disabled_reason": "new rack"}, {"status": "enabled"}, None])
    ends = dice.random() < 0.7
    hosts: list[Host] = []

    def begins(world: World) -> str:
        hosts.append(busiest(world) if dice.random() < 0.5 else dice.choice(list(world.site.cloud.hosts.values())[:3]))
        told = service(world, hosts[0], before) if before else ""
        return f"{told} {maintains(world, 'scene-1', hosts[0], {})}"

    def another(world: World) -> str | None:
        if not hosts:
            return None
        others = [host for host in list(world.site.cloud.hosts.values())[:3] if host is not hosts[0]]
        return maintains(world, "scene-2", dice.choice([hosts[0], *others]), {})

    def between(world: World) -> str | None:
        return service(world, hosts[0], meanwhile) if meanwhile and hosts else None

    def end(world: World) -> str | None:
        return changes(world, Key("HostMaintenance", "", "scene-1"), {"enabled": False}) if ends else None

    whenever = [at, at + dice.uniform(1, 60), at + dice.uniform(30, 100), at + dice.uniform(60, 180)]
    return [Happening(when, do) for when, do in zip(whenever, (begins, another, between, end), strict=True)]


def a_group_moves(dice: Random, at: float) -> list[Happening]:
    """All members of a server group move at once, in some storms to the same host."""
    policy, kind, same = dice.choice(["anti-affinity", "affinity"]), dice.choice(["Live", "Auto"]), dice.random() < 0.4
    members: list[Server] = []

    def is_there(world: World) -> str | None:
        free = [one for one in movable(world) if one.group_id is None]
        if not free:
            return None
        hosts = {one.host: one for one in free}
        together = [one for one in free if one.host == free[0].host]
        members.extend(list(hosts.values()) if policy == "anti-affinity" else together)
        group = ServerGroup(f"scene-{world.plan.seed}", "scene", policy, members[0].project_id, members[0].user_id)
        group.members = [one.id for one in members]
        world.site.cloud.groups[group.id] = group
        for one in members:
            one.group_id = group.id
        return f"{policy} of {', '.join(one.name for one in members)}"

    def all_at_once(world: World) -> str:
        host = dice.choice(list(world.site.cloud.hosts))
        target = {"target": {"host": host}} if same else {}
        return "; ".join(asks(world, one, kind, target) for one in members)

    return [Happening(0.0, is_there), Happening(at, all_at_once)]


def the_switch_is_thrown(dice: Random, at: float) -> list[Happening]:
    """The kill switch is turned on during several moves, with a slow cloud."""
    seconds = dice.uniform(20, 80)

    def much(world: World) -> str:
        world.faults.spans.append(Span(Kind.CLOUD_SLOW, at, at + 90, 1.0, Random(0)))
        return "; ".join(asks(world, dice.choice(movable(world)), "Auto") for _ in range(4))

    def throw(world: World) -> str:
        world.api.switch = {"stop": "true"}
        world.site.cloud.clock.after(seconds, lambda: setattr(world.api, "switch", None))
        return f"the kill switch for {seconds:.0f} s"

    return [Happening(at, much), Happening(at + dice.uniform(3, 40), throw)]


def a_name_changes(dice: Random, at: float) -> list[Happening]:
    """Two servers swap names while one of them is shut down for a move that names its server."""
    moved: list[Server] = []

    def move(world: World) -> str:
        moved.append(dice.choice(movable(world)))
        by_name = {"server": {"name": moved[0].name, "project": "admin"}, "stopIfRunning": True}
        return asks(world, moved[0], "Cold", by_name)

    def rename(world: World) -> str | None:
        if not moved:
            return None
        one, other = moved[0], dice.choice(movable(world))
        for server, name in ((one, other.name), (other, one.name)):
            body = {"server": {"name": name}}
            world.site.ask("somebody", "compute", "PUT", f"/servers/{server.id}", (), body)
        return f"{one.id} is {one.name} now, and {other.id} is {other.name}"

    return [Happening(at, move), Happening(at + dice.uniform(2, 12), rename)]


def a_person_acts_too(dice: Random, at: float) -> list[Happening]:
    """Another user moves the same server, or aborts the operator's move; then the VMMigration may be deleted."""
    theirs, deleted = dice.random() < 0.5, dice.random() < 0.6
    wanted: list[Server] = []

    def move(world: World) -> str:
        running = [one for one in movable(world) if one.vm_state == "active"] or movable(world)
        wanted.append(dice.choice(running))
        world.site.cloud.hosts[wanted[0].host or ""].knobs = {"live_seconds": 90}
        own = asks(world, wanted[0], "Live", {"timeout": "2m"})
        return f"{moves_too(world)}; {own}" if theirs else own

    def moves_too(world: World) -> str:
        body = {"os-migrateLive": {"host": None, "block_migration": "auto"}}
        answer = world.site.ask("somebody", "compute", "POST", f"/servers/{wanted[0].id}/action", (), body)
        world.judge.touched.add(wanted[0].id)
        return f"somebody: {wanted[0].name}: {body}: {answer.status_code}"

    def abort(world: World) -> str | None:
        return None if theirs or not wanted else aborts(world, wanted[0])

    def delete(world: World) -> str | None:
        key = Key("VMMigration", MIGRATIONS, f"scene-{wanted[0].number}") if wanted else None
        if not deleted or key not in world.api.objects:
            return None
        world.api.delete(key)
        return f"kubectl delete {key}"

    return [
        Happening(at, move),
        Happening(at + dice.uniform(8, 50), abort),
        Happening(at + dice.uniform(20, 70), delete),
    ]


def reads_are_unsure(dice: Random, at: float) -> list[Happening]:
    """Some reads of the cloud fail, in various ways, during several moves."""
    chance = dice.choice([0.2, 0.5])

    def reads_fail(world: World) -> str:
        world.faults.spans.append(Span(Kind.READS_FAIL, at, at + 120, chance, Random(0)))
        return f"reads of the cloud fail for 120 s, {chance:.0%}"

    def much(world: World) -> str:
        return "; ".join(asks(world, dice.choice(movable(world)), "Auto") for _ in range(4))

    return [Happening(at, reads_fail), Happening(max(0.0, at + dice.uniform(-30, 10)), much)]


def nobody_lists(dice: Random, at: float) -> list[Happening]:
    """Lists of the cloud fail for longer than the view's maximum age, while single reads work; moves are requested."""

    def lists_fail(world: World) -> str:
        world.faults.spans.append(Span(Kind.LISTS_FAIL, at, at + 170, 1.0, Random(0)))
        return "lists of the cloud fail for 170 s"

    def much(world: World) -> str:
        return "; ".join(asks(world, dice.choice(movable(world)), "Auto") for _ in range(3))

    return [Happening(at, lists_fail), Happening(at + dice.uniform(60, 120), much)]


SCENES: list[Callable[[Random, float], list[Happening]]] = [
    a_host_fails,
    a_host_fails,
    a_host_is_others_too,
    a_host_is_others_too,
    a_group_moves,
    the_switch_is_thrown,
    a_name_changes,
    a_person_acts_too,
    a_person_acts_too,
    reads_are_unsure,
    nobody_lists,
]


# ---- helpers


def on(world: World, host: Host) -> list[Server]:
    return [one for one in world.site.cloud.servers_on(host.name) if one.deleted_at is None]


def busiest(world: World) -> Host:
    """The live host with the most servers."""
    living = [host for host in world.site.cloud.hosts.values() if host.alive]
    return max(living or world.site.cloud.hosts.values(), key=lambda host: len(on(world, host)))


def movable(world: World) -> list[Server]:
    """The servers that are probably movable; all servers if there are none."""
    there = [one for one in world.site.cloud.servers.values() if one.deleted_at is None and one.host]
    free = [one for one in there if not (one.locked_by or one.metadata or one.group_id or one.task_state)]
    ready = [one for one in free if one.vm_state in ("active", "stopped")]
    return ready or there or list(world.site.cloud.servers.values())


def moves(world: World, server: Server) -> bool:
    """Whether a scene has created a VMMigration of the server already."""
    return Key("VMMigration", MIGRATIONS, f"scene-{server.number}") in world.api.objects


def asks(world: World, server: Server, kind: str, more: dict[str, Any] | None = None) -> str:
    """A person applies a VMMigration."""
    spec = {"server": {"id": server.id}, "type": kind} | (more or {})
    if moves(world, server):
        return f"{server.name} is asked for already"
    name = f"scene-{server.number}"
    world.api.create("VMMigration", {"metadata": {"namespace": MIGRATIONS, "name": name}, "spec": spec})
    return f"{name}: {server.name} on {server.host}: {spec}"


def aborts(world: World, server: Server) -> str | None:
    """Another user aborts the server's live migration, whichever user started it."""
    running = [m for m in world.site.cloud.migrations_of(server.id) if m.type == "live-migration"]
    if not running or running[-1].status != "running":
        return None
    record = running[-1]
    answer = world.site.ask("somebody", "compute", "DELETE", f"/servers/{server.id}/migrations/{record.id}")
    world.judge.touched.add(server.id)
    if answer.status_code < 300:
        world.judge.aborted.add(record.uuid)
    return f"somebody aborts {record.uuid}: {answer.status_code}"


def maintains(world: World, name: str, host: Host, more: dict[str, Any]) -> str:
    spec = {"host": host.name, "enabled": True} | more
    world.api.create("HostMaintenance", {"metadata": {"name": name}, "spec": spec})
    return f"{name}: {spec}"


def changes(world: World, key: Key, more: dict[str, Any]) -> str | None:
    if key not in world.api.objects:
        return None
    world.api.put_spec(key, world.api.objects[key]["spec"] | more)
    return f"{key}: {more}"


def service(world: World, host: Host, body: dict[str, Any]) -> str:
    answer = world.site.ask("somebody", "compute", "PUT", f"/os-services/{host.service_uuid}", (), body)
    world.judge.changed[host.name] = world.site.cloud.now
    return f"somebody: {host.name}: {body}: {answer.status_code}"
