"""PCD's resource manager (`resmgr`): the OS, CPU and state of each host, and the guest CPU of each PCD cluster.

Its API is known only from public client code, so every field is optional and may have any type: unexpected values are
ignored. A host's `id` in this API is its service host name in Nova.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from vmferry.cloud.facts.guest_cpu import guest_cpu
from vmferry.cloud.facts.os_info import operating_system, unreadable
from vmferry.cloud.model import CPU, Fact, FactKind, GuestCPU, GuestCPUMode, HostFacts, Unreadable

ORIGIN = "resource manager"
HOSTS = "/v2/hosts"
CLUSTERS = "/v2/clusters"

#: libvirt's vendor names by CPUID's
_VENDORS = {"GenuineIntel": "Intel", "AuthenticAMD": "AMD"}


class Client(Protocol):
    """The part of `cloud.nova.NovaClient` that is used here."""

    def resource_manager(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """The JSON at a path; None if the catalog has no resource manager. Raises `CloudError`."""


def read(client: Client) -> tuple[dict[str, HostFacts], str | None]:
    """Facts by service host name, and why some are missing. Never raises: the operator can work with Nova alone."""
    answers: list[Any] = []
    troubles: list[str] = []
    for path, query in ((HOSTS, {"role_settings": "true"}), (CLUSTERS, None)):
        try:
            answers.append(client.resource_manager(path, query))
        except Exception as error:  # the API's behaviour is not known well enough to list its failures
            answers.append(None)
            troubles.append(str(error))
    hosts, clusters = answers
    return parse(hosts, clusters, datetime.now(UTC)), "; ".join(troubles) or None


def parse(hosts: Any, clusters: Any, read_at: datetime | None) -> dict[str, HostFacts]:
    """Parse both answers, which may have any shape, into facts by service host name."""
    guests = _guests(clusters, read_at)
    found: dict[str, HostFacts] = {}
    for host in _objects(hosts):
        name = _text(host, "id")
        if name:
            facts = _host(_object(host, "info"), guests.pop(name, ()), read_at)
            # an id listed twice: neither entry has precedence, so facts that differ become unknown (I36)
            found[name] = found[name].with_those_of(facts) if name in found else facts
    return found | {name: HostFacts(guest_cpu=told) for name, told in guests.items()}


def _host(info: Mapping[str, Any], guests: tuple[Fact[GuestCPU], ...], read_at: datetime | None) -> HostFacts:
    text = _text(info, "os_info")
    system = operating_system(text)
    why = unreadable(text) if text and system is None else None
    cpu = _cpu(info)
    responding = info.get("responding")
    return HostFacts(
        operating_system=(Fact(system, ORIGIN, read_at),) if system else (),
        cpu=(Fact(cpu, ORIGIN, read_at),) if cpu != CPU() else (),
        guest_cpu=guests,
        responding=(Fact(responding, ORIGIN, read_at),) if isinstance(responding, bool) else (),
        unreadable=(Unreadable(FactKind.OPERATING_SYSTEM, f"the {ORIGIN} reports {text!r}: {why}"),) if why else (),
    )


def _cpu(info: Mapping[str, Any]) -> CPU:
    cpu = _object(info, "cpu_info")
    features = cpu.get("features")
    vendor = _text(cpu, "vendor")
    return CPU(
        vendor=_VENDORS.get(vendor, vendor),
        arch=_text(cpu, "arch") or _text(info, "arch"),
        model=_text(cpu, "model"),
        features=frozenset(f for f in features if isinstance(f, str)) if isinstance(features, list) else frozenset(),
    )


def _guests(clusters: Any, read_at: datetime | None) -> dict[str, tuple[Fact[GuestCPU], ...]]:
    """Guest CPUs by host. A PCD cluster whose mode is null has Nova's default: guests see the host's model."""
    found: dict[str, tuple[Fact[GuestCPU], ...]] = {}
    for cluster in _objects(clusters):
        cpu = cluster.get("cpu")
        if not isinstance(cpu, dict) or "mode" not in cpu:
            continue
        told = guest_cpu(_text(cpu, "mode"), _text(cpu, "model"))
        if cpu["mode"] is None:
            told = GuestCPU(GuestCPUMode.HOST_MODEL)
        hosts = cluster.get("hostlist")
        if told is None or not isinstance(hosts, list):
            continue
        fact = Fact(told, f"{ORIGIN}, cluster {_text(cluster, 'name')}", read_at)
        for host in hosts:
            if isinstance(host, str):
                found[host] = (*found.get(host, ()), fact)
    return found


def _objects(answer: Any) -> list[Mapping[str, Any]]:
    return [one for one in answer if isinstance(one, dict)] if isinstance(answer, list) else []


def _object(of: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = of.get(key)
    return found if isinstance(found, dict) else {}


def _text(of: Mapping[str, Any], key: str) -> str:
    found = of.get(key)
    return found.strip() if isinstance(found, str) else ""
