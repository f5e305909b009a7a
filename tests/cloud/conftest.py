"""The client, and a stub of OpenStack that answers it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.stub import Stub, stub
from vmferry.cloud.nova import NovaClient


@pytest.fixture
def cloud() -> Iterator[Stub]:
    with stub() as made:
        yield made


@pytest.fixture
def client(cloud: Stub, tmp_path: Path) -> NovaClient:
    made = NovaClient("stub", clouds_yaml=cloud.clouds_yaml(tmp_path), timeout=(1, 1), page=2)
    made.connect()
    return made
