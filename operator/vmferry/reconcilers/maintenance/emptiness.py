"""Whether the host is empty: two consecutive checks must find it so, and it is rechecked from then on (I20)."""

from __future__ import annotations

from vmferry.cloud.model import HostLook, Migration, MigrationStage
from vmferry.reconcilers.event_reasons import EventReason
from vmferry.reconcilers.maintenance.reasons import MaintenanceReason
from vmferry.reconcilers.maintenance.scope import DRAINED, SOON, MaintenanceDecision, MaintenanceScope
from vmferry.reconcilers.maintenance.survey import Survey
from vmferry.reconcilers.reads import ReadHost
from vmferry.resources.words import MaintenancePhase


def verify_empty(scope: MaintenanceScope, survey: Survey) -> MaintenanceDecision:
    """Set Drained once two consecutive checks find the host empty, and repeat the check from then on."""
    status = scope.status
    if scope.look is None:
        return scope.needs(ReadHost(survey.host.name))
    rest = still_there(scope, survey, scope.look)
    if rest is not None:
        if status.drained_at is not None:
            scope.note_change()
            scope.event(EventReason.LATE_ARRIVAL, f"the host was empty and is not any more: {rest}", warning=True)
        status.drained_at = status.empty_since = None
        scope.conditions.set(DRAINED, False, MaintenanceReason.NOT_EMPTY_YET, rest)
        if scope.no_progress(rest):
            return scope.decide(MaintenancePhase.BLOCKED, requeue_after=scope.policy.recheck)
        scope.progressing(MaintenanceReason.NOT_EMPTY_YET, rest)
        return scope.decide(MaintenancePhase.DRAINING, requeue_after=SOON)
    rules = scope.policy.maintenance
    status.empty_since = status.empty_since or scope.now
    due = status.empty_since + rules.settle
    if status.drained_at is None and scope.now < due:
        message = f"the host was found empty; the second check follows at {due:%H:%M:%SZ}"
        scope.conditions.set(DRAINED, False, MaintenanceReason.VERIFYING, message)
        scope.progressing(MaintenanceReason.VERIFYING, message)
        return scope.decide(MaintenancePhase.DRAINING, requeue_after=due - scope.now)
    message = "the host is verified empty"
    reason = MaintenanceReason.EMPTY
    if survey.staying:
        reason = MaintenanceReason.SERVERS_STAY
        message = f"all servers that have to leave have left; {len(survey.staying)} stay, as the spec requires"
    if (astray := survey.first_astray()) is not None:
        message += f"; {astray[1]}"
    if survey.leftovers:
        message += f"; leftover migration records name it, see leftoverRecords: {survey.leftovers[0].uuid}"
    if status.drained_at is None:
        status.drained_at = scope.now
        scope.event(EventReason.DRAINED, message)
    scope.conditions.set(DRAINED, True, reason, message)
    scope.ready(MaintenanceReason.IN_MAINTENANCE, message)
    return scope.decide(MaintenancePhase.IN_MAINTENANCE, requeue_after=rules.verify_every)


def still_there(scope: MaintenanceScope, survey: Survey, look: HostLook) -> str | None:
    """What is still on the host, on its way to it, or tied to it; None if nothing is (I20)."""
    stay = {server.id for server in survey.staying}
    here = look.servers - stay
    if here:
        return f"Nova lists {len(here)} servers on it, {_server_name(scope, min(here))} is one"
    migrations = [m for m in look.migrations if not _is_over(scope, m, look.host)]
    if migrations:
        one = min(migrations, key=lambda m: m.id)
        return f"{one.type} {one.uuid} from {one.source_host} to {one.target_host} is {one.status}"
    hidden = (look.on_hypervisor or frozenset()) - stay
    if hidden:
        return (
            f"the hypervisor still has {len(hidden)} servers that Nova's list does not show, "
            f"for example {_server_name(scope, min(hidden))}: soft-deleted servers remain there until they "
            "are restored or deleted permanently"
        )
    for consumer in sorted(look.allocated or ()):
        # a server being built or unshelved has an allocation before it has a host; an allocation left behind by a
        # server that is on another host does not count
        server = scope.snapshot.servers.get(consumer)
        if server is None or server.id in stay or server.host is not None:
            continue
        if server.vm_state == "building" or server.task_state is not None:
            return f"{server.name} is being placed on a host and already has an allocation on this one"
    return None


def _is_over(scope: MaintenanceScope, record: Migration, host: str) -> bool:
    """Whether an open record no longer ties anything to the host: it is a leftover, or its server's state shows that
    the move was confirmed."""
    server = scope.snapshot.servers.get(record.server_id)
    if record.stage is MigrationStage.FINISHED:
        elsewhere = server is not None and server.host != host and server.task_state is None
        return elsewhere and server is not None and server.vm_state != "resized"
    return record.stage is MigrationStage.LEFTOVER and (server is None or server.host != host)


def _server_name(scope: MaintenanceScope, server_id: str) -> str:
    server = scope.snapshot.servers.get(server_id)
    return server.name if server else server_id
