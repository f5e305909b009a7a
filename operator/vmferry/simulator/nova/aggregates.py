"""`/os-aggregates`: host aggregates; metadata with an `availability_zone` makes its hosts members of that zone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from vmferry.simulator.clock import database
from vmferry.simulator.cloud import Cloud
from vmferry.simulator.errors import BadRequestError, ConflictError, NotFoundError
from vmferry.simulator.model import Aggregate
from vmferry.simulator.nova.schema import check_object, text
from vmferry.simulator.web import Call, Reply, Route

_RULE = "os_compute_api:os-aggregates"


def new_aggregate(cloud: Cloud, name: str, zone: str | None) -> Aggregate:
    metadata = {"availability_zone": zone} if zone else {}
    number = max(cloud.aggregates, default=0) + 1
    aggregate = Aggregate(number, cloud.new_uuid(), name, cloud.now, metadata=metadata)
    cloud.aggregates[aggregate.id] = aggregate
    return aggregate


def _view(call: Call, aggregate: Aggregate) -> dict[str, Any]:
    view: dict[str, Any] = {
        "id": aggregate.id,
        "name": aggregate.name,
        "hosts": list(aggregate.hosts),
        "metadata": aggregate.metadata,
        "availability_zone": aggregate.zone,
        "created_at": database(aggregate.created_at),
        "updated_at": None,
        "deleted": False,
        "deleted_at": None,
    }
    return view | ({"uuid": aggregate.uuid} if call.since(41) else {})


def _find(call: Call, action: str) -> Aggregate:
    call.require(f"{_RULE}:{action}")
    number = call.params["id"]
    if not number.isdigit():
        raise BadRequestError("Invalid input received: id must be an integer")
    aggregate = call.cloud.aggregates.get(int(number))
    if aggregate is None:
        raise NotFoundError(f"Aggregate {number} could not be found.")
    return aggregate


def _list(call: Call) -> Reply:
    call.require(f"{_RULE}:index")
    return Reply(200, {"aggregates": [_view(call, entry) for entry in call.cloud.aggregates.values()]})


def _show(call: Call) -> Reply:
    return Reply(200, {"aggregate": _view(call, _find(call, "show"))})


def _create(call: Call) -> Reply:
    call.require(f"{_RULE}:create")
    wanted = check_object(
        "aggregate", (call.body or {}).get("aggregate"), required=("name",), optional=("availability_zone",)
    )
    name = text("name", wanted["name"]) or ""
    if any(aggregate.name == name for aggregate in call.cloud.aggregates.values()):
        raise ConflictError(f"Aggregate {name} already exists.")
    view = _view(call, new_aggregate(call.cloud, name, wanted.get("availability_zone")))
    return Reply(200, {"aggregate": {key: value for key, value in view.items() if key not in ("hosts", "metadata")}})


def _update(call: Call) -> Reply:
    aggregate = _find(call, "update")
    wanted = check_object("aggregate", (call.body or {}).get("aggregate"), optional=("name", "availability_zone"))
    if "name" in wanted:
        aggregate.name = text("name", wanted["name"]) or aggregate.name
    if "availability_zone" in wanted:
        _set_zone(call, aggregate, wanted["availability_zone"])
    return Reply(200, {"aggregate": _view(call, aggregate)})


def _set_zone(call: Call, aggregate: Aggregate, zone: str | None) -> None:
    if zone:
        aggregate.metadata = {**aggregate.metadata, "availability_zone": zone}
    else:
        aggregate.metadata = {k: v for k, v in aggregate.metadata.items() if k != "availability_zone"}


def _delete(call: Call) -> Reply:
    aggregate = _find(call, "delete")
    if aggregate.hosts:
        raise BadRequestError(f"Cannot remove aggregate {aggregate.id}. Reason: Host aggregate is not empty.")
    del call.cloud.aggregates[aggregate.id]
    return Reply(200)


def _act(call: Call) -> Reply:
    body = call.body
    name = next(iter(body)) if isinstance(body, dict) and len(body) == 1 else ""
    handler = _ACTIONS.get(name)
    if handler is None:
        raise BadRequestError(f"There is no such action: {name}" if name else "Malformed request body")
    aggregate = _find(call, name)
    required = "metadata" if name == "set_metadata" else "host"
    handler(call, aggregate, check_object(name, body[name], required=(required,)))
    return Reply(200, {"aggregate": _view(call, aggregate)})


def _add_host(call: Call, aggregate: Aggregate, wanted: Mapping[str, Any]) -> None:
    host = str(wanted["host"])
    if host not in call.cloud.hosts:
        raise NotFoundError(f"Compute host {host} could not be found.")
    if host in aggregate.hosts:
        raise ConflictError(f"Aggregate {aggregate.id} already has host {host}.")
    other = next((entry.zone for entry in call.cloud.aggregates_of(host) if entry.zone), None)
    if aggregate.zone and other and other != aggregate.zone:
        raise ConflictError(
            f"Cannot add host to aggregate {aggregate.id}. Reason: One or more hosts already in availability zone(s) "
            f"['{other}']."
        )
    aggregate.hosts.append(host)


def _remove_host(call: Call, aggregate: Aggregate, wanted: Mapping[str, Any]) -> None:
    host = str(wanted["host"])
    if host not in aggregate.hosts:
        raise NotFoundError(f"Cannot remove host {host} in aggregate {aggregate.id}")
    aggregate.hosts.remove(host)


def _set_metadata(call: Call, aggregate: Aggregate, wanted: Mapping[str, Any]) -> None:
    for key, value in wanted["metadata"].items():
        if value is None:
            aggregate.metadata.pop(key, None)
        else:
            aggregate.metadata[key] = str(value)


_ACTIONS: dict[str, Callable[[Call, Aggregate, Mapping[str, Any]], None]] = {
    "add_host": _add_host,
    "remove_host": _remove_host,
    "set_metadata": _set_metadata,
}

ROUTES = [
    Route("GET", "/os-aggregates", _list),
    Route("POST", "/os-aggregates", _create),
    Route("GET", "/os-aggregates/{id}", _show),
    Route("PUT", "/os-aggregates/{id}", _update),
    Route("DELETE", "/os-aggregates/{id}", _delete),
    Route("POST", "/os-aggregates/{id}/action", _act),
]
