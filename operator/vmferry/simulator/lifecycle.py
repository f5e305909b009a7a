"""Create, change and delete servers; stop and start compute hosts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from vmferry.simulator import evacuation, live_migration
from vmferry.simulator.cloud import CONTROLLER, Cloud
from vmferry.simulator.errors import BadRequestError, ConflictError, RefusalError
from vmferry.simulator.guards import require_state, require_unlocked
from vmferry.simulator.model import (
    PAUSED,
    RUNNING,
    SHUTDOWN,
    SUSPENDED,
    Caller,
    Flavor,
    Host,
    Server,
)
from vmferry.simulator.scheduling import Wish, select


@dataclass(frozen=True, slots=True)
class Change:
    """A simple action: its allowed vm_states, its task_state, and the vm_state that follows."""

    verb: str
    action: str
    event: str
    before: tuple[str, ...]
    task: str
    after: str
    power: int


CHANGES = {
    "os-stop": Change(
        "stop", "stop", "compute_stop_instance", ("active", "error"), "powering-off", "stopped", SHUTDOWN
    ),
    "os-start": Change("start", "start", "compute_start_instance", ("stopped",), "powering-on", "active", RUNNING),
    "pause": Change("pause", "pause", "compute_pause_instance", ("active",), "pausing", "paused", PAUSED),
    "unpause": Change("unpause", "unpause", "compute_unpause_instance", ("paused",), "unpausing", "active", RUNNING),
    "suspend": Change(
        "suspend", "suspend", "compute_suspend_instance", ("active",), "suspending", "suspended", SUSPENDED
    ),
    "resume": Change("resume", "resume", "compute_resume_instance", ("suspended",), "resuming", "active", RUNNING),
    "reboot": Change(
        "reboot",
        "reboot",
        "compute_reboot_instance",
        ("active", "stopped", "paused", "suspended", "error"),
        "rebooting",
        "active",
        RUNNING,
    ),
    "rescue": Change(
        "rescue",
        "rescue",
        "compute_rescue_instance",
        ("active", "stopped", "error"),
        "rescuing",
        "rescued",
        RUNNING,
    ),
    "unrescue": Change(
        "unrescue", "unrescue", "compute_unrescue_instance", ("rescued",), "unrescuing", "active", RUNNING
    ),
    "shelve": Change(
        "shelve",
        "shelve",
        "compute_shelve_instance",
        ("active", "stopped", "paused", "suspended"),
        "shelving",
        "shelved_offloaded",
        SHUTDOWN,
    ),
}


@dataclass(frozen=True, slots=True)
class NewServer:
    """A validated create request."""

    name: str
    flavor: Flavor
    image_id: str | None
    volumes: list[tuple[str, bool]]
    project_id: str
    user_id: str
    host: str | None = None
    #: `availability_zone: zone:host` bypasses the filters
    forced_host: bool = False
    zone: str | None = None
    group_id: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    hints: dict[str, Any] = field(default_factory=dict)
    description: str | None = None
    key_name: str | None = None
    network: bool = False


def create(cloud: Cloud, new: NewServer, caller: Caller) -> Server:
    """Create the server's record immediately; scheduling and the build follow later."""
    server = record_of(cloud, new)
    server.task_state = "scheduling"
    cloud.add_server(server)
    action = cloud.record(server, "create", caller)
    event = "compute__do_build_and_run_instance"

    def schedule() -> None:
        if server.deleted_at is not None:
            return
        try:
            if new.host and new.forced_host:
                host = cloud.hosts[new.host]
            else:
                host = select(cloud, Wish(server, server.flavor, only=new.host))
        except RefusalError as refusal:
            action.begin("conductor_schedule_and_build_instances", CONTROLLER, cloud.now)
            action.end("conductor_schedule_and_build_instances", cloud.now, error=refusal.message)
            cloud.fail_server(server, refusal.message)
            return
        claim(cloud, server, host)
        cloud.cast(host.name, 0, lambda: hand_over(host))

    def hand_over(host: Host) -> None:
        """Nova-compute starts the build. Before that, the server has an allocation on the host, but its `host` is not
        set."""
        if server.deleted_at is not None or _held(host, "hold_scheduled", lambda: hand_over(host)):
            return
        settle(cloud, server, host)
        action.begin(event, host.name, cloud.now)
        cloud.set_task(server, "spawning")
        cloud.cast(host.name, cloud.settings.durations.boot, lambda: spawned(host))

    def spawned(host: Host) -> None:
        if server.deleted_at is not None or _held(host, "hold_spawning", lambda: spawned(host)):
            return
        start(cloud, server)
        action.end(event, cloud.now)

    cloud.clock.after(cloud.settings.durations.boot / 5, schedule)
    return server


def _held(host: Host, knob: str, go_on: Callable[[], None]) -> bool:
    """Whether the host's knob holds the build at this step; `release_held` continues it."""
    if host.knobs.get(knob):
        host.held.append(go_on)
        return True
    return False


def release_held(cloud: Cloud, host: Host) -> None:
    """Continue the held builds after a change of the host's knobs; a build whose knob remains set is held again."""
    waiting, host.held = host.held, []
    for go_on in waiting:
        cloud.cast(host.name, 0, go_on)


def record_of(cloud: Cloud, new: NewServer) -> Server:
    number = cloud.next_server_number()
    return Server(
        id=cloud.new_uuid(),
        number=number,
        name=new.name,
        project_id=new.project_id,
        user_id=new.user_id,
        flavor=new.flavor,
        image_id=new.image_id,
        volumes=list(new.volumes),
        created_at=cloud.now,
        updated_at=cloud.now,
        pinned_zone=new.zone,
        group_id=new.group_id,
        metadata=dict(new.metadata),
        hints=dict(new.hints),
        description=new.description,
        key_name=new.key_name,
        addresses={"private": f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"} if new.network else {},
    )


def settle(cloud: Cloud, server: Server, host: Host) -> None:
    """Record that the server is on this host, and claim its resources."""
    cloud.place(server, host.name)
    server.launched_host = host.name
    claim(cloud, server, host)


def claim(cloud: Cloud, server: Server, host: Host) -> None:
    """Claim the server's resources on the host in Placement."""
    cloud.ledger.claim(server.id, host.uuid, server.resources(), project_id=server.project_id, user_id=server.user_id)


def start(cloud: Cloud, server: Server) -> None:
    server.vm_state, server.power_state = "active", RUNNING
    server.launched_at = cloud.now
    if server.host:
        server.guest_cpu = cloud.guest_cpu(cloud.hosts[server.host])
    cloud.set_task(server, None)


def delete(cloud: Cloud, server: Server, caller: Caller) -> None:
    """DELETE a server. On a dead host, Nova removes the record without nova-compute. Raises ConflictError."""
    require_unlocked(server, caller)
    if server.task_state == "deleting":
        return
    live_migration.cancel_for_delete(cloud, server)
    cloud.set_task(server, "deleting")
    action = cloud.record(server, "delete", caller)
    host = server.host

    def finish() -> None:
        action.begin("compute_terminate_instance", host or CONTROLLER, cloud.now)
        forget(cloud, server)
        action.end("compute_terminate_instance", cloud.now)

    cloud.clock.after(cloud.settings.durations.delete, finish)


def forget(cloud: Cloud, server: Server) -> None:
    """Mark the server deleted: it has no host and no allocations, and `changes-since` still lists it."""
    for migration in cloud.migrations_of(server.id):
        cloud.ledger.release(migration.uuid)
        if migration.status == "finished":
            cloud.set_status(migration, "confirmed")
    cloud.ledger.release(server.id)
    cloud.leave(server)
    server.vm_state, server.power_state = "deleted", 0
    server.deleted_at = cloud.now
    for volume_id, delete_too in server.volumes:
        volume = cloud.volumes.get(volume_id)
        if volume is not None:
            volume.server_id = None
            if delete_too:
                del cloud.volumes[volume_id]
    cloud.set_task(server, None)


def change(cloud: Cloud, server: Server, name: str, caller: Caller) -> None:
    """Run one of `CHANGES`. Raises ConflictError."""
    kind = CHANGES[name]
    require_unlocked(server, caller)
    require_state(server, kind.verb, *kind.before)
    before = server.vm_state
    cloud.set_task(server, kind.task)
    action = cloud.record(server, kind.action, caller)

    def finish() -> None:
        action.begin(kind.event, server.host or "", cloud.now)
        server.vm_state, server.power_state = kind.after, kind.power
        if name == "rescue":
            server.old_vm_state = before
        elif name == "unrescue":
            server.old_vm_state = None
        elif name == "shelve":
            cloud.ledger.release(server.id)
            cloud.place(server, None)
        elif name == "os-start" and server.host:
            server.guest_cpu = cloud.guest_cpu(cloud.hosts[server.host])
        if kind.after == "active":
            server.fault = None
        cloud.set_task(server, None)
        action.end(kind.event, cloud.now)

    cloud.cast(server.host or "", cloud.settings.durations.power, finish)


def unshelve(cloud: Cloud, server: Server, caller: Caller, *, host: str | None, zone: str | None) -> None:
    """POST unshelve, with `host` and `availability_zone` from 2.91. Raises ConflictError, BadRequestError."""
    require_unlocked(server, caller)
    require_state(server, "unshelve", "shelved", "shelved_offloaded")
    if host is not None and host not in cloud.hosts:
        raise BadRequestError(f"Compute host {host} could not be found.")
    cloud.set_task(server, "unshelving")
    action = cloud.record(server, "unshelve", caller)
    server.pinned_zone = zone or server.pinned_zone

    def conduct() -> None:
        event = "conductor_unshelve_instance"
        action.begin(event, CONTROLLER, cloud.now)
        try:
            target = select(cloud, Wish(server, server.flavor, only=host))
        except RefusalError as refusal:
            action.end(event, cloud.now, error=refusal.message)
            cloud.set_task(server, None)
            return
        action.end(event, cloud.now)
        settle(cloud, server, target)
        start(cloud, server)

    cloud.clock.after(cloud.settings.durations.power, conduct)


def reset_state(cloud: Cloud, server: Server, state: str, caller: Caller) -> None:
    server.vm_state = state
    cloud.record(server, "reset_state", caller)
    cloud.set_task(server, None)


def kill_compute(cloud: Cloud, host: Host) -> None:
    """Kill nova-compute (SIGKILL): its heartbeat stops, its guests continue to run, and casts to it wait."""
    if host.coming is not None:
        host.coming.cancel()
        host.coming = None
    if host.alive:
        host.last_seen = cloud.last_seen(host)
        host.alive = False


def start_compute(cloud: Cloud, host: Host) -> None:
    """Start nova-compute again: it cleans up interrupted migrations, reports itself, and handles the waiting casts."""
    if host.alive or host.coming is not None:
        return

    def initialise() -> None:
        host.coming = None
        host.alive = True
        host.started_at = cloud.now
        host.disabled_trait = host.disabled
        evacuation.clean_up_on_restart(cloud, host)
        for server in cloud.servers_on(host.name):
            if server.task_state == "migrating":
                live_migration.forget_on_restart(cloud, server)
        waiting, host.mailbox = host.mailbox, []
        for action in waiting:
            action()

    host.coming = cloud.clock.after(cloud.settings.durations.host_start, initialise)


def remove_service(cloud: Cloud, host: Host) -> None:
    """DELETE the host's compute service. Raises ConflictError while it has servers or unfinished migrations."""
    if cloud.servers_on(host.name):
        raise ConflictError(
            "Unable to delete compute service that is hosting instances. Migrate or delete the instances first."
        )
    over = {"confirmed", "reverted", "error", "failed", "completed", "cancelled", "done"}
    if any(m.status not in over and host.name in (m.source, m.destination) for m in cloud.migrations.values()):
        raise ConflictError(
            "Unable to delete compute service that has in-progress migrations. "
            "Complete the migrations or delete the instances first."
        )
    cloud.remove_host(host.name)
