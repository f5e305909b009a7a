"""The cost of preflight."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import yaml

from testbed.bench.clock import best
from testbed.bench.fleet import big_fleet
from testbed.bench.simulated import Cost, big_cloud, measured
from testbed.build import NOW
from vmferry.cli.assess import assess_server, assess_servers
from vmferry.cloud.model import Server, Snapshot
from vmferry.planning.host_assessments import HostAssessments
from vmferry.planning.request import Request
from vmferry.planning.targets import AssessHosts, assess_hosts
from vmferry.policy import Policy

HOSTS, SERVERS = 500, 10_000
POLICY = Policy(local_unless_shared=True)


def doubling() -> float:
    """One server with twice the hosts and servers, relative to 500 hosts."""

    def each(hosts: int, servers: int) -> Callable[[], None]:
        view = big_fleet(hosts, servers)
        some = list(view.servers.values())[:20]

        def work() -> None:
            for one in some:
                list(assess_servers([one], Request(attested=None), view, POLICY, NOW))

        return work

    twice, once = best(5, each(2 * HOSTS, 2 * SERVERS), each(HOSTS, SERVERS))
    return twice / once


def cached_to_plain() -> float:
    """The assessments of a fleet with a cache, relative to those without."""
    view = big_fleet(HOSTS, SERVERS)
    names = set(sorted(view.hosts)[:: HOSTS // 10])
    some = sorted((s for s in view.servers.values() if s.host in names), key=lambda s: (s.host or "", s.name))
    (with_memory,) = best(3, lambda: _look(some, view, HostAssessments().assess_hosts))
    (without,) = best(1, lambda: _look(some, view, assess_hosts))
    return with_memory / without


def _look(servers: list[Server], view: Snapshot, look: AssessHosts) -> None:
    for one in servers:
        assess_server(one, Request(attested=None), view, POLICY, NOW, look)


def fleet_memory() -> float:
    return _whole_fleet().peak_mib


def fleet_minutes() -> float:
    return _whole_fleet().cpu_seconds / 60


@cache
def _whole_fleet() -> Cost:
    """Run `vmferry preflight --all` on 10,000 simulated servers on 500 hosts."""
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
