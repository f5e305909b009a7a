"""Reading one answer: its JSON, the text of its fault, its request id. A failed read raises `CloudError`."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any, ParamSpec, TypeVar

from keystoneauth1.exceptions import ClientException
from openstack.exceptions import SDKException

from vmferry.cloud.nova import parse, well_typed
from vmferry.redaction import redact

#: maximum characters of a cloud's text in statuses and logs
TEXT = 1000
#: maximum characters of a text that are processed at all
LOOKED_AT = 4096

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

T = TypeVar("T")
P = ParamSpec("P")
#: exceptions that a request may raise instead of returning an answer
FAILURES = (ClientException, SDKException, OSError)


#: exceptions caused by an answer that differs from the API reference
ODD = (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)


class CloudError(Exception):
    """A read failed, so nothing can be concluded from it. The text is short and free of secrets."""

    def __init__(
        self,
        message: str,
        status: int | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        #: seconds that the cloud requested to wait, None if it requested none
        self.retry_after = retry_after
        #: the HTTP status, None if there was no answer
        self.status = status
        #: the request id in the cloud's own logs; not part of the text, which would then differ each time
        self.request_id = request_id


class CellUnreachableError(CloudError):
    """Nova answered, but cannot reach the cell that holds the record."""


def reads(method: Callable[P, T]) -> Callable[P, T]:
    """Decorator for a read of the cloud: whatever the answer contains, it returns its result or raises `CloudError`."""

    @wraps(method)
    def read(*args: P.args, **named: P.kwargs) -> T:
        try:
            return method(*args, **named)
        except ODD as error:
            raise CloudError(f"cannot read {method.__name__}: {type(error).__name__} {short(error)}") from None

    return read


def dotted(version: Any) -> str:
    return ".".join(str(part) for part in version) if version else "?"


def parsed(parser: Callable[[parse.Json], T], raw: parse.Json) -> T:
    """Parse one entry. Raises `CloudError` if it differs from the API reference."""
    try:
        value = parser(raw)
        well_typed.check(value)
        return value
    except parse.PartialAnswerError as error:
        raise CellUnreachableError(str(error)) from None
    except parse.HiddenFieldError as error:
        raise CloudError(str(error)) from None
    except ODD as error:
        raise CloudError(f"cannot read a {parser.__name__}: {type(error).__name__} {short(error)}") from None


def json_of(answer: Any) -> Any:
    """The JSON of an answer. Raises ValueError if it is no JSON, or nested deeper than Python can parse."""
    try:
        return answer.json()
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def body(answer: Any, route: str) -> Any:
    """The JSON object of a 200 answer. Raises `CloudError` for anything else."""
    if answer.status_code != HTTPStatus.OK:
        text = fault_text(answer) or snippet(answer)
        raise CloudError(f"{route}: HTTP {answer.status_code} {text}", answer.status_code, request_id_of(answer))
    try:
        body = json_of(answer)
    except ValueError:
        raise CloudError(f"{route}: the answer is no JSON: {snippet(answer)}", answer.status_code) from None
    if not isinstance(body, dict):
        raise CloudError(f"{route}: the answer is no JSON object", answer.status_code)
    return body


def fault_text(answer: Any) -> str | None:
    """The text of an OpenStack fault (`{"conflictingRequest": {"code": 409, "message": …}}`), or None."""
    try:
        body = json_of(answer)
    except ValueError:
        return None
    if not isinstance(body, dict):
        return None
    # Placement and the microversion middleware answer {"errors": [{"detail": …}]}
    errors = body.get("errors")
    faults = errors if isinstance(errors, list) else list(body.values())
    for fault in faults:
        if isinstance(fault, dict):
            text = fault.get("message") or fault.get("detail")
            if isinstance(text, str):
                return line(text, TEXT)
    return None


def snippet(answer: Any) -> str:
    """The beginning of an answer that is not an OpenStack fault."""
    return line(answer.content[:LOOKED_AT].decode("utf-8", "replace"), 200) or "(empty)"


def short(error: BaseException) -> str:
    """An exception's text in one bounded line, since it may quote the answer."""
    return line(str(error), 200)


def describe(error: BaseException) -> str:
    """An exception's type and text in one short line."""
    return line(f"{type(error).__name__}: {error}", 300)


def line(text: str, length: int) -> str:
    """A text from the cloud as one printable line: bounded before any processing, without control characters and
    secrets."""
    printable = "".join(char if char.isprintable() else " " for char in redact(text[:LOOKED_AT]))
    return " ".join(printable.split())[:length]


def request_id_of(answer: Any) -> str | None:
    """The request id, or None if its format is invalid: it is shown on terminals and stored in statuses."""
    request_id = answer.headers.get("x-openstack-request-id") or answer.headers.get("x-compute-request-id")
    return request_id if isinstance(request_id, str) and _REQUEST_ID.fullmatch(request_id) else None
