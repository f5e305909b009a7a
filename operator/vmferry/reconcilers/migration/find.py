"""The first checks of a request: its owner, its server and its attestation."""

from __future__ import annotations

from vmferry.prerequisites.enums import Reason
from vmferry.reconcilers.event_reasons import EventReason
from vmferry.reconcilers.migration.attestation import attests_unseen, contradiction
from vmferry.reconcilers.migration.block import announce_block, forget_verdicts
from vmferry.reconcilers.migration.ending import conclude
from vmferry.reconcilers.migration.reasons import MigrationReason
from vmferry.reconcilers.migration.scope import MigrationDecision, MigrationScope
from vmferry.reconcilers.migration.tries import describe_last_attempt
from vmferry.reconcilers.owned_migrations import MAINTENANCE, Ownership
from vmferry.reconcilers.refused_writes import FINALIZER
from vmferry.resources.words import Phase


def check_owner(scope: MigrationScope) -> MigrationDecision | None:
    """Block or fail a migration whose HostMaintenance is missing, or that only claims to have an owner (I42)."""
    found = scope.ownership
    if found in (Ownership.NONE, Ownership.OWNED):
        return None
    name = scope.obj.metadata.labels.get(MAINTENANCE, "")
    named = f"HostMaintenance {name}" if name else "a HostMaintenance"
    if found is Ownership.OWNER_MISSING:
        reason = MigrationReason.OWNER_MISSING
        message = f"it was created by {named}, which is not there any more: it moves nothing"
    else:
        reason = MigrationReason.FALSE_CLAIM
        message = f"it claims to belong to {named}, which has not created it: it moves nothing"
    if scope.status.graceful_stop is not None or scope.status.attempts:
        last = f"{describe_last_attempt(scope)}; " if scope.status.attempts else ""
        return conclude(scope, Phase.FAILED, reason, f"{last}{message}")
    remedy = "delete it, or create a VMMigration of your own for this server"
    announce_block(scope, reason, message)
    forget_verdicts(scope)
    scope.stalled(reason, f"{message}; {remedy}")
    return scope.decide(Phase.BLOCKED, requeue_after=scope.policy.recheck)


def report_refused_finalizer(scope: MigrationScope) -> MigrationDecision | None:
    """Block while Kubernetes refuses the finalizer: without it, deleting the object could leave a move half done."""
    found = next((one for one in scope.world.refusals if one.subject == FINALIZER), None)
    if found is None or scope.owes or scope.now - found.at >= scope.policy.recheck:
        return None
    message = f"Kubernetes refuses our finalizer on this object: {found.message}"
    scope.event_once(EventReason.WRITE_REFUSED, message, warning=True)
    scope.stalled(MigrationReason.WRITE_REFUSED, message)
    return scope.decide(Phase.BLOCKED, requeue_after=scope.policy.recheck)


def find_server(scope: MigrationScope) -> MigrationDecision | None:
    """Find the server of the request. A server that is not listed is read separately before it counts as gone (I4)."""
    ref = scope.spec.server
    if scope.server_id is None or (not scope.started and ref.id is None):
        ambiguous = scope.snapshot.ambiguous_project(ref.project or "")
        if ambiguous is not None:
            return _not_found(scope, ambiguous)
    if scope.server_id is None:
        if len(scope.candidates) > 1:
            ids = ", ".join(sorted(s.id for s in scope.candidates)[:10])
            return _not_found(
                scope,
                f"{len(scope.candidates)} servers are named {ref.name} in {ref.project}; give one id of: {ids}",
            )
        known = scope.snapshot.names_are_known(ref.project or "")
        message = scope.snapshot.not_found(ref.name or "", ref.project or "")
        return _not_found(scope, message, Reason.SERVER_NOT_FOUND if known else Reason.FACT_UNKNOWN)
    if scope.server is None and scope.server_id in scope.snapshot.unreachable_servers:
        message = f"Nova cannot reach the cell of server {scope.server_id}: where and how it is, is unknown"
        announce_block(scope, Reason.FACT_UNKNOWN, message)
        scope.stalled(Reason.FACT_UNKNOWN, message)
        return scope.decide(Phase.BLOCKED, requeue_after=scope.policy.recheck)
    if scope.server is None:
        if not scope.has_fresh_detail():
            return scope.needs()
        if scope.started:
            scope.status.graceful_stop = None
            return conclude(scope, Phase.FAILED, Reason.SERVER_NOT_FOUND, "the server was deleted meanwhile")
        # Nova never gives an id to another server, so it cannot appear later
        return conclude(scope, Phase.FAILED, Reason.SERVER_NOT_FOUND, f"the cloud has no server {scope.server_id}")
    scope.see_server()
    scope.status.source_host = scope.server.host
    return None


def _not_found(scope: MigrationScope, message: str, reason: Reason = Reason.SERVER_NOT_FOUND) -> MigrationDecision:
    """Block, because a server of that name may still be created: the request waits until it expires.

    An evacuation without an attested host fails at once instead.
    """
    if attests_unseen(scope) and not scope.spec.preflight_only:
        message += ", so the request attests no host to be dead"
        return conclude(scope, Phase.FAILED, reason, message)
    announce_block(scope, reason, message)
    forget_verdicts(scope)
    scope.stalled(reason, message)
    return scope.decide(Phase.BLOCKED, requeue_after=scope.policy.recheck)


def check_attestation(scope: MigrationScope) -> MigrationDecision | None:
    """Fail an evacuation whose attestation is contradicted; it attests that one particular host is dead (I38)."""
    found = contradiction(scope)
    if not isinstance(found, str):
        return found
    message = f"{found}; once it is certain that the host is powered off, create another request"
    if scope.status.attempts:
        message = f"{describe_last_attempt(scope)}; {message}"
    return conclude(scope, Phase.FAILED, Reason.HOST_NOT_FAILED, message)
