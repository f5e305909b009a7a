"""A host's maintenance from `kubectl apply` to its release, on both clouds.

cmp1 and cmp2 are alike, so its servers may go to cmp2, and back.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from testbed.processes import wait_for
from tests.e2e.conftest import PATIENCE, PAUSE, Player

HOST = "cmp1"


class Maintenance:
    """One HostMaintenance of cmp1, and what a person sees of it."""

    def __init__(self, player: Player) -> None:
        self.player = player
        self.name = player.name("drain")

    def apply(self, **spec: Any) -> None:
        body = {
            "apiVersion": "vmferry.dev/v1alpha1",
            "kind": "HostMaintenance",
            "metadata": {"name": self.name},
            "spec": {"host": HOST, **spec},
        }
        self.player.kubectl("apply", "-f", "-", input=yaml.safe_dump(body))

    @property
    def exists(self) -> bool:
        return bool(self.player.kubectl("get", "hm", self.name, "--ignore-not-found", "-o", "name").strip())

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = json.loads(self.player.kubectl("get", "hm", self.name, "-o", "json")).get("status", {})
        return status

    def wait(self, what: str, met: Callable[[dict[str, Any]], bool], seconds: float = PATIENCE) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while True:
            status = self.status()
            if met(status):
                return status
            if time.monotonic() > end:
                log = self.player.bed.supervisor.log_tail("operator", 40)
                raise AssertionError(f"not {what} after {seconds:.0f} s:\n{yaml.safe_dump(status)}\n{log}")
            time.sleep(PAUSE)

    def phase(self, phase: str, seconds: float = PATIENCE) -> dict[str, Any]:
        return self.wait(phase, lambda s: s.get("phase") == phase, seconds)

    def events(self) -> set[str]:
        """The reasons of its Events."""
        of_it = f"involvedObject.name={self.name}"
        found = self.player.bed.cluster.kubectl_run(
            "get", "events", "-n", "default", "--field-selector", of_it, "-o", "json"
        )
        return {event["reason"] for event in json.loads(found)["items"]}

    def children(self) -> list[dict[str, Any]]:
        label = f"vmferry.dev/maintenance={self.name}"
        found: list[dict[str, Any]] = json.loads(self.player.kubectl("get", "vmm", "-l", label, "-o", "json"))["items"]
        return found


@pytest.fixture
def maintenance(player: Player) -> Iterator[Maintenance]:
    made = Maintenance(player)
    yield made
    player.kubectl("delete", "hm", made.name, "--ignore-not-found", "--timeout=240s")
    player.tenant.enable_host(HOST)


def test_R26_R27_R28_R29_checked_drained_and_given_back(player: Player, maintenance: Maintenance) -> None:
    web, batch, legacy = (player.boot(HOST, wait=False) for _ in range(3))
    for server in (web, batch, legacy):
        player.tenant.wait_for_status(server, "ACTIVE")
    player.tenant.stop(batch)
    player.tenant.lock(legacy, "monthly audit")

    maintenance.apply(reason="replace DIMM 4", onBlockers="Refuse")
    # the view may show the stop as a task in progress for a moment
    status = maintenance.wait(
        "blocked by the locked one",
        lambda s: s.get("phase") == "Blocked" and [one["server"] for one in s["blockers"]] == [legacy],
    )
    (blocker,) = status["blockers"]
    assert (blocker["server"], blocker["reason"]) == (legacy, "Locked")
    assert "monthly audit" in blocker["message"]
    assert {move["server"] for move in status["moves"]} == {web, batch}, "the plan is there before anything moves"
    assert player.tenant.service(HOST)["status"] == "enabled", "Refuse leaves the host as it is"
    assert not maintenance.children()

    maintenance.apply(reason="replace DIMM 4", onBlockers="Proceed")
    status = maintenance.wait(
        "blocked by one", lambda s: s.get("progress", {}).get("moved") == 2 and s["phase"] == "Blocked"
    )
    assert status["progress"]["blocked"] == 1
    service = player.tenant.service(HOST)
    assert service["status"] == "disabled"
    assert "replace DIMM 4" in service["disabled_reason"]
    assert player.records(web) == [("live-migration", "completed")]
    assert player.records(batch) == [("migration", "confirmed")]
    assert player.records(legacy) == []

    player.tenant.unlock(legacy)
    player.kubectl("wait", "--for=condition=Drained", f"hm/{maintenance.name}", "--timeout=240s")
    status = maintenance.phase("InMaintenance")
    progress = status["progress"]
    assert progress.pop("lastChangeAt")
    assert progress == {
        "total": 3,
        "moved": 3,
        "moving": 0,
        "waiting": 0,
        "blocked": 0,
        "staying": 0,
        "percent": 100,
    }
    assert all(player.tenant.host_of(server) == "cmp2" for server in (web, batch, legacy))

    # I27: somebody enables the host in the middle of its maintenance
    player.tenant.enable_host(HOST)
    maintenance.wait("cordoned again", lambda s: player.tenant.service(HOST)["status"] == "disabled")
    maintenance.phase("InMaintenance")

    maintenance.apply(reason="replace DIMM 4", enabled=False, returnVMs=True)
    maintenance.phase("Released")
    service = player.tenant.service(HOST)
    assert (service["status"], service["disabled_reason"]) == ("enabled", None)
    assert [player.tenant.host_of(server) for server in (web, batch, legacy)] == [HOST] * 3, "R29: only as asked"
    assert [len(player.records(server)) for server in (web, batch, legacy)] == [2, 2, 2]
    reasons = {"MaintenanceStarted", "Cordoned", "Drained", "CordonReasserted", "Releasing", "Released"}
    # an Event is written after the status that it belongs to
    wait_for(lambda: reasons <= maintenance.events(), PATIENCE, "all Events")


def test_R36_a_drain_survives_the_operator_being_killed(player: Player, maintenance: Maintenance) -> None:
    servers = [player.boot(HOST, wait=False) for _ in range(4)]
    for server in servers:
        player.tenant.wait_for_status(server, "ACTIVE")
    player.bed.cloud.knob(HOST, live_seconds=4)
    maintenance.apply(maxParallel=2)
    maintenance.wait("moving", lambda s: s.get("progress", {}).get("moving", 0) > 0)
    player.bed.kill_operator()
    player.bed.start_operator()
    maintenance.wait("two moved", lambda s: s.get("progress", {}).get("moved", 0) >= 2)
    player.bed.kill_operator()
    player.bed.start_operator()
    maintenance.phase("InMaintenance")
    assert [player.records(server) for server in servers] == [[("live-migration", "completed")]] * 4, "never twice"


def test_R34_deleting_it_midway_gives_the_host_back(player: Player, maintenance: Maintenance) -> None:
    servers = [player.boot(HOST, wait=False) for _ in range(3)]
    for server in servers:
        player.tenant.wait_for_status(server, "ACTIVE")
    # long enough that the first one still runs when the deletion arrives
    player.bed.cloud.knob(HOST, live_seconds=20)
    maintenance.apply(maxParallel=1)
    maintenance.wait("moving", lambda s: s.get("progress", {}).get("moving", 0) == 1)
    player.kubectl("delete", "hm", maintenance.name, "--timeout=240s")
    assert player.tenant.service(HOST)["status"] == "enabled"
    records = [player.records(server) for server in servers]
    assert sorted(records) == [[], [], [("live-migration", "completed")]], "what ran is seen to its end, no more"
    wait_for(lambda: not maintenance.children(), PATIENCE, "the owned migrations to be deleted with it")
