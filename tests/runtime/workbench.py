"""A reconciler on fakes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from tests.runtime.fakes import KEY, NOW, FakeCloud, FakeKube, Record, SmallMaintenance, SmallPlan, settle
from vmferry.policy import Policy
from vmferry.reconcilers.decision import Decision
from vmferry.reconcilers.kill_switch import KillSwitchState
from vmferry.reconcilers.kind import Kinds
from vmferry.reconcilers.rows import HOST_MAINTENANCE, VM_MIGRATION
from vmferry.reconcilers.world import World
from vmferry.resources.vmmigration import VMMigration, VMMigrationStatus
from vmferry.runtime.host_lease import HostLeases
from vmferry.runtime.key import Key
from vmferry.runtime.kill_switch import KillSwitch
from vmferry.runtime.leader_fence import LeaderFence
from vmferry.runtime.queue import WorkQueue
from vmferry.runtime.reconcile import Reconciler
from vmferry.runtime.store import Store
from vmferry.runtime.triggers import Triggers

Plan = Callable[[VMMigration, World, datetime, Policy], Decision[VMMigrationStatus]]


class Bench:
    """`restart` is a new process on the same Kubernetes and cloud."""

    def __init__(self, plan: Plan | None = None, kinds: Kinds | None = None) -> None:
        self.record = Record()
        self.kube = FakeKube(self.record)
        self.cloud = FakeCloud(self.record)
        self.maintenance = SmallMaintenance()
        #: of this operator's leading; None: another one leads
        self.term: int | None = 1
        kind = replace(VM_MIGRATION, plan=plan or SmallPlan(self.cloud), record_outcome=settle)
        other = replace(HOST_MAINTENANCE, plan=self.maintenance, record_outcome=self.maintenance.settle)
        self.kinds: Kinds = kinds or {kind.name: kind, other.name: other}
        self.restart()

    def restart(self) -> None:
        self.queue: WorkQueue[Key] = WorkQueue()
        self.triggers = Triggers(self.queue, lambda: self.cloud.snapshot.servers_by_host)
        self.store = Store(self.kinds, self.triggers)
        fence = LeaderFence(self.kube, lambda: self.term)
        self.switch = KillSwitch(self.kube, "vmferry-system", "vmferry-stop")
        self.switch.seen = KillSwitchState()
        self.reconciler = Reconciler(
            self.kinds,
            self.store,
            self.queue,
            fence,
            self.cloud,
            HostLeases(fence, "vmferry-system", now=lambda: NOW),
            self.triggers,
            Policy(),
            self.switch,
            now=lambda: NOW,
        )
        self.see()

    def see(self) -> None:
        """The watch shows everything."""
        for key, body in self.kube.objects.items():
            self.store.put(key.kind, {**body})
        for kind in self.kinds:
            for key in list(self.store.keys(kind)):
                if key not in self.kube.objects:
                    self.store.remove(key)

    async def look(self, key: Key = KEY) -> None:
        await self.reconciler.reconcile(key)

    async def finish(self) -> None:
        """Look until the status says that it is over and nothing is left to do."""
        for _ in range(8):
            self.see()
            await self.look()
        assert self.status()["phase"] == "Succeeded"
        assert "finalizers" not in self.metadata() or not self.metadata()["finalizers"]

    def status(self, key: Key = KEY) -> dict[str, Any]:
        found: dict[str, Any] = self.kube.objects[key]["status"]
        return found

    def metadata(self, key: Key = KEY) -> dict[str, Any]:
        found: dict[str, Any] = self.kube.objects[key]["metadata"]
        return found
