"""The breaker (I37, R46), end to end: every move from cmp1 leaves its server in ERROR, and two of them are lost.

On the simulated cloud, which can be told to let every move of a host fail as Nova does (`copy_failure`, `fail_cold`).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testbed.bed import OPERATOR_NAMESPACE
from testbed.processes import wait_for
from tests.e2e.conftest import PATIENCE, Player
from tests.e2e.test_maintenance import HOST, Maintenance

pytestmark = pytest.mark.parametrize(
    "bed", [pytest.param("simulator", marks=[pytest.mark.simulator, pytest.mark.kubernetes])], indirect=True
)

RUNBOOK = "docs/runbooks/server-in-error-after-an-abort.md"
OPERATOR = Path(__file__).resolve().parents[2] / "operator"
#: what is broken: live copies and cold migrations end with the server in ERROR
BROKEN = {"fail_live_at": 0.2, "live_seconds": 2, "fail_cold": True}


@pytest.fixture
def maintenance(player: Player) -> Iterator[Maintenance]:
    player.bed.cloud.knob(HOST, **BROKEN)
    made = Maintenance(player)
    yield made
    player.kubectl("delete", "hm", made.name, "--ignore-not-found", "--timeout=240s")
    player.kubectl("delete", "vmm", "--all", "--timeout=240s")
    player.bed.cluster.kubectl_run("delete", "configmap", "vmferry-resume", "-n", OPERATOR_NAMESPACE, check=False)
    player.tenant.enable_host(HOST)


def boot(player: Player, count: int) -> list[str]:
    servers = [player.boot(HOST, wait=False) for _ in range(count)]
    for server in servers:
        player.tenant.wait_for_status(server, "ACTIVE")
    return servers


def statuses(player: Player, servers: list[str]) -> Counter[str]:
    found = (player.tenant.server(server) for server in servers)
    return Counter(one["status"] if one else "GONE" for one in found)


def held(status: dict[str, Any]) -> bool:
    conditions = {one["type"]: one for one in status.get("conditions", [])}
    stalled = conditions.get("Stalled")
    return status.get("phase") == "Blocked" and stalled is not None and stalled["reason"] == "BreakerOpen"


def ferry(player: Player, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "vmferry.cli.ferry", *words],
        env={**os.environ, "KUBECONFIG": str(player.bed.cluster.kubeconfig), "PYTHONPATH": str(OPERATOR)},
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    return done.stdout


def gauge(player: Player, scope: str) -> float:
    code, text = player.bed.probe("metrics")
    assert code == 200, text
    prefix = f'vmferry_open_breakers{{scope="{scope}"}} '
    return next(float(line.removeprefix(prefix)) for line in text.splitlines() if line.startswith(prefix))


def test_I37_a_live_drain_of_fourteen_loses_two_and_goes_on_when_a_person_says_so(
    player: Player, maintenance: Maintenance
) -> None:
    servers = boot(player, 14)
    maintenance.apply()
    status = maintenance.wait("held by the breaker", held)
    assert statuses(player, servers) == {"ERROR": 2, "ACTIVE": 12}
    wait_for(lambda: (gauge(player, "host"), gauge(player, "cloud")) == (1, 0), PATIENCE, "one open breaker")
    broken = {one["server"]: one for one in status["blockers"]}
    assert len(broken) == 2
    for blocker in broken.values():
        assert "attempt 1 of VMMigration" in blocker["message"] and RUNBOOK in blocker["remedy"]

    player.bed.kill_operator()
    player.bed.start_operator()
    maintenance.wait("held still", held)
    waiting = next(server for server in servers if server not in broken)
    single = player.apply(waiting, type="Live")
    found = player.wait(single, "held", lambda s: s.get("phase") == "Queued")
    assert {one["reason"] for one in found["conditions"] if one["type"] == "Ready"} == {"BreakerOpen"}
    assert statuses(player, servers) == {"ERROR": 2, "ACTIVE": 12}, "nothing was tried since"

    player.bed.cloud.reset_knobs()
    assert "failures from cmp1" in ferry(player, "resume", HOST)
    # The drain wants this server too: whichever of the two is first, it leaves.
    player.wait(
        single,
        "finished, or overtaken by the drain",
        lambda s: "completedAt" in s or player.tenant.host_of(waiting) == "cmp2",
    )
    maintenance.wait("all others have left", lambda s: s.get("progress", {}).get("blocked") == 2 and _left(s))
    assert Counter(player.tenant.host_of(server) for server in servers) == {"cmp2": 12, HOST: 2}
    wait_for(lambda: gauge(player, "host") == 0, PATIENCE, "no open breaker")
    reasons = ("get", "events", "-A", "-o", "jsonpath={.items[*].reason}")
    wait_for(lambda: "BreakerOpen" in player.bed.cluster.kubectl_run(*reasons).split(), PATIENCE, "the Event")


def _left(status: dict[str, Any]) -> bool:
    progress = status["progress"]
    return bool(progress["moving"] == progress["waiting"] == 0)


def test_I37_a_cold_drain_of_six_shuts_down_no_more_than_two(player: Player, maintenance: Maintenance) -> None:
    servers = boot(player, 6)
    maintenance.apply(running="ColdMigrate")
    maintenance.wait("held by the breaker", held)
    assert statuses(player, servers) == {"ERROR": 2, "ACTIVE": 4}
    assert sum(bool(player.records(server)) for server in servers) == 2


def test_I37_with_refuse_it_stops_at_the_first_ones(player: Player, maintenance: Maintenance) -> None:
    servers = boot(player, 8)
    maintenance.apply(onBlockers="Refuse")
    maintenance.wait(
        "blocked", lambda s: s.get("phase") == "Blocked" and s["progress"]["moving"] == s["progress"]["waiting"] - 6
    )
    assert statuses(player, servers) == {"ERROR": 2, "ACTIVE": 6}


def test_I37_one_trial_move_closes_it(player: Player, maintenance: Maintenance) -> None:
    with player.configured(policy={"breaker": {"pause": "20s"}}):
        servers = boot(player, 6)
        maintenance.apply()
        maintenance.wait("held by the breaker", held)
        player.bed.cloud.reset_knobs()
        maintenance.wait("four have left", lambda s: s["progress"]["moved"] == 4)
        assert statuses(player, servers) == {"ERROR": 2, "ACTIVE": 4}
