"""Who is looked at again when something in the cloud changes."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from vmferry.runtime.kinds import Key
from vmferry.runtime.queue import WorkQueue

#: seconds; hosts' figures change all the time, and each change would wake all that wait
HOSTS_INTERVAL = 5.0


class Waker:
    """Remembers of each object what its last decision was about, and queues those that a change is about."""

    def __init__(self, queue: WorkQueue[Key], clock: Callable[[], float] = time.monotonic) -> None:
        self._queue = queue
        self._clock = clock
        self._watched: dict[Key, str] = {}
        self._watchers: dict[str, set[Key]] = {}
        #: objects that wait for room, for a host or for their turn
        self._waiting: set[Key] = set()
        #: when all that wait were woken last, or will be
        self._woken_at = float("-inf")

    def note(self, key: Key, server_id: str | None, *, waits: bool) -> None:
        """The last decision about `key` watches this server; `waits`: a change of hosts may change it too."""
        self.forget(key)
        if server_id is not None:
            self._watched[key] = server_id
            self._watchers.setdefault(server_id, set()).add(key)
        if waits:
            self._waiting.add(key)

    def forget(self, key: Key) -> None:
        self._waiting.discard(key)
        server_id = self._watched.pop(key, None)
        if server_id is not None:
            watchers = self._watchers[server_id]
            watchers.discard(key)
            if not watchers:
                del self._watchers[server_id]

    def changed(self, server_ids: Collection[str], hosts_changed: bool) -> None:
        """Called by the observer, in the event loop."""
        for server_id in server_ids:
            for key in self._watchers.get(server_id, ()):
                self._queue.add(key)
        if hosts_changed and self._waiting:
            now = self._clock()
            if self._woken_at <= now:  # else a wake-up is due already, and comes after this change too
                self._woken_at = max(now, self._woken_at + HOSTS_INTERVAL)
            for key in self._waiting:
                self._queue.add_after(key, self._woken_at - now)
