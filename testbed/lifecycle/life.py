"""The lifecycle of a single VMMigration, with a shorter log, since every line is about it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from testbed.lifecycle.little_cloud import SERVER, LittleCloud
from testbed.lifecycle.operator_in_memory import CrashError, OperatorInMemory
from vmferry.cloud.actions import Action
from vmferry.policy import Policy
from vmferry.reconcilers.decision import Decision
from vmferry.reconcilers.migration.plan import plan
from vmferry.reconcilers.owned import Deletion
from vmferry.reconcilers.reads import CopyProgress, ReadCopyProgress, ReadDeletion, ReadServer
from vmferry.reconcilers.world import World
from vmferry.resources.vmmigration import VMMigration, VMMigrationStatus
from vmferry.runtime.key import Key
from vmferry.runtime.store import Body

KEY = Key(VMMigration.KIND, "default", "web-1")


class Life(OperatorInMemory):
    def __init__(self, cloud: LittleCloud, spec: dict[str, Any] | None = None, policy: Policy | None = None) -> None:
        super().__init__(cloud, policy or Policy(host_down_for=timedelta(seconds=30)))
        metadata = {"name": KEY.name, "namespace": KEY.namespace}
        self.api.create(KEY.kind, {"metadata": metadata, "spec": {"server": {"id": SERVER}, **(spec or {})}})
        #: the body as it is stored, or as it last was; a test may change it
        self.body: Body = self.api.objects[KEY]
        #: the result of `ReadDeletion` in `look`
        self.deletion = Deletion()
        self.decision: Decision[Any] | None = None

    @property
    def obj(self) -> VMMigration:
        return VMMigration.read(self.body)

    @property
    def status(self) -> VMMigrationStatus:
        return self.obj.status

    def delete(self) -> None:
        """Delete the object as `kubectl delete` does: it is removed at once unless it has a finalizer."""
        self.api.delete(KEY)

    def condition(self, type_: str) -> tuple[str, str] | None:
        found = self.status.condition(type_)
        return (found.status, found.reason) if found else None

    @property
    def gone(self) -> bool:
        return KEY not in self.api.objects

    @property
    def over(self) -> bool:
        """Whether the migration has finished and the object has no finalizer any more."""
        return self.status.completed_at is not None and not self.body["metadata"].get("finalizers")

    # -- reconciles

    def look(self, world: World | None = None) -> Decision[VMMigrationStatus]:
        """Plan with all required readings, without any effect."""
        world = world or World(self.cloud.snapshot())
        for _ in range(4):
            decision = plan(self.obj, world, self.cloud.now, self.policy)
            if decision.needs is None:
                return decision
            needs = decision.needs
            match needs:
                case ReadServer():
                    world = world.with_answer(needs, self.cloud.detail(needs.server_id, actions=needs.actions))
                case ReadCopyProgress():
                    world = world.with_answer(needs, CopyProgress(self.cloud.progress()))
                case ReadDeletion():
                    world = world.with_answer(needs, self.deletion)
                case _:
                    raise AssertionError(f"no migration reads this: {needs}")
        raise AssertionError(f"the reconciler never has enough: {decision.needs}")

    def one_pass(self) -> Decision[VMMigrationStatus]:
        """Reconcile once, and return the decision."""
        self.see()
        self.reconcile(KEY)
        assert self.decision is not None
        return self.decision

    def run(self, seconds: float = 600) -> VMMigrationStatus:
        """Reconcile until the migration has finished or was deleted, or `seconds` have passed."""
        end = self.cloud.now + timedelta(seconds=seconds)
        while self.cloud.now < end and not self.gone and not self.over:
            try:
                wait = self.one_pass().requeue_after or timedelta(seconds=30)
            except CrashError:
                self.say("killed, started again")
                self.restart()
                wait = timedelta(seconds=2)
            self.cloud.pass_time(min(wait, timedelta(seconds=2)))
        return self.status

    # -- the log

    def decided(self, key: Key, decision: Decision[Any]) -> None:
        self.decision = decision

    def on_status(self, key: Key, before: Body, status: Body) -> None:
        if status.get("phase") != before.get("phase"):
            ready: dict[str, Any] = next((c for c in status["conditions"] if c["type"] == "Ready"), {})
            self.say(f"phase {before.get('phase')} -> {status.get('phase')} ({ready.get('reason')})")

    def on_event(self, event: Body) -> None:
        self.say(f"event {event['type']} {event['reason']}: {event['note']}")

    def on_action(self, action: Action) -> None:
        self.say(f"ask {type(action).__name__} {getattr(action, 'target_host', '')}".rstrip())
