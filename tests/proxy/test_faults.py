"""What the proxy makes of a request to a small server: handed on as it is, or with the fault that was ordered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from testbed.proxy.proxy import Proxy
from testbed.proxy.watch import WatchFault
from vmferry.simulator.faults import Fault

SERVER = "11111111-2222-3333-4444-555555555555"
ACTION = f"/servers/{SERVER}/action"
BROKEN = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError)


@dataclass
class Behind:
    """The server behind: counts, and tells its count."""

    asked: list[tuple[str, str, bytes, dict[str, str]]] = field(default_factory=list)
    #: those of a watch
    lines: list[dict[str, Any]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            response = web.StreamResponse(headers={"Content-Type": "application/json"})
            await response.prepare(request)
            for line in self.lines:
                await response.write(json.dumps(line).encode() + b"\n")
            return response
        self.asked.append((request.method, request.path_qs, await request.read(), dict(request.headers)))
        where = f"http://{request.host}/next"
        body = {"count": len(self.asked), "next": where}
        status = 202 if request.method == "POST" else 200
        return web.json_response(body, status=status, headers={"x-request": "7", "Location": where})


@pytest.fixture
async def behind() -> AsyncIterator[tuple[Behind, str]]:
    told = Behind()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", told.answer)
    async with TestServer(app, host="127.0.0.1") as server:
        yield told, f"http://127.0.0.1:{server.port}"


@dataclass
class Front:
    behind: Behind
    proxy: Proxy
    client: aiohttp.ClientSession

    async def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        async with self.client.request(method, self.proxy.url + path, json=body) as answer:
            return answer.status, await answer.json()

    async def watched(self, fault: WatchFault | None) -> list[dict[str, Any]]:
        self.proxy.watch_faults[:] = [fault] if fault else []
        async with self.client.get(self.proxy.url + "/things?watch=true") as answer:
            return [json.loads(line) for line in (await answer.read()).splitlines()]


@pytest.fixture
async def front(behind: tuple[Behind, str]) -> AsyncIterator[Front]:
    proxy = Proxy("small", behind[1])
    await proxy.start()
    proxy.addresses = {behind[1]: proxy.url}
    async with aiohttp.ClientSession() as client:
        yield Front(behind[0], proxy, client)
    await proxy.stop()


async def test_without_a_fault_all_is_handed_on_and_no_answer_leads_past_the_proxy(front: Front) -> None:
    sent = {"X-Auth-Token": "t", "Content-Type": "application/json"}
    url = front.proxy.url
    async with front.client.post(f"{url}/a%2Fb?x=1&y=%20", data=b'{"a": 1}', headers=sent) as answer:
        assert (answer.status, answer.headers["x-request"], answer.headers["Location"]) == (202, "7", f"{url}/next")
        assert await answer.json() == {"count": 1, "next": f"{url}/next"}
    method, path, body, headers = front.behind.asked[0]
    assert (method, path, body, headers["X-Auth-Token"]) == ("POST", "/a%2Fb?x=1&y=%20", b'{"a": 1}', "t")


@dataclass(frozen=True)
class Case:
    fault: dict[str, Any]
    #: the answer's status; None: none comes
    status: int | None
    #: requests that the server behind has had
    effects: int


FAULTS = {
    "reset before the effect": Case({"drop": "before"}, None, 0),
    "reset after the effect": Case({"drop": "after"}, None, 1),
    "a body that ends in the middle": Case({"truncate": True}, None, 1),
    "a body that drips and ends": Case({"drip": 0.6}, None, 1),
    "another status instead": Case({"status": 503}, 503, 0),
    "a slow answer is whole": Case({"lag": 0.01, "delay": 0.01}, 202, 1),
    "of another method": Case({"method": "^GET$", "status": 500}, 202, 1),
    "of another path": Case({"path": "/flavors", "status": 500}, 202, 1),
}


@pytest.mark.parametrize("case", FAULTS.values(), ids=FAULTS)
async def test_a_fault_does_what_it_says_once_and_it_is_journalled(front: Front, case: Case) -> None:
    front.proxy.faults.add(Fault(**case.fault, times=1))
    if case.status is None:
        with pytest.raises(BROKEN):
            await front.ask("POST", ACTION, {"os-migrateLive": {}})
    else:
        assert (await front.ask("POST", ACTION, {"os-migrateLive": {}}))[0] == case.status
    assert len(front.behind.asked) == case.effects
    (noted,) = front.proxy.journal.changes
    assert (noted.server, noted.action, noted.answered) == (SERVER, "os-migrateLive", case.status is not None)
    assert len(front.proxy.journal.moves) == case.effects
    front.proxy.faults.active.clear()
    assert (await front.ask("POST", ACTION, {"os-stop": None}))[0] == 202, "it is over"


async def test_a_redirect_to_itself_has_its_effect_and_a_client_that_follows_has_it_twice(front: Front) -> None:
    front.proxy.faults.add(Fault(redirect=True, times=1))
    async with front.client.post(front.proxy.url + ACTION, json={"os-stop": None}, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (307, front.proxy.url + ACTION)
    assert len(front.behind.asked) == 1
    front.proxy.faults.add(Fault(redirect=True, times=1))
    assert (await front.ask("POST", ACTION, {"os-stop": None}))[0] == 202
    assert len(front.behind.asked) == 3, "one that follows asks again"


async def test_429_comes_with_its_header(front: Front) -> None:
    front.proxy.faults.add(Fault(status=429, headers={"Retry-After": "3"}))
    async with front.client.get(front.proxy.url) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (429, "3")


async def test_a_slow_answer_comes_after_its_effect_and_a_delayed_request_before(front: Front) -> None:
    for fault, effects in ((Fault(lag=30), 1), (Fault(delay=30), 0)):
        front.behind.asked.clear()
        number = front.proxy.faults.add(fault)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(front.ask("GET", "/x"), 0.3)
        assert len(front.behind.asked) == effects
        del front.proxy.faults.active[number]


async def test_who_waits_for_an_effect_is_told_before_the_client_is(front: Front) -> None:
    told: list[tuple[str, int | None, bool]] = []
    front.proxy.on_effect = lambda passed: told.append((passed.path, passed.status, passed.answered))
    await front.ask("GET", "/a")
    await front.ask("POST", "/b")
    assert told == [("/b", 202, False)]


async def test_a_stale_read_is_the_last_one_before(front: Front) -> None:
    assert (await front.ask("GET", "/a?changes-since=1&x=2"))[1]["count"] == 1
    front.proxy.faults.add(Fault(stale=True))
    assert (await front.ask("POST", "/a"))[1]["count"] == 2, "what changes something is never old"
    assert (await front.ask("GET", "/a?changes-since=2&x=2"))[1]["count"] == 1
    assert (await front.ask("GET", "/b"))[1]["count"] == 3, "nobody had asked before"
    assert (await front.ask("GET", "/b"))[1]["count"] == 3
    front.proxy.faults.active.clear()
    assert (await front.ask("GET", "/b"))[1]["count"] == 4


async def test_an_outage_refuses_connections_and_ends_at_the_same_port(front: Front) -> None:
    port = front.proxy.port
    assert (await front.ask("GET", "/a"))[0] == 200
    await front.proxy.shut()
    for _ in range(2):
        with pytest.raises(aiohttp.ClientConnectionError):
            await front.ask("GET", "/a")
    await front.proxy.open()
    assert (await front.ask("GET", "/a"))[0] == 200
    assert front.proxy.port == port


EVENTS = [{"type": kind, "n": n} for n, kind in enumerate(("ADDED", "MODIFIED", "DELETED", "BOOKMARK") * 20)]


async def test_a_watch_is_handed_on_line_by_line(front: Front) -> None:
    front.behind.lines = [*EVENTS, {"type": "ADDED", "long": "x" * 2**20}]
    assert await front.watched(None) == front.behind.lines


async def test_events_are_missing_and_come_twice_but_only_of_the_kinds_that_were_asked_for(front: Front) -> None:
    front.behind.lines = EVENTS
    seen = await front.watched(WatchFault(events=("DELETED",), missing=1))
    assert seen == [one for one in EVENTS if one["type"] != "DELETED"]
    seen = await front.watched(WatchFault(events=("ADDED",), duplicate=0.5))
    added = [one["n"] for one in seen if one["type"] == "ADDED"]
    assert set(added) == {one["n"] for one in EVENTS if one["type"] == "ADDED"}
    assert len(set(added)) < len(added)
    seen = await front.watched(WatchFault(ends_after=3))
    assert seen == EVENTS[:3]
    assert set(front.proxy.met) == {"event missing", "event again", "watch ended"}


async def test_a_watch_that_is_cut_ends_at_once(front: Front) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"type": "ADDED"}\n')
        await asyncio.Event().wait()
        return response

    app = web.Application()
    app.router.add_get("/things", endless)
    async with TestServer(app, host="127.0.0.1") as server:
        front.proxy.upstream = f"http://127.0.0.1:{server.port}"
        async with front.client.get(f"{front.proxy.url}/things?watch=true") as answer:
            assert await answer.content.readline() == b'{"type": "ADDED"}\n'
            assert front.proxy.cut_watches() == 1
            with pytest.raises(BROKEN):
                await asyncio.wait_for(answer.read(), 240)
