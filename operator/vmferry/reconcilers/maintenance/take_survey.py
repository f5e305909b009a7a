"""Takes the survey of a host: the whole-host check (R27, I21) and the progress of the drain in one.

It includes every server, in any state and project.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from vmferry.cloud.model import NOVA_TYPE, Host, Migration, MigrationStage, ResolvedType, Server
from vmferry.planning.drain.plan import Departure, DrainPlan, plan_drain
from vmferry.planning.request import Request
from vmferry.prerequisites.enums import Name, Reason
from vmferry.prerequisites.moves import Moves
from vmferry.prerequisites.stuck import DELETING, Stuck, stuck
from vmferry.reconcilers.maintenance.scope import MaintenanceScope
from vmferry.reconcilers.maintenance.survey import Blocked, Survey, Waiting
from vmferry.reconcilers.maintenance.tries import (
    failed_tries,
    given_up,
    hosts_that_refused_its_like,
    next_try_at,
    taken_by_another,
)
from vmferry.reconcilers.owned_migrations import Hindrance, OwnedMigration
from vmferry.resources.words import HeldBy, MigrationType, Phase, PoweredOffPolicy, RunningPolicy

#: vm_states that the spec's `poweredOff` covers (R5)
_OFF = ("stopped", "suspended")


def servers_on(scope: MaintenanceScope, host: Host) -> list[Server]:
    """All servers on the host, sorted by name."""
    ids = scope.snapshot.servers_by_host.get(host.name, ())
    found = [scope.snapshot.servers[one] for one in ids if one in scope.snapshot.servers]
    return sorted(found, key=lambda s: (s.name, s.id))


def take_survey(scope: MaintenanceScope, host: Host) -> Survey:
    """Put every server of the host into its list. Pure. The costly part is the plan."""
    seen = Survey(host)
    here = servers_on(scope, host)
    _note_moved(scope, seen, {server.id for server in here})
    ours = {child.server_id: child for child in scope.open_children()}
    leaving: list[Departure] = []
    held: dict[str, OwnedMigration] = {}
    for server in here:
        child = ours.pop(server.id, None)
        if _stays(scope, server) and (child is None or child.idle):
            seen.staying.append(server)
            if child is not None:
                scope.cancel([child])
            continue
        if child is not None and child.paused and not child.deleting:
            seen.blocked.append(Blocked(server, _paused(child), child))
            continue
        if child is not None and child.phase is not Phase.BLOCKED:
            _note_child(seen, child, server)
            continue
        if (found := _stuck(scope, host, server)) is not None:
            hindrance = Hindrance(Name.SERVER_TASK, found.reason, found.message, found.remedy)
            seen.blocked.append(Blocked(server, hindrance, child))
            continue
        if (why := _somebody_is_at_it(scope, server)) is not None:
            seen.waiting.append(Waiting(server, why, child))
            continue
        tries = failed_tries(scope, server.id)
        # the plan reports a server that the operator's own attempt left in ERROR, with a remedy; no further try is due
        broken = server.vm_state == "error" and server.id in scope.world.broken
        if not broken and (why_not := given_up(scope, tries)) is not None:
            seen.blocked.append(Blocked(server, why_not, tries[-1]))
            continue
        if not broken and tries and (due := next_try_at(scope, tries)) > scope.now:
            seen.next_try = min(due, seen.next_try or due)
            words = f"the last try failed: {tries[-1].message}; the next one is due at {due:%H:%M:%SZ}"
            seen.waiting.append(Waiting(server, words, tries[-1]))
            continue
        if child is not None:
            held[server.id] = child
        elif (taken := taken_by_another(scope, seen, server)) is not None:
            seen.blocked.append(Blocked(server, taken))
            continue
        leaving.append(_leaving(scope, host, server, tries))
    for child in ours.values():
        if child.idle:  # the server was deleted or moved away since, so there is nothing left to move
            scope.cancel([child])
            continue
        seen.moved.pop(child.server_id, None)
        gone = scope.snapshot.servers.get(child.server_id)
        if child.stalled and gone is not None and child.hindrance is not None:
            seen.astray.append(Blocked(gone, child.hindrance, child))
            continue
        # the migration is in its last steps: Nova lists the server on the target already
        seen.moving.append((child, gone))
    _note_records(scope, host, seen)
    _plan(scope, seen, leaving, held)
    return seen


def _note_moved(scope: MaintenanceScope, seen: Survey, here: set[str]) -> None:
    for child in scope.taken_away():
        if child.server_id not in here:
            seen.moved[child.server_id] = child


def _note_records(scope: MaintenanceScope, host: Host, seen: Survey) -> None:
    """Note migration records that name the host but whose servers are elsewhere."""
    ours = {child.server_id for child in scope.open_children()} | Moves.of(scope.world.moves).servers
    for record in sorted(scope.snapshot.migrations.values(), key=lambda record: record.id):
        if host.name not in (record.source_host, record.target_host):
            continue
        server = scope.snapshot.servers.get(record.server_id)
        if record.stage is MigrationStage.LEFTOVER:
            if server is None or server.host != host.name:
                seen.leftovers.append(record)
        elif waits_for_confirmation(record, server, host.name) and server is not None and server.id not in ours:
            hindrance = Hindrance(
                Name.SERVER_TASK,
                Reason.RESIZE_PENDING,
                f"its {record.type} {record.uuid} from {host.name} to {record.target_host} waits for its confirmation: "
                f"until then its disk on {host.name} is kept for the way back",
                f"`openstack server resize confirm {server.id}`, or revert it",
            )
            seen.blocked.append(Blocked(server, hindrance))
            ours.add(server.id)  # report one blocker per server, even if it has several records


def waits_for_confirmation(record: Migration, server: Server | None, source: str) -> bool:
    """Whether the record is a resize or cold migration that has left `source` and can still be reverted."""
    finished = record.stage is MigrationStage.FINISHED and record.source_host == source
    return finished and server is not None and server.vm_state == "resized" and server.host != source


def _stuck(scope: MaintenanceScope, host: Host, server: Server) -> Stuck | None:
    """Why the server is stuck; None if it is not. On a dead host only leftover evacuations count, because other tasks
    ended with the host. A move of another VMMigration has its own deadline and does not count."""
    if server.id in Moves.of(scope.world.moves).servers:
        return None
    records = scope.snapshot.migrations_by_server.get(server.id, ())
    evacuation = NOVA_TYPE[ResolvedType.EVACUATE]
    if not host.service.up and server.vm_state != "building" and server.task_state not in DELETING:
        records = tuple(m for m in records if m.type == evacuation and m.stage is MigrationStage.LEFTOVER)
        server = replace(server, task_state=None)
    return stuck(server, records, scope.snapshot.cloud_time(scope.now), scope.policy.stuck_after)


def _note_child(seen: Survey, child: OwnedMigration, server: Server) -> None:
    if child.stalled and child.hindrance is not None and child.held_by is not HeldBy.BREAKER:
        seen.blocked.append(Blocked(server, child.hindrance, child))
    # if the move is held by a breaker, its server runs again and nothing of the move is in progress
    elif child.deleting or (child.started_at is not None and child.held_by is not HeldBy.BREAKER):
        seen.moving.append((child, server))
    else:
        seen.waiting.append(Waiting(server, child.message or "its VMMigration is new", child))


def _paused(child: OwnedMigration) -> Hindrance:
    """The blocker of a server whose VMMigration a user paused."""
    name = f"{child.namespace}/{child.name}"
    return Hindrance(
        Name.SERVER_TASK.value,
        Reason.PAUSED,
        f"its VMMigration {name} is paused: {child.message}",
        f"set spec.paused of VMMigration {name} to false, or delete it to have another one created",
    )


def _stays(scope: MaintenanceScope, server: Server) -> bool:
    if server.vm_state in _OFF:
        return scope.spec.powered_off is PoweredOffPolicy.LEAVE
    return scope.spec.running is RunningPolicy.LEAVE


def _somebody_is_at_it(scope: MaintenanceScope, server: Server) -> str | None:
    """Why the server is about to change anyway: a build, a deletion or another user's migration; None if it is not."""
    if server.vm_state == "building":
        return "it is being built"
    if server.task_state in ("deleting", "soft-deleting"):
        return "it is being deleted"
    records = scope.snapshot.migrations_by_server.get(server.id, ())
    running = next((m for m in records if m.stage is MigrationStage.IN_FLIGHT), None)
    if running is not None:
        return f"somebody else's {running.type} {running.uuid} moves it: {running.status}"
    return None


def _leaving(scope: MaintenanceScope, host: Host, server: Server, tries: list[OwnedMigration]) -> Departure:
    target = scope.spec.target.host if scope.spec.target else None
    if not host.service.up:
        # Auto becomes an evacuation only on a host that was forced down, where it is proven safe (R6, I12)
        request = Request(MigrationType.AUTO, target, attested=None)
    elif server.vm_state in _OFF:
        request = Request(MigrationType.COLD, target, attested=None)
    elif scope.spec.running is RunningPolicy.COLD_MIGRATE:
        request = Request(MigrationType.COLD, target, stop_if_running=True, attested=None)
    else:
        request = Request(MigrationType.LIVE, target, attested=None)
    # a target that the spec names is tried again, up to the number of allowed tries
    avoid = frozenset(child.target_host for child in tries if child.target_host and target is None)
    behind = hosts_that_refused_its_like(scope, server) if target is None else frozenset()
    return Departure(server, request, request.resolved_type(server, host).type, avoid, behind)


def _plan(scope: MaintenanceScope, seen: Survey, leaving: list[Departure], held: dict[str, OwnedMigration]) -> None:
    """Plan the remaining servers. A blocked owned migration is kept while the plan agrees with it."""
    ours = {child.server_id for child in held.values()}
    plan: DrainPlan = plan_drain(
        leaving,
        scope.snapshot,
        scope.policy,
        scope.now,
        scope.world.others(Moves([move for move in scope.moves() if move.server_id not in ours]), ()),
        ignore_headroom=scope.spec.ignore_headroom,
    )
    seen.too_full = plan.too_full
    for planned in plan.planned:
        server = planned.departure.server
        child = held.get(server.id)
        if child is None:
            seen.planned.append(planned)
            continue
        # wait before replacing it, so that plan and migration do not alternate while they disagree
        if child.target_host != planned.target and _age(scope, child) >= scope.policy.recheck:
            scope.cancel([child])
        hindrance = child.hindrance or Hindrance(Name.SERVER_TASK, child.reason, child.message)
        seen.blocked.append(Blocked(server, hindrance, child))
    for left in plan.stuck:
        server = left.departure.server
        child = held.get(server.id)
        if child is not None and _age(scope, child) >= scope.policy.recheck:
            scope.cancel([child])
        first = left.against[0]
        hindrance = Hindrance(first.name, first.reason or Reason.FACT_UNKNOWN, first.message, first.remedy)
        seen.blocked.append(Blocked(server, hindrance, child))
    seen.blocked.sort(key=lambda one: (one.server.name, one.server.id))


def _age(scope: MaintenanceScope, child: OwnedMigration) -> timedelta:
    return scope.now - (child.created_at or scope.now)
