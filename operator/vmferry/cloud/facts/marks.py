"""Facts that an administrator has attached to hosts in the cloud: aggregate metadata and custom traits. Pure.

Keys of an aggregate's metadata; each may have the prefix `vmferry:`, which takes precedence over the plain key:

    os_version       22.04, with os_distro beside it; or both at once: Ubuntu 22.04; with the prefix any other system
    os_distro        ubuntu
    cpu_mode         what guests see: host-model, host-passthrough or custom
    cpu_model        with custom: libvirt's name of the model
    shared_storage   the name of the shared storage that holds the hosts' ephemeral disks

Traits of a host's resource provider: CUSTOM_OS_UBUNTU_22_04. Nova's filters use some of the plain keys to choose
hosts by the *guest's* system: in such clouds, use the prefixed keys for the host's system.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from vmferry.cloud.facts.guest_cpu import guest_cpu
from vmferry.cloud.facts.os_info import known_system, operating_system, unreadable
from vmferry.cloud.model import Aggregate, Fact, FactKind, HostFacts, Unreadable

PREFIX = "vmferry:"
OS_TRAIT = "CUSTOM_OS_"
#: not valid as names: two hosts with `shared_storage: true` need not share the same storage
_NO_POOL = frozenset({"", "true", "false", "yes", "no", "on", "off", "1", "0", "none"})


def facts(aggregates: Iterable[Aggregate], traits: Iterable[str], read_at: datetime | None) -> HostFacts:
    """The facts from the aggregates and traits of one host."""
    found = HostFacts()
    for aggregate in aggregates:
        found = found.with_those_of(_of_aggregate(aggregate, read_at))
    for trait in sorted(traits):
        if trait.startswith(OS_TRAIT):
            found = found.with_those_of(_of_trait(trait, read_at))
    return found


def _of_aggregate(aggregate: Aggregate, read_at: datetime | None) -> HostFacts:
    unread: list[Unreadable] = []

    def get(key: str) -> tuple[str, str]:
        """The metadata key that is set, and its value."""
        for name in (PREFIX + key, key):
            if name in aggregate.metadata:
                return name, aggregate.metadata[name].strip()
        return key, ""

    def origin(key: str) -> str:
        return f"aggregate {aggregate.name}, {key}"

    def cannot_read(about: FactKind, key: str, text: str, why: str) -> None:
        unread.append(Unreadable(about, f"aggregate {aggregate.name} has {key}={text!r}: {why}"))

    (version_key, version), (distribution_key, distribution) = get("os_version"), get("os_distro")
    both = f"{distribution} {version}".strip()
    system = known_system(version) or known_system(both)
    if system is None and (why := unreadable(both)) is not None:
        if both:
            cannot_read(FactKind.OPERATING_SYSTEM, version_key if version else distribution_key, both, why)
    elif system is None:
        if PREFIX in version_key + distribution_key:
            system = operating_system(both)
        else:
            # Nova's filters compare the plain keys with images: only a known system counts as the host's system
            cannot_read(
                FactKind.OPERATING_SYSTEM,
                version_key if version else distribution_key,
                both,
                f"not a system that is known here; if it is the host's, write it as {PREFIX}os_version",
            )
    (mode_key, mode), (model_key, model) = get("cpu_mode"), get("cpu_model")
    guests = guest_cpu(mode or ("custom" if model else ""), model)
    if guests is None and mode:
        why = (
            "cpu_model is missing" if mode.lower() == "custom" else "host-model, host-passthrough or custom is expected"
        )
        cannot_read(FactKind.GUEST_CPU, mode_key, mode, why)
    elif guests is not None and model and not guests.model:
        cannot_read(FactKind.GUEST_CPU, model_key, model, f"it goes with cpu_mode=custom, and {mode_key} is {mode}")
    pool_key, pool = get("shared_storage")
    named = pool.lower() not in _NO_POOL
    if pool_key in aggregate.metadata and not named:
        cannot_read(FactKind.STORAGE_POOL, pool_key, pool, "give the storage a name, equal for hosts that share it")
    return HostFacts(
        operating_system=(Fact(system, origin(version_key if version else distribution_key), read_at),)
        if system
        else (),
        guest_cpu=(Fact(guests, origin(mode_key), read_at),) if guests else (),
        storage_pool=(Fact(pool, origin(pool_key), read_at),) if named else (),
        unreadable=tuple(unread),
    )


def _of_trait(trait: str, read_at: datetime | None) -> HostFacts:
    """Parse a trait such as CUSTOM_OS_UBUNTU_22_04: words, then at least one number."""
    parts = trait.removeprefix(OS_TRAIT).split("_")
    words, numbers = [part for part in parts if not part.isdigit()], [part for part in parts if part.isdigit()]
    text = f"{' '.join(words)} {'.'.join(numbers)}"
    system = operating_system(text) if numbers else None
    if system is not None:
        return HostFacts(operating_system=(Fact(system, f"trait {trait}", read_at),))
    why = (unreadable(text) if numbers else None) or "it names no version"
    return HostFacts(unreadable=(Unreadable(FactKind.OPERATING_SYSTEM, f"the trait {trait}: {why}"),))
