"""Draws a storm from its seed: the fleet, the configuration, and all events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

from testbed.storm import pipelines, requests, scenes
from testbed.storm.common_cause import BREAKER, draw_common_cause
from testbed.storm.faults import Kind, Span
from testbed.storm.happening import MIGRATIONS, Happening, a_host, a_server
from vmferry.runtime.config import Config, parse
from vmferry.runtime.key import Key
from vmferry.simulator import lifecycle
from vmferry.simulator.fleet import Fleet, StrayServiceEntry, add_stray_service

if TYPE_CHECKING:
    from testbed.storm.world import World


@dataclass(frozen=True, slots=True)
class Plan:
    seed: int
    fleet: Fleet
    config: Config
    happenings: list[Happening]


def draw(seed: int) -> Plan:
    dice = Random(f"{seed}/plan")
    drawn = draw_fleet(dice)
    fleet, common = draw_common_cause(Random(f"{seed}/common-cause"), drawn)
    fleet, back = draw_way_back(Random(f"{seed}/way-back"), fleet)
    config = draw_config(dice, drawn)
    happenings = [*draw_requests(dice), *draw_happenings(dice), *scenes.draw_scene(Random(f"{seed}/scene"))]
    happenings += [*common, *back]
    happenings += requests.draw_requests(Random(f"{seed}/requests"))
    happenings += requests.draw_failures(Random(f"{seed}/failures"))
    happenings += draw_duplicates(Random(f"{seed}/duplicates"))
    happenings += pipelines.draw(Random(f"{seed}/pipeline"))
    happenings += draw_drip(Random(f"{seed}/drip"))
    happenings += draw_stuck(Random(f"{seed}/stuck"))
    return Plan(seed, fleet, config, sorted(happenings, key=lambda one: one.at))


# ---- the fleet


def draw_fleet(dice: Random) -> Fleet:
    hosts = []
    newer_from = dice.choice([9, 9, 9, 3])
    local_from = dice.choice([9, 9, 2, 0])
    for number in range(dice.randint(3, 5)):
        new = number >= newer_from
        hosts.append(
            {
                "name": f"cmp{number + 1}",
                "hypervisor": "8.2.2" if new else "6.2.0",
                "vcpus": dice.choice([8, 32]),
                "memory_gb": dice.choice([24, 48]),
                "disk_gb": 200,
                "store": "local" if number >= local_from else "pool",
            }
        )
    names = [str(host["name"]) for host in hosts]
    east = names if dice.random() < 0.8 else names[:2]
    aggregates = [{"name": "east", "zone": "east", "hosts": east}]
    if len(east) < len(names):
        aggregates.append({"name": "west", "zone": "west", "hosts": names[2:]})
    groups = [
        {"name": f"group-{number}", "policy": dice.choice(["anti-affinity", "affinity", "soft-anti-affinity"])}
        for number in range(dice.choice([0, 0, 1, 2]))
    ]
    return Fleet.model_validate(
        {
            "settings": {"nova": _nova(dice), "durations": _durations(dice)},
            "users": [
                {"name": name, "project": "admin", "roles": ["admin", "member"]}
                for name in ("admin", "vmferry", "somebody")
            ],
            "hosts": hosts,
            "aggregates": aggregates,
            "flavors": [
                {"name": "small", "vcpus": 1, "ram_mb": 1024, "disk_gb": 5},
                {"name": "big", "vcpus": 2, "ram_mb": 4096, "disk_gb": 10},
                {"name": "bigger", "vcpus": 3, "ram_mb": 4096, "disk_gb": 10},
            ],
            "images": [{"name": "cirros"}],
            "groups": groups,
            "servers": _servers(dice, names, groups),
        }
    )


def draw_way_back(dice: Random, fleet: Fleet) -> tuple[Fleet, list[Happening]]:
    """If some hosts run a newer version: add a server on one of these, and a request to move it to an older host."""
    oldest, newest = fleet.hosts[0], fleet.hosts[-1]
    if oldest.hypervisor == newest.hypervisor or dice.random() < 0.5:
        return fleet, []
    name = "vm-of-newest"
    more = {"name": name, "host": newest.name, "flavor": "small", "volume": "new", "state": "active"}
    body = fleet.model_dump(exclude_unset=True)
    spec: dict[str, Any] = {"type": dice.choice(["Live", "Cold"]), "target": {"host": oldest.name}}
    if spec["type"] == "Cold":
        spec["stopIfRunning"] = True

    def ask(world: World) -> str:
        server = next(one for one in world.site.cloud.servers.values() if one.name == name)
        request = {"server": {"id": server.id}, **spec}
        world.api.create("VMMigration", {"metadata": {"namespace": MIGRATIONS, "name": "way-back"}, "spec": request})
        return f"way-back: {name} on {server.host}: {request}"

    grown = Fleet.model_validate({**body, "servers": [*body["servers"], more]})
    return grown, [Happening(dice.uniform(5, 100), ask)]


def _servers(dice: Random, hosts: list[str], groups: list[dict[str, str]]) -> list[dict[str, Any]]:
    servers: list[dict[str, Any]] = []
    there: dict[str, list[str]] = {group["name"]: [] for group in groups}
    for number in range(dice.randint(2, 9)):
        host = dice.choice(hosts[:3])
        entry: dict[str, Any] = {
            "name": f"vm-{number + 1}",
            "host": host,
            "flavor": dice.choice(["small", "small", "big"]),
            "state": dice.choice(["active"] * 7 + ["stopped"] * 3 + ["paused", "suspended"]),
            **({"image": "cirros"} if dice.random() < 0.4 else {"volume": "new"}),
        }
        if dice.random() < 0.06:
            entry |= {"locked": True, "locked_reason": "audit"}
        if dice.random() < 0.05:
            entry["metadata"] = {"migration-priority": "never"}
        if groups and dice.random() < 0.5:
            group = dice.choice(groups)
            taken = there[group["name"]]
            fits = not taken or (host == taken[0] if group["policy"] == "affinity" else host not in taken)
            if fits:
                taken.append(host)
                entry["group"] = group["name"]
        servers.append(entry)
    return servers


def _nova(dice: Random) -> dict[str, Any]:
    return {
        "service_down_time": dice.choice([8, 30]),
        "report_interval": 2,
        "max_concurrent_live_migrations": dice.choice([1, 2, 5]),
        "copy_failure": dice.choice(["rollback", "rollback", "error"]),
        "max_microversion": dice.choice(["2.100", "2.100", "2.90"]),
    }


def _durations(dice: Random) -> dict[str, float]:
    return {
        "live_copy": dice.choice([1.5, 10, 40]),
        "cold_move": dice.choice([0.6, 10, 40]),
        "evacuate": dice.choice([0.8, 10]),
        "migration_row": dice.choice([0.05, 0.05, 4, 15]),
        "live_precheck": dice.choice([0.1, 3]),
        "live_post": dice.choice([0.1, 5]),
        "confirm": dice.choice([0.2, 5]),
        "confirm_post": dice.choice([0.1, 4]),
        "power": dice.choice([0.2, 8, 25]),
        "host_start": dice.choice([0.3, 5]),
    }


def draw_config(dice: Random, fleet: Fleet) -> Config:
    pool = [host.name for host in fleet.hosts if host.store != "local"]
    systems: dict[str, list[str]] = {"Ubuntu 22.04": [], "Ubuntu 24.04": []}
    for host in fleet.hosts:
        systems["Ubuntu 24.04" if host.hypervisor.startswith("8") else "Ubuntu 22.04"].append(host.name)
    policy: dict[str, Any] = {
        "sharedStorage": [{"name": "pool", "hosts": pool}] if pool else [],
        "localUnlessShared": True,
        "limits": {
            "perSource": dice.choice([1, 2, 4]),
            "perTarget": dice.choice([1, 2]),
            "total": dice.choice([1, 3, 10]),
        },
        "maintenance": {
            "maxHostsPerCluster": dice.choice([1, 1, 2]),
            "settle": "10s",
            "verifyEvery": "30s",
            "headroomPercent": dice.choice([0, 0, 10]),
        },
        "operatingSystems": [{"system": name, "hosts": hosts} for name, hosts in systems.items() if hosts],
        "hostDownFor": "30s",
        "timeoutBase": dice.choice(["1m", "3m"]),
        "timeoutPerGiB": "10s",
        "stopTimeout": "1m",
        "recheck": "15s",
        "stuckAfter": "1m",
        "bandwidth": dice.choice([None, None, 2]),
        "breaker": BREAKER,
    }
    if dice.random() < 0.2:
        policy["ttlAfterFinished"] = "2m"
    return parse({"policy": policy, "resync": dice.choice(["1m", "10m"]), "workers": dice.choice([1, 4])}, {})


# ---- requests of people


def draw_requests(dice: Random) -> list[Happening]:
    found = [_migration(Random(dice.random()), number) for number in range(dice.choice([0, 1, 2, 4, 7]))]
    found += [_maintenance(Random(dice.random()), number) for number in range(dice.choice([0, 1, 1, 2, 3]))]
    return found


def _migration(dice: Random, number: int) -> Happening:
    name = f"m-{number + 1}"

    def do(world: World) -> str | None:
        server = a_server(world, dice)
        spec: dict[str, Any] = {"type": dice.choice(["Auto", "Live", "Live", "Cold", "Cold", "Evacuate"])}
        spec["server"] = {"id": server.id} if dice.random() < 0.7 else {"name": server.name, "project": "admin"}
        if dice.random() < 0.4:
            spec["target"] = {"host": a_host(world, dice).name}
        if spec["type"] in ("Cold", "Auto") and dice.random() < 0.6:
            spec["stopIfRunning"] = True
        if dice.random() < 0.3:
            spec["timeout"] = dice.choice(["10s", "30s", "2m"])
        if spec["type"] in ("Live", "Auto") and dice.random() < 0.3:
            spec["onTimeout"] = "ForceComplete"
        chances = (
            ("retries", dice.choice([0, 1, 3]), 0.5),
            ("preflightOnly", True, 0.06),
            ("paused", True, 0.08),
            ("osUpgrade", True, 0.2),
            ("priority", dice.choice(["Low", "High"]), 0.3),
            ("ttlAfterFinished", dice.choice(["1s", "1m"]), 0.15),
        )
        spec |= {field: value for field, value, chance in chances if dice.random() < chance}
        if ("VMMigration", MIGRATIONS, name) in world.api.objects:
            return None
        world.api.create("VMMigration", {"metadata": {"namespace": MIGRATIONS, "name": name}, "spec": spec})
        return f"{name}: {server.name} on {server.host} {spec}"

    return Happening(dice.uniform(0, 200), do)


def _maintenance(dice: Random, number: int) -> Happening:
    name = f"h-{number + 1}"

    def do(world: World) -> str | None:
        host = dice.choice(list(world.site.cloud.hosts.values())[:3])
        spec: dict[str, Any] = {"host": host.name if dice.random() < 0.8 else host.uuid, "enabled": True}
        chances = (
            ("running", dice.choice(["ColdMigrate", "Leave"]), 0.35),
            ("poweredOff", "Leave", 0.2),
            ("onBlockers", "Refuse", 0.15),
            ("maxParallel", dice.choice([1, 4]), 0.6),
            ("preflightOnly", True, 0.08),
            ("returnVMs", True, 0.4),
            ("ignoreHeadroom", True, 0.2),
            ("reason", "replace DIMM 4", 0.3),
            ("migration", {"timeout": dice.choice(["20s", "2m"]), "retries": dice.choice([0, 1])}, 0.4),
        )
        spec |= {field: value for field, value, chance in chances if dice.random() < chance}
        other = a_host(world, dice)
        if dice.random() < 0.15 and other is not host:
            spec["target"] = {"host": other.name}
        if ("HostMaintenance", "", name) in world.api.objects:
            return None
        world.api.create("HostMaintenance", {"metadata": {"name": name}, "spec": spec})
        return f"{name}: {spec}"

    return Happening(dice.uniform(0, 150), do)


# ---- other events


def draw_happenings(dice: Random) -> list[Happening]:
    chosen: list[Happening] = []
    for _ in range(dice.choice([0, 3, 6, 10, 16])):
        make = dice.choices([one for one, _ in WEIGHTS], [weight for _, weight in WEIGHTS])[0]
        at = dice.uniform(2, 290)
        own = Random(dice.random())
        if make is fault:
            chosen.append(fault(own, at))
        else:
            chosen.append(Happening(at, lambda world, make=make, own=own: make(world, own)))  # type: ignore[misc]
    return chosen


def fault(dice: Random, at: float) -> Happening:
    # `pipelines` draws refused creations, `draw_drip` draws the drip
    kinds = [kind for kind in Kind if kind not in (Kind.CREATES_REFUSED, Kind.DRIP)]
    return _span(dice.choice(kinds), dice, at)


def _span(kind: Kind, dice: Random, at: float) -> Happening:
    seconds, chance = dice.uniform(5, 100), dice.choice([0.1, 0.4, 1.0])
    seed = dice.random()

    def do(world: World) -> str | None:
        span = Span(kind, at, at + seconds, chance, Random(seed))
        world.faults.spans.append(span)
        return str(span)

    return Happening(at, do)


def draw_drip(dice: Random) -> list[Happening]:
    return [_span(Kind.DRIP, dice, dice.uniform(2, 250))] if dice.random() < 0.2 else []


def an_object(world: World, dice: Random, kind: str) -> Key | None:
    keys = [key for key in world.api.objects if key.kind == kind]
    return dice.choice(keys) if keys else None


def changes_spec(world: World, dice: Random) -> str | None:
    """A person changes one field of a spec, such as `enabled`, `paused` or `priority`."""
    kind = dice.choice(["HostMaintenance", "HostMaintenance", "VMMigration"])
    key = an_object(world, dice, kind)
    if key is None:
        return None
    spec = dict(world.api.objects[key]["spec"])
    if kind == "HostMaintenance":
        field, value = dice.choice(
            [
                ("enabled", not spec.get("enabled", True)),
                ("enabled", not spec.get("enabled", True)),
                ("enabled", not spec.get("enabled", True)),
                ("maxParallel", dice.choice([1, 5])),
                ("returnVMs", not spec.get("returnVMs", False)),
                ("running", dice.choice(["LiveMigrate", "ColdMigrate", "Leave"])),
                ("preflightOnly", not spec.get("preflightOnly", False)),
                ("onBlockers", dice.choice(["Proceed", "Refuse"])),
            ]
        )
    else:
        field, value = dice.choice(
            [
                ("paused", not spec.get("paused", False)),
                ("priority", dice.choice(["Low", "Normal", "High"])),
                ("type", dice.choice(["Live", "Cold", "Auto"])),
                ("retries", dice.choice([0, 5])),
            ]
        )
        if field == "type" and (spec.get("stopIfRunning") or spec.get("onTimeout")):
            return None
    spec[field] = value
    taken = world.api.put_spec(key, spec)
    return f"{key.name}: {field}: {value}{'' if taken else ' (refused)'}"


def deletes_object(world: World, dice: Random) -> str | None:
    key = an_object(world, dice, dice.choice(["VMMigration", "VMMigration", "HostMaintenance"]))
    if key is None:
        return None
    world.api.delete(key)
    return f"kubectl delete {key}"


def touches_object(world: World, dice: Random) -> str | None:
    key = an_object(world, dice, dice.choice(["VMMigration", "HostMaintenance"]))
    if key is None:
        return None
    world.api.touch(key)
    return None


def asks_nova(world: World, dice: Random) -> str | None:
    """Another user acts on a server."""
    server = a_server(world, dice)
    target = a_host(world, dice).name
    body: dict[str, Any] = dice.choice(
        [
            {"os-migrateLive": {"host": target, "block_migration": "auto"}},
            {"os-migrateLive": {"host": None, "block_migration": "auto"}},
            {"migrate": {"host": target}},
            {"confirmResize": None},
            {"revertResize": None},
            {"resize": {"flavorRef": next(f.id for f in world.site.cloud.flavors.values() if f.name == "bigger")}},
            {"os-stop": None},
            {"os-start": None},
            {"lock": {"locked_reason": "mine"}},
            {"unlock": None},
            {"pause": None},
            {"suspend": None},
            {"resume": None},
        ]
    )
    answer = world.site.ask("somebody", "compute", "POST", f"/servers/{server.id}/action", (), body)
    if answer.status_code < 300:
        world.judge.touched.add(server.id)
    return f"somebody: {server.name}: {body}: {answer.status_code}"


def aborts(world: World, dice: Random) -> str | None:
    running = [m for m in world.site.cloud.migrations.values() if m.type == "live-migration" and m.status == "running"]
    return scenes.aborts(world, world.site.cloud.servers[dice.choice(running).server_id]) if running else None


def deletes_server(world: World, dice: Random) -> str | None:
    server = a_server(world, dice)
    answer = world.site.ask("somebody", "compute", "DELETE", f"/servers/{server.id}")
    return f"somebody deletes {server.name}: {answer.status_code}"


def service(world: World, dice: Random) -> str | None:
    """Another user enables or disables a host."""
    host = a_host(world, dice)
    body: dict[str, Any] = dice.choice(
        [{"status": "enabled"}, {"status": "disabled", "disabled_reason": "new rack"}, {"status": "disabled"}]
    )
    return scenes.service(world, host, body)


def host_dies(world: World, dice: Random) -> str | None:
    """A host dies. It may be forced down, may come back, or both."""
    cloud, host = world.site.cloud, a_host(world, dice)
    if not host.alive:
        return None
    lifecycle.kill_compute(cloud, host)
    marked, back = dice.choice([None, 20.0, 50.0]), dice.choice([None, 5.0, 40.0, 120.0])

    def mark() -> None:
        if not host.alive:
            host.forced_down = True
            world.say(f"-- {host.name} is marked as dead")

    def come_back() -> None:
        world.say(f"-- {host.name} comes back")
        lifecycle.start_compute(cloud, host)

    def unmark() -> None:
        body = {"forced_down": False}
        world.site.ask("somebody", "compute", "PUT", f"/os-services/{host.service_uuid}", (), body)

    if marked is not None:
        cloud.clock.after(marked, mark)
    if back is not None:
        cloud.clock.after(back, come_back)
        cloud.clock.after(back + 30, unmark)
    return f"{host.name} dies; marked {marked}, back {back}"


def knob(world: World, dice: Random) -> str | None:
    """Moves fail or are slow on a host, for a while or permanently."""
    host = a_host(world, dice)
    knobs: dict[str, Any] = dice.choice(
        [
            {"fail_live_at": 0.5},
            {"fail_pre_live": True},
            {"never_converge": True},
            {"fail_cold": True},
            {"live_seconds": 90},
            {"cold_seconds": 90},
            {},
        ]
    )
    host.knobs = knobs
    if dice.random() < 0.5:
        world.site.cloud.clock.after(dice.uniform(20, 200), lambda: setattr(host, "knobs", {}))
    return f"{host.name}: {knobs}"


def switch(world: World, dice: Random) -> str | None:
    """The kill switch is on for a while."""
    data = dice.choice([{"stop": "true"}, {"stop": "true", "reason": "audit"}, {"zones": "east"}, {"stop": "maybe"}])
    world.api.switch = data
    seconds = dice.uniform(5, 90)
    world.site.cloud.clock.after(seconds, lambda: setattr(world.api, "switch", None))
    return f"the kill switch for {seconds:.0f} s: {data}"


def kill(world: World, dice: Random) -> str | None:
    """An operator is killed at one of its next effects."""
    alive = world.alive()
    if not alive:
        return None
    process = dice.choice(alive)
    process.dies_at = dice.randint(1, 8), dice.random() < 0.5
    return f"{process.name} will die at effect {process.dies_at}"


def stop(world: World, dice: Random) -> str | None:
    """An operator gets SIGTERM; a new one starts after it has ended."""
    alive = world.alive()
    if not alive:
        return None
    process = dice.choice(alive)
    process.stop.set()
    world.bury_later(process)
    return f"{process.name} is told to stop"


def freeze(world: World, dice: Random) -> str | None:
    alive = world.alive()
    if not alive:
        return None
    process, seconds = dice.choice(alive), dice.choice([3.0, 12.0, 30.0, 90.0])
    process.frozen_until = world.loop.time() + seconds
    return f"{process.name} is frozen for {seconds:.0f} s"


def another(world: World, dice: Random) -> str | None:
    if len(world.alive()) > 1:
        return None
    world.start_operator()
    return None


def clock_jumps(world: World, dice: Random) -> str | None:
    """The wall clock of one operator is wrong for a while."""
    alive = world.alive()
    if not alive:
        return None
    process, seconds = dice.choice(alive), dice.choice([-3600.0, -90.0, -10.0, 10.0, 90.0, 3600.0])
    process.skew = seconds
    world.site.cloud.clock.after(dice.uniform(5, 120), lambda: setattr(process, "skew", 0.0))
    return f"the clock of {process.name} jumps by {seconds:.0f} s"


def draw_stuck(dice: Random) -> list[Happening]:
    """Draw leftovers that never end, for some storms. It has its own random numbers."""
    if dice.random() < 0.8:
        return []
    makes = [
        dice.choice([leftover_record, leftover_record, endless_task, endless_move]) for _ in range(dice.randint(1, 3))
    ]
    return [Happening(dice.uniform(0, 120), partial(_with_dice, make, Random(dice.random()))) for make in makes]


def _with_dice(make: Callable[[World, Random], str | None], dice: Random, world: World) -> str | None:
    return make(world, dice)


def leftover_record(world: World, dice: Random) -> str | None:
    """An idle server has an open migration record from years ago."""
    server = a_server(world, dice)
    if server.host is None or server.task_state is not None or server.vm_state not in ("active", "stopped"):
        return None
    others = [name for name in world.site.cloud.hosts if name != server.host]
    source, target = (dice.choice(others), server.host) if dice.random() < 0.6 else (server.host, dice.choice(others))
    word = dice.choice(["accepted", "queued", "pre-migrating", "running", "post-migrating"])
    record = world.site.cloud.add_record(server, "live-migration", word, source, target, 7e7)
    world.judge.leftovers[record.uuid] = world.site.cloud.now
    world.judge.touched.add(server.id)
    return f"{server.name} on {server.host}: {record.uuid} from {source} to {target} is {word} for years"


def endless_task(world: World, dice: Random) -> str | None:
    """A server has a task that Nova never finishes."""
    server = a_server(world, dice)
    if server.task_state is not None or server.deleted_at is not None:
        return None
    world.site.cloud.set_task(server, dice.choice(["deleting", "image_snapshot", "rebooting"]))
    world.judge.touched.add(server.id)
    return f"{server.name}: {server.task_state} for ever"


def endless_move(world: World, dice: Random) -> str | None:
    """A server has a migration of another user that Nova never finishes."""
    server = a_server(world, dice)
    if server.host is None or server.task_state is not None or server.vm_state != "active":
        return None
    target = dice.choice([name for name in world.site.cloud.hosts if name != server.host])
    world.site.cloud.set_task(server, "migrating")
    word = dice.choice(["queued", "preparing", "running"])
    record = world.site.cloud.add_record(server, "live-migration", word, server.host, target, 1.0)
    world.judge.touched.add(server.id)
    return f"{server.name} on {server.host}: {record.uuid} to {target} is {word} for ever"


def draw_duplicates(dice: Random) -> list[Happening]:
    """Draw a second service record for some storms, with its own random numbers, so that other storms do not change."""
    if dice.random() < 0.88:
        return []
    own, seconds = Random(dice.random()), dice.uniform(110, 200)
    return [Happening(dice.uniform(2, 180), lambda world: second_record(world, own, seconds))]


def second_record(world: World, dice: Random, seconds: float) -> str | None:
    """For a while Nova lists a second compute service with a host's name, before or after the host's real service."""
    cloud = world.site.cloud
    host = dice.choice(list(cloud.hosts.values())[:3])
    entry = StrayServiceEntry(
        host=host.name,
        state=dice.choice(["up", "down"]),
        status=dice.choice(["enabled", "disabled"]),
        forced_down=dice.random() < 0.5,
        first=dice.random() < 0.5,
    )
    stray = add_stray_service(cloud, entry)

    def end() -> None:
        if stray in cloud.stray_services:
            cloud.stray_services.remove(stray)
            world.say(f"-- {host.name} is listed once again")

    cloud.clock.after(seconds, end)
    return f"{host.name} is listed twice for {seconds:.0f} s: {entry}"


#: the events and their weights
WEIGHTS: list[tuple[Any, int]] = [
    (fault, 10),
    (changes_spec, 5),
    (deletes_object, 3),
    (touches_object, 1),
    (asks_nova, 7),
    (aborts, 2),
    (deletes_server, 1),
    (service, 2),
    (host_dies, 4),
    (knob, 4),
    (switch, 2),
    (kill, 5),
    (stop, 1),
    (freeze, 2),
    (another, 2),
    (clock_jumps, 2),
]
