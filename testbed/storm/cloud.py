"""The simulated cloud without a network: the operator's real client and observer call the simulator's handlers.

`Wire` receives the requests that openstacksdk would send, and responds at once. `Weather` adds the effects of a network
(delays, losses, errors, stale responses).
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Protocol, TypeVar
from urllib.parse import urlencode

from keystoneauth1.exceptions import ConnectFailure, UnknownConnectionError
from multidict import MultiDict

from testbed.storm.virtual import START, Loop
from vmferry.cloud import observer
from vmferry.cloud.nova import CloudError, NovaClient
from vmferry.cloud.nova.session import Connected
from vmferry.cloud.nova.transport import DEADLINE, AnswerBoundError
from vmferry.cloud.observer import Observer, Pace
from vmferry.simulator import placement
from vmferry.simulator.clock import Clock
from vmferry.simulator.cloud import Cloud
from vmferry.simulator.errors import ApiError
from vmferry.simulator.model import Caller
from vmferry.simulator.nova import service as nova
from vmferry.simulator.web import Call, Reply, Route

T = TypeVar("T")
#: maximum age in seconds of a stale response
STALE = 10.0


class SimulatedClock(Clock):
    """The simulator's clock, driven by the virtual time of the event loop."""

    def __init__(self, loop: Loop) -> None:
        super().__init__(speed=0, start=START.timestamp())
        self._loop = loop

    def _flowing(self) -> float:
        return START.timestamp() + self._loop.time() - 1000.0


class Answer:
    """The part of `requests.Response` that the client uses."""

    def __init__(self, status: int, body: Any, headers: Mapping[str, str]) -> None:
        self.status_code = status
        self._body = body
        self.headers = headers

    @property
    def text(self) -> str:
        return self._body if isinstance(self._body, str) else json.dumps(self._body)

    @property
    def content(self) -> bytes:
        return self.text.encode()

    def json(self) -> Any:
        return json.loads(self._body) if isinstance(self._body, str) else self._body


class Routes:
    """The handlers of one service of the simulator, by method and path."""

    def __init__(self, routes: list[Route]) -> None:
        self._by_length: dict[tuple[str, int], list[tuple[list[str], Route]]] = {}
        for route in routes:
            parts = route.path.split("/")
            self._by_length.setdefault((route.method, len(parts)), []).append((parts, route))

    def find(self, method: str, path: str, version: int) -> tuple[Route, dict[str, str]] | None:
        asked = path.split("/")
        for parts, route in self._by_length.get((method, len(asked)), ()):
            if not route.since <= version <= route.until:
                continue
            if all(mine.startswith("{") or mine == theirs for mine, theirs in zip(parts, asked, strict=True)):
                return route, {m[1:-1]: t for m, t in zip(parts, asked, strict=True) if m.startswith("{")}
        return None


NOVA, PLACEMENT = Routes(list(nova.routes())), Routes(placement.ROUTES)


class Site:
    """The API of one simulated cloud for all users, with sequential request ids."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self._requests = 0

    def caller(self, user: str) -> Caller:
        """The user of that name; all users in a storm are administrators."""
        found = next(one for one in self.cloud.users.values() if one.name == user)
        project = next(iter(self.cloud.projects))
        self._requests += 1
        return Caller(found.id, project, ("admin",), f"req-{self._requests:08d}")

    def ask(
        self, user: str, service: str, method: str, path: str, query: Any = (), body: Any = None, version: str = "2.84"
    ) -> Answer:
        caller = self.caller(user)
        headers = {
            "x-openstack-request-id": caller.request_id,
            "Date": format_datetime(moment_of(self.cloud), usegmt=True),
        }
        self.cloud.clock.run_due()
        minor = int(version.rpartition(".")[2])
        found = (NOVA if service == "compute" else PLACEMENT).find(method, path, minor)
        if found is None:
            return Answer(404, nova.fault(404, "The resource could not be found."), headers)
        route, params = found
        call = Call(self.cloud, caller, minor, params, MultiDict(query), body, "http://cloud", f"http://cloud{path}")
        try:
            reply: Reply = route.handler(call)
        except ApiError as error:
            if service == "placement":
                return Answer(error.status, {"errors": [{"detail": error.message}]}, headers)
            return Answer(error.status, nova.fault(error.status, error.message), headers)
        return Answer(reply.status, "" if reply.body is None else reply.body, {**headers, **reply.headers})


def moment_of(cloud: Cloud) -> datetime:
    return datetime.fromtimestamp(cloud.now, UTC)


class Weather:
    """The effects of the network on one request. `process.Between` implements them; this class has none."""

    def before(self, method: str, route: str) -> Answer | None:
        """A response that replaces the request, which then has no effect. Raises errors of keystoneauth."""
        return None

    def after(self, method: str, route: str, answer: Answer) -> Answer:
        """The response that arrives at the client. Raises errors of keystoneauth."""
        return answer

    def stale(self, method: str, route: str) -> bool:
        """Whether an older response is returned instead."""
        return False


class Wire:
    """One service for the client; it replaces an `Adapter` of keystoneauth."""

    def __init__(
        self,
        site: Site,
        service: str,
        weather: Weather,
        sent: Callable[[str, str, Any], None],
        read: Callable[[str], None] = lambda path: None,
    ) -> None:
        self._site = site
        self._service = self.service_type = service
        self._weather = weather
        #: called right before each request that changes something
        self._sent = sent
        #: called after each read
        self._read = read
        self._before: dict[str, deque[tuple[float, Answer]]] = {}

    def request(
        self,
        path: str,
        method: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        microversion: str | None = None,
        requests_auth: Callable[[Any], Any] = lambda request: request,
        **_: Any,
    ) -> Answer:
        query = [(k, one) for k, v in (params or {}).items() for one in (v if isinstance(v, list) else [v])]
        requests_auth(None)
        route = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "{id}", path)
        instead = self._weather.before(method, route)
        if instead is not None:
            return instead
        if method != "GET":
            self._sent(method, path, json)
        answer = self._answer(method, path, query, json, microversion)
        if method == "GET":
            answer = self._maybe_older(f"{path}?{urlencode(query)}", route, answer)
            self._read(path)
        return self._weather.after(method, route, answer)

    def invalidate(self) -> None:
        """Does nothing, because no token is needed."""

    def _answer(self, method: str, path: str, query: Any, body: Any, microversion: str | None) -> Answer:
        if self._service == "identity":
            projects = [{"id": one.id, "name": one.name} for one in self._site.cloud.projects.values()]
            return Answer(200, {"projects": projects, "links": {"next": None}}, {})
        version = microversion or "2.84"
        return self._site.ask("vmferry", self._service, method, path, query, body, version)

    def _maybe_older(self, what: str, route: str, answer: Answer) -> Answer:
        now = self._site.cloud.now
        kept = self._before.setdefault(what, deque(maxlen=4)) if "changes-since" not in what else deque()
        older = [one for at, one in kept if now - at <= STALE]
        if older and self._weather.stale("GET", route):
            return older[0]
        kept.append((now, answer))
        return answer


class Way(Protocol):
    """The way of a call between an operator and the cloud. `changes` is True for a call that changes the cloud."""

    async def there(self, changes: bool) -> None: ...

    async def back(self, changes: bool, bounded: bool) -> None:
        """`bounded`: the call's own deadline is long or infinite, so the deadline of each request ends the wait."""


class Client(NovaClient):
    """The real client with a simulated login."""

    def __init__(self, log_in: Callable[[], None], connected: Callable[[], Connected]) -> None:
        super().__init__()
        self._log_in = log_in
        self._connections = connected

    def connect(self) -> None:
        self._log_in()
        self._connected = self._connections()


class View(Observer):
    """The real observer without threads: a call travels there, is executed at one instant, and travels back."""

    def __init__(self, client: NovaClient, pace: Pace, way: Way) -> None:
        super().__init__(client, pace)
        self._way = way

    async def _call(self, function: Callable[..., T], *args: object, seconds: float | None = None) -> T:
        return await observer._within(
            seconds or self._read_seconds, self._travel(function, *args, bounded=bool(seconds))
        )

    async def _travel(self, function: Callable[..., T], *args: object, bounded: bool) -> T:
        changes = function == self.client.act
        await self._way.there(changes)
        try:
            return function(*args)
        finally:
            await self._way.back(changes, bounded)


def connected(wires: Mapping[str, Wire], user_id: str) -> Connected:
    return Connected(
        compute=wires["compute"],  # type: ignore[arg-type]
        identity=wires["identity"],  # type: ignore[arg-type]
        placement=wires["placement"],  # type: ignore[arg-type]
        network=None,
        resource_manager=None,
        user_id=user_id,
        maximum=(2, 100),
    )


def reset() -> Exception:
    """The error of a broken connection: it is unknown whether the request arrived."""
    return UnknownConnectionError("connection reset by peer", OSError("reset"))


def too_late() -> Exception:
    """The error of a response that arrives byte by byte until the request's deadline."""
    return AnswerBoundError(f"no whole answer within {DEADLINE:g} s")


def refused() -> Exception:
    return ConnectFailure("connection refused")


__all__ = ["Client", "CloudError", "Site", "View", "Weather", "Wire", "connected"]
