"""A Kubernetes API that was set back in time: nothing of what was known is trusted any more (I44)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import pytest

from tests.runtime.fakes import HOST, KEY, FakeKube, Record
from tests.runtime.workbench import Bench
from vmferry.reconcilers.rows import KINDS
from vmferry.runtime import resync
from vmferry.runtime.health import Health
from vmferry.runtime.key import Key
from vmferry.runtime.metrics import definitions as metrics
from vmferry.runtime.queue import WorkQueue
from vmferry.runtime.resync import Resync
from vmferry.runtime.store import Store, Unreadable

OTHER = KEY._replace(name="other")


class Api(FakeKube):
    """Can be set back."""

    def __init__(self) -> None:
        super().__init__(Record())
        self.add(KEY)
        self.add(OTHER)
        self._kept = {key: {**body, "metadata": {**body["metadata"]}} for key, body in self.objects.items()}
        self._kept_version = self.version

    def set_back(self, *, then: int = 0) -> None:
        """To what it was at first; others write so often since."""
        self.objects = {key: {**body, "metadata": {**body["metadata"]}} for key, body in self._kept.items()}
        self.version = self._kept_version + then


def changed(api: Api) -> None:
    for _ in range(50):
        api.change(KEY, labels={"new": "yes"})


def created(api: Api) -> None:
    for _ in range(50):
        api.add(KEY._replace(name=f"more-{api.version}"))


def deleted(api: Api) -> None:
    changed(api)
    del api.objects[KEY]


def nothing(api: Api) -> None:
    pass


#: what had happened since the snapshot, how often others have written since it was put back, whether it is noticed
CASES: dict[str, tuple[Callable[[Api], None], int, bool]] = {
    "an object had changed": (changed, 0, True),
    "an object had changed, and the revision has caught up": (changed, 500, True),
    "objects had been created": (created, 0, True),
    "objects had been created, and the revision has caught up: they are ghosts": (created, 500, False),
    "an object had been deleted": (deleted, 0, True),
    "an object had been deleted, and the revision has caught up": (deleted, 500, True),
    "nothing had happened": (nothing, 0, False),
    "nothing had happened, and others have written since": (nothing, 500, False),
}


@pytest.mark.parametrize("case", CASES)
async def test_I44_a_list_of_another_history_is_recognised_and_believed(case: str) -> None:
    happened, then, noticed = CASES[case]
    api, store, queue = Api(), Store(KINDS), WorkQueue[Key]()
    told: list[str] = []

    async def tell(message: str) -> None:
        told.append(message)

    loop = Resync(KINDS, [], api, store, queue, Health(), set_back=tell)
    await loop._list_all()
    happened(api)
    await loop._list_all()
    if happened is deleted:
        store.remove(KEY, api.version)
    before = metrics.SET_BACK._value.get()
    api.set_back(then=then)
    await loop._list_all()
    assert metrics.SET_BACK._value.get() - before == noticed == len(told)
    assert all("set back in time" in message for message in told)
    assert set(store.keys(KEY.kind)) == {KEY, OTHER}
    for key in (KEY, OTHER):
        known = store.get(key)
        assert known is not None
        assert not isinstance(known, Unreadable)
        assert known.metadata.resource_version == api.objects[key]["metadata"]["resourceVersion"]
    api.change(KEY)
    assert store.put(KEY.kind, api.objects[KEY]), "what happens in the new history is news"


@pytest.mark.parametrize("gone", [False, True], ids=["that is known", "that was deleted"])
async def test_I44_an_older_object_shown_by_the_watch_makes_everything_be_listed_soon(
    gone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resync, "SUSPICION_SECONDS", 0.01)
    monkeypatch.setattr(resync, "EARLY_SECONDS", 0.01)
    api, store = Api(), Store(KINDS)
    loop = Resync(KINDS, [], api, store, WorkQueue[Key](), Health())
    task = asyncio.create_task(loop.run(timedelta(hours=1)))
    try:
        await loop.listed.wait()
        changed(api)
        store.put(KEY.kind, api.objects[KEY])
        if gone:
            store.remove(KEY, api.version)
        api.set_back()
        loop.suspect(KEY.kind, api.objects[KEY])
        deadline = asyncio.get_running_loop().time() + 30
        while store.version(KEY) != int(api.objects[KEY]["metadata"]["resourceVersion"]):
            assert asyncio.get_running_loop().time() < deadline, "it was never listed"
            await asyncio.sleep(0.01)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_I44_nobody_plans_while_only_a_part_is_known() -> None:
    bench = Bench()
    bench.kube.add(KEY)
    bench.kube.add(HOST, spec={"host": "host-a"})
    bench.see()
    bench.store.forget_all()
    bench.store.put(HOST.kind, bench.kube.objects[HOST])
    await bench.look(HOST)
    await bench.look(KEY)
    assert bench.record.steps == []
    assert bench.queue.scheduled, "it is looked at later"
    bench.see()
    bench.store.whole = True
    await bench.look(KEY)
    assert bench.record.steps


async def test_I44_what_kubernetes_shows_older_than_it_is_known_waits_for_the_list() -> None:
    bench = Bench()
    bench.kube.version = 500
    bench.kube.add(KEY)
    bench.see()
    bench.kube.objects[KEY]["metadata"]["resourceVersion"] = "400"
    await bench.look(KEY)
    assert bench.queue.poll() is None, "it is not written again and again meanwhile"
    assert bench.queue.scheduled
