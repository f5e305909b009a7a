"""Memory of the operator: after a batch of requests in a large cloud, and during a churn of servers.

`python -m testbed.bench.memory SECONDS` prints the memory of each minute of a churn of this duration.
"""

from __future__ import annotations

import random
import signal
import statistics
import sys
import time
from functools import cache
from typing import Any

from testbed.bench.clock import note
from testbed.bench.scene import GROUP, PATH, Scene, Wish, scene

#: size of the batch
HOSTS, SERVERS, REQUESTS = 2_500, 50_000, 1_000
HOSTS_PER_CLUSTER = 50
#: size and duration of the churn
CHURN_HOSTS, CHURN_SERVERS = 100, 1_000
CHURN_SECONDS = 900
#: share of a churn during which memory grows by design: ten minutes of Events, and objects until their time to live
WARM_UP = 1 / 3
#: seconds of a round of the churn, and the number of requests and boots that start in it
ROUND, MOVES, BOOTS = 10, 30, 9
#: rounds after which an unfinished request is withdrawn
KEPT = 12


@cache
def batch_mib() -> float:
    """The operator's peak memory after `REQUESTS` simultaneous requests."""
    with scene(Scene, _fleet(HOSTS, SERVERS), {**_policy(HOSTS), "limits": _limits(10)}) as found:
        idle = found.resident_mib()
        servers = [server["id"] for server in found.servers()][:: SERVERS // REQUESTS]
        found.create([Wish(f"batch-{n}", server_id) for n, server_id in enumerate(servers)])
        found.wait_for(lambda phases: not phases[""] and not phases["Pending"], "all requests have a status")
        time.sleep(60)
        peak, rest = found.peak_mib(), found.resident_mib()
        note(f"{REQUESTS} requests at {SERVERS} servers: {idle:.0f} MiB before, {peak:.0f} at most, {rest:.0f} at rest")
        note(f"the operator answered after {found.longest_answer:.2f} s at the slowest")
        return peak


@cache
def churn_mib_an_hour(seconds: float = CHURN_SECONDS) -> float:
    """The growth of the operator's memory during a churn of requests, servers and drains, by linear regression."""
    policy = {**_policy(CHURN_HOSTS), "limits": _limits(100), "ttlAfterFinished": "20s"}
    policy["maintenance"] = {"maxHostsPerCluster": 10}
    with scene(Scene, _fleet(CHURN_HOSTS, CHURN_SERVERS), policy) as found:
        return _churn(found, seconds)


def _churn(found: Scene, seconds: float) -> float:
    rng = random.Random(1)
    servers = [server["id"] for server in found.servers()]
    begun = time.monotonic()
    samples: list[tuple[float, float]] = []
    rounds = minutes = 0
    while (now := time.monotonic() - begun) < seconds:
        rounds += 1
        found.create([Wish(f"churn-{rounds}-{n}", one) for n, one in enumerate(rng.sample(servers, MOVES))])
        for number in range(BOOTS):
            tenant = found.bed.tenant
            body = {
                "name": f"guest-{rounds}-{number}",
                "flavorRef": tenant.flavor("m1.x1"),
                "imageRef": tenant.image("image"),
                "networks": "none",
            }
            servers.append(tenant.call("POST", "/servers", {"server": body})["server"]["id"])
            found.bed.tenant.call("DELETE", f"/servers/{servers.pop(rng.randrange(len(servers) // 2))}")
        _drain(found, f"cmp{rounds % CHURN_HOSTS:04}", f"cmp{(rounds - 6) % CHURN_HOSTS:04}" if rounds > 6 else None)
        samples.append((now, found.resident_mib()))
        if now // 60 >= minutes:
            minutes += 1
            _withdraw(found, rounds - KEPT)
            note(f"{now:5.0f} s: {samples[-1][1]:.1f} MiB, {len(found.statuses())} VMMigrations")
        time.sleep(max(0.0, rounds * ROUND - (time.monotonic() - begun)))
    late = [sample for sample in samples if sample[0] >= seconds * WARM_UP]
    slope = statistics.linear_regression([at for at, _ in late], [mib for _, mib in late]).slope * 3600
    note(f"{rounds} rounds of {MOVES} requests, {BOOTS} servers and a drain: {slope:+.1f} MiB an hour")
    return slope


def _withdraw(found: Scene, before: int) -> None:
    """Delete unfinished requests of earlier rounds: their servers are gone, or the machine is too slow."""
    for name, status in found.statuses().items():
        if int(name.split("-")[1]) < before and "completedAt" not in status:
            found.call("DELETE", f"{PATH}/{name}")


def _drain(found: Scene, host: str, released: str | None) -> None:
    body: dict[str, Any] = {"apiVersion": "vmferry.dev/v1alpha1", "kind": "HostMaintenance"}
    body |= {"metadata": {"name": host}, "spec": {"host": host, "enabled": True}}
    maintenances = f"{GROUP}/hostmaintenances"
    found.call("POST", maintenances, body)
    if released is not None:
        found.call("DELETE", f"{maintenances}/{released}")


def _limits(each: int) -> dict[str, int]:
    return {"perSource": each, "perTarget": each, "total": each}


def _policy(hosts: int) -> dict[str, Any]:
    aggregates = [f"cluster{n}" for n in range(hosts // HOSTS_PER_CLUSTER)]
    return {"localUnlessShared": True, "operatingSystems": [{"system": "Ubuntu 22.04", "aggregates": aggregates}]}


def _fleet(hosts: int, servers: int) -> dict[str, object]:
    names = [f"cmp{n:04}" for n in range(hosts)]
    clusters = [names[at : at + HOSTS_PER_CLUSTER] for at in range(0, hosts, HOSTS_PER_CLUSTER)]
    return {
        "settings": {"durations": {"live_copy": 3}},
        "hosts": [
            {"name": name, "memory_gb": 512, "disk_gb": 4000, "cpu": {}, "store": f"store{n // HOSTS_PER_CLUSTER}"}
            for n, name in enumerate(names)
        ],
        "aggregates": [{"name": f"cluster{n}", "zone": f"cluster{n}", "hosts": of} for n, of in enumerate(clusters)],
        "flavors": [{"name": f"m1.x{n}", "vcpus": n, "ram_mb": 512 * n, "disk_gb": 5 * n} for n in range(1, 9)],
        "images": [{"name": "image"}],
        "servers": [
            {"name": f"web-{n}", "host": names[n % hosts], "flavor": f"m1.x{1 + n // hosts % 8}", "volume": "new"}
            for n in range(servers)
        ],
    }


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    churn_mib_an_hour(float(sys.argv[1]))
