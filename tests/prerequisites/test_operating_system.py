"""OperatingSystem (R13, I18): the same version, never back; forward only where an upgrade is planned (R22, R23)."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from testbed.build import JAMMY, NOBLE, facts, host, question, server, snapshot
from tests.prerequisites.expect import Case, cannot_tell, fails, passes, table
from vmferry.cloud.facts import marks
from vmferry.cloud.facts.os_info import operating_system as read
from vmferry.cloud.model import Aggregate, Fact, Host, OperatingSystem, ResolvedType
from vmferry.policy import Policy, SystemOf
from vmferry.prerequisites import operating_system
from vmferry.prerequisites.check import OSUpgradeMove, Question
from vmferry.prerequisites.enums import Name, Reason, Result

FOCAL = OperatingSystem("Ubuntu", "20.04")
RESOLUTE = OperatingSystem("Ubuntu", "26.04")
BOOKWORM = OperatingSystem("Debian", "12")
ROCKY = OperatingSystem("Rocky Linux", "9.4")
GONE = server(host="host-z")
NOWHERE = server(vm_state="shelved_offloaded", host=None)
CROSSED = {server().id: OSUpgradeMove(server().id, JAMMY, NOBLE, "VMMigration shop/up-1")}
RACK = Aggregate(1, "rack-1", None, frozenset({"host-b"}))


def runs(name: str, *systems: OperatingSystem, **over: Any) -> Host:
    told = tuple(Fact(system, f"source {number}") for number, system in enumerate(systems, start=1))
    return host(name, facts=facts(operating_system=told), **over)


def ask(source: OperatingSystem | None, target: OperatingSystem | None, **over: Any) -> Question:
    hosts = [runs(name, *filter(None, [system])) for name, system in (("host-a", source), ("host-b", target))]
    return question(server(), view=snapshot(hosts=hosts), **over)


def configured(**over: Any) -> Policy:
    return Policy(operating_systems=(SystemOf(system=JAMMY, hosts=frozenset({"host-a"})), SystemOf(**over)))


@pytest.mark.parametrize(("kind", "planned"), list(product(ResolvedType, [False, True])))
def test_I18_R22_never_to_an_older_one_whatever_the_kind_and_whatever_is_planned(
    kind: ResolvedType, planned: bool
) -> None:
    finding = operating_system.check(ask(NOBLE, JAMMY, kind=kind, os_upgrade=planned))
    assert (finding.result, finding.reason) == (Result.FAILED, Reason.OS_MISMATCH)
    assert finding.remedy and "osUpgrade" not in finding.remedy


@pytest.mark.parametrize(("kind", "planned"), list(product(ResolvedType, [False, True])))
def test_R22_a_server_that_has_crossed_is_not_returnable_whatever_is_told_of_its_host_since(
    kind: ResolvedType, planned: bool
) -> None:
    for source in (JAMMY, NOBLE, None):
        finding = operating_system.check(ask(source, JAMMY, kind=kind, os_upgrade=planned, os_upgrades=CROSSED))
        assert (finding.result, finding.reason) == (Result.FAILED, Reason.NOT_RETURNABLE)


OTHERS = ("Garden Linux 1592.4", "Garden Linux 1592.5", "SLES 15.5", "Rocky Linux 9", "RHEL CoreOS", "Debian bookworm")


@pytest.mark.parametrize("planned", [False, True])
@pytest.mark.parametrize(("old", "new"), list(product(OTHERS, OTHERS)))
def test_R13_systems_without_known_steps_are_equal_or_other_ones(old: str, new: str, planned: bool) -> None:
    source, target = read(old), read(new)
    assert source is not None and target is not None
    finding = operating_system.check(ask(source, target, os_upgrade=planned))
    assert finding.result is (Result.PASSED if old == new else Result.FAILED)
    if old != new:
        assert finding.reason is Reason.OS_MISMATCH and old in finding.message and new in finding.message
        assert "older" not in finding.message and "osUpgrade" not in (finding.remedy or "")


def test_R19_a_mark_that_cannot_be_understood_is_named_where_it_is_missed() -> None:
    marked = marks.facts([Aggregate(1, "rack-1", None, frozenset(), {"vmferry:os_version": "Ubuntu"})], (), None)
    hosts = [host("host-a", facts=marked), runs("host-b", JAMMY)]
    finding = operating_system.check(question(server(), view=snapshot(hosts=hosts)))
    assert finding.result is Result.UNKNOWN
    assert "rack-1" in finding.message and "names no version" in finding.message


CASES: dict[str, Case] = {
    "the same": passes(ask(JAMMY, JAMMY), "both run Ubuntu 22.04"),
    "the newer one, where the upgrade is planned (R22)": passes(
        ask(JAMMY, NOBLE, os_upgrade=True), "Ubuntu 22.04 to Ubuntu 24.04", "cannot come back"
    ),
    "the newer one, in an ordinary move of a half upgraded fleet (R23)": fails(
        ask(JAMMY, NOBLE),
        Reason.OS_MISMATCH,
        ("host-b runs Ubuntu 24.04", "host-a runs Ubuntu 22.04", "could not come back"),
        ("a host with Ubuntu 22.04", "osUpgrade: true"),
        "host-b",
    ),
    "an older one": fails(
        ask(NOBLE, JAMMY),
        Reason.OS_MISMATCH,
        ("host-b runs Ubuntu 22.04", "never goes to an older system"),
        ("a host with Ubuntu 24.04", "upgrade host-b"),
        "host-b",
    ),
    "another distribution is no upgrade": fails(
        ask(JAMMY, BOOKWORM, os_upgrade=True), Reason.OS_MISMATCH, ("Debian 12", "Ubuntu 22.04"), ("Ubuntu 22.04",)
    ),
    "an upgrade that nobody planned for, from before": fails(
        ask(FOCAL, JAMMY, os_upgrade=True), Reason.OS_MISMATCH, ("Ubuntu 20.04",), ("Ubuntu 20.04",), "host-b"
    ),
    "an upgrade that skips a version": fails(
        ask(JAMMY, RESOLUTE, os_upgrade=True), Reason.OS_MISMATCH, ("Ubuntu 26.04",), ("Ubuntu 22.04",), "host-b"
    ),
    "the way back of a server that has crossed (R22)": fails(
        ask(NOBLE, JAMMY, os_upgrades=CROSSED),
        Reason.NOT_RETURNABLE,
        ("from Ubuntu 22.04 to Ubuntu 24.04", "VMMigration shop/up-1", "host-b runs Ubuntu 22.04"),
        ("Ubuntu 24.04",),
        "host-b",
    ),
    "a server that has crossed goes to no host that nobody knows, tolerated or not": fails(
        ask(NOBLE, None, os_upgrades=CROSSED),
        Reason.NOT_RETURNABLE,
        ("runs an unknown",),
        ("Ubuntu 24.04",),
    ),
    "a server that has crossed goes to no other distribution": fails(
        ask(NOBLE, BOOKWORM, os_upgrades=CROSSED), Reason.NOT_RETURNABLE, ("Debian 12",), (), "host-b"
    ),
    "a server that has crossed moves on among its like": passes(
        ask(NOBLE, NOBLE, os_upgrades=CROSSED), "both run Ubuntu 24.04"
    ),
    "another server's crossing is none of ours": passes(
        ask(JAMMY, JAMMY, os_upgrades={"another": next(iter(CROSSED.values()))}), "both run Ubuntu 22.04"
    ),
    "nobody tells what the target runs (R19)": cannot_tell(
        ask(JAMMY, None),
        ("host-b",),
        ("operatingSystems", "vmferry:os_version", "tolerateUnknown: [OperatingSystem]"),
        "host-b",
    ),
    "nobody tells what the source runs (R19)": cannot_tell(
        ask(None, JAMMY), ("host-a",), ("operatingSystems",), "host-a"
    ),
    "sources that say the same of a host": passes(
        question(server(), view=snapshot(hosts=[runs("host-a", JAMMY), runs("host-b", JAMMY, JAMMY)])), "Ubuntu 22.04"
    ),
    "sources that contradict each other, both are said (R19)": cannot_tell(
        question(server(), view=snapshot(hosts=[runs("host-a", JAMMY), runs("host-b", JAMMY, NOBLE)])),
        ("not certain what host-b runs", "Ubuntu 22.04 (source 1)", "Ubuntu 24.04 (source 2)"),
        ("correct",),
        "host-b",
    ),
    "the configuration tells, by host and by aggregate": passes(
        question(
            server(),
            view=snapshot(hosts=[runs("host-a"), runs("host-b", aggregates=(RACK,))]),
            policy=configured(system=JAMMY, aggregates=frozenset({"rack-1"})),
        ),
        "both run Ubuntu 22.04",
    ),
    "the configuration does not outvote the cloud (R19)": cannot_tell(
        ask(JAMMY, NOBLE, policy=configured(system=JAMMY, hosts=frozenset({"host-b"}))),
        ("Ubuntu 24.04 (source 1)", "Ubuntu 22.04 (the operator's configuration)"),
        (),
        "host-b",
    ),
    "other distributions too": passes(ask(ROCKY, ROCKY), "Rocky Linux 9.4"),
    "a source that the cloud does not list (R19)": cannot_tell(
        question(GONE), ("host-z",), ("compute service",), "host-z"
    ),
    "a server on no host (R19)": cannot_tell(
        question(NOWHERE, view=snapshot([NOWHERE])), ("on no host",), ("unshelve",)
    ),
}


test_it_says = table(operating_system.check, Name.OPERATING_SYSTEM, CASES)
