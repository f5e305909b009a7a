"""kopf as the informer: it keeps the watches alive and hands over what they show, and nothing else.

Only `@kopf.on.event` handlers are registered: kopf then writes nothing (no finalizer, no annotation), and a failed
handler can lose at most one event, which the re-list repairs. kopf runs in a thread and an event loop of its own: it
takes over the signals of the main thread, and when it ends it cancels every task of its loop that is younger than
itself, which would be our running passes.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import kopf

from vmferry.reconcilers.kind import Kinds
from vmferry.resources.base import GROUP, VERSION
from vmferry.runtime import trouble
from vmferry.runtime.connection import Connection
from vmferry.runtime.kube import PAGE
from vmferry.runtime.store import Body
from vmferry.runtime.streaks import Streaks

#: of a kind: what happened (ADDED, MODIFIED, DELETED, None for what was there before) and the body
OnEvent = Callable[[str, str | None, Body], None]

STOP_SECONDS = 10.0
#: how long a watch may be down before the operator is not ready; an API server that restarts takes less
PATIENCE = 30.0

logger = logging.getLogger(__name__)


def settings() -> kopf.OperatorSettings:
    """kopf's settings: watch, and never write."""
    chosen = kopf.OperatorSettings()
    chosen.posting.enabled = False
    chosen.scanning.disabled = True
    chosen.peering.standalone = True
    chosen.watching.server_timeout = 240
    chosen.watching.client_timeout = 300
    chosen.watching.connect_timeout = 15
    chosen.watching.chunk_size = PAGE
    chosen.networking.request_timeout = 60
    chosen.networking.connect_timeout = 15
    # never give up: the process has nothing better to do than to come back
    chosen.networking.error_backoffs = _Backoffs()
    # none of these is ever written, for no handler keeps a state; if one did, it would be seen to be ours
    chosen.persistence.finalizer = f"{GROUP}/kopf"
    chosen.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=f"kopf.{GROUP}")
    chosen.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=f"kopf.{GROUP}")
    return chosen


class _Backoffs:
    """Pauses in seconds without an end; each use begins anew."""

    def __iter__(self) -> itertools.chain[float]:
        return itertools.chain((1.0, 1.0, 2.0, 3.0, 5.0, 8.0, 13.0), itertools.repeat(20.0))


class Watch:
    """Watches all kinds between `start` and `stop`; `on_event` is called in the loop that called `start`."""

    def __init__(
        self,
        kinds: Kinds,
        namespaces: Sequence[str],
        connection: Connection,
        on_event: OnEvent,
        selector: str = "",
    ) -> None:
        self._kinds = kinds
        self._namespaces = namespaces
        self._connection = connection
        #: watches that were never connected, or are down
        self.down = Streaks(PATIENCE)
        self._on_event = on_event
        self._selector = selector
        #: ends kopf, for good or to begin anew
        self._stop = threading.Event()
        self._for_good = self._anew = False
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        #: set, in the starter's loop, when the thread has ended for whatever reason
        self.ended = asyncio.Event()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        for name in self._names():
            self.down.bad(name, "not connected yet")
        self._thread.start()

    async def stop(self) -> None:
        """End the watches; after `STOP_SECONDS` leave them to the end of the process."""
        self._for_good = True
        self._stop.set()
        if self.alive:
            await asyncio.to_thread(self._thread.join, STOP_SECONDS)

    def restart(self) -> None:
        """Begin anew with a list. kopf goes on from the resourceVersion that it knew, so after the API server was set
        back it would miss everything until the new history has caught up with that."""
        self._anew = True
        self._stop.set()

    def _run(self) -> None:
        quiet = logging.getLogger("kopf._core.reactor.running")
        quiet.addFilter(_not_about_signals)
        try:
            asyncio.run(self._operate())
            while self._anew:
                self._anew = False
                self._stop.clear()
                if self._for_good:
                    break
                asyncio.run(self._operate())
        except Exception:
            logger.exception("the watch has failed")
        finally:
            quiet.removeFilter(_not_about_signals)
            self._hand_over(self.ended.set)

    async def _operate(self) -> None:
        try:
            await kopf.operator(
                registry=self._registry(),
                settings=self._settings(),
                # only peers would ask for it; by itself kopf asks who the user is, and a container's has no name
                identity=cast(Any, "vmferry"),
                standalone=True,
                clusterwide=not self._namespaces,
                namespaces=self._namespaces,
                stop_flag=self._stop,
            )
        finally:
            self._stop.set()  # a thread of this loop waits for it, and the loop's end for that thread

    def _settings(self) -> kopf.OperatorSettings:
        chosen = settings()
        for kind in self._kinds.values() if self._selector else ():
            chosen.watching.label_selectors[GROUP, VERSION, kind.type.plural] = self._selector
        return chosen

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()

        async def login(**_: Any) -> kopf.AiohttpSession:
            # lasts as long as the watch: it renews its credentials by itself
            session: Any = self._connection.session(watching=self._answered)
            return kopf.AiohttpSession(server=self._connection.access.server, aiohttp_session=session)

        kopf.on.login(registry=registry)(login)
        for kind in self._kinds.values():
            kopf.on.event(GROUP, VERSION, kind.type.plural, registry=registry, id="seen", param=kind.name)(self._seen)
        return registry

    def _names(self) -> list[str]:
        """One for each watch that there should be."""
        return [
            _name(kind.type.plural, namespace)
            for kind in self._kinds.values()
            for namespace in ((self._namespaces if kind.type.namespaced else ()) or (None,))
        ]

    def _answered(self, url: str, outcome: BaseException | int | None) -> None:
        """A request of kopf's: one for a watch that is answered ends its trouble, any that fails is one."""
        place = urlsplit(url)
        parts = place.path.strip("/").split("/")
        namespace = parts[parts.index("namespaces") + 1] if "namespaces" in parts[:-1] else None
        name = _name(parts[-1], namespace)
        if outcome is not None:
            for one in [name] if name in self._names() else self._names():
                self.down.bad(one, trouble.describe(outcome))
        elif "watch" in parse_qs(place.query):
            self.down.good(name)

    async def _seen(self, *, event: Any, param: Any = None, **_: Any) -> None:
        self._hand_over(self._on_event, param, event["type"], event["object"])

    def _hand_over(self, function: Callable[..., object], *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            logger.debug("an event came after the end")


def _name(plural: str, namespace: str | None) -> str:
    return f"watch of {plural}" + (f" in {namespace}" if namespace else "")


def _not_about_signals(record: logging.LogRecord) -> bool:
    """kopf warns that it does not get the signals outside of the main thread, which is meant."""
    return "OS signals are ignored" not in record.getMessage()
