"""A large simulated cloud as a process, and measurement of commands that use it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from testbed.processes import Supervisor, run_root
from testbed.simulator import SimulatedCloud

OPERATOR = Path(__file__).resolve().parents[2] / "operator"
HOSTS_PER_CLUSTER = 50


@contextmanager
def big_cloud(hosts: int, servers: int) -> Iterator[tuple[SimulatedCloud, Path]]:
    """A cloud like `fleet.big_fleet` over HTTP, and a folder for files. Servers are spread evenly over the hosts."""
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=run_root()))
    file = folder / "fleet.yaml"
    file.write_text(yaml.safe_dump(fleet(hosts, servers)))
    supervisor = Supervisor(folder)
    try:
        yield SimulatedCloud.start(supervisor, folder, file), folder
    finally:
        supervisor.stop_all()
        shutil.rmtree(folder)


def fleet(hosts: int, servers: int) -> dict[str, object]:
    names = [f"cmp{n:04}" for n in range(hosts)]
    clusters = [names[at : at + HOSTS_PER_CLUSTER] for at in range(0, hosts, HOSTS_PER_CLUSTER)]
    flavors = [{"name": f"m1.x{n}", "vcpus": n, "ram_mb": 512 * n, "disk_gb": 5 * n} for n in range(1, 9)]
    return {
        "hosts": [
            {
                "name": name,
                "memory_gb": 512,
                "disk_gb": 4000,
                "store": f"store{number // HOSTS_PER_CLUSTER}",
                "disabled": number % 25 == 3,
                "os": "Ubuntu 24.04.1 LTS" if number % 5 == 4 else "Ubuntu 22.04.5 LTS",
            }
            for number, name in enumerate(names)
        ],
        "aggregates": [
            {"name": f"cluster{n}", "zone": f"cluster{n}", "hosts": members} for n, members in enumerate(clusters)
        ],
        "flavors": flavors,
        "images": [{"name": f"image-{n}"} for n in range(10)],
        "servers": [
            {
                "name": f"web-{n}",
                "host": names[n % hosts],
                "flavor": f"m1.x{1 + n // hosts % 8}",
                **({"image": f"image-{n % 10}"} if n // hosts % 5 < 2 else {"volume": "new"}),
                "state": "stopped" if n % 11 == 0 else "active",
                "locked": n % 53 == 0,
                "metadata": {"owner": f"team-{n % 37}", "serial": str(n)},
            }
            for n in range(servers)
        ],
    }


@dataclass(frozen=True, slots=True)
class Cost:
    """The resources that a command used."""

    status: int
    peak_mib: float
    cpu_seconds: float


def measured(cloud: SimulatedCloud, *args: str | Path) -> Cost:
    """Run `vmferry ARGS` against the cloud. Its error output is passed on."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OS_", "VMFERRY_"))}
    child = subprocess.Popen(
        [sys.executable, "-m", "vmferry", *map(str, args), "--clouds-file", cloud.clouds_yaml, "--cloud", "vmferry"],
        stdout=subprocess.DEVNULL,
        env={**environment, "PYTHONPATH": str(OPERATOR)},
    )
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return Cost(child.returncode, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime)
