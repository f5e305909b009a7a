"""The periodic re-list: reconciles everything again, and forgets objects whose deletion the watch has missed.

A watch that breaks may miss a deletion for good: after a 410 kopf lists anew, but compares the list with nothing.
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
#: how long after a suspicion everything is listed: one list for all that arouse one meanwhile
SUSPICION_SECONDS = 2.0
#: no list follows another one sooner for that
EARLY_SECONDS = 20.0
BEAT = 10.0
#: objects that are taken in before others have their turn: to read one takes a millisecond
AT_A_TIME = 10

logger = logging.getLogger(__name__)


class SetBackError(Exception):
    """The API server shows a state from before what was known: its history is another one."""


class Lister(Protocol):
    """The reads of `kube.Kube`."""

    def pages(
        self, kind: ResourceType[Any], namespaces: Collection[str], selector: str = ""
    ) -> AsyncIterator[tuple[list[Body], int]]: ...


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
        selector: str = "",
        set_back: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        """`set_back` reports that the API server was set back, in one sentence."""
        self._set_back = set_back
        self._kinds = kinds
        self._namespaces = namespaces
        self._kube = kube
        self._store = store
        self._queue = queue
        self._health = health
        self._selector = selector
        self._soon = asyncio.Event()
        #: why the last list failed; None when it did not
        self.trouble: str | None = "the objects were not listed yet"
        #: set once everything was listed
        self.listed = asyncio.Event()

    async def run(self, every: timedelta) -> None:
        """For ever."""
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
        """Raises KubeError. In another history everything is forgotten first, and all kinds are listed anew."""
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
        """Kubernetes answers again: it may be another one by now, and the watch goes on as if nothing had happened."""
        self._soon.set()

    def suspect(self, kind: str, body: Body) -> None:
        """The API server shows an object that is older than what is known of it: list everything soon, and find out."""
        if self._store.is_from_before(key_of(kind, body), version_of(body)):
            self.soon()

    @staticmethod
    def _went_back(listed: int, known: int) -> bool:
        """`known` before the list was asked for."""
        return listed < known

    async def list(self, kind: ResourceType[Any]) -> None:
        """Put every object into the store and its key on the queue; forget the ghosts. Raises KubeError, and
        SetBackError: no list is older than what was known before it was asked for.

        Finished objects that have not changed are skipped: they were reconciled when they finished, and their TTL has a
        timer of its own.
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
