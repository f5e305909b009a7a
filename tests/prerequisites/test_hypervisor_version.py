"""HypervisorVersion (R14, I18): the same version, never an older one; a newer one only where it was planned (R22)."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from testbed.build import host, hypervisor, question, server, snapshot
from tests.prerequisites.expect import Case, cannot_tell, fails, passes, table
from vmferry.cloud.model import Host, ResolvedType
from vmferry.prerequisites import hypervisor_version
from vmferry.prerequisites.check import Question
from vmferry.prerequisites.enums import Name, Reason, Result

OLD, NEW = 6_002_000, 8_002_002
GONE = server(host="host-z")
NOWHERE = server(vm_state="shelved_offloaded", host=None)


def ask(source: Host, target: Host, **over: Any) -> Question:
    return question(server(), view=snapshot(hosts=[source, target]), **over)


def versions(source: int, target: int, **over: Any) -> Question:
    return ask(host("host-a", version=source), host("host-b", version=target), **over)


@pytest.mark.parametrize(("kind", "upgrade"), list(product(ResolvedType, [False, True])))
def test_I18_R22_never_to_an_older_one_whatever_the_kind_and_whatever_is_planned(
    kind: ResolvedType, upgrade: bool
) -> None:
    finding = hypervisor_version.check(versions(NEW, OLD, kind=kind, os_upgrade=upgrade))
    assert (finding.result, finding.reason) == (Result.FAILED, Reason.HYPERVISOR_TOO_OLD)
    assert finding.remedy and "osUpgrade" not in finding.remedy


CASES: dict[str, Case] = {
    "the same version": passes(versions(OLD, OLD), "6.2.0"),
    "a newer one where the upgrade is planned (R22)": passes(versions(OLD, NEW, os_upgrade=True), "6.2.0 to 8.2.2"),
    "a newer one is a one-way street (R14, R23)": fails(
        versions(OLD, NEW),
        Reason.HYPERVISOR_MISMATCH,
        ("host-b has 8.2.2", "host-a has 6.2.0", "could not come back"),
        ("6.2.0", "osUpgrade: true"),
        "host-b",
    ),
    "an older one (R14)": fails(
        versions(NEW, OLD),
        Reason.HYPERVISOR_TOO_OLD,
        ("host-b has 6.2.0", "host-a has 8.2.2"),
        ("8.2.2", "upgrade host-b"),
        "host-b",
    ),
    "the last digit counts": fails(versions(OLD + 1, OLD), Reason.HYPERVISOR_TOO_OLD, ("6.2.1",), (), "host-b"),
    "another hypervisor, whatever its version": fails(
        ask(host("host-a"), host("host-b", hypervisor=hypervisor("host-b", type="VMware", version=OLD))),
        Reason.HYPERVISOR_MISMATCH,
        ("host-b runs VMware", "host-a runs QEMU"),
        ("QEMU",),
        "host-b",
    ),
    "a target that tells no version (R19)": cannot_tell(
        ask(host("host-a"), host("host-b", hypervisor=None)), ("host-b",), ("nova-compute on host-b",), "host-b"
    ),
    "a source that tells no version (R19)": cannot_tell(
        ask(host("host-a", hypervisor=None), host("host-b")), ("host-a",), ("nova-compute on host-a",), "host-a"
    ),
    "a source that the cloud does not list (R19)": cannot_tell(question(GONE), ("host-z",), ("host-z",), "host-z"),
    "a server on no host (R19)": cannot_tell(
        question(NOWHERE, view=snapshot([NOWHERE])), ("on no host",), ("unshelve",)
    ),
}


test_it_says = table(hypervisor_version.check, Name.HYPERVISOR_VERSION, CASES)
