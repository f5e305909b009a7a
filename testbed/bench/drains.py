"""A drain on the simulated cloud compared with the ideal schedule, and tools to measure drains."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from math import ceil
from pathlib import Path

import yaml

from testbed.bed import CRDS, Bed
from testbed.bench.clock import note
from testbed.cloud import CloudLab
from testbed.kubernetes.cluster import Cluster
from testbed.processes import Supervisor, run_root
from testbed.simulator import SimulatedCloud

HOST = "cmp1"
PATIENCE = 900.0

#: the simulated drain: 100 servers, 25 at a time, so four rounds
SERVERS = 100
AT_ONCE = 25
#: durations of the steps in seconds, from the accepted request to the completed record
DURATIONS = {"migration_row": 1.0, "live_precheck": 2.0, "live_prepare": 2.0, "live_copy": 35.0, "live_post": 1.0}


def simulated_ratio() -> float:
    """The time from the drain's request to the end of its last migration, divided by that of a schedule without
    pauses."""
    folder = Path(tempfile.mkdtemp(prefix="bench-drain-", dir=run_root()))
    fleet = folder / "fleet.yaml"
    fleet.write_text(yaml.safe_dump(_fleet()))
    with drain_bed(folder, AT_ONCE, lambda supervisor: SimulatedCloud.start(supervisor, folder, fleet)) as bed:
        began = datetime.now(UTC)
        drain(bed, AT_ONCE)
        _wait_until_moved(bed)
        records = bed.tenant.call("GET", "/os-migrations")["migrations"]
        ends = [datetime.fromisoformat(record["updated_at"]).replace(tzinfo=UTC) for record in records]
        if len(records) != SERVERS or any(record["status"] != "completed" for record in records):
            raise ValueError(f"{len(records)} migrations instead of {SERVERS}")
    taken = (max(ends) - began).total_seconds()
    ideal = ceil(SERVERS / AT_ONCE) * sum(DURATIONS.values())
    note(f"{SERVERS} servers, {AT_ONCE} at once: {taken:.0f} s, ideally {ideal:.0f} s")
    return taken / ideal


def _fleet() -> dict[str, object]:
    names = [f"cmp{n}" for n in range(1, 6)]
    return {
        "settings": {"durations": DURATIONS, "nova": {"max_concurrent_live_migrations": AT_ONCE}},
        "hosts": [{"name": name, "memory_gb": 512, "disk_gb": 4000, "cpu": {}, "store": "lab"} for name in names],
        "aggregates": [{"name": "cluster1", "zone": "cluster1", "hosts": names}],
        "flavors": [{"name": "m1.small", "vcpus": 1, "ram_mb": 1024, "disk_gb": 10}],
        "images": [{"name": "cirros"}],
        "servers": [
            {"name": "web-{n}", "count": SERVERS, "host": HOST, "flavor": "m1.small", "image": "cirros"},
        ],
    }


# ---- shared


@contextmanager
def drain_bed(folder: Path, at_once: int, start: Callable[[Supervisor], CloudLab]) -> Iterator[Bed]:
    """A Kubernetes API, the cloud, and an operator with default configuration except for limits."""
    supervisor = Supervisor(folder)
    try:
        cloud = start(supervisor)
        bed = Bed(supervisor, folder, Cluster.start(supervisor, folder / "kubernetes", CRDS), cloud)
        bed.install_operator()
        _configure(bed, at_once)
        bed.start_operator()
        yield bed
    finally:
        supervisor.stop_all(grace=0)
        shutil.rmtree(folder)


def _configure(bed: Bed, at_once: int) -> None:
    """Restore the default intervals; the short ones of the demo and the tests would distort the figure."""
    config = yaml.safe_load(bed.config_file.read_text())
    del config["polling"]
    config["policy"] = {
        "sharedStorage": [{"name": "lab", "aggregates": ["cluster1"]}],
        "operatingSystems": [{"system": "Ubuntu 22.04", "aggregates": ["cluster1"]}],
        "limits": {"perSource": at_once, "perTarget": at_once, "total": at_once},
    }
    bed.config_file.write_text(yaml.safe_dump(config))


def drain(bed: Bed, at_once: int) -> None:
    """Create the HostMaintenance."""
    body = {
        "apiVersion": "vmferry.dev/v1alpha1",
        "kind": "HostMaintenance",
        "metadata": {"name": HOST},
        "spec": {"host": HOST, "enabled": True, "maxParallel": at_once},
    }
    bed.cluster.kubectl_run("apply", "-f", "-", input=yaml.safe_dump(body))


def _wait_until_moved(bed: Bed) -> None:
    """Wait until every server has left; the second check, which `Drained` requires, is not counted."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = json.loads(bed.cluster.kubectl_run("get", "hm", HOST, "-o", "json")).get("status", {})
        progress = found.get("progress", {})
        if progress.get("total") and progress["moved"] == progress["total"]:
            return
        time.sleep(1)
    raise TimeoutError(f"not drained: {yaml.safe_dump(found)}\n{bed.supervisor.log_tail('operator', 20)}")
