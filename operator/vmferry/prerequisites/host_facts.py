"""Facts about a host, combined from what the cloud reports and from the operator's configuration.

No source has precedence: if they differ, the fact is unknown, and the prerequisite names all of them (R19).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from vmferry.cloud.model import CPU, Fact, FactKind, GuestCPU, Host, OperatingSystem, ReportedFact, agree
from vmferry.policy import Policy

CONFIGURATION = "the operator's configuration"


class _OfHosts(Protocol):
    @property
    def hosts(self) -> frozenset[str]: ...

    @property
    def aggregates(self) -> frozenset[str]: ...


def operating_system(host: Host, policy: Policy) -> ReportedFact[OperatingSystem]:
    configured = (Fact(one.system, CONFIGURATION) for one in policy.operating_systems if _is_about(one, host))
    return agree((*host.facts.operating_system, *configured))


def unreadable(host: Host, about: FactKind) -> str:
    """Text to append to a sentence about facts of this kind that cannot be parsed; empty if there are none."""
    return "".join(f"; {one.message}" for one in host.facts.unreadable if one.about is about)


def guest_cpu(host: Host, policy: Policy) -> ReportedFact[GuestCPU]:
    configured = (Fact(one.cpu, CONFIGURATION) for one in policy.guest_cpu if _is_about(one, host))
    return agree((*host.facts.guest_cpu, *configured))


def storage_pool(host: Host, policy: Policy) -> ReportedFact[str]:
    """The name of the shared storage that holds the host's ephemeral disks."""
    configured = (Fact(pool.name, CONFIGURATION) for pool in policy.shared_storage if _is_about(pool, host))
    return agree((*host.facts.storage_pool, *configured))


def cpu(host: Host) -> ReportedFact[CPU]:
    """The first source's CPU, completed with what only later sources report.

    A contradiction is possible only for vendor and architecture. Each source has its own names of models and features
    (libvirt's, the vendor's), so both are taken from the first source that reports a model.
    """
    facts = host.facts.cpu
    vendor, arch = _same(f.value.vendor for f in facts), _same(f.value.arch for f in facts)
    if not facts or vendor is None or arch is None:
        return ReportedFact(facts, None)
    named = next((f.value for f in facts if f.value.model), facts[0].value)
    return ReportedFact(facts, CPU(vendor, arch, named.model, named.features))


def _same(texts: Iterable[str]) -> str | None:
    """The single reported text; empty if none is reported, None if several differ."""
    reported = {text for text in texts if text}
    return None if len(reported) > 1 else next(iter(reported), "")


def _is_about(rule: _OfHosts, host: Host) -> bool:
    return host.name in rule.hosts or any(aggregate.name in rule.aggregates for aggregate in host.aggregates)
