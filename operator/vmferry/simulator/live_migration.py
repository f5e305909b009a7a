"""Live migration as the API, the conductor and the two compute hosts carry it out.

accepted -> [queued] -> preparing -> running -> completed | failed | cancelled | error
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vmferry.simulator.cloud import CONTROLLER, Cloud
from vmferry.simulator.errors import (
    ApiError,
    BadRequestError,
    ConflictError,
    NotFoundError,
    NoValidHostError,
    RefusalError,
)
from vmferry.simulator.guards import require_state, require_unlocked
from vmferry.simulator.model import (
    CRASHED,
    NO_STATE,
    PAUSED,
    RUNNING,
    SHUTDOWN,
    SUSPENDED,
    Caller,
    Copy,
    Host,
    InstanceAction,
    Migration,
    Server,
)
from vmferry.simulator.scheduling import Wish, select

_CHECK_DESTINATION = "compute_check_can_live_migrate_destination"
_CHECK_SOURCE = "compute_check_can_live_migrate_source"
_START = "compute_live_migration"
_PRE = "compute_pre_live_migration"
_POST = "compute_post_live_migration_at_destination"
_ROLLBACK = "compute_rollback_live_migration_at_destination"
#: statuses in which `/servers/{id}/migrations` lists the migration
IN_PROGRESS = ("queued", "preparing", "running", "post-migrating")


@dataclass(frozen=True, slots=True)
class Order:
    """What the caller requested, after the microversion's semantics were applied."""

    host: str | None
    block: bool | None  # None: auto
    #: whether the scheduler does not check the host: with `force`, and for any host below microversion 2.30
    bypass_scheduler: bool
    #: below 2.34 the checks run within the API call
    synchronous: bool
    #: below 2.25; None skips the disk check of the destination
    disk_over_commit: bool | None = None


def request(cloud: Cloud, server: Server, order: Order, caller: Caller) -> None:
    """POST os-migrateLive.  Raises ConflictError, BadRequestError."""
    require_unlocked(server, caller)
    require_state(server, "os-migrateLive", "active", "paused")
    if order.host and order.host not in cloud.hosts:
        raise BadRequestError(f"Compute host {order.host} could not be found.")
    cloud.set_task(server, "migrating")
    action = cloud.record(server, "live-migration", caller)

    def accept() -> Migration:
        destination = order.host if order.bypass_scheduler else None
        migration = cloud.add_migration(server, "live-migration", caller, destination=destination)
        migration.action = action
        action.begin(_top_event(order), CONTROLLER, cloud.now)
        return migration

    if order.synchronous:
        refusal = _conduct(cloud, server, accept(), order)
        if refusal is not None:
            raise BadRequestError(refusal.message)
        return

    def later() -> None:
        if server.deleted_at is None:
            migration = accept()
            precheck = cloud.settings.durations.live_precheck
            cloud.clock.after(precheck, lambda: _conduct_in_background(cloud, server, migration, order))

    cloud.clock.after(cloud.settings.durations.migration_row, later)


def abort(cloud: Cloud, server: Server, migration_id: int, caller: Caller, *, queued_too: bool) -> None:
    """DELETE a server's migration. With `queued_too` (microversion 2.65), also a queued or preparing migration.

    Raises ConflictError, NotFoundError, BadRequestError.
    """
    require_unlocked(server, caller)
    if server.task_state != "migrating":
        raise ConflictError.state("abort live migration", server.id, "task_state", server.task_state)
    migration = _of_server(cloud, server, migration_id, NotFoundError)
    allowed = ("running", "queued", "preparing") if queued_too else ("running",)
    if migration.status not in allowed:
        raise _wrong_status(migration, "abort live migration")
    action = cloud.record(server, "live_migration_cancel", caller)
    _cancel_step(migration)

    def at_source() -> None:
        action.begin("compute_live_migration_abort", migration.source, cloud.now)
        _aborted(cloud, server, migration)
        action.end("compute_live_migration_abort", cloud.now)

    cloud.cast(migration.source, cloud.settings.durations.live_abort, at_source)


def force_complete(cloud: Cloud, server: Server, migration_id: int, caller: Caller) -> None:
    """POST force_complete.  Raises ConflictError, BadRequestError."""
    require_unlocked(server, caller)
    require_state(server, "force_complete", "active", task="migrating")
    migration = _of_server(cloud, server, migration_id, BadRequestError)
    if migration.status != "running":
        raise _wrong_status(migration, "force complete")
    action = cloud.record(server, "live_migration_force_complete", caller)
    _cancel_step(migration)

    def at_source() -> None:
        action.begin("compute_live_migration_force_complete", migration.source, cloud.now)
        if migration.copy is not None:
            migration.copy.ceiling = 1.0
        _arrive(cloud, server, migration)
        action.end("compute_live_migration_force_complete", cloud.now)

    migration.next_step = cloud.cast(migration.source, cloud.settings.durations.live_force, at_source)


def forget_on_restart(cloud: Cloud, server: Server) -> None:
    """What the source's nova-compute does at startup with a server that it finds migrating."""
    for migration in cloud.migrations_of(server.id):
        if migration.type == "live-migration" and migration.status in ("accepted", *IN_PROGRESS):
            _cancel_step(migration)
            if migration.status == "running":
                cloud.set_status(migration, "error")
            _give_back(cloud, server, migration)
            _free_slot(cloud, migration)
    cloud.set_task(server, None)


# ---- conductor


def _conduct_in_background(cloud: Cloud, server: Server, migration: Migration, order: Order) -> None:
    _conduct(cloud, server, migration, order)  # the refusal is recorded in the instance action's events


def _conduct(cloud: Cloud, server: Server, migration: Migration, order: Order) -> RefusalError | None:
    action = _action(migration)
    if server.deleted_at is not None:
        return None
    try:
        destination = _find_destination(cloud, server, migration, order, action)
    except RefusalError as refusal:
        _give_back(cloud, server, migration)
        cloud.set_status(migration, "error")
        cloud.set_task(server, None)
        action.end(_top_event(order), cloud.now, error=refusal.message)
        return refusal
    migration.destination = migration.destination_node = destination.name
    migration.source_node = server.host
    action.end(_top_event(order), cloud.now)
    migration.next_step = cloud.cast(migration.source, 0, lambda: _take_slot(cloud, server, migration))
    return None


def _top_event(order: Order) -> str:
    """The name of the conductor's event. It is the name of the RPC method, and the blocking call uses another
    method."""
    return "conductor_migrate_server" if order.synchronous else "conductor_live_migrate_instance"


def _find_destination(cloud: Cloud, server: Server, migration: Migration, order: Order, action: InstanceAction) -> Host:
    if server.power_state not in (RUNNING, PAUSED):
        state = {NO_STATE: "pending", SHUTDOWN: "shutdown", CRASHED: "crashed", SUSPENDED: "suspended"}
        raise RefusalError(
            f"Instance {server.id} in power_state {state.get(server.power_state, 'unknown')}. Cannot live migrate "
            "while the instance is in this state."
        )
    source = cloud.hosts[migration.source]
    _require_up(cloud, source)
    cloud.ledger.hand_over(server.id, migration.uuid)
    if order.host and order.bypass_scheduler:
        return _forced(cloud, server, migration, cloud.hosts[order.host], order, action)
    tried = [source.name]
    while True:
        destination = select(cloud, Wish(server, server.flavor, ignore=tried, only=order.host))
        _claim(cloud, server, destination)
        try:
            _check_hypervisors(source, destination)
            _check_on_hosts(cloud, server, migration, destination, order, action)
        except RefusalError as refusal:
            if not refusal.tries_next:
                raise
            cloud.ledger.release(server.id, destination.uuid)
            tried.append(destination.name)
        else:
            return destination


def _forced(
    cloud: Cloud,
    server: Server,
    migration: Migration,
    destination: Host,
    order: Order,
    action: InstanceAction,
) -> Host:
    source = cloud.hosts[migration.source]
    if destination is source:
        raise RefusalError(f"Unable to migrate instance ({server.id}) to current host ({source.name}).")
    _require_up(cloud, destination)
    room = destination.memory_mb * destination.memory_ratio - cloud.ledger.used(destination.uuid, "MEMORY_MB")
    if room <= server.flavor.ram_mb:
        reason = f"Unable to migrate {server.id} to {destination.name}: Lack of memory"
        raise RefusalError(f"Migration pre-check error: {reason}(host:{room} <= instance:{server.flavor.ram_mb})")
    _check_hypervisors(source, destination)
    if not cloud.has_room(destination, server.resources()):
        raise NoValidHostError(
            f"Unable to move instance {server.id} to host {destination.name}. "
            "There is not enough capacity on the host for the instance."
        )
    _claim(cloud, server, destination)
    _check_on_hosts(cloud, server, migration, destination, order, action)
    return destination


def _require_up(cloud: Cloud, host: Host) -> None:
    if not cloud.is_up(host):
        raise RefusalError(f"Compute service of {host.name} is unavailable at this time.")


def _check_hypervisors(source: Host, destination: Host) -> None:
    if source.hypervisor_type != destination.hypervisor_type:
        raise RefusalError("The supplied hypervisor type of is invalid.", tries_next=True)
    if source.hypervisor_version > destination.hypervisor_version:
        message = "The instance requires a newer hypervisor version than has been provided."
        raise RefusalError(message, tries_next=True)


def _check_on_hosts(
    cloud: Cloud,
    server: Server,
    migration: Migration,
    destination: Host,
    order: Order,
    action: InstanceAction,
) -> None:
    """The checks of the libvirt driver, on the destination and from there on the source."""
    if not destination.alive:
        message = f"Timeout while checking if we can live migrate to host: {destination.name}"
        raise RefusalError(message, tries_next=True)
    source = cloud.hosts[migration.source]
    action.begin(_CHECK_DESTINATION, destination.name, cloud.now)
    reached_source = False
    try:
        _check_cpu(cloud, source, destination)
        action.begin(_CHECK_SOURCE, source.name, cloud.now)
        reached_source = True
        migration.block = _check_storage(server, source, destination, order, cloud)
    except RefusalError as refusal:
        if not reached_source:
            action.end(_CHECK_DESTINATION, cloud.now, error=refusal.message)
            raise
        action.end(_CHECK_SOURCE, cloud.now, error=refusal.message)
        repeated = _told_by_source(refusal, source, destination)
        action.end(_CHECK_DESTINATION, cloud.now, error=repeated.message)
        raise repeated from None
    action.end(_CHECK_SOURCE, cloud.now)
    action.end(_CHECK_DESTINATION, cloud.now)


def _told_by_source(refusal: RefusalError, source: Host, destination: Host) -> RefusalError:
    """The destination's error that wraps the source's error: its exception type, its text, and its traceback."""
    text = (
        f"Error while check_can_live_migrate_source from {source.name} to host {destination.name}: "
        f"{refusal.kind}_Remote {refusal.message}\nTraceback (most recent call last):\n\n"
    )
    return RefusalError(text, tries_next=True)


def _check_cpu(cloud: Cloud, source: Host, destination: Host) -> None:
    # With host-model Nova compares the hosts, not the CPU that this guest saw when it started.
    guest = cloud.guest_cpu(source)
    if not destination.cpu.runs(guest):
        link = "http://libvirt.org/html/libvirt-libvirt-host.html#virCPUCompareResult"
        reason = f"Unacceptable CPU info: CPU doesn't have compatibility.\n\n0\n\nRefer to {link}"
        raise RefusalError(f"Migration pre-check error: {reason}", tries_next=True)


def _check_storage(server: Server, source: Host, destination: Host, order: Order, cloud: Cloud) -> bool:
    """Whether the disks will be copied."""
    shared_path = source.store is not None and source.store == destination.store
    shared = shared_path or (server.volume_backed and not server.local_disk_gb)
    block = not shared if order.block is None else order.block
    if block and shared:
        reason = "Block migration can not be used with shared storage."
        raise RefusalError(f"{source.name} is not on local storage: {reason}", kind="InvalidLocalStorage")
    if not block and not shared:
        reason = "Shared storage live-migration requires either shared storage or boot-from-volume with no local disks."
        raise RefusalError(f"{source.name} is not on shared storage: {reason}", kind="InvalidSharedStorage")
    if block and order.disk_over_commit is not None:
        need = server.local_disk_gb * 2**30
        free = destination.disk_gb * 2**30 - _disk_used(cloud, destination, server)
        if free < need:
            reason = (
                f"Unable to migrate {server.id}: Disk of instance is too large"
                f"(available on destination host:{free} < need:{need})"
            )
            raise RefusalError(f"Migration pre-check error: {reason}", tries_next=True)
    return block


def _disk_used(cloud: Cloud, host: Host, without: Server) -> int:
    if "disk_used_gb" in host.knobs:
        return int(host.knobs["disk_used_gb"]) * 2**30
    return sum(server.local_disk_gb for server in cloud.servers_on(host.name) if server is not without) * 2**30


def _claim(cloud: Cloud, server: Server, host: Host) -> None:
    cloud.ledger.claim(server.id, host.uuid, server.resources(), project_id=server.project_id, user_id=server.user_id)


# ---- source and destination


def _take_slot(cloud: Cloud, server: Server, migration: Migration) -> None:
    source, action = cloud.hosts[migration.source], _action(migration)
    if migration.status == "accepted":
        action.begin(_START, source.name, cloud.now)
        action.end(_START, cloud.now)
    limit = cloud.settings.nova.max_concurrent_live_migrations
    if limit and len(source.copying) >= limit:
        cloud.set_status(migration, "queued")
        source.queue.append(migration)
        return
    source.copying.add(migration.id)
    cloud.set_status(migration, "preparing")
    action.begin(_PRE, migration.destination or "", cloud.now)
    seconds = cloud.settings.durations.live_prepare
    migration.next_step = cloud.clock.after(seconds, lambda: _start_copy(cloud, server, migration))


def _start_copy(cloud: Cloud, server: Server, migration: Migration) -> None:
    source, action = cloud.hosts[migration.source], _action(migration)
    destination = cloud.hosts.get(migration.destination or "")
    if not source.alive:
        return  # Nothing drives the migration any more; the restart of nova-compute cleans it up.
    failure = source.knobs.get("fail_pre_live")
    if destination is None or not destination.alive:
        failure = "Timed out waiting for a reply to message"
    if failure:
        text = failure if isinstance(failure, str) else "Failed to prepare the destination"
        action.end(_PRE, cloud.now, error=text)
        _roll_back(cloud, server, migration, "failed")
        return
    action.end(_PRE, cloud.now)
    cloud.set_status(migration, "running")
    fails_at = source.knobs.get("fail_live_at")
    stuck = bool(source.knobs.get("never_converge"))
    seconds = float(source.knobs.get("live_seconds", cloud.settings.durations.live_copy))
    seconds += float(source.knobs.get("live_seconds_per_gib", 0)) * server.flavor.ram_mb / 1024
    ceiling = 0.9 if stuck else 1.0
    if fails_at is not None:
        ceiling = min(ceiling, float(fails_at))
    disk = server.local_disk_gb * 2**30 if migration.block else 0
    migration.copy = Copy(cloud.now, seconds, ceiling, server.flavor.ram_mb * 2**20, disk)
    if fails_at is not None:
        end: Callable[[], None] = lambda: _copy_failed(cloud, server, migration)  # noqa: E731
        migration.next_step = cloud.clock.after(seconds * float(fails_at), end)
    elif not stuck:
        migration.next_step = cloud.clock.after(seconds, lambda: _arrive(cloud, server, migration))


def _arrive(cloud: Cloud, server: Server, migration: Migration) -> None:
    source = cloud.hosts[migration.source]
    if not source.alive or server.deleted_at is not None:
        return
    action = _action(migration)
    action.begin(_POST, migration.destination or "", cloud.now)
    cloud.place(server, migration.destination)
    cloud.set_task(server, None)
    if server.power_state != RUNNING and server.vm_state == "active":
        server.power_state = RUNNING
    action.end(_POST, cloud.now)
    # The destination is done; the source still has to close the migration's record.
    migration.next_step = cloud.clock.after(cloud.settings.durations.live_post, lambda: _complete(cloud, migration))


def _complete(cloud: Cloud, migration: Migration) -> None:
    cloud.set_status(migration, "completed")
    cloud.ledger.release(migration.uuid)
    _free_slot(cloud, migration)


def _copy_failed(cloud: Cloud, server: Server, migration: Migration) -> None:
    if cloud.hosts[migration.source].alive:
        _end_of_copy(cloud, server, migration, "failed")


def _aborted(cloud: Cloud, server: Server, migration: Migration) -> None:
    if migration.status in ("queued", "preparing"):
        _roll_back(cloud, server, migration, "cancelled")
    elif migration.status == "running":
        _end_of_copy(cloud, server, migration, "cancelled")


def _end_of_copy(cloud: Cloud, server: Server, migration: Migration, status: str) -> None:
    if migration.block:
        action = _action(migration)
        action.begin(_ROLLBACK, migration.destination or "", cloud.now)
        action.end(_ROLLBACK, cloud.now)
    _roll_back(cloud, server, migration, status)
    if cloud.settings.nova.copy_failure == "error":
        # The driver reads the result of the copy only now, and its exception counts as a failure of the whole
        # migration.
        cloud.clock.after(cloud.settings.durations.live_post, lambda: _error_after_rollback(cloud, server, migration))


def _error_after_rollback(cloud: Cloud, server: Server, migration: Migration) -> None:
    if server.deleted_at is None and server.task_state is None:
        cloud.set_status(migration, "error")
        server.vm_state = "error"
        cloud.touch(server)


def _roll_back(cloud: Cloud, server: Server, migration: Migration, status: str) -> None:
    _give_back(cloud, server, migration)
    cloud.set_status(migration, status)
    cloud.set_task(server, None)
    _free_slot(cloud, migration)


def _give_back(cloud: Cloud, server: Server, migration: Migration) -> None:
    """Release the destination's claim and move the source's allocation from the migration back to the server."""
    if migration.uuid in cloud.ledger.consumers:
        cloud.ledger.release(server.id)
        cloud.ledger.hand_over(migration.uuid, server.id)


def _free_slot(cloud: Cloud, migration: Migration) -> None:
    source = cloud.hosts.get(migration.source)
    if source is None:
        return
    if migration in source.queue:
        source.queue.remove(migration)
    source.copying.discard(migration.id)
    limit = cloud.settings.nova.max_concurrent_live_migrations
    while source.queue and (not limit or len(source.copying) < limit):
        waiting = source.queue.popleft()
        _take_slot(cloud, cloud.servers[waiting.server_id], waiting)


def cancel_for_delete(cloud: Cloud, server: Server) -> None:
    """Cancel the live migration of a server that is deleted."""
    for migration in cloud.migrations_of(server.id):
        if migration.type == "live-migration" and migration.status in ("accepted", *IN_PROGRESS):
            _cancel_step(migration)
            cloud.set_status(migration, "cancelled")
            cloud.ledger.release(migration.uuid)
            _free_slot(cloud, migration)


def _cancel_step(migration: Migration) -> None:
    if migration.next_step is not None:
        migration.next_step.cancel()
        migration.next_step = None


def _action(migration: Migration) -> InstanceAction:
    assert migration.action is not None
    return migration.action


def _of_server(cloud: Cloud, server: Server, migration_id: int, error: type[ApiError]) -> Migration:
    migration = cloud.migrations.get(migration_id)
    if migration is None or migration.server_id != server.id:
        raise error(f"Migration {migration_id} not found for instance {server.id}")
    return migration


def _wrong_status(migration: Migration, method: str) -> BadRequestError:
    return BadRequestError(
        f"Migration {migration.id} state of instance {migration.server_id} is {migration.status}. "
        f"Cannot {method} while the migration is in this state."
    )
