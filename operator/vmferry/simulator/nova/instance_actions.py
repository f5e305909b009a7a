"""`/servers/{id}/os-instance-actions`: the requests for a server; their events hold the reasons of failures."""

from __future__ import annotations

from typing import Any

from vmferry.simulator.clock import database, parse
from vmferry.simulator.errors import BadRequestError, NotFoundError
from vmferry.simulator.model import ActionEvent, InstanceAction, Server, host_id
from vmferry.simulator.web import Call, Reply, Route


def _server(call: Call) -> Server:
    return call.cloud.find_server(call.params["id"], call.caller, deleted=call.since(21))


def _list(call: Call) -> Reply:
    server = _server(call)
    actions = server.actions[::-1]
    if not call.since(58):
        return Reply(200, {"instanceActions": [_view(call, action) for action in actions]})
    if "changes-since" in call.query:
        try:
            since = int(parse(call.query["changes-since"]))
        except ValueError:
            raise BadRequestError("Invalid input for query parameters changes-since.") from None
        actions = [action for action in actions if int(action.updated_at) >= since]
    if marker := call.query.get("marker"):
        places = [index for index, action in enumerate(actions) if action.request_id == marker]
        if not places:
            raise BadRequestError(f"Marker {marker} could not be found.")
        actions = actions[places[0] + 1 :]
    limit = call.limit()
    actions = actions[:limit]
    body: dict[str, Any] = {"instanceActions": [_view(call, action) for action in actions]}
    if actions and len(actions) == limit:
        body["links"] = call.next_link(f"/servers/{server.id}/os-instance-actions", actions[-1].request_id)
    return Reply(200, body)


def _show(call: Call) -> Reply:
    server, request_id = _server(call), call.params["request"]
    for action in server.actions:
        if action.request_id == request_id:
            view = _view(call, action)
            if call.caller.is_admin or call.since(51):
                view["events"] = [_event(call, server, event) for event in reversed(action.events)]
            return Reply(200, {"instanceAction": view})
    raise NotFoundError(f"Action {request_id} not found")


def _view(call: Call, action: InstanceAction) -> dict[str, Any]:
    view = {
        "action": action.name,
        "instance_uuid": action.server_id,
        "request_id": action.request_id,
        "user_id": action.user_id,
        "project_id": action.project_id,
        "start_time": database(action.started_at),
        "message": action.message,
    }
    if call.since(58):
        view["updated_at"] = database(action.updated_at)
    return view


def _event(call: Call, server: Server, event: ActionEvent) -> dict[str, Any]:
    view: dict[str, Any] = {
        "event": event.name,
        "start_time": database(event.started_at),
        "finish_time": database(event.finished_at),
        "result": event.result,
    }
    if call.caller.is_admin:
        view["traceback"] = event.traceback
    if call.since(62):
        if call.caller.is_admin:
            view["host"] = event.host
        view["hostId"] = host_id(server.project_id, event.host)
    if call.since(84) and call.caller.is_admin:
        view["details"] = event.details
    return view


ROUTES = [
    Route("GET", "/servers/{id}/os-instance-actions", _list),
    Route("GET", "/servers/{id}/os-instance-actions/{request}", _show),
]
