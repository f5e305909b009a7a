"""Gauges that are computed at the scrape: which migrations are past their deadline."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from testbed.build import migration, server, snapshot
from vmferry.cloud.model import Snapshot
from vmferry.policy import Policy
from vmferry.reconcilers.rows import KINDS, VM_MIGRATION
from vmferry.resources.base import format_time
from vmferry.runtime.health import Health
from vmferry.runtime.key import Key
from vmferry.runtime.metrics.collect import MetricsCollector
from vmferry.runtime.queue import WorkQueue
from vmferry.runtime.store import Store

SERVER = server()
#: generous on both sides of the deadline: no test depends on how long it runs itself
HOUR = timedelta(hours=1)
POLICY = Policy(timeout_base=2 * HOUR, timeout_per_gib=timedelta(0))


class Cloud:
    def __init__(self, seen: Snapshot) -> None:
        self.snapshot = seen


def past_deadline(attempt: dict[str, Any], timeout: str | None = None, record: str = "running") -> float:
    """The gauge for live migrations, of one VMMigration with that attempt."""
    seen = migration(SERVER, status=record)
    body = {
        "metadata": {"name": "a", "namespace": "team", "uid": "u", "resourceVersion": "1", "generation": 1},
        "spec": {"server": {"id": SERVER.id}, **({"timeout": timeout} if timeout else {})},
        "status": {
            "phase": "Migrating",
            "type": "Live",
            "server": {"id": SERVER.id, "name": SERVER.name, "state": "ACTIVE"},
            "attempts": [
                {
                    "number": 1,
                    "type": "Live",
                    "sourceHost": "host-a",
                    "targetHost": "host-b",
                    "state": record,
                    "migrationID": seen.uuid,
                    **attempt,
                }
            ],
        },
    }
    store = Store(KINDS)
    store.put(VM_MIGRATION.name, body)
    queue: WorkQueue[Key] = WorkQueue()
    inventory = MetricsCollector(store, queue, Cloud(snapshot([SERVER], [], [seen])), Health(), POLICY)
    (family,) = (found for found in inventory.collect() if found.name == "vmferry_migrations_past_deadline")
    values = {sample.labels["type"]: sample.value for sample in family.samples}
    assert values.keys() == {"Live", "Cold", "Evacuate"} and values["Cold"] == values["Evacuate"] == 0
    return values["Live"]


def ago(span: timedelta) -> str:
    return format_time(datetime.now(UTC) - span)


@pytest.mark.parametrize(
    ("attempt", "more", "count"),
    [
        pytest.param({"startedAt": ago(3 * HOUR)}, {}, 1, id="past its deadline"),
        pytest.param({"startedAt": ago(HOUR)}, {}, 0, id="before its deadline"),
        pytest.param({"startedAt": ago(HOUR)}, {"timeout": "30m"}, 1, id="past a timeout of its own"),
        pytest.param({"startedAt": ago(3 * HOUR), "runningSince": ago(HOUR)}, {}, 0, id="Nova began it late"),
        pytest.param({"startedAt": ago(3 * HOUR)}, {"record": "queued"}, 0, id="in Nova's own queue"),
        pytest.param({"startedAt": ago(3 * HOUR), "endedAt": ago(HOUR)}, {}, 0, id="it has ended"),
    ],
)
def test_migrations_past_their_deadline_are_counted(attempt: dict[str, str], more: dict[str, str], count: int) -> None:
    assert past_deadline(attempt, **more) == count
