"""SourceHost (R10, I12): up for live and cold; for evacuate dead, silent, and attested."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import product
from typing import Any

import pytest

from testbed.build import NOW, facts, host, question, server, snapshot
from tests.prerequisites.expect import Case, cannot_tell, fails, passes, table
from vmferry.cloud.model import Fact, Part, ResolvedType
from vmferry.policy import Policy
from vmferry.prerequisites import source_host
from vmferry.prerequisites.check import Question
from vmferry.prerequisites.enums import Name, Reason, Result

LIVE, COLD, EVACUATE = ResolvedType


def ask(
    kind: ResolvedType,
    *,
    attested: str | None = None,
    policy: Policy | None = None,
    read_ago: timedelta = timedelta(),
    services_at: datetime | None = None,
    **source: Any,
) -> Question:
    read_at = dict.fromkeys(Part, NOW - read_ago)
    hosts = [host("host-a", **source), host("host-b")]
    view = snapshot(hosts=hosts, read_at=read_at, services_at=services_at)
    return question(server(), kind, view, target=None, attested=attested, policy=policy or Policy())


def silent(seconds: float) -> dict[str, Any]:
    return {"up": False, "last_seen": NOW - timedelta(seconds=seconds)}


@pytest.mark.parametrize(
    ("up", "is_silent", "forced_down", "attested"),
    [
        pytest.param(*row, id="up={} silent={} forced_down={} attested={}".format(*row))
        for row in product([True, False], [True, False], [True, False], ["host-a", "host-b", None])
    ],
)
def test_I12_I38_evacuate_needs_a_host_that_is_down_and_silent_and_attested_itself(
    up: bool, is_silent: bool, forced_down: bool, attested: str | None
) -> None:
    last_seen = NOW - timedelta(seconds=300 if is_silent else 5)
    asked = ask(EVACUATE, attested=attested, up=up, forced_down=forced_down, last_seen=last_seen)
    finding = source_host.check(asked)
    proven = attested == "host-a" or (attested is None and forced_down)
    dead = not up and is_silent and proven
    assert finding.result is (Result.PASSED if dead else Result.FAILED), finding
    if not dead:
        assert finding.reason is Reason.HOST_NOT_FAILED
        assert finding.host == "host-a" and "host-a" in finding.message and finding.remedy


GONE = server(host="host-z")
NOWHERE = server(vm_state="shelved_offloaded", host=None)

#: what PCD's resource manager says
RESPONDS = (Fact(True, "resource manager"),)
SILENT = (Fact(False, "resource manager"),)

CASES: dict[str, Case] = {
    "what is attested of another host proves nothing of this one, even if it is marked down by force (I38)": fails(
        ask(EVACUATE, attested="host-b", forced_down=True, **silent(600)),
        Reason.HOST_NOT_FAILED,
        ("attests that host-b is dead", "the server is on host-a"),
        ("host-a is powered off", "another request"),
        "host-a",
    ),
    "dead for Nova, but the resource manager hears of it: never evacuated (I12)": fails(
        ask(EVACUATE, attested="host-a", facts=facts(responding=RESPONDS), **silent(600)),
        Reason.HOST_NOT_FAILED,
        ("host-a", "responds", "resource manager"),
        ("never evacuated",),
        "host-a",
    ),
    "dead for both witnesses": passes(
        ask(EVACUATE, attested="host-a", facts=facts(responding=SILENT), **silent(600)), "failed"
    ),
    "Live needs the source up (R10)": passes(ask(LIVE)),
    "Cold needs the source up (R10)": passes(ask(COLD)),
    "a disabled source that is up can be left (R10, R26)": passes(ask(LIVE, enabled=False)),
    "Live from a dead host is refused: Nova would answer 202 (R10, R21)": fails(
        ask(LIVE, **silent(300)), Reason.HOST_DOWN, ("host-a", "down", "Live needs it up"), ("Evacuate",), "host-a"
    ),
    "Cold from a dead host is refused (R10, R21)": fails(
        ask(COLD, **silent(300)), Reason.HOST_DOWN, ("host-a", "down", "Cold needs it up"), ("Evacuate",), "host-a"
    ),
    "nothing is evacuated from a host that is up (I12)": fails(
        ask(EVACUATE, attested="host-a"),
        Reason.HOST_NOT_FAILED,
        ("host-a", "up", "only for a failed host"),
        ("Live or Cold",),
        "host-a",
    ),
    "a host forced down that still sends heartbeats is alive: Nova would evacuate from it (I12)": fails(
        ask(EVACUATE, attested="host-a", forced_down=True, up=False, last_seen=NOW - timedelta(seconds=3)),
        Reason.HOST_NOT_FAILED,
        ("host-a", "by force", "less than 60 s ago", "alive"),
        ("openstack compute service set --up host-a", "heartbeat for 60 s"),
        "host-a",
    ),
    "a mark that was forgotten on a living host is what stands against a live migration": fails(
        ask(LIVE, forced_down=True, up=False, last_seen=NOW - timedelta(seconds=3)),
        Reason.HOST_DOWN,
        ("host-a reports", "by force"),
        ("openstack compute service set --up host-a nova-compute",),
        "host-a",
    ),
    "a host that Nova itself has disabled because libvirt is away": fails(
        ask(LIVE, enabled=False, disabled_reason="AUTO: Connection to libvirt lost: 1"),
        Reason.HOST_DOWN,
        ("lost libvirt", "Connection to libvirt lost"),
        ("restart libvirt", "goes on"),
        "host-a",
    ),
    "nothing is moved off it cold either": fails(
        ask(COLD, enabled=False, disabled_reason="AUTO: Connection to libvirt lost: 1"),
        Reason.HOST_DOWN,
        ("lost libvirt",),
        (),
        "host-a",
    ),
    "a host that a person has disabled is left": passes(ask(LIVE, enabled=False, disabled_reason="libvirt upgrade")),
    "one second less than the time of silence is too little (I12)": fails(
        ask(EVACUATE, attested="host-a", **silent(59)), Reason.HOST_NOT_FAILED, ("less than 60 s",), ("60 s",), "host-a"
    ),
    "the time of silence is enough (I12)": passes(ask(EVACUATE, attested="host-a", **silent(60)), "heartbeat for 60 s"),
    "a host is not silent for as long as nobody looks (I12, I13)": fails(
        ask(EVACUATE, attested="host-a", forced_down=True, read_ago=timedelta(seconds=58), **silent(62)),
        Reason.HOST_NOT_FAILED,
        ("by force", "less than 60 s"),
        ("60 s",),
        "host-a",
    ),
    "a clock of ours that is an hour ahead makes no living host silent (I12)": fails(
        ask(
            EVACUATE,
            attested="host-a",
            forced_down=True,
            services_at=NOW - timedelta(hours=1),
            **silent(3605),
        ),
        Reason.HOST_NOT_FAILED,
        ("by force", "less than 60 s"),
        ("60 s",),
        "host-a",
    ),
    "a clock of ours that is behind keeps no dead host from being evacuated": passes(
        ask(EVACUATE, attested="host-a", services_at=NOW + timedelta(hours=1), **silent(-3500)), "heartbeat for 60 s"
    ),
    "the time of silence is policy (I12)": fails(
        ask(EVACUATE, attested="host-a", policy=Policy(host_down_for=timedelta(minutes=10)), **silent(300)),
        Reason.HOST_NOT_FAILED,
        ("less than 600 s",),
        ("600 s",),
    ),
    "a heartbeat from the future is no silence (I12, I13)": fails(
        ask(EVACUATE, attested="host-a", **silent(-3600)),
        Reason.HOST_NOT_FAILED,
        ("alive",),
        ("heartbeat for 60 s",),
    ),
    "silence alone proves nothing (I12)": fails(
        ask(EVACUATE, **silent(300)),
        Reason.HOST_NOT_FAILED,
        ("host-a sends no heartbeat", "nothing confirms"),
        ("powered off", "Evacuate by name", "force"),
        "host-a",
    ),
    "a host that never reported cannot be called dead (R19, I12)": cannot_tell(
        ask(EVACUATE, attested="host-a", forced_down=True, up=False, last_seen=None),
        ("host-a", "last seen"),
        ("never reported",),
        "host-a",
    ),
    "a server on no host cannot be moved": fails(
        question(NOWHERE, LIVE, snapshot([NOWHERE]), target=None),
        Reason.STATE_NOT_MIGRATABLE,
        ("on no host",),
        ("unshelve",),
    ),
    "a host that the cloud does not list is unknown, never dead (R19, I4)": cannot_tell(
        question(GONE, EVACUATE, snapshot([GONE]), target=None, attested="host-a"),
        ("no compute service of host-z",),
        ("openstack compute service list",),
        "host-z",
    ),
}


test_it_says = table(source_host.check, Name.SOURCE_HOST, CASES)


def test_R20_no_remedy_promises_that_fencing_shortens_the_silence() -> None:
    finding = source_host.check(ask(EVACUATE, attested="host-a", **silent(10)))
    assert "fence" not in (finding.remedy or ""), "a fenced host must be silent for as long as any other"
