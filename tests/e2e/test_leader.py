"""Two operators of one cloud as two processes (I32), and the kill switch (I31), on the simulator."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testbed.bed import OPERATOR, OPERATOR_NAMESPACE, Bed
from testbed.kubernetes.cluster import Cluster
from testbed.processes import Supervisor, wait_for
from testbed.simulator import SimulatedCloud
from tests.e2e.conftest import PATIENCE, Player, install
from tests.e2e.test_maintenance import Maintenance, maintenance

__all__ = ["maintenance"]

pytestmark = [pytest.mark.simulator, pytest.mark.kubernetes]

NAMESPACE = "e2e-leader"
OTHER = "operator-2"
SWITCH = "vmferry-stop"


@pytest.fixture(scope="module")
def bed(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """A cloud of its own."""
    run_dir: Path = tmp_path_factory.mktemp("e2e-leader")
    supervisor = Supervisor(run_dir)
    cluster.kubectl_run("create", "namespace", NAMESPACE)
    try:
        made = Bed(supervisor, run_dir, cluster, SimulatedCloud.start(supervisor, run_dir))
        install(made, NAMESPACE)
        yield made
    finally:
        supervisor.stop_all()


@pytest.fixture
def player(bed: Bed) -> Iterator[Player]:
    bed.start_operator()
    wait_for(lambda: leads(bed, OPERATOR), PATIENCE, "a leader")
    yield Player(bed, NAMESPACE)
    turn(bed, None)
    for name in (OPERATOR, OTHER):
        pid = bed.supervisor.pid(name)
        if pid is not None:
            os.kill(pid, signal.SIGCONT)
        bed.stop_operator(name)
    bed.cloud.reset_knobs()
    bed.tenant.delete_booted()


def leads(bed: Bed, name: str) -> bool:
    return "\nvmferry_leader 1.0" in bed.probe("metrics", name)[1]


def standby(bed: Bed, name: str) -> bool:
    code, text = bed.probe("readyz", name)
    return code == 200 and text.startswith("ok\nstandby, ")


def transitions(bed: Bed, name: str) -> int:
    lines = bed.probe("metrics", name)[1].splitlines()
    return int(float(next(one.split()[1] for one in lines if one.startswith("vmferry_leader_transitions_total "))))


def turn(bed: Bed, data: dict[str, str] | None) -> None:
    """The kill switch; None: there is none."""
    name, at = SWITCH, ("-n", OPERATOR_NAMESPACE)
    if data is None:
        bed.cluster.kubectl_run(*at, "delete", "configmap", name, "--ignore-not-found")
        return
    body: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
    bed.cluster.kubectl_run(*at, "apply", "-f", "-", input=json.dumps(body))


def reason(status: dict[str, Any]) -> str | None:
    return next((one["reason"] for one in status.get("conditions", []) if one["type"] == "Ready"), None)


def boot(player: Player, number: int) -> list[str]:
    servers = [player.boot("cmp1", wait=False) for _ in range(number)]
    for server in servers:
        player.tenant.wait_for_status(server, "ACTIVE")
    return servers


def is_running(player: Player, servers: list[str]) -> bool:
    return any(player.records(server)[:1] == [("live-migration", "running")] for server in servers)


@pytest.mark.parametrize("moment", ["a migration runs", "the first move was just created"])
def test_I32_a_leader_frozen_in_the_middle_of_a_drain_moves_nothing_twice(
    player: Player, maintenance: Maintenance, moment: str
) -> None:
    bed = player.bed
    bed.start_operator(name=OTHER)
    assert standby(bed, OTHER)
    servers = boot(player, 5)
    bed.cloud.knob("cmp1", live_seconds=3)
    frozen = bed.supervisor.pid(OPERATOR)
    assert frozen is not None
    maintenance.apply(maxParallel=2)
    if moment == "a migration runs":
        wait_for(lambda: is_running(player, servers), PATIENCE, moment)
    else:
        wait_for(lambda: bool(maintenance.children()), PATIENCE, moment)
    os.kill(frozen, signal.SIGSTOP)
    try:
        wait_for(lambda: leads(bed, OTHER), PATIENCE, "the standby to take over", lambda: bed.supervisor.check(OTHER))
        maintenance.wait("three moved", lambda s: s.get("progress", {}).get("moved", 0) >= 3)
    finally:
        os.kill(frozen, signal.SIGCONT)
    wait_for(lambda: standby(bed, OPERATOR), PATIENCE, "the woken one to stand by")
    maintenance.phase("InMaintenance")
    assert [player.records(server) for server in servers] == [[("live-migration", "completed")]] * 5, "never twice"
    for child in maintenance.children():
        assert [one["state"] for one in child["status"]["attempts"] if one["state"] != "NotSent"] == ["Completed"]
    assert leads(bed, OTHER)
    assert (transitions(bed, OPERATOR), transitions(bed, OTHER)) == (1, 1)
    maintenance.apply(enabled=False)
    maintenance.phase("Released")


def test_I32_a_leader_that_ends_hands_over_at_once(player: Player, maintenance: Maintenance) -> None:
    bed = player.bed
    bed.start_operator(name=OTHER)
    servers = boot(player, 3)
    bed.cloud.knob("cmp1", live_seconds=3)
    maintenance.apply(maxParallel=1)
    wait_for(lambda: is_running(player, servers), PATIENCE, "a migration to run")
    bed.stop_operator()
    # the Lease was released, so what is left is one pause between two tries
    wait_for(lambda: leads(bed, OTHER), 4, "the standby to lead")
    assert "the Lease is not released" not in bed.supervisor.log(OPERATOR).read_text()
    maintenance.phase("InMaintenance")
    assert [player.records(server) for server in servers] == [[("live-migration", "completed")]] * 3, "never twice"
    maintenance.apply(enabled=False)
    maintenance.phase("Released")


def test_I31_the_switch_stops_new_moves_and_lifted_they_go_on(player: Player, maintenance: Maintenance) -> None:
    bed = player.bed
    servers = boot(player, 3)
    # long enough that the first one still runs when the operator learns of the switch
    bed.cloud.knob("cmp1", live_seconds=20)
    maintenance.apply(maxParallel=1)
    wait_for(lambda: is_running(player, servers), PATIENCE, "a migration to run")
    bed.cloud.knob("cmp1", live_seconds=3)
    turn(bed, {"stop": "true", "reason": "storage fire"})
    message = f"new moves are stopped by ConfigMap {OPERATOR_NAMESPACE}/{SWITCH}: storage fire"

    def says_so(status: dict[str, Any]) -> bool:
        return any((one["reason"], one["message"]) == ("Stopped", message) for one in status.get("conditions", []))

    maintenance.wait("told that it is stopped", says_so)
    maintenance.wait("what ran is over", lambda s: s["progress"]["moved"] == 1)
    before = [player.records(server) for server in servers]
    assert sum(len(records) for records in before) == 1
    turn(bed, {"zones": "elsewhere"})
    maintenance.phase("InMaintenance")
    assert [len(player.records(server)) for server in servers] == [1, 1, 1]
    # the gauge is 1 for a switch that names zones too: only from 0 does 1 show that the statuses know of this one
    turn(bed, None)
    wait_for(
        lambda: "vmferry_stopped 0.0" in bed.probe("metrics")[1],
        PATIENCE,
        "the operator to know that it is not stopped",
    )
    turn(bed, {"stop": "true"})
    wait_for(
        lambda: "vmferry_stopped 1.0" in bed.probe("metrics")[1], PATIENCE, "the operator to know that it is stopped"
    )
    maintenance.apply(enabled=False)
    maintenance.phase("Released")
    assert player.tenant.service("cmp1")["status"] == "enabled", "a host is given back all the same"

    another = boot(player, 1)[0]
    move = player.apply(another, type="Live", target={"host": "cmp2"})
    status = player.wait(move, "told that it is stopped", lambda s: reason(s) == "Stopped")
    assert (status["phase"], status.get("attempts", [])) == ("Queued", [])
    assert player.records(another) == []
    turn(bed, None)
    player.finished(move)
