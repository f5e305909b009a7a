"""Which deeds of Nova agree with our verdict, and which refusals are stricter on purpose."""

from __future__ import annotations

import re

import pytest

from testbed.agreement.classes import STRICTER, Against, Did, Happened, Outcome, classify
from vmferry.cloud.model import ResolvedType
from vmferry.prerequisites.enums import Name, Reason

LIVE, COLD, EVACUATE = ResolvedType.LIVE, ResolvedType.COLD, ResolvedType.EVACUATE
LOCKED = Against(Name.SERVER_LOCK, Reason.LOCKED)
FULL = Against(Name.CAPACITY, Reason.INSUFFICIENT_CAPACITY)
OLDER = Against(Name.HYPERVISOR_VERSION, Reason.HYPERVISOR_TOO_OLD)
NEWER = Against(Name.HYPERVISOR_VERSION, Reason.HYPERVISOR_MISMATCH)
CPU = Against(Name.CPU_MODEL, Reason.CPU_INCOMPATIBLE)
STATE = Against(Name.POWER_STATE, Reason.STATE_NOT_MIGRATABLE)
STORAGE = Against(Name.STORAGE, Reason.STORAGE_NOT_SHARED)
ZONE = Against(Name.AVAILABILITY_ZONE, Reason.OUTSIDE_ZONE, "cmp7 is in cluster2, the server's host cmp1 in cluster1")
TRAIT = Against(Name.AVAILABILITY_ZONE, Reason.OUTSIDE_ZONE, "cmp3 has no trait X; the flavor y has trait:X=required")
MOVED, REFUSED = Happened(Did.MOVED, "cmp2"), Happened(Did.REFUSED, "cmp1", "HTTP 409")
FAILED, UNCLEAR = Happened(Did.FAILED, "cmp1"), Happened(Did.UNCLEAR, "cmp1")

#: kind, vm_state, findings against it, what Nova did -> outcome and requirements
CASES: dict[str, tuple[ResolvedType, str, tuple[Against, ...], Happened, Outcome, tuple[str, ...]]] = {
    "passed, and it arrived where we picked": (LIVE, "active", (), MOVED, Outcome.AGREE_PASS, ()),
    "passed, and Nova said no": (LIVE, "active", (), REFUSED, Outcome.PASSED_BUT_REFUSED, ()),
    "passed, taken with 202, and then failed": (LIVE, "active", (), FAILED, Outcome.PASSED_BUT_REFUSED, ()),
    "passed, but it arrived elsewhere": (
        COLD,
        "stopped",
        (),
        Happened(Did.MOVED, "cmp3"),
        Outcome.PASSED_BUT_REFUSED,
        (),
    ),
    "nothing is concluded from no answer": (LIVE, "active", (), UNCLEAR, Outcome.UNCLEAR, ()),
    "nor where we refused": (LIVE, "active", (FULL,), UNCLEAR, Outcome.UNCLEAR, ()),
    "both say no": (LIVE, "active", (FULL,), REFUSED, Outcome.AGREE_REFUSE, ()),
    "we say no, Nova tries and fails": (LIVE, "active", (CPU,), FAILED, Outcome.AGREE_REFUSE, ()),
    "a policy that Nova shares by chance agrees": (LIVE, "active", (LOCKED,), REFUSED, Outcome.AGREE_REFUSE, ()),
    "no room, and yet Nova did it": (LIVE, "active", (FULL,), MOVED, Outcome.REFUSED_BUT_POSSIBLE, ()),
    "a lock is the owner's word": (LIVE, "active", (LOCKED,), MOVED, Outcome.STRICTER_BY_POLICY, ("R18, I10",)),
    "a policy does not excuse another wrong finding": (
        LIVE,
        "active",
        (LOCKED, FULL),
        MOVED,
        Outcome.REFUSED_BUT_POSSIBLE,
        (),
    ),
    "two policies, two requirements": (
        COLD,
        "active",
        (STATE, LOCKED),
        MOVED,
        Outcome.STRICTER_BY_POLICY,
        ("R18, I10", "R5"),
    ),
    "cold of a running server is policy": (COLD, "active", (STATE,), MOVED, Outcome.STRICTER_BY_POLICY, ("R5",)),
    "cold of a paused one is Nova's own rule": (COLD, "paused", (STATE,), MOVED, Outcome.REFUSED_BUT_POSSIBLE, ()),
    "live in a wrong state is Nova's own rule": (LIVE, "stopped", (STATE,), MOVED, Outcome.REFUSED_BUT_POSSIBLE, ()),
    "live to an older version is Nova's own rule": (LIVE, "active", (OLDER,), MOVED, Outcome.REFUSED_BUT_POSSIBLE, ()),
    "cold to an older version is ours": (COLD, "stopped", (OLDER,), MOVED, Outcome.STRICTER_BY_POLICY, ("R14",)),
    "live to a newer version is ours": (LIVE, "active", (NEWER,), MOVED, Outcome.STRICTER_BY_POLICY, ("R14",)),
    "live to a lesser CPU is Nova's own rule": (LIVE, "active", (CPU,), MOVED, Outcome.REFUSED_BUT_POSSIBLE, ()),
    "another zone is ours": (LIVE, "active", (ZONE,), MOVED, Outcome.STRICTER_BY_POLICY, ("R11",)),
    "what a flavor demands is Nova's own rule": (LIVE, "active", (TRAIT,), MOVED, Outcome.REFUSED_BUT_POSSIBLE, ()),
    "evacuation to a lesser CPU is ours": (EVACUATE, "active", (CPU,), MOVED, Outcome.STRICTER_BY_POLICY, ("R12",)),
    "evacuation off shared storage would lose data": (
        EVACUATE,
        "active",
        (STORAGE,),
        MOVED,
        Outcome.STRICTER_BY_POLICY,
        ("R6, I14",),
    ),
}


@pytest.mark.parametrize("sentence", CASES)
def test_what_it_says_about_our_verdict(sentence: str) -> None:
    kind, vm_state, against, happened, outcome, requirements = CASES[sentence]
    picked = None if against else "cmp2"
    assert classify(kind, vm_state, against, picked, happened) == (outcome, requirements)


def test_every_exception_names_its_requirement_once() -> None:
    assert all(re.fullmatch(r"[RI]\d+(, [RI]\d+)*", rule.requirement) for rule in STRICTER)
    rows = [(rule.name, rule.reason, kind) for rule in STRICTER for kind in rule.kinds]
    assert len(rows) == len(set(rows))


@pytest.mark.parametrize("name", [Name.CAPACITY, Name.TARGET_HOST, Name.SERVER_TASK, Name.SERVER_GROUP])
def test_these_are_nova_s_own_rules_and_have_no_exception(name: Name) -> None:
    assert not [rule for rule in STRICTER if rule.name is name]
