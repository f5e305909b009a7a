"""Typical defects that are patched into the operator, each with the rules by which a storm detects it.

Most are a missing check, a wrong order, or trust in stale data.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any
from unittest import mock

from vmferry.cloud import observer
from vmferry.cloud.actions import (
    AbortMigration,
    ConfirmResize,
    Evacuate,
    LiveMigrate,
    Move,
    NotSent,
    Outcome,
    Unanswered,
)
from vmferry.cloud.model import MigrationStage, ResolvedType
from vmferry.cloud.nova import NovaClient, act, hosts
from vmferry.planning.breaker import Breakers
from vmferry.prerequisites import chains, server_group
from vmferry.prerequisites.check import Finding, Question, passed
from vmferry.prerequisites.enums import Name
from vmferry.reconcilers import rows
from vmferry.reconcilers.kill_switch import KillSwitchState
from vmferry.reconcilers.maintenance import cordon, drain, emptiness, idle, release, take_survey, uncordon
from vmferry.reconcilers.maintenance import plan as hostmaintenance
from vmferry.reconcilers.maintenance.scope import CORDONED, MaintenanceScope
from vmferry.reconcilers.maintenance.survey import Survey
from vmferry.reconcilers.migration import (
    attempts,
    attestation,
    check,
    deadline,
    ending,
    find,
    follow,
    outcome,
    queueing,
    running,
    scope,
    tries,
)
from vmferry.reconcilers.migration import plan as vmmigration
from vmferry.reconcilers.migration.reasons import MigrationReason
from vmferry.reconcilers.migration.scope import MigrationScope
from vmferry.reconcilers.reads import HostLease
from vmferry.reconcilers.scope import Scope
from vmferry.resources.words import Phase
from vmferry.runtime import reconcile
from vmferry.runtime.host_lease import HostLeases
from vmferry.runtime.kill_switch import KillSwitch
from vmferry.runtime.leader_fence import LeaderFence
from vmferry.runtime.queue import WorkQueue
from vmferry.runtime.resync import Resync


@dataclass(frozen=True, slots=True)
class Break:
    """A patch of the operator, the rules by which it is detected, and seeds of storms that detect it."""

    how: Callable[[ExitStack], None]
    rules: frozenset[str]
    seeds: tuple[int, ...] = ()


def put(stack: ExitStack, where: Any, name: str, what: Any) -> None:
    stack.enter_context(mock.patch.object(where, name, what))


def of_kind(stack: ExitStack, **change: Any) -> None:
    """Replace functions of the kind VMMigration."""
    row = replace(rows.VM_MIGRATION, **change)
    stack.enter_context(mock.patch.dict(rows.KINDS, {row.name: row}))


def step(stack: ExitStack, module: Any, name: str, what: Any = lambda *_: None) -> None:
    """Replace a step of a state machine; by default remove it."""
    known = getattr(module, name)
    for table, steps in list(vars(module).items()):
        if isinstance(steps, tuple) and known in steps:
            put(stack, module, table, tuple(what if one is known else one for one in steps))


def first(stack: ExitStack, what: Any) -> None:
    """Add a step before all others of the VMMigration."""
    put(stack, vmmigration, "STEPS", (what, *vmmigration.STEPS))


Check = Callable[[Question], Finding]


def checks(stack: ExitStack, change: Callable[[Check], Check], *names: Name) -> None:
    """Replace the checks of these prerequisites."""

    def changed(prerequisite: Any) -> Any:
        known = prerequisite.name in names
        return replace(prerequisite, check=change(prerequisite.check)) if known else prerequisite

    table = tuple((changed(check), of) for check, of in chains.TABLE)
    chain = {kind: tuple(changed(check) for check in of) for kind, of in chains.CHAINS.items()}
    for module in [m for m in list(sys.modules.values()) if getattr(m, "__name__", "").startswith("vmferry.")]:
        for name, value in (("TABLE", table), ("CHAINS", MappingProxyType(chain))):
            if getattr(module, name, None) is getattr(chains, name) and module is not chains:
                put(stack, module, name, value)
    put(stack, chains, "TABLE", table)
    put(stack, chains, "CHAINS", MappingProxyType(chain))


def passes(stack: ExitStack, *names: Name) -> None:
    """Let these prerequisites always pass."""
    checks(stack, lambda check: lambda question: passed(check(question).name, "never mind", None), *names)


def no_intent(stack: ExitStack) -> None:
    """An action is written to the status only after it was sent."""
    write = reconcile.Reconciler._put_status

    async def later(self: Any, kind: Any, key: Any, obj: Any, status: Any) -> Any:
        attempts = getattr(status, "attempts", [])
        if attempts and attempts[-1].state == "Requested" and attempts[-1].request_id is None:
            return kind.with_status(obj, status)
        return await write(self, kind, key, obj, status)

    put(stack, reconcile.Reconciler, "_put_status", later)


def sends_again(stack: ExitStack) -> None:
    """A request without a response counts as not sent, and migrations of other users are ignored."""
    record = outcome.record_outcome

    def hasty(obj: Any, action: Any, outcome: Outcome, now: datetime) -> Any:
        lost = isinstance(outcome, Unanswered) and isinstance(action, Move)
        return record(obj, action, NotSent("lost") if lost else outcome, now)

    of_kind(stack, record_outcome=hasty)
    passes(stack, Name.SERVER_TASK)


def no_fence(stack: ExitStack) -> None:
    """Every operator acts as if it were the leader."""
    init = LeaderFence.__init__

    def always(self: Any, kube: Any, term: Any) -> None:
        init(self, kube, lambda: 0)

    put(stack, LeaderFence, "__init__", always)


def no_limits(stack: ExitStack) -> None:
    put(stack, queueing, "full", lambda *_: None)


def owes_nothing(stack: ExitStack) -> None:
    """No finalizer protects moves in flight."""
    put(stack, MigrationScope, "owes", False)


def believes(stack: ExitStack) -> None:
    """A move that Nova has accepted counts as completed."""

    def hopeful(scope: Any, attempt: Any, record: Any) -> Any:
        attempt.state, attempt.ended_at = "Completed", scope.now
        return None

    put(stack, follow, "in_flight", hopeful)


def hot(stack: ExitStack) -> None:
    """Delayed reconciles run at once."""
    put(stack, WorkQueue, "add_after", lambda self, key, delay, *_: self.add(key))


def chatters(stack: ExitStack) -> None:
    """The status is written even if it has not changed."""
    put(stack, reconcile, "_same", lambda *_: False)


def gives_up(stack: ExitStack) -> None:
    """A missing Nova record raises an exception in the reconcile."""

    def impatient(*_: Any) -> Any:
        raise ValueError("no record")

    put(stack, follow, "without_record", impatient)


# ---- moves of servers


def no_fresh_read(stack: ExitStack) -> None:
    """A server is moved on the basis of the shared view, without a direct read."""
    put(stack, MigrationScope, "has_fresh_detail", lambda self: True)


def late_is_over(stack: ExitStack) -> None:
    """An attempt past its deadline counts as failed, although Nova still works on it."""
    known = running.in_flight

    def impatient(scope: Any, attempt: Any, record: Any) -> Any:
        if scope.now < deadline.deadline(attempt, scope.server, scope):
            return known(scope, attempt, record)
        attempts.end(scope, attempt, "failed", "it is over its deadline")
        return None

    put(stack, follow, "in_flight", impatient)


def old_view(stack: ExitStack) -> None:
    """Decisions are made with a stale shared view."""
    step(stack, vmmigration, "stale_view")
    step(stack, hostmaintenance, "stale_view")


def for_ever(stack: ExitStack) -> None:
    """Failed moves are retried without limit, on any host."""
    step(stack, vmmigration, "fail_exhausted")
    for module in (tries, check, ending):
        put(stack, module, "hosts_to_avoid", lambda scope: frozenset())


def fights(stack: ExitStack) -> None:
    """A move that a person has aborted is retried."""
    known = attempts.counts
    put(stack, ending, "ended_by_others", lambda attempt: False)
    for module in (ending, tries):
        put(stack, module, "counts", lambda attempt: known(attempt) and attempt.state != "Cancelled")


def aborts_all(stack: ExitStack) -> None:
    """Migrations of other users that block a move are aborted."""

    def abort(scope: MigrationScope) -> Any:
        records = scope.snapshot.migrations_by_server.get(scope.server_id or "", ())
        running = [m for m in records if m.type == "live-migration" and m.stage is MigrationStage.IN_FLIGHT]
        if scope.status.completed_at is not None or scope.status.open_attempt is not None or not running:
            return None
        scope.progressing(MigrationReason.ABORTING, "it is being aborted")
        return scope.decide(Phase.MIGRATING, action=AbortMigration(running[0].server_id, running[0].id))

    first(stack, abort)


def confirms_all(stack: ExitStack) -> None:
    """Every resize that waits for its confirmation is confirmed."""

    def confirm(scope: MigrationScope) -> Any:
        if scope.status.completed_at is not None or scope.server is None or scope.server.vm_state != "resized":
            return None
        scope.progressing(MigrationReason.VERIFYING, "the resize is being confirmed")
        again = timedelta(seconds=10)
        return scope.decide(Phase.VERIFYING, action=ConfirmResize(scope.server.id), requeue_after=again)

    first(stack, confirm)


def stops_all(stack: ExitStack) -> None:
    """A running server is shut down for its cold migration without permission."""
    checks(stack, lambda check: lambda question: check(replace(question, stop_if_running=True)), Name.POWER_STATE)


def forces(stack: ExitStack) -> None:
    """Moves are forced to the target, past the scheduler."""
    request = act.request_of

    def forced(action: Any) -> Any:
        method, path, body, route = request(action)
        if isinstance(action, LiveMigrate | Evacuate) and body is not None:
            next(iter(body.values()))["force"] = True
        return method, path, body, route

    put(stack, act, "request_of", forced)


def no_switch(stack: ExitStack) -> None:
    """The kill switch is never read."""

    async def never(self: KillSwitch) -> KillSwitchState:
        return KillSwitchState()

    put(stack, KillSwitch, "read", never)


# ---- dead hosts


def evacuates_the_living(stack: ExitStack) -> None:
    """A host is considered dead because an evacuation is requested."""
    passes(stack, Name.SOURCE_HOST)


def needs_no_proof(stack: ExitStack) -> None:
    """A host without heartbeat is evacuated without `forced_down` and without a person's attestation."""
    checks(
        stack, lambda check: lambda question: check(replace(question, attested=question.server.host)), Name.SOURCE_HOST
    )


def binds_no_host(stack: ExitStack) -> None:
    """A request of type Evacuate attests every later host of the server as well."""
    put(stack, find, "contradiction", lambda scope: None)
    needs_no_proof(stack)


def never_expires(stack: ExitStack) -> None:
    """Requests never expire."""
    put(stack, ending, "expired", lambda scope: None)


def keeps_it_off(stack: ExitStack) -> None:
    """A server that was shut down for its move stays off while the move is paused."""
    put(stack, vmmigration, "limit_downtime", lambda scope, decision: decision)


def needs_no_silence(stack: ExitStack) -> None:
    """A host is considered dead as soon as Nova reports it as down."""

    def at_once(check: Check) -> Check:
        return lambda question: check(
            replace(question, policy=replace(question.policy, host_down_for=timedelta(seconds=0)))
        )

    checks(stack, at_once, Name.SOURCE_HOST)


def dead_for_good(stack: ExitStack) -> None:
    """A host that was dead once is considered dead forever."""
    dead: set[str] = set()

    def remember(check: Check) -> Check:
        def ask(question: Question) -> Finding:
            found, host = check(question), question.server.host or ""
            if question.type is not ResolvedType.EVACUATE:
                return found
            if not found.blocks(question.policy):
                dead.add(host)
            return passed(found.name, "dead") if host in dead else found

        return ask

    known = attestation.contradiction

    def believed(scope: MigrationScope) -> None:
        known(scope)

    put(stack, find, "contradiction", believed)
    checks(stack, remember, Name.SOURCE_HOST)


def forces_down(stack: ExitStack) -> None:
    """The operator itself forces the service down, so that Nova accepts the evacuation."""
    act = NovaClient.act

    def marked(self: NovaClient, action: Any, forbidden: Any = lambda: None) -> Any:
        if isinstance(action, Evacuate) and forbidden() is None:
            server = self.server(action.server_id)
            found = self.service(server.host or "") if server else None
            if found is not None:
                self._open().compute.request(f"/os-services/{found.id}", "PUT", json={"forced_down": True})
        return act(self, action, forbidden)

    put(stack, NovaClient, "act", marked)


def loses_disks(stack: ExitStack) -> None:
    """The storage of the disks is not checked."""
    passes(stack, Name.STORAGE)


def leaves_off(stack: ExitStack) -> None:
    """An evacuated server stays powered off, even if it was running."""
    known = rows.VM_MIGRATION.plan

    def plan(*asked: Any) -> Any:
        decision = known(*asked)
        action = decision.action
        return replace(decision, action=replace(action, start=False)) if isinstance(action, Evacuate) else decision

    of_kind(stack, plan=plan)


# ---- targets


def old_targets(stack: ExitStack) -> None:
    passes(stack, Name.OPERATING_SYSTEM, Name.HYPERVISOR_VERSION)


def together(stack: ExitStack) -> None:
    """Members of one group move at the same time."""
    put(stack, server_group, "_in_flight", lambda *_: None)


# ---- maintenance


def others_reason(stack: ExitStack) -> None:
    """The host is enabled at the end, even if another user disabled it."""
    undo = uncordon.undo_cordon

    def careless(scope: MaintenanceScope) -> Any:
        cordon = scope.status.cordon
        if cordon is not None and scope.look is not None and scope.look.service is not None:
            cordon.disabled_reason = scope.look.service.disabled_reason or ""
            scope.look = replace(
                scope.look, service=replace(scope.look.service, disabled_reason=cordon.disabled_reason)
            )
        return undo(scope)

    put(stack, release, "undo_cordon", careless)


def nobodys_reason(stack: ExitStack) -> None:
    """The disabled reason does not contain the uid of the HostMaintenance."""
    put(stack, cordon, "our_reason", lambda scope: scope.spec.reason or "maintenance")


def no_lease(stack: ExitStack) -> None:
    """The operator acts on a host without its Lease."""

    async def free(self: HostLeases, host: str, holder: str) -> HostLease:
        return HostLease(host, None)

    put(stack, HostLeases, "take", free)


def hurries(stack: ExitStack) -> None:
    """The host counts as empty as soon as no further move is planned."""
    put(stack, emptiness, "still_there", lambda *_: None)
    known = drain.drain

    def early(scope: MaintenanceScope, survey: Survey) -> Any:
        return known(scope, survey) if survey.planned else emptiness.verify_empty(scope, survey)

    step(stack, hostmaintenance, "drain", early)


def no_budget(stack: ExitStack) -> None:
    step(stack, hostmaintenance, "budget")


def shares_the_host(stack: ExitStack) -> None:
    """Two HostMaintenances may have one host."""
    step(stack, hostmaintenance, "conflict")
    no_lease(stack)


def cordons_once(stack: ExitStack) -> None:
    """A host that was disabled once is never disabled again."""
    known = cordon.cordon

    def once(scope: MaintenanceScope, survey: Survey) -> Any:
        was = scope.conditions.get(CORDONED)
        return None if was is not None and was.status == "True" else known(scope, survey)

    step(stack, hostmaintenance, "cordon", once)


def returns_all(stack: ExitStack) -> None:
    """Moved servers are returned, even if that is not requested."""
    known = release.release

    def back(scope: MaintenanceScope) -> Any:
        scope.spec = scope.spec.model_copy(update={"return_vms": True})
        return known(scope)

    put(stack, idle, "release", back)


# ---- statuses


def says_nothing(stack: ExitStack) -> None:
    """The condition Progressing has no message."""
    known = Scope.progressing
    put(stack, Scope, "progressing", lambda self, reason, message: known(self, reason, ""))


def tells_the_time(stack: ExitStack) -> None:
    """A status message contains the time of the last reconcile."""
    known = MaintenanceScope.ready
    put(
        stack,
        MaintenanceScope,
        "ready",
        lambda self, reason, message: known(self, reason, f"{message}; looked at {self.now:%H:%M:%S}"),
    )


def forgets(stack: ExitStack) -> None:
    """Delayed reconciles never run."""
    put(stack, WorkQueue, "add_after", lambda self, key, delay, *_: None)


# ---- Kubernetes


def takes_all_for_wishes(stack: ExitStack) -> None:
    """Every deletion of an object counts as a cancellation by a person."""
    put(stack, scope, "is_cancellation", lambda *_: True)


def trusts_what_it_knew(stack: ExitStack) -> None:
    """A list that is older than the known state is accepted."""
    put(stack, Resync, "_went_back", staticmethod(lambda *_: False))


def never_stalls(stack: ExitStack) -> None:
    """A lack of progress is never reported."""
    put(stack, MaintenanceScope, "no_progress", lambda self, what: False)
    put(
        stack,
        MigrationScope,
        "report_no_progress",
        lambda self, message: self.progressing(MigrationReason.MIGRATING, message),
    )


def believes_leftovers(stack: ExitStack) -> None:
    """Old tasks and open records of Nova count as work in progress."""
    put(stack, observer, "marked", lambda records, *_: list(records))
    put(stack, take_survey, "stuck", lambda *_: None)
    never_stalls(stack)


def seen_by(how: Callable[[ExitStack], None], *rules: str, at: tuple[int, ...] = ()) -> Break:
    return Break(how, frozenset(rules), at)


def believes_one_record(stack: ExitStack) -> None:
    """If a host has two service records, the last one is used."""
    for module in (observer, hosts):
        put(stack, module, "doubtful_hosts", lambda *_: {})


def no_breaker(stack: ExitStack) -> None:
    """No breaker stops moves after failures with a common cause."""
    put(stack, Breakers, "against", lambda *_: None)


def waits_for_ever(stack: ExitStack) -> None:
    """Reads of the cloud have no deadline, so a read that never ends blocks all later reads."""

    async def patient(seconds: float, waiting: Any) -> Any:
        return await waiting

    put(stack, observer, "_within", patient)


BREAKS: dict[str, Break] = {
    "waits for an answer that never ends": seen_by(waits_for_ever, "stuck", at=(6027, 6029)),
    "tries on every server what breaks them": seen_by(no_breaker, "I37", at=(6111, 6280, 6284)),
    "believes one of two records": seen_by(believes_one_record, "I36", at=(6010, 6012)),
    "moves on what the shared view says": seen_by(no_fresh_read, "I2", at=(6001, 6002)),
    "no write-ahead intent": seen_by(no_intent, "lost", "I3", at=(6013,)),
    "sends again after no answer": seen_by(sends_again, "I3", at=(6002, 6004)),
    "believes that what began has ended": seen_by(believes, "I5", at=(6003, 6004)),
    "what is late is over": seen_by(late_is_over, "I6", at=(6011, 6013)),
    "confirms whatever waits for it": seen_by(confirms_all, "I7", at=(6002,)),
    "enables whatever the reason": seen_by(others_reason, "I8", at=(6018, 6076)),
    "disables for nobody": seen_by(nobodys_reason, "I8", at=(6001, 6012)),
    "holds no finalizer": seen_by(owes_nothing, "I9", "lost", at=(6013,)),
    "aborts whatever moves the server": seen_by(aborts_all, "I9", at=(6015, 6050)),
    "fights with who aborts": seen_by(fights, "I9", at=(6028, 6086)),
    "marks hosts as dead": seen_by(forces_down, "I11", at=(6002, 6021)),
    "evacuates from hosts that live": seen_by(evacuates_the_living, "I12", at=(6021, 6024)),
    "evacuates without a proof of death": seen_by(needs_no_proof, "I12", at=(6021, 6024)),
    "evacuates from whatever host": seen_by(binds_no_host, "I38", at=(6023, 6091)),
    "starts after its time": seen_by(never_expires, "I39", at=(6020, 6043)),
    "keeps a server off while its move is paused": seen_by(keeps_it_off, "lost", at=(6027, 6087)),
    "evacuates without waiting": seen_by(needs_no_silence, "I12", at=(6071, 6103)),
    "goes on evacuating from who came back": seen_by(dead_for_good, "I12", at=(6016, 6151)),
    "decides on an old view": seen_by(old_view, "I13", at=(6005, 6009)),
    "evacuates local disks": seen_by(loses_disks, "I14", at=(6024, 6104)),
    "evacuates in any state": seen_by(lambda stack: passes(stack, Name.POWER_STATE), "I15", at=(6002, 6071)),
    "leaves off what it evacuates": seen_by(leaves_off, "I15", at=(6021, 6054)),
    "moves to hosts out of service": seen_by(lambda stack: passes(stack, Name.TARGET_HOST), "I18", at=(6008, 6007)),
    "moves to older hosts": seen_by(old_targets, "I18", at=(6011, 6078)),
    "forces": seen_by(forces, "I19", at=(6002,)),
    "says that a host is empty too early": seen_by(hurries, "I20", at=(6018,)),
    "stops whom it may not": seen_by(stops_all, "I21", at=(6014,)),
    "tries for ever": seen_by(for_ever, "I23", at=(6029, 6139)),
    "ignores the limits": seen_by(no_limits, "I24", at=(6013,)),
    "ignores groups": seen_by(lambda stack: passes(stack, Name.SERVER_GROUP), "I25", at=(6004, 6364)),
    "moves members of a group at once": seen_by(together, "I25", at=(6364,)),
    "ignores the budget": seen_by(no_budget, "I26", at=(6012, 6018)),
    "shares a host": seen_by(shares_the_host, "I26", at=(6001, 6037)),
    "disables once and for all": seen_by(cordons_once, "I27", at=(6001,)),
    "brings back unasked": seen_by(returns_all, "I28", at=(6029, 6123)),
    "drops the kill switch": seen_by(no_switch, "I31", at=(6102, 6035)),
    "drops the fence": seen_by(no_fence, "I32", at=(6004,)),
    "takes no Lease of the host": seen_by(no_lease, "I32", at=(6001,)),
    "gives no reason": seen_by(says_nothing, "R20", at=(6001,)),
    "looks again at once": seen_by(hot, "a hot loop", at=(6000,)),
    "looks only at what changes": seen_by(forgets, "stuck", at=(6006,)),
    "writes what is written already": seen_by(chatters, "says the same", at=(6000,)),
    "writes when it looked": seen_by(tells_the_time, "small talk", at=(6001,)),
    "takes the garbage collector for a person": seen_by(takes_all_for_wishes, "I41", at=(6048,)),
    "trusts what it knew of another history": seen_by(trusts_what_it_knew, "I44", "a hot loop", at=(6016, 6025)),
    "believes every old record and task": seen_by(believes_leftovers, "R47", at=(6004,)),
    "a look ends in an exception": seen_by(gives_up, "an exception", at=(6001,)),
}
