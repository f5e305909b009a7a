"""The port that nobody has to log in to: what a stranger may do there, and what probes get meanwhile."""

from __future__ import annotations

import asyncio
import re
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, suppress

import psutil
import pytest
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from vmferry.runtime import probe_server
from vmferry.runtime.health import Health
from vmferry.runtime.probe_server import CONNECTIONS, HEAD_BYTES, HealthServer

#: seconds; waits end much earlier
LONG = 240.0


@asynccontextmanager
async def served(health: Health, inventory: Callable[[], Iterable[Metric]] = tuple) -> AsyncIterator[int]:
    server = HealthServer(health, "127.0.0.1", 0, inventory)
    port = await server.start()
    try:
        yield port
    finally:
        await server.stop()


async def talk(port: int, sent: bytes) -> bytes:
    """Everything that is answered until the connection is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        async with asyncio.timeout(LONG):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


REQUESTS = {
    "a probe": (get("/healthz"), 200),
    "a probe of HTTP 1.0": (b"GET /healthz HTTP/1.0\r\n\r\n", 200),
    "a probe with a query": (get("/readyz?verbose"), 200),
    "a probe's head only": (b"HEAD /healthz HTTP/1.1\r\n\r\n", 200),
    "a scrape": (get("/metrics"), 200),
    "another page": (get("/"), 404),
    "a path that leaves": (get("/healthz/../../etc/passwd"), 404),
    "another method": (b"POST /healthz HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 405),
    "two requests at once": (get("/healthz") + get("/metrics"), 200),
    "a body that smuggles": (b"GET /healthz HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + get("/x"), 200),
    "no HTTP": (b"\x16\x03\x01\x00\x01\r\n\r\n", 400),
    "no version": (b"GET /healthz\r\n\r\n", 400),
    "a URL as the path": (b"GET http://evil.example/healthz HTTP/1.1\r\n\r\n", 400),
    "a control character in the path": (b"GET /healthz\x1b HTTP/1.1\r\n\r\n", 400),
    "a header that is too large": (b"GET /healthz HTTP/1.1\r\nX: " + b"x" * HEAD_BYTES + b"\r\n\r\n", 431),
    "too many headers": (b"GET /healthz HTTP/1.1\r\n" + b"X: x\r\n" * HEAD_BYTES + b"\r\n", 431),
}


@pytest.mark.parametrize(("sent", "status"), REQUESTS.values(), ids=REQUESTS.keys())
async def test_a_request_is_answered_once_and_the_connection_closed(sent: bytes, status: int) -> None:
    async with served(Health()) as port:
        answer = await talk(port, sent)
        # who sends more than is read may be cut off before the answer arrives
        assert (answer == b"" and status == 431) or answer.startswith(f"HTTP/1.1 {status} ".encode())
        assert answer.count(b"HTTP/1.1") <= 1
        head, _, content = answer.partition(b"\r\n\r\n")
        assert b"server" not in head.lower(), "which server it is helps attackers only"
        if sent.startswith(b"HEAD"):
            assert content == b""
        elif answer:
            assert f"Content-Length: {len(content)}\r\n".encode() in head
        assert (await talk(port, get("/healthz"))).endswith(b"ok\n")


SERVER = """
import asyncio
from vmferry.runtime.health import Health
from vmferry.runtime.probe_server import HealthServer
async def main():
    print(await HealthServer(Health(), "127.0.0.1", 0).start(), flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


async def test_many_slow_clients_take_neither_memory_nor_the_probes() -> None:
    """Each sends most of 800 kB of headers and never the end, as one does who wants the memory."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", SERVER, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        port = int(await process.stdout.readline())
        assert (await talk(port, get("/metrics"))).startswith(b"HTTP/1.1 200")
        measured = psutil.Process(process.pid)
        before = peak = measured.memory_info().rss
        clients = []
        for number in range(400):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /healthz HTTP/1.1\r\n" + (b"X: " + b"x" * 7990 + b"\r\n") * (number % 2 * 100))
            clients.append((reader, writer))
            if number % 50 == 0:
                assert (await talk(port, get("/healthz"))).endswith(b"ok\n"), "the probe of the kubelet"
                peak = max(peak, measured.memory_info().rss)
        assert (await talk(port, get("/healthz"))).endswith(b"ok\n"), "the probe of the kubelet"
        peak = max(peak, measured.memory_info().rss)
        assert (peak - before) / 2**20 < 64

        async def closed(reader: asyncio.StreamReader) -> None:
            with suppress(ConnectionError):
                await reader.read()

        # each is closed by the server: no client keeps its connection by sending nothing
        async with asyncio.timeout(LONG):
            await asyncio.gather(*(closed(reader) for reader, _ in clients))
        for _, writer in clients:
            writer.transport.abort()
    finally:
        process.kill()
        await process.wait()


async def test_a_loop_that_hangs_is_sick_and_the_probe_still_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_server, "LOOP_STUCK_SECONDS", 0.5)
    monkeypatch.setattr(probe_server, "LOOP_BEAT", 0.1)
    monkeypatch.setattr(probe_server, "LOOP_SECONDS", 0.2)
    told: dict[str, bytes] = {}
    async with served(Health(), lambda: iter([GaugeMetricFamily("x", "x", value=1)])) as port:
        assert b"\nx 1.0\n" in await talk(port, get("/metrics"))

        def ask() -> None:
            end = time.monotonic() + LONG
            while time.monotonic() < end and b"503" not in told.get("/healthz", b""):
                for path in ("/healthz", "/readyz", "/metrics"):
                    told[path] = asyncio.run(talk(port, get(path)))

        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()  # the loop of this test hangs here
        assert b"event loop: no sign of life for" in told["/healthz"]
        assert re.match(rb"HTTP/1.1 503 .*\r\n\r\nevent loop: no answer in time", told["/readyz"], re.DOTALL)
        assert told["/metrics"].startswith(b"HTTP/1.1 200")

        async with asyncio.timeout(LONG):
            while b"200" not in await talk(port, get("/healthz")):  # noqa: ASYNC110 - another process has no event
                await asyncio.sleep(0.05)


async def test_metrics_are_read_once_for_many_who_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_server, "METRICS_SECONDS", LONG)
    loops = []

    def inventory() -> Iterator[Metric]:
        loops.append(asyncio.get_running_loop())
        yield GaugeMetricFamily("x", "x", value=len(loops))

    async with served(Health(), inventory) as port:
        answers = await asyncio.gather(*(talk(port, get("/metrics")) for _ in range(CONNECTIONS // 2)))
        assert all(b"\nx 1.0\n" in answer for answer in answers)
        assert loops == [asyncio.get_running_loop()], "counted where the objects are kept, and once"


async def test_a_taken_port_is_an_error_of_the_start() -> None:
    async with served(Health()) as port:
        with pytest.raises(OSError, match="in use"):
            await HealthServer(Health(), "127.0.0.1", port).start()
