"""Finds Nova's own explanation of a failure (R20).

From microversion 2.34 neither the response nor the server's fault contains a failed pre-check: the top event of the
instance action has only "No valid host was found", and the cause is in the details of a compute event.
"""

from __future__ import annotations

from vmferry.cloud.model import ActionEvent, InstanceAction, Server

#: the conductor's messages when it gives up: true, but the least helpful
_GENERIC = ("No valid host was found", "Exceeded max scheduling attempts")


def no_valid_host(message: str | None) -> bool:
    """Whether Nova's scheduler refused the chosen host; another host may still be accepted."""
    return _GENERIC[0] in (message or "")


def asked_as(request_id: str | None) -> str:
    """The request id as the end of a message, to search Nova's logs for; empty if Nova returned no id."""
    return f" (request {request_id})" if request_id else ""


def nova_words(actions: tuple[InstanceAction, ...] | None, request_id: str | None, server: Server | None) -> str:
    """The best available explanation, with the request id to search Nova's logs for."""
    action = next((a for a in actions or () if a.request_id == request_id), None)
    if action is None and actions and request_id is None:
        action = actions[0]
    suffix = asked_as(action.request_id if action else request_id)
    spoken = [e for e in (action.events if action else ()) if e.details and _failed(e)]
    spoken.sort(key=_helpfulness)
    if spoken:
        best = spoken[0]
        where = f" on {best.host}" if best.host else ""
        return f"{best.details} [{best.name}{where}]{suffix}"
    if server is not None and server.vm_state == "error" and server.fault:
        return f"{server.fault}{suffix}"
    if action is not None and action.message and action.message != "Error":
        return f"{action.message}{suffix}"
    return f"Nova gives no reason; its logs may, under the request id{suffix}"


def _failed(event: ActionEvent) -> bool:
    return (event.result or "").lower() != "success"


def _helpfulness(event: ActionEvent) -> tuple[bool, bool]:
    generic = any(text in (event.details or "") for text in _GENERIC)
    return generic, not event.name.startswith("compute_")
