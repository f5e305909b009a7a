"""A real Nova for tests."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.nova.lab import NovaLab
from testbed.processes import Supervisor, run_root


@pytest.fixture(scope="session")
def nova_lab() -> Iterator[NovaLab]:
    """One cloud of four hosts for all tests: each leaves its hosts up, its knobs reset and its servers deleted."""
    run_dir = Path(tempfile.mkdtemp(prefix="tests-nova-", dir=run_root()))
    supervisor = Supervisor(run_dir)
    try:
        yield NovaLab.start(supervisor, run_dir)
    finally:
        supervisor.stop_all(grace=0)
        shutil.rmtree(run_dir)
