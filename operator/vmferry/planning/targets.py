"""Eligible targets for one server, their rank, and the reasons why other hosts are ineligible (R8, R9-R18).

A named target is judged alone. Without one, all other hosts are judged and the best is picked; the findings in the
status are then those of the picked host, or, if no host is eligible, a summary over all hosts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from vmferry.cloud.model import Host
from vmferry.cloud.similar_names import did_you_mean
from vmferry.planning.limits import first_free, in_flight_to_each
from vmferry.prerequisites import aggregate_rules, server_group, target_host
from vmferry.prerequisites.chains import CHAINS
from vmferry.prerequisites.check import About, Finding, Question, failed, not_applicable, passed, unknown
from vmferry.prerequisites.enums import Name, Reason, Result

#: rank weight of each other group member on a host under a soft policy; lower is better
WISHES = {"soft-affinity": -1, "soft-anti-affinity": 1}


@dataclass(frozen=True, slots=True)
class JudgedHost:
    """One host with its findings."""

    host: Host
    findings: tuple[Finding, ...]
    #: the findings that block it, in the order of the chain; empty: eligible
    against: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Ranked:
    """An eligible host, and the values that its rank depends on."""

    host: str
    #: share of its memory that is used after the move; None: unknown
    share: float | None
    #: migrations in flight to it
    coming: int
    #: with a soft server group only: how many other members are there, as text
    friends: str = ""
    #: an aggregate's rule, as text, by which Nova may refuse the server; empty: none
    rule: str = ""

    @property
    def message(self) -> str:
        memory = (
            "its memory is unknown" if self.share is None else f"{self.share:.0%} of its memory taken after the move"
        )
        rule = f"; behind the others: {self.rule}" if self.rule else ""
        return f"{memory}, {self.coming} migrations on their way there{self.friends}{rule}"


#: sort key of a host, and its reported form
Standing = tuple[tuple[bool, int, int, float, str], Ranked]


@dataclass(frozen=True, slots=True)
class Group:
    """Hosts that are ineligible for the same first reason."""

    reason: Reason
    hosts: int
    example: str
    message: str


@dataclass(frozen=True, slots=True)
class HostAssessment:
    """The result for all hosts, independent of the checks about the server itself."""

    #: of every check about a target, in the order of the chain
    findings: tuple[Finding, ...]
    #: best first
    eligible: tuple[Ranked, ...]
    ineligible: tuple[Group, ...]
    #: whether a host is eligible, or would be if every unknown fact were favourable
    possible: bool
    #: the eligible host to move to, to which `findings` then refer
    target: str | None = None
    #: none is eligible, but this host will be once other moves have ended
    waits_for: str | None = None


@dataclass(frozen=True, slots=True)
class Assessment:
    """Everything that a status reports about prerequisites and targets."""

    #: every prerequisite exactly once, in the order of `Name`'s table
    findings: tuple[Finding, ...]
    #: best first
    eligible: tuple[Ranked, ...]
    ineligible: tuple[Group, ...]
    #: the findings that block
    against: tuple[Finding, ...]
    #: the host to move to; None when something blocks, or the named host was tried and failed
    target: str | None
    #: only unknown facts block: if they were favourable, the server could move
    undecided: bool = False
    #: only other moves block: the host to move to once they have ended
    waits_for: str | None = None


#: `assess_hosts`, or `HostAssessments.assess_hosts`, which caches its findings
AssessHosts = Callable[[Question, str | None, frozenset[str]], HostAssessment]


#: the eligible hosts other than the server's own, best first
RankOthers = Callable[[Question], Sequence[Ranked]]


def judge_others(question: Question) -> list[JudgedHost]:
    """Findings for all hosts other than the server's own, by host name."""
    hosts = sorted(question.snapshot.hosts.values(), key=lambda host: host.name)
    return [judge(question, host) for host in hosts if host.name != question.server.host]


def rank_others(question: Question) -> Sequence[Ranked]:
    return rank(question, [h for h in judge_others(question) if not h.against])


def assess_hosts(
    question: Question, target: str | None, avoid: frozenset[str], alternatives: RankOthers = rank_others
) -> HostAssessment:
    """Judge the named host, or all hosts; if a named host is refused, its findings list the best `alternatives`."""
    if target is not None:
        host = question.snapshot.find_host(target)
        if host is None:
            return _unknown_host(question, target)
        judged = [judge(question, host)]
    else:
        judged = judge_others(question)

    fit = [h for h in judged if not h.against and h.host.name not in avoid]
    ranked = rank(question, fit)
    waiting = [] if ranked else rank(question, [h for h in judged if h.host.name not in avoid and _only_waits(h)])
    groups = _groups(judged, avoid) if target is None else ()
    choice = choose(question, ranked) if target is None else ranked[0].host if ranked else None
    if target is not None or choice is not None:
        best = judged[0] if target is not None else next(h for h in fit if h.host.name == choice)
        of_target: tuple[Finding, ...] = best.findings
        if target is not None and best.against and not of_target_is_same(best):
            of_target = _with_alternatives(best, alternatives(question))
    else:
        of_target = nowhere(_of_all(question, judged), groups)
    return HostAssessment(
        findings=of_target,
        eligible=tuple(ranked),
        ineligible=groups,
        possible=any(_only_unknown(h.against) for h in judged if h.host.name not in avoid),
        target=choice,
        waits_for=waiting[0].host if waiting else None,
    )


def assess(
    question: Question, target: str | None, avoid: frozenset[str] = frozenset(), by: AssessHosts = assess_hosts
) -> Assessment:
    """Judge `question` for the named target, or for all hosts.

    `question.target` is ignored. `avoid` holds hosts on which an attempt failed; they are never chosen. If the named
    host is among them and nothing else blocks it, the result has no target and no blocking finding.
    """
    alone = replace(question, target=None)
    of_server = tuple(p.check(alone) for p in CHAINS[question.type] if p.about is About.SERVER)
    hosts = by(question, target, avoid) if _source_is_known(question) else _from_an_unknown_host(question)
    findings = _complete(question, of_server + hosts.findings)
    against = tuple(f for f in findings if f.blocks(question.policy))
    return Assessment(
        findings=findings,
        eligible=hosts.eligible,
        ineligible=hosts.ineligible,
        against=against,
        target=None if against else hosts.target,
        undecided=bool(against) and hosts.possible and _only_unknown(of_server),
        waits_for=None if any(f.blocks(question.policy) for f in of_server) else hosts.waits_for,
    )


def _source_is_known(question: Question) -> bool:
    """False if the source is unlisted or doubtful. A server without a host has a finding of its own."""
    return question.source is not None or question.server.host is None


def _from_an_unknown_host(question: Question) -> HostAssessment:
    """SourceHost reports what is unknown; every target check would only repeat that it cannot compare."""
    why = f"{question.server.host} is unknown, see SourceHost"
    findings = tuple(not_applicable(p.name, why) for p in CHAINS[question.type] if p.about is About.TARGET)
    return HostAssessment(findings, eligible=(), ineligible=(), possible=True)


def _only_unknown(findings: Iterable[Finding]) -> bool:
    """Whether no check definitely failed."""
    return all(f.result is not Result.FAILED for f in findings)


def _only_waits(judged: JudgedHost) -> bool:
    return bool(judged.against) and all(f.waits for f in judged.against)


def of_target_is_same(judged: JudgedHost) -> bool:
    return any(f.reason is Reason.SAME_HOST for f in judged.against)


def judge(question: Question, host: Host) -> JudgedHost:
    """Run every check that is about a target."""
    asked = replace(question, target=host)
    findings = tuple([p.check(asked) for p in CHAINS[question.type] if p.about is About.TARGET])
    return JudgedHost(host, findings, tuple([f for f in findings if f.blocks(question.policy)]))


def rank(question: Question, fit: Iterable[JudgedHost]) -> list[Ranked]:
    """Sort the hosts: those without an aggregate rule that may refuse the server, then by a soft server group's
    preference, then by the fewest migrations in flight to them, then by the lowest memory use, then by name."""
    coming = in_flight_to_each(question.snapshot, question.moves)
    standings = sorted(
        (standing(replace(question, target=h.host), h.host, coming) for h in fit), key=lambda one: one[0]
    )
    return [ranked for _, ranked in standings]


def choose(question: Question, eligible: Sequence[Ranked]) -> str | None:
    """The best host, or the best of those where the move may start now if it had to wait for the best host (R8, I24).

    A server with a soft group policy waits for the best host: the wait is short, but its neighbours stay for long.
    """
    if not eligible:
        return None
    best, source, group = eligible[0].host, question.server.host, question.group
    if source is None or (group is not None and group.policy in WISHES):
        return best
    if not question.earlier:
        return best  # no other host has fewer moves in flight to it
    hosts = (ranked.host for ranked in eligible if bool(ranked.rule) == bool(eligible[0].rule))
    free = first_free(source, hosts, question.snapshot, question.moves, question.earlier, question.policy.limits)
    return free or best


def standing(question: Question, host: Host, coming: Mapping[str, int]) -> Standing:
    """The rank of the question's target host; `coming` is the result of `in_flight_to_each`."""
    group, name = question.group, host.name
    memory = (host.inventories or {}).get("MEMORY_MB")
    share = None
    if memory is not None and memory.capacity > 0:
        share = round((memory.used + question.server.flavor.memory_mb) / memory.capacity, 2)
    on_their_way = coming.get(name, 0)
    wish, friends = WISHES.get(group.policy, 0) if group else 0, ""
    if group is not None and wish:
        there = len(server_group.others_on(question, name))
        wish *= there
        friends = f", {there} others of its {group.policy} group {group.name} there"
    rule = aggregate_rules.may_refuse(question) or ""
    order = bool(rule), wish, on_their_way, 1.0 if share is None else share, name
    return order, Ranked(name, share, on_their_way, friends, rule)


def _with_alternatives(refused: JudgedHost, others: Sequence[Ranked]) -> tuple[Finding, ...]:
    """Add the eligible alternatives to the remedies of a refused target."""
    best = [ranked.host for ranked in others if ranked.host != refused.host.name][:3]
    hint = f"; eligible: {', '.join(best)}" if best else "; no other host is eligible either"
    return tuple(
        replace(f, remedy=f"{f.remedy}{hint}") if f in refused.against and f.remedy else f for f in refused.findings
    )


@dataclass(frozen=True, slots=True)
class OfAll:
    """The result of one check over all hosts."""

    name: Name
    hosts: int
    #: number of hosts where it failed or is unknown
    unmet: int
    #: the first of these findings that blocks, or else the first
    example: Finding | None


def _of_all(question: Question, judged: list[JudgedHost]) -> list[OfAll]:
    found: list[OfAll] = []
    for number, prerequisite in enumerate(p for p in CHAINS[question.type] if p.about is About.TARGET):
        unmet = [f for f in (h.findings[number] for h in judged) if f.result in (Result.FAILED, Result.UNKNOWN)]
        example = next((f for f in unmet if f.blocks(question.policy)), unmet[0] if unmet else None)
        found.append(OfAll(prerequisite.name, len(judged), len(unmet), example))
    return found


def nowhere(of_all: Iterable[OfAll], groups: Iterable[Group]) -> tuple[Finding, ...]:
    """The findings when no host is eligible: one summary for each check."""
    summary = "; ".join(f"{g.hosts} {g.reason} ({g.example}: {g.message})" for g in groups)
    findings: list[Finding] = []
    for one in of_all:
        if one.name is Name.TARGET_HOST:
            findings.append(
                failed(
                    one.name,
                    Reason.NO_ELIGIBLE_TARGET,
                    f"none of {one.hosts} other hosts is eligible: {summary}"
                    if one.hosts
                    else "the cloud has no other host",
                    "resolve what blocks one of these hosts, or add a host",
                )
            )
        elif not one.hosts:
            findings.append(unknown(one.name, "there is no other host to check", "add a host"))
        elif one.example is not None and one.unmet == one.hosts:
            message = f"on all {one.hosts} other hosts, like {one.example.message}"
            findings.append(replace(one.example, message=message))
        else:
            findings.append(passed(one.name, f"{one.hosts - one.unmet} of {one.hosts} other hosts pass"))
    return tuple(findings)


def _unknown_host(question: Question, target: str) -> HostAssessment:
    """The finding about a target that the cloud does not list or that is doubtful; the other checks do not apply."""
    doubt = question.snapshot.find_doubt(target)
    if doubt is not None:
        missing = target_host.in_doubt(doubt)
    else:
        missing = failed(
            Name.TARGET_HOST,
            Reason.HOST_NOT_FOUND,
            f"the cloud has no host {target}",
            did_you_mean(target, question.snapshot.hosts)
            + "name a compute service host (`openstack compute service list`) or a hypervisor's UUID",
            target,
        )
    others = tuple(
        not_applicable(p.name, f"{target} is unknown, see TargetHost")
        for p in CHAINS[question.type]
        if p.about is About.TARGET and p.name is not Name.TARGET_HOST
    )
    return HostAssessment((missing, *others), eligible=(), ineligible=(), possible=doubt is not None)


def _complete(question: Question, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Every prerequisite exactly once; those of other types as NotApplicable."""
    by_name = {f.name: f for f in findings}
    every = {p.name: None for chain in CHAINS.values() for p in chain}
    return tuple(by_name.get(name) or not_applicable(name, f"not checked for {question.type}") for name in every)


def _groups(judged: list[JudgedHost], avoid: frozenset[str]) -> tuple[Group, ...]:
    """Ineligible hosts, grouped by their first reason, the most common one first."""
    found: dict[Reason, list[tuple[str, str]]] = {}
    for one in judged:
        if one.against:
            first = one.against[0]
            reason = first.reason or Reason.FACT_UNKNOWN
            found.setdefault(reason, []).append((one.host.name, first.message))
        elif one.host.name in avoid:
            found.setdefault(Reason.CLOUD_REFUSED, []).append((one.host.name, "tried and failed before"))
    return order_groups(Group(reason, len(hosts), *min(hosts)) for reason, hosts in found.items())


def order_groups(groups: Iterable[Group]) -> tuple[Group, ...]:
    """The most common reason first."""
    return tuple(sorted(groups, key=lambda g: (-g.hosts, g.reason)))


def blocked(findings: Iterable[Finding]) -> str:
    """One line for a condition: every prerequisite that failed or is unknown."""
    return "; ".join(f"{f.name}: {f.message}" for f in findings if f.result in (Result.FAILED, Result.UNKNOWN))
