"""The periodic re-list: queues all unfinished objects again, and forgets objects whose deletion the watch has missed.

A broken watch may miss a deletion permanently: after HTTP 410 kopf lists again, but compares the list with nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import suppress
from datetime import timedelta
from typing import Any, Protocol

from vmferry.reconcilers.kind import Kinds
from vmferry.resources.catalog import ResourceType
from vmferry.runtime.health import Health
from vmferry.runtime.key import Key
from vmferry.runtime.kube_api import KubeError
from vmferry.runtime.metrics import definitions as metrics
from vmferry.runtime.queue import Lane, WorkQueue
from vmferry.runtime.store import Body, Store, key_of, version_of

RETRY_SECONDS = 5.0
#: seconds between a suspicion and the list; one list serves all suspicions of that time
SUSPICION_SECONDS = 2.0
#: minimum number of seconds between two lists, even with a suspicion
EARLY_SECONDS = 20.0
BEAT = 10.0
#: objects put into the store before other tasks may run; parsing one object takes a millisecond
AT_A_TIME = 10

logger = logging.getLogger(__name__)


class SetBackError(Exception):
    """The API server was restored to an earlier state: a resourceVersion is lower than one that was known."""


class Lister(Protocol):
    """The reads of `kube.Kube`."""

    def pages(
        self, kind: ResourceType[Any], namespaces: Collection[str], selector: str = ""
    ) -> AsyncIterator[tuple[list[Body], int]]: ...


class Resync:
    """Lists all kinds periodically."""

    def __init__(
        self,
        kinds: Kinds,
        namespaces: Collection[str],
        kube: Lister,
        store: Store,
        queue: WorkQueue[Key],
        health: Health,
        selector: str = "",
        set_back: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        """`set_back` is called with a one-sentence message when the API server was restored to an earlier state."""
        self._set_back = set_back
        self._kinds = kinds
        self._namespaces = namespaces
        self._kube = kube
        self._store = store
        self._queue = queue
        self._health = health
        self._selector = selector
        self._soon = asyncio.Event()
        #: why the last list failed; None if it succeeded
        self.trouble: str | None = "the objects were not listed yet"
        #: set after the first complete list
        self.listed = asyncio.Event()

    async def run(self, every: timedelta) -> None:
        """List everything forever, `every` so often, and sooner after an error or a suspicion."""
        while True:
            try:
                await self._list_all()
            except KubeError as error:
                logger.warning("%s", error)
                self.trouble = error.trouble
                await self._rest(RETRY_SECONDS)
            else:
                self.trouble = None
                self._store.whole = True
                self.listed.set()
                await self._rest(every.total_seconds())

    async def _list_all(self) -> None:
        """List all kinds. After a SetBackError forget everything and list all kinds again. Raises KubeError."""
        while True:
            try:
                for kind in self._kinds.values():
                    await self.list(kind.type)
                return
            except SetBackError as error:
                metrics.SET_BACK.inc()
                message = (
                    f"the Kubernetes API has been set back in time, as by a restored etcd: {error}; everything that "
                    "was known is forgotten and read anew"
                )
                logger.error("%s", message)
                self._store.forget_all()
                if self._set_back is not None:
                    await self._set_back(message)

    def soon(self) -> None:
        """List everything soon, because Kubernetes may have been restored while it was unreachable.

        The watch does not notice that.
        """
        self._soon.set()

    def suspect(self, kind: str, body: Body) -> None:
        """List everything soon if the API server returned a body that is older than the known state of the object."""
        if self._store.is_from_before(key_of(kind, body), version_of(body)):
            self.soon()

    @staticmethod
    def _went_back(listed: int, known: int) -> bool:
        """Whether the listed version is lower than a version that was known before the list was requested."""
        return listed < known

    async def list(self, kind: ResourceType[Any]) -> None:
        """Put every object into the store and its key on the queue; forget the ghosts.

        Finished objects that have not changed are skipped: they were reconciled when they finished, and their TTL has a
        timer of its own. Raises KubeError, and SetBackError if the list or an object in it is older than what was known
        before the list was requested.
        """
        listed: set[Key] = set()
        versions: list[int] = []
        newest = self._store.newest(kind.name)
        before = self._store.versions(kind.name)
        async for bodies, version in self._kube.pages(kind, self._namespaces, self._selector):
            if self._went_back(version, newest):
                raise SetBackError(f"the list of {kind.plural} is of version {version}, {newest} was known")
            for number, body in enumerate(bodies, 1):
                key = key_of(kind.name, body)
                if self._went_back(version_of(body), before.get(key, 0)):
                    raise SetBackError(f"{key} is listed with version {version_of(body)}, {before[key]} was known")
                changed = self._store.put(kind.name, body)
                listed.add(key)
                if changed or not self._store.is_over(key):
                    self._queue.add(key, Lane.PATIENT if not changed or self._store.rests(key) else Lane.URGENT)
                if number % AT_A_TIME == 0:
                    await asyncio.sleep(0)
            versions.append(version)
        for ghost in self._store.prune(kind.name, listed, min(versions, default=0)):
            logger.info("the object is gone unseen", extra={"object": str(ghost)})
            self._queue.add(ghost)

    async def _rest(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        until = begun + seconds
        while (left := until - loop.time()) > 0:
            self._health.beat("resync")
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, BEAT)):
                    await self._soon.wait()
                    self._soon.clear()
                    until = min(until, max(loop.time() + SUSPICION_SECONDS, begun + EARLY_SECONDS))
