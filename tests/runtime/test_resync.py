"""The re-list: who is looked at again, and who need not be."""

from __future__ import annotations

from typing import Any

import pytest

from tests.runtime.fakes import KEY, FakeKube, Record
from vmferry.reconcilers.rows import KINDS, VM_MIGRATION
from vmferry.runtime.health import Health
from vmferry.runtime.key import Key
from vmferry.runtime.queue import WorkQueue
from vmferry.runtime.resync import Resync
from vmferry.runtime.store import Store

OVER = {"phase": "Succeeded", "completedAt": "2026-01-01T12:00:00Z"}
QUEUED = {"phase": "Queued", "observedGeneration": 1}
#: its status; whether it was seen before; whether it is queued, and before what only waits
CASES: dict[str, tuple[dict[str, Any] | None, bool, tuple[bool, bool]]] = {
    "a new one": (None, False, (True, True)),
    "one that was seen": (None, True, (True, False)),
    "one that waits, at the start": (QUEUED, False, (True, False)),
    "one that waits": (QUEUED, True, (True, False)),
    "one that waits and has a new spec": ({**QUEUED, "observedGeneration": 0}, False, (True, True)),
    "one that is over, at the start": (OVER, False, (True, False)),
    "one that is over and is no news": (OVER, True, (False, False)),
}


@pytest.mark.parametrize(("status", "seen", "expected"), CASES.values(), ids=CASES.keys())
async def test_a_list_queues(status: dict[str, Any] | None, seen: bool, expected: tuple[bool, bool]) -> None:
    kube, store = FakeKube(Record()), Store(KINDS)
    queue: WorkQueue[Key] = WorkQueue()
    body = kube.add(KEY, status=status)
    if seen:
        store.put(KEY.kind, body)
    ghost = Key(KEY.kind, KEY.namespace, "aa-ghost")
    store.put(ghost.kind, {**body, "metadata": {**body["metadata"], "name": ghost.name}})
    await Resync(KINDS, [], kube, store, queue, Health()).list(VM_MIGRATION.type)
    found = []
    while (key := queue.poll()) is not None:
        found.append(key)
        queue.done(key)
    assert sorted(found) == sorted([ghost, KEY] if expected[0] else [ghost])
    if expected[0]:
        assert (found[0] == KEY) == expected[1]
