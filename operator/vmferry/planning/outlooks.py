"""One outlook for all servers that the checks about targets cannot tell apart.

Which servers those are is not declared anywhere but observed: while an outlook is made, the fields of the server
that are read are noted. Checks are pure, so another server with the same values in just these fields gets the same
outlook, whatever checks there are. A check that reads the server's id makes every server ask for itself: slower,
never wrong.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import fields, replace
from typing import Any, cast

from vmferry.cloud.model import Host, MigrationKind, Server, ServerGroup
from vmferry.planning.targets import Outlook, look_out
from vmferry.prerequisites.frame import Question

_FIELDS = frozenset(field.name for field in fields(Server))
#: what is asked besides the server and its source
_Asked = tuple[MigrationKind, str | None, frozenset[str], ServerGroup | None]
#: names of the fields that were read, then their values, then what came of it
_Known = dict[tuple[str, ...], dict[tuple[Hashable, ...], Outlook]]


class Outlooks:
    """`look_out` with a memory, for one view and one request: questions may differ in server, kind, source and
    group only.

    It remembers the servers of one source host, so ask host by host.
    """

    def __init__(self) -> None:
        self._source: Host | None = None
        self._by_asked: dict[_Asked, _Known] = {}

    def look(self, question: Question, target: str | None, avoid: frozenset[str]) -> Outlook:
        """As `look_out(question, target, avoid)`."""
        if question.source is not self._source:
            self._source, self._by_asked = question.source, {}
        group = question.group
        known = self._by_asked.setdefault((question.kind, target, avoid, question.group), {})
        server = question.server
        for names, outlooks in known.items():
            found = outlooks.get(_values(server, names))
            if found is not None:
                return found
        noting = _NotingServer(server)
        outlook = look_out(replace(question, server=cast(Server, noting)), target, avoid)
        names = tuple(sorted(noting.read))
        known.setdefault(names, {})[_values(server, names)] = outlook
        return outlook


def _values(server: Server, names: tuple[str, ...]) -> tuple[Hashable, ...]:
    return tuple([_mark(getattr(server, name)) for name in names])


def _mark(value: Any) -> Hashable:
    """Something equal for equal values only. The view keeps what is known by its identity alive."""
    return value if value is None or isinstance(value, str | int | tuple) else id(value)


class _NotingServer:
    """Looks like a server to whoever reads its fields, and notes which."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.read: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        if name in _FIELDS:
            self.read.add(name)
            return getattr(self._server, name)
        member = getattr(Server, name)
        if isinstance(member, property) and member.fget is not None:
            return member.fget(self)
        raise AttributeError(f"a check may read fields and properties of a server, not {name}")

    def __eq__(self, other: object) -> bool:
        raise TypeError("a check may not compare whole servers")

    __hash__ = None  # type: ignore[assignment]
