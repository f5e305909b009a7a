"""What all clients of the Kubernetes API in this package share: their errors, and how a call is put together.

Light, for `kubectl ferry --help` imports it: no client library, no event loop.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any

from vmferry.resources.base import GROUP, VERSION
from vmferry.resources.catalog import ResourceType

Body = dict[str, Any]

#: statuses that a repetition alone does not change; 401 is cured by a new token, 409 and 429 by time
REFUSALS = frozenset({400, 403, 404, 405, 413, 422})


class KubeError(Exception):
    """A call failed; the message says which and why, in the server's words.

    `trouble` says it in words of ours, for those who may not see what the server answers.
    """

    #: the HTTP status that the server answered with; None: it gave no answer
    code: int | None = None

    def __init__(self, message: str, trouble: str | None = None, code: int | None = None) -> None:
        super().__init__(message)
        self._trouble = trouble
        self.code = code or self.code

    @property
    def trouble(self) -> str:
        """Of an error that was raised from another one: that one's."""
        if self._trouble is None and isinstance(self.__cause__, KubeError):
            return self.__cause__.trouble
        return self._trouble or "an answer that is not understood, see the log"

    @property
    def refused(self) -> bool:
        """Whether the server refuses the request, so that the same request is refused again until somebody changes
        something: the content, a policy, a webhook, a quota, rights, the namespace."""
        # so the API server reports a webhook that does not answer
        return self.code in REFUSALS or (self.code == HTTPStatus.INTERNAL_SERVER_ERROR and "webhook" in str(self))


class ConflictError(KubeError):
    """The object has changed meanwhile (409)."""

    code = 409


class AlreadyExistsError(ConflictError):
    """There is an object of that name (409)."""


class NotFoundError(KubeError):
    """The object is gone, or its kind is not installed (404)."""

    code = 404


class InvalidError(KubeError):
    """The server refuses the content (422): a repetition would not help."""

    code = 422


class NotInstalledError(KubeError):
    """The cluster does not know the kind (404)."""

    code = 404


class ChangedError(ConflictError):
    """The object is not of the resourceVersion that was named (409)."""


class NoConnectionError(KubeError):
    """No answer, or none that counts: it may work a moment later."""


_BY_CODE: dict[int, type[KubeError]] = {404: NotFoundError, 409: ConflictError, 422: InvalidError}


def error_type(code: int, status: Body) -> type[KubeError]:
    """By the answer's HTTP status and its Status object."""
    return AlreadyExistsError if status.get("reason") == "AlreadyExists" else _BY_CODE.get(code, KubeError)


def status_object(answer: str | bytes | None) -> Body:
    """The Status object that the server answers with; empty when it is none."""
    try:
        status = json.loads(answer or "")
    except (TypeError, ValueError):
        return {}
    return status if isinstance(status, dict) else {}


def precondition(uid: str, version: str | None) -> dict[str, str]:
    """The object is this one and, where a resourceVersion is given, still as it was then."""
    return {"uid": uid, **({"resourceVersion": version} if version else {})}


def object_call(
    api: Any, verb: str, kind: ResourceType[Any], namespace: str | None, part: str = ""
) -> Callable[..., Any]:
    """One call of a CustomObjectsApi, which has each twice: for what lies in a namespace, and for what does not."""
    inside = kind.namespaced and namespace is not None
    call = getattr(api, f"{verb}_{'namespaced' if inside else 'cluster'}_custom_object{part}")
    return partial(call, GROUP, VERSION, *((namespace,) if inside else ()), kind.plural)
