"""`/os-server-groups`: affinity and anti-affinity of servers."""

from __future__ import annotations

from typing import Any

from vmferry.simulator.errors import BadRequestError, NotFoundError
from vmferry.simulator.model import ServerGroup
from vmferry.simulator.nova.schema import check_object, one_of, text
from vmferry.simulator.web import Call, Reply, Route

_POLICIES = ("anti-affinity", "affinity")
_SOFT_TOO = (*_POLICIES, "soft-anti-affinity", "soft-affinity")


def _view(call: Call, group: ServerGroup) -> dict[str, Any]:
    servers = call.cloud.servers
    view: dict[str, Any] = {"id": group.id, "name": group.name}
    if call.since(64):
        rules = {"max_server_per_host": group.max_server_per_host} if group.max_server_per_host > 1 else {}
        view |= {"policy": group.policy, "rules": rules}
    else:
        view |= {"policies": [group.policy], "metadata": {}}
    view["members"] = [m for m in group.members if m in servers and servers[m].deleted_at is None]
    if call.since(13):
        view |= {"project_id": group.project_id, "user_id": group.user_id}
    return view


def _find(call: Call) -> ServerGroup:
    group = call.cloud.groups.get(call.params["id"])
    if group is None or not (call.caller.is_admin or group.project_id == call.caller.project_id):
        raise NotFoundError(f"Instance group {call.params['id']} could not be found.")
    return group


def _list(call: Call) -> Reply:
    everyone = "all_projects" in call.query and call.caller.is_admin
    groups = [g for g in call.cloud.groups.values() if everyone or g.project_id == call.caller.project_id]
    offset = int(call.query.get("offset", "0"))
    page = groups[offset : offset + call.limit()]
    return Reply(200, {"server_groups": [_view(call, group) for group in page]})


def _show(call: Call) -> Reply:
    return Reply(200, {"server_group": _view(call, _find(call))})


def _create(call: Call) -> Reply:
    body = (call.body or {}).get("server_group")
    if call.since(64):
        wanted = check_object("server_group", body, required=("name", "policy"), optional=("rules",))
        policy, rules = wanted["policy"], wanted.get("rules") or {}
    else:
        wanted = check_object("server_group", body, required=("name", "policies"))
        policy, rules = (wanted["policies"] or [""])[0], {}
    one_of("policy", policy, _SOFT_TOO if call.since(15) else _POLICIES)
    if rules and policy != "anti-affinity":
        raise BadRequestError("Only anti-affinity policy supports rules.")
    group = ServerGroup(
        id=call.cloud.new_uuid(),
        name=text("name", wanted["name"]) or "",
        policy=policy,
        project_id=call.caller.project_id,
        user_id=call.caller.user_id,
        max_server_per_host=int(rules.get("max_server_per_host", 1)),
    )
    call.cloud.groups[group.id] = group
    return Reply(200, {"server_group": _view(call, group)})


def _delete(call: Call) -> Reply:
    group = _find(call)
    del call.cloud.groups[group.id]
    return Reply(204)


ROUTES = [
    Route("GET", "/os-server-groups", _list),
    Route("POST", "/os-server-groups", _create),
    Route("GET", "/os-server-groups/{id}", _show),
    Route("DELETE", "/os-server-groups/{id}", _delete),
]
