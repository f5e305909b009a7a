"""Which hosts can take a server, for many servers: `targets.assess_hosts` with a cache.

A check answers a question ("may this server go to this target?") with a finding. A finding is reused for all servers
to which it applies.

The inputs on which a finding depends are not declared but observed: while a check runs, the fields of the question
that it reads are recorded. Checks are pure, so all questions with equal values in these fields have equal findings. A
check that reads the server's id runs for every server: slower, but never wrong.

Once a check blocks a host, the later checks skip it. Only if no host is left do all checks run for all hosts, because
the findings of all hosts are then reported. A set of hosts is an integer with one bit for each host, the lowest bit
for the first name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Generic, TypeVar, cast

from vmferry.cloud.model import Flavor, Host, Server, Snapshot
from vmferry.planning.limits import in_flight_to_each
from vmferry.planning.targets import (
    Group,
    HostAssessment,
    OfAll,
    Ranked,
    Standing,
    assess_hosts,
    choose,
    nowhere,
    order_groups,
    standing,
)
from vmferry.policy import Policy
from vmferry.prerequisites.chains import CHAINS
from vmferry.prerequisites.check import About, Finding, Prerequisite, Question
from vmferry.prerequisites.enums import Name, Reason, Result

#: fields that differ between source hosts: findings that depend on them are dropped when the source changes
_OF_SOURCE = frozenset({"source", "server.host", "server.id"})
#: the cache is cleared after so many snapshots: its entries keep each of them in memory, with thousands of servers
_VIEWS = 64
#: rows that each check keeps for one set of fields, so that a cloud with a thousand flavors does not fill the memory
_KEPT = 256

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Takers:
    """The `hosts` that can take a server, as two sets of bits. Servers that the same hosts can take have equal ones."""

    #: those that can take it at once
    now: int
    #: those that can take it only after other moves have ended
    later: int
    hosts: list[Host] = field(repr=False, compare=False)

    def tiers(self) -> Iterator[tuple[str, int]]:
        """Host names, with 0 for now and 1 for later."""
        for tier, some in enumerate((self.now, self.later)):
            for bit in _each(some):
                yield self.hosts[_number(bit)].name, tier


class HostAssessments:
    """`assess_hosts` with a cache, which lasts as long as the hosts and the policy are the same objects.

    Entries that depend on the source host are dropped when it changes: assess all servers of one host before the next.

    Example: web-1 and web-2 are on cmp1 and need 4 GiB each; cmp2 and cmp3 are the possible targets.

    1. For web-1, the check CPUModel runs for cmp2 and cmp3. It reads `source`, `policy` and `server.host`. Its two
       findings are kept in a row, whose key is the values of these three fields.
    2. For web-2 the three values are the same, so the row has the findings, and CPUModel does not run.
    3. Capacity also reads `server.needs`. web-2 needs the same, so its row applies too; web-3, which needs 8 GiB, gets
       a row of its own.
    4. A check that reads `server.id` has one row for each server. Such a check should read a property of the question
       instead, which is recorded by its value: `os_upgrade_of_server` is None for nearly all servers.
    """

    def __init__(self) -> None:
        self._of: tuple[Mapping[str, Host], Policy] | None = None
        self._source: Host | None = None
        self._view: Snapshot | None = None
        self._views = 0
        #: all hosts, by name
        self._hosts: list[Host] = []
        self._bits: dict[str, int] = {}
        self._everywhere = 0
        self._checks: dict[Prerequisite, _Memory[Finding]] = {}
        self._standings: _Memory[Standing] = _Memory(self._stand, [])

    def assess_hosts(self, question: Question, target: str | None, avoid: frozenset[str]) -> HostAssessment:
        """Same result as `targets.assess_hosts(question, target, avoid)`."""
        self._turn_to(question)
        if target is not None:
            return assess_hosts(question, target, avoid, self._rank_others)
        tried = sum(self._bits[name] for name in avoid if name in self._bits)
        others, left, out = self._sift(question)
        out.add(Reason.CLOUD_REFUSED, left & tried, lambda _: "tried and failed before")
        groups = out.groups()
        fit = left & ~tried
        if fit:
            eligible = self._rank(question, fit)
            target = choose(question, eligible)
            assert target is not None
            chosen = self._bits[target]
            findings = tuple([self._row(p, question, chosen).at(chosen) for p in _about_targets(question)])
            return HostAssessment(findings, eligible, groups, possible=True, target=target)

        # No host is eligible: report how many hosts fail each check, whether a host could still become eligible
        # (`possible`), and which one only waits until other moves have ended (`waits_for`).
        hopeful = waiting = others & ~tried
        of_all: list[OfAll] = []
        for prerequisite in _about_targets(question):
            row = self._row(prerequisite, question, others)
            hopeful &= ~row.failed
            waiting &= ~row.blocked | row.waits
            unmet = others & row.unmet
            # the first finding that blocks, or else the first
            example = row.at(_lowest(unmet & row.blocked or unmet)) if unmet else None
            of_all.append(OfAll(prerequisite.name, others.bit_count(), unmet.bit_count(), example))
        return HostAssessment(
            findings=nowhere(of_all, groups),
            eligible=(),
            ineligible=groups,
            possible=bool(hopeful),
            waits_for=self._rank(question, waiting)[0].host if waiting else None,
        )

    def takers(self, question: Question, apart: Collection[Name]) -> Takers:
        """The hosts that can take the server now or after other moves, if the checks in `apart` are left out."""
        self._turn_to(question)
        left = self._everywhere & ~self._bits.get(question.server.host or "", 0)
        waiting = 0
        for prerequisite in _about_targets(question):
            if prerequisite.name not in apart:
                row = self._row(prerequisite, question, left)
                left &= ~row.blocked | row.waits
                waiting |= row.waits
        return Takers(left & ~waiting, left & waiting, self._hosts)

    def _turn_to(self, question: Question) -> None:
        """Drop the entries that this question cannot use."""
        of = question.snapshot.hosts, question.policy
        if self._view is not question.snapshot:
            self._view = question.snapshot
            self._views += 1
        if self._of is None or self._of[0] is not of[0] or self._of[1] is not of[1] or self._views > _VIEWS:
            self._of = of
            self._views = 1
            self._hosts = sorted(question.snapshot.hosts.values(), key=lambda host: host.name)
            self._bits = {host.name: 1 << number for number, host in enumerate(self._hosts)}
            self._everywhere = (1 << len(self._hosts)) - 1
            self._checks = {
                p: _Memory(p.check, self._hosts) for chain in CHAINS.values() for p in chain if p.about is About.TARGET
            }
            self._standings = _Memory(self._stand, self._hosts)
        elif question.source is not self._source:
            for memory in self._checks.values():
                memory.forget_source()
            self._standings.forget_source()
        self._source = question.source

    def _sift(self, question: Question) -> tuple[int, int, _Out]:
        """All hosts but the server's own, those of them that no check blocks, and the blocked ones by reason."""
        left = others = self._everywhere & ~self._bits.get(question.server.host or "", 0)
        out = _Out(self._hosts)
        for prerequisite in _about_targets(question):
            row = self._row(prerequisite, question, left)
            refused = left & row.blocked
            if refused:
                for reason, hosts in row.by_reason.items():
                    out.add(reason, refused & hosts, lambda bit, row=row: row.at(bit).message)  # type: ignore[misc]
                left &= ~refused
        return others, left, out

    def _row(self, prerequisite: Prerequisite, question: Question, hosts: int) -> _Findings:
        return cast(_Findings, self._checks[prerequisite].row(question, hosts, _Findings))

    def _rank(self, question: Question, hosts: int) -> tuple[Ranked, ...]:
        row = cast(_Standings, self._standings.row(question, hosts, _Standings))
        return tuple([ranked for bit, ranked in row.in_order() if bit & hosts])

    def _rank_others(self, question: Question) -> tuple[Ranked, ...]:
        _, fit, _ = self._sift(question)
        return self._rank(question, fit)

    def _stand(self, question: Question) -> Standing:
        assert question.target is not None
        return standing(question, question.target, in_flight_to_each(question.snapshot, question.moves))


def _about_targets(question: Question) -> list[Prerequisite]:
    return [p for p in CHAINS[question.type] if p.about is About.TARGET]


class _Out:
    """Ineligible hosts, grouped by their first reason."""

    def __init__(self, hosts: list[Host]) -> None:
        self._hosts = hosts
        #: by reason: number of hosts, the first host, and its message
        self._found: dict[Reason, tuple[int, int, Callable[[int], str]]] = {}

    def add(self, reason: Reason, hosts: int, message: Callable[[int], str]) -> None:
        if not hosts:
            return
        first, count = _lowest(hosts), hosts.bit_count()
        known = self._found.get(reason)
        if known is not None and known[1] < first:
            self._found[reason] = (known[0] + count, *known[1:])
        else:
            self._found[reason] = (count + (known[0] if known else 0), first, message)

    def groups(self) -> tuple[Group, ...]:
        return order_groups(
            Group(reason, count, self._hosts[_number(first)].name, message(first))
            for reason, (count, first, message) in self._found.items()
        )


class _Row(ABC, Generic[Answer]):
    """Answers of one check by host, for all questions with equal values in the fields that the check reads."""

    def __init__(self, check: Callable[[Question], Answer], hosts: list[Host], question: Question) -> None:
        # no reference to the owning _Memory: a cycle would keep whole snapshots alive until the next full collection
        self._check = check
        self._hosts = hosts
        self._read: set[str] = set()
        #: the question as the check sees it; kept, because the row's key contains the `id` of its objects (`_mark`)
        self._asked = _Noting(question, "", self._read)
        self._answers: dict[int, Answer] = {}
        self._seen = 0

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self._read))

    def at(self, bit: int) -> Answer:
        return self._answers[bit]

    def ask(self, hosts: int) -> bool:
        """Run the check for hosts without an answer; returns False if it read fields that it had not read before."""
        before = len(self._read)
        missing = hosts & ~self._seen
        if not missing:
            return True
        asked, check = self._asked, self._check
        for bit in _each(missing):
            asked.target = self._hosts[_number(bit)]
            self._answers[bit] = answer = check(cast(Question, asked))
            self._note(bit, answer)
        self._seen |= missing
        return len(self._read) == before

    @abstractmethod
    def _note(self, bit: int, answer: Answer) -> None:
        """Record the answer for one more host."""


class _Findings(_Row[Finding]):
    """Findings of one check."""

    def __init__(self, check: Callable[[Question], Finding], hosts: list[Host], question: Question) -> None:
        super().__init__(check, hosts, question)
        self._policy = question.policy
        #: hosts for which the check failed
        self.failed = 0
        #: hosts for which it failed or is unknown
        self.unmet = 0
        #: hosts that it blocks: not all for which it is unknown, if the policy tolerates that
        self.blocked = 0
        #: those of `blocked` that it blocks only until other moves have ended
        self.waits = 0
        #: hosts that it blocks, by reason
        self.by_reason: dict[Reason, int] = {}

    def _note(self, bit: int, answer: Finding) -> None:
        if answer.result in (Result.PASSED, Result.NOT_APPLICABLE):
            return
        self.unmet |= bit
        if answer.result is Result.FAILED:
            self.failed |= bit
        if answer.blocks(self._policy):
            self.blocked |= bit
            reason = answer.reason or Reason.FACT_UNKNOWN
            self.by_reason[reason] = self.by_reason.get(reason, 0) | bit
            if answer.waits:
                self.waits |= bit


class _Standings(_Row[Standing]):
    """Rank of each host."""

    def __init__(self, check: Callable[[Question], Standing], hosts: list[Host], question: Question) -> None:
        super().__init__(check, hosts, question)
        self._order: list[tuple[int, Ranked]] | None = None

    def _note(self, bit: int, answer: Standing) -> None:
        self._order = None

    def in_order(self) -> list[tuple[int, Ranked]]:
        if self._order is None:
            found = sorted(self._answers.items(), key=lambda entry: entry[1][0])
            self._order = [(bit, ranked) for bit, (_, ranked) in found]
        return self._order


class _Memory(Generic[Answer]):
    """The rows of one check, by the fields that it read."""

    def __init__(self, check: Callable[[Question], Answer], hosts: list[Host]) -> None:
        self.check = check
        self.hosts = hosts
        #: by the names of the fields that were read, then by their values
        self._known: dict[tuple[str, ...], dict[tuple[Hashable, ...], _Row[Answer]]] = {}

    def row(
        self, question: Question, hosts: int, make: Callable[[Any, list[Host], Question], _Row[Answer]]
    ) -> _Row[Answer]:
        """A row with the question's answers, at least for `hosts`."""
        for names, rows in self._known.items():
            key = _values(question, names)
            row = rows.get(key)
            if row is not None:
                if row.ask(hosts):
                    return row
                # For these hosts the check read further fields, which are not in this row's key: the row's answers
                # may be wrong for this question, so a new row replaces it.
                del rows[key]
                break
        row = make(self.check, self.hosts, question)
        if hosts:
            row.ask(hosts)
            rows = self._known.setdefault(row.names, {})
            if len(rows) >= _KEPT:
                del rows[next(iter(rows))]
            rows[_values(question, row.names)] = row
        return row

    def forget_source(self) -> None:
        for names in [names for names in self._known if not _OF_SOURCE.isdisjoint(names)]:
            del self._known[names]


def _values(question: Question, names: tuple[str, ...]) -> tuple[Hashable, ...]:
    return tuple([_mark(attrgetter(name)(question)) for name in names])


def _mark(value: Any) -> Hashable:
    """A hashable stand-in for the value of one field: equal ones mean equal values.

    A value that is not hashed by its content is identified by its `id`, so it must be kept while the key is in use.
    """
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Mapping | tuple | frozenset) and not value:
        return ()
    if isinstance(value, dict) and all(isinstance(part, str | int) for part in value.values()):
        return tuple(value.items())
    if isinstance(value, tuple) and all(isinstance(part, str) for part in value):
        return value
    return id(value)


class _Noting:
    """Stands in for a question and records the fields that are read, including those of its server and flavor."""

    #: set for each host and therefore not recorded: a row has an answer for each target
    target: Host

    def __init__(self, of: Question | Server | Flavor, path: str, read: set[str]) -> None:
        self._of = of
        self._path = path
        self._read = read

    def __getattr__(self, name: str) -> Any:
        """Called on the first access only. A property counts as one field, whatever it reads itself."""
        value = getattr(self._of, name)
        if isinstance(value, Server | Flavor):
            value = _Noting(value, f"{self._path}{name}.", self._read)
        elif callable(value) and not isinstance(value, type):
            raise AttributeError(f"a check may read fields and properties of a server, not {name}")
        else:
            self._read.add(self._path + name)
        self.__dict__[name] = value
        return value

    def __eq__(self, other: object) -> bool:
        raise TypeError("a check may not compare whole servers or questions")

    __hash__ = None  # type: ignore[assignment]


def _each(hosts: int) -> Iterator[int]:
    """The bits of the set, lowest first."""
    while hosts:
        bit = hosts & -hosts
        yield bit
        hosts ^= bit


def _lowest(hosts: int) -> int:
    return hosts & -hosts


def _number(bit: int) -> int:
    return bit.bit_length() - 1
