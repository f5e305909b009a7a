"""The HTTP sessions to the Kubernetes API for all clients of this process; they renew their credentials.

Several event loops may share a `Connection`: the operator has one loop of its own, and one for its watches. A `Session`
replaces the `aiohttp.ClientSession` that `kubernetes.aio` and kopf use, so that both connect in the same way: only this
module sets server name, proxy, certificates and credentials of a request.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
import threading
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp

from vmferry.runtime.access import Access, AccessError, Keeper
from vmferry.runtime.socks import ASYNCHRONOUS, connector, is_socks, require

#: bytes; responses of Kubernetes may have long lines
_BUFFER = 2**21

#: called with the URL of a request, and with None if it succeeded, else with the error or the HTTP status
Seen = Callable[[str, "BaseException | int | None"], None]


class RefusedError(aiohttp.ClientConnectionError):
    """Raised by a session for watches instead of returning a 401 or a redirect."""


class Connection:
    """Access to the API server with current credentials, for any number of event loops."""

    def __init__(self, keeper: Keeper) -> None:
        """Raises AccessError if the keeper's access cannot be used."""
        self._keeper = keeper
        self._lock = threading.Lock()
        self._known: tuple[Access, ssl.SSLContext] | None = None
        self._digest = ""
        self._with_context(keeper.access)

    @property
    def access(self) -> Access:
        """The access as it was last loaded."""
        return self._keeper.access

    async def current(self) -> tuple[Access, ssl.SSLContext]:
        """Credentials that have not expired as far as known. Raises AccessError."""
        if self._keeper.due:
            return await asyncio.to_thread(lambda: self._with_context(self._keeper.fresh()))
        return self._with_context(self._keeper.access)

    async def other_than(self, refused: Access) -> tuple[Access, ssl.SSLContext] | None:
        """New credentials after a 401; None if there are none. Raises AccessError."""

        def renewed() -> tuple[Access, ssl.SSLContext] | None:
            access = self._keeper.other_than(refused)
            return None if access is None else self._with_context(access)

        return await asyncio.to_thread(renewed)

    def _with_context(self, access: Access) -> tuple[Access, ssl.SSLContext]:
        """Return the same SSL context while the certificates are the same, so that connections can be reused."""
        with self._lock:
            if self._known is None or self._known[0] is not access:
                self._known = (access, self._context_of(access, self._known[1] if self._known else None))
            return self._known

    def _context_of(self, access: Access, old: ssl.SSLContext | None) -> ssl.SSLContext:
        require(access, ASYNCHRONOUS)
        digest = hashlib.sha256(repr(access.insecure).encode())
        try:
            for path in (access.ca_path, access.certificate_path, access.private_key_path):
                digest.update(b"\0" + (Path(path).read_bytes() if path else b""))
            if old is not None and digest.hexdigest() == self._digest:
                return old
            context = ssl.create_default_context(cafile=access.ca_path)
            if access.certificate_path:
                context.load_cert_chain(access.certificate_path, access.private_key_path)
            if access.insecure:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
        except (OSError, ValueError) as error:  # ssl's errors are OSErrors
            raise AccessError(
                f"no way to Kubernetes: its certificates cannot be used: {type(error).__name__}"
            ) from error
        self._digest = digest.hexdigest()
        return context

    def session(self, *, watching: Seen | None = None) -> Session:
        """A new session for the running event loop. `watching` makes it a session for watches.

        It is called with the result of each request.
        """
        return Session(self, watching)


class Session:
    """The part of `aiohttp.ClientSession` that `kubernetes.aio` and kopf use. Call `close` at the end."""

    def __init__(self, connection: Connection, watching: Seen | None = None) -> None:
        self._connection = connection
        self._watching = watching
        proxy = connection.access.proxy
        self._socks = is_socks(proxy)
        self._session = aiohttp.ClientSession(
            connector=connector(str(proxy)) if self._socks else aiohttp.TCPConnector(limit=0),
            trust_env=False,
            read_bufsize=_BUFFER,
        )

    @property
    def headers(self) -> Any:
        return self._session.headers

    @property
    def closed(self) -> bool:
        return self._session.closed

    async def close(self) -> None:
        await self._session.close()

    async def request(self, method: str, url: str, **options: Any) -> aiohttp.ClientResponse:
        """Like aiohttp's method, but without redirects. A 401 is retried once if there are new credentials.

        A session for watches raises RefusedError for a 401 or a redirect.
        """
        try:
            answer = await self._request(method, url, options)
        except (aiohttp.ClientError, OSError) as error:  # includes TimeoutError
            self._report(url, error)
            raise
        if self._watching is not None and (answer.status == HTTPStatus.UNAUTHORIZED or 300 <= answer.status < 400):
            answer.close()
            self._report(url, answer.status)
            raise RefusedError(f"HTTP {answer.status}")
        self._report(url, answer.status if answer.status >= HTTPStatus.BAD_REQUEST else None)
        return answer

    def _report(self, url: str, outcome: BaseException | int | None) -> None:
        if self._watching is not None:
            self._watching(str(url), outcome)

    async def _request(self, method: str, url: str, options: dict[str, Any]) -> aiohttp.ClientResponse:
        try:
            access, context = await self._connection.current()
            answer = await self._once(method, url, options, access, context)
            if answer.status != HTTPStatus.UNAUTHORIZED or (other := await self._connection.other_than(access)) is None:
                return answer
        except AccessError as error:
            raise aiohttp.ClientConnectionError(str(error)) from error
        answer.close()  # also closes the connection, which would keep the old client certificate
        return await self._once(method, url, options, *other)

    async def _once(
        self, method: str, url: str, options: dict[str, Any], access: Access, context: ssl.SSLContext
    ) -> aiohttp.ClientResponse:
        headers = dict(options.get("headers") or {})
        if access.authorization:
            headers["Authorization"] = access.authorization
        ours: dict[str, Any] = {"headers": headers, "allow_redirects": False}
        if url.startswith("https:"):
            ours |= {"ssl": context, "server_hostname": access.server_name}
        if access.proxy and not self._socks:
            ours["proxy"] = access.proxy
        return await self._session.request(method, url, **{**options, **ours})
