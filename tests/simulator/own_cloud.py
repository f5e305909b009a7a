"""A simulated cloud of a test's own fleet, and the shared view of it."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from testbed.cloud import CLOUD_NAME
from testbed.processes import Supervisor, run_root
from testbed.simulator import SimulatedCloud
from vmferry.cloud.model import Snapshot
from vmferry.cloud.nova import NovaClient
from vmferry.cloud.observer import Observer


@contextlib.contextmanager
def own_cloud(fleet: Mapping[str, object]) -> Iterator[SimulatedCloud]:
    run_dir = Path(tempfile.mkdtemp(prefix="tests-own-cloud-", dir=run_root()))
    supervisor = Supervisor(run_dir)
    file = run_dir / "fleet.yaml"
    file.write_text(yaml.safe_dump(fleet))
    try:
        yield SimulatedCloud.start(supervisor, run_dir, file)
    finally:
        supervisor.stop_all()
        shutil.rmtree(run_dir)


async def look(cloud: SimulatedCloud) -> Snapshot:
    """Everything, read once."""
    observer = Observer(NovaClient(CLOUD_NAME, clouds_yaml=cloud.clouds_yaml))
    try:
        return await observer.read_once()
    finally:
        await observer.stop()
