"""A small, fixed part of `make chaos`: the real operator process between proxies, on the simulator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.bed import Bed
from testbed.chaos.draw import STATUS, WRITES, Deed, Do, Schedule, Trouble, Vm
from testbed.chaos.judge import judge
from testbed.chaos.stage import Stage, start_cloud
from testbed.kubernetes.cluster import Cluster
from testbed.processes import Supervisor
from testbed.proxy.thread import Proxies
from testbed.proxy.watch import WatchFault
from vmferry.simulator.faults import Fault

pytestmark = [pytest.mark.simulator, pytest.mark.kubernetes]

#: a host is drained and a server moved while answers get lost, statuses conflict and the operator is killed
SCHEDULE = Schedule(
    seed=0,
    servers=(Vm("vm0", "cmp1", False), Vm("vm1", "cmp1", True), Vm("vm2", "cmp2", False)),
    config={"maintenance": {"settle": "1s", "verifyEvery": "2s"}},
    copy_failure="error",
    deeds=(
        Deed(0.0, Do.DRAIN, "cmp1", {"maxParallel": 2}),
        Deed(0.0, Do.MIGRATE, "m0", {"server": "vm2", "type": "Live"}),
        Deed(1.0, Do.REVOKE_TOKENS),
        Deed(2.0, Do.KILL_OPERATOR),
        Deed(2.1, Do.START_OPERATOR),
    ),
    troubles=(
        Trouble(0.0, 5.0, "compute", Fault(method="POST", path="/action$", drop="after")),
        Trouble(0.0, 4.0, "kubernetes", Fault(method=WRITES, path=STATUS, status=409, probability=0.3)),
        Trouble(0.5, 3.0, "kubernetes", WatchFault(events=("MODIFIED", "DELETED"), missing=0.5)),
        Trouble(3.0, 1.0, "identity", None),
    ),
)


@pytest.fixture(scope="module")
def stage(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("chaos")
    supervisor = Supervisor(folder)
    try:
        with Proxies() as proxies:
            yield Stage(Bed(supervisor, folder, cluster, start_cloud("simulator", supervisor, folder)), proxies)
    finally:
        supervisor.stop_all(grace=0)


def test_I3_I34_faults_neither_move_a_server_twice_nor_lose_one_nor_leave_anything_stuck(stage: Stage) -> None:
    facts = stage.play(SCHEDULE)
    harms = judge(facts)
    assert not harms, "\n".join([str(SCHEDULE), *map(str, harms), facts.log[-5000:]])
    assert len(facts.objects) == 4, "what was asked for, and a child for each server of the host"
    assert sorted(record.server for record in facts.records) == sorted(one.id for one in facts.servers)
    assert stage.faults["kill operator"] == 1
