"""/healthz: do the loops live? /readyz: does the operator see what it needs? /metrics: for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Sequence

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest

#: a loop that gave no sign for this long is stuck: longer than the slowest look may take, with all its time-outs
STUCK_SECONDS = 600.0

#: why something is not ready, None when it is
Check = Callable[[], str | None]


class Health:
    """Signs of life of the loops, and the checks of readiness."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._beats: dict[str, float] = {}
        self._alive: dict[str, Check] = {}
        self._ready: dict[str, Check] = {}
        self._notes: list[Check] = []

    def beat(self, name: str) -> None:
        """The loop lives."""
        self._beats[name] = self._clock()

    def forget(self, name: str) -> None:
        """The loop has ended as it should."""
        self._beats.pop(name, None)

    def alive_if(self, name: str, check: Check) -> None:
        self._alive[name] = check

    def ready_if(self, name: str, check: Check) -> None:
        self._ready[name] = check

    def say(self, note: Check) -> None:
        """What a person who asks whether it is ready may want to know, None: nothing."""
        self._notes.append(note)

    def notes(self) -> list[str]:
        return [text for note in self._notes if (text := note()) is not None]

    def sick(self) -> list[str]:
        """Why a restart would help; empty when it would not."""
        now = self._clock()
        silent = [f"{name}: no sign of life for {int(now - at)} s" for name, at in self._beats.items()]
        stuck = [line for line, at in zip(silent, self._beats.values(), strict=True) if now - at > STUCK_SECONDS]
        return stuck + _failing(self._alive)

    def readiness(self) -> Iterator[tuple[str, bool]]:
        """What `/readyz` asks, and whether it is satisfied."""
        return ((name, check() is None) for name, check in self._ready.items())

    def unready(self) -> list[str]:
        """What is still missing; empty when the operator works."""
        return self.sick() + _failing(self._ready)


def _failing(checks: dict[str, Check]) -> list[str]:
    answers = [(name, check()) for name, check in checks.items()]
    return [f"{name}: {why}" for name, why in answers if why is not None]


class HealthServer:
    """Serves `Health` over HTTP between `start` and `stop`."""

    def __init__(
        self, health: Health, address: str, port: int, registries: Sequence[CollectorRegistry] = (REGISTRY,)
    ) -> None:
        self._address = address
        self._port = port
        app = web.Application()
        app.router.add_get("/healthz", _probe(health.sick))
        app.router.add_get("/readyz", _probe(health.unready, health.notes))
        app.router.add_get("/metrics", _metrics(registries))
        self._runner = web.AppRunner(app, access_log=None)

    async def start(self) -> int:
        """Returns the port, which is a free one when 0 was asked for. Raises OSError when it is taken."""
        await self._runner.setup()
        await web.TCPSite(self._runner, self._address, self._port).start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        await self._runner.cleanup()


def _probe(
    problems: Callable[[], list[str]], notes: Callable[[], list[str]] = list
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        found = problems()
        return web.Response(text="\n".join((found or ["ok"]) + notes()) + "\n", status=503 if found else 200)

    return answer


def _metrics(registries: Sequence[CollectorRegistry]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        body = b"".join(generate_latest(registry) for registry in registries)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    return answer
