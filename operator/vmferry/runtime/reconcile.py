"""One reconcile of one object: plan, write the decision to the status, act, write the outcome.

    plan -> needs? read them and plan again -> finalizer on -> status -> act -> record outcome -> status
         -> events -> delete owned objects -> create owned objects -> release the Lease
         -> finalizer off -> delete -> reconcile again later

This order makes a crash between any two steps safe. Before the status write nothing has happened; between the status
write and the action the status contains `Requested` and Nova has no record; after the action Nova has a record. The
next reconcile distinguishes these cases by Nova's records (I3), so no step is ever repeated blindly. A reconcile that
changes nothing writes nothing. When this operator loses the leadership, the running reconcile ends at once, and the
next leader continues from what is written.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from vmferry.cloud.actions import Action, Outcome
from vmferry.cloud.nova import CloudError
from vmferry.planning.host_assessments import HostAssessments
from vmferry.policy import Policy
from vmferry.reconcilers.conditions import READY
from vmferry.reconcilers.decision import Decision, Event, EventType
from vmferry.reconcilers.event_reasons import EventReason
from vmferry.reconcilers.kill_switch import breaker_kind
from vmferry.reconcilers.kind import Kind, Kinds
from vmferry.reconcilers.owned import Deletion, owner_of, owner_reference
from vmferry.reconcilers.reads import (
    AnyRead,
    CopyProgress,
    HostLease,
    ReadCopyProgress,
    ReadDeletion,
    ReadHost,
    ReadServer,
    TakeHostLease,
    TryCreate,
)
from vmferry.reconcilers.refused_writes import FINALIZER
from vmferry.reconcilers.world import World
from vmferry.redaction import redact
from vmferry.resources.base import API_VERSION, Metadata, Model, Resource, clip
from vmferry.runtime.cloud import Cloud
from vmferry.runtime.events import Recent, post
from vmferry.runtime.key import Key
from vmferry.runtime.kill_switch import PATIENCE, KillSwitch
from vmferry.runtime.kube_api import ConflictError, InvalidError, KubeError, NotFoundError
from vmferry.runtime.leader_fence import LeaderFence, NotLeadingError
from vmferry.runtime.logs import about, asked_as
from vmferry.runtime.metrics import definitions as metrics
from vmferry.runtime.owned import OwnedWriter
from vmferry.runtime.queue import Lane, WorkQueue
from vmferry.runtime.refusals import LENGTH as REFUSAL_LENGTH
from vmferry.runtime.refusals import Refusals
from vmferry.runtime.store import Body, Store, Unreadable, key_of, version_of
from vmferry.runtime.triggers import Triggers

#: how long to defer an unimportant status write of an object that only waits
QUIET = timedelta(minutes=5)
#: maximum number of reads in one reconcile; a decision that needs more is postponed
MAX_READS = 4
#: seconds until an object is reconciled again while the store is incomplete
NOT_WHOLE_PAUSE = 1.0
#: seconds until the next reconcile, which reports a write that was refused after the status had been written
REFUSED_PAUSE = 1.0
#: attempts to write the outcome of an action, and the seconds before the second attempt (doubled after each attempt)
OUTCOME_TRIES = 6
OUTCOME_PAUSE = 0.25

logger = logging.getLogger(__name__)


class Leases(Protocol):
    """Implemented by `host_lease.HostLeases`. Both methods raise `KubeError`."""

    async def take(self, host: str, holder: str) -> HostLease: ...

    async def give_back(self, host: str, holder: str) -> None: ...


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Reconciler:
    """Plans and executes decisions. The workers call `reconcile`."""

    kinds: Kinds
    store: Store
    queue: WorkQueue[Key]
    kube: LeaderFence
    cloud: Cloud
    leases: Leases
    triggers: Triggers
    policy: Policy
    switch: KillSwitch
    now: Callable[[], datetime] = _now
    #: called with each body that the API server returns when an object is read again
    suspect: Callable[[str, Body], None] = lambda *_: None
    #: resourceVersions of unreadable objects that were already reported
    _complained: dict[Key, int] = field(default_factory=dict)
    #: shared, because thousands of reconciles assess the same hosts
    _host_assessments: HostAssessments = field(default_factory=HostAssessments)
    #: when a status was last written, or first found to be out of date
    _written: dict[Key, datetime] = field(default_factory=dict)
    _recent: Recent = field(default_factory=Recent)
    _refusals: Refusals = field(default_factory=Refusals)
    #: status writes whose response was lost, with the object before the write; they may have been applied
    _unanswered: dict[Key, tuple[Resource, Model]] = field(default_factory=dict)

    async def reconcile(self, key: Key) -> None:
        """Reconcile one object. Raises errors after which the caller must try again; handles conflicts itself.
        Does nothing while another operator leads. All objects are queued when this operator begins to lead.
        """
        known = self.store.get(key)
        if not isinstance(known, Unreadable):
            self._complained.pop(key, None)
        if known is None and not self.store.whole:
            return
        if known is None:
            self.triggers.forget(key)
            self.queue.forget(key)
            self._unanswered.pop(key, None)
            self._written.pop(key, None)
            self._refusals.forget(key)
            return
        term = self.kube.term()
        if term is None:
            return
        if not self.store.whole:  # a decision would rest on an incomplete view
            self.queue.add_after(key, NOT_WHOLE_PAUSE, Lane.ROUTINE)
            return
        with self.kube.during(term):
            await self._reconcile(key, known, term)

    async def _reconcile(self, key: Key, known: Resource | Unreadable, term: int) -> None:
        if isinstance(known, Unreadable):
            await self._complain(key, known)
            return
        self._count_late(key, known)
        try:
            with about({"uid": known.metadata.uid, **self.kinds[key.kind].describe(known)}):
                await self._pass(key, term)
        except NotLeadingError as error:
            logger.info("the reconcile has ended: %s", error)
        except ConflictError as error:
            logger.info("the object has changed meanwhile, reconciling again: %s", error)
            again = await self._read_again(key)
            if again is not None and self.store.is_from_before(key, int(again.metadata.resource_version)):
                # Kubernetes was restored to an earlier state: every write is refused until everything is listed again
                self.queue.add_after(key, NOT_WHOLE_PAUSE, Lane.ROUTINE)
            else:
                self.queue.add(key)
        except NotFoundError:
            await self._read_again(key)
            self.queue.add(key)
        except KubeError as error:
            if error.refused:
                await self._tell_refusal(key, known, error)
            # the write may have been applied in spite of the error
            with suppress(KubeError):
                await self._read_again(key)
            raise
        finally:
            self.store.release_held(key)
            if self.store.freed(self.cloud.snapshot):
                self.triggers.freed()

    async def _pass(self, key: Key, term: int) -> None:
        kind = self.kinds[key.kind]
        planned = await self._plan(key)
        if planned is None:
            return
        obj, decision = planned
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("decided: %s", _summary(decision))
        changed = False
        if decision.finalizer and not _has(kind, obj) and obj.metadata.deletion_timestamp is None:
            try:
                obj = await self._put_finalizers(kind, key, obj, [*obj.metadata.finalizers, kind.type.finalizer])
                self._refusals.clear(key, FINALIZER)
                changed = True
            except KubeError as error:
                if not error.refused or isinstance(error, NotFoundError):
                    raise
                # without the finalizer nothing is done; the status reports why
                self._refusals.note(key, FINALIZER, error, self.now())
                planned = await self._plan(key)
                if planned is None:
                    return
                obj, decision = planned
        events = decision.events
        if not _same(decision.status, obj.status):
            if changed or decision.action is not None or self._is_due(kind, key, obj, decision):
                obj = await self._put_status(kind, key, obj, decision.status)
                changed = True
            else:
                self.store.note_unwritten(key, kind.with_status(obj, decision.status))
        if decision.action is not None:
            obj, more = await self._act(kind, key, obj, decision.action, term)
            events += more
            changed = True
        # the events of a decision that changes nothing were posted before
        if changed or decision.delete:
            with about(kind.describe(obj)):
                for event in events:
                    _log(event)
                    reference, version = obj.reference(), obj.metadata.resource_version
                    await post(self.kube, self._recent, key, reference, version, event, self.now())
        await self._see_to_others(key, obj, decision)
        if not decision.finalizer and _has(kind, obj):
            others = [name for name in obj.metadata.finalizers if name != kind.type.finalizer]
            obj = await self._put_finalizers(kind, key, obj, others)
        if decision.delete and obj.metadata.deletion_timestamp is None:
            logger.info("the object has reached its time to live and is deleted")
            await self.kube.delete(kind.type, key, obj.metadata.uid, obj.metadata.resource_version)
        waits = decision.requeue_after is not None and decision.move is None and not kind.finished(obj)
        if decision.requeue_after is not None:
            lane = Lane.PATIENT if self.store.rests(key) else Lane.ROUTINE
            self.queue.add_after(key, decision.requeue_after.total_seconds(), lane)
        self.triggers.note(key, decision.watches, waits=waits, host=decision.watches_host)

    def _is_due(self, kind: Kind[Any, Any], key: Key, obj: Resource, decision: Decision[Model]) -> bool:
        """Whether to write the status now: the change is urgent, or the last write is long enough ago."""
        written = self._written.setdefault(key, self.now())
        pause = QUIET if decision.move is None else self.policy.progress_every
        return kind.must_write_now(obj.status, decision.status) or self.now() - written >= pause

    async def _see_to_others(self, key: Key, obj: Resource, decision: Decision[Model]) -> None:
        """Delete and create owned objects, release the Lease. The next reconcile decides again about what failed."""
        writer = self._owned_writer()
        await writer.delete(obj, decision.deletes, self.now())
        if not await writer.create(obj, decision.creates, self.now()):
            self.queue.add_after(key, REFUSED_PAUSE, Lane.ROUTINE)
        if decision.release_lease is not None:
            await self.leases.give_back(decision.release_lease, _holder(key, obj))

    def _owned_writer(self) -> OwnedWriter:
        return OwnedWriter(self.kinds, self.store, self.queue, self.kube, self._refusals)

    async def _take_lease(self, host: str, holder: str) -> HostLease:
        """Take the host's Lease. A write that Kubernetes refuses is not an error but a result for the status."""
        try:
            return await self.leases.take(host, holder)
        except KubeError as error:
            if not error.refused:
                raise
            return HostLease(host, None, refused=clip(redact(str(error)), REFUSAL_LENGTH))

    async def _who_deletes(self, key: Key, obj: Resource) -> Deletion:
        """Determine from the API server what deletes the object.

        The store does not suffice: the watch may deliver the deletion of the owner after that of the owned object.
        """
        terminating = False
        if key.namespace:
            try:
                terminating = await self.kube.is_terminating(key.namespace)
            except KubeError as error:
                if not error.refused:
                    raise
                logger.warning("whether the namespace is being deleted is unknown, so nothing is aborted: %s", error)
                terminating = True
        reference = owner_reference(obj.metadata)
        if reference is None or reference.kind not in self.kinds:
            return Deletion(None, terminating)
        owner = self.store.owner_key(reference, key.namespace)
        try:
            body = await self.kube.get(self.kinds[owner.kind].type, owner)
        except NotFoundError:
            return Deletion(None, terminating)
        found = Metadata.model_validate(body["metadata"])
        return Deletion(owner_of(found) if found.uid == reference.uid else None, terminating)

    async def _plan(self, key: Key) -> tuple[Resource, Decision[Model]] | None:
        """Plan, and do the reads that the plan needs. None if the object is gone or a fact cannot be read now.

        Nothing is awaited between the last plan and `hold_claim`, so no two reconciles plan for the same capacity or
        slot.
        """
        kind = self.kinds[key.kind]
        answers: list[tuple[AnyRead, Any]] = []
        unread: CloudError | None = None
        while True:
            obj = self.store.get(key)
            if obj is None or isinstance(obj, Unreadable):
                self.queue.add(key)
                return None
            snapshot = self.cloud.snapshot
            world = World(
                snapshot,
                unread=str(unread) if unread is not None else None,
                moves=self.store.moves_except(key, snapshot),
                earlier=self.store.earlier_than(key, snapshot),
                os_upgrades=self.store.os_upgrades(),
                breakers=self.store.history.breakers(),
                broken=self.store.history.broken,
                in_maintenance=self.store.in_maintenance(snapshot),
                claims=self.store.claims_except(key),
                owned=self.store.owned_by(obj.metadata.uid),
                owner=self.store.owner(obj) if kind.owned is not None else None,
                refusals=self._refusals.of(key),
                answers=tuple(answers),
                kill_switch=self.switch.seen,
                assess_hosts=self._host_assessments.assess_hosts,
            )
            decision = kind.plan(obj, world, self.now(), self.policy)
            needs = decision.needs
            if needs is None:
                self.store.hold_move(key, decision.move)
                if kind.claim is not None:
                    self.store.hold_claim(key, kind.claim(kind.with_status(obj, decision.status)))
                return obj, decision
            if unread is not None:
                raise unread
            if len(answers) == MAX_READS or any(needs == read for read, _ in answers):
                logger.info("not decided, reconciling again later; still needed: %s", needs)
                pause = decision.requeue_after or self.policy.recheck
                self.queue.add_after(key, pause.total_seconds(), Lane.ROUTINE)
                self.triggers.note(key, decision.watches, waits=False, host=decision.watches_host)
                return None
            try:
                answers.append((needs, await self._read(key, obj, needs)))
            except CloudError as error:
                # an object without a status reports the failed read; for all others the reconcile is repeated
                unread = error
                if isinstance(needs, ReadCopyProgress):  # no decision depends on it
                    answers.append((needs, CopyProgress(None)))

    async def _read(self, key: Key, obj: Resource, read: AnyRead) -> Any:
        """Execute the read and return its result, of the type that the read names. Raises CloudError and KubeError."""
        match read:
            case ReadServer():
                return await self.cloud.detail(read.server_id, read.events_of, with_actions=read.actions)
            case ReadCopyProgress():
                return CopyProgress(await self.cloud.progress(read.server_id, read.migration_id))
            case ReadHost():
                return await self.cloud.host_look(read.host)
            case TakeHostLease():
                return await self._take_lease(read.host, _holder(key, obj))
            case ReadDeletion():
                return await self._who_deletes(key, obj)
            case TryCreate():
                await self._owned_writer().create_dry_run(obj, read.new, self.now())
                return read.new.name

    async def _act(
        self, kind: Kind[Any, Any], key: Key, obj: Resource, action: Action, term: int
    ) -> tuple[Resource, tuple[Event, ...]]:
        name = type(action).__name__
        stopped = self.switch.against(action, lambda: self.cloud.snapshot)
        held = self._held(key, action)

        def forbidden() -> str | None:
            """Why the action must not be sent, or None.

            The leadership is checked last: reading the kill switch takes time, in which the term may have ended.
            """
            return stopped() or held() or (None if self.kube.term() == term else "this operator no longer leads")

        with about(kind.describe(obj)):
            logger.info("sending %s", _request(action))
            outcome = await self.cloud.act(action, forbidden)
            metrics.ACTIONS.labels(name, type(outcome).__name__).inc()
            with about(asked_as(outcome.request_id)):
                logger.debug("response: %s", outcome)
                return await self._write_outcome(kind, key, obj, action, outcome)

    def _held(self, key: Key, action: Action) -> Callable[[], str | None]:
        """A function for other threads that returns why a breaker holds the action now, or None."""
        loop = asyncio.get_running_loop()

        async def judge() -> str | None:
            return self._held_now(key, action)

        def ask() -> str | None:
            try:
                return asyncio.run_coroutine_threadsafe(judge(), loop).result(PATIENCE)
            except TimeoutError:  # the event loop is blocked
                return "it is not known whether a breaker is open"

        return (lambda: None) if breaker_kind(action) is None else ask

    def _held_now(self, key: Key, action: Action) -> str | None:
        """Why a breaker holds the action, or None. Runs in the event loop, to which the store belongs."""
        kind, snapshot = breaker_kind(action), self.cloud.snapshot
        server = snapshot.servers.get(getattr(action, "server_id", ""))
        if kind is None or server is None or server.host is None:
            return None
        moves = self.store.moves_except(key, snapshot)
        hold = self.store.history.breakers().against(server.host, kind, self.now(), moves)
        return hold.message if hold is not None else None

    async def _write_outcome(
        self, kind: Kind[Any, Any], key: Key, obj: Resource, action: Action, outcome: Outcome
    ) -> tuple[Resource, tuple[Event, ...]]:
        """Write the outcome to the status; if the object has changed meanwhile, to a newly read copy of it.

        Raises KubeError if it cannot be written; the next reconcile then finds the outcome in Nova's records.
        """
        uid = obj.metadata.uid
        events: tuple[Event, ...] = ()
        pause = OUTCOME_PAUSE
        for _ in range(OUTCOME_TRIES):
            status, events = kind.record_outcome(obj, action, outcome, self.now())
            if _same(status, obj.status):
                return obj, events
            try:
                return await self._put_status(kind, key, obj, status), events
            except (NotFoundError, InvalidError, NotLeadingError):
                raise
            except KubeError as error:
                logger.warning("cannot write the outcome yet: %s", error)
            await asyncio.sleep(pause)
            pause *= 2
            try:
                fresh = await self._read_again(key)
            except KubeError:
                continue
            if fresh is None or fresh.metadata.uid != uid:
                raise NotFoundError(f"{key} is gone")
            obj = fresh
        raise KubeError(f"the outcome of {type(action).__name__} could not be written: {outcome}")

    async def _put_status(self, kind: Kind[Any, Any], key: Key, obj: Resource, status: Model) -> Resource:
        try:
            body = await self.kube.put_status(kind.type, key, obj.metadata.resource_version, status.to_json())
        except (ConflictError, NotFoundError, NotLeadingError):
            raise
        except KubeError as error:
            if not error.refused:
                self._unanswered[key] = obj, status
            raise
        self._unanswered.pop(key, None)
        self._count(kind, obj, status)
        self._written[key] = self.now()
        return self._take_in(kind, body)

    async def _tell_refusal(self, key: Key, obj: Resource, error: KubeError) -> None:
        """Report a refused status write as an Event, because the status cannot contain it."""
        event = Event(EventReason.WRITE_REFUSED, clip(str(error)), EventType.WARNING)
        await post(self.kube, self._recent, key, obj.reference(), obj.metadata.resource_version, event, self.now())

    def _count(self, kind: Kind[Any, Any], obj: Resource, status: Model) -> None:
        """Count a written status in the metrics, as a change from the status of `obj`."""
        metrics.WRITES.labels(kind.name).inc()
        for sample in kind.telemetry(obj, kind.with_status(obj, status)).changes:
            metrics.record(sample)

    def _count_late(self, key: Key, known: Resource) -> None:
        """Count a status write whose response was lost, once the object shows that it was applied."""
        before, status = self._unanswered.get(key, (known, known.status))
        if before.metadata.resource_version == known.metadata.resource_version:
            return  # no response was lost, or the object has not changed yet
        del self._unanswered[key]
        if _same(known.status, status):
            self._count(self.kinds[key.kind], before, status)

    async def _put_finalizers(
        self, kind: Kind[Any, Any], key: Key, obj: Resource, finalizers: Sequence[str]
    ) -> Resource:
        return self._take_in(
            kind, await self.kube.put_finalizers(kind.type, key, obj.metadata.resource_version, finalizers)
        )

    def _take_in(self, kind: Kind[Any, Any], body: Body) -> Resource:
        self.store.put(kind.name, body)
        known = self.store.get(key_of(kind.name, body))
        if not isinstance(known, Unreadable | None) and known.metadata.resource_version == str(version_of(body)):
            return known
        obj: Resource = kind.type.model.read(body)
        return obj

    async def _read_again(self, key: Key) -> Resource | None:
        """Read the object from the API server into the store. None if it is gone."""
        kind = self.kinds[key.kind]
        try:
            body = await self.kube.get(kind.type, key)
            self.suspect(kind.name, body)
            return self._take_in(kind, body)
        except NotFoundError:
            self.store.remove(key)
            return None

    async def _complain(self, key: Key, found: Unreadable) -> None:
        """Log an object that cannot be read and post an Event, once for each resourceVersion."""
        if self._complained.get(key) == found.version:
            return
        self._complained[key] = found.version
        self.triggers.forget(key)
        logger.warning("the object cannot be read and is ignored: %s", found.message)
        reference = {
            "apiVersion": API_VERSION,
            "kind": key.kind,
            "namespace": key.namespace,
            "name": key.name,
            "uid": str(found.body["metadata"].get("uid", "")),
        }
        event = Event(EventReason.UNREADABLE, found.message, EventType.WARNING)
        await post(self.kube, self._recent, key, reference, str(found.version), event, self.now())


def _summary(decision: Decision[Any]) -> str:
    """For the log: the request, the next reconcile, and the reason of the decision."""
    ready = decision.status.condition(READY)
    state = f"{ready.reason}: {ready.message}" if ready is not None else "nothing to report"
    request = _request(decision.action) if decision.action is not None else "no request"
    again = f"again in {decision.requeue_after}" if decision.requeue_after is not None else "no further reconcile"
    return f"{request}; {again}; {state}"


def _request(action: Action) -> str:
    """For the log: the action and its arguments. The server id is a field of the log line."""
    values = {f.name: getattr(action, f.name) for f in fields(action) if f.name != "server_id"}
    return " ".join([type(action).__name__, *(f"{name}={value}" for name, value in values.items())])


def _log(event: Event) -> None:
    """Log an Event as well: Kubernetes deletes Events after an hour."""
    level = logging.WARNING if event.type is EventType.WARNING else logging.INFO
    logger.log(level, "%s: %s", event.reason, event.message)


def _holder(key: Key, obj: Resource) -> str:
    """The object's `holderIdentity` in a Lease."""
    return f"{key}/{obj.metadata.uid}"


def _has(kind: Kind[Any, Any], obj: Resource) -> bool:
    return kind.type.finalizer in obj.metadata.finalizers


def _same(status: Model, other: Model) -> bool:
    """Whether both statuses are the same JSON, so that a write would change nothing."""
    return status.to_json() == other.to_json()
