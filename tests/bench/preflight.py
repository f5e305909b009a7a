"""What preflight costs."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache

import yaml

from tests.bench.fleet import big_fleet
from tests.bench.simulated import Cost, big_cloud, measured
from tests.build import NOW
from vmferry.cli.judge import judge, judge_all
from vmferry.cloud.model import Server, Snapshot
from vmferry.planning.outlooks import Outlooks
from vmferry.planning.request import Request
from vmferry.planning.targets import Look, look_out
from vmferry.policy import Policy

HOSTS, SERVERS = 500, 10_000
POLICY = Policy(local_unless_shared=True)


def _seconds(work: Callable[[], object], times: int) -> float:
    """CPU seconds of the quickest of some runs: the others were disturbed."""
    best = float("inf")
    for _ in range(times):
        begun = time.process_time()
        work()
        best = min(best, time.process_time() - begun)
    return best


def doubling() -> float:
    """One server on twice the hosts with twice the servers, to one on 500 hosts."""

    def cost(hosts: int, servers: int) -> float:
        view = big_fleet(hosts, servers)
        some = list(view.servers.values())[:20]

        def each() -> None:
            for one in some:
                list(judge_all([one], Request(), view, POLICY, NOW))

        return _seconds(each, 5)

    return cost(2 * HOSTS, 2 * SERVERS) / cost(HOSTS, SERVERS)


def outlooks_to_plain() -> float:
    """The outlooks of a fleet with a memory, to the same ones without."""
    view = big_fleet(HOSTS, SERVERS)
    names = set(sorted(view.hosts)[:: HOSTS // 10])
    some = sorted((s for s in view.servers.values() if s.host in names), key=lambda s: (s.host or "", s.name))
    with_memory = _seconds(lambda: _look(some, view, Outlooks().look), 3)
    return with_memory / _seconds(lambda: _look(some, view, look_out), 1)


def _look(servers: list[Server], view: Snapshot, look: Look) -> None:
    for one in servers:
        judge(one, Request(), view, POLICY, NOW, look)


def fleet_memory() -> float:
    return _whole_fleet().peak_mib


def fleet_minutes() -> float:
    return _whole_fleet().cpu_seconds / 60


@cache
def _whole_fleet() -> Cost:
    """`vmferry preflight --all` of 10,000 simulated servers on 500 hosts."""
    policy = {"localUnlessShared": True, "tolerateUnknown": ["OperatingSystem"]}
    with big_cloud(HOSTS, SERVERS) as (cloud, folder):
        config = folder / "operator.yaml"
        config.write_text(yaml.safe_dump({"policy": policy}))
        report = folder / "report.json"
        cost = measured(
            cloud, "preflight", "--all", "--quiet", "--config", config, "--output", "json", "--output-file", report
        )
        judged = report.read_text().count('"verdict":')
        assert judged == SERVERS and cost.status in (0, 1), f"{judged} were judged, exit status {cost.status}"
        return cost
