"""CPUModel (R12): the target offers the CPU that the guest uses: vendor, architecture, model, features.

Before a live migration, Nova's libvirt driver (`check_can_live_migrate_destination`) compares on the target: for a
guest with a custom model, that model; for any other guest, everything that its *source host* offers, whatever the guest
got when it booted. The same is compared here from what Nova reports: `cpu_info` has all features of a host if libvirt
expands them, otherwise the traits HW_CPU_X86_* show some of them. For cold migration and evacuation Nova compares
nothing; the rule here is deliberately the same, since software installed for one CPU may not run on a lesser one.

A target that offers more is accepted, but the server cannot return from it.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from vmferry.cloud.model import CPU, FactKind, GuestCPU, GuestCPUMode, Host
from vmferry.prerequisites import host_facts
from vmferry.prerequisites.check import ON_NO_HOST, PLACE_IT, Finding, Question, failed, passed, unknown
from vmferry.prerequisites.enums import Name, Reason

_NAME = Name.CPU_MODEL
_TRAITS = "HW_CPU_X86_"
#: maximum number of features in a message
_NAMED = 8


@dataclass(frozen=True, slots=True)
class _Difference:
    """The features that the target lacks compared with the source, and whether it has additional ones."""

    missing: frozenset[str]
    more: bool


def check(question: Question) -> Finding:
    source, target, policy = question.source, question.target, question.policy
    assert target is not None
    if question.server.host is None:
        return unknown(_NAME, ON_NO_HOST, PLACE_IT)
    if source is None:
        name = question.server.host
        return unknown(_NAME, f"the CPU of {name} is not known", "check `openstack compute service list`", name)
    old, new = host_facts.cpu(source), host_facts.cpu(target)
    seen, offered = host_facts.guest_cpu(source, policy), host_facts.guest_cpu(target, policy)
    custom = _custom_model(seen.value)
    common = custom is not None and custom == _custom_model(offered.value)
    for host, cpu in ((source, old), (target, new)):
        if cpu.facts and cpu.value is None:
            return unknown(
                _NAME,
                f"the sources contradict each other about the CPU of {host.name}: {cpu}",
                f"correct the source of {host.name} that is wrong",
                host.name,
            )
        if not cpu.facts and not common:
            note = host_facts.unreadable(host, FactKind.GUEST_CPU)
            return unknown(
                _NAME,
                f"the CPU model of {host.name} is unknown: Nova reports no cpu_info{note}",
                f"check nova-compute on {host.name} and its cpu_info; where the guests see a common model, set "
                "guestCPU (mode Custom) for both in the operator's configuration; or tolerateUnknown: [CPUModel], "
                "and Nova decides alone",
                host.name,
            )
    for host, guests in ((source, seen), (target, offered)):
        if guests.contradictory:
            return unknown(
                _NAME,
                f"it is not certain what guests of {host.name} see as their CPU: {guests}",
                "correct the source that is wrong",
                host.name,
            )
    return _compare(source, target, old.value or CPU(), new.value or CPU(), seen.value, offered.value)


def _compare(
    source: Host, target: Host, old: CPU, new: CPU, seen: GuestCPU | None, offered: GuestCPU | None
) -> Finding:
    for what, ours, theirs in (("vendor", old.vendor, new.vendor), ("architecture", old.arch, new.arch)):
        if ours and theirs and ours != theirs:
            return failed(
                _NAME,
                Reason.CPU_INCOMPATIBLE,
                f"the CPU {what} of {target.name} is {theirs}, that of {source.name} is {ours}",
                f"choose a host whose CPU {what} is {ours}",
                target.name,
            )
    custom, custom_there = _custom_model(seen), _custom_model(offered)
    if custom and custom in (custom_there, new.model):
        return passed(_NAME, f"the guest sees {custom}, {target.name} has it", target.name)
    difference = _difference(source, target, old, new, by_traits=not custom and not custom_there)
    if difference is not None and not difference.missing:
        return _enough(source, target, difference, seen)
    if custom:
        return unknown(
            _NAME,
            f"the guest sees {custom}; whether {target.name} offers it is unknown",
            f"if it does, declare it: guestCPU with mode Custom and model {custom} in the operator's configuration, "
            "or vmferry:cpu_mode and vmferry:cpu_model in the metadata of its aggregate",
            target.name,
        )
    if difference is not None:
        return failed(
            _NAME,
            Reason.CPU_INCOMPATIBLE,
            f"{target.name} ({new.model or 'CPU'}) lacks what {source.name} ({old.model or 'CPU'}) offers: "
            f"{_list(difference.missing)}",
            f"choose a host with {old.model or 'the same CPU'} or a newer one; where the guests see a common model "
            "(cpu_mode=custom), declare it with guestCPU in the operator's configuration",
            target.name,
        )
    return unknown(
        _NAME,
        f"{source.name} is {old}, {target.name} is {new}: what is known of them does not decide whether "
        f"{target.name} offers all that the guest uses",
        "choose a host with the same CPU; or where guests see a common model, declare it with guestCPU in the "
        "operator's configuration; or tolerateUnknown: [CPUModel], and Nova decides alone",
        target.name,
    )


def _custom_model(guests: GuestCPU | None) -> str | None:
    return guests.model if guests is not None and guests.mode is GuestCPUMode.CUSTOM else None


def _enough(source: Host, target: Host, difference: _Difference, seen: GuestCPU | None) -> Finding:
    if not difference.more:
        return passed(_NAME, f"{target.name} has the same CPU", target.name)
    if seen is not None and seen.mode is GuestCPUMode.HOST_PASSTHROUGH:
        return failed(
            _NAME,
            Reason.CPU_INCOMPATIBLE,
            f"guests of {source.name} see its CPU itself (host-passthrough), and that of {target.name} is another one",
            f"choose a host with exactly the CPU of {source.name}",
            target.name,
        )
    return passed(
        _NAME,
        f"{target.name} offers all that {source.name} does and more: a one-way street, the server cannot come back "
        f"to {source.name}",
        target.name,
    )


def _difference(source: Host, target: Host, old: CPU, new: CPU, *, by_traits: bool) -> _Difference | None:
    """The difference, or None if the reported facts do not decide it.

    Features are comparable if both lists are complete, or if both list only those beyond the same model; an empty list
    of these may also mean that the source reports none. A missing trait proves a missing feature, but having all traits
    proves nothing, since most features have no trait. With a custom guest model, the traits are those of that model.
    """
    complete = old.features_complete and new.features_complete
    beyond_the_same = old.model == new.model != "" and not (old.features_complete or new.features_complete)
    if complete or (beyond_the_same and old.features and new.features):
        return _Difference(old.features - new.features, bool(new.features - old.features))
    if by_traits and (missing := _traits(source) - _traits(target)) and _traits(target):
        return _Difference(missing, True)
    return None


def _traits(host: Host) -> frozenset[str]:
    return frozenset(trait for trait in host.traits if trait.startswith(_TRAITS))


def _list(features: Set[str]) -> str:
    named = sorted(features)
    more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    return ", ".join(named[:_NAMED]) + more
