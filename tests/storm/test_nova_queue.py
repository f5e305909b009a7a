"""Nova's own queue of live migrations (`max_concurrent_live_migrations`, 1 by default), in virtual time: a drain with
our own defaults neither aborts what waits there, nor blames a target for it, nor fills that queue."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest

from testbed.storm.draw import Plan
from testbed.storm.rules import stage
from testbed.storm.world import World, world_of
from vmferry.cloud.model import MigrationStage
from vmferry.runtime.config import parse
from vmferry.simulator.fleet import Fleet

PATIENCE = 1800.0
#: seconds that the shared view of migrations may be old, and a decision on it
VIEW = 12.0


@dataclass(frozen=True, slots=True)
class Case:
    #: servers of cmp1 by name: GiB of memory
    servers: dict[str, int]
    #: seconds that each GiB of a copy from cmp1 takes
    copy: float
    policy: dict[str, Any] = field(default_factory=dict)
    nova: dict[str, Any] = field(default_factory=dict)
    #: seconds in which the record is `accepted`: the conductor looks for a host and has the computes check it
    conductor: float = 0.1
    #: servers that somebody else moves live from cmp1 right before
    others: tuple[str, ...] = ()


SMALL = {f"small-{number}": 1 for number in range(4)}
MANY = {f"small-{number}": 1 for number in range(8)}
TIGHT = {"timeoutBase": "20s", "timeoutPerGiB": "1s"}

CASES = {
    "a big copy holds Nova's only slot for longer than the deadline of a small one": Case(
        {"big-db": 128, **SMALL}, 1, TIGHT
    ),
    "our limit is higher than Nova's": Case(
        MANY, 40, {"limits": {"perSource": 4, "perTarget": 4}, "timeoutBase": "90s"}
    ),
    "somebody else holds the slot": Case({"theirs": 128, **SMALL}, 1, TIGHT, others=("theirs",)),
    "the conductor is slow": Case({"small": 1}, 1, TIGHT, conductor=300),
}


@pytest.mark.parametrize("sentence", CASES)
def test_a_drain_of_a_host_comes_to_its_end_with_one_attempt_for_each_server(sentence: str) -> None:
    case = CASES[sentence]
    plan = Plan(1, _fleet(case), _config(case), [])
    with world_of(plan) as world:
        hasty = world.loop.run_until_complete(_drain(case, world))
        ours = [m for m in world.site.cloud.migrations.values() if m.user_id == world.judge.us]
    assert world.wrongs == []
    assert all(stage(record) is MigrationStage.GOOD for record in ours), [record.status for record in ours]
    assert Counter(record.server_id for record in ours).most_common(1)[0][1] == 1, "one was tried again"
    assert hasty == [], "these were started from a host where Nova was seen to queue"


async def _drain(case: Case, world: World) -> list[int]:
    """Until cmp1 is empty; those of ours that were started though Nova had one in its queue for longer than a view is
    old."""
    cloud = world.site.cloud
    cloud.hosts["cmp1"].knobs |= {"live_seconds": 0, "live_seconds_per_gib": case.copy}
    world.start_operator()
    await asyncio.sleep(20)
    for name in case.others:
        server = next(one for one in cloud.servers.values() if one.name == name)
        body = {"os-migrateLive": {"host": "cmp2", "block_migration": "auto"}}
        world.site.ask("somebody", "compute", "POST", f"/servers/{server.id}/action", (), body)
    spec = {"host": "cmp1", "enabled": True, "maxParallel": 8}
    world.api.create("HostMaintenance", {"metadata": {"name": "cmp1"}, "spec": spec})
    began = cloud.now
    queued_since: float | None = None
    seen, hasty = set(cloud.migrations), list[int]()
    while any(server.host == "cmp1" for server in cloud.servers.values()):
        assert cloud.now - began < PATIENCE, [
            (m.status, cloud.servers[m.server_id].name) for m in cloud.migrations.values()
        ]
        await asyncio.sleep(1)
        cloud.clock.run_due()
        world.judge.see()
        new = [number for number in cloud.migrations if number not in seen]
        if queued_since is not None and cloud.now - queued_since > VIEW:
            hasty += new
        seen.update(new)
        queued = any(m.status == "queued" for m in cloud.migrations.values())
        queued_since = (queued_since or cloud.now) if queued else None
    await asyncio.sleep(60)
    for process in world.alive():
        await process.kill()
    return hasty


def _fleet(case: Case) -> Fleet:
    hosts = [f"cmp{number}" for number in range(1, 6)]
    return Fleet.model_validate(
        {
            "settings": {
                "nova": {"max_concurrent_live_migrations": 1, **case.nova},
                "durations": {"live_precheck": case.conductor},
            },
            "users": [
                {"name": name, "project": "admin", "roles": ["admin", "member"]}
                for name in ("admin", "vmferry", "somebody")
            ],
            "hosts": [{"name": name, "vcpus": 64, "memory_gb": 512, "disk_gb": 2000} for name in hosts],
            "aggregates": [{"name": "east", "zone": "east", "hosts": hosts}],
            "flavors": [
                {"name": f"m{gib}", "vcpus": 1, "ram_mb": 1024 * gib, "disk_gb": 0}
                for gib in sorted(set(case.servers.values()))
            ],
            "servers": [
                {"name": name, "host": "cmp1", "flavor": f"m{gib}", "volume": "new"}
                for name, gib in case.servers.items()
            ],
        }
    )


def _config(case: Case) -> Any:
    hosts = [f"cmp{number}" for number in range(1, 6)]
    return parse({"policy": {"operatingSystems": [{"system": "Ubuntu 22.04", "hosts": hosts}], **case.policy}}, {})
