"""The data that the steps of one VMMigration reconcile share: the facts, and the status being written."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from vmferry.cloud.actions import Action
from vmferry.cloud.model import DoubtfulHost, Host, Server, Snapshot, overlay
from vmferry.planning.breaker import Hold
from vmferry.policy import Policy
from vmferry.prerequisites.check import PlannedMove
from vmferry.prerequisites.enums import Reason
from vmferry.prerequisites.moves import Moves
from vmferry.reconcilers.clock_skew import set_right
from vmferry.reconcilers.conditions import SUCCEEDED
from vmferry.reconcilers.decision import Decision
from vmferry.reconcilers.event_reasons import EventReason
from vmferry.reconcilers.owned_migrations import Ownership, is_cancellation, ownership
from vmferry.reconcilers.reads import AnyRead, ReadCopyProgress, ReadDeletion, ReadServer
from vmferry.reconcilers.scope import Scope, State
from vmferry.reconcilers.world import World
from vmferry.resources.base import NOT_SEEN, clip
from vmferry.resources.vmmigration import ServerView, VMMigration, VMMigrationStatus
from vmferry.resources.words import Phase

MigrationDecision = Decision[VMMigrationStatus]

#: a server read longer ago than this is read again before a migration starts
FRESH = timedelta(seconds=5)
#: interval between two checks of a step that is about to complete
POLL = timedelta(seconds=2)
#: how long to wait before repeating a request that Nova has not carried out
ASK_AGAIN = timedelta(seconds=60)


class MigrationScope(Scope[VMMigrationStatus]):
    def __init__(self, obj: VMMigration, world: World, now: datetime, policy: Policy) -> None:
        super().__init__(obj.metadata, obj.status, world, now, policy)
        self.obj = obj
        self.spec = obj.spec
        self._set_times_right()
        self.status.held_by = None
        #: servers that match the name in the spec: more than one is ambiguous, none means that no such server is known
        self.candidates: list[Server] = []
        self.server_id: str | None = self._resolve(world.snapshot)
        detail = world.answer(ReadServer)
        if detail is not None and self.server_id is not None:
            self.snapshot = overlay(world.snapshot, detail, self.server_id)

    def _set_times_right(self) -> None:
        status, now = self.status, self.now
        set_right(status, ("requested_at", "started_at", "completed_at"), now)
        set_right(status.attestation, ("at",), now)
        set_right(status.progress, ("updated_at",), now)
        set_right(status.graceful_stop, ("requested_at", "start_requested_at", "asked_at", "stopped_at"), now)
        if status.attempts:
            times = ("started_at", "running_since", "ended_at", "stop_requested_at", "confirm_requested_at")
            set_right(status.attempts[-1], times, now)

    def _resolve(self, snapshot: Snapshot) -> str | None:
        """The server's id. It never changes once the migration has started (I1), even if the name now matches another
        server."""
        if self.started and self.status.server is not None:
            return self.status.server.id
        ref = self.spec.server
        if ref.id is not None:
            return ref.id
        self.candidates = snapshot.find_servers(ref.name or "", ref.project or "")
        return self.candidates[0].id if len(self.candidates) == 1 else None

    @property
    def started(self) -> bool:
        return self.obj.status.started_at is not None

    @property
    def ownership(self) -> Ownership:
        return ownership(self.obj, self.world.owner, self.policy.maintenance.namespace)

    @property
    def wish_is_unread(self) -> bool:
        """Whether the object is being deleted and the cause has not been read yet. The cause decides whether a running
        migration is aborted."""
        return self.deleting and self.world.answer(ReadDeletion) is None

    @property
    def withdrawn(self) -> bool:
        """Whether a person deleted the object to cancel it (I41), and no other deletion caused that."""
        deletion = self.world.answer(ReadDeletion)
        return self.deleting and deletion is not None and is_cancellation(self.obj, deletion)

    @property
    def seen_before(self) -> bool:
        """Whether an earlier reconcile has written its status."""
        return (self.obj.status.observed_generation or NOT_SEEN) > NOT_SEEN

    @property
    def owned_by_maintenance(self) -> bool:
        """Whether a HostMaintenance is its controller, and so decides how long to keep it."""
        owners = self.obj.metadata.owner_references
        return any(owner.controller and owner.kind == "HostMaintenance" for owner in owners)

    @property
    def server(self) -> Server | None:
        return self.snapshot.servers.get(self.server_id) if self.server_id else None

    @property
    def source(self) -> Host | None:
        server = self.server
        return self.snapshot.hosts.get(server.host) if server and server.host else None

    @property
    def doubt(self) -> DoubtfulHost | None:
        """Why the facts of the server's last known host are unknown."""
        server = self.server
        return self.snapshot.find_doubt(server.host) if server and server.host else None

    def has_fresh_detail(self) -> bool:
        detail = self.world.answer(ReadServer)
        return detail is not None and self.now - detail.read_at <= FRESH

    def breaker_hold(self, server: Server) -> Hold | None:
        """The breaker hold that prevents this type of migration from the server's host (I37); None if there is none."""
        if server.host is None or self.status.type is None:
            return None
        return self.world.breakers.against(server.host, self.status.type, self.now, self.world.moves)

    @property
    def others_moves(self) -> tuple[PlannedMove, ...]:
        """The moves of other objects that count for this migration.

        Among moves whose servers are shut down but not moving yet, each counts only those shut down before it: if each
        counted all others, they would block each other for good.
        """
        stop = self.status.graceful_stop
        if stop is None or not any(move.stopped for move in self.world.moves):
            return self.world.moves
        own = stop.requested_at, self.server_id or ""
        return Moves(m for m in self.world.moves if not m.stopped or (m.decided_at, m.server_id) < own)

    @property
    def earlier_moves(self) -> Sequence[PlannedMove]:
        """The moves earlier in the queue. Empty for a move whose server was shut down for it: that move has begun, so
        it waits for none of them."""
        return () if self.status.graceful_stop is not None else self.world.earlier

    def see_server(self) -> None:
        """Record the current server in the status."""
        if self.server is not None:
            server = self.server
            self.status.server = ServerView(
                id=server.id, name=clip(server.name, 255) or server.id, state=clip(server.status, 64)
            )

    def report_no_progress(self, message: str) -> None:
        """Set Stalled because the migration makes no progress (R47), with an Event the first time."""
        self.event_once(EventReason.NO_PROGRESS, message, warning=True)
        self.stalled(Reason.NO_PROGRESS, message)

    def summarise(self) -> None:
        """Also set Succeeded, which is Unknown until the migration finishes."""
        if self.summary is not None:
            success = {State.READY: True, State.FAILED: False}.get(self.summary.state)
            self.conditions.set(SUCCEEDED, success, self.summary.reason, self.summary.message)
        super().summarise()

    def needs(self, *, actions: bool = False, events_of: str | None = None) -> MigrationDecision:
        """Request a fresh read of the server, after which `plan` runs again."""
        assert self.server_id is not None
        return self._needs(ReadServer(self.server_id, actions=actions, events_of=events_of))

    def needs_deletion(self) -> MigrationDecision:
        """Request a read of the cause of the deletion, after which `plan` runs again."""
        return self._needs(ReadDeletion())

    def needs_progress(self, migration_id: int) -> MigrationDecision:
        assert self.server_id is not None
        return self._needs(ReadCopyProgress(self.server_id, migration_id))

    def _needs(self, read: AnyRead) -> MigrationDecision:
        return Decision(
            self.obj.status,
            needs=read,
            requeue_after=timedelta(seconds=5),
            finalizer=self.owes,
            watches=self.server_id,
        )

    @property
    def owes(self) -> bool:
        """Whether the finalizer is needed: a migration is in flight, or a server that was shut down must be started."""
        status = self.status
        return status.completed_at is None and (status.open_attempt is not None or status.graceful_stop is not None)

    def decide(
        self,
        phase: Phase,
        *,
        action: Action | None = None,
        requeue_after: timedelta | None = None,
        delete: bool = False,
    ) -> MigrationDecision:
        """End the reconcile with the current status."""
        self.status.phase = phase
        self.status.observed_generation = self.obj.metadata.generation
        return Decision(
            self.status,
            action=action,
            events=tuple(self.events),
            finalizer=self.owes,
            delete=delete,
            requeue_after=requeue_after,
            move=planned_move(self.status, self.snapshot),
            watches=self.server_id,
        )


def planned_move(status: VMMigrationStatus, snapshot: Snapshot) -> PlannedMove | None:
    """The move that the status records as decided or in flight; None if there is none."""
    attempt = status.open_attempt
    if status.server is None or status.completed_at is not None:
        return None
    server = snapshot.servers.get(status.server.id)
    needs = server.needs if server else {}
    if attempt is not None:
        return PlannedMove(
            status.server.id, attempt.type, attempt.source_host, attempt.target_host, needs, attempt.started_at
        )
    stop = status.graceful_stop
    if stop is None or status.type is None or status.source_host is None or status.target_host is None:
        return None
    # the server is shut down for this move, or about to be started after it: no other move may use it
    return PlannedMove(
        status.server.id, status.type, status.source_host, status.target_host, needs, stop.requested_at, stopped=True
    )
