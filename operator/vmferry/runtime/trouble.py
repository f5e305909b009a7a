"""Short texts for connection errors that never contain text of a server or proxy.

`/readyz` shows them without a login, and an error text of a server or proxy may repeat credentials from the request.
"""

from __future__ import annotations

import ssl
from http import HTTPStatus

import aiohttp

_OF_STATUS: dict[int, str] = {
    HTTPStatus.BAD_REQUEST: "HTTP 400: the request does not fit the installed definitions",
    HTTPStatus.UNAUTHORIZED: "HTTP 401: the credentials are not accepted",
    HTTPStatus.FORBIDDEN: "HTTP 403: not allowed, by RBAC or a policy",
    HTTPStatus.NOT_FOUND: "HTTP 404: not found",
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED: "HTTP 407: the proxy wants credentials",
    HTTPStatus.UNPROCESSABLE_ENTITY: "HTTP 422: refused as invalid, by the definition or a policy",
    HTTPStatus.TOO_MANY_REQUESTS: "HTTP 429: too many requests",
}
#: the first match applies, so subclasses come before their base classes
_OF_ERROR: tuple[tuple[type[BaseException], str], ...] = (
    (aiohttp.ClientConnectorCertificateError, "the server's certificate is not trusted, or is for another name"),
    (ssl.SSLCertVerificationError, "the server's certificate is not trusted, or is for another name"),
    (aiohttp.ClientConnectorDNSError, "the server's name cannot be resolved"),
    (aiohttp.ClientProxyConnectionError, "the proxy cannot be reached"),
    (aiohttp.ClientSSLError, "no TLS connection"),
    (aiohttp.ClientConnectorError, "the server cannot be reached"),
    (TimeoutError, "no answer in time"),
    (aiohttp.ServerDisconnectedError, "the connection was closed"),
)


def of_status(status: int) -> str:
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return f"HTTP {status}: the server has failed"
    return _OF_STATUS.get(status, f"HTTP {status}")


def of_error(error: BaseException) -> str:
    """The text for the error, or for the first of its causes that has one."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, aiohttp.ClientHttpProxyError):
            return f"the proxy refuses with HTTP {seen.status}"
        for kind, words in _OF_ERROR:
            if isinstance(seen, kind):
                return words
        seen = seen.__cause__
    return "no connection"


def describe(outcome: BaseException | int) -> str:
    return of_status(outcome) if isinstance(outcome, int) else of_error(outcome)
