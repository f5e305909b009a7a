"""The failed tries to move a server in this round, and when no further try follows (I23)."""

from __future__ import annotations

from datetime import datetime

from vmferry.cloud.model import Server
from vmferry.prerequisites.enums import Name, Reason
from vmferry.reconcilers.backoff import pause_after
from vmferry.reconcilers.clock_skew import is_ahead
from vmferry.reconcilers.maintenance.refused_writes import taken_name
from vmferry.reconcilers.maintenance.scope import MaintenanceScope
from vmferry.reconcilers.maintenance.survey import Survey
from vmferry.reconcilers.nova_explanation import no_valid_host
from vmferry.reconcilers.owned_migrations import Hindrance, OwnedMigration, Purpose
from vmferry.resources.words import MigrationType, Phase


def failed_tries(scope: MaintenanceScope, server_id: str) -> list[OwnedMigration]:
    """The server's failed tries in this round since its last successful move, oldest first."""
    mine = [c for c in scope.this_round() if c.server_id == server_id and c.purpose is Purpose.DRAIN and c.over]
    mine.sort(key=lambda child: child.number)
    for at, child in reversed(list(enumerate(mine))):
        if child.succeeded:
            return mine[at + 1 :]
    return mine


def taken_by_another(scope: MaintenanceScope, seen: Survey, server: Server) -> Hindrance | None:
    """The blocker of a server if another object has the name of its next VMMigration; None otherwise."""
    if not scope.world.refusals:
        return None
    move = scope.new_child(Purpose.DRAIN, server.id, next_number(scope, server.id), MigrationType.LIVE, None)
    found = taken_name(scope, move.name)
    if found is None:
        return None
    if scope.now - found.at >= scope.policy.recheck:
        seen.retry = move
    remedy = f"find out who has created it, then delete the VMMigration {move.namespace}/{move.name}"
    return Hindrance(Name.SERVER_TASK.value, Reason.CONFLICT, found.message, remedy)


def next_number(scope: MaintenanceScope, server_id: str) -> int:
    """The number of the server's next try in this round."""
    return max((child.number for child in scope.this_round() if child.server_id == server_id), default=0) + 1


def given_up(scope: MaintenanceScope, tries: list[OwnedMigration]) -> Hindrance | None:
    """Why the server is not tried again: its tries are used up (I23), or a person ended the last one."""
    if not tries:
        return None
    last = tries[-1]
    by_people = last.reason == Reason.CONFLICT or last.phase is Phase.CANCELLED
    # a refusal by Nova's scheduler does not count if the operator chose the host: the next host is tried instead
    free = scope.spec.target is None
    counted = [child for child in tries if not (free and no_valid_host(child.message))]
    if not by_people and len(counted) <= scope.spec.migration.retries:
        return None
    times = "once" if len(tries) == 1 else f"{len(tries)} times"
    return Hindrance(
        Name.SERVER_TASK.value,
        Reason.CONFLICT if by_people else Reason.CLOUD_REFUSED,
        f"it was tried {times}; the last failure: {last.message}",
        f"fix the cause, then delete the VMMigration {last.namespace}/{last.name} to make vmferry try again",
    )


def next_try_at(scope: MaintenanceScope, tries: list[OwnedMigration]) -> datetime:
    ended = tries[-1].completed_at or scope.now
    if is_ahead(ended, scope.now):
        return scope.now
    return ended + pause_after(len(tries), scope.policy)


def hosts_that_refused_its_like(scope: MaintenanceScope, server: Server) -> frozenset[str]:
    """Hosts that Nova's scheduler refused in this round for another server of the same project and flavor."""
    found: set[str] = set()
    for child in scope.this_round():
        if not (child.over and child.target_host and no_valid_host(child.message)) or child.succeeded:
            continue
        other = scope.snapshot.servers.get(child.server_id)
        if other is not None and (other.project_id, other.flavor) == (server.project_id, server.flavor):
            found.add(child.target_host)
    return frozenset(found)
