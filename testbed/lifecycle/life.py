"""Lives one VMMigration through, pass by pass, as the runtime does it: the order of `reconcilers.decision`.

Every effect (a write to Kubernetes, a change of the cloud) is counted; `crash_at` ends the "process" right before or
right after the n-th of them, and the next pass starts from what was stored.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from testbed.lifecycle.little_cloud import SERVER, START, LittleCloud
from vmferry.policy import Policy
from vmferry.reconcilers.decision import Decision
from vmferry.reconcilers.migration.outcome import settle
from vmferry.reconcilers.migration.plan import plan
from vmferry.reconcilers.owned import Deletion
from vmferry.reconcilers.reads import CopyProgress, ReadCopyProgress, ReadDeletion, ReadServer
from vmferry.reconcilers.world import World
from vmferry.resources.base import format_time
from vmferry.resources.vmmigration import VMMigration, VMMigrationStatus


class CrashError(Exception):
    """The process was killed here."""


class Mortal:
    """Counts effects; ends the "process" at the one of the number `crash_at`, before or after it."""

    def __init__(self) -> None:
        self.effects = 0
        self.crash_at: int | None = None
        self.crash_after = False

    def _effect(self, do: Callable[[], object]) -> None:
        self.effects += 1
        here = self.effects == self.crash_at
        if here and not self.crash_after:
            raise CrashError
        do()
        if here:
            raise CrashError


class Life(Mortal):
    def __init__(self, cloud: LittleCloud, spec: dict[str, Any] | None = None, policy: Policy | None = None) -> None:
        super().__init__()
        self.cloud = cloud
        self.policy = policy or Policy(host_down_for=timedelta(seconds=30))
        self.body: dict[str, Any] = {
            "metadata": {"name": "web-1", "namespace": "default", "uid": "u1", "generation": 1},
            "spec": {"server": {"id": SERVER}, **(spec or {})},
        }
        #: what happened, for people and golden files
        self.log: list[str] = []
        self.writes = 0
        self.gone = False
        #: what is read of who deletes it
        self.deletion = Deletion()

    @property
    def obj(self) -> VMMigration:
        return VMMigration.read(self.body)

    @property
    def status(self) -> VMMigrationStatus:
        return self.obj.status

    def delete(self) -> None:
        """What `kubectl delete` does: gone at once unless the finalizer holds it."""
        if self.body["metadata"].get("finalizers"):
            self.body["metadata"]["deletionTimestamp"] = format_time(self.cloud.now)
        else:
            self.gone = True

    def condition(self, type_: str) -> tuple[str, str] | None:
        found = self.status.condition(type_)
        return (found.status, found.reason) if found else None

    @property
    def over(self) -> bool:
        """Finished, and nothing of ours holds the object any more."""
        return self.status.completed_at is not None and not self.body["metadata"].get("finalizers")

    # -- passes

    def look(self, world: World | None = None) -> Decision[VMMigrationStatus]:
        """Plan, reading what is needed, without any effect."""
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
        decision = self.look()
        if decision.finalizer and not self.body["metadata"].get("finalizers"):
            self._effect(lambda: self.body["metadata"].update(finalizers=["vmferry.dev/migration"]))
        self._write(decision.status)
        for event in decision.events:
            self._say(f"event {event.type} {event.reason}: {event.message}")
        if decision.action is not None:
            action = decision.action
            self._say(f"ask {type(action).__name__} {getattr(action, 'target_host', '')}".rstrip())
            outcomes = []
            self._effect(lambda: outcomes.append(self.cloud.act(action)))
            settled, events = settle(self.obj, action, outcomes[0], self.cloud.now)
            for event in events:
                self._say(f"event {event.type} {event.reason}: {event.message}")
            self._write(settled)
        if (
            not decision.finalizer
            and self.body["metadata"].pop("finalizers", None)
            and self.obj.metadata.deletion_timestamp
        ):
            self.gone = True
        if decision.delete:
            self.gone = True
        return decision

    def run(self, seconds: float = 600) -> VMMigrationStatus:
        """Pass after pass until it is over, gone, or waits longer than `seconds` altogether."""
        end = self.cloud.now + timedelta(seconds=seconds)
        while self.cloud.now < end and not self.gone and not self.over:
            try:
                decision = self.one_pass()
                wait = decision.requeue_after or timedelta(seconds=30)
            except CrashError:
                self._say("killed, started again")
                wait = timedelta(seconds=2)
            self.cloud.pass_time(min(wait, timedelta(seconds=2)))
        return self.status

    def _write(self, status: VMMigrationStatus) -> None:
        new = status.to_json()
        if new == self.body.get("status", {}):
            return
        before = self.body.get("status", {}).get("phase")
        self._effect(lambda: self.body.update(status=new))
        self.writes += 1
        if new.get("phase") != before:
            ready: dict[str, Any] = next((c for c in new["conditions"] if c["type"] == "Ready"), {})
            self._say(f"phase {before} -> {new.get('phase')} ({ready.get('reason')})")

    def _say(self, line: str) -> None:
        passed = int((self.cloud.now - START).total_seconds())
        self.log.append(f"{passed:4d}s {line}")
