"""Eligible targets for one server, their rank, and the reasons of those that are not (R8, R9-R18).

A target that is named is judged alone. Without one every other host is judged and the best one is picked; the
findings in the status are then those on the picked host, or, when there is none, what all hosts together say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from vmferry.cloud.model import Host
from vmferry.planning.limits import in_flight_to_each
from vmferry.prerequisites import server_group
from vmferry.prerequisites.chains import CHAINS
from vmferry.prerequisites.frame import About, Finding, Question, failed, not_applicable, passed, unknown
from vmferry.prerequisites.words import Name, Reason, Result


@dataclass(frozen=True, slots=True)
class Candidate:
    """One host, judged."""

    host: Host
    findings: tuple[Finding, ...]
    #: the findings that speak against it, in the order of the chain; empty: eligible
    against: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Ranked:
    host: str
    message: str


@dataclass(frozen=True, slots=True)
class Group:
    """Hosts that are out for the same first reason."""

    reason: Reason
    hosts: int
    example: str
    message: str


@dataclass(frozen=True, slots=True)
class Outlook:
    """What the hosts say, whatever the checks about the server itself say."""

    #: of every check about a target, in the order of the chain
    findings: tuple[Finding, ...]
    #: best first
    eligible: tuple[Ranked, ...]
    ineligible: tuple[Group, ...]
    #: a host is eligible, or would be if everything that the cloud does not tell turned out well
    possible: bool
    #: none is eligible, but this one will be once other moves have ended
    waits_for: str | None = None


@dataclass(frozen=True, slots=True)
class Assessment:
    """All that a status says about prerequisites and targets."""

    #: every prerequisite, in the order of `Name`'s table, exactly once
    findings: tuple[Finding, ...]
    #: best first
    eligible: tuple[Ranked, ...]
    ineligible: tuple[Group, ...]
    #: the findings that block
    against: tuple[Finding, ...]
    #: the host to move to; None when something blocks, or the named host was tried and failed
    target: str | None
    #: something blocks, but only what the cloud does not tell: if it turned out well, the server could go
    undecided: bool = False
    #: something blocks, but only other moves: the host to go to once they have ended
    waits_for: str | None = None


#: how an outlook is come by: `look_out` itself, or something that remembers what it said
Look = Callable[[Question, str | None, frozenset[str]], Outlook]


#: how all hosts but the server's own are judged
JudgeOthers = Callable[[Question], "list[Candidate]"]


def judge_others(question: Question) -> list[Candidate]:
    return [judge(question, h) for h in question.snapshot.hosts.values() if h.name != question.server.host]


def look_out(
    question: Question, target: str | None, avoid: frozenset[str], others: JudgeOthers = judge_others
) -> Outlook:
    """Ask the named host, or all of them. Of the server it reads only what the checks about targets do."""
    if target is not None:
        host = question.snapshot.find_host(target)
        if host is None:
            return _unknown_host(question, target)
        candidates = [judge(question, host)]
    else:
        candidates = others(question)

    fit = [c for c in candidates if not c.against and c.host.name not in avoid]
    ranked = rank(question, fit)
    waiting = [] if ranked else rank(question, [c for c in candidates if c.host.name not in avoid and _only_waits(c)])
    if target is not None or ranked:
        best = candidates[0] if target is not None else next(c for c in fit if c.host.name == ranked[0].host)
        of_target: tuple[Finding, ...] = best.findings
        if target is not None and best.against and not of_target_is_same(best):
            of_target = _with_alternatives(question, best, others(question))
    else:
        of_target = _nowhere(question, candidates, avoid)
    return Outlook(
        findings=of_target,
        eligible=tuple(ranked),
        ineligible=_groups(candidates, avoid) if target is None else (),
        possible=any(_only_unknown(c.against) for c in candidates if c.host.name not in avoid),
        waits_for=waiting[0].host if waiting else None,
    )


def assess(
    question: Question, target: str | None, avoid: frozenset[str] = frozenset(), look: Look = look_out
) -> Assessment:
    """Judge `question` for the named target, or for all hosts.

    `question.target` is ignored. `avoid` holds hosts that were tried and failed: they are out. A named one that
    nothing else stands against gives no target, and no finding against it either.
    """
    alone = replace(question, target=None)
    of_server = tuple(p.check(alone) for p in CHAINS[question.kind] if p.about is About.SERVER)
    outlook = look(question, target, avoid)
    findings = _complete(question, of_server + outlook.findings)
    against = tuple(f for f in findings if f.blocks(question.policy))
    return Assessment(
        findings=findings,
        eligible=outlook.eligible,
        ineligible=outlook.ineligible,
        against=against,
        target=None if against or not outlook.eligible else outlook.eligible[0].host,
        undecided=bool(against) and outlook.possible and _only_unknown(of_server),
        waits_for=None if any(f.blocks(question.policy) for f in of_server) else outlook.waits_for,
    )


def _only_unknown(findings: Iterable[Finding]) -> bool:
    """Whether nothing failed for certain."""
    return all(f.result is not Result.FAILED for f in findings)


def _only_waits(candidate: Candidate) -> bool:
    return bool(candidate.against) and all(f.waits for f in candidate.against)


def of_target_is_same(candidate: Candidate) -> bool:
    return any(f.reason is Reason.SAME_HOST for f in candidate.against)


def judge(question: Question, host: Host) -> Candidate:
    """Ask every question that is about a target."""
    asked = replace(question, target=host)
    findings = tuple([p.check(asked) for p in CHAINS[question.kind] if p.about is About.TARGET])
    return Candidate(host, findings, tuple([f for f in findings if f.blocks(question.policy)]))


def rank(question: Question, fit: Iterable[Candidate]) -> list[Ranked]:
    """What a soft server group wishes first, then fewest migrations on their way there, then the emptiest memory,
    then by name."""
    group = question.group
    wish = {"soft-affinity": -1, "soft-anti-affinity": 1}.get(group.policy if group else "", 0)
    coming = in_flight_to_each(question.snapshot, question.moves)

    def share_after(host: Host) -> float | None:
        memory = (host.inventories or {}).get("MEMORY_MB")
        if memory is None or memory.capacity <= 0:
            return None
        return round((memory.used + question.server.flavor.memory_mb) / memory.capacity, 2)

    def order(host: Host) -> tuple[int, int, float, str]:
        share = share_after(host)
        friends = wish * len(server_group.others_on(question, host.name)) if wish else 0
        return friends, coming[host.name], 1.0 if share is None else share, host.name

    def why(host: Host) -> str:
        share = share_after(host)
        memory = "its memory is not known" if share is None else f"{share:.0%} of its memory taken after the move"
        text = f"{memory}, {coming[host.name]} migrations on their way there"
        if group is None or not wish:
            return text
        there = len(server_group.others_on(question, host.name))
        return f"{text}, {there} others of its {group.policy} group {group.name} there"

    return [Ranked(host.name, why(host)) for host in sorted((c.host for c in fit), key=order)]


def _with_alternatives(question: Question, refused: Candidate, others: list[Candidate]) -> tuple[Finding, ...]:
    """Name the hosts that would do in the remedies of a refused target."""
    best = [
        r.host for r in rank(question, [c for c in others if not c.against and c.host.name != refused.host.name])[:3]
    ]
    hint = f"; eligible: {', '.join(best)}" if best else "; no other host is eligible either"
    return tuple(
        replace(f, remedy=f"{f.remedy}{hint}") if f in refused.against and f.remedy else f for f in refused.findings
    )


def _nowhere(question: Question, candidates: list[Candidate], avoid: frozenset[str]) -> tuple[Finding, ...]:
    """What all hosts together say when none is eligible."""
    groups = _groups(candidates, avoid)
    summary = "; ".join(f"{g.hosts} {g.reason} ({g.example}: {g.message})" for g in groups)
    findings: list[Finding] = []
    for prerequisite in (p for p in CHAINS[question.kind] if p.about is About.TARGET):
        name = prerequisite.name
        mine = [f for c in candidates for f in c.findings if f.name is name]
        unmet = [f for f in mine if f.result in (Result.FAILED, Result.UNKNOWN)]
        if name is Name.TARGET_HOST:
            findings.append(
                failed(
                    name,
                    Reason.NO_ELIGIBLE_TARGET,
                    f"none of {len(candidates)} other hosts is eligible: {summary}"
                    if candidates
                    else "the cloud has no other host",
                    "remove what stands against one of these hosts, or add a host",
                )
            )
        elif mine and len(unmet) == len(mine):
            example = next((f for f in unmet if f.blocks(question.policy)), unmet[0])
            findings.append(replace(example, message=f"on all {len(mine)} other hosts, like {example.message}"))
        elif mine:
            findings.append(passed(name, f"{len(mine) - len(unmet)} of {len(mine)} other hosts pass"))
        else:
            findings.append(unknown(name, "there is no other host to look at", "add a host"))
    return tuple(findings)


def _unknown_host(question: Question, target: str) -> Outlook:
    missing = failed(
        Name.TARGET_HOST,
        Reason.HOST_NOT_FOUND,
        f"the cloud has no host {target}",
        "name a compute service host (`openstack compute service list`) or a hypervisor's UUID",
        target,
    )
    others = tuple(
        unknown(p.name, f"{target} is not known", "name a host of the cloud", target)
        for p in CHAINS[question.kind]
        if p.about is About.TARGET and p.name is not Name.TARGET_HOST
    )
    return Outlook((missing, *others), eligible=(), ineligible=(), possible=False)


def _complete(question: Question, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Every prerequisite that exists, each exactly once; those of other kinds as NotApplicable."""
    by_name = {f.name: f for f in findings}
    every = {p.name: None for chain in CHAINS.values() for p in chain}
    return tuple(by_name.get(name) or not_applicable(name, f"not asked for {question.kind}") for name in every)


def _groups(candidates: list[Candidate], avoid: frozenset[str]) -> tuple[Group, ...]:
    """Hosts that are out, by their first reason, the most common one first."""
    found: dict[Reason, list[tuple[str, str]]] = {}
    for candidate in candidates:
        if candidate.against:
            first = candidate.against[0]
            reason = first.reason or Reason.FACT_UNKNOWN
            found.setdefault(reason, []).append((candidate.host.name, first.message))
        elif candidate.host.name in avoid:
            found.setdefault(Reason.CLOUD_REFUSED, []).append((candidate.host.name, "tried and failed before"))
    groups = [Group(reason, len(hosts), *min(hosts)) for reason, hosts in found.items()]
    return tuple(sorted(groups, key=lambda g: (-g.hosts, g.reason)))


def blocked(findings: Iterable[Finding]) -> str:
    """One line for a condition: every prerequisite that is not met."""
    return "; ".join(f"{f.name}: {f.message}" for f in findings if f.result in (Result.FAILED, Result.UNKNOWN))
