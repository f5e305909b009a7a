"""OperatingSystem (R13): the same distribution in the same version; point releases do not count.

A newer version is allowed only with `osUpgrade: true`, along the paths of `UPGRADES` (R22, R23); an older one never.
A server that has moved to a newer version never returns, whatever is requested or reported later: the finished
VMMigration that moved it records this (`OSUpgradeMove`).
"""

from __future__ import annotations

from vmferry.cloud.model import FactKind, Host, OperatingSystem, ReportedFact
from vmferry.prerequisites import host_facts
from vmferry.prerequisites.check import ON_NO_HOST, PLACE_IT, Finding, OSUpgradeMove, Question, failed, passed, unknown
from vmferry.prerequisites.enums import Name, Reason

_NAME = Name.OPERATING_SYSTEM

#: the upgrades that may be requested, from a version to a newer one (R22)
UPGRADES = frozenset({(OperatingSystem("Ubuntu", "22.04"), OperatingSystem("Ubuntu", "24.04"))})


def check(question: Question) -> Finding:
    source, target, policy = question.source, question.target, question.policy
    assert target is not None
    if question.server.host is None:
        return unknown(_NAME, ON_NO_HOST, PLACE_IT)
    new = host_facts.operating_system(target, policy)
    # this reads the server's id, which makes the result valid for this server only; None avoids further reads
    crossing = question.os_upgrade_of_server
    if crossing is not None and (new.value is None or not _at_least(new.value, crossing.target)):
        return _not_returnable(target, new, crossing)
    if source is None:
        name = question.server.host
        return unknown(
            _NAME, f"the operating system of {name} is not known", "check `openstack compute service list`", name
        )
    old = host_facts.operating_system(source, policy)
    for host, system in ((source, old), (target, new)):
        if system.value is None:
            return _unknown_system(host, system)
    assert old.value is not None and new.value is not None
    return _compare(source, target, old.value, new.value, planned=question.os_upgrade)


def _at_least(system: OperatingSystem, wanted: OperatingSystem) -> bool:
    return system == wanted or wanted.older_than(system)


def _compare(source: Host, target: Host, old: OperatingSystem, new: OperatingSystem, *, planned: bool) -> Finding:
    if old == new:
        return passed(_NAME, f"both run {old}", target.name)
    versions = f"{target.name} runs {new}, {source.name} runs {old}"
    if new.older_than(old):
        return failed(
            _NAME,
            Reason.OS_MISMATCH,
            f"{versions}: a server never goes to an older system",
            f"choose a host with {old}, or upgrade {target.name}",
            target.name,
        )
    if (old, new) not in UPGRADES:
        return failed(_NAME, Reason.OS_MISMATCH, versions, f"choose a host with {old}", target.name)
    if planned:
        return passed(_NAME, f"{old} to {new}, as planned: a one-way street, the server cannot come back", target.name)
    return failed(
        _NAME,
        Reason.OS_MISMATCH,
        f"{versions}: the server could not come back",
        f"choose a host with {old}, or plan the one-way move with osUpgrade: true",
        target.name,
    )


def _not_returnable(target: Host, system: ReportedFact[OperatingSystem], crossing: OSUpgradeMove) -> Finding:
    runs = f"runs {system.value}" if system.value else f"is reported to run {system}"
    if not system.facts:
        runs = "runs an unknown operating system"
    return failed(
        _NAME,
        Reason.NOT_RETURNABLE,
        f"the server went from {crossing.source} to {crossing.target} ({crossing.by}), one way; {target.name} {runs}",
        f"choose a host that is known to run {crossing.target}",
        target.name,
    )


def _unknown_system(host: Host, system: ReportedFact[OperatingSystem]) -> Finding:
    if system.contradictory:
        return unknown(
            _NAME,
            f"it is not certain what {host.name} runs: {system}",
            "correct the source that is wrong",
            host.name,
        )
    return unknown(
        _NAME,
        f"the operating system of {host.name} is unknown{host_facts.unreadable(host, FactKind.OPERATING_SYSTEM)}",
        "set it: operatingSystems in the operator's configuration, or the metadata vmferry:os_version="
        '"Ubuntu 22.04" of its aggregate; tolerateUnknown: [OperatingSystem] moves servers without knowing it',
        host.name,
    )
