"""`/flavors` and their extra specs."""

from __future__ import annotations

from typing import Any

from vmferry.simulator.errors import ConflictError, NotFoundError
from vmferry.simulator.model import Flavor
from vmferry.simulator.nova.schema import check_object, invalid
from vmferry.simulator.web import Call, Reply, Route

_RULE = "os_compute_api:os-flavor-manage"


def _links(call: Call, flavor: Flavor) -> list[dict[str, str]]:
    bookmark = call.base.removesuffix("/v2.1")
    return [
        {"rel": "self", "href": f"{call.base}/flavors/{flavor.id}"},
        {"rel": "bookmark", "href": f"{bookmark}/flavors/{flavor.id}"},
    ]


def _basic(call: Call, flavor: Flavor) -> dict[str, Any]:
    view: dict[str, Any] = {"id": flavor.id, "name": flavor.name, "links": _links(call, flavor)}
    return view | ({"description": flavor.description} if call.since(55) else {})


def _full(call: Call, flavor: Flavor) -> dict[str, Any]:
    view = _basic(call, flavor) | {
        "ram": flavor.ram_mb,
        "disk": flavor.disk_gb,
        "vcpus": flavor.vcpus,
        # No swap is an empty string below 2.75 and 0 from 2.75 on.
        "swap": flavor.swap_mb or (0 if call.since(75) else ""),
        "OS-FLV-EXT-DATA:ephemeral": flavor.ephemeral_gb,
        "os-flavor-access:is_public": flavor.public,
    }
    if not call.since(102):
        view |= {"rxtx_factor": 1.0, "OS-FLV-DISABLED:disabled": False}
    return view | ({"extra_specs": flavor.extra_specs} if call.since(61) else {})


def _find(call: Call) -> Flavor:
    flavor = call.cloud.flavors.get(call.params["id"])
    if flavor is None:
        raise NotFoundError(f"Flavor {call.params['id']} could not be found.")
    return flavor


def _pages(call: Call, *, detail: bool) -> Reply:
    flavors = [f for f in call.cloud.flavors.values() if f.public or call.caller.is_admin]
    if marker := call.query.get("marker"):
        ids = [flavor.id for flavor in flavors]
        flavors = flavors[ids.index(marker) + 1 :] if marker in ids else []
    limit = call.limit()
    flavors = flavors[:limit]
    body: dict[str, Any] = {"flavors": [(_full if detail else _basic)(call, flavor) for flavor in flavors]}
    if flavors and len(flavors) == limit:
        body["flavors_links"] = call.next_link("/flavors/detail" if detail else "/flavors", flavors[-1].id)
    return Reply(200, body)


def _list(call: Call) -> Reply:
    return _pages(call, detail=False)


def _detail(call: Call) -> Reply:
    return _pages(call, detail=True)


def _show(call: Call) -> Reply:
    return Reply(200, {"flavor": _full(call, _find(call))})


def _create(call: Call) -> Reply:
    call.require(f"{_RULE}:create")
    wanted = check_object(
        "flavor",
        (call.body or {}).get("flavor"),
        required=("name", "ram", "vcpus", "disk"),
        optional=(
            "id",
            "swap",
            "OS-FLV-EXT-DATA:ephemeral",
            "rxtx_factor",
            "os-flavor-access:is_public",
            "description",
        ),
    )
    flavor_id = str(wanted.get("id") or "auto")
    if flavor_id == "auto":
        flavor_id = call.cloud.new_uuid()
    if flavor_id in call.cloud.flavors:
        raise ConflictError(f"Flavor with ID {flavor_id} already exists.")
    if any(flavor.name == wanted["name"] for flavor in call.cloud.flavors.values()):
        raise ConflictError(f"Flavor with name {wanted['name']} already exists.")
    flavor = Flavor(
        id=flavor_id,
        name=str(wanted["name"]),
        vcpus=int(wanted["vcpus"]),
        ram_mb=int(wanted["ram"]),
        disk_gb=int(wanted["disk"]),
        ephemeral_gb=int(wanted.get("OS-FLV-EXT-DATA:ephemeral") or 0),
        swap_mb=int(wanted.get("swap") or 0),
        public=bool(wanted.get("os-flavor-access:is_public", True)),
        description=wanted.get("description"),
    )
    call.cloud.flavors[flavor.id] = flavor
    return Reply(200, {"flavor": _full(call, flavor)})


def _delete(call: Call) -> Reply:
    call.require(f"{_RULE}:delete")
    del call.cloud.flavors[_find(call).id]
    return Reply(202)


def _specs(call: Call) -> Reply:
    return Reply(200, {"extra_specs": _find(call).extra_specs})


def _add_specs(call: Call) -> Reply:
    call.require("os_compute_api:os-flavor-extra-specs:create")
    flavor, wanted = _find(call), (call.body or {}).get("extra_specs")
    if not isinstance(wanted, dict):
        raise invalid("extra_specs", wanted, f"{wanted!r} is not of type 'object'")
    flavor.extra_specs = flavor.extra_specs | {str(key): str(value) for key, value in wanted.items()}
    return Reply(200, {"extra_specs": wanted})


def _delete_spec(call: Call) -> Reply:
    call.require("os_compute_api:os-flavor-extra-specs:delete")
    flavor, key = _find(call), call.params["key"]
    if key not in flavor.extra_specs:
        raise NotFoundError(f"Flavor {flavor.id} has no extra specs with key {key}.")
    flavor.extra_specs = {name: value for name, value in flavor.extra_specs.items() if name != key}
    return Reply(200)


ROUTES = [
    Route("GET", "/flavors", _list),
    Route("GET", "/flavors/detail", _detail),
    Route("POST", "/flavors", _create),
    Route("GET", "/flavors/{id}", _show),
    Route("DELETE", "/flavors/{id}", _delete),
    Route("GET", "/flavors/{id}/os-extra_specs", _specs),
    Route("POST", "/flavors/{id}/os-extra_specs", _add_specs),
    Route("DELETE", "/flavors/{id}/os-extra_specs/{key}", _delete_spec),
]
