"""The data that the steps of one HostMaintenance reconcile share: the facts, and the status being written."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum

from vmferry.cloud.actions import Action
from vmferry.cloud.model import DoubtfulHost, Host, ResolvedType, Service
from vmferry.policy import Policy
from vmferry.prerequisites.check import PlannedMove
from vmferry.prerequisites.enums import Reason
from vmferry.prerequisites.moves import Moves
from vmferry.reconcilers import conditions as c
from vmferry.reconcilers.clock_skew import set_right
from vmferry.reconcilers.decision import Decision
from vmferry.reconcilers.event_reasons import EventReason
from vmferry.reconcilers.host_claims import Claim, claim_of
from vmferry.reconcilers.maintenance.reasons import MaintenanceReason
from vmferry.reconcilers.owned import CLASS, CreateObject
from vmferry.reconcilers.owned_migrations import OwnedMigration, Purpose, labels, made_by, owned_name
from vmferry.reconcilers.reads import AnyRead, ReadHost
from vmferry.reconcilers.scope import Scope
from vmferry.reconcilers.world import World
from vmferry.resources.base import clip
from vmferry.resources.hostmaintenance import Cordon, HostMaintenance, HostMaintenanceStatus
from vmferry.resources.vmmigration import ServerRef, TargetRef, VMMigration, VMMigrationSpec
from vmferry.resources.words import CordonAnswer, CordonState, MaintenancePhase, MigrationType

MaintenanceDecision = Decision[HostMaintenanceStatus]

CORDONED = "Cordoned"
DRAINED = "Drained"
#: present only while it is True
FALSE_CLAIMS = "FalseClaims"
FALSE_CLAIM = "FalseClaim"

#: a host read longer ago than this is read again before it is changed
FRESH = timedelta(seconds=5)
SOON = timedelta(seconds=5)
DRAINING = timedelta(seconds=10)
#: maximum time between two reconciles of a maintenance that holds a host; each reconcile renews the host's Lease
RENEW = timedelta(seconds=60)


#: times in the status that are checked for clock skew
TIMES = ("admitted_at", "empty_since", "drained_at", "down_since", "release_started_at", "released_at")


class MaintenanceScope(Scope[HostMaintenanceStatus]):
    def __init__(self, obj: HostMaintenance, world: World, now: datetime, policy: Policy) -> None:
        super().__init__(obj.metadata, obj.status, world, now, policy)
        self.obj = obj
        self.spec = obj.spec
        set_right(self.status, TIMES, now)
        set_right(self.status.cordon, ("requested_at",), now)
        remember_cordon(self.status)
        self.creates: list[CreateObject[VMMigrationSpec]] = []
        self.deletes: list[OwnedMigration] = []
        # once admitted, the maintenance keeps its host even if the name in the spec now matches another one (I1)
        name = self.status.host if self.admitted and self.status.host else self.spec.host
        self.host: Host | None = self.snapshot.find_host(name)
        #: why the facts of the host are unknown; None: its records agree, or there is no such host
        self.doubt: DoubtfulHost | None = None if self.host else self.snapshot.find_doubt(name)
        look = world.answer(ReadHost)
        self.look = look if look is not None and now - look.read_at <= FRESH else None
        self._sort_children()

    # ---- desired state and progress

    @property
    def name(self) -> str:
        return self.obj.metadata.name

    @property
    def wanted(self) -> bool:
        """Whether the host should be in maintenance."""
        return self.claim.wanted

    @property
    def claim(self) -> Claim:
        return claim_of(self.obj)

    @property
    def admitted(self) -> bool:
        """Whether the maintenance owns its host, so that changes may have to be undone."""
        return self.status.admitted_at is not None

    @property
    def service(self) -> Service | None:
        """The compute service from the newest available reading."""
        if self.look is not None:
            return self.look.service
        return self.host.service if self.host else None

    # ---- owned migrations

    def _sort_children(self) -> None:
        """Separate the migrations that this resource created from false claims, which are reported and ignored."""
        uid, namespace = self.obj.metadata.uid, self.policy.maintenance.namespace
        ours: list[OwnedMigration] = []
        others: list[OwnedMigration] = []
        for child in self.world.owned:
            if not isinstance(child, OwnedMigration):
                continue
            (ours if made_by(child, self.name, uid, namespace) else others).append(child)
        self.children: tuple[OwnedMigration, ...] = tuple(ours)
        if not others:
            self.conditions.drop(FALSE_CLAIMS)
            return
        names = ", ".join(sorted(f"{child.namespace}/{child.name}" for child in others)[:3])
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        message = (
            f"{names}{more} claim to belong to this HostMaintenance, which has not created them: they are ignored; "
            "find out who has created them, and delete them"
        )
        before = self.conditions.get(FALSE_CLAIMS)
        if before is None or before.message != clip(message, 2048):
            self.event(EventReason.FALSE_CLAIM, message, warning=True)
        self.conditions.set(FALSE_CLAIMS, True, MaintenanceReason.FALSE_CLAIM, message)

    def open_children(self) -> list[OwnedMigration]:
        """The unfinished owned migrations of all rounds."""
        return [child for child in self.children if not child.over]

    def this_round(self) -> list[OwnedMigration]:
        """The owned migrations of the current round; empty before a round has begun."""
        return [child for child in self.children if self.admitted and child.round == self.status.round]

    def taken_away(self) -> list[OwnedMigration]:
        """The moves that succeeded since the host was admitted, in order. Includes earlier rounds if the maintenance
        was disabled and enabled again meanwhile."""
        since = self.status.admitted_at
        found = [
            child
            for child in self.children
            if child.purpose is Purpose.DRAIN and child.succeeded and since and child.completed_at
            if child.round == self.status.round or child.completed_at >= since
        ]
        return sorted(found, key=lambda child: (child.round, child.number, child.name))

    def moves(self) -> tuple[PlannedMove, ...]:
        """The decided moves of all objects, plus the owned migrations that have not begun yet."""
        known = Moves.of(self.world.moves).servers
        waiting = []
        for child in self.open_children():
            server = self.snapshot.servers.get(child.server_id)
            if child.server_id in known or server is None or server.host is None or child.target_host is None:
                continue
            kind = child.type or ResolvedType.LIVE
            decided = child.created_at or self.now
            waiting.append(PlannedMove(server.id, kind, server.host, child.target_host, server.needs, decided))
        return Moves((*self.world.moves, *waiting)) if waiting else self.world.moves

    # ---- progress

    def note_change(self) -> None:
        """Restart the time without progress, because a step of the maintenance begins or has ended."""
        if self.status.progress is not None:
            self.status.progress.last_change_at = self.now

    def forget_change(self) -> None:
        """Stop counting the time without progress while the maintenance waits for a known reason."""
        if self.status.progress is not None:
            self.status.progress.last_change_at = None

    def no_progress_since(self) -> datetime | None:
        """The time of the last progress if that is more than `stuck_after` ago, else None."""
        last = self.status.progress.last_change_at if self.status.progress else None
        return last if last is not None and self.now - last >= self.policy.stuck_after else None

    def no_progress(self, what: str) -> bool:
        """Set Stalled and return True if nothing has progressed for too long. `what`: what it waits for."""
        since = self.no_progress_since()
        if since is None:
            return False
        message = f"nothing has moved since {since:%Y-%m-%dT%H:%M:%SZ}; waits for: {what}"
        self.event_once(EventReason.NO_PROGRESS, message, warning=True)
        self.stalled(Reason.NO_PROGRESS, message)
        met = self.conditions.get(c.PREREQUISITES_MET)
        if met is not None and met.status == "True":
            words = "every prerequisite is met, and yet nothing moves: see Stalled"
            self.conditions.set(c.PREREQUISITES_MET, True, MaintenanceReason.ALL_PASSED, words)
        if self.status.progress is not None:
            self.status.progress.estimated_end = None
        return True

    def new_child(
        self,
        purpose: Purpose,
        server_id: str,
        number: int,
        type_: MigrationType,
        target_host: str | None,
        *,
        stop_if_running: bool = False,
        round_: int | None = None,
    ) -> CreateObject[VMMigrationSpec]:
        """A VMMigration to create, by the spec and the policy; in the current round unless `round_` names another."""
        round_ = self.status.round if round_ is None else round_
        settings, rules = self.spec.migration, self.policy.maintenance
        marks = rules.labels | dict(labels(self.name, purpose, round_, number))
        if CLASS in self.obj.metadata.labels:
            marks[CLASS] = self.obj.metadata.labels[CLASS]
        return CreateObject(
            VMMigration.KIND,
            namespace=rules.namespace,
            name=owned_name(self.name, self.obj.metadata.uid, server_id, purpose, round_, number),
            labels=tuple(marks.items()),
            annotations=tuple(rules.annotations.items()),
            spec=VMMigrationSpec(
                server=ServerRef(id=server_id),
                type=type_,
                target=TargetRef(host=target_host) if target_host else None,
                stop_if_running=stop_if_running,
                timeout=settings.timeout,
                on_timeout=settings.on_timeout,
                priority=settings.priority,
            ),
        )

    def ask_again_in(self, asked_at: datetime, *, refused: bool) -> timedelta | None:
        """How long to wait before repeating a request that Nova has not carried out; None: repeat it now."""
        pause = self.policy.recheck if refused else self.policy.retry_backoff
        left = asked_at + pause - self.now
        return max(left, timedelta(seconds=1)) if left > timedelta(0) else None

    # ---- ending the reconcile

    def needs(self, read: AnyRead) -> MaintenanceDecision:
        """Request this read, after which `plan` runs again."""
        return Decision(
            self.obj.status,
            needs=read,
            requeue_after=SOON,
            finalizer=self.obj.status.admitted_at is not None,
            watches_host=self.host.name if self.host else None,
        )

    def cancel(self, children: Iterable[OwnedMigration]) -> None:
        """Delete the owned migrations that are not in progress; running migrations run to completion."""
        self.deletes += [child for child in children if not child.over and child.idle]

    def decide(
        self,
        phase: MaintenancePhase,
        *,
        requeue_after: timedelta | None,
        action: Action | None = None,
        release_lease: str | None = None,
    ) -> MaintenanceDecision:
        held = next((one for one in self.world.refusals if one.delete), None)
        if held is not None and any(child.name == held.subject for child in self.deletes):
            message = f"Kubernetes refuses to delete the VMMigration {held.subject}: {held.message}"
            self.event_once(EventReason.WRITE_REFUSED, message, warning=True)
            self.stalled(MaintenanceReason.WRITE_REFUSED, message)
        self.status.phase = phase
        self.status.observed_generation = self.obj.metadata.generation
        if self.admitted and requeue_after is not None:
            requeue_after = min(requeue_after, RENEW)
        return Decision(
            self.status,
            action=action,
            events=tuple(self.events),
            finalizer=self.admitted,
            creates=tuple(self.creates),
            deletes=tuple({child.uid: child for child in self.deletes if not child.deleting}.values()),
            release_lease=release_lease,
            requeue_after=requeue_after,
            watches_host=self.host.name if self.host else None,
        )


def not_now(cordon: Cordon, reason: StrEnum, message: str) -> tuple[StrEnum, str]:
    """Reason and message of a condition, replaced by the cloud's last answer if that was "not now" (I40)."""
    if cordon.answer is CordonAnswer.NOT_NOW:
        return MaintenanceReason.NOT_NOW, cordon.message or message
    return reason, message


def remember_cordon(status: HostMaintenanceStatus) -> None:
    """Restore the state of a cordon from the reason of the condition Cordoned, where version 0.1 kept it, once."""
    cordon, was = status.cordon, status.condition(CORDONED)
    if cordon is None or cordon.state is not None:
        return
    cordon.state = CordonState.REQUESTED
    if was is None or was.status == "Unknown":
        return
    answers = {Reason.CLOUD_REFUSED.value: CordonAnswer.REFUSED, "NotNow": CordonAnswer.NOT_NOW}
    cordon.answer = answers.get(was.reason)
    cordon.message = was.message if cordon.answer is not None else None
    if was.status == "True":
        undoing = cordon.answer is not None or was.reason == "Uncordoning"
        cordon.state = CordonState.UNDOING if undoing else CordonState.HELD
