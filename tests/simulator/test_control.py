"""The control API: faults on the wire, knobs, hosts and servers from outside, counting, time."""

from __future__ import annotations

import time
from typing import Any

import aiohttp
import pytest

from tests.simulator.bench import TOKEN, Bench

DETAIL = "GET /compute/v2.1/servers/detail"


async def test_an_ordered_status_is_answered_as_often_as_ordered(bench: Bench) -> None:
    await bench.control("POST", "/faults", {"path": "/servers/detail", "status": 503, "times": 2})
    answers = [(await bench.nova("GET", "/servers/detail"))[0] for _ in range(3)]
    assert answers == [503, 503, 200]
    assert (await bench.nova("GET", "/servers"))[0] == 200


async def test_a_fault_takes_only_its_method_and_its_path(bench: Bench) -> None:
    server = await bench.server()
    await bench.control("POST", "/faults", {"method": "POST", "path": f"/servers/{server}/action", "status": 500})
    assert (await bench.show(server))["status"] == "ACTIVE"
    status, body = await bench.act(server, "os-stop")
    assert (status, list(body)) == (500, ["computeFault"])
    await bench.control("DELETE", "/faults")
    assert (await bench.act(server, "os-stop"))[0] == 202


@pytest.mark.parametrize(("drop", "migrations"), [("before", 0), ("after", 1)])
async def test_a_connection_drops_before_or_after_the_effect(bench: Bench, drop: str, migrations: int) -> None:
    server = await bench.server()
    await bench.control("POST", "/faults", {"path": "/action", "drop": drop})
    with pytest.raises(aiohttp.ClientError):
        await bench.live(server, "cmp2")
    await bench.control("DELETE", "/faults")
    bench.step(10)
    assert len(bench.cloud.migrations) == migrations


async def test_a_delayed_answer_is_whole(bench: Bench) -> None:
    await bench.control("POST", "/faults", {"path": "/flavors", "delay": 0.2})
    token = await bench.log_in("admin")
    with pytest.raises(TimeoutError):
        await bench.client.get(
            "/compute/v2.1/flavors", headers={"X-Auth-Token": token}, timeout=aiohttp.ClientTimeout(total=0.05)
        )
    assert len((await bench.get("/flavors"))["flavors"]) == 3


async def test_an_answer_lags_behind_its_effect(bench: Bench) -> None:
    server = await bench.server()
    await bench.control("POST", "/faults", {"path": "/action", "lag": 0.2})
    with pytest.raises(TimeoutError):
        await bench.client.post(
            f"/compute/v2.1/servers/{server}/action",
            json={"os-stop": None},
            headers={"X-Auth-Token": await bench.log_in("admin")},
            timeout=aiohttp.ClientTimeout(total=0.1),
        )
    bench.step(10)
    assert (await bench.show(server))["status"] == "SHUTOFF"


async def test_an_answer_ends_in_the_middle(bench: Bench) -> None:
    await bench.control("POST", "/faults", {"path": "/flavors", "truncate": True, "times": 1})
    with pytest.raises(aiohttp.ClientPayloadError):
        await bench.get("/flavors")
    assert len((await bench.get("/flavors"))["flavors"]) == 3


async def test_a_stale_read_is_answered_as_the_last_time_and_a_first_one_as_ever(bench: Bench) -> None:
    server = await bench.server()
    assert (await bench.show(server))["status"] == "ACTIVE"
    await bench.control("POST", "/faults", {"method": "GET", "stale": True})
    await bench.act(server, "os-stop")
    bench.step(10)
    assert [(await bench.show(server))["status"] for _ in range(2)] == ["ACTIVE", "ACTIVE"]
    listed = await bench.get("/servers/detail?all_tenants=1")
    assert [one["status"] for one in listed["servers"]] == ["SHUTOFF"], "nobody had asked before"
    await bench.control("DELETE", "/faults")
    assert (await bench.show(server))["status"] == "SHUTOFF"


async def test_a_fault_takes_a_part_of_the_requests(bench: Bench) -> None:
    await bench.control("POST", "/faults", {"path": "/flavors", "status": 503, "probability": 0.5})
    answers = [(await bench.nova("GET", "/flavors"))[0] for _ in range(40)]
    assert set(answers) == {200, 503}


REFUSED: dict[str, tuple[str, str, Any, str]] = {
    "a knob that does not exist": ("PUT", "/hosts/cmp1/knobs", {"speed": 1}, "no knob speed; there are live_seconds"),
    "a knob of another kind": (
        "PUT",
        "/hosts/cmp1/knobs",
        {"live_seconds": True},
        "knob live_seconds: True is not a int or float",
    ),
    "a fault with a pattern that is none": ("POST", "/faults", {"path": "("}, "path: not a regular expression"),
    "a fault with an unknown key": ("POST", "/faults", {"code": 500}, "code: Extra inputs"),
    "a clock that runs backwards": ("POST", "/clock", {"step": -1}, "time does not run backwards"),
    "a server of an unknown flavor": (
        "POST",
        "/servers",
        {"name": "x", "flavor": "y", "image": "cirros"},
        "there is no flavor y",
    ),
    "a host that is there": ("POST", "/hosts", {"name": "cmp1"}, "there already is a host cmp1"),
    "settings that do not exist": ("PATCH", "/settings", {"durations": {"walk": 1}}, "durations.walk: Extra inputs"),
}


@pytest.mark.parametrize(("method", "path", "body", "says"), REFUSED.values(), ids=REFUSED.keys())
async def test_it_refuses(bench: Bench, method: str, path: str, body: Any, says: str) -> None:
    status, answer = await bench.control(method, path, body)
    assert status == 400
    assert says in answer["error"]


async def test_an_unknown_host_is_named(bench: Bench) -> None:
    assert await bench.control("POST", "/hosts/nope/kill") == (
        404,
        {"error": "no host nope; there are cmp1, cmp2, cmp3, cmp4"},
    )


async def test_knobs_stay_until_they_are_removed(bench: Bench) -> None:
    assert await bench.control("PUT", "/hosts/cmp1/knobs", {"live_seconds": 60}) == (200, {"live_seconds": 60})
    server = await bench.server("cmp1")
    await bench.live(server, "cmp2")
    bench.step(30)
    assert (await bench.migration(server))["status"] == "running"
    assert await bench.control("PUT", "/hosts/cmp1/knobs", {"live_seconds": None}) == (200, {})


async def test_hosts_and_servers_come_and_go(bench: Bench) -> None:
    status, added = await bench.control("POST", "/hosts", {"name": "cmp9", "cpu": {"model": "Icelake-Server"}})
    assert status == 201
    server = await bench.server("cmp9")
    names = [row["hypervisor_hostname"] for row in (await bench.get("/os-hypervisors"))["hypervisors"]]
    assert names == ["cmp1", "cmp2", "cmp3", "cmp4", "cmp9"]
    await bench.control("DELETE", f"/servers/{server}")
    assert (await bench.nova("GET", f"/servers/{server}"))[0] == 404
    await bench.control("DELETE", "/hosts/cmp9")
    assert (await bench.nova("GET", f"/os-hypervisors/{added['hypervisor']}"))[0] == 404


async def test_requests_are_counted_by_route_and_action(bench: Bench) -> None:
    server = await bench.server()
    await bench.get("/servers/detail")
    await bench.control("DELETE", "/requests")
    begun = time.time()
    for _ in range(3):
        await bench.get("/servers/detail?limit=1")
    await bench.live(server, "cmp2")
    _, counted = await bench.control("GET", "/requests")
    action = "POST /compute/v2.1/servers/{id}/action os-migrateLive"
    assert (counted["total"], counted["requests"]) == (4, {DETAIL: 3, action: 1})
    assert begun <= counted["last"][DETAIL] <= counted["last"][action] <= time.time()


async def test_the_clock_stands_until_it_is_stepped_or_sped_up(bench: Bench) -> None:
    _, before = await bench.control("GET", "/clock")
    _, same = await bench.control("GET", "/clock")
    assert before == same
    _, later = await bench.control("POST", "/clock", {"step": 100})
    assert later["now"] - before["now"] == pytest.approx(100)
    await bench.control("POST", "/clock", {"speed": 1e6})
    _, running = await bench.control("GET", "/clock")
    assert running["now"] > later["now"]


async def test_settings_change_at_once(bench: Bench) -> None:
    status, _ = await bench.control("PATCH", "/settings", {"durations": {"live_copy": 100}, "token_lifetime": 5})
    assert status == 200
    server = await bench.server()
    await bench.live(server, "cmp2")
    bench.step(4)
    assert (await bench.migration(server))["status"] == "running"


async def test_void_tokens_are_refused_as_keystones_middleware_does(bench: Bench) -> None:
    await bench.get("/servers")
    await bench.control("DELETE", "/tokens")
    for path in ("/compute/v2.1/servers", "/placement/resource_providers", "/image/v2/images"):
        answer = await bench.raw("GET", path)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"].startswith("Keystone uri=")


async def test_the_state_in_short(bench: Bench) -> None:
    server = await bench.server("cmp2")
    _, state = await bench.control("GET", "/state")
    assert state["hosts"]["cmp2"]["servers"] == [server]
    assert state["servers"][server]["status"] == "ACTIVE"


NOT_LET_IN: dict[str, dict[str, str]] = {
    "without the token": {},
    "with another token": {"X-Control-Token": "guess"},
    "from a web page": {"X-Control-Token": TOKEN, "Origin": "http://evil.example"},
    "to a name that leads to loopback": {"X-Control-Token": TOKEN, "Host": "evil.example:5000"},
}


@pytest.mark.parametrize("headers", NOT_LET_IN.values(), ids=NOT_LET_IN.keys())
async def test_who_may_not_control_the_cloud(bench: Bench, headers: dict[str, str]) -> None:
    body = {"path": "/servers/detail", "status": 503}
    answer = await bench.client.post("/_control/faults", json=body, headers=headers)
    assert answer.status == 403
    assert (await bench.control("GET", "/faults"))[1] == {"faults": []}
