"""Migrations in two forms: `/os-migrations` lists all, without progress; `/servers/{id}/migrations` lists live
migrations in progress, with their bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vmferry.simulator import live_migration
from vmferry.simulator.clock import database, parse
from vmferry.simulator.errors import BadRequestError, NotFoundError
from vmferry.simulator.live_migration import IN_PROGRESS
from vmferry.simulator.model import Flavor, Migration, Server
from vmferry.simulator.web import Call, Reply, Route

_QUERY = (
    "changes-before",
    "changes-since",
    "hidden",
    "host",
    "instance_uuid",
    "limit",
    "marker",
    "migration_type",
    "source_compute",
    "status",
)


def _all(call: Call) -> Reply:
    call.require("os_compute_api:os-migrations:index")
    call.only(*_QUERY, *(("user_id", "project_id") if call.since(80) else ()), since=59)
    rows = _filtered(call)
    if not call.since(59):
        return Reply(200, {"migrations": [_view(call, migration) for migration in rows]})
    rows.reverse()
    limit = call.limit()
    if marker := call.query.get("marker"):
        places = [index for index, migration in enumerate(rows) if migration.uuid == marker]
        if not places:
            raise BadRequestError(f"Marker {marker} could not be found.")
        rows = rows[places[0] + 1 :]
    rows = rows[:limit]
    body: dict[str, Any] = {"migrations": [_view(call, migration) for migration in rows]}
    if rows and len(rows) == limit:
        body["migrations_links"] = call.next_link("/os-migrations", rows[-1].uuid)
    return Reply(200, body)


def _filtered(call: Call) -> list[Migration]:
    """The migrations that match the query, oldest first."""
    query, cloud = call.query, call.cloud
    tests: list[Callable[[Migration], bool]] = []
    if "status" in query:
        statuses = query.getall("status")
        tests.append(lambda migration: migration.status in statuses)
    if "host" in query:
        tests.append(lambda migration: query["host"] in (migration.source, migration.destination))
    elif "source_compute" in query:
        tests.append(lambda migration: migration.source == query["source_compute"])
    if "migration_type" in query:
        tests.append(lambda migration: migration.type == query["migration_type"])
    if call.since(80) and "user_id" in query:
        tests.append(lambda migration: migration.user_id == query["user_id"])
    if call.since(80) and "project_id" in query:
        tests.append(lambda migration: migration.project_id == query["project_id"])
    # A row that was never updated has `updated_at` NULL, and an SQL comparison with NULL excludes it.
    if call.since(59) and "changes-since" in query:
        since = int(_instant(query["changes-since"], "changes-since"))
        tests.append(lambda migration: (moment := _updated(call, migration)) is not None and int(moment) >= since)
    if call.since(66) and "changes-before" in query:
        before = int(_instant(query["changes-before"], "changes-before"))
        tests.append(lambda migration: (moment := _updated(call, migration)) is not None and int(moment) <= before)
    rows = cloud.migrations_of(query["instance_uuid"]) if "instance_uuid" in query else cloud.migrations.values()
    # Nova deletes the migrations of a server together with the server.
    tests.append(lambda migration: cloud.servers[migration.server_id].deleted_at is None)
    tests.append(lambda migration: not cloud.is_unreachable(cloud.servers[migration.server_id]))
    return [migration for migration in rows if all(test(migration) for test in tests)]


def _instant(value: str, name: str) -> float:
    try:
        return parse(value)
    except ValueError:
        raise BadRequestError(
            f"Invalid input for query parameters {name}. Value: {value}. {value!r} is not a 'date-time'"
        ) from None


def _updated(call: Call, migration: Migration) -> float | None:
    """When the row was last written; during the copy, Nova writes it continuously."""
    return call.cloud.now if migration.status == "running" and migration.copy else migration.updated_at


def _view(call: Call, migration: Migration) -> dict[str, Any]:
    view: dict[str, Any] = {
        "id": migration.id,
        "status": migration.status,
        "instance_uuid": migration.server_id,
        "source_compute": migration.source or None,
        "source_node": migration.source_node,
        "dest_compute": migration.destination,
        "dest_host": migration.destination_ip,
        "dest_node": migration.destination_node,
        "old_instance_type_id": _flavor_number(call, migration.old_flavor),
        "new_instance_type_id": _flavor_number(call, migration.flavor),
        "created_at": database(migration.created_at),
        "updated_at": database(_updated(call, migration)),
    }
    if call.since(23):
        view["migration_type"] = migration.type
        if migration.type == "live-migration" and migration.status in IN_PROGRESS:
            path = f"servers/{migration.server_id}/migrations/{migration.id}"
            bookmark = call.base.removesuffix("/v2.1")
            view["links"] = [
                {"rel": "self", "href": f"{call.base}/{path}"},
                {"rel": "bookmark", "href": f"{bookmark}/{path}"},
            ]
    if call.since(59):
        view["uuid"] = migration.uuid
    if call.since(80):
        view |= {"user_id": migration.user_id, "project_id": migration.project_id}
    return view


def _flavor_number(call: Call, flavor: Flavor | None) -> int | None:
    """The position of the flavor in the list, where Nova shows its database id."""
    if flavor is None:
        return None
    for number, known in enumerate(call.cloud.flavors.values(), start=1):
        if known is flavor:
            return number
    return None


def _under_way(call: Call) -> Reply:
    server = _server(call)
    call.require("os_compute_api:servers:migrations:index")
    rows = [m for m in call.cloud.migrations_of(server.id) if m.type == "live-migration" and m.status in IN_PROGRESS]
    return Reply(200, {"migrations": [_progress_view(call, migration) for migration in rows]})


def _show(call: Call) -> Reply:
    server, number = _server(call), call.params["migration"]
    call.require("os_compute_api:servers:migrations:show")
    migration = call.cloud.migrations.get(int(number)) if number.isdigit() else None
    if migration is None or migration.server_id != server.id:
        raise NotFoundError(f"In-progress live migration {number} is not found for server {server.id}.")
    if migration.type != "live-migration":
        raise NotFoundError(f"Migration {number} for server {server.id} is not live-migration.")
    if migration.status not in IN_PROGRESS:
        raise NotFoundError(f"Live migration {number} for server {server.id} is not in progress.")
    return Reply(200, {"migration": _progress_view(call, migration)})


def _progress_view(call: Call, migration: Migration) -> dict[str, Any]:
    view: dict[str, Any] = {
        "created_at": database(migration.created_at),
        "dest_compute": migration.destination,
        "dest_host": migration.destination_ip,
        "dest_node": migration.destination_node,
        "id": migration.id,
        "server_uuid": migration.server_id,
        "source_compute": migration.source,
        "source_node": migration.source_node,
        "status": migration.status,
        "updated_at": database(_updated(call, migration)),
    }
    for kind, total in _totals(migration).items():
        done = None
        if total is not None and migration.copy is not None:
            done = int(total * migration.copy.fraction(call.cloud.now))
        view[f"{kind}_total_bytes"] = total
        view[f"{kind}_processed_bytes"] = done
        view[f"{kind}_remaining_bytes"] = None if total is None or done is None else total - done
    if call.since(59):
        view["uuid"] = migration.uuid
    if call.since(80):
        view |= {"user_id": migration.user_id, "project_id": migration.project_id}
    return view


def _totals(migration: Migration) -> dict[str, int | None]:
    """The total bytes, which are unknown until the copy runs."""
    copy = migration.copy
    return {"memory": copy.memory_bytes if copy else None, "disk": copy.disk_bytes if copy else None}


def _abort(call: Call) -> Reply:
    server = _server(call)
    call.require("os_compute_api:servers:migrations:delete")
    live_migration.abort(call.cloud, server, _number(call, server), call.caller, queued_too=call.since(65))
    return Reply(202)


def _act(call: Call) -> Reply:
    server = _server(call)
    if not isinstance(call.body, dict) or list(call.body) != ["force_complete"]:
        raise BadRequestError("Malformed request body")
    call.require("os_compute_api:servers:migrations:force_complete")
    live_migration.force_complete(call.cloud, server, _number(call, server), call.caller)
    return Reply(202)


def _number(call: Call, server: Server) -> int:
    text = call.params["migration"]
    if not text.isdigit():
        raise NotFoundError(f"Migration {text} not found for instance {server.id}")
    return int(text)


def _server(call: Call) -> Server:
    return call.cloud.find_server(call.params["id"], call.caller)


ROUTES = [
    Route("GET", "/os-migrations", _all),
    Route("GET", "/servers/{id}/migrations", _under_way, since=23),
    Route("GET", "/servers/{id}/migrations/{migration}", _show, since=23),
    Route("DELETE", "/servers/{id}/migrations/{migration}", _abort, since=24),
    Route("POST", "/servers/{id}/migrations/{migration}/action", _act, since=22),
]
