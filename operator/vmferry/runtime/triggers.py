"""Which objects are reconciled again when something in the cloud, or another object, changes."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from vmferry.runtime.key import Key
from vmferry.runtime.queue import Lane, WorkQueue

#: seconds; hosts' figures change all the time, and each change would wake all that wait
HOSTS_INTERVAL = 5.0
#: seconds between two wakings of an object because it could start: something else may keep it from that
UP_INTERVAL = 5.0
#: seconds between two wakings of an object for the servers of its host
HOST_INTERVAL = 2.0
#: seconds in which changes of owned objects and claims count as one change
KIN_PAUSE = 1.0


@dataclass(slots=True)
class _Host:
    """A host that an object is about."""

    name: str
    #: that were on it when it was last seen
    servers: frozenset[str]
    #: when the object was woken for them last, or will be
    woken_at: float = float("-inf")


class Triggers:
    """Remembers of each object what its last decision was about, and queues those that a change is about.

    `servers_by_host` tells the ids of the servers on each host, as the shared view has them now. `next_up` tells which
    queued objects could start now: only these are woken at once by a free place, the others are reconciled in their own
    time, so that a place that thousands wait for does not have them all plan for it.
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
        #: objects that wait for room, for a host or for their turn
        self._waiting: set[Key] = set()
        #: when those that could start were woken for it last, or will be
        self._up_at: dict[Key, float] = {}
        #: when all that wait were woken last, or will be
        self._woken_at = float("-inf")

    def note(self, key: Key, server_id: str | None, *, waits: bool, host: str | None = None) -> None:
        """The last decision about `key` watches this server, or all of this host; `waits`: hosts may change it too."""
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
        """Called by the observer, in the event loop, once its view has the change."""
        for server_id in server_ids:
            for key in self._watchers.get(server_id, ()):
                self._queue.add(key)
        if server_ids:
            for key, host in self._hosts.items():
                before, host.servers = host.servers, self._servers_on(host.name)
                # one that left it, or was deleted, is on it no more, but was
                if not (before | host.servers).isdisjoint(server_ids):
                    host.woken_at = self._wake([key], host.woken_at, HOST_INTERVAL)
        if hosts_changed:
            self._wake_waiting()
        self.freed()

    def freed(self) -> None:
        """There may be room for another move: wake those that could start, in the order of their turns."""
        for key in self._next_up():
            self._up_at[key] = self._wake([key], self._up_at.get(key, float("-inf")), UP_INTERVAL)

    def owned_changed(self, owner: Key) -> None:
        """`ownership.Listener`"""
        self._queue.add_after(owner, KIN_PAUSE)

    def claims_changed(self, others: Collection[Key]) -> None:
        """`ownership.Listener`: who has which host concerns the other claimers, and all that may move to it."""
        for key in others:
            self._queue.add_after(key, KIN_PAUSE)
        self._wake_waiting()

    def _wake_waiting(self) -> None:
        if self._waiting:
            of_hosts = self._waiting & self._hosts.keys()
            self._wake(of_hosts, self._woken_at, HOSTS_INTERVAL)
            self._woken_at = self._wake(self._waiting - of_hosts, self._woken_at, HOSTS_INTERVAL, Lane.PATIENT)

    def _wake(self, keys: Collection[Key], woken_at: float, interval: float, lane: Lane = Lane.URGENT) -> float:
        """Queue them, but not before `interval` has passed since `woken_at`. Returns when that is."""
        now = self._clock()
        if woken_at <= now:  # else a wake-up is due already, and comes after this change too
            woken_at = max(now, woken_at + interval)
        for key in keys:
            self._queue.add_after(key, woken_at - now, lane)
        return woken_at

    def _servers_on(self, host: str) -> frozenset[str]:
        return frozenset(self._servers_by_host().get(host, ()))
