"""A fresh simulated cloud for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.simulator.bench import Bench


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = await Bench.open()
    yield bench
    await bench.close()
