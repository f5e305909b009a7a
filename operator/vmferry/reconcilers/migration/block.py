"""Blocking a request: its condition, its Event, and clearing earlier results."""

from __future__ import annotations

from vmferry.reconcilers import conditions as c
from vmferry.reconcilers.event_reasons import EventReason
from vmferry.reconcilers.migration.scope import MigrationScope
from vmferry.resources.documented import ReasonWord


def is_first_report(scope: MigrationScope, reason: ReasonWord) -> bool:
    """Whether PrerequisitesMet does not report this reason yet."""
    before = scope.conditions.get(c.PREREQUISITES_MET)
    return before is None or before.status != "False" or before.reason != reason


def announce_block(scope: MigrationScope, reason: ReasonWord, message: str) -> None:
    """Set PrerequisitesMet to False, with an Event the first time for this reason."""
    if is_first_report(scope, reason):
        scope.event(EventReason.PREREQUISITES_NOT_MET, message, warning=True)
    scope.conditions.set(c.PREREQUISITES_MET, False, reason, message)


def forget_verdicts(scope: MigrationScope) -> None:
    scope.status.server = None
    scope.status.source_host = scope.status.target_host = None
    scope.status.prerequisites = []
    scope.status.eligible_targets = []
    scope.status.ineligible_targets = []
