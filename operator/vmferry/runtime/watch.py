"""kopf as the informer: it keeps the watches alive and delivers their events, and nothing else.

Only `@kopf.on.event` handlers are registered: kopf then writes nothing (no finalizer, no annotation), and a failed
handler can lose at most one event, which the re-list repairs. kopf runs in a thread and an event loop of its own. In
the main thread it would take over the signal handlers, and at its end it would cancel every task of the loop that is
younger than itself, including our running reconciles.
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

#: called with the kind, the event type (ADDED, MODIFIED, DELETED; None for an object of the initial list) and the body
OnEvent = Callable[[str, str | None, Body], None]

STOP_SECONDS = 10.0
#: seconds that a watch may be down before the operator becomes unready; a restart of the API server is shorter
PATIENCE = 30.0

logger = logging.getLogger(__name__)


def settings() -> kopf.OperatorSettings:
    """Settings that make kopf watch and never write."""
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
    # retry forever: without watches the process cannot work
    chosen.networking.error_backoffs = _Backoffs()
    # none of these is ever written, because no handler has a state; the names would show that they are ours
    chosen.persistence.finalizer = f"{GROUP}/kopf"
    chosen.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=f"kopf.{GROUP}")
    chosen.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=f"kopf.{GROUP}")
    return chosen


class _Backoffs:
    """An endless sequence of pauses in seconds. Each iteration starts at the beginning."""

    def __iter__(self) -> itertools.chain[float]:
        return itertools.chain((1.0, 1.0, 2.0, 3.0, 5.0, 8.0, 13.0), itertools.repeat(20.0))


class Watch:
    """Watches all kinds between `start` and `stop`. Calls `on_event` in the event loop that called `start`."""

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
        #: watches that are down or were never connected
        self.down = Streaks(PATIENCE)
        self._on_event = on_event
        self._selector = selector
        #: stops kopf, permanently or for a restart
        self._stop = threading.Event()
        self._for_good = self._anew = False
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        #: set, in the event loop that called `start`, when the thread has ended for any reason
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
        """Stop the watches. After `STOP_SECONDS` they are left running until the process ends."""
        self._for_good = True
        self._stop.set()
        if self.alive:
            await asyncio.to_thread(self._thread.join, STOP_SECONDS)

    def restart(self) -> None:
        """Restart the watches with a list.

        kopf continues from its last resourceVersion. If the API server was restored to an earlier state, kopf would
        miss all events until the new resourceVersions exceed that one.
        """
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
                # only peering uses it; kopf's default needs the user's name, which a container's user does not have
                identity=cast(Any, "vmferry"),
                standalone=True,
                clusterwide=not self._namespaces,
                namespaces=self._namespaces,
                stop_flag=self._stop,
            )
        finally:
            self._stop.set()  # a thread of this loop waits for it, and the loop cannot end before that thread

    def _settings(self) -> kopf.OperatorSettings:
        chosen = settings()
        for kind in self._kinds.values() if self._selector else ():
            chosen.watching.label_selectors[GROUP, VERSION, kind.type.plural] = self._selector
        return chosen

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()

        async def login(**_: Any) -> kopf.AiohttpSession:
            # valid as long as the watch, because the session renews its credentials
            session: Any = self._connection.session(watching=self._answered)
            return kopf.AiohttpSession(server=self._connection.access.server, aiohttp_session=session)

        kopf.on.login(registry=registry)(login)
        for kind in self._kinds.values():
            kopf.on.event(GROUP, VERSION, kind.type.plural, registry=registry, id="seen", param=kind.name)(self._seen)
        return registry

    def _names(self) -> list[str]:
        """The names of all watches that should be running."""
        return [
            _name(kind.type.plural, namespace)
            for kind in self._kinds.values()
            for namespace in ((self._namespaces if kind.type.namespaced else ()) or (None,))
        ]

    def _answered(self, url: str, outcome: BaseException | int | None) -> None:
        """Record the result of a request of kopf: a watch that is answered is up, a failed request means it is down."""
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
    """Drop kopf's warning that it gets no signals outside the main thread, which is intended."""
    return "OS signals are ignored" not in record.getMessage()
