"""Transport of requests to OpenStack, with bounds on every answer: its duration, its size and its redirects.

A slow, endless, compressed or redirecting answer ends as an error at a bounded cost, for every kind of request: login,
version discovery, read or action. All requests of a login's session pass through this module.
"""

from __future__ import annotations

import io
import socket
import threading
import time
import weakref
from collections.abc import Collection
from http.client import HTTPResponse
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from keystoneauth1.session import Session as KeystoneSession
from keystoneauth1.session import TCPKeepAliveAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection

#: seconds until an answer must be complete
DEADLINE = 60.0
#: maximum bytes of an uncompressed answer
BODY = 64 * 2**20
#: maximum bytes of an error answer, which only people read
ERROR_BODY = 64 * 2**10
#: maximum values in the JSON of an answer: each takes about a hundred bytes of memory, however few bytes it was sent as
VALUES = 2_000_000
#: bytes of memory that one value takes
VALUE = 100
#: maximum bytes of memory for all answers together while they are read and parsed; `SMALL` bytes of each are free
ALL_ANSWERS = 224 * 2**20
SMALL = 2**20
#: maximum redirects of a read, all to the same scheme, host and port
REDIRECTS = 3

_CHUNK = 64 * 2**10
_PORTS = {"http": 80, "https": 443}


class AnswerBoundError(OSError):
    """The answer takes too long or is too large; the part that was read is discarded."""


class PlainTextError(OSError):
    """A request without TLS although the login uses TLS; it was not sent."""


#: scheme, host and port
Origin = tuple[str, str, int | None]


def origin(url: str) -> Origin:
    """Scheme, host and port of a URL. Raises ValueError for an invalid port."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme)


class BoundedSession(KeystoneSession):
    """keystoneauth's session with bounds on every request."""

    def __init__(self, auth: Any = None, *, deadline: float = DEADLINE, **named: Any) -> None:
        self._adapter = _Adapter(deadline)
        carrier = requests.Session()
        for scheme in list(carrier.adapters):
            carrier.mount(scheme, self._adapter)
        super().__init__(auth, session=carrier, redirect=REDIRECTS, **named)

    def forbid_plain_text(self, allowed: Collection[Origin]) -> None:
        """From now on, send nothing without TLS except to the allowed origins."""
        self._adapter.plain_text = allowed


class _Adapter(TCPKeepAliveAdapter):
    """Sends one request and reads the whole answer."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        #: the origins that may be reached without TLS; None: all
        self.plain_text: Collection[Origin] | None = None
        super().__init__()

    def init_poolmanager(self, *args: Any, **named: Any) -> None:
        super().init_poolmanager(*args, **named)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **named: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **named)
        manager.pool_classes_by_scheme = _POOLS
        return manager

    def send(self, request: Any, stream: bool = False, *args: Any, **named: Any) -> requests.Response:
        plain = self.plain_text is not None and not request.url.startswith("https:")
        if plain and origin(request.url) not in (self.plain_text or ()):
            raise PlainTextError(f"{request.url.partition('?')[0]} is not https, though the login is")
        ends = time.monotonic() + self._deadline
        _ends.at = ends
        try:
            answer = super().send(request, True, *args, **named)
            try:
                _read(answer)
            except BaseException:
                answer.close()
                raise
        except requests.RequestException:
            if time.monotonic() >= ends - 0.01:
                raise AnswerBoundError(f"no whole answer within {self._deadline:g} s") from None
            raise
        _keep_here(request, answer)
        return answer


def _read(answer: requests.Response) -> None:
    """Read the uncompressed body. Raises `AnswerBoundError` if it is too large; an error page is truncated instead."""
    most = BODY if answer.status_code < 400 else ERROR_BODY
    share = _memory.share(answer)
    chunks: list[bytes] = []
    size = 0
    try:
        for chunk in answer.iter_content(_CHUNK):
            chunks.append(chunk)
            size += len(chunk)
            if size > most:
                if answer.status_code < 400:
                    raise AnswerBoundError(f"the answer is larger than {most >> 20} MiB")
                answer.close()
                break
            # doubled, because joining the chunks copies them
            share.need(2 * size)
        body = b"".join(chunks)[:most]
        values = sum(map(body.count, (b",", b"[", b"{")))
        if values > VALUES:
            raise AnswerBoundError(f"the answer holds more than {VALUES:,} values")
        share.need(2 * size + VALUE * values)
    finally:
        # an exception handler may keep this frame, and with it the chunks, for a while
        chunks.clear()
    # the attributes that `requests` itself sets when it reads a body
    answer._content = body
    answer._content_consumed = True


class _Memory:
    """Limits the memory of all threads' large answers: each answer is bounded, but a dozen may arrive at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken = 0

    def share(self, answer: requests.Response) -> _Share:
        """The share of one answer, which is released when the answer is garbage-collected."""
        share = _Share(self)
        weakref.finalize(answer, share.give_back)
        return share

    def take(self, more: int) -> bool:
        with self._lock:
            if more > 0 and self._taken + more > ALL_ANSWERS:
                return False
            self._taken += more
            return True


class _Share:
    def __init__(self, memory: _Memory) -> None:
        self._memory = memory
        self._taken = 0

    def need(self, size: int) -> None:
        """Reserve `size` bytes in total; small answers are not counted. Raises `AnswerBoundError`."""
        more = size - SMALL - self._taken
        if more <= 0:
            return
        if not self._memory.take(more):
            raise AnswerBoundError("this answer and others at the same time are too large together")
        self._taken += more

    def give_back(self) -> None:
        self._memory.take(-self._taken)


_memory = _Memory()


def _keep_here(request: Any, answer: requests.Response) -> None:
    """Remove a redirect that must not be followed, since keystoneauth follows none without a `Location` header.

    Only a read may be redirected, and only within its origin: a redirected login or action would be sent twice, and the
    token or password would go to another host.
    """
    location = answer.headers.pop("Location", None)
    if location is None or request.method not in ("GET", "HEAD"):
        return
    try:
        target = urljoin(request.url, location)
        here = origin(target) == origin(request.url)
    except ValueError:
        return
    if here:
        answer.headers["Location"] = target


# -- a deadline for the whole answer, since a socket's timeout starts anew with every byte

#: when the answer to this thread's request must be complete, by the monotonic clock
_ends = threading.local()


class _UntilDeadline(io.RawIOBase):
    """Reads from a socket until the deadline."""

    def __init__(self, connection: socket.socket, ends: float) -> None:
        self._connection = connection
        self._ends = ends
        self._between_bytes = connection.gettimeout()
        self._inner = connection.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer is not complete in time")
        self._connection.settimeout(left if self._between_bytes is None else min(left, self._between_bytes))
        return self._inner.readinto(buffer)

    def close(self) -> None:
        if not self.closed:
            self._inner.close()
        super().close()


class _Receiver:
    """The part of a socket's interface that `http.client.HTTPResponse` uses."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_UntilDeadline(self._connection, _ends.at))


class _Response(HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **named: Any) -> None:
        super().__init__(_Receiver(sock), *args, **named)  # type: ignore[arg-type]


class _HTTPConnection(HTTPConnection):
    response_class = _Response


class _HTTPSConnection(HTTPSConnection):
    response_class = _Response


class _HTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


_POOLS = {"http": _HTTPPool, "https": _HTTPSPool}
