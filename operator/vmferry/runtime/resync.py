"""The periodic re-list: looks at everything again, and forgets what the watch did not tell was deleted.

A watch that breaks may miss a deletion for good: after a 410 kopf lists anew, but compares the list with nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Collection
from datetime import timedelta
from typing import Any, Protocol

from vmferry.runtime.health import Health
from vmferry.runtime.kinds import Key, Kind, Kinds
from vmferry.runtime.kube import KubeError
from vmferry.runtime.queue import Lane, WorkQueue
from vmferry.runtime.store import Body, Store, key_of

RETRY_SECONDS = 5.0
BEAT = 10.0
#: objects that are taken in before others have their turn: to read one takes a millisecond
AT_A_TIME = 10

logger = logging.getLogger(__name__)


class Lister(Protocol):
    """The reads of `kube.Kube`."""

    def pages(self, kind: Kind[Any, Any], namespaces: Collection[str]) -> AsyncIterator[tuple[list[Body], int]]: ...


class Resync:
    """Lists all kinds now and then."""

    def __init__(
        self,
        kinds: Kinds,
        namespaces: Collection[str],
        kube: Lister,
        store: Store,
        queue: WorkQueue[Key],
        health: Health,
    ) -> None:
        self._kinds = kinds
        self._namespaces = namespaces
        self._kube = kube
        self._store = store
        self._queue = queue
        self._health = health
        #: why the last list failed; None when it did not
        self.trouble: str | None = "the objects were not listed yet"
        #: set once everything was listed
        self.listed = asyncio.Event()

    async def run(self, every: timedelta) -> None:
        """For ever."""
        while True:
            try:
                for kind in self._kinds.values():
                    await self.list(kind)
            except KubeError as error:
                logger.warning("%s", error)
                self.trouble = error.trouble
                await self._rest(RETRY_SECONDS)
            else:
                self.trouble = None
                self.listed.set()
                await self._rest(every.total_seconds())

    async def list(self, kind: Kind[Any, Any]) -> None:
        """Put every object into the store and its key on the queue; forget the ghosts. Raises KubeError.

        One that is over and no news was looked at since it came to be so: what is left of it has its timer.
        """
        listed: set[Key] = set()
        versions: list[int] = []
        async for bodies, version in self._kube.pages(kind, self._namespaces):
            for number, body in enumerate(bodies, 1):
                key = key_of(kind.name, body)
                news = self._store.put(kind.name, body)
                listed.add(key)
                if news or not self._store.is_over(key):
                    self._queue.add(key, Lane.PATIENT if not news or self._store.rests(key) else Lane.NEWS)
                if number % AT_A_TIME == 0:
                    await asyncio.sleep(0)
            versions.append(version)
        for ghost in self._store.prune(kind.name, listed, min(versions, default=0)):
            logger.info("the object is gone unseen", extra={"object": str(ghost)})
            self._queue.add(ghost)

    async def _rest(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while (left := until - loop.time()) > 0:
            self._health.beat("resync")
            await asyncio.sleep(min(left, BEAT))
