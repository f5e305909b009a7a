"""What an administrator has written onto hosts in the cloud itself: aggregate metadata and custom traits. Pure.

Keys of an aggregate's metadata, each also with the prefix `vmferry:`, which wins over the plain key:

    os_version       22.04, with os_distro beside it; or both at once: Ubuntu 22.04
    os_distro        ubuntu
    cpu_mode         what guests see: host-model, host-passthrough or custom
    cpu_model        with custom: libvirt's name of the model
    shared_storage   the name of the shared storage that the hosts' ephemeral disks lie on

Traits of a host's resource provider: CUSTOM_OS_UBUNTU_22_04. Nova's filters use some of the plain keys to choose
hosts by the *guest's* system: on such clouds the prefixed ones say what is meant of the host.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from vmferry.cloud.facts.guest_cpu import guest_cpu
from vmferry.cloud.facts.os_info import operating_system
from vmferry.cloud.model import Aggregate, Fact, HostFacts, OperatingSystem

PREFIX = "vmferry:"
OS_TRAIT = "CUSTOM_OS_"
#: no names: two hosts with `shared_storage: true` need not share the same one
_NO_POOL = frozenset({"", "true", "false", "yes", "no", "on", "off", "1", "0", "none"})


def facts(aggregates: Iterable[Aggregate], traits: Iterable[str], read_at: datetime | None) -> HostFacts:
    """What the aggregates of one host and its traits say; what cannot be understood says nothing."""
    told = [_of_aggregate(aggregate, read_at) for aggregate in aggregates]
    return HostFacts(
        operating_system=tuple(f for one in told for f in one.operating_system)
        + tuple(_of_trait(trait, read_at) for trait in sorted(traits) if _system_in(trait)),
        guest_cpu=tuple(f for one in told for f in one.guest_cpu),
        storage_pool=tuple(f for one in told for f in one.storage_pool),
    )


def _of_aggregate(aggregate: Aggregate, read_at: datetime | None) -> HostFacts:
    def get(key: str) -> tuple[str, str]:
        """The key that is set, and its text."""
        for name in (PREFIX + key, key):
            if name in aggregate.metadata:
                return name, aggregate.metadata[name].strip()
        return key, ""

    def origin(key: str) -> str:
        return f"aggregate {aggregate.name}, {key}"

    (version_key, version), (_, distribution) = get("os_version"), get("os_distro")
    system = operating_system(version) or operating_system(f"{distribution} {version}")
    (mode_key, mode), (_, model) = get("cpu_mode"), get("cpu_model")
    guests = guest_cpu(mode or ("custom" if model else ""), model)
    pool_key, pool = get("shared_storage")
    return HostFacts(
        operating_system=(Fact(system, origin(version_key), read_at),) if system else (),
        guest_cpu=(Fact(guests, origin(mode_key), read_at),) if guests else (),
        storage_pool=(Fact(pool, origin(pool_key), read_at),) if pool.lower() not in _NO_POOL else (),
    )


def _system_in(trait: str) -> OperatingSystem | None:
    """CUSTOM_OS_UBUNTU_22_04: the words, then the numbers."""
    if not trait.startswith(OS_TRAIT):
        return None
    parts = trait.removeprefix(OS_TRAIT).split("_")
    words = [part for part in parts if not part.isdigit()]
    return operating_system(f"{' '.join(words)} {'.'.join(part for part in parts if part.isdigit())}")


def _of_trait(trait: str, read_at: datetime | None) -> Fact[OperatingSystem]:
    system = _system_in(trait)
    assert system is not None
    return Fact(system, f"trait {trait}", read_at)
