"""Cold migration and resize, which share one implementation and end with a confirmation.

accepted -> pre-migrating -> migrating -> post-migrating -> finished -> confirmed | reverted
"""

from __future__ import annotations

from vmferry.simulator.cloud import CONTROLLER, Cloud
from vmferry.simulator.errors import BadRequestError, ConflictError, NoValidHostError, RefusalError
from vmferry.simulator.guards import require_state, require_unlocked
from vmferry.simulator.model import RUNNING, SHUTDOWN, Caller, Flavor, Host, InstanceAction, Migration, Server
from vmferry.simulator.scheduling import Wish, select


def request(
    cloud: Cloud, server: Server, caller: Caller, *, host: str | None = None, flavor: Flavor | None = None
) -> None:
    """POST migrate, or resize when `flavor` is given. Raises ConflictError, BadRequestError."""
    verb = "migrate" if flavor is None else "resize"
    require_unlocked(server, caller)
    require_state(server, verb, "active", "stopped")
    source = cloud.hosts.get(server.host or "")
    if source is None or not cloud.is_up(source):
        raise ConflictError("Service is unavailable at this time.")
    if host is not None:
        if host == server.host:
            raise BadRequestError("Cannot migrate to the host where the server exists.")
        if host not in cloud.hosts:
            raise BadRequestError(f"Compute host {host} could not be found.")
    cloud.set_task(server, "resize_prep")
    action = cloud.record(server, verb, caller)
    wanted = flavor or server.flavor

    def conduct() -> None:
        if server.deleted_at is None:
            _conduct(cloud, server, caller, action, Wish(server, wanted, ignore=(source.name,), only=host))

    cloud.clock.after(cloud.settings.durations.migration_row, conduct)


def confirm(cloud: Cloud, server: Server, caller: Caller) -> None:
    """POST confirmResize.  Raises ConflictError, BadRequestError."""
    require_unlocked(server, caller)
    require_state(server, "confirmResize", "resized")
    migration = _finished(cloud, server)
    cloud.set_status(migration, "confirming")
    action = cloud.record(server, "confirmResize", caller)

    def confirm_at_source() -> None:
        action.begin("compute_confirm_resize", migration.source, cloud.now)
        cloud.set_status(migration, "confirmed")
        cloud.ledger.release(migration.uuid)
        cloud.clock.after(cloud.settings.durations.confirm_post, finish)

    def finish() -> None:
        _back_to_old_state(cloud, server)
        action.end("compute_confirm_resize", cloud.now)

    cloud.cast(migration.source, cloud.settings.durations.confirm, confirm_at_source)


def revert(cloud: Cloud, server: Server, caller: Caller) -> None:
    """POST revertResize.  Raises ConflictError, BadRequestError."""
    require_unlocked(server, caller)
    require_state(server, "revertResize", "resized")
    migration = _finished(cloud, server)
    cloud.set_task(server, "resize_reverting")
    cloud.set_status(migration, "reverting")
    action = cloud.record(server, "revertResize", caller)
    half = cloud.settings.durations.revert / 2

    def at_destination() -> None:
        action.begin("compute_revert_resize", migration.destination or "", cloud.now)
        action.end("compute_revert_resize", cloud.now)
        action.begin("compute_finish_revert_resize", migration.source, cloud.now)
        cloud.cast(migration.source, half, at_source)

    def at_source() -> None:
        cloud.ledger.release(server.id)
        cloud.ledger.hand_over(migration.uuid, server.id)
        if server.old_flavor is not None:
            server.flavor = server.old_flavor
        cloud.place(server, migration.source)
        cloud.set_status(migration, "reverted")
        _back_to_old_state(cloud, server)
        action.end("compute_finish_revert_resize", cloud.now)

    cloud.cast(migration.destination or "", half, at_destination)


def _conduct(cloud: Cloud, server: Server, caller: Caller, action: InstanceAction, wish: Wish) -> None:
    resize = wish.flavor is not server.flavor
    migration = cloud.add_migration(server, "resize" if resize else "migration", caller)
    migration.action, migration.flavor, migration.source_node = action, wish.flavor, server.host
    action.begin("conductor_migrate_server", CONTROLLER, cloud.now)
    action.begin("cold_migrate", CONTROLLER, cloud.now)
    cloud.ledger.hand_over(server.id, migration.uuid)
    try:
        destination = select(cloud, wish)
    except RefusalError:
        cloud.ledger.hand_over(migration.uuid, server.id)
        cloud.set_status(migration, "error")
        cloud.set_task(server, None)
        reason = "No valid host found for resize" if resize else "No valid host found for cold migrate"
        message = NoValidHostError(reason).message
        action.end("cold_migrate", cloud.now, error=message)
        action.end("conductor_migrate_server", cloud.now, error=message)
        return
    action.end("cold_migrate", cloud.now)
    action.end("conductor_migrate_server", cloud.now)
    cloud.ledger.claim(
        server.id,
        destination.uuid,
        server.resources(wish.flavor),
        project_id=server.project_id,
        user_id=server.user_id,
    )
    cloud.cast(destination.name, 0, lambda: _prepare(cloud, server, migration, destination))


def _prepare(cloud: Cloud, server: Server, migration: Migration, destination: Host) -> None:
    action = _action(migration)
    action.begin("compute_prep_resize", destination.name, cloud.now)
    migration.destination = migration.destination_node = destination.name
    migration.destination_ip = destination.ip
    cloud.set_status(migration, "pre-migrating")
    action.end("compute_prep_resize", cloud.now)
    seconds = cloud.settings.durations.cold_prepare
    cloud.cast(migration.source, seconds, lambda: _move(cloud, server, migration))


def _move(cloud: Cloud, server: Server, migration: Migration) -> None:
    source, action = cloud.hosts[migration.source], _action(migration)
    action.begin("compute_resize_instance", source.name, cloud.now)
    cloud.set_status(migration, "migrating")
    server.old_vm_state, server.old_flavor = server.vm_state, server.flavor
    cloud.set_task(server, "resize_migrating")
    seconds = float(source.knobs.get("cold_seconds", cloud.settings.durations.cold_move))
    if source.knobs.get("fail_cold"):
        cloud.cast(source.name, seconds, lambda: _failed(cloud, server, migration))
    else:
        cloud.cast(source.name, seconds, lambda: _moved(cloud, server, migration))


def _failed(cloud: Cloud, server: Server, migration: Migration) -> None:
    text = cloud.hosts[migration.source].knobs.get("fail_cold")
    message = text if isinstance(text, str) else "Resize error: Unable to resize disk down."
    _action(migration).end("compute_resize_instance", cloud.now, error=message)
    cloud.set_status(migration, "error")
    cloud.ledger.release(server.id)
    cloud.ledger.hand_over(migration.uuid, server.id)
    cloud.fail_server(server, message)


def _moved(cloud: Cloud, server: Server, migration: Migration) -> None:
    action = _action(migration)
    cloud.set_status(migration, "post-migrating")
    server.task_state = "resize_migrated"
    cloud.place(server, migration.destination)
    action.end("compute_resize_instance", cloud.now)
    action.begin("compute_finish_resize", migration.destination or "", cloud.now)
    cloud.set_task(server, "resize_finish")
    cloud.cast(
        migration.destination or "",
        cloud.settings.durations.cold_finish,
        lambda: _finish(cloud, server, migration),
    )


def _finish(cloud: Cloud, server: Server, migration: Migration) -> None:
    if migration.flavor is not None:
        server.flavor = migration.flavor
    cloud.set_status(migration, "finished")
    server.vm_state = "resized"
    server.power_state = SHUTDOWN if server.old_vm_state == "stopped" else RUNNING
    server.launched_at = cloud.now
    cloud.set_task(server, None)
    _action(migration).end("compute_finish_resize", cloud.now)


def _back_to_old_state(cloud: Cloud, server: Server) -> None:
    server.vm_state = "stopped" if server.old_vm_state == "stopped" else "active"
    server.power_state = SHUTDOWN if server.vm_state == "stopped" else RUNNING
    server.old_vm_state = server.old_flavor = None
    cloud.set_task(server, None)


def _finished(cloud: Cloud, server: Server) -> Migration:
    for migration in reversed(cloud.migrations_of(server.id)):
        if migration.status == "finished":
            return migration
    raise BadRequestError("Instance has not been resized.")


def _action(migration: Migration) -> InstanceAction:
    assert migration.action is not None
    return migration.action
