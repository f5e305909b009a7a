"""I36 from `kubectl apply` on: Nova lists a second compute service of cmp1, and nothing at all is done there."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from testbed.simulator import SimulatedCloud
from tests.e2e.conftest import PATIENCE, PAUSE, Player

HOST = "cmp1"
STRAY = "11111111-1111-4111-8111-111111111111"


pytestmark = pytest.mark.parametrize(
    "bed",
    [pytest.param("simulator", marks=[pytest.mark.simulator, pytest.mark.kubernetes])],
    indirect=True,
)


@pytest.fixture
def cloud(player: Player) -> Iterator[SimulatedCloud]:
    cloud = player.bed.cloud
    assert isinstance(cloud, SimulatedCloud)
    yield cloud
    cloud.control("DELETE", "/services")


def maintenance(player: Player, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(player.kubectl("get", "hm", name, "-o", "json")).get("status", {})
    return found


def conditions(status: dict[str, Any]) -> dict[str, tuple[str, str, str]]:
    return {one["type"]: (one["status"], one["reason"], one["message"]) for one in status.get("conditions", [])}


def wait(player: Player, name: str, phase: str, seconds: float = PATIENCE) -> dict[str, Any]:
    end = time.monotonic() + seconds
    while (status := maintenance(player, name)).get("phase") != phase:
        assert time.monotonic() < end, yaml.safe_dump(status) + player.bed.supervisor.log_tail("operator", 30)
        time.sleep(PAUSE)
    return status


@pytest.mark.parametrize("first", [False, True], ids=["the dead record is last", "the dead record is first"])
def test_I12_I36_a_living_host_with_a_dead_record(player: Player, cloud: SimulatedCloud, first: bool) -> None:
    servers = [player.boot(HOST) for _ in range(2)]
    living = player.tenant.service(HOST)["id"]
    cloud.control("POST", "/services", {"id": STRAY, "host": HOST, "forced_down": True, "first": first})
    cloud.forget_requests()
    name = player.name("drain")
    body = {"apiVersion": "vmferry.dev/v1alpha1", "kind": "HostMaintenance", "metadata": {"name": name}}
    player.kubectl("apply", "-f", "-", input=yaml.safe_dump(body | {"spec": {"host": HOST}}))
    try:
        status = wait(player, name, "Blocked")
        found = conditions(status)
        assert found["Cordoned"][:2] == found["Drained"][:2] == ("Unknown", "FactUnknown")
        assert STRAY in found["Stalled"][2] and living in found["Stalled"][2] and "Reconciling" not in found
        move = player.apply(servers[0], type="Auto")
        blocked = player.blocked(move)
        source = next(one for one in blocked["prerequisites"] if one["name"] == "SourceHost")
        assert source["result"] == "Unknown" and STRAY in source["message"]
        assert not any(
            method != "GET" and ("/action" in route or "/os-services" in route)
            for method, route in (line.split(" ", 1) for line in cloud.requests())
        )
        hosts = cloud.control("GET", "/state")["hosts"]
        assert not hosts[HOST]["disabled"] and sorted(hosts[HOST]["servers"]) == sorted(servers)

        player.kubectl("delete", "vmm", move)
        cloud.control("DELETE", "/services")
        wait(player, name, "InMaintenance")
        assert cloud.control("GET", "/state")["hosts"][HOST]["disabled"]
    finally:
        player.kubectl("delete", "hm", name, "--ignore-not-found", "--timeout=240s")
        player.tenant.enable_host(HOST)
