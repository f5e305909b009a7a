"""Probes and logs: what a person or a kubelet is told."""

from __future__ import annotations

import json
import logging
import socket

import aiohttp
import pytest

from vmferry.runtime.config import LogFormat
from vmferry.runtime.health import STUCK_SECONDS, Health
from vmferry.runtime.logs import Fields, about, formatter
from vmferry.runtime.metrics import definitions as metrics
from vmferry.runtime.probe_server import HealthServer


def line(format_: LogFormat) -> str:
    record = logging.LogRecord("vmferry.x", logging.INFO, "f", 1, "password=%s told", ("s3cret",), None)
    with about({"object": "VMMigration/team/web"}), about({"server": "1111"}):
        Fields().filter(record)
        return formatter(format_).format(record)


def test_a_line_is_json_and_says_what_it_is_about() -> None:
    told = json.loads(line(LogFormat.JSON))
    assert (told["level"], told["object"], told["server"]) == ("INFO", "VMMigration/team/web", "1111")
    assert "s3cret" not in str(told)


def test_a_line_of_text_says_what_it_is_about() -> None:
    assert line(LogFormat.TEXT).endswith("password=[redacted] told [object=VMMigration/team/web server=1111]")


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
async def test_a_pod_of_either_family_can_be_probed(host: str) -> None:
    if "[" in host and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    server = HealthServer(Health(), "*", 0)
    port = await server.start()
    try:
        async with aiohttp.ClientSession() as session, session.get(f"http://{host}:{port}/healthz") as answer:
            assert await answer.text() == "ok\n"
    finally:
        await server.stop()


async def test_a_machine_without_ipv6_is_no_hindrance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    server = HealthServer(Health(), "*", 0)
    port = await server.start()
    await server.stop()
    assert port > 0


async def test_the_probes_say_why_not() -> None:
    now = [0.0]
    health = Health(clock=lambda: now[0])
    trouble: list[str | None] = ["Keystone says 401"]
    health.ready_if("cloud", lambda: trouble[0])
    health.beat("worker 0")
    server = HealthServer(health, "127.0.0.1", 0)
    port = await server.start()

    async def get(path: str) -> tuple[int, str]:
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as answer:
            return answer.status, await answer.text()

    try:
        assert await get("/healthz") == (200, "ok\n")
        assert await get("/readyz") == (503, "cloud: Keystone says 401\n")
        trouble[0] = None
        assert await get("/readyz") == (200, "ok\n")
        health.say(lambda: "standby, b leads")
        assert await get("/readyz") == (200, "ok\nstandby, b leads\n")
        metrics.LEADER.set(0)
        assert "vmferry_leader" in (await get("/metrics"))[1]
        now[0] = STUCK_SECONDS + 1
        health.beat("event loop")
        assert await get("/healthz") == (503, "worker 0: no sign of life for 601 s\n")
        health.forget("worker 0")
        assert await get("/healthz") == (200, "ok\n")
    finally:
        await server.stop()
