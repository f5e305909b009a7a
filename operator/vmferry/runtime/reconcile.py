"""One reconcile of one object: plan, write what will be done, do it, write what came of it.

    plan -> needs? read them and plan again -> finalizer on -> status -> act -> record outcome -> status
         -> events -> delete owned objects -> create owned objects -> give the Lease back
         -> finalizer off -> delete -> reconcile again later

The order is the safety: the process may die between any two steps. Before the status write nothing has happened;
between it and the action the status says `Requested` and Nova has no record; after the action Nova has one. The next
reconcile tells these apart by Nova's records (I3), so no step is ever repeated blindly. One that changes nothing writes
nothing. It ends where it is when this operator leads no more: the next leader goes on from what is written.
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
#: reads that one reconcile may ask for before it has to decide
MAX_READS = 4
#: seconds until an object is reconciled again while not everything is known
NOT_WHOLE_PAUSE = 1.0
#: seconds after which a reconcile reports what was refused after its status was written
REFUSED_PAUSE = 1.0
#: tries to write down what came of an action, and the pause before the next one (doubled each time)
OUTCOME_TRIES = 6
OUTCOME_PAUSE = 0.25

logger = logging.getLogger(__name__)


class Leases(Protocol):
    """`host_lease.HostLeases`. Both raise `KubeError`."""

    async def take(self, host: str, holder: str) -> HostLease: ...

    async def give_back(self, host: str, holder: str) -> None: ...


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Reconciler:
    """Executes decisions. `reconcile` is given to the workers."""

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
    #: gets what the API server answers when an object is read again
    suspect: Callable[[str, Body], None] = lambda *_: None
    #: resourceVersions of unreadable objects that were complained about
    _complained: dict[Key, int] = field(default_factory=dict)
    #: thousands of reconciles judge the same hosts
    _host_assessments: HostAssessments = field(default_factory=HostAssessments)
    #: when a status was last written, or first found to be older than what is known
    _written: dict[Key, datetime] = field(default_factory=dict)
    _recent: Recent = field(default_factory=Recent)
    _refusals: Refusals = field(default_factory=Refusals)
    #: status writes whose answer was lost, with the object before; they may have come through
    _unanswered: dict[Key, tuple[Resource, Model]] = field(default_factory=dict)

    async def reconcile(self, key: Key) -> None:
        """Raises what went wrong; the caller tries again after a pause.

        While another operator leads nothing is reconciled; everything is, once this one does.
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
        if not self.store.whole:  # part of what is true would be missing
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
                # Kubernetes was set back: until everything is listed anew each write is refused
                self.queue.add_after(key, NOT_WHOLE_PAUSE, Lane.ROUTINE)
            else:
                self.queue.add(key)
        except NotFoundError:
            await self._read_again(key)
            self.queue.add(key)
        except KubeError as error:
            if error.refused:
                await self._tell_refusal(key, known, error)
            # the write may have come through all the same
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
                # nothing is done without it; the status reports why
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
        # a decision that changes nothing was reported before
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
        """Whether the status is written now: it matters at once, or none was written for a while."""
        written = self._written.setdefault(key, self.now())
        pause = QUIET if decision.move is None else self.policy.progress_every
        return kind.must_write_now(obj.status, decision.status) or self.now() - written >= pause

    async def _see_to_others(self, key: Key, obj: Resource, decision: Decision[Model]) -> None:
        """Delete and create owned objects, release the Lease. What is not done here is decided again next time."""
        writer = self._owned_writer()
        await writer.delete(obj, decision.deletes, self.now())
        if not await writer.create(obj, decision.creates, self.now()):
            self.queue.add_after(key, REFUSED_PAUSE, Lane.ROUTINE)
        if decision.release_lease is not None:
            await self.leases.give_back(decision.release_lease, _holder(key, obj))

    def _owned_writer(self) -> OwnedWriter:
        return OwnedWriter(self.kinds, self.store, self.queue, self.kube, self._refusals)

    async def _take_lease(self, host: str, holder: str) -> HostLease:
        """A Lease that Kubernetes refuses to write is an outcome, which the status reports."""
        try:
            return await self.leases.take(host, holder)
        except KubeError as error:
            if not error.refused:
                raise
            return HostLease(host, None, refused=clip(redact(str(error)), REFUSAL_LENGTH))

    async def _who_deletes(self, key: Key, obj: Resource) -> Deletion:
        """As it is now: the watch may show a deletion of the owner after that of what it owns."""
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
        """Plan, with as many reads as it needs. None: the object is gone, or a fact is not to be had now.

        From the last plan to `hold_claim` nothing is awaited, so no two reconciles plan for the same capacity or slot.
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
                # an object that reports nothing yet reports this; all others are tried again
                unread = error
                if isinstance(needs, ReadCopyProgress):  # nothing waits for it
                    answers.append((needs, CopyProgress(None)))

    async def _read(self, key: Key, obj: Resource, read: AnyRead) -> Any:
        """The answer, of the type that the read names. Raises CloudError and KubeError."""
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
            """The switch first, for it takes a while: who was frozen meanwhile must not act."""
            return stopped() or held() or (None if self.kube.term() == term else "this operator no longer leads")

        with about(kind.describe(obj)):
            logger.info("sending %s", _request(action))
            outcome = await self.cloud.act(action, forbidden)
            metrics.ACTIONS.labels(name, type(outcome).__name__).inc()
            with about(asked_as(outcome.request_id)):
                logger.debug("response: %s", outcome)
                return await self._write_outcome(kind, key, obj, action, outcome)

    def _held(self, key: Key, action: Action) -> Callable[[], str | None]:
        """A question for another thread: which breaker has opened since the action was decided?"""
        loop = asyncio.get_running_loop()

        async def judge() -> str | None:
            return self._held_now(key, action)

        def ask() -> str | None:
            try:
                return asyncio.run_coroutine_threadsafe(judge(), loop).result(PATIENCE)
            except TimeoutError:  # the loop is not what it was
                return "it is not known whether a breaker is open"

        return (lambda: None) if breaker_kind(action) is None else ask

    def _held_now(self, key: Key, action: Action) -> str | None:
        """Why a breaker holds the action, None: none does. In the event loop, where the store belongs."""
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
        """Write the outcome, onto a fresh object if it changed meanwhile. What cannot be written is found in Nova."""
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
        """What cannot be in the status is at least in an Event."""
        event = Event(EventReason.WRITE_REFUSED, clip(str(error)), EventType.WARNING)
        await post(self.kube, self._recent, key, obj.reference(), obj.metadata.resource_version, event, self.now())

    def _count(self, kind: Kind[Any, Any], obj: Resource, status: Model) -> None:
        """For the metrics: it is written, over what `obj` says."""
        metrics.WRITES.labels(kind.name).inc()
        for sample in kind.telemetry(obj, kind.with_status(obj, status)).changes:
            metrics.record(sample)

    def _count_late(self, key: Key, known: Resource) -> None:
        """What a write has brought that was not answered."""
        before, status = self._unanswered.get(key, (known, known.status))
        if before.metadata.resource_version == known.metadata.resource_version:
            return  # there was none, or it is not known yet
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
        """The object as the server has it now; None when it is gone."""
        kind = self.kinds[key.kind]
        try:
            body = await self.kube.get(kind.type, key)
            self.suspect(kind.name, body)
            return self._take_in(kind, body)
        except NotFoundError:
            self.store.remove(key)
            return None

    async def _complain(self, key: Key, found: Unreadable) -> None:
        """Once for each version of an object that cannot be read."""
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
    """For the log: why something is done, or why nothing is."""
    ready = decision.status.condition(READY)
    state = f"{ready.reason}: {ready.message}" if ready is not None else "nothing to report"
    request = _request(decision.action) if decision.action is not None else "no request"
    again = f"again in {decision.requeue_after}" if decision.requeue_after is not None else "no further reconcile"
    return f"{request}; {again}; {state}"


def _request(action: Action) -> str:
    """For the log: the action and its arguments. The server is a field of the line."""
    values = {f.name: getattr(action, f.name) for f in fields(action) if f.name != "server_id"}
    return " ".join([type(action).__name__, *(f"{name}={value}" for name, value in values.items())])


def _log(event: Event) -> None:
    """Events are gone after an hour; the log is what the past is read from."""
    level = logging.WARNING if event.type is EventType.WARNING else logging.INFO
    logger.log(level, "%s: %s", event.reason, event.message)


def _holder(key: Key, obj: Resource) -> str:
    """As a Lease names it."""
    return f"{key}/{obj.metadata.uid}"


def _has(kind: Kind[Any, Any], obj: Resource) -> bool:
    return kind.type.finalizer in obj.metadata.finalizers


def _same(status: Model, other: Model) -> bool:
    """Whether writing one over the other would change nothing."""
    return status.to_json() == other.to_json()
