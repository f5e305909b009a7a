"""The operator as a process at fleet size: 500 hosts, 10,000 servers, 5,000 VMMigrations of which 490 are in flight.

One run makes all figures. The mass moves slowly off all hosts but ten, one server at a time from each (`perSource: 1`),
and waits for that. The ten others are for samples, whose copies take seconds; nothing but these asks anything of the
cloud meanwhile, so what it was asked is theirs. At last the cloud's clock runs faster, and the mass moves on.
"""

from __future__ import annotations

import http.client
import json
import shutil
import ssl
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import yaml

from testbed.bed import CRDS, OPERATOR, Bed
from testbed.kubernetes.cluster import Cluster
from testbed.processes import Supervisor, run_root, wait_for
from testbed.simulator import SimulatedCloud
from tests.bench.clock import note
from tests.bench.counting import calls, is_of_one, progresses, writes
from vmferry.runtime.config import LeaderElection

HOSTS, SERVERS, OBJECTS = 500, 10_000, 5_000
HOSTS_PER_CLUSTER = 50
SAMPLE_HOSTS = 10
FLYING = HOSTS - SAMPLE_HOSTS
FEW = 10
PATH = "/apis/vmferry.dev/v1alpha1/namespaces/default/vmmigrations"
PATIENCE = 900.0
#: how often the progress of each may be written: at most every ten seconds, and ten a second over all
PROGRESS_SECONDS = max(10, FLYING / 10)
#: of the cloud's clock: how long a copy of the mass takes, and one of a sample; and how much faster it runs at last
SLOW_SECONDS, QUICK_SECONDS, FASTER = 2400, 15, 40


class Wish(NamedTuple):
    """A VMMigration to be created."""

    name: str
    server_id: str
    target: str | None = None


@dataclass
class Seen:
    """The figures of one run."""

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
        # first, so that what has just started is not what is compared with
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
    """What the operator asked while this was open: of the cloud about single servers, and of Kubernetes."""

    def __init__(self, scene: _Scene) -> None:
        self._scene = scene
        self._audited = scene.bed.cluster.audit_log.stat().st_size
        scene.cloud.forget_requests()
        #: beside the progress of copies
        self.calls = 0
        #: by name of the VMMigration, Events aside
        self.writes: Counter[str] = Counter()

    def close(self) -> None:
        self.calls = calls(self._scene.cloud.requests())
        self.writes = writes(self._scene.bed, self._audited)

    def writes_each(self, wishes: Sequence[Wish]) -> float:
        """Beside one in ten seconds of the copy, which is its progress."""
        statuses = self._scene.statuses()
        return statistics.mean(
            self.writes[one.name] - progresses(statuses[one.name], PROGRESS_SECONDS) for one in wishes
        )


class _Scene:
    """The bed, and a way to Kubernetes that is quicker than kubectl."""

    def __init__(self, bed: Bed, cloud: SimulatedCloud) -> None:
        self.bed = bed
        self.cloud = cloud
        self.longest_answer = 0.0
        config = yaml.safe_load(bed.cluster.kubeconfig.read_text())
        self._token = config["users"][0]["user"]["token"]
        self._address = urlsplit(bed.cluster.server_url)
        self._local = threading.local()
        self._over = threading.Event()
        threading.Thread(target=self._probe, daemon=True).start()

    def close(self) -> None:
        self._over.set()

    def _probe(self) -> None:
        """What answers this renews the Lease too: one event loop."""
        while not self._over.wait(0.05):
            begun = time.monotonic()
            if self.bed.probe("healthz")[0]:
                self.longest_answer = max(self.longest_answer, time.monotonic() - begun)

    def objects(self) -> tuple[list[Wish], list[Wish], list[Wish]]:
        """The mass, each to the next host of its cluster; and 20 live and 10 cold samples, wherever they may go."""
        ids = {server["name"]: server["id"] for server in self._servers()}
        mass = [n for n in range(2 * HOSTS, SERVERS) if n % HOSTS < FLYING][:OBJECTS]
        some = range(FLYING, HOSTS)
        return (
            [Wish(f"mass-{n}", ids[f"web-{n}"], _neighbour(n % HOSTS)) for n in mass],
            [Wish(f"live-{n}", ids[f"web-{n}"]) for k in (2, 3) for n in (h + k * HOSTS for h in some)],
            [Wish(f"cold-{n}", ids[f"web-{n}"]) for n in some],
        )

    def _servers(self) -> Iterator[dict[str, Any]]:
        marker = ""
        while page := self.bed.tenant.call("GET", f"/servers?all_tenants=1&limit=1000{marker}")["servers"]:
            yield from page
            marker = f"&marker={page[-1]['id']}"

    def _call(self, method: str, path: str, body: object = None) -> Any:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        try:
            connection = self._connection()
            connection.request(method, path, json.dumps(body) if body else None, headers)
            answer = connection.getresponse()
        except http.client.RemoteDisconnected:
            # one that was idle for long is closed
            self._local.connection = None
            if method != "GET":
                raise
            return self._call(method, path)
        text = answer.read()
        if answer.status >= 400:
            raise ValueError(f"{method} {path}: {answer.status} {text[:500]!r}")
        return json.loads(text)

    def _connection(self) -> http.client.HTTPSConnection:
        """This thread's own."""
        known: http.client.HTTPSConnection | None = getattr(self._local, "connection", None)
        if known is None:
            context = ssl.create_default_context(cafile=str(self.bed.cluster.ca_file))
            known = http.client.HTTPSConnection(str(self._address.hostname), self._address.port, context=context)
            self._local.connection = known
        return known

    def create(self, objects: Sequence[Wish]) -> None:
        def one(wish: Wish) -> None:
            spec: dict[str, Any] = {"server": {"id": wish.server_id}}
            if wish.target:
                spec["target"] = {"host": wish.target}
            kind = {"apiVersion": "vmferry.dev/v1alpha1", "kind": "VMMigration"}
            self._call("POST", PATH, {**kind, "metadata": {"name": wish.name}, "spec": spec})

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(one, objects))

    def statuses(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        token = ""
        while True:
            page = self._call("GET", f"{PATH}?limit=500{token}")
            found |= {item["metadata"]["name"]: item.get("status", {}) for item in page["items"]}
            if not page["metadata"].get("continue"):
                return found
            token = f"&continue={page['metadata']['continue']}"

    def wait_for(self, met: Callable[[Counter[str]], bool], what: str) -> None:
        end = time.monotonic() + PATIENCE
        while not met(phases := Counter(status.get("phase", "") for status in self.statuses().values())):
            self.bed.supervisor.check(OPERATOR)
            if time.monotonic() > end:
                raise TimeoutError(f"not {what}: {dict(phases)}\n{self.bed.supervisor.log_tail(OPERATOR, 20)}")
            time.sleep(2)

    def wait_for_some(self, names: set[str], number: int) -> set[str]:
        """Those of them that have succeeded, once they are so many."""
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
            found = [self._call("GET", f"{PATH}/{wish.name}") for wish in objects]
            # the finalizer goes last
            return all(o.get("status", {}).get("completedAt") and not o["metadata"].get("finalizers") for o in found)

        wait_for(over, PATIENCE, "the samples to be over")
        assert {self._call("GET", f"{PATH}/{wish.name}")["status"]["phase"] for wish in objects} == {"Succeeded"}

    def latencies(self, objects: Sequence[Wish]) -> list[float]:
        """Seconds from the request of each to the cloud's being asked to move its server; one after the other."""
        found = []
        for one in objects:
            # the simulator's clock is this machine's
            begun = time.time()
            self.create([one])
            deadline = time.monotonic() + PATIENCE
            while (asked := self._asked_at()) < begun:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{one.name} does not start: {self._call('GET', f'{PATH}/{one.name}')}")
                # who asks all the time is what the others wait for
                time.sleep(0.2)
            found.append(asked - begun)
        self.wait_until_over(objects)
        return found

    def _asked_at(self) -> float:
        """When the cloud was asked for a live migration last."""
        return max(
            (at for route, at in self.cloud.last_requests().items() if route.endswith("os-migrateLive")), default=0
        )

    @contextmanager
    def counted(self) -> Iterator[Count]:
        count = Count(self)
        yield count
        count.close()

    def polls_a_second(self) -> float:
        """Reads that are about no single server, over a time in which each part is read more than once."""
        self.cloud.forget_requests()
        begun = time.monotonic()
        time.sleep(60)
        reads = sum(n for route, n in self.cloud.requests().items() if route.startswith("GET") and not is_of_one(route))
        return reads / (time.monotonic() - begun)

    def peak_mib(self) -> float:
        pid = self.bed.supervisor.pid(OPERATOR)
        status = Path(f"/proc/{pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024


@contextmanager
def _scene() -> Iterator[_Scene]:
    folder = Path(tempfile.mkdtemp(prefix="bench-operating-", dir=run_root()))
    fleet = folder / "fleet.yaml"
    fleet.write_text(yaml.safe_dump(_fleet()))
    supervisor = Supervisor(folder)
    try:
        cloud = SimulatedCloud.start(supervisor, folder, fleet)
        bed = Bed(supervisor, folder, Cluster.start(supervisor, folder / "kubernetes", CRDS), cloud)
        bed.install_operator()
        config = yaml.safe_load(bed.config_file.read_text())
        # the quick pace of the demo and the tests would flatter
        del config["polling"], config["leaderElection"]
        config["policy"] = {
            "localUnlessShared": True,
            "operatingSystems": [{"system": "Ubuntu 22.04", "aggregates": [f"cluster{n}" for n in range(_CLUSTERS)]}],
            "limits": {"perSource": 1, "perTarget": 50, "total": 2 * HOSTS},
            # the mass is not late, however long a busy machine takes
            "timeoutBase": "4h",
        }
        bed.config_file.write_text(yaml.safe_dump(config))
        bed.start_operator()
        scene = _Scene(bed, cloud)
        try:
            yield scene
        finally:
            scene.close()
    finally:
        supervisor.stop_all(grace=0)
        shutil.rmtree(folder)


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
