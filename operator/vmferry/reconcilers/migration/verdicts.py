"""Writes the results for prerequisites and targets to the status."""

from __future__ import annotations

from vmferry.planning.targets import Assessment
from vmferry.resources.base import clip
from vmferry.resources.vmmigration import (
    MAX_ELIGIBLE,
    MAX_INELIGIBLE,
    EligibleTarget,
    IneligibleTargets,
    PrerequisiteView,
    VMMigrationStatus,
)


def write_verdicts(status: VMMigrationStatus, found: Assessment) -> None:
    """Write every prerequisite, the best eligible targets, and the ineligible ones by reason."""
    status.prerequisites = [
        PrerequisiteView(
            name=f.name,
            result=f.result,
            reason=f.reason,
            host=f.host,
            message=clip(f.message, 2048),
            remedy=clip(f.remedy) if f.remedy else None,
        )
        for f in found.findings
    ]
    status.eligible_targets = [
        EligibleTarget(host=r.host, rank=n, message=clip(r.message))
        for n, r in enumerate(found.eligible[:MAX_ELIGIBLE], start=1)
    ]
    status.ineligible_targets = [
        IneligibleTargets(reason=g.reason, hosts=g.hosts, example=g.example, message=clip(g.message))
        for g in found.ineligible[:MAX_INELIGIBLE]
    ]
