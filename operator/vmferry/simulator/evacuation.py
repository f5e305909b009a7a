"""Evacuation: rebuild a server of a dead host on another host.

accepted -> pre-migrating -> done -> completed (once the source's nova-compute is back)
"""

from __future__ import annotations

from vmferry.simulator.cloud import CONTROLLER, Cloud
from vmferry.simulator.errors import BadRequestError, NotFoundError, RefusalError
from vmferry.simulator.guards import require_state
from vmferry.simulator.model import RUNNING, SHUTDOWN, Caller, Host, InstanceAction, Migration, Server
from vmferry.simulator.scheduling import Wish, select


def request(
    cloud: Cloud, server: Server, caller: Caller, *, host: str | None, bypass_scheduler: bool, stop: bool
) -> None:
    """POST evacuate. `stop`: from microversion 2.95 the server is stopped afterwards.

    Raises NotFoundError, BadRequestError, ConflictError.
    """
    if host is not None and host not in cloud.hosts:
        raise NotFoundError(f"Compute host {host} not found.")
    if host is not None and host == server.host:
        raise BadRequestError("The target host can't be the same one.")
    # Nova does not check the task here, so a second evacuation can start while the first runs.
    require_state(server, "evacuate", "active", "stopped", "error", task=server.task_state)
    source = cloud.hosts[server.host or ""]
    if cloud.is_up(source):
        raise BadRequestError(f"Compute service of {source.name} is still in use.")
    cloud.set_task(server, "rebuilding")
    action = cloud.record(server, "evacuate", caller)
    migration = cloud.add_migration(server, "evacuation", caller, destination=host)
    migration.action, migration.source_node = action, server.host

    def conduct() -> None:
        action.begin("rebuild_server", CONTROLLER, cloud.now)
        try:
            target = _destination(cloud, server, source, host, bypass_scheduler=bypass_scheduler)
        except RefusalError as refusal:
            cloud.set_status(migration, "error")
            action.end("rebuild_server", cloud.now, error=refusal.message)
            cloud.fail_server(server, refusal.message)
            return
        migration.destination = migration.destination_node = target.name
        migration.destination_ip = target.ip
        # Until the source is back, the server has allocations on both hosts.
        cloud.ledger.claim(
            server.id, target.uuid, server.resources(), project_id=server.project_id, user_id=server.user_id
        )
        action.end("rebuild_server", cloud.now)
        cloud.cast(target.name, 0, lambda: _rebuild(cloud, server, migration, stop=stop))

    cloud.clock.after(cloud.settings.durations.migration_row, conduct)


def clean_up_on_restart(cloud: Cloud, source: Host) -> None:
    """At startup, the source removes its copies of evacuated servers and completes their migration records."""
    for migration in cloud.migrations.values():
        if migration.type == "evacuation" and migration.source == source.name and migration.status == "done":
            cloud.set_status(migration, "completed")
            server = cloud.servers[migration.server_id]
            if server.host != source.name:
                cloud.ledger.release(server.id, source.uuid)


def _destination(cloud: Cloud, server: Server, source: Host, host: str | None, *, bypass_scheduler: bool) -> Host:
    if host is not None and bypass_scheduler:
        return cloud.hosts[host]
    return select(cloud, Wish(server, server.flavor, ignore=(source.name,), only=host))


def _rebuild(cloud: Cloud, server: Server, migration: Migration, *, stop: bool) -> None:
    destination, action = migration.destination or "", _action(migration)
    action.begin("compute_rebuild_instance", destination, cloud.now)
    cloud.set_status(migration, "pre-migrating")
    cloud.set_task(server, "rebuild_spawning")
    before = server.vm_state
    # a server in ERROR is always started: its state before the error is unknown
    stopped = before == "stopped" or (stop and before != "error")

    def finish() -> None:
        cloud.place(server, destination)
        server.vm_state = "stopped" if stopped else "active"
        server.power_state = SHUTDOWN if server.vm_state == "stopped" else RUNNING
        server.fault = None
        server.launched_at = cloud.now
        server.guest_cpu = cloud.guest_cpu(cloud.hosts[destination])
        cloud.set_task(server, None)
        cloud.set_status(migration, "done")
        if server.vm_state == "stopped":
            action.begin("compute_stop_instance", destination, cloud.now)
            action.end("compute_stop_instance", cloud.now)
        action.end("compute_rebuild_instance", cloud.now)

    cloud.cast(destination, cloud.settings.durations.evacuate, finish)


def _action(migration: Migration) -> InstanceAction:
    assert migration.action is not None
    return migration.action
