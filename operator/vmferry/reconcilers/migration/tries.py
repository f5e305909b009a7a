"""Which attempts count, and which hosts they rule out (I23)."""

from __future__ import annotations

from vmferry.reconcilers.migration.attempts import REFUSED, counts, succeeded
from vmferry.reconcilers.migration.scope import MigrationScope
from vmferry.reconcilers.nova_explanation import no_valid_host


def counted_tries(scope: MigrationScope) -> int:
    """Number of attempts that count against `retries`. A refusal by Nova's scheduler does not count if the operator
    chose the host: that host is avoided from then on, and the number of hosts is limited."""
    free = scope.spec.target is None
    return sum(counts(a) and not (free and no_valid_host(a.message)) for a in scope.status.attempts)


def attempts_used(scope: MigrationScope) -> int:
    return sum(counts(a) for a in scope.status.attempts)


def hosts_to_avoid(scope: MigrationScope) -> frozenset[str]:
    """Hosts on which an attempt failed, except by a conflict (409), which is not the host's fault."""
    return frozenset(
        a.target_host
        for a in scope.status.attempts
        if counts(a) and not succeeded(a) and not (a.state == REFUSED and (a.message or "").startswith("409"))
    )


def describe_last_attempt(scope: MigrationScope) -> str:
    last = scope.status.attempts[-1]
    return f"attempt {last.number} to {last.target_host} ended {last.state}: {last.message or 'no reason was given'}"
