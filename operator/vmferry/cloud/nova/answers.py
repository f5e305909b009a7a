"""Reading one answer: its JSON, the text of its fault, its request id; `CloudError` for a failed read."""

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

#: bounds what a cloud's text may fill in statuses and logs
TEXT = 1000
#: how many characters of a text are looked at at all
LOOKED_AT = 4096

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

T = TypeVar("T")
P = ParamSpec("P")
#: what may come out of a request besides an answer
FAILURES = (ClientException, SDKException, OSError)


#: what comes of an answer that is not what the API's reference promises
ODD = (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)


class CloudError(Exception):
    """A read failed; nothing may be concluded from it. The text is short and free of secrets."""

    def __init__(
        self,
        message: str,
        status: int | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        #: seconds that the cloud asked to wait, None when it did not
        self.retry_after = retry_after
        #: the HTTP status, None when there was no answer
        self.status = status
        #: how the cloud's own logs know the request; not in the text, which would differ each time
        self.request_id = request_id


class CellUnreachableError(CloudError):
    """Nova answered, but cannot reach the cell in which the record lies."""


def reads(method: Callable[P, T]) -> Callable[P, T]:
    """A read of the cloud: whatever its answers hold, it brings what it promises or raises `CloudError`."""

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
    """Raises `CloudError` for an entry that is not what the API's reference promises."""
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
    """The JSON of an answer. Raises ValueError for what is none, and for what is nested beyond Python's own depth."""
    try:
        return answer.json()
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def body(answer: Any, route: str) -> Any:
    """The JSON of a 200. Raises `CloudError` for anything else."""
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
    """The text of an OpenStack fault (`{"conflictingRequest": {"code": 409, "message": …}}`); None if it is none."""
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
    """The beginning of an answer that is no OpenStack fault."""
    return line(answer.content[:LOOKED_AT].decode("utf-8", "replace"), 200) or "(empty)"


def short(error: BaseException) -> str:
    """Its words in one line, for they may quote the answer."""
    return line(str(error), 200)


def describe(error: BaseException) -> str:
    """An exception in one short line."""
    return line(f"{type(error).__name__}: {error}", 300)


def line(text: str, length: int) -> str:
    """Words of the cloud in one line that may be shown: bounded before any work is done on them, without control
    characters and secrets."""
    printable = "".join(char if char.isprintable() else " " for char in redact(text[:LOOKED_AT]))
    return " ".join(printable.split())[:length]


def request_id_of(answer: Any) -> str | None:
    """None for what is no request id: it is shown on terminals and kept in statuses."""
    request_id = answer.headers.get("x-openstack-request-id") or answer.headers.get("x-compute-request-id")
    return request_id if isinstance(request_id, str) and _REQUEST_ID.fullmatch(request_id) else None
