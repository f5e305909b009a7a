"""The generated fleet: hosts and servers that differ in all facts that a verdict depends on. Pure, by a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from testbed.nova.hosts import Host
from vmferry.policy import Policy, StoragePool

ZONE, OTHER_ZONE = "cluster1", "cluster2"

#: by name: vCPUs, MiB of memory, GiB of root disk, extra specs; in addition to the flavors of the lab
FLAVORS: dict[str, tuple[int, int, int, dict[str, str]]] = {
    # like m1.tiny; the target of a resize
    "agree.tiny": (1, 256, 1, {}),
    # more vCPUs or more disk than the tight host has, but less than its overcommitted capacity
    "agree.vcpus": (8, 256, 1, {}),
    "agree.disk": (1, 256, 60, {}),
    "agree.ssd": (1, 256, 1, {"aggregate_instance_extra_specs:disk": "ssd"}),
    "agree.avx512": (1, 256, 1, {"trait:HW_CPU_X86_AVX512F": "required"}),
}

GROUPS = ("affinity", "anti-affinity", "soft-affinity", "soft-anti-affinity")


@dataclass(frozen=True)
class Slot:
    """A place for a server, which is recreated when it is lost."""

    name: str
    flavor: str
    home: str
    group: str | None = None
    #: the zone that the server is created for; None: any
    zone: str | None = None


@dataclass(frozen=True)
class Fleet:
    hosts: tuple[Host, ...]
    #: hosts of the second zone
    elsewhere: frozenset[str] = frozenset()
    #: Ubuntu's version by host, from the metadata of an aggregate; unknown for missing hosts
    systems: dict[str, str] = field(default_factory=dict)
    #: hosts of an aggregate with disk=ssd
    fast: frozenset[str] = frozenset()
    #: hosts so small that a single move decides whether the next one fits
    tight: frozenset[str] = frozenset()
    #: equal hosts, between which every migration is possible
    alike: tuple[str, ...] = ()
    #: hosts that may be killed or forced down temporarily, and hosts that may be disabled
    may_fail: tuple[str, ...] = ()
    may_be_disabled: tuple[str, ...] = ()
    slots: tuple[Slot, ...] = ()
    #: servers that fill the tight hosts and are never moved: (flavor, number) by host
    ballast: dict[str, tuple[str, int]] = field(default_factory=dict)

    def policy(self, base: Policy) -> Policy:
        """Return `base` with the shared storages of the hosts."""
        stores = sorted({host.store for host in self.hosts} - {"local"})
        pools = [StoragePool(store, frozenset(h.name for h in self.hosts if h.store == store)) for store in stores]
        return Policy(
            shared_storage=tuple(pools),
            local_unless_shared=base.local_unless_shared,
            host_down_for=base.host_down_for,
        )


def generate(seed: int) -> Fleet:
    """Generate eight hosts: three are equal, and the others each differ in properties that follow from the seed."""
    rng = random.Random(f"fleet {seed}")
    older = rng.choice(("IvyBridge-IBRS", "Haswell-noTSX-IBRS", "Broadwell-noTSX-IBRS"))
    newer = rng.choice(((8, 2, 2), (7, 2, 0), (6, 2, 1)))
    systems = {f"cmp{n}": "22.04" for n in range(1, 9)} | {
        "cmp4": rng.choice(("22.04", "24.04")),
        "cmp8": rng.choice(("22.04", "22.04", "24.04", "")),
    }
    more = rng.choice((("md-clear", "pku", "avx512vnni"), ("md-clear", "pku", "ssbd"), ("md-clear", "pku")))
    hosts = (
        Host("cmp1"),
        Host("cmp2"),
        Host("cmp3", cpu_model=older, cpu_features=("md-clear",), store=rng.choice(("shared", "second"))),
        Host("cmp4", libvirt=(10, 0, 0), qemu=newer),
        # Nova reserves 512 MiB: 4 GiB remain with overcommitment, and no server here is larger than 1 GiB
        Host("cmp5", numa_cells=1, cores_per_cell=2, threads_per_core=1, memory_gb=1, disk_gb=20),
        Host("cmp6"),
        Host("cmp7", store="second"),
        Host("cmp8", cpu_features=more, libvirt=(9, 0, 0), store="local"),
    )
    homes = ["cmp1", "cmp2", "cmp3", "cmp4", "cmp6", "cmp6", "cmp8"]

    def home() -> str:
        return rng.choice(homes)

    shapes: list[tuple[str, str, str | None, str | None]] = [
        *((flavor, home(), None, None) for flavor in ("m1.tiny",) * 9 + ("m1.small",) * 3 + ("m1.large",) * 2),
        ("agree.vcpus", "cmp1", None, None),
        ("agree.disk", "cmp2", None, None),
        ("agree.avx512", "cmp1", None, None),
        ("agree.avx512", "cmp6", None, None),
        ("agree.ssd", "cmp1", None, None),
        ("m1.tiny", "cmp7", None, None),
        ("m1.tiny", "cmp5", None, None),
        ("m1.tiny", home(), None, ZONE),
        ("m1.tiny", home(), None, ZONE),
        ("m1.tiny", "cmp7", None, OTHER_ZONE),
        ("m1.tiny", "cmp1", "affinity", None),
        ("m1.tiny", "cmp1", "affinity", None),
        ("m1.tiny", "cmp1", "anti-affinity", None),
        ("m1.tiny", "cmp2", "anti-affinity", None),
        ("m1.tiny", "cmp8", "anti-affinity", None),
        ("m1.tiny", "cmp2", "soft-affinity", None),
        ("m1.tiny", "cmp2", "soft-affinity", None),
        ("m1.tiny", "cmp1", "soft-anti-affinity", None),
        ("m1.tiny", "cmp2", "soft-anti-affinity", None),
    ]
    slots = tuple(Slot(f"s{n:02}", *shape) for n, shape in enumerate(shapes, 1))
    return Fleet(
        hosts,
        elsewhere=frozenset({"cmp7"}),
        systems={host: system for host, system in systems.items() if system},
        fast=frozenset({"cmp1", "cmp2", "cmp6", "cmp8"}),
        tight=frozenset({"cmp5"}),
        alike=("cmp1", "cmp2", "cmp6"),
        may_fail=("cmp2", "cmp3", "cmp6", "cmp8"),
        may_be_disabled=("cmp3", "cmp4", "cmp7", "cmp8"),
        slots=slots,
        ballast={"cmp5": ("m1.small", 2)},
    )
