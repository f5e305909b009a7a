"""Assessment of servers by the operator's checks, on a snapshot of the cloud and without Kubernetes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from enum import StrEnum

from vmferry.cli.verdict import Answer, Verdict
from vmferry.cloud.model import Server, Snapshot
from vmferry.planning.host_assessments import HostAssessments
from vmferry.planning.request import NO_OTHERS, Request, source_of
from vmferry.planning.storage_class import storage_class
from vmferry.planning.targets import AssessHosts, assess, assess_hosts, blocked
from vmferry.policy import Policy
from vmferry.prerequisites.enums import Reason
from vmferry.reconcilers import conditions as c
from vmferry.reconcilers.migration.reasons import MigrationReason
from vmferry.reconcilers.migration.verdicts import write_verdicts
from vmferry.resources.base import clip
from vmferry.resources.vmmigration import PrerequisiteView, ServerView, VMMigrationStatus


def assess_servers(
    servers: Iterable[Server], request: Request, snapshot: Snapshot, policy: Policy, now: datetime
) -> Iterator[Verdict]:
    """Assess servers in the order of their hosts, and yield each verdict so that the caller need not keep them all."""
    assessments = HostAssessments()
    for server in sorted(servers, key=lambda s: (s.host or "", s.name, s.id)):
        yield assess_server(server, request, snapshot, policy, now, assessments.assess_hosts)


def assess_server(
    server: Server, request: Request, snapshot: Snapshot, policy: Policy, now: datetime, by: AssessHosts = assess_hosts
) -> Verdict:
    """Return the verdict that a VMMigration with this request would reach for its server."""
    source = source_of(server, snapshot)
    # an assessment of an evacuation assumes that the source host is dead
    request = replace(request, attested=server.host)
    choice = request.resolved_type(server, source)
    status = VMMigrationStatus(
        type=choice.type,
        server=ServerView(id=server.id, name=clip(server.name, 255) or server.id, state=clip(server.status, 64)),
        storage=storage_class(server, source, policy),
        source_host=clip(server.host, 255) if server.host else None,
    )
    conditions = c.Conditions(status.conditions, generation=1, now=now)
    conditions.set(c.TYPE_RESOLVED, True, choice.reason, choice.message)
    against: tuple[PrerequisiteView, ...] = ()
    reason: StrEnum
    if request.is_met(server, choice.type, source):
        answer, reason, message = (
            Answer.OK,
            MigrationReason.ALREADY_ON_TARGET,
            f"the server is on {server.host} already",
        )
        status.target_host = status.source_host
    else:
        question = request.question(server, choice.type, snapshot, policy, now, NO_OTHERS)
        assessment = assess(question, request.target, by=by)
        write_verdicts(status, assessment)
        names = {finding.name for finding in assessment.against}
        against = tuple(view for view in status.prerequisites if view.name in names)
        if assessment.waits_for is not None:
            # the reason that a queued migration reports
            reason = (
                next((f.reason for f in assessment.against if f.waits), assessment.against[0].reason)
                or Reason.FACT_UNKNOWN
            )
            answer, message = Answer.WAITS, blocked(assessment.against)
            status.target_host = assessment.waits_for
        elif assessment.against:
            answer = Answer.UNKNOWN if assessment.undecided else Answer.BLOCKED
            reason, message = assessment.against[0].reason or Reason.FACT_UNKNOWN, blocked(assessment.against)
        else:
            answer, reason, message = Answer.OK, MigrationReason.ALL_PASSED, f"the server can go to {assessment.target}"
            status.target_host = assessment.target
            status.storage = storage_class(server, source, policy, snapshot.hosts.get(assessment.target or ""))
    conditions.set(c.PREREQUISITES_MET, answer is Answer.OK, reason, message)
    return Verdict(server.id, answer, reason, clip(message, 2048), status, against)


def not_found(asked: str, message: str) -> Verdict:
    """The verdict for a server that does not exist; `asked` is the text of the command line."""
    return Verdict(clip(asked, 255), Answer.UNKNOWN, Reason.SERVER_NOT_FOUND, clip(message, 2048), VMMigrationStatus())
