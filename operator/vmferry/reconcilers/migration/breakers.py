"""The breakers (I37): after common failures of a host's servers, the other servers are not tried as well."""

from __future__ import annotations

from datetime import timedelta

from vmferry.reconcilers.event_reasons import EventReason
from vmferry.reconcilers.migration.reasons import MigrationReason
from vmferry.reconcilers.migration.scope import POLL, MigrationDecision, MigrationScope
from vmferry.reconcilers.migration.shutdown import release_server
from vmferry.resources.words import HeldBy, Phase


def held_by_breaker(scope: MigrationScope) -> MigrationDecision | None:
    """Hold the move while a breaker prevents moves from its host (I37)."""
    server = scope.server
    assert server is not None
    hold = scope.breaker_hold(server)
    if hold is None:
        return None
    stop = scope.status.graceful_stop
    if stop is not None and (decision := release_server(scope)) is not None:
        return decision
    wait = scope.policy.recheck if hold.until is None else min(hold.until - scope.now, scope.policy.recheck)
    scope.status.held_by = HeldBy.BREAKER if hold.open else HeldBy.AWAITED_RESULT
    if hold.open:
        scope.event_once(EventReason.BREAKER_OPEN, hold.message, warning=True)
        scope.progressing(MigrationReason.BREAKER_OPEN, hold.message)
    else:
        scope.progressing(MigrationReason.AWAITING_RESULT, hold.message)
        wait = POLL * 5
    return scope.decide(Phase.QUEUED, requeue_after=max(wait, timedelta(seconds=1)))
