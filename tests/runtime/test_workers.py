"""The workers between the queue and the look."""

from __future__ import annotations

import asyncio
import logging

import pytest

from tests.runtime.fakes import KEY
from vmferry.cloud.nova import CloudError
from vmferry.runtime.health import Health
from vmferry.runtime.key import Key
from vmferry.runtime.kube_api import KubeError
from vmferry.runtime.queue import WorkQueue
from vmferry.runtime.workers import Reconcile, work


async def work_through(queue: WorkQueue[Key], look: Reconcile) -> None:
    """One worker until nothing is ready any more."""
    worker = asyncio.create_task(work("worker", queue, look, Health()))
    while len(queue) or queue.processing:  # noqa: ASYNC110 - the queue has no such event, and needs none
        await asyncio.sleep(0)
    queue.close()
    await asyncio.wait_for(worker, 240)


async def test_a_full_queue_leaves_room_for_the_loop() -> None:
    queue: WorkQueue[Key] = WorkQueue()
    for number in range(50):
        queue.add(KEY._replace(name=str(number)))
    looked: list[int] = []
    turns: list[int] = []

    async def look(key: Key) -> None:
        looked.append(int(key.name))

    async def other() -> None:
        while len(looked) < 50:
            turns.append(len(looked))
            await asyncio.sleep(0)

    await asyncio.gather(work_through(queue, look), other())
    assert len(turns) >= 25, "the other task was starved"


@pytest.mark.parametrize(
    ("error", "traceback"), [(KubeError("500"), False), (CloudError("401"), False), (ValueError("a fault"), True)]
)
async def test_a_failed_look_is_logged_and_comes_back(
    error: Exception, traceback: bool, caplog: pytest.LogCaptureFixture
) -> None:
    queue: WorkQueue[Key] = WorkQueue()
    queue.add(KEY)

    async def look(key: Key) -> None:
        raise error

    with caplog.at_level(logging.WARNING):
        await work_through(queue, look)
    assert queue.failures(KEY) == 1
    assert queue.scheduled == 1
    (record,) = caplog.records
    assert bool(record.exc_info) is traceback


async def test_a_closed_queue_lets_the_running_look_finish() -> None:
    queue: WorkQueue[Key] = WorkQueue()
    queue.add(KEY)
    go, began, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def look(key: Key) -> None:
        began.set()
        await go.wait()
        done.set()

    worker = asyncio.create_task(work("worker", queue, look, Health()))
    await began.wait()
    queue.close()
    go.set()
    await asyncio.wait_for(worker, 240)
    assert done.is_set()
