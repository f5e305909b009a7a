"""A request: our verdict, then Nova's reaction, then the comparison.

The verdict is that of the operator: its shared view with a fresh reading of the server, and `assess`. The request to
Nova goes through the operator's client: to the host that we picked or, if we refuse, to the host that a person would
have requested.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from testbed.agreement.classes import Against, Did, Happened, Outcome, classify
from testbed.agreement.view import View
from testbed.tenant import MICROVERSION, Tenant
from vmferry.cloud.actions import Accepted, ColdMigrate, Evacuate, LiveMigrate, Move, NotNow, Refused, Unanswered
from vmferry.cloud.actions import Outcome as Answer
from vmferry.cloud.model import Detail, InstanceAction, Migration, MigrationStage, ResolvedType, Server, overlay
from vmferry.planning.request import NO_OTHERS
from vmferry.planning.request import Request as Ask
from vmferry.planning.targets import Assessment, assess, judge
from vmferry.policy import Policy
from vmferry.prerequisites.check import Finding, Question
from vmferry.prerequisites.enums import Reason
from vmferry.resources.words import MigrationType

#: seconds after which a request is looked up if the view does not show its record
LOOK_EVERY = 10.0
#: errors of an overloaded lab, which say nothing about Nova's rules
TOO_SLOW = ("Timed out waiting for a reply", "MessagingTimeout", "MaxRetriesExceeded")


@dataclass(frozen=True, slots=True)
class Request:
    """A request for a migration."""

    step: int
    server_id: str
    kind: ResolvedType
    #: None means any host
    target: str | None
    policy: Policy
    stop_if_running: bool = False
    os_upgrade: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """A request with its verdict and its result."""

    request: Request
    server: Server
    findings: tuple[Finding, ...]
    #: the blocking findings; for a refusal without a target, those against the host that Nova chose
    against: tuple[Against, ...]
    picked: str | None
    happened: Happened
    outcome: Outcome
    requirements: tuple[str, ...]
    seconds: float

    def as_json(self) -> dict[str, Any]:
        request, server = self.request, self.server
        return {
            "step": request.step,
            "kind": str(request.kind),
            "target": request.target,
            "stopIfRunning": request.stop_if_running,
            "osUpgrade": request.os_upgrade,
            "localUnlessShared": request.policy.local_unless_shared,
            "server": {
                "id": server.id,
                "name": server.name,
                "host": server.host,
                "status": server.status,
                "task": server.task_state,
                "locked": server.locked,
                "flavor": server.flavor.name,
                "needs": server.needs,
                "extraSpecs": dict(server.flavor.extra_specs),
                "pinnedZone": server.pinned_availability_zone,
            },
            "findings": [
                {
                    "name": str(f.name),
                    "result": str(f.result),
                    "reason": f.reason and str(f.reason),
                    "message": f.message,
                }
                for f in self.findings
            ],
            "against": [f"{one.name}/{one.reason}: {one.message}" for one in self.against],
            "picked": self.picked,
            "nova": {
                "did": str(self.happened.did),
                "host": self.happened.host,
                "status": self.happened.status,
                "words": self.happened.words,
            },
            "outcome": str(self.outcome),
            "requirements": list(self.requirements),
            "seconds": round(self.seconds, 1),
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    question: Question
    assessment: Assessment
    detail: Detail


async def judged(view: View, request: Request) -> Verdict:
    """Return the verdict that the operator would reach now."""
    detail = await view.detail(request.server_id)
    if detail.server is None:
        raise LookupError(f"server {request.server_id} is gone")
    snapshot = overlay(view.snapshot, detail, request.server_id)
    asked = Ask(
        MigrationType(request.kind.value),
        request.target,
        request.stop_if_running,
        request.os_upgrade,
        # the hosts that the harness kills are dead
        attested=detail.server.host,
    )
    now = datetime.now(UTC)
    question = asked.question(detail.server, request.kind, snapshot, request.policy, now, NO_OTHERS)
    return Verdict(question, assess(question, request.target), detail)


async def carried_out(view: View, tenant: Tenant, request: Request, verdict: Verdict) -> Case:
    """Send the request to Nova, follow it to its end, and compare."""
    began = time.monotonic()
    server, found = verdict.question.server, verdict.assessment
    if found.target is not None and request.kind is ResolvedType.COLD and server.vm_state == "active":
        # as the operator does with stopIfRunning
        await view.call(tenant.act, server.id, {"os-stop": None})
        await view.until(server.id, lambda s: s.status == "SHUTOFF" and s.task_state is None, "SHUTOFF")
    before = max((m.id for m in verdict.detail.migrations), default=0)
    host = found.target or request.target
    if host is None:
        answer = await view.call(ask_for_any_host, tenant, server.id, request.kind)
    else:
        answer = await view.act(_move(request.kind, server, host))
    happened = await _followed(view, server, before, answer)
    against = _against(request, verdict, happened)
    outcome, requirements = classify(request.kind, server.vm_state, against, found.target, happened)
    return Case(
        request,
        server,
        found.findings,
        against,
        found.target,
        happened,
        outcome,
        requirements,
        time.monotonic() - began,
    )


def _move(kind: ResolvedType, server: Server, host: str) -> Move:
    if kind is ResolvedType.LIVE:
        return LiveMigrate(server.id, host)
    if kind is ResolvedType.COLD:
        return ColdMigrate(server.id, host)
    return Evacuate(server.id, host, start=server.vm_state == "active")


def ask_for_any_host(tenant: Tenant, server_id: str, kind: ResolvedType) -> Answer:
    """Send a request without a target, as a person may; the operator never does."""
    bodies: dict[ResolvedType, dict[str, object]] = {
        ResolvedType.LIVE: {"os-migrateLive": {"host": None, "block_migration": "auto"}},
        ResolvedType.COLD: {"migrate": None},
        ResolvedType.EVACUATE: {"evacuate": {}},
    }
    answer = tenant.connection.compute.request(
        f"/servers/{server_id}/action", "POST", json=bodies[kind], microversion=MICROVERSION, raise_exc=False
    )
    request_id = answer.headers.get("x-openstack-request-id")
    if answer.status_code < 300:
        return Accepted(request_id)
    if answer.status_code < 500:
        return Refused(answer.status_code, next(iter(answer.json().values()))["message"], request_id)
    return Unanswered(answer.text[:300], request_id)


def _against(request: Request, verdict: Verdict, happened: Happened) -> tuple[Against, ...]:
    """The blocking findings. If no host was requested and Nova found one, the findings against that host."""
    question, found = verdict.question, verdict.assessment
    blocking = found.against
    chosen = question.snapshot.hosts.get(happened.host or "")
    if blocking and request.target is None and happened.did is Did.MOVED and chosen is not None:
        of_target = judge(question, chosen)
        about = {f.name for f in of_target.findings}
        blocking = (*(f for f in found.against if f.name not in about), *of_target.against)
    return tuple(Against(f.name, f.reason or Reason.FACT_UNKNOWN, f.message) for f in blocking)


async def _followed(view: View, before: Server, last_id: int, answer: Answer) -> Happened:
    """Follow the request to its end and return the result."""
    if isinstance(answer, Refused):
        return Happened(Did.REFUSED, before.host, f"HTTP {answer.code}: {answer.message}", before.status)
    if isinstance(answer, NotNow):
        return Happened(Did.REFUSED, before.host, answer.message, before.status)
    if isinstance(answer, Unanswered):
        return Happened(Did.UNCLEAR, before.host, answer.message, before.status)
    deadline = time.monotonic() + view.patience
    look_at = time.monotonic() + LOOK_EVERY
    while True:
        newest = next(iter(view.records(before.id)), None)
        server = view.server(before.id)
        seen = newest is not None and newest.id > last_id and newest.stage is not MigrationStage.IN_FLIGHT
        if (seen and server is not None and server.task_state is None) or time.monotonic() > look_at:
            detail = await view.detail(before.id, answer.request_id)
            ended = _ended(detail, before, last_id, answer.request_id)
            if ended is not None:
                return ended
            look_at = time.monotonic() + LOOK_EVERY
        if time.monotonic() > deadline:
            return Happened(Did.UNCLEAR, before.host, "no end in time", server.status if server else "")
        await asyncio.sleep(0.2)


def _ended(detail: Detail, before: Server, last_id: int, request_id: str | None) -> Happened | None:
    server = detail.server
    if server is None or server.task_state is not None:
        return None
    records = [m for m in detail.migrations if m.id > last_id]
    action = next((a for a in detail.actions or () if a.request_id == request_id), None)
    if any(m.stage is MigrationStage.IN_FLIGHT for m in records):
        return None
    if not records and not any(e.result == "Error" for e in (action.events if action else ())):
        return None
    arrived = _arrived(records, server, before)
    words = "" if arrived else _words(action, server)
    if any(text in words for text in TOO_SLOW):
        return Happened(Did.UNCLEAR, server.host, words, server.status)
    return Happened(Did.MOVED if arrived else Did.FAILED, server.host, words, server.status)


def _arrived(records: list[Migration], server: Server, before: Server) -> bool:
    good = bool(records) and records[0].stage in (MigrationStage.GOOD, MigrationStage.FINISHED)
    broken = server.vm_state == "error" and before.vm_state != "error"
    return good and not broken and server.host != before.host


def _words(action: InstanceAction | None, server: Server) -> str:
    """The last line of the error of each failed step."""
    told = [
        f"{e.name}{f' on {e.host}' if e.host else ''}: {e.details.strip().splitlines()[-1]}"
        for e in (action.events if action else ())
        if e.details
    ]
    if server.fault:
        told.append(f"fault: {server.fault}")
    return " | ".join(dict.fromkeys(told)) or "no word of a reason"
