"""Classifies the result of a request against our verdict (R21). Pure.

A refusal of ours that Nova would have carried out is a defect, unless every blocking finding comes from a rule of the
product that is stricter than Nova on purpose; these are the rows of `STRICTER`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from vmferry.cloud.model import ResolvedType
from vmferry.prerequisites.enums import Name, Reason

LIVE, COLD, EVACUATE = ResolvedType.LIVE, ResolvedType.COLD, ResolvedType.EVACUATE
EVERY = frozenset(ResolvedType)


class Did(StrEnum):
    """Nova's reaction to a request."""

    #: the server arrived on another host
    MOVED = "moved"
    #: HTTP 4xx
    REFUSED = "refused"
    #: Nova responded with 202, but the server did not arrive
    FAILED = "failed"
    #: no response, or no end in time: no conclusion is possible
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class Happened:
    did: Did
    #: the server's host afterwards
    host: str | None
    #: Nova's own message
    words: str = ""
    #: the server's status afterwards
    status: str = ""


class Outcome(StrEnum):
    AGREE_PASS = "agree-pass"
    AGREE_REFUSE = "agree-refuse"
    STRICTER_BY_POLICY = "stricter by policy"
    PASSED_BUT_REFUSED = "PASSED-BUT-REFUSED"
    REFUSED_BUT_POSSIBLE = "REFUSED-BUT-POSSIBLE"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class Against:
    """A blocking finding."""

    name: Name
    reason: Reason
    message: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """A finding that is stricter than Nova for these types, and the requirement behind it."""

    name: Name
    reason: Reason
    kinds: frozenset[ResolvedType]
    requirement: str
    #: the rule applies only to servers in these states; empty means all
    vm_states: frozenset[str] = frozenset()
    #: the rule applies only to messages that contain this text, because a reason may stand for several rules
    says: str = ""


def _of(*kinds: ResolvedType) -> frozenset[ResolvedType]:
    return frozenset(kinds)


STRICTER: tuple[Rule, ...] = (
    # Nova moves a locked server for an administrator, and stops a running server for a cold migration
    Rule(Name.SERVER_LOCK, Reason.LOCKED, EVERY, "R18, I10"),
    Rule(Name.POWER_STATE, Reason.STATE_NOT_MIGRATABLE, _of(COLD), "R5", frozenset({"active"})),
    # Nova takes `forced_down` as proof that a host is dead, even if the host still reports
    Rule(Name.SOURCE_HOST, Reason.HOST_NOT_FAILED, _of(EVACUATE), "R6, I12"),
    # a server that was not created for a zone may go to any zone; the requirements of its flavor are Nova's own rule
    Rule(Name.AVAILABILITY_ZONE, Reason.OUTSIDE_ZONE, EVERY, "R11", says="the server's host"),
    # Nova compares versions and CPUs only for a live migration, and allows a newer version there
    Rule(Name.HYPERVISOR_VERSION, Reason.HYPERVISOR_MISMATCH, EVERY, "R14"),
    Rule(Name.HYPERVISOR_VERSION, Reason.HYPERVISOR_TOO_OLD, _of(COLD, EVACUATE), "R14"),
    Rule(Name.CPU_MODEL, Reason.CPU_INCOMPATIBLE, _of(COLD, EVACUATE), "R12"),
    # Nova does not know operating systems
    Rule(Name.OPERATING_SYSTEM, Reason.OS_MISMATCH, EVERY, "R13"),
    Rule(Name.OPERATING_SYSTEM, Reason.NOT_RETURNABLE, EVERY, "R13, R22"),
    Rule(Name.OPERATING_SYSTEM, Reason.FACT_UNKNOWN, EVERY, "R13, R19"),
    # Nova copies disks between two shared storages, and rebuilds missing disks from the image
    Rule(Name.STORAGE, Reason.STORAGE_NOT_SHARED, _of(LIVE), "R3"),
    Rule(Name.STORAGE, Reason.STORAGE_NOT_SHARED, _of(EVACUATE), "R6, I14"),
    Rule(Name.STORAGE, Reason.LOCAL_DISK, _of(EVACUATE), "R6, I14"),
    Rule(Name.STORAGE, Reason.FACT_UNKNOWN, _of(EVACUATE), "R6, R19"),
    # Nova does not know network limits
    Rule(Name.BANDWIDTH, Reason.BANDWIDTH_EXCEEDED, EVERY, "R17"),
)


def requirement(against: Against, kind: ResolvedType, vm_state: str) -> str | None:
    """The requirement that makes this finding stricter than Nova; None if there is none."""
    for rule in STRICTER:
        if (against.name, against.reason) != (rule.name, rule.reason) or kind not in rule.kinds:
            continue
        if (not rule.vm_states or vm_state in rule.vm_states) and rule.says in against.message:
            return rule.requirement
    return None


def classify(
    kind: ResolvedType, vm_state: str, against: Iterable[Against], picked: str | None, happened: Happened
) -> tuple[Outcome, tuple[str, ...]]:
    """Return the outcome, and the requirements behind it if it is stricter by policy.

    `picked` is the host that we would move to, None if `against` is not empty. For a refusal without a target,
    `against` must hold the findings against the host that Nova chose.
    """
    against = tuple(against)
    if happened.did is Did.UNCLEAR:
        return Outcome.UNCLEAR, ()
    moved = happened.did is Did.MOVED
    if not against:
        agrees = moved and happened.host == picked
        return (Outcome.AGREE_PASS if agrees else Outcome.PASSED_BUT_REFUSED), ()
    if not moved:
        return Outcome.AGREE_REFUSE, ()
    wanted = [requirement(one, kind, vm_state) for one in against]
    if None in wanted:
        return Outcome.REFUSED_BUT_POSSIBLE, ()
    return Outcome.STRICTER_BY_POLICY, tuple(sorted({one for one in wanted if one}))
