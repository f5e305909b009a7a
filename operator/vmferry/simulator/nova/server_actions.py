"""`POST /servers/{id}/action`: a table with an entry for each action."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vmferry.simulator import cold_migration, evacuation, lifecycle, live_migration
from vmferry.simulator.errors import BadRequestError, NotFoundError
from vmferry.simulator.guards import require_unlocked
from vmferry.simulator.live_migration import Order
from vmferry.simulator.model import Server
from vmferry.simulator.nova.schema import BOOLEAN, boolean, check_object, one_of, text
from vmferry.simulator.web import Call, Reply, Route

_ACCEPTED = Reply(202)
#: actions for which Nova looks up the server's cell mapping, so that their 404 has another text
_FOUND_BY_MAPPING = ("os-start", "os-stop")
_FORCE_WITHOUT_HOST = "Can't force to a non-provided destination"


def _action(call: Call) -> Reply:
    body = call.body
    if not isinstance(body, dict) or len(body) != 1:
        raise BadRequestError("Malformed request body")
    name = next(iter(body))
    handler = _ACTIONS.get(name)
    if handler is None:
        raise BadRequestError(f"There is no such action: {name}")
    return handler(call, body[name])


def _server(call: Call) -> Server:
    return call.cloud.find_server(call.params["id"], call.caller)


def _live_migrate(call: Call, value: Any) -> Reply:
    required: tuple[str, ...] = ("block_migration", "host")
    optional: tuple[str, ...] = ()
    if not call.since(25):
        required = (*required, "disk_over_commit")
    if call.since(30) and not call.since(68):
        optional = ("force",)
    wanted = check_object("os-migrateLive", value, required=required, optional=optional)
    host = text("host", wanted["host"], nullable=True) or None
    block: bool | None
    if call.since(25) and one_of("block_migration", wanted["block_migration"], (*BOOLEAN, "auto")) == "auto":
        block = None
    else:
        block = boolean("block_migration", wanted["block_migration"])
    over_commit = None if call.since(25) else boolean("disk_over_commit", wanted["disk_over_commit"])
    force = boolean("force", wanted.get("force", False))
    server = _server(call)
    call.require("os_compute_api:os-migrate-server:migrate_live" + (":host" if host else ""))
    if force and not host:
        raise BadRequestError(_FORCE_WITHOUT_HOST)
    order = Order(
        host=host,
        block=block,
        bypass_scheduler=force or not call.since(30),
        synchronous=not call.since(34),
        disk_over_commit=over_commit,
    )
    live_migration.request(call.cloud, server, order, call.caller)
    return _ACCEPTED


def _migrate(call: Call, value: Any) -> Reply:
    host = None
    if call.since(56):
        wanted = check_object("migrate", value, optional=("host",), nullable=True)
        host = text("host", wanted.get("host"), nullable=True)
    server = _server(call)
    call.require("os_compute_api:os-migrate-server:migrate" + (":host" if host else ""))
    cold_migration.request(call.cloud, server, call.caller, host=host)
    return _ACCEPTED


def _resize(call: Call, value: Any) -> Reply:
    wanted = check_object("resize", value, required=("flavorRef",), optional=("OS-DCF:diskConfig",))
    server = _server(call)
    reference = str(wanted["flavorRef"]).rsplit("/", 1)[-1]
    flavor = call.cloud.flavors.get(reference)
    if flavor is None:
        raise BadRequestError(f"Flavor {reference} could not be found.")
    if flavor is server.flavor:
        raise BadRequestError("When resizing, instances must change flavor!")
    cold_migration.request(call.cloud, server, call.caller, flavor=flavor)
    return _ACCEPTED


def _confirm(call: Call, _value: Any) -> Reply:
    cold_migration.confirm(call.cloud, _server(call), call.caller)
    return Reply(204)


def _revert(call: Call, _value: Any) -> Reply:
    cold_migration.revert(call.cloud, _server(call), call.caller)
    return _ACCEPTED


def _evacuate(call: Call, value: Any) -> Reply:
    required: tuple[str, ...] = () if call.since(14) else ("onSharedStorage",)
    optional: tuple[str, ...] = ("host", "adminPass")
    if call.since(29) and not call.since(68):
        optional = (*optional, "force")
    wanted = check_object("evacuate", value, required=required, optional=optional)
    host = text("host", wanted["host"]) if "host" in wanted else None
    force = boolean("force", wanted.get("force", False))
    server = _server(call)
    call.require("os_compute_api:os-evacuate")
    if force and host is None:
        raise BadRequestError(_FORCE_WITHOUT_HOST)
    evacuation.request(
        call.cloud,
        server,
        call.caller,
        host=host,
        bypass_scheduler=force or not call.since(29),
        stop=call.since(95),
    )
    return Reply(200, None if call.since(14) else {"adminPass": "simulated"})


def _simple(name: str) -> Callable[[Call, Any], Reply]:
    def handler(call: Call, value: Any) -> Reply:
        if name == "reboot":
            kind = check_object("reboot", value, required=("type",))["type"]
            one_of("type", kind, ("HARD", "Hard", "hard", "SOFT", "Soft", "soft"))
        if name in _FOUND_BY_MAPPING and call.params["id"] not in call.cloud.servers:
            raise NotFoundError(f"Instance {call.params['id']} has no mapping to a cell.")
        lifecycle.change(call.cloud, _server(call), name, call.caller)
        return Reply(200, {"adminPass": "simulated"}) if name == "rescue" else _ACCEPTED

    return handler


def _unshelve(call: Call, value: Any) -> Reply:
    optional: tuple[str, ...] = ()
    if call.since(77):
        optional = ("availability_zone", "host") if call.since(91) else ("availability_zone",)
    wanted = check_object("unshelve", value, optional=optional, nullable=True)
    host, zone = wanted.get("host"), wanted.get("availability_zone")
    server = _server(call)
    if host:
        call.require("os_compute_api:os-shelve:unshelve_to_host")
    lifecycle.unshelve(call.cloud, server, call.caller, host=host, zone=zone)
    return _ACCEPTED


def _lock(call: Call, value: Any) -> Reply:
    reason = None
    if call.since(73):
        wanted = check_object("lock", value, optional=("locked_reason",), nullable=True)
        reason = text("locked_reason", wanted["locked_reason"]) if "locked_reason" in wanted else None
    server = _server(call)
    server.locked_by = "admin" if call.caller.is_admin else "owner"
    server.locked_reason = reason
    call.cloud.record(server, "lock", call.caller)
    call.cloud.touch(server)
    return _ACCEPTED


def _unlock(call: Call, _value: Any) -> Reply:
    server = _server(call)
    if server.locked_by == "admin":
        call.require("os_compute_api:os-lock-server:unlock:unlock_override")
    server.locked_by = server.locked_reason = None
    call.cloud.record(server, "unlock", call.caller)
    call.cloud.touch(server)
    return _ACCEPTED


def _reset_state(call: Call, value: Any) -> Reply:
    state = one_of("state", check_object("os-resetState", value, required=("state",))["state"], ("active", "error"))
    server = _server(call)
    call.require("os_compute_api:os-admin-actions:reset_state")
    require_unlocked(server, call.caller)
    lifecycle.reset_state(call.cloud, server, state, call.caller)
    return _ACCEPTED


_ACTIONS: dict[str, Callable[[Call, Any], Reply]] = {
    "os-migrateLive": _live_migrate,
    "migrate": _migrate,
    "resize": _resize,
    "confirmResize": _confirm,
    "revertResize": _revert,
    "evacuate": _evacuate,
    "unshelve": _unshelve,
    "lock": _lock,
    "unlock": _unlock,
    "os-resetState": _reset_state,
    **{name: _simple(name) for name in lifecycle.CHANGES},
}

ROUTES = [Route("POST", "/servers/{id}/action", _action)]
