"""Applies a batch of requests at once in virtual time, and compares the start of each with an ideal schedule.

python -m testbed.storm.batch     # print the figures
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from testbed.storm.draw import Plan
from testbed.storm.happening import MIGRATIONS
from testbed.storm.world import World, world_of
from vmferry.policy import Limits
from vmferry.runtime.config import Config, parse
from vmferry.simulator.fleet import Fleet

#: seconds of a migration from the accepted request to the completed record; COPY is the time for copying
COPY = 60.0
DURATIONS = {"migration_row": 1.0, "live_precheck": 1.0, "live_prepare": 1.0, "live_copy": COPY, "live_post": 1.0}
SECONDS = sum(DURATIONS.values())
#: seconds before the batch is applied, in which the operator reads the cloud
SETTLED = 20.0
PATIENCE = 4 * 3600.0


@dataclass(frozen=True, slots=True)
class Batch:
    """Requests to move the servers of the first hosts to any other host."""

    sources: int = 4
    #: number of hosts without servers
    others: int = 6
    #: number of servers on each of the first hosts
    servers: int = 10
    limits: Limits = field(default_factory=Limits)
    #: order of the requests: all of one host and then all of the next, or one of each host in turn
    host_by_host: bool = True
    #: every n-th request names the last host as its target; 0 means no request
    named: int = 0

    @property
    def hosts(self) -> list[str]:
        return [f"cmp{number:02}" for number in range(1, self.sources + self.others + 1)]

    @property
    def requests(self) -> list[tuple[str, str, str | None]]:
        """The requests in order: the server's name, its host, and the named target or None."""
        pairs = [(number, host) for host in self.hosts[: self.sources] for number in range(self.servers)]
        if not self.host_by_host:
            pairs.sort()
        last = self.hosts[-1]
        return [
            (f"{host}-{number}", host, last if self.named and place % self.named == 0 else None)
            for place, (number, host) in enumerate(pairs, 1)
        ]


@dataclass(frozen=True, slots=True)
class Move:
    """One move of a batch; `began` is in seconds since the batch was applied."""

    place: int
    source: str
    target: str
    began: float


@dataclass(frozen=True, slots=True)
class Played:
    moves: list[Move]
    #: seconds until the last move had ended
    took: float
    wrongs: list[str]


def ideal(batch: Batch) -> Played:
    """The ideal schedule: a move waits only for a limit, or for earlier moves that wait for the same host."""
    waiting = [(place, source, target) for place, (_, source, target) in enumerate(batch.requests)]
    moves: list[Move] = []
    now, limits = 0.0, batch.limits
    while waiting:
        flying = [move for move in moves if move.began + SECONDS > now]
        out, into = Counter(move.source for move in flying), Counter(move.target for move in flying)
        left, total = list[tuple[int, str, str | None]](), len(flying)
        for place, source, wanted in waiting:
            targets = [wanted] if wanted else [host for host in batch.hosts if host != source]
            target = min(targets, key=lambda host: into[host])
            free = out[source] < limits.per_source and total < limits.total and into[target] < limits.per_target
            if free:
                moves.append(Move(place, source, target, now))
                total += 1
            else:
                left.append((place, source, wanted))
            out[source] += 1
            if free or wanted:
                into[target] += 1
        waiting = left
        now = min(move.began + SECONDS for move in moves if move.began + SECONDS > now)
    return Played(moves, max(move.began for move in moves) + SECONDS, [])


def play(batch: Batch) -> Played:
    """Run the batch with the complete operator."""
    plan = Plan(1, _fleet(batch), _config(batch), [])
    with world_of(plan) as world:
        return world.loop.run_until_complete(_play(batch, world))


async def _play(batch: Batch, world: World) -> Played:
    cloud = world.site.cloud
    world.start_operator()
    await asyncio.sleep(SETTLED)
    ids = {server.name: server.id for server in cloud.servers.values()}
    places = {ids[name]: place for place, (name, _, _) in enumerate(batch.requests)}
    applied = cloud.now
    for name, _, target in batch.requests:
        spec: dict[str, Any] = {"server": {"id": ids[name]}}
        if target:
            spec["target"] = {"host": target}
        # requests of the same age are ordered by name
        metadata = {"namespace": MIGRATIONS, "name": f"m-{places[ids[name]]:04}"}
        world.api.create("VMMigration", {"metadata": metadata, "spec": spec})
    while not all(body.get("status", {}).get("completedAt") for body in world.api.objects.values()):
        if cloud.now - applied > PATIENCE:
            world.wrong("stuck: the batch has no end")
            break
        await asyncio.sleep(1)
        cloud.clock.run_due()
        world.judge.see()
    for process in world.alive():
        await process.kill()
    moves = [
        Move(places[one.server_id], one.source, one.destination or "", one.created_at - applied)
        for one in cloud.migrations.values()
    ]
    ended = max(one.updated_at or one.created_at for one in cloud.migrations.values())
    return Played(sorted(moves, key=lambda move: move.began), ended - applied, world.wrongs)


def _fleet(batch: Batch) -> Fleet:
    return Fleet.model_validate(
        {
            "settings": {"nova": {"max_concurrent_live_migrations": 100}, "durations": DURATIONS},
            "users": [
                {"name": name, "project": "admin", "roles": ["admin", "member"]}
                for name in ("admin", "vmferry", "somebody")
            ],
            "hosts": [
                {"name": name, "vcpus": 64, "memory_gb": 512, "disk_gb": 2000, "store": "pool"} for name in batch.hosts
            ],
            "aggregates": [{"name": "east", "zone": "east", "hosts": batch.hosts}],
            "flavors": [{"name": "small", "vcpus": 1, "ram_mb": 1024, "disk_gb": 5}],
            "images": [{"name": "cirros"}],
            "servers": [
                {"name": name, "host": host, "flavor": "small", "image": "cirros"} for name, host, _ in batch.requests
            ],
        }
    )


def _config(batch: Batch) -> Config:
    limits = batch.limits
    return parse(
        {
            "policy": {
                "sharedStorage": [{"name": "pool", "hosts": batch.hosts}],
                "operatingSystems": [{"system": "Ubuntu 22.04", "hosts": batch.hosts}],
                "limits": {"perSource": limits.per_source, "perTarget": limits.per_target, "total": limits.total},
            }
        },
        {},
    )


#: the batches that are printed
BATCHES = {
    "40 servers of 4 hosts, host by host": Batch(),
    "the same, one of each host in turn": Batch(host_by_host=False),
    "the same, every fourth names its target": Batch(named=4),
    "the same, one at a time to a host": Batch(limits=Limits(2, 1, 10)),
    "40 servers of 8 hosts, host by host": Batch(8, 4, 5),
    "20 servers of one host, to four others": Batch(1, 4, 20, Limits(10, 2, 10)),
}


if __name__ == "__main__":
    for words, one in BATCHES.items():
        found, best = play(one), ideal(one)
        print(f"{words}: {found.took:.0f} s, ideally {best.took:.0f} s: {found.took / best.took:.2f}", *found.wrongs)
