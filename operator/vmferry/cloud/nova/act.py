"""Requests that change something in the cloud: each is sent once, and its outcome is returned."""

from __future__ import annotations

import re
from collections.abc import Callable
from http import HTTPStatus
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
    NotNow,
    NotSent,
    Outcome,
    Refused,
    StartServer,
    StopServer,
    Unanswered,
)
from vmferry.cloud.nova.answers import describe, dotted, fault_text, request_id_of, snippet
from vmferry.cloud.nova.http import BASE, Http
from vmferry.cloud.nova.not_now import PAUSE
from vmferry.cloud.nova.session import STAYS_STOPPED, ForbiddenError, login_pause

#: Nova's text for a server in the middle of another task, which ends by itself
_BUSY = re.compile(r"while it is in task_state (?!None\b)")


class Actions(Http):
    """Sends actions."""

    def act(self, action: Action, forbidden: Callable[[], str | None] = lambda: None) -> Outcome:
        """Send one request. `Unanswered` means that it is open whether Nova accepted it.

        Once the request was sent, this method returns an outcome and never raises.

        `forbidden` is called in this thread immediately before the request goes to its connection, when the token is
        already present: if it returns a reason, the request is not sent. After a 401 it is called again.

        A refusal must come from Nova itself or its API middleware: a 4xx whose body is an OpenStack fault. A 4xx
        without one comes from an intermediary. A 5xx, including 503, never proves that nothing happened: load balancers
        also send it for requests that they lost half-way. Reading the effect costs little; a repeated request may cost
        a server. Redirects are not followed: they would send the request a second time, perhaps to an unknown host.
        """
        left = self._pauses.left("compute", acts=True)
        if left is not None:
            return NotNow(left[1], left[0])
        sent = False
        try:
            connected = self._open()
            method, path, body, route = request_of(action)
            # 2.84 for a live migration: answered at once (2.34), scheduler validates (2.30, no `force` since 2.68)
            microversion = BASE
            if isinstance(action, Evacuate) and not action.start and self.evacuated_stay_stopped:
                microversion = dotted(STAYS_STOPPED)
            for last in (False, True):
                word = _LastWord(forbidden)
                sent = False
                try:
                    with self._timed("compute", f"{method} {route}") as seen:
                        answer = connected.compute.request(
                            path,
                            method,
                            json=body,
                            microversion=microversion,
                            raise_exc=False,
                            timeout=self._timeout,
                            requests_auth=word,
                            redirect=False,
                            allow_reauth=False,
                            # clouds.yaml may configure openstacksdk to repeat requests
                            connect_retries=0,
                            status_code_retries=0,
                        )
                        seen.append(answer.status_code)
                finally:
                    sent = word.sent
                if answer.status_code != HTTPStatus.UNAUTHORIZED or last:
                    break
                # a 401 means that nothing was done: renew the token and send the request again
                connected.compute.invalidate()
            return self._outcome(answer)
        except ForbiddenError as error:
            return NotSent(str(error))
        except Exception as error:  # an unexpected answer can make any of the libraries fail
            if sent:
                return Unanswered(describe(error))
            return NotNow(f"the request was not sent: {describe(error)}", login_pause(error) or PAUSE)

    def _outcome(self, answer: Any) -> Outcome:
        self._read_clock(answer)
        request_id = request_id_of(answer)
        status = answer.status_code
        if 200 <= status < 300:
            return Accepted(request_id)
        fault = fault_text(answer)
        message = f"HTTP {status}: {fault or snippet(answer)}"
        pause = self._pauses.note("compute", True, answer, message)
        if pause is not None and status < 500:
            return NotNow(message, pause, request_id)
        if status == HTTPStatus.UNAUTHORIZED or (status == HTTPStatus.CONFLICT and _BUSY.search(fault or "")):
            return NotNow(message, PAUSE, request_id)
        if 400 <= status < 500 and fault is not None:
            return Refused(status, fault, request_id)
        return Unanswered(message, request_id)


class _LastWord:
    """Final check before sending: requests calls it, as an authentication hook, with each request ready to be sent."""

    def __init__(self, forbidden: Callable[[], str | None]) -> None:
        self._forbidden = forbidden
        #: whether a request was handed to its connection
        self.sent = False

    def __call__(self, request: Any) -> Any:
        why = self._forbidden()
        if why is not None:
            raise ForbiddenError(why)
        self.sent = True
        return request


def request_of(action: Action) -> tuple[str, str, dict[str, Any] | None, str]:
    """HTTP method, path, body and route of an action."""
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
            # never `forced_down`: Nova keeps fields that are not sent (I8, I11)
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
