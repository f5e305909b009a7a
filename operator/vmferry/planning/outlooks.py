"""One outlook for all servers that the checks about targets cannot tell apart.

Which servers those are is not declared anywhere but observed: while an outlook is made, the fields of the server
that are read are noted. Checks are pure, so another server with the same values in just these fields gets the same
outlook, whatever checks there are. A check that reads the server's id makes every server ask for itself: slower,
never wrong. Each check remembers in the same way what it found on the hosts: room is not asked for anew for every
source host.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from typing import Any, cast

from vmferry.cloud.model import Host, MigrationKind, Server, ServerGroup
from vmferry.planning.targets import Candidate, Outlook, look_out
from vmferry.prerequisites.chains import CHAINS
from vmferry.prerequisites.frame import About, Finding, Prerequisite, Question
from vmferry.prerequisites.words import Name

#: what is asked besides the server and its source
_Asked = tuple[MigrationKind, str | None, frozenset[str], ServerGroup | None]
#: names of the fields that were read, then their values, then what came of it
_Known = dict[tuple[str, ...], dict[tuple[Hashable, ...], Outlook]]
#: the same for one check on all hosts, and whether it read anything of the source
_KnownFindings = dict[tuple[tuple[str, ...], bool], dict[tuple[Hashable, ...], list[Finding]]]


class Outlooks:
    """`look_out` with a memory, for one view and one request: questions may differ in server, kind, source and
    group only.

    It remembers the servers of one source host, so ask host by host.
    """

    def __init__(self) -> None:
        self._source: Host | None = None
        self._by_asked: dict[_Asked, _Known] = {}
        #: by prerequisite, kind and group: findings on every host
        self._findings: dict[tuple[Name, MigrationKind, str | None], _KnownFindings] = {}

    def look(self, question: Question, target: str | None, avoid: frozenset[str]) -> Outlook:
        """As `look_out(question, target, avoid)`."""
        if question.source is not self._source:
            self._source, self._by_asked = question.source, {}
            self._forget_findings_of_a_source()
        known = self._by_asked.setdefault((question.kind, target, avoid, question.group), {})
        server = question.server
        for names, outlooks in known.items():
            found = outlooks.get(_values(server, names))
            if found is not None:
                return found
        noting = _Noting(server)
        outlook = look_out(replace(question, server=cast(Server, noting)), target, avoid, self._judge_others)
        names = tuple(sorted(noting.read))
        known.setdefault(names, {})[_values(server, names)] = outlook
        return outlook

    def _forget_findings_of_a_source(self) -> None:
        for known in self._findings.values():
            for read in [read for read in known if read[1] or "host" in read[0]]:
                del known[read]

    def _judge_others(self, question: Question) -> list[Candidate]:
        """As `targets.judge_others`; each check remembers for itself, so that room is not asked for anew for every
        source host."""
        hosts = question.snapshot.hosts.values()
        own = question.server.host
        checks = [p for p in CHAINS[question.kind] if p.about is About.TARGET]
        by_check = [self._on_all(p, question) for p in checks]
        policy = question.policy
        return [
            Candidate(host, found, tuple([f for f in found if f.blocks(policy)]))
            for host, found in zip(hosts, zip(*by_check, strict=True), strict=True)
            if host.name != own
        ]

    def _on_all(self, prerequisite: Prerequisite, question: Question) -> list[Finding]:
        """What one check finds on every host of the view."""
        group = question.group
        known = self._findings.setdefault((prerequisite.name, question.kind, group.id if group else None), {})
        server, source = question.server, question.source
        for (names, of_source), lists in known.items():
            found = lists.get((source.name if of_source and source else source is None, *_values(server, names)))
            if found is not None:
                return found
        noting, noting_source = _Noting(server), _Noting(source) if source else None
        asked = replace(question, server=cast(Server, noting), source=cast(Host | None, noting_source))
        result = [prerequisite.check(replace(asked, target=host)) for host in question.snapshot.hosts.values()]
        names, of_source = tuple(sorted(noting.read)), noting_source is not None and bool(noting_source.read)
        key = (source.name if of_source and source else source is None, *_values(server, names))
        known.setdefault((names, of_source), {})[key] = result
        return result


def _values(server: Server, names: tuple[str, ...]) -> tuple[Hashable, ...]:
    return tuple([_mark(getattr(server, name)) for name in names])


def _mark(value: Any) -> Hashable:
    """Something equal for equal values only. The view keeps what is known by its identity alive."""
    return value if value is None or isinstance(value, str | int | tuple) else id(value)


class _Noting:
    """Looks like a server, or a host, to whoever reads its fields, and notes which."""

    def __init__(self, of: Server | Host | _Noting) -> None:
        self._of = of
        self._type: type[Server | Host] = of._type if isinstance(of, _Noting) else type(of)
        self.read: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._type, name)
        if name in self._type.__dataclass_fields__:
            self.read.add(name)
            return getattr(self._of, name)
        if isinstance(member, property) and member.fget is not None:
            return member.fget(self)
        raise AttributeError(f"a check may read fields and properties of a server, not {name}")

    def __eq__(self, other: object) -> bool:
        raise TypeError("a check may not compare whole servers or hosts")

    __hash__ = None  # type: ignore[assignment]
