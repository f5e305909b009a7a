"""Answers that never come, in the observer: parts that read are given up, begin anew, and a probe sees it if not."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cloud.test_observer import FAST, FakeClient, until, whole
from vmferry.cloud.nova import CloudError
from vmferry.cloud.observer import Observer
from vmferry.cloud.threads import MOST

#: seconds that a read may take in these tests
PATIENCE = 0.2


class Dripping:
    """While it drips, a call of one of `methods` (none: of any) begun then never returns, not even afterwards."""

    def __init__(self, *methods: str) -> None:
        self.dripping = False
        self.methods = methods
        self.release = threading.Event()
        self.held = 0

    def over(self, client: FakeClient) -> FakeClient:
        def slow(method: Any, name: str) -> Any:
            def call(*args: Any, **named: Any) -> Any:
                if self.dripping and (not self.methods or name in self.methods):
                    self.held += 1
                    self.release.wait()
                return method(*args, **named)

            return call

        for name in dir(FakeClient):
            # the time is asked for in the event loop, without a request
            if not name.startswith("_") and name != "cloud_time" and callable(getattr(FakeClient, name)):
                setattr(client, name, slow(getattr(client, name), name))
        return client


@pytest.fixture
def drip() -> Iterator[Dripping]:
    one = Dripping()
    yield one
    one.release.set()


async def test_a_drip_stops_no_part_for_good(drip: Dripping, caplog: pytest.LogCaptureFixture) -> None:
    """Each read that begins while the cloud drips hangs for ever; later ones are answered at once."""
    caplog.set_level(logging.WARNING)
    beats: Counter[str] = Counter()
    client = drip.over(FakeClient())
    observer = Observer(client, FAST, threads=8, beat=lambda name, _: beats.update([name]), read_seconds=PATIENCE)
    await observer.start()
    try:
        await until(lambda: whole(observer), "a view")
        drip.dripping = True
        await until(lambda: drip.held >= 6, "every part to hang")
        drip.dripping = False
        ended, before = dict(observer.snapshot.read_at), dict(beats)
        await until(
            lambda: all(at > ended[part] for part, at in observer.snapshot.read_at.items()),
            "every part to be read again",
        )
        hanging = [one.getMessage() for one in caplog.records if "hangs" in one.getMessage()]
        assert hanging and all(one.levelno == logging.WARNING for one in caplog.records)
        assert len(before) >= 7, "each part has a heartbeat"
        await until(lambda: all(beats[name] > before[name] for name in before if "facts" not in name), "each to beat")
        assert observer.snapshot.trouble is None
    finally:
        drip.release.set()
        await observer.stop()


async def test_a_login_that_never_ends_is_tried_again(drip: Dripping) -> None:
    drip.methods = ("connect",)
    drip.dripping = True
    observer = Observer(drip.over(FakeClient()), FAST, threads=4, read_seconds=PATIENCE)
    await observer.start()
    try:
        await until(lambda: drip.held >= 1, "a login to hang")
        drip.dripping = False
        await until(lambda: whole(observer), "a view")
    finally:
        drip.release.set()
        await observer.stop()


async def test_a_fresh_read_of_one_server_ends_too(drip: Dripping) -> None:
    drip.methods = ("server",)
    observer = Observer(drip.over(FakeClient()), FAST, threads=4, read_seconds=PATIENCE)
    await observer.start()
    try:
        await until(lambda: whole(observer), "a view")
        drip.dripping = True
        with pytest.raises(CloudError, match="no end after"):
            await observer.detail("a")
    finally:
        drip.release.set()
        await observer.stop()


async def test_threads_are_bounded_and_then_the_heart_stops(drip: Dripping) -> None:
    """A cloud that drips for ever must not make threads without an end: the liveness probe begins a new process."""
    beats: Counter[str] = Counter()
    client = drip.over(FakeClient())
    observer = Observer(client, FAST, threads=2, beat=lambda name, _: beats.update([name]), read_seconds=0.05)
    await observer.start()
    try:
        await until(lambda: whole(observer), "a view")
        drip.dripping = True
        await until(lambda: observer._threads.exhausted, "no thread to be left")
        seen = Counter(beats)
        await asyncio.sleep(0)
        assert drip.held <= MOST * 2 + 2
        failing = asyncio.get_running_loop().time() + 0.3
        await until(lambda: asyncio.get_running_loop().time() > failing, "some more rounds")
        assert beats == seen, "no sign of life"
        assert drip.held <= MOST * 2 + 2
        drip.release.set()
        drip.dripping = False
        await until(lambda: any(beats[name] > seen[name] for name in seen), "the heart to beat again")
    finally:
        drip.release.set()
        await observer.stop()
