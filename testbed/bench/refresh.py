"""The cost of refreshing the view of the cloud with our client and observer, relative to `json.loads` and openstacksdk.

Responses are prepared by the simulated cloud before the measurement and replace those of the socket, so no figure
includes a network or a server, and all read the same bytes.
"""

from __future__ import annotations

import asyncio
import io
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qs, urlsplit

import openstack
import requests
from multidict import MultiDict
from requests.adapters import HTTPAdapter
from urllib3 import HTTPResponse

from testbed.bench.clock import best, note
from testbed.bench.simulated import fleet
from testbed.stub import Stub
from vmferry.cloud.nova import NovaClient
from vmferry.cloud.nova.servers import SERVER_VIEW
from vmferry.cloud.nova.session import PAGE
from vmferry.cloud.observer import Observer, Pace
from vmferry.simulator.fleet import Fleet, build
from vmferry.simulator.model import Caller
from vmferry.simulator.nova.server_view import full
from vmferry.simulator.web import Call

SERVERS, SERVERS_PER_HOST = 10_000, 20
#: servers that changed since the last poll
CHANGED = 10


def full_to_json_loads(servers: int = SERVERS, times: int = 5) -> float:
    """A full refresh relative to `json.loads` of the same bytes. The slower of two counts: that of an empty view, and
    that of a view which already has all servers and finds no change."""
    cloud = Canned("big.invalid", servers)
    with answering(cloud):
        known, empty = cloud.observer(), [cloud.observer() for _ in range(times)]
        _read(known)
        plain, first, again = best(
            times,
            lambda: all(json.loads(page) for page in cloud.pages.values()),  # each page is released before the next
            lambda: _read(empty.pop()),
            lambda: _read(known),
        )
        assert len(known.snapshot.servers) == servers
    note(f"full refresh of {servers} servers: {first:.3f} s, of known ones {again:.3f} s; json.loads {plain:.3f} s")
    return max(first, again) / plain


def full_to_openstacksdk(servers: int = SERVERS, times: int = 1) -> float:
    """A full refresh of an empty view relative to openstacksdk's `compute.servers()` with the same responses."""
    cloud = Canned("big.invalid", servers)
    with answering(cloud):
        empty, connection = [cloud.observer() for _ in range(times)], cloud.connection()

        def theirs() -> None:
            assert len(list(connection.compute.servers(all_projects=True, limit=PAGE))) == servers

        ours, sdk = best(times, lambda: _read(empty.pop()), theirs)
    note(f"full refresh of {servers} servers: {ours:.3f} s, openstacksdk {sdk:.3f} s")
    return ours / sdk


def changes_by_fleet(servers: int = SERVERS, times: int = 50) -> float:
    """A poll that finds ten servers on another host, in a view of all servers, relative to a view of a tenth of
    them."""
    clouds = Canned("big.invalid", servers), Canned("small.invalid", servers // 10)
    told: list[int] = []
    with answering(*clouds):
        big, small = (cloud.observer(full=3600) for cloud in clouds)
        for observer in (big, small):
            _read(observer)
            observer.subscribe(lambda ids, _: told.append(len(ids)))
        dear, cheap = best(times, lambda: _read(big), lambda: _read(small))
    # subscribers are called once with just these servers, whatever the size of the fleet
    assert told == [CHANGED] * (2 * times)
    note(f"{CHANGED} changes among {servers} servers: {dear * 1000:.2f} ms; a tenth of them: {cheap * 1000:.2f} ms")
    return dear / cheap


def _read(observer: Observer) -> None:
    """Poll the servers once: all of them, or only changed ones."""
    asyncio.run(observer._read_servers())


class Canned:
    """A cloud with prepared pages, below its own URL."""

    def __init__(self, host: str, servers: int) -> None:
        self.host = host
        self._stub = Stub(f"http://{host}")
        cloud = build(Fleet.model_validate(fleet(max(2, servers // SERVERS_PER_HOST), servers)))
        base = f"http://{host}/compute/v2.1"
        call = Call(cloud, Caller("admin", "admin", ("admin",), "req"), SERVER_VIEW[1], {}, MultiDict(), None, base, "")
        raws = [full(call, server, single=False) for server in cloud.servers.values()]
        #: pages of all servers by marker; after a full page Nova announces another
        self.pages: dict[str, bytes] = {}
        for at in range(0, servers + 1, PAGE):
            page, marker = raws[at : at + PAGE], raws[at - 1]["id"] if at else ""
            more = {}
            if len(page) == PAGE:
                href = f"{base}/servers/detail?all_tenants=1&limit={PAGE}&marker={page[-1]['id']}"
                more = {"servers_links": [{"rel": "next", "href": href}]}
            self.pages[marker] = _bytes(servers=page, **more)
        there = [raw["OS-EXT-SRV-ATTR:host"] for raw in raws[1 : CHANGED + 1]]
        moved = [raw | {"OS-EXT-SRV-ATTR:host": host} for raw, host in zip(raws, there, strict=False)]
        #: alternately the same servers on other hosts, and on their original hosts
        self._changes = cycle([_bytes(servers=moved), _bytes(servers=raws[:CHANGED])])

    def answer(self, method: str, target: str) -> tuple[int, bytes, dict[str, str]]:
        if target.startswith("/compute/v2.1/servers/detail"):
            query = parse_qs(urlsplit(target).query)
            if "changes-since" in query:
                return 200, next(self._changes), {}
            if "status" in query:  # builds: there are none
                return 200, _bytes(servers=[]), {}
            # openstacksdk continues until a page is empty
            return 200, self.pages.get(query.get("marker", [""])[0], _bytes(servers=[])), {}
        found = self._stub.answer(method, target)
        return found.status, json.dumps(found.body).encode(), found.headers

    def observer(self, full: float = 0) -> Observer:
        """An observer that is logged in and has an empty view; `full` is that of `Pace`."""
        with self._clouds_yaml() as file:
            client = NovaClient("stub", clouds_yaml=file)
            client.connect()
        return Observer(client, Pace(full=full))

    def connection(self) -> openstack.connection.Connection:
        with self._clouds_yaml() as file:
            config = openstack.config.OpenStackConfig(config_files=[str(file)]).get_one("stub")
            return openstack.connection.Connection(config=config)

    @contextmanager
    def _clouds_yaml(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as folder:
            yield self._stub.clouds_yaml(Path(folder))


def _bytes(**body: Any) -> bytes:
    return json.dumps(body).encode()


@contextmanager
def answering(*clouds: Canned) -> Iterator[None]:
    """Respond to requests to these clouds with their prepared responses."""
    by_host = {cloud.host: cloud for cloud in clouds}

    def send(_: HTTPAdapter, request: requests.PreparedRequest, *__: Any, **___: Any) -> requests.Response:
        assert request.method and request.url
        url = urlsplit(request.url)
        answer = requests.Response()
        path = url.path + (f"?{url.query}" if url.query else "")
        answer.status_code, body, headers = by_host[url.netloc].answer(request.method, path)
        answer.raw = HTTPResponse(io.BytesIO(body), preload_content=False)
        answer.headers.update({"Content-Type": "application/json", **headers})
        answer.url, answer.request = request.url, request
        return answer

    with patch.object(HTTPAdapter, "send", send):
        yield
