"""What changes something in the cloud: sent once, and its outcome."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vmferry.cloud.actions import (
    AbortMigration,
    Accepted,
    Action,
    ColdMigrate,
    ConfirmResize,
    DisableService,
    EnableService,
    Evacuate,
    ForceComplete,
    LiveMigrate,
    NotSent,
    Outcome,
    Refused,
    StartServer,
    StopServer,
    Unanswered,
)
from vmferry.cloud.nova.answers import FAILURES, CloudError, describe, fault_text, request_id_of, snippet
from vmferry.cloud.nova.http import BASE, Http
from vmferry.cloud.nova.session import STAYS_STOPPED, ForbiddenError


class Actions(Http):
    """Sends actions."""

    def act(self, action: Action, forbidden: Callable[[], str | None] = lambda: None) -> Outcome:
        """Ask once. Whatever leaves it open whether Nova took the request is `Unanswered`.

        `forbidden` is asked in this thread, right before the request is handed to its connection, when the token is
        there already: says it why, the request is not sent. After a 401 it is asked again.

        A refusal must be Nova's own (or its gatekeeper's): a 4xx whose body is an OpenStack fault. A 4xx without one
        comes from something in between, and a 5xx never says for sure that nothing happened, 503 included: a load
        balancer writes it for a request that it lost half-way too. Looking it up costs little, asking twice may
        cost a server.
        """
        try:
            connected = self._open()
        except CloudError as error:
            return Unanswered(str(error))
        method, path, body, route = request_of(action)
        # 2.84 of a live migration: answered at once (2.34), the scheduler is heard (2.30, no `force` since 2.68)
        microversion = BASE
        if isinstance(action, Evacuate) and not action.start and self.evacuated_stay_stopped:
            microversion = f"{STAYS_STOPPED[0]}.{STAYS_STOPPED[1]}"
        try:
            with self._timed("compute", f"{method} {route}") as seen:
                answer = connected.compute.request(
                    path,
                    method,
                    json=body,
                    microversion=microversion,
                    raise_exc=False,
                    timeout=self._timeout,
                    requests_auth=_LastWord(forbidden),
                )
                seen.append(answer.status_code)
        except ForbiddenError as error:
            return NotSent(str(error))
        except FAILURES as error:
            return Unanswered(describe(error))
        self._read_clock(answer)
        request_id = request_id_of(answer)
        status = answer.status_code
        if 200 <= status < 300:
            return Accepted(request_id)
        fault = fault_text(answer)
        if 400 <= status < 500 and fault is not None:
            return Refused(status, fault, request_id)
        return Unanswered(f"HTTP {status}: {fault or snippet(answer)}", request_id)


class _LastWord:
    """requests calls it, as a way to authenticate, with each request that is ready to be sent."""

    def __init__(self, forbidden: Callable[[], str | None]) -> None:
        self._forbidden = forbidden

    def __call__(self, request: Any) -> Any:
        why = self._forbidden()
        if why is not None:
            raise ForbiddenError(why)
        return request


def request_of(action: Action) -> tuple[str, str, dict[str, Any] | None, str]:
    """Method, path, body and route of an action."""
    body: dict[str, Any]
    match action:
        case AbortMigration():
            path = f"/servers/{action.server_id}/migrations/{action.migration_id}"
            return "DELETE", path, None, "/servers/{id}/migrations/{migration}"
        case ForceComplete():
            path = f"/servers/{action.server_id}/migrations/{action.migration_id}/action"
            return "POST", path, {"force_complete": None}, "/servers/{id}/migrations/{migration}/action"
        case DisableService():
            body = {"status": "disabled", "disabled_reason": action.reason}
            return "PUT", f"/os-services/{action.service_id}", body, "/os-services/{id} disabled"
        case EnableService():
            # never `forced_down`: Nova keeps what is not named (I8, I11)
            return "PUT", f"/os-services/{action.service_id}", {"status": "enabled"}, "/os-services/{id} enabled"
        case LiveMigrate():
            body = {"os-migrateLive": {"host": action.target_host, "block_migration": "auto"}}
        case ColdMigrate():
            body = {"migrate": {"host": action.target_host}}
        case Evacuate():
            body = {"evacuate": {"host": action.target_host}}
        case StopServer():
            body = {"os-stop": None}
        case StartServer():
            body = {"os-start": None}
        case ConfirmResize():
            body = {"confirmResize": None}
    return "POST", f"/servers/{action.server_id}/action", body, f"/servers/{{id}}/action {next(iter(body))}"
