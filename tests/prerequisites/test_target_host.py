"""TargetHost (R10, I18): another host, up, enabled, not in or entering maintenance."""

from __future__ import annotations

from testbed.build import host, question, server, snapshot
from tests.prerequisites.expect import Case, fails, passes, table
from vmferry.prerequisites import target_host
from vmferry.prerequisites.check import Question
from vmferry.prerequisites.enums import Name, Reason


def to_b(*, in_maintenance: frozenset[str] = frozenset(), **over: object) -> Question:
    view = snapshot(hosts=[host("host-a"), host("host-b", **over)])
    return question(server(), view=view, in_maintenance=in_maintenance)


B = frozenset({"host-b"})

CASES: dict[str, Case] = {
    "a host that is up and enabled will do": passes(to_b(), "up and enabled"),
    "other hosts' maintenance does not matter": passes(to_b(in_maintenance=frozenset({"host-c"}))),
    "the source is no target: Nova would answer 202 (I18, R21)": fails(
        question(server(), target="host-a"), Reason.SAME_HOST, ("on host-a already",), ("another host",), "host-a"
    ),
    "a host that is down is no target": fails(
        to_b(up=False), Reason.HOST_DOWN, ("host-b", "down"), ("another",), "host-b"
    ),
    "a host that was forced down is no target, even while Nova calls it up (I18)": fails(
        to_b(forced_down=True),
        Reason.HOST_DOWN,
        ("host-b", "by force"),
        ("openstack compute service set --up host-b",),
        "host-b",
    ),
    "a disabled host is no target, and who disabled it said why (R20)": fails(
        to_b(enabled=False, disabled_reason="bad DIMM"),
        Reason.HOST_DISABLED,
        ("host-b", "disabled", "bad DIMM"),
        ("enable",),
        "host-b",
    ),
    "a disabled host without a reason is said plainly": fails(
        to_b(enabled=False), Reason.HOST_DISABLED, ("host-b is disabled",), ("enable",), "host-b"
    ),
    "a host in or before maintenance is no target (I18)": fails(
        to_b(in_maintenance=B), Reason.HOST_IN_MAINTENANCE, ("host-b", "maintenance"), ("release",), "host-b"
    ),
    "maintenance is the reason, not the disabling that it did": fails(
        to_b(in_maintenance=B, enabled=False), Reason.HOST_IN_MAINTENANCE, ("host-b",), ("release",), "host-b"
    ),
    "a host without a hypervisor is no target": fails(
        to_b(hypervisor=None), Reason.HOST_DOWN, ("host-b", "no hypervisor"), ("nova-compute",), "host-b"
    ),
}


test_it_says = table(target_host.check, Name.TARGET_HOST, CASES)
