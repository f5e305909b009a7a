"""A cloud that lies: an HTTP server that answers chosen requests as an attacker, or a broken proxy, would.

What no lie is told about is answered honestly: by a `Stub` in this process, or by a real server (`upstream`, like the
simulator), whose own URL is replaced by the liar's in everything that it answers.

    with lying_cloud() as cloud:
        cloud.lie(redirect(f"{cloud.stranger.url}/stolen", 307), method="POST", path="/servers/.*/action")
        ...
        assert cloud.stranger.requests == []
"""

from __future__ import annotations

import gzip
import json
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

from testbed.stub import Stub

#: hop by hop, or written anew
_OWN = {"connection", "transfer-encoding", "content-length", "content-encoding", "server"}


@dataclass(frozen=True)
class Request:
    """What somebody sent."""

    method: str
    #: path and query
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


class Wire:
    """The connection of one request, to be written on in any way. `open`: nobody has ended the test yet."""

    def __init__(self, write: Callable[[bytes], Any], ended: threading.Event) -> None:
        self.write = write
        self._ended = ended

    def sleep(self, seconds: float) -> bool:
        """Whether to go on."""
        return not self._ended.wait(seconds)

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        lines = [f"HTTP/1.1 {status} Lie", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        self.write("\r\n".join(lines).encode("latin-1"))

    def answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.head(status, {"Content-Length": str(len(body)), **headers})
        self.write(body)


#: answers one request; an error of the connection (the other side has had enough) is nothing to worry about
Lie = Callable[[Request, Wire], None]


@dataclass
class _Told:
    lie: Lie
    method: re.Pattern[str]
    path: re.Pattern[str]
    left: float


class LyingCloud:
    """`requests` are all that came in; `stub` and its `clouds_yaml` are there where no `upstream` is."""

    def __init__(self, url: str, stranger: Stranger, upstream: str | None) -> None:
        self.url = url
        self.stranger = stranger
        self.upstream = upstream
        self.stub = Stub(url)
        self.requests: list[Request] = []
        self._lies: list[_Told] = []
        self._lock = threading.Lock()
        self.ended = threading.Event()

    def lie(self, lie: Lie, *, method: str = ".*", path: str = ".*", times: float = float("inf")) -> None:
        """Answer requests whose method and path match (whole) with a lie; the latest lie first."""
        with self._lock:
            self._lies.insert(0, _Told(lie, re.compile(method), re.compile(path), times))

    def behave(self) -> None:
        """Tell the truth again; a lie that is being told goes on to its end."""
        with self._lock:
            self._lies.clear()

    def seen(self, method: str, path: str) -> list[Request]:
        """Of all requests those that match (whole)."""
        return [one for one in self.requests if re.fullmatch(method, one.method) and re.fullmatch(path, one.path)]

    def clouds_yaml(self, folder: Path) -> Path:
        """With one cloud, `stub`."""
        return self.stub.clouds_yaml(folder)

    def _answer(self, request: Request, wire: Wire) -> None:
        self.requests.append(request)
        with self._lock:
            told = next((one for one in self._lies if one.left > 0 and _fits(one, request)), None)
            if told is not None:
                told.left -= 1
        if told is not None:
            told.lie(request, wire)
        elif self.upstream is None:
            answer = self.stub.answer(request.method, request.target)
            body = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
            headers = {"Content-Type": "application/json", "Date": formatdate(usegmt=True), **answer.headers}
            wire.answer(answer.status, headers, b"" if answer.body is None else body.encode())
        else:
            status, headers, payload = self._asked(request)
            wire.answer(status, headers, payload)

    def _asked(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        """What the real server says."""
        assert self.upstream is not None
        headers = {name: value for name, value in request.headers.items() if name.lower() not in ("host", *_OWN)}
        headers["Accept-Encoding"] = "identity"
        asked = urllib.request.Request(
            self.upstream + request.target, request.body or None, headers, method=request.method
        )
        try:
            reply = urllib.request.urlopen(asked, timeout=60)
        except urllib.error.HTTPError as error:
            reply = error
        with reply:
            kept = {name: value for name, value in reply.headers.items() if name.lower() not in _OWN}
            return reply.status, kept, reply.read().replace(self.upstream.encode(), self.url.encode())


def _fits(told: _Told, request: Request) -> bool:
    return bool(told.method.fullmatch(request.method) and told.path.fullmatch(request.path))


@dataclass
class Stranger:
    """Another host, which has no business with the cloud; it accepts everything."""

    url: str
    #: its other address: the cloud's own, with another port
    other_port: str = ""
    requests: list[Request] = field(default_factory=list)


# ---- lies


def answer(status: int, body: Any = None, headers: Mapping[str, str] | None = None) -> Lie:
    """Any answer: bytes as they are, all else as JSON."""
    payload = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()

    def lie(request: Request, wire: Wire) -> None:
        wire.answer(status, {"Content-Type": "application/json", **(headers or {})}, payload)

    return lie


def redirect(location: str, status: int = 307) -> Lie:
    return answer(status, None, {"Location": location})


def passed_on_then(cloud: LyingCloud, lie: Lie) -> Lie:
    """The request reaches the real cloud; the answer is a lie."""

    def passed(request: Request, wire: Wire) -> None:
        if cloud.upstream is None:
            cloud.stub.answer(request.method, request.target)
        else:
            cloud._asked(request)
        lie(request, wire)

    return passed


def bomb(mib: int = 300, status: int = 200) -> Lie:
    """Little on the wire, much once it is unpacked."""
    packed = _packed(mib)
    return answer(status, packed, {"Content-Encoding": "gzip"})


def _packed(mib: int) -> bytes:
    block = gzip.compress(b" " * 2**20)
    # members one after the other are one gzip file
    return block * mib


def endless_body(status: int = 200) -> Lie:
    """Chunk after chunk, as fast as they go."""

    def lie(request: Request, wire: Wire) -> None:
        wire.head(status, {"Transfer-Encoding": "chunked", "Content-Type": "application/json"})
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        while wire.sleep(0):
            wire.write(chunk)

    return lie


def drip(seconds: float, part: str = "chunks", status: int = 200) -> Lie:
    """A byte each so many seconds, without an end: in `chunks`, of a `body` of known length, or of the `head`."""

    def lie(request: Request, wire: Wire) -> None:
        if part == "head":
            wire.write(f"HTTP/1.1 {status} OK\r\nX-Slow: ".encode())
        elif part == "body":
            wire.head(status, {"Content-Length": "100000", "Content-Type": "application/json"})
        else:
            wire.head(status, {"Transfer-Encoding": "chunked", "Content-Type": "application/json"})
        while wire.sleep(seconds):
            wire.write(b"1\r\n \r\n" if part == "chunks" else b"a" if part == "head" else b" ")

    return lie


def deep(levels: int = 300_000, status: int = 200) -> Lie:
    """JSON nested beyond anything."""
    return answer(status, b"[" * levels + b"]" * levels)


def many(values: int = 3_000_000, status: int = 200) -> Lie:
    """JSON that is short on the wire and large in memory."""
    return answer(status, b'{"servers": [' + b"{}," * values + b"{}]}")


def endless_pages(member: str, entry: Mapping[str, Any], *, moving: bool = False) -> Lie:
    """Each page names a next one; `moving`: with another entry each time."""
    number = iter(range(10**9))

    def lie(request: Request, wire: Wire) -> None:
        one = {**entry, "id": f"{entry.get('id', 'x')}-{next(number)}"} if moving else entry
        links = [{"rel": "next", "href": f"http://{request.headers.get('Host')}{request.target}"}]
        body = {member: [one], f"{member}_links": links, "links": {"next": links[0]["href"]}}
        wire.answer(200, {"Content-Type": "application/json"}, json.dumps(body).encode())

    return lie


def echo(form: str = "plain", status: int = 400) -> Lie:
    """A fault that repeats the request's body and token; `form` is one of `FORMS`."""

    def lie(request: Request, wire: Wire) -> None:
        token = request.headers.get("X-Auth-Token", "")
        text = FORMS[form](f"{request.body.decode('utf-8', 'replace')} {token}")
        fault = {"error": {"code": status, "message": f"blocked by policy: {text}"}}
        wire.answer(status, {"Content-Type": "application/json"}, json.dumps(fault).encode())

    return lie


#: ways in which a server repeats what it was sent
FORMS: dict[str, Callable[[str], str]] = {
    "plain": lambda text: text,
    "escaped as JSON": lambda text: json.dumps(text),
    "escaped as JSON twice": lambda text: json.dumps(json.dumps(text)),
    "URL-encoded": quote_plus,
    "in capitals": str.upper,
}


# ---- the servers


@contextmanager
def lying_cloud(upstream: str | None = None) -> Iterator[LyingCloud]:
    """On a free port of 127.0.0.1; its stranger is on 127.0.0.2, and on another port of 127.0.0.1."""
    with ExitStack() as stack:
        stranger = Stranger("")

        def welcome(request: Request, wire: Wire) -> None:
            stranger.requests.append(request)
            wire.answer(200, {"Content-Type": "application/json"}, b"{}")

        ended = threading.Event()
        stranger.url = stack.enter_context(_served("127.0.0.2", welcome, ended))
        stranger.other_port = stack.enter_context(_served("127.0.0.1", welcome, ended))
        holder: list[LyingCloud] = []
        url = stack.enter_context(_served("127.0.0.1", lambda request, wire: holder[0]._answer(request, wire), ended))
        cloud = LyingCloud(url, stranger, upstream.rstrip("/") if upstream else None)
        cloud.ended = ended
        holder.append(cloud)
        stack.callback(ended.set)
        yield cloud


@contextmanager
def _served(address: str, answers: Lie, ended: threading.Event) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = Request(self.command, self.path, dict(self.headers.items()), body)
            try:
                answers(request, Wire(self.wfile.write, ended))
            except OSError:
                self.close_connection = True

        do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815 (looked up by these names)

        def log_message(self, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *args: Any) -> None:
            """The other side hung up: it has had enough."""

    server = Server((address, 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://{address}:{server.server_address[1]}"
    finally:
        ended.set()
        server.shutdown()
        thread.join()
        server.server_close()
