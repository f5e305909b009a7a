"""A large cloud as a `Snapshot`, deterministic by its parameters and typical of an operator of several hundred hosts.

Availability zones have 50 hosts each. Some hosts are down, disabled or full, and one in five runs the newer system.
Servers have eight flavors; some boot from an image, some are off, locked or in a group; each has its own metadata.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from testbed.build import JAMMY, NOBLE, facts, flavor, host, ident, room, server, snapshot
from vmferry.cloud.model import Host, Inventory, Server, ServerGroup, Snapshot

HOSTS_PER_CLUSTER = 50
#: (vCPUs, MiB memory, GiB disk)
FLAVORS = tuple(
    flavor(name=f"m1.x{n}", vcpus=n, memory_mb=2048 * n, disk_gb=10 * n * (n % 2)) for n in (1, 2, 3, 4, 6, 8, 12, 16)
)
IMAGES = tuple(ident(f"image-{n}") for n in range(40))
POLICIES = ("anti-affinity", "affinity", "soft-anti-affinity", "soft-affinity")


def big_fleet(hosts: int, servers: int, seed: int = 1) -> Snapshot:
    """Build `hosts` hosts named cmp0000 and so on, with `servers` servers spread evenly over them."""
    chance = random.Random(seed)
    names = [f"cmp{n:04}" for n in range(hosts)]
    everyone = list(_servers(names, servers, chance))
    return snapshot(
        everyone,
        [_host(name, number, chance) for number, name in enumerate(names)],
        server_groups=list(_groups(everyone)),
    )


def _host(name: str, number: int, chance: random.Random) -> Host:
    used = chance.randint(0, 300_000)
    inventories = room(
        VCPU=Inventory(512, used // 2048),
        MEMORY_MB=Inventory(393_216, used),
        DISK_GB=Inventory(4000, used // 1024),
    )
    return host(
        name,
        zone=f"cluster{number // HOSTS_PER_CLUSTER}",
        up=number % 40 != 7,
        enabled=number % 25 != 3,
        inventories=inventories,
        facts=facts(system=NOBLE if number % 5 == 4 else JAMMY),
    )


def _servers(names: list[str], count: int, chance: random.Random) -> Iterator[Server]:
    for n in range(count):
        yield server(
            name=f"web-{n}",
            host=names[n % len(names)],
            flavor=FLAVORS[chance.randrange(len(FLAVORS))],
            image_id=IMAGES[chance.randrange(len(IMAGES))] if chance.random() < 0.4 else None,
            vm_state="stopped" if chance.random() < 0.1 else "active",
            locked=chance.random() < 0.02,
            metadata={"owner": f"team-{n % 37}", "serial": str(n)},
        )


def _groups(everyone: list[Server]) -> Iterator[ServerGroup]:
    """Put one server in ten into a group of four."""
    grouped = everyone[::10]
    for n in range(0, len(grouped), 4):
        name = f"group-{n}"
        members = frozenset(one.id for one in grouped[n : n + 4])
        yield ServerGroup(ident(name), name, POLICIES[n // 4 % len(POLICIES)], members)
