"""The ended attempts of all VMMigrations, and the breakers that result from them (I37); a part of the `Store`.

It is updated whenever an object changes. The breakers of a host are computed again only after an attempt from that host
has ended, or an object with such an attempt is gone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Set

from vmferry.planning.breaker import Breakers, EndedAttempt, OpenBreaker, judge
from vmferry.policy import Breaker as Rules
from vmferry.prerequisites.check import BrokenServer
from vmferry.reconcilers.breaker_resume import Marks
from vmferry.reconcilers.migration.ended_attempts import broken_server
from vmferry.runtime.key import Key

logger = logging.getLogger(__name__)


class AttemptHistory:
    """Ended attempts by key of their object. Belongs to one event loop."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._known: dict[Key, tuple[EndedAttempt, ...]] = {}
        self._by_host: dict[str, dict[tuple[Key, int], EndedAttempt]] = {}
        self._by_server: dict[str, dict[Key, EndedAttempt]] = {}
        #: servers whose last attempt left them in ERROR
        self.broken: dict[str, BrokenServer] = {}
        #: number of attempts by source host that may count for a breaker; a host without any has no breaker
        self._failing: dict[str, int] = {}
        self.marks = Marks()
        #: hosts whose breakers must be computed again; None means all hosts
        self._changed: set[str] | None = None
        self._judged: dict[str, OpenBreaker | tuple[EndedAttempt, ...]] = {}
        self._breakers = Breakers()

    def put(self, key: Key, attempts: tuple[EndedAttempt, ...]) -> None:
        """Store the attempts that the object records; an empty tuple if it is gone."""
        before = self._known.get(key, ())
        if before == attempts:
            return
        for old in before:
            self._forget(key, old)
        for new in attempts:
            self._by_host.setdefault(new.source, {})[key, new.number] = new
            self._failing[new.source] = self._failing.get(new.source, 0) + _may_count(new)
        if attempts:
            self._known[key] = attempts
            self._by_server.setdefault(attempts[-1].server_id, {})[key] = attempts[-1]
        else:
            del self._known[key]
        for server_id in {attempt.server_id for attempt in (*before, *attempts)}:
            self._see_whether_broken(server_id)
        if self._changed is not None:
            self._changed |= {attempt.source for attempt in (*before, *attempts)}

    def keys(self) -> Set[Key]:
        """The keys of the objects that record attempts."""
        return self._known.keys()

    def set_marks(self, marks: Marks) -> None:
        if marks != self.marks:
            self.marks = marks
            self._changed = None

    def breakers(self) -> Breakers:
        """The current breakers. Returns the same object as before if nothing has changed."""
        if self._changed is None:
            self._judged.clear()
            self._judge(self._by_host)
        elif self._changed:
            self._judge(self._changed)
        self._changed = set()
        return self._breakers

    def _judge(self, hosts: Iterable[str]) -> None:
        rules = self._rules
        for host in hosts:
            found = judge(self._of_host(host), host, rules) if self._failing.get(host) else ()
            if found:
                self._judged[host] = found
            else:
                self._judged.pop(host, None)
        cloud = judge(self._of_all(), None, rules) if self._judged else ()
        before = self._breakers
        self._breakers = Breakers(
            cloud if isinstance(cloud, OpenBreaker) else None,
            {host: one for host, one in self._judged.items() if isinstance(one, OpenBreaker)},
            {host: one for host, one in self._judged.items() if not isinstance(one, OpenBreaker)},
            rules.attempts,
            self.marks.unusable,
        )
        _log(before, self._breakers)

    def _of_host(self, host: str) -> list[EndedAttempt]:
        since = self.marks.since(host)
        return [attempt for attempt in self._by_host[host].values() if since is None or attempt.ended_at > since]

    def _of_all(self) -> list[EndedAttempt]:
        """The attempts since the first failure that may still count; earlier attempts have no effect."""
        counted = [one.ended_at for host in self._judged for one in self._of_host(host) if one.counts]
        first = min(counted, default=None)
        if first is None:
            return []
        return [one for host in self._by_host for one in self._of_host(host) if one.ended_at >= first]

    def _forget(self, key: Key, old: EndedAttempt) -> None:
        rest = self._by_host[old.source]
        rest.pop((key, old.number), None)
        self._failing[old.source] -= _may_count(old)
        if not rest:
            del self._by_host[old.source], self._failing[old.source]
            self._judged.pop(old.source, None)
        servers = self._by_server.get(old.server_id, {})
        servers.pop(key, None)
        if not servers:
            self._by_server.pop(old.server_id, None)

    def _see_whether_broken(self, server_id: str) -> None:
        last = max(self._by_server.get(server_id, {}).values(), key=lambda one: one.order, default=None)
        if last is not None and last.left_in_error:
            self.broken[server_id] = broken_server(last)
        else:
            self.broken.pop(server_id, None)


def _may_count(attempt: EndedAttempt) -> bool:
    return attempt.counts or (attempt.begun and not attempt.succeeded)


def _log(before: Breakers, after: Breakers) -> None:
    old, new = ({one.name: one for one in breakers.all()} for breakers in (before, after))
    for name, breaker in new.items():
        known = old.get(name)
        if known is None or (known.since, known.failed_trials) != (breaker.since, breaker.failed_trials):
            logger.warning("%s", breaker.message())
    for name in old.keys() - new.keys():
        logger.info("the breaker of %s is closed", name)
