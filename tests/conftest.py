"""What tests share."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from testbed.kubernetes.cluster import Cluster
from testbed.processes import Supervisor, run_root
from tests.examples import THOROUGH
from tests.nova_fixtures import nova_lab
from tests.simulator_fixtures import simulated_cloud
from vmferry.redaction import SECRETS

# fixtures are found here by their names
__all__ = ["cluster", "nova_lab", "simulated_cloud"]

CRDS = sorted((Path(__file__).resolve().parent.parent / "crds").glob("*.yaml"))


settings.register_profile(THOROUGH, settings.get_profile(settings.get_current_profile_name()))


def pytest_configure() -> None:
    """A test run that is told to end takes down what it started, instead of leaving it running."""
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("terminated", returncode=143))


@pytest.fixture(autouse=True)
def no_known_secrets() -> Iterator[None]:
    """The credentials that one test logs in with are no secrets of the next one's texts."""
    yield
    SECRETS.forget_all()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A real Kubernetes API with the project's CRDs, one for all tests: each takes a namespace of its own."""
    run_dir = Path(tempfile.mkdtemp(prefix="tests-", dir=run_root()))
    supervisor = Supervisor(run_dir)
    try:
        yield Cluster.start(supervisor, run_dir, CRDS)
    finally:
        supervisor.stop_all()
        shutil.rmtree(run_dir)
