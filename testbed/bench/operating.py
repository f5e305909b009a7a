"""The operator as a process at fleet size: 500 hosts, 10,000 servers, 5,000 VMMigrations of which 490 are in flight.

A single run yields all figures. The mass of migrations runs slowly, one server at a time from each host (`perSource:
1`) except ten, and otherwise waits. The ten other hosts are for samples, which copy for seconds. Nothing else calls the
cloud in the meantime, so all counted requests belong to the samples. At the end the cloud's clock is accelerated, and
the mass proceeds.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

from testbed.bed import OPERATOR
from testbed.bench.clock import note
from testbed.bench.counting import calls, is_of_one, progresses, writes
from testbed.bench.scene import PATH, PATIENCE, Scene, Wish, scene
from testbed.processes import wait_for
from vmferry.runtime.config import LeaderElection

HOSTS, SERVERS, OBJECTS = 500, 10_000, 5_000
HOSTS_PER_CLUSTER = 50
SAMPLE_HOSTS = 10
FLYING = HOSTS - SAMPLE_HOSTS
FEW = 10
#: minimum interval between two writes of a migration's progress: ten seconds each, and ten per second in total
PROGRESS_SECONDS = max(10, FLYING / 10)
#: by the cloud's clock: seconds of a copy of the mass and of a sample, and the final acceleration of the clock
SLOW_SECONDS, QUICK_SECONDS, FASTER = 2400, 15, 40


@dataclass
class Seen:
    """The figures of a run."""

    calls_live: float = 0
    calls_cold: float = 0
    writes_live: float = 0
    writes_cold: float = 0
    writes_waiting: float = 0
    writes_at_turnover: float = 0
    latency: float = 0
    polls: float = 0
    memory_mib: float = 0
    pause: float = 0


@cache
def seen() -> Seen:
    found = Seen()
    with _scene() as scene:
        mass, live, cold = scene.objects()
        scene.create(mass[:FEW])
        scene.wait_for(lambda phases: phases["Migrating"] == FEW, f"{FEW} in flight")
        # measured first, so that migrations that just started do not distort the baseline
        polls_of_few = scene.polls_a_second()
        few = scene.latencies(live[:SAMPLE_HOSTS])

        began = time.monotonic()
        life = Count(scene)
        scene.create(mass[FEW:])
        note(f"{OBJECTS} created in {time.monotonic() - began:.0f} s")
        placed = {"Migrating": FLYING, "Queued": OBJECTS - FLYING}
        scene.wait_for(
            lambda phases: all(phases[p] == n for p, n in placed.items()), f"{FLYING} in flight, all looked at"
        )
        note(f"{FLYING} in flight and all others queued after {time.monotonic() - began:.0f} s")

        sample = live[SAMPLE_HOSTS:]
        with scene.counted() as count:
            many = scene.latencies(sample)
        found.latency = statistics.median(many) / statistics.median(few)
        note(
            f"from the request to the POST: {statistics.median(few):.3f} s with {FEW} objects, "
            f"{statistics.median(many):.3f} s with {OBJECTS}"
        )
        found.calls_live, found.writes_live = count.calls / len(sample), count.writes_each(sample)
        with scene.counted() as count:
            scene.create(cold)
            scene.wait_until_over(cold)
        note(f"calls and writes of a live migration: {found.calls_live:.3g}, {found.writes_live:.3g}")
        found.calls_cold, found.writes_cold = count.calls / len(cold), count.writes_each(cold)

        with scene.counted() as count:
            found.polls = scene.polls_a_second() / polls_of_few
        waiting = [name for name, status in scene.statuses().items() if status.get("phase") == "Queued"]
        found.writes_waiting = sum(count.writes[name] for name in waiting) / len(waiting)

        waited = {name for name in waiting if name.startswith("mass")}
        scene.cloud.control("POST", "/clock", {"speed": FASTER})
        moved = scene.wait_for_some(waited, FLYING // 2)
        life.close()
        found.writes_at_turnover = life.writes_each([wish for wish in mass if wish.name in moved])
        found.memory_mib = scene.peak_mib()
        deadline = LeaderElection().renew_deadline.total_seconds()
        note(f"the operator answered after {scene.longest_answer:.2f} s at the slowest")
        found.pause = scene.longest_answer / deadline
    return found


class Count:
    """The operator's requests while this is open: to the cloud about single servers, and to Kubernetes."""

    def __init__(self, scene: _Scene) -> None:
        self._scene = scene
        self._audited = scene.bed.cluster.audit_log.stat().st_size
        scene.cloud.forget_requests()
        #: without reads of progress
        self.calls = 0
        #: by name of the VMMigration, without Events
        self.writes: Counter[str] = Counter()

    def close(self) -> None:
        self.calls = calls(self._scene.cloud.requests())
        self.writes = writes(self._scene.bed, self._audited)

    def writes_each(self, wishes: Sequence[Wish]) -> float:
        """The mean number of writes per migration, without those of its progress."""
        statuses = self._scene.statuses()
        return statistics.mean(
            self.writes[one.name] - progresses(statuses[one.name], PROGRESS_SECONDS) for one in wishes
        )


class _Scene(Scene):
    """The scene with the samples and their counts."""

    def objects(self) -> tuple[list[Wish], list[Wish], list[Wish]]:
        """Return the mass, each with the next host of its availability zone as target, and 20 live and 10 cold samples
        without target."""
        ids = {server["name"]: server["id"] for server in self.servers()}
        mass = [n for n in range(2 * HOSTS, SERVERS) if n % HOSTS < FLYING][:OBJECTS]
        some = range(FLYING, HOSTS)
        return (
            [Wish(f"mass-{n}", ids[f"web-{n}"], _neighbour(n % HOSTS)) for n in mass],
            [Wish(f"live-{n}", ids[f"web-{n}"]) for k in (2, 3) for n in (h + k * HOSTS for h in some)],
            [Wish(f"cold-{n}", ids[f"web-{n}"]) for n in some],
        )

    def wait_for_some(self, names: set[str], number: int) -> set[str]:
        """Wait until `number` of them have succeeded, and return those."""
        end = time.monotonic() + PATIENCE
        while True:
            statuses = self.statuses()
            found = {name for name in names if statuses[name].get("phase") == "Succeeded"}
            if len(found) >= number:
                return found
            if time.monotonic() > end:
                raise TimeoutError(f"{len(found)} of {number}\n{self.bed.supervisor.log_tail(OPERATOR, 20)}")
            time.sleep(2)

    def wait_until_over(self, objects: Sequence[Wish]) -> None:
        def over() -> bool:
            found = [self.call("GET", f"{PATH}/{wish.name}") for wish in objects]
            # the finalizer is removed last
            return all(o.get("status", {}).get("completedAt") and not o["metadata"].get("finalizers") for o in found)

        wait_for(over, PATIENCE, "the samples to be over")
        assert {self.call("GET", f"{PATH}/{wish.name}")["status"]["phase"] for wish in objects} == {"Succeeded"}

    def latencies(self, objects: Sequence[Wish]) -> list[float]:
        """Seconds from each request to the request for the migration at the cloud; one request after the other."""
        found = []
        for one in objects:
            # the simulator uses this machine's clock
            begun = time.time()
            self.create([one])
            deadline = time.monotonic() + PATIENCE
            while (asked := self._asked_at()) < begun:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{one.name} does not start: {self.call('GET', f'{PATH}/{one.name}')}")
                # polling without a pause would delay what is measured
                time.sleep(0.2)
            found.append(asked - begun)
        self.wait_until_over(objects)
        return found

    def _asked_at(self) -> float:
        """When the cloud last received a request for a live migration."""
        return max(
            (at for route, at in self.cloud.last_requests().items() if route.endswith("os-migrateLive")), default=0
        )

    @contextmanager
    def counted(self) -> Iterator[Count]:
        count = Count(self)
        yield count
        count.close()

    def polls_a_second(self) -> float:
        """Reads per second that are not about a single server, over a period that includes several reads of each
        part."""
        self.cloud.forget_requests()
        begun = time.monotonic()
        time.sleep(60)
        reads = sum(n for route, n in self.cloud.requests().items() if route.startswith("GET") and not is_of_one(route))
        return reads / (time.monotonic() - begun)


@contextmanager
def _scene() -> Iterator[_Scene]:
    policy = {
        "localUnlessShared": True,
        "operatingSystems": [{"system": "Ubuntu 22.04", "aggregates": [f"cluster{n}" for n in range(_CLUSTERS)]}],
        "limits": {"perSource": 1, "perTarget": 50, "total": 2 * HOSTS},
        # keeps the mass within its deadline however busy the machine is
        "timeoutBase": "4h",
    }
    with scene(_Scene, _fleet(), policy) as found:
        yield found


_CLUSTERS = HOSTS // HOSTS_PER_CLUSTER


def _neighbour(number: int) -> str:
    first = number - number % HOSTS_PER_CLUSTER
    return f"cmp{first + (number - first + 1) % HOSTS_PER_CLUSTER:04}"


def _fleet() -> dict[str, object]:
    names = [f"cmp{n:04}" for n in range(HOSTS)]
    clusters = [names[at : at + HOSTS_PER_CLUSTER] for at in range(0, HOSTS, HOSTS_PER_CLUSTER)]
    return {
        "settings": {"durations": {"live_copy": SLOW_SECONDS}},
        "hosts": [
            {
                "name": name,
                "memory_gb": 512,
                "disk_gb": 4000,
                "cpu": {},
                "store": f"store{number // HOSTS_PER_CLUSTER}",
                **({"knobs": {"live_seconds": QUICK_SECONDS}} if number >= FLYING else {}),
            }
            for number, name in enumerate(names)
        ],
        "aggregates": [
            {"name": f"cluster{n}", "zone": f"cluster{n}", "hosts": members} for n, members in enumerate(clusters)
        ],
        "flavors": [{"name": f"m1.x{n}", "vcpus": n, "ram_mb": 512 * n, "disk_gb": 5 * n} for n in range(1, 9)],
        "images": [{"name": "image"}],
        "servers": [
            {
                "name": f"web-{n}",
                "host": names[n % HOSTS],
                "flavor": f"m1.x{1 + n // HOSTS % 8}",
                "volume": "new",
                "state": "stopped" if n < HOSTS else "active",
            }
            for n in range(SERVERS)
        ],
    }
