"""The operator is killed (SIGKILL) while requests that change something are on their way to the simulated cloud.

Each is held there before its effect, and then lost, or after it. `make crash` has every such point, in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.bed import Bed
from testbed.kubernetes.cluster import Cluster
from testbed.processes import Supervisor, wait_for
from testbed.simulator import SimulatedCloud
from tests.e2e.conftest import PATIENCE, Player, Status, install

pytestmark = [pytest.mark.simulator, pytest.mark.kubernetes]

NAMESPACE = "e2e-killed"
#: seconds that a request is held: the operator is dead long before
HELD = 900
#: what a cold migration of a running server asks Nova for, in this order
COLD = ("os-stop", "migrate", "confirmResize", "os-start")
LIMITS = {"perSource": 10, "perTarget": 10, "total": 20}


@pytest.fixture
def player(cluster: Cluster, tmp_path: Path) -> Iterator[Player]:
    """A cloud of its own."""
    supervisor = Supervisor(tmp_path)
    cluster.kubectl_run("create", "namespace", NAMESPACE)
    try:
        cloud = SimulatedCloud.start(supervisor, tmp_path)
        bed = Bed(supervisor, tmp_path, cluster, cloud)
        # a request that is held keeps its worker
        install(bed, NAMESPACE, workers=10, policy={"limits": LIMITS, "recordGrace": "3s"})
        bed.start_operator()
        yield Player(bed, NAMESPACE)
    finally:
        supervisor.stop_all(grace=0)  # what is still held is waited for by nobody


def hold(cloud: SimulatedCloud, server: str, request: int, *, after: bool) -> None:
    """Hold the n-th request that acts on the server, before its effect, which is then lost, or after it."""
    these = {"method": "POST", "path": f"/servers/{server}/action$", "times": 1}
    for _ in range(request - 1):
        cloud.fault(**these)
    cloud.fault(**these, **({"lag": HELD} if after else {"delay": HELD, "drop": "before"}))


def asked(cloud: SimulatedCloud) -> Counter[str]:
    """How often each action was asked for."""
    counts = cloud.requests().items()
    return Counter({route.rpartition(" ")[2]: n for route, n in counts if "/action " in route})


def is_met(status: Status) -> bool:
    return any((one["type"], one["status"]) == ("PrerequisitesMet", "True") for one in status.get("conditions", ()))


def test_I2_I3_killed_between_stop_migrate_and_start_and_in_an_evacuation_no_move_is_lost_or_made_twice(
    player: Player,
) -> None:
    cloud, tenant = player.bed.cloud, player.tenant
    assert isinstance(cloud, SimulatedCloud)
    cold = {
        player.boot("cmp1", wait=False): (COLD.index(action) + 1, after)
        for action in ("migrate", "os-start")
        for after in (False, True)
    }
    evacuated = {player.boot("cmp3", wait=False): (1, after) for after in (False, True)}
    for server, (request, after) in (cold | evacuated).items():
        tenant.wait_for_status(server, "ACTIVE")
        hold(cloud, server, request, after=after)
    cloud.kill_compute("cmp3")
    # what only waits has a worker of its own, which the first of two held requests would keep from the second
    asked_first = player.apply(next(iter(evacuated)), type="Evacuate", preflightOnly=True)
    player.wait(asked_first, "that the host is seen to be down", is_met, PATIENCE)
    cloud.forget_requests()
    moves = {server: player.apply(server, type="Cold", stopIfRunning=True) for server in cold}
    moves |= {server: player.apply(server, type="Evacuate") for server in evacuated}

    held = Counter({"os-stop": 4, "migrate": 4, "confirmResize": 2, "os-start": 2, "evacuate": 2})
    try:
        wait_for(lambda: asked(cloud) == held, PATIENCE, "all to be held")
    except TimeoutError:
        raise AssertionError(
            f"{asked(cloud)} instead of {held}\n{player.bed.supervisor.log_tail('operator', 30)}"
        ) from None
    lost = next(server for server in cold)
    wait_for(lambda: sum(bool(player.records(server)) for server in moves) == 4, PATIENCE, "the effects")
    assert player.records(lost) == []
    player.bed.kill_operator()
    player.bed.start_operator()

    for server, name in moves.items():
        player.finished(name, seconds=PATIENCE)
        assert tenant.server(server)["status"] == "ACTIVE"  # type: ignore[index]
    assert [player.records(server) for server in cold] == [[("migration", "confirmed")]] * 4
    assert [[kind for kind, _ in player.records(server)] for server in evacuated] == [["evacuation"]] * 2
    again = Counter({"migrate": 1, "os-start": 1, "evacuate": 1})  # what was lost, and nothing else
    rest = Counter({"confirmResize": 2, "os-start": 2})
    assert asked(cloud) == held + again + rest
