"""What is counted: an end once, by whoever writes it; and what is there, at the moment that somebody asks."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from testbed.build import dead_host, host, migration, server, snapshot
from tests.runtime.fakes import KEY, SERVER
from tests.runtime.workbench import Bench
from vmferry.cloud.model import DoubtfulHost
from vmferry.policy import Policy
from vmferry.reconcilers.migration.telemetry import UNDECIDED
from vmferry.reconcilers.rows import HOST_MAINTENANCE, KINDS, VM_MIGRATION
from vmferry.reconcilers.telemetry import Telemetry
from vmferry.resources.hostmaintenance import HostMaintenance
from vmferry.resources.vmmigration import VMMigration
from vmferry.runtime.health import Health
from vmferry.runtime.key import Key
from vmferry.runtime.kube_api import KubeError
from vmferry.runtime.metrics import definitions as metrics
from vmferry.runtime.metrics.collect import MetricsCollector
from vmferry.runtime.queue import WorkQueue
from vmferry.runtime.store import Store

Body = dict[str, Any]
Values = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def values(registry: CollectorRegistry = REGISTRY) -> Values:
    """Every sample as a scrape shows it."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }


@contextmanager
def counting(found: dict[str, float]) -> Iterator[None]:
    """What grows meanwhile, as `name{label=value}`, without buckets."""
    before = values()
    yield
    found |= named({key: value - before.get(key, 0.0) for key, value in values().items()})


def named(samples: Values) -> dict[str, float]:
    """Without zeros."""
    return {
        f"{name}{{{','.join(f'{k}={v}' for k, v in labels)}}}": value
        for (name, labels), value in samples.items()
        if value and name.startswith("vmferry_") and not name.endswith("_bucket")
    }


# ---- what is counted when a status is written


def attempt(number: int = 1, state: str = "running", **more: Any) -> Body:
    return {
        "number": number,
        "type": "Live",
        "sourceHost": "cmp1",
        "targetHost": "cmp2",
        "state": state,
        "startedAt": "2026-01-01T00:01:00Z",
        **more,
    }


def over(state: str = "completed", number: int = 1, **more: Any) -> Body:
    return attempt(number, state, endedAt="2026-01-01T00:02:00Z", **more)


STARTED = {"startedAt": "2026-01-01T00:01:00Z", "type": "Live"}
ENDED = {**STARTED, "completedAt": "2026-01-01T00:03:00Z"}


def copying(total: int, memory: int, disk: int = 0) -> Body:
    return {"percent": 0, "totalBytes": total, "memoryRemainingBytes": memory, "diskRemainingBytes": disk}


def attempts(**result: int) -> dict[str, float]:
    return {f"vmferry_migration_attempts_total{{result={word},type=Live}}": n for word, n in result.items()}


def finished(outcome: str, type_: str = "Live", seconds: float | None = 120.0) -> dict[str, float]:
    labels = f"{{outcome={outcome},type={type_}}}"
    found = {f"vmferry_migrations_finished_total{labels}": 1.0}
    if seconds is not None:
        found[f"vmferry_migration_duration_seconds_count{labels}"] = 1.0
        found[f"vmferry_migration_duration_seconds_sum{labels}"] = seconds
    return found


#: English sentence: a status, the one written over it, and what is counted
MIGRATIONS: dict[str, tuple[Body, Body, dict[str, float]]] = {
    "the first change was decided a minute after the creation": (
        {},
        STARTED,
        {"vmferry_migration_wait_seconds_count{type=Live}": 1, "vmferry_migration_wait_seconds_sum{type=Live}": 60},
    ),
    "it succeeded": (
        {**STARTED, "attempts": [attempt()]},
        {**ENDED, "phase": "Succeeded", "attempts": [over()]},
        attempts(Succeeded=1) | finished("Succeeded"),
    ),
    "it failed": (
        {**STARTED, "attempts": [attempt()]},
        {**ENDED, "phase": "Failed", "attempts": [over("error")]},
        attempts(Failed=1) | finished("Failed"),
    ),
    "it was cancelled before anything began": (
        {"type": "Cold", "phase": "Blocked"},
        {"type": "Cold", "phase": "Cancelled", "completedAt": "2026-01-01T00:03:00Z"},
        finished("Cancelled", "Cold", None),
    ),
    "it failed before its type was known": (
        {},
        {"phase": "Failed", "completedAt": "2026-01-01T00:03:00Z"},
        finished("Failed", UNDECIDED, None),
    ),
    "a finished one is written again": (
        {**ENDED, "phase": "Succeeded", "attempts": [over()]},
        {**ENDED, "phase": "Succeeded", "attempts": [over()], "observedGeneration": 2},
        {},
    ),
    "an attempt ended and another one began": (
        {**STARTED, "attempts": [attempt()]},
        {**STARTED, "attempts": [over("failed"), attempt(2)]},
        attempts(Failed=1),
    ),
    "an attempt that had ended is there still": (
        {**STARTED, "attempts": [over("failed"), attempt(2)]},
        {**STARTED, "attempts": [over("failed"), over(number=2)]},
        attempts(Succeeded=1),
    ),
    "an attempt was refused as soon as it was written": (
        {**STARTED},
        {**STARTED, "attempts": [over("Refused")]},
        attempts(Refused=1),
    ),
    "an attempt was not sent": ({**STARTED}, {**STARTED, "attempts": [over("NotSent")]}, attempts(NotSent=1)),
    "an attempt was over its deadline": (
        {**STARTED, "attempts": [attempt()]},
        {**STARTED, "attempts": [over("cancelled", stopReason="TimedOut")]},
        attempts(TimedOut=1),
    ),
    "an attempt was aborted because the object is deleted": (
        {**STARTED, "attempts": [attempt()]},
        {**STARTED, "attempts": [over("cancelled", stopReason="Deleted")]},
        attempts(Cancelled=1),
    ),
    "somebody else aborted it": (
        {**STARTED, "attempts": [attempt()]},
        {**STARTED, "attempts": [over("cancelled")]},
        attempts(EndedByOthers=1),
    ),
    "the server was deleted meanwhile": (
        {**STARTED, "attempts": [attempt()]},
        {**STARTED, "attempts": [over("ServerGone")]},
        attempts(ServerGone=1),
    ),
    "the first look at a copy tells all that was copied so far": (
        {**STARTED},
        {**STARTED, "progress": copying(1000, 300, 100)},
        {"vmferry_migration_copied_bytes_total{type=Live}": 600},
    ),
    "a later look tells the difference": (
        {**STARTED, "progress": copying(1000, 300, 100)},
        {**STARTED, "progress": copying(1000, 0, 100)},
        {"vmferry_migration_copied_bytes_total{type=Live}": 300},
    ),
    "memory that is written while it is copied is to be copied again": (
        {**STARTED, "progress": copying(1000, 300)},
        {**STARTED, "progress": copying(1000, 500)},
        {},
    ),
    "a status of an earlier version told no total": ({**STARTED}, {**STARTED, "progress": copying(0, 500)}, {}),
}


@pytest.mark.parametrize("sentence", MIGRATIONS)
def test_a_status_of_a_migration_is_counted(sentence: str) -> None:
    old, new, wanted = MIGRATIONS[sentence]
    found: dict[str, float] = {}
    with counting(found):
        record(VM_MIGRATION.telemetry(a_migration(old), a_migration(new)))
    assert found == wanted


def record(telemetry: Telemetry) -> None:
    for sample in telemetry.changes:
        metrics.record(sample)


def a_migration(status: Body) -> VMMigration:
    return VMMigration.read({"metadata": metadata(), "spec": {"server": {"id": SERVER}}, "status": status})


def metadata(version: int = 1, name: str = "web") -> Body:
    created = "2026-01-01T00:00:00Z"
    return {
        "name": name,
        "namespace": "team",
        "uid": "u",
        "resourceVersion": str(version),
        "creationTimestamp": created,
    }


def test_every_result_and_outcome_has_a_series_from_the_start() -> None:
    """`increase` does not see the first event of a series that begins with it."""
    there = {key for key, _ in values().items()}
    for outcome in metrics.OUTCOMES:
        assert ("vmferry_migrations_finished_total", (("outcome", outcome), ("type", "Live"))) in there
    for _, _, wanted in MIGRATIONS.values():
        for sample in wanted:
            if sample.startswith("vmferry_migration_attempts"):
                assert any(sample == f"{n}{{{','.join(f'{k}={v}' for k, v in ls)}}}" for n, ls in there), sample


def test_a_drain_is_counted_when_the_host_is_verified_empty() -> None:
    def maintenance(**status: str) -> HostMaintenance:
        return HostMaintenance.read(
            {"metadata": {**metadata(), "namespace": ""}, "spec": {"host": "a"}, "status": status}
        )

    admitted = "2026-01-01T00:00:00Z"
    drained = maintenance(admittedAt=admitted, drainedAt="2026-01-01T01:00:00Z")
    found: dict[str, float] = {}
    with counting(found):
        record(HOST_MAINTENANCE.telemetry(maintenance(admittedAt=admitted), drained))
        record(HOST_MAINTENANCE.telemetry(drained, drained))
    assert found == {"vmferry_drain_duration_seconds_count{}": 1, "vmferry_drain_duration_seconds_sum{}": 3600}


async def test_an_end_is_counted_once_however_often_it_is_seen() -> None:
    found: dict[str, float] = {}
    with counting(found):
        bench = Bench()
        bench.kube.add()
        await bench.finish()
        bench.restart()
        await bench.finish()
        bench.kube.change(labels={"by": "somebody"})
        await bench.finish()
    ended = {name: n for name, n in found.items() if "finished" in name or "attempts" in name}
    assert ended == {"vmferry_migrations_finished_total{outcome=Succeeded,type=Undecided}": 1, **attempts(Succeeded=1)}


@pytest.mark.parametrize("written", [True, False], ids=["it came through", "it did not"])
async def test_an_end_whose_write_was_not_answered_is_counted_once(written: bool) -> None:
    bench = Bench()
    bench.kube.add()
    lost: list[str] = []
    put_status = bench.kube.put_status

    async def put(kind: Any, key: Key, version: str, status: Body) -> Body:
        if status.get("phase") == "Succeeded" and not lost:
            lost.append(version)
            if written:
                await put_status(kind, key, version, status)
            raise KubeError("no answer")
        return await put_status(kind, key, version, status)

    bench.kube.put_status = put  # type: ignore[method-assign]
    found: dict[str, float] = {}
    with counting(found):
        for _ in range(5):
            bench.see()
            try:
                await bench.look()
            except KubeError:
                assert lost
    assert lost and bench.status()["phase"] == "Succeeded"
    assert found["vmferry_migrations_finished_total{outcome=Succeeded,type=Undecided}"] == 1
    assert found["vmferry_migration_attempts_total{result=Succeeded,type=Live}"] == 1


async def test_only_the_leader_counts() -> None:
    bench = Bench()
    bench.kube.add()
    await bench.finish()
    standby = Bench()
    standby.term = None
    standby.kube = bench.kube
    standby.restart()
    found: dict[str, float] = {}
    with counting(found):
        standby.see()
        await standby.look()
    assert not [name for name in found if "finished" in name]


# ---- what is there


def stored(kind: str, version: int, name: str, status: Body, **spec: Any) -> tuple[str, Body]:
    body = {"metadata": metadata(version, name), "spec": spec or {"server": {"id": SERVER}}, "status": status}
    if kind == HOST_MAINTENANCE.name:
        body["spec"] = spec or {"host": name}
        del body["metadata"]["namespace"]
    return kind, body


def stalled(reason: str) -> list[Body]:
    when = "2026-01-01T00:00:00Z"
    return [{"type": "Stalled", "status": "True", "lastTransitionTime": when, "reason": reason, "message": "m"}]


SERVERS = {"total": 10, "moved": 4, "moving": 1, "waiting": 2, "blocked": 2, "staying": 1}
BLOCKER = {"server": SERVER, "name": "db", "prerequisite": "ServerLock", "reason": "Locked", "message": "m"}
MIGRATION, MAINTENANCE = VM_MIGRATION.name, HOST_MAINTENANCE.name

#: English sentence: an object, and what it adds
ADDS: dict[str, tuple[tuple[str, Body], dict[str, float]]] = {
    "one that nobody has looked at yet": (
        stored(MIGRATION, 1, "a", {}),
        {"vmferry_migrations{phase=Pending,type=Undecided}": 1},
    ),
    "one that is blocked": (
        stored(MIGRATION, 1, "a", {"phase": "Blocked", "type": "Live", "conditions": stalled("Locked")}),
        {
            "vmferry_migrations{phase=Blocked,type=Live}": 1,
            "vmferry_blocked{kind=VMMigration,reason=Locked}": 1,
        },
    ),
    "one that copies": (
        stored(
            MIGRATION,
            1,
            "a",
            {
                "phase": "Migrating",
                **STARTED,
                "attempts": [attempt(startedAt="2001-01-01T00:00:00Z")],
                "progress": copying(9, 5, 2),
            },
        ),
        {
            "vmferry_migrations_past_deadline{type=Live}": 1,
            "vmferry_migrations{phase=Migrating,type=Live}": 1,
            "vmferry_migration_remaining_bytes{part=memory}": 5,
            "vmferry_migration_remaining_bytes{part=disk}": 2,
        },
    ),
    "one that failed waits for nobody": (
        stored(MIGRATION, 1, "a", {"phase": "Failed", **ENDED, "conditions": stalled("CloudRefused")}),
        {"vmferry_migrations{phase=Failed,type=Live}": 1},
    ),
    "a drain": (
        stored(
            MAINTENANCE,
            1,
            "a",
            {
                "phase": "Draining",
                "admittedAt": "2026-01-01T00:00:00Z",
                "progress": SERVERS,
                "blockers": [BLOCKER],
                "conditions": stalled("Locked"),
            },
        ),
        {
            "vmferry_maintenances{phase=Draining}": 1,
            "vmferry_maintenance_blockers{reason=Locked}": 1,
            "vmferry_blocked{kind=HostMaintenance,reason=Locked}": 1,
            **{f"vmferry_maintenance_servers{{state={s}}}": n for s, n in SERVERS.items() if s != "total"},
        },
    ),
    "a host that is only checked": (
        stored(MAINTENANCE, 1, "a", {"phase": "Checked", "progress": SERVERS, "blockers": [BLOCKER]}),
        {"vmferry_maintenances{phase=Checked}": 1},
    ),
    "one that cannot be read": (
        stored(MIGRATION, 1, "a", {"phase": "Nonsense"}),
        {"vmferry_unreadable_objects{kind=VMMigration}": 1},
    ),
}


def gauges(store: Store) -> dict[str, float]:
    """As a scrape shows what comes from the objects, without zeros."""
    queue: WorkQueue[Key] = WorkQueue()
    registry = CollectorRegistry()
    registry.register(MetricsCollector(store, queue, Bench().cloud, Health(), Policy()))
    return {n: v for n, v in named(values(registry)).items() if "_cloud_" not in n and "_hosts" not in n}


@pytest.mark.parametrize("sentence", ADDS)
def test_an_object_adds_to_the_gauges(sentence: str) -> None:
    (kind, body), wanted = ADDS[sentence]
    store = Store(KINDS)
    store.put(kind, body)
    assert gauges(store) == {f"vmferry_objects{{kind={kind}}}": 1, **wanted}


def test_the_gauges_follow_what_comes_changes_and_goes() -> None:
    """Whatever happened before: the sums are those of what is there."""
    draw = random.Random(7)
    store = Store(KINDS)
    there: dict[Key, tuple[str, Body]] = {}
    for version in range(1, 600):
        (kind, body), _ = ADDS[draw.choice(list(ADDS))]
        name = draw.choice("abcdefgh")
        key = Key(kind, body["metadata"].get("namespace", ""), name)
        body = {**body, "metadata": {**body["metadata"], "name": name, "resourceVersion": str(version)}}
        if draw.random() < 0.3:
            store.remove(key, version)
            there.pop(key, None)
        else:
            store.put(kind, body)
            there[key] = kind, body
    fresh = Store(KINDS)
    for kind, body in there.values():
        fresh.put(kind, body)
    assert gauges(store) == gauges(fresh) != {}


def test_the_view_of_the_cloud_is_told_by_counts_only() -> None:
    bench = Bench()
    kind, body = stored(MAINTENANCE, 1, "host-b", {"phase": "Draining"})
    bench.store.put(kind, body)
    moving = server(name="m")
    hosts = [
        host("host-a"),
        host("host-b", enabled=False),
        host("host-c", enabled=False),
        dead_host("host-d", enabled=False),
        host("host-e"),
    ]
    read = datetime(2026, 1, 1, tzinfo=UTC)
    bench.cloud.snapshot = snapshot([server(), moving], hosts, [migration(moving), migration(moving, 2, status="done")])
    some = dict(list(bench.cloud.snapshot.read_at.items())[:2])
    bench.cloud.snapshot = snapshot(
        [server(), moving],
        hosts,
        [migration(moving), migration(moving, 2, status="done")],
        read_at=dict.fromkeys(some, read),
        doubtful_hosts={"host-f": DoubtfulHost("host-f", "it is listed twice", "delete one")},
    )
    queue: WorkQueue[Key] = WorkQueue()
    queue.add(KEY)
    queue.add_after(KEY._replace(name="later"), 60)
    health = Health()
    health.ready_if("cloud", lambda: "not read yet")
    health.ready_if("kubernetes", lambda: None)
    registry = CollectorRegistry()
    registry.register(MetricsCollector(bench.store, queue, bench.cloud, health, Policy()))
    text = generate_latest(registry).decode()
    found = named(values(registry))
    states = {name: n for name, n in found.items() if name.startswith("vmferry_hosts")}
    assert states == {
        f"vmferry_hosts{{state={s}}}": n
        for s, n in {"up": 2, "down": 1, "in_maintenance": 1, "disabled": 1, "unknown": 1}.items()
    }
    assert found["vmferry_cloud_servers{}"] == 2 and found["vmferry_cloud_open_migrations{}"] == 1
    views = {name: at for name, at in found.items() if name.startswith("vmferry_cloud_view")}
    assert set(views.values()) == {read.timestamp()} and len(views) == 2
    assert text.count("vmferry_cloud_view_timestamp_seconds{") == 6, "what was never read is 0"
    assert found["vmferry_queue_length{}"] == found["vmferry_queue_scheduled{}"] == 1
    assert found["vmferry_ready{check=kubernetes}"] == 1 and 'vmferry_ready{check="cloud"} 0.0' in text
    for name in ("host-a", "web-1", SERVER, KEY.name, "team"):
        assert f'"{name}"' not in text, "a label names a thing"


async def test_the_queue_tells_how_long_a_key_was_ready() -> None:
    now = [0.0]
    told: list[float] = []
    queue: WorkQueue[str] = WorkQueue(clock=lambda: now[0], jitter=lambda: 1.0, waited=told.append)
    queue.add("a")
    now[0] = 3.0
    queue.add("a")
    assert queue.poll() == "a" and told == [3.0], "since it was ready first"
    queue.done("a", failed=True)
    assert queue.failing == 1
    now[0] += timedelta(hours=1).total_seconds()
    assert queue.poll() == "a" and told == [3.0, 0.0], "a pause is no waiting for a worker"
    queue.done("a")
    assert queue.failing == 0
