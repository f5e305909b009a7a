"""Which objects are reconciled again when the cloud or another object changes."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from vmferry.runtime.key import Key
from vmferry.runtime.queue import Lane, WorkQueue

#: seconds between two wake-ups of all waiting objects; without it each change of a host's figures would wake all
HOSTS_INTERVAL = 5.0
#: seconds between two wake-ups of an object because it could start: another prerequisite may still prevent that
UP_INTERVAL = 5.0
#: seconds between two wake-ups of an object because of the servers of its host
HOST_INTERVAL = 2.0
#: seconds in which changes of owned objects and claims count as one change
KIN_PAUSE = 1.0


@dataclass(slots=True)
class _Host:
    """A host that an object watches."""

    name: str
    #: ids of the servers that were on it at the last check
    servers: frozenset[str]
    #: when the object was last woken because of them, or will be
    woken_at: float = float("-inf")


class Triggers:
    """Remembers what each object's last decision depends on, and queues the objects that a change affects.

    `servers_by_host` returns the ids of the servers on each host in the current shared view. `next_up` returns the
    queued objects that could start now. A freed slot wakes only these at once; the others are rechecked periodically,
    so that thousands of waiting objects do not all plan for one slot.
    """

    def __init__(
        self,
        queue: WorkQueue[Key],
        servers_by_host: Callable[[], Mapping[str, Sequence[str]]],
        clock: Callable[[], float] = time.monotonic,
        next_up: Callable[[], Iterable[Key]] = tuple,
    ) -> None:
        self._queue = queue
        self._next_up = next_up
        self._servers_by_host = servers_by_host
        self._clock = clock
        self._watched: dict[Key, str] = {}
        self._watchers: dict[str, set[Key]] = {}
        self._hosts: dict[Key, _Host] = {}
        #: objects that wait for capacity, for a host or for their queue position
        self._waiting: set[Key] = set()
        #: when each object that could start was last woken for that reason, or will be
        self._up_at: dict[Key, float] = {}
        #: when all waiting objects were last woken, or will be
        self._woken_at = float("-inf")

    def note(self, key: Key, server_id: str | None, *, waits: bool, host: str | None = None) -> None:
        """Record what the last decision about `key` depends on.

        `server_id` is the server that it watches, `host` a host whose servers it watches. `waits` is True if a change
        of any host may change the decision.
        """
        known, up_at = self._hosts.get(key), self._up_at.get(key)
        self.forget(key)
        if server_id is not None:
            self._watched[key] = server_id
            self._watchers.setdefault(server_id, set()).add(key)
        if host is not None:
            same = known is not None and known.name == host
            self._hosts[key] = known if known and same else _Host(host, self._servers_on(host))
        if waits:
            self._waiting.add(key)
            if up_at is not None:
                self._up_at[key] = up_at

    def forget(self, key: Key) -> None:
        self._waiting.discard(key)
        self._up_at.pop(key, None)
        self._hosts.pop(key, None)
        server_id = self._watched.pop(key, None)
        if server_id is not None:
            watchers = self._watchers[server_id]
            watchers.discard(key)
            if not watchers:
                del self._watchers[server_id]

    def changed(self, server_ids: Collection[str], hosts_changed: bool) -> None:
        """Queue the affected objects. The observer calls it in the event loop once its view contains the change."""
        for server_id in server_ids:
            for key in self._watchers.get(server_id, ()):
                self._queue.add(key)
        if server_ids:
            for key, host in self._hosts.items():
                before, host.servers = host.servers, self._servers_on(host.name)
                # `before` contains the servers that have left the host or were deleted
                if not (before | host.servers).isdisjoint(server_ids):
                    host.woken_at = self._wake([key], host.woken_at, HOST_INTERVAL)
        if hosts_changed:
            self._wake_waiting()
        self.freed()

    def freed(self) -> None:
        """There may be capacity for another move: wake the objects that could start, in queue order."""
        for key in self._next_up():
            self._up_at[key] = self._wake([key], self._up_at.get(key, float("-inf")), UP_INTERVAL)

    def owned_changed(self, owner: Key) -> None:
        """Implements `ownership.Listener`."""
        self._queue.add_after(owner, KIN_PAUSE)

    def claims_changed(self, others: Collection[Key]) -> None:
        """Implements `ownership.Listener`. A host claim affects other claims, and moves that may target the host."""
        for key in others:
            self._queue.add_after(key, KIN_PAUSE)
        self._wake_waiting()

    def _wake_waiting(self) -> None:
        if self._waiting:
            of_hosts = self._waiting & self._hosts.keys()
            self._wake(of_hosts, self._woken_at, HOSTS_INTERVAL)
            self._woken_at = self._wake(self._waiting - of_hosts, self._woken_at, HOSTS_INTERVAL, Lane.PATIENT)

    def _wake(self, keys: Collection[Key], woken_at: float, interval: float, lane: Lane = Lane.URGENT) -> float:
        """Queue the keys, but not before `interval` seconds have passed since `woken_at`. Returns the time of that."""
        now = self._clock()
        if woken_at <= now:  # otherwise a wake-up is scheduled already, and will see this change as well
            woken_at = max(now, woken_at + interval)
        for key in keys:
            self._queue.add_after(key, woken_at - now, lane)
        return woken_at

    def _servers_on(self, host: str) -> frozenset[str]:
        return frozenset(self._servers_by_host().get(host, ()))
