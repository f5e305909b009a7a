"""A simulated cloud for tests."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.processes import Supervisor, run_root
from testbed.simulator import SimulatedCloud


@pytest.fixture(scope="session")
def simulated_cloud() -> Iterator[SimulatedCloud]:
    """One cloud of four hosts for all tests: each leaves its hosts up, its knobs reset and its servers deleted."""
    run_dir = Path(tempfile.mkdtemp(prefix="tests-simulator-", dir=run_root()))
    supervisor = Supervisor(run_dir)
    try:
        yield SimulatedCloud.start(supervisor, run_dir)
    finally:
        supervisor.stop_all()
        shutil.rmtree(run_dir)
