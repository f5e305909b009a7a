"""A drain in which nothing goes on, from `kubectl apply` on: old records, servers in one task for ever (R47)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from testbed.simulator import SimulatedCloud
from tests.e2e.conftest import PATIENCE, PAUSE, Player

HOST, ELSEWHERE = "cmp1", "cmp4"
DAY = 86_400
pytestmark = pytest.mark.parametrize(
    "bed",
    [pytest.param("simulator", marks=[pytest.mark.simulator, pytest.mark.kubernetes])],
    indirect=True,
)


class Fleet:
    """Servers that only a test has, made with what Nova left of them."""

    def __init__(self, player: Player, cloud: SimulatedCloud) -> None:
        self.player, self.cloud = player, cloud
        self.made: dict[str, str] = {}

    def server(self, name: str, host: str, **more: Any) -> str:
        entry = {"name": name, "host": host, "flavor": "m1.tiny", "volume": "new", **more}
        found = self.cloud.control("POST", "/servers", entry)["id"]
        self.made[name] = found
        return str(found)

    def remove(self) -> None:
        for server_id in self.made.values():
            self.cloud.control("DELETE", f"/servers/{server_id}")


@pytest.fixture
def fleet(player: Player) -> Iterator[Fleet]:
    cloud = player.bed.cloud
    assert isinstance(cloud, SimulatedCloud)
    made = Fleet(player, cloud)
    yield made
    made.remove()


def drained(player: Player, until: str, seconds: float = PATIENCE) -> dict[str, Any]:
    """Apply a maintenance of the host, wait for its phase, and switch it off again."""
    name = player.name("drain")
    body = {"apiVersion": "vmferry.dev/v1alpha1", "kind": "HostMaintenance", "metadata": {"name": name}}
    player.kubectl("apply", "-f", "-", input=yaml.safe_dump(body | {"spec": {"host": HOST}}))
    try:
        end = time.monotonic() + seconds
        while True:
            found: dict[str, Any] = json.loads(player.kubectl("get", "hm", name, "-o", "json")).get("status", {})
            if found.get("phase") == until:
                return found
            assert time.monotonic() < end, yaml.safe_dump(found) + player.bed.supervisor.log_tail("operator", 30)
            time.sleep(PAUSE)
    finally:
        player.kubectl("delete", "hm", name, "--ignore-not-found", "--timeout=240s")


def test_records_that_nobody_ended_hold_up_no_drain(player: Player, fleet: Fleet) -> None:
    """Two of them, as many as the limit of the host: the drain never began, and said nothing."""
    for name, word in (("v-s1", "pre-migrating"), ("v-s2", "accepted")):
        old = {"status": word, "source": HOST, "target": ELSEWHERE, "age_seconds": 700 * DAY}
        fleet.server(name, ELSEWHERE, age_seconds=700 * DAY, records=[old])
    fleet.server("v-ok", HOST)
    with player.configured(policy={"limits": {"perSource": 2, "perTarget": 2, "total": 2}}):
        status = drained(player, "InMaintenance")
    assert status["progress"]["moved"] == 1
    left = {one["server"]: one for one in status["leftoverRecords"]}
    assert left.keys() == {fleet.made["v-s1"], fleet.made["v-s2"]}
    for one in left.values():
        assert one["migration"] in one["remedy"] and "UPDATE migrations SET status='error'" in one["remedy"]


def test_servers_that_are_in_one_task_for_ever_are_blockers(player: Player, fleet: Fleet) -> None:
    ages = {"age_seconds": 90 * DAY}
    fleet.server("v-ok", HOST)
    fleet.server("v-build", HOST, state="building", task="spawning", **ages)
    fleet.server("v-del", HOST, task="deleting", **ages)
    record = {"status": "pre-migrating", "source": HOST, "target": ELSEWHERE, **ages}
    fleet.server("v-mig", HOST, records=[record], **ages)
    with player.configured():
        status = drained(player, "Blocked")
    found = {one["name"]: one for one in status["blockers"]}
    assert {name: one["reason"] for name, one in found.items()} == {
        "v-build": "TaskStuck",
        "v-del": "TaskStuck",
        "v-mig": "LeftoverRecord",
    }
    assert f"openstack server delete --force {fleet.made['v-del']}" in found["v-del"]["remedy"]
    stalled = next(one for one in status["conditions"] if one["type"] == "Stalled")
    assert stalled["status"] == "True" and "3 of 4 servers cannot move" in stalled["message"]
    text = yaml.safe_dump(status)
    assert "nothing stands against" not in text and "estimatedEnd" not in text and "Reconciling" not in text
