"""Errors and request arguments that all Kubernetes API clients in this package share.

It must stay cheap to import because `kubectl ferry --help` imports it: no client library, no event loop.
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

#: statuses that a retry alone does not cure; a new token cures 401, time cures 409 and 429
REFUSALS = frozenset({400, 403, 404, 405, 413, 422})


class KubeError(Exception):
    """A call failed. The message names the call and contains the server's error text.

    `trouble` is a summary without the server's text, for readers who must not see that.
    """

    #: the HTTP status of the response; None if there was no response
    code: int | None = None

    def __init__(self, message: str, trouble: str | None = None, code: int | None = None) -> None:
        super().__init__(message)
        self._trouble = trouble
        self.code = code or self.code

    @property
    def trouble(self) -> str:
        """The error's own summary, or that of the KubeError from which it was raised."""
        if self._trouble is None and isinstance(self.__cause__, KubeError):
            return self.__cause__.trouble
        return self._trouble or "an answer that is not understood, see the log"

    @property
    def refused(self) -> bool:
        """Whether the server refuses the same request again until a person changes something.

        That may be the content, a policy, a webhook, a quota, permissions, or the namespace.
        """
        # the API server reports a webhook that does not respond as a 500
        return self.code in REFUSALS or (self.code == HTTPStatus.INTERNAL_SERVER_ERROR and "webhook" in str(self))


class ConflictError(KubeError):
    """The object has changed meanwhile (409)."""

    code = 409


class AlreadyExistsError(ConflictError):
    """An object of that name exists (409)."""


class NotFoundError(KubeError):
    """The object is gone, or its kind is not installed (404)."""

    code = 404


class InvalidError(KubeError):
    """The server refuses the content (422); a retry would not help."""

    code = 422


class NotInstalledError(KubeError):
    """The cluster does not know the kind (404)."""

    code = 404


class ChangedError(ConflictError):
    """The object does not have the resourceVersion in the request (409)."""


class NoConnectionError(KubeError):
    """No usable response; a retry may succeed."""


_BY_CODE: dict[int, type[KubeError]] = {404: NotFoundError, 409: ConflictError, 422: InvalidError}


def error_type(code: int, status: Body) -> type[KubeError]:
    """The error class for an HTTP status and the Status object of the response."""
    return AlreadyExistsError if status.get("reason") == "AlreadyExists" else _BY_CODE.get(code, KubeError)


def status_object(answer: str | bytes | None) -> Body:
    """The Status object in the response body; empty if the body is not a JSON object."""
    try:
        status = json.loads(answer or "")
    except (TypeError, ValueError):
        return {}
    return status if isinstance(status, dict) else {}


def precondition(uid: str, version: str | None) -> dict[str, str]:
    """The preconditions of a deletion: the uid and, if given, the resourceVersion."""
    return {"uid": uid, **({"resourceVersion": version} if version else {})}


def object_call(
    api: Any, verb: str, kind: ResourceType[Any], namespace: str | None, part: str = ""
) -> Callable[..., Any]:
    """The method of a CustomObjectsApi for `verb`, which exists twice: for namespaced and for cluster-scoped kinds."""
    inside = kind.namespaced and namespace is not None
    call = getattr(api, f"{verb}_{'namespaced' if inside else 'cluster'}_custom_object{part}")
    return partial(call, GROUP, VERSION, *((namespace,) if inside else ()), kind.plural)
