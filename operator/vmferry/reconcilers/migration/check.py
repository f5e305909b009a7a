"""Checks every prerequisite of the move and chooses its target host."""

from __future__ import annotations

from vmferry.cloud.model import ResolvedType, Server
from vmferry.planning.choose_type import Choice, TypeReason
from vmferry.planning.request import Request
from vmferry.planning.storage_class import storage_class
from vmferry.planning.targets import Assessment, assess, blocked
from vmferry.prerequisites.enums import Reason
from vmferry.reconcilers import conditions as c
from vmferry.reconcilers.migration.block import announce_block, is_first_report
from vmferry.reconcilers.migration.breakers import held_by_breaker
from vmferry.reconcilers.migration.ending import conclude, conclude_tried
from vmferry.reconcilers.migration.queueing import waits_in_vain
from vmferry.reconcilers.migration.reasons import MigrationReason
from vmferry.reconcilers.migration.scope import POLL, MigrationDecision, MigrationScope
from vmferry.reconcilers.migration.shutdown import release_server
from vmferry.reconcilers.migration.tries import attempts_used, hosts_to_avoid
from vmferry.reconcilers.migration.verdicts import write_verdicts
from vmferry.resources.words import MigrationType, Phase


def check(scope: MigrationScope) -> MigrationDecision | None:
    """Check all prerequisites; the move does not start while any of them fails."""
    server = scope.server
    assert server is not None
    choice = _resolve_type(scope, server)
    scope.status.type = choice.type
    scope.conditions.set(c.TYPE_RESOLVED, True, choice.reason, choice.message)
    scope.status.storage = storage_class(server, scope.source, scope.policy)
    if not scope.status.attempts and _request(scope).is_met(server, choice.type, scope.source):
        return conclude(
            scope, Phase.SUCCEEDED, MigrationReason.ALREADY_ON_TARGET, f"the server is on {server.host} already"
        )

    found = _assess(scope, server, choice.type, hosts_to_avoid(scope))
    if found.waits_for is not None and not scope.spec.preflight_only:
        return _wait_for_others(scope, found, found.waits_for)
    first = found.against[0] if found.against else None
    reason = (first.reason if first else None) or Reason.FACT_UNKNOWN
    unreachable = scope.doubt is not None and scope.doubt.unreachable
    if first and is_first_report(scope, reason) and not scope.has_fresh_detail() and not unreachable:
        # the shared view may be some seconds old, so confirm with a fresh read before blocking the request
        return scope.needs()
    write_verdicts(scope.status, found)
    if first:
        if attempts_used(scope) and _only_tried_hosts_remain(scope, server, choice.type):
            return conclude_tried(scope)
        # a server must not stay off for a move that may not start
        if scope.status.graceful_stop is not None and (decision := release_server(scope)) is not None:
            return decision
        message = blocked(found.against)
        announce_block(scope, reason, message)
        scope.stalled(reason, message)
        scope.status.target_host = None
        return scope.decide(Phase.BLOCKED, requeue_after=scope.policy.recheck)
    if found.target is None:
        return conclude_tried(scope)
    scope.status.target_host = found.target
    scope.status.storage = storage_class(server, scope.source, scope.policy, scope.snapshot.hosts.get(found.target))
    message, best = f"the server can go to {found.target}", found.eligible[0].host
    if best != found.target:
        message += f" at once; to {best}, which ranks first, others go before it"
    scope.conditions.set(c.PREREQUISITES_MET, True, MigrationReason.ALL_PASSED, message)
    return None


def _wait_for_others(scope: MigrationScope, found: Assessment, target: str) -> MigrationDecision:
    """Queue the move for its target host, because only other moves block it."""
    write_verdicts(scope.status, found)
    message = blocked(found.against)
    reason = next((f.reason for f in found.against if f.waits), found.against[0].reason) or Reason.FACT_UNKNOWN
    scope.status.target_host = target
    scope.conditions.set(c.PREREQUISITES_MET, False, reason, message)
    # a held move has no queue position and delays no other move
    if (held := held_by_breaker(scope)) is not None:
        return held
    source = scope.server.host if scope.server else None
    if not waits_in_vain(scope, message, source or "", target):
        scope.progressing(MigrationReason.QUEUED, f"waits for its turn: {message}")
    return scope.decide(Phase.QUEUED, requeue_after=POLL * 5)


def preflight_only(scope: MigrationScope) -> MigrationDecision | None:
    if not scope.spec.preflight_only:
        return None
    message = f"all prerequisites are met; the server can go to {scope.status.target_host}"
    scope.ready(MigrationReason.PREFLIGHT_PASSED, message)
    return scope.decide(Phase.CHECKED, requeue_after=scope.policy.recheck)


def _request(scope: MigrationScope) -> Request:
    spec = scope.spec
    kept = scope.status.attestation
    # a preflight assumes that the server's host is dead
    here = scope.server.host if scope.server is not None and spec.preflight_only else None
    return Request(
        type=spec.type,
        target=spec.target.host if spec.target else None,
        stop_if_running=spec.stop_if_running,
        os_upgrade=spec.os_upgrade,
        attested=kept.host if kept is not None else here,
    )


def _resolve_type(scope: MigrationScope, server: Server) -> Choice:
    if scope.spec.type is MigrationType.AUTO and scope.status.graceful_stop is not None:
        return Choice(
            ResolvedType.COLD, TypeReason.SERVER_STOPPED, "the server was stopped for its cold migration: Cold"
        )
    return _request(scope).resolved_type(server, scope.source)


def _assess(
    scope: MigrationScope, server: Server, kind: ResolvedType, avoid: frozenset[str] = frozenset()
) -> Assessment:
    request = _request(scope)
    question = request.question(
        server,
        kind,
        scope.snapshot,
        scope.policy,
        scope.now,
        scope.world.others(scope.others_moves, scope.earlier_moves),
    )
    return assess(question, request.target, avoid, scope.world.assess_hosts)


def _only_tried_hosts_remain(scope: MigrationScope, server: Server, kind: ResolvedType) -> bool:
    return _assess(scope, server, kind).target is not None
