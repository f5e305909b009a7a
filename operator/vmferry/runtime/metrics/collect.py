"""Computes the gauges of the current state at a scrape, within milliseconds for thousands of objects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Protocol

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from vmferry.cloud.model import Host, Part, ResolvedType, Snapshot
from vmferry.policy import Policy
from vmferry.runtime.health import Health
from vmferry.runtime.key import Key
from vmferry.runtime.metrics import definitions as metrics
from vmferry.runtime.metrics.definitions import Scraped
from vmferry.runtime.queue import WorkQueue
from vmferry.runtime.store import Store

#: labels and value
Sample = tuple[tuple[str, ...], float]


class Seen(Protocol):
    """The part of `cloud.Cloud` that the metrics use."""

    @property
    def snapshot(self) -> Snapshot: ...


class MetricsCollector(Collector):
    """The gauges of one operator. Call `collect` in its event loop."""

    def __init__(self, store: Store, queue: WorkQueue[Key], cloud: Seen, health: Health, policy: Policy) -> None:
        self._store = store
        self._queue = queue
        self._cloud = cloud
        self._health = health
        self._policy = policy

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return [GaugeMetricFamily(one.name, one.help, labels=one.labels) for one in metrics.scraped()]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        samples: dict[Scraped, list[Sample]] = {one: [] for one in metrics.scraped()}
        by_name = {gauge.name: gauge for gauge in samples}
        for metric, labels, value in self._store.totals.sums():
            samples[by_name[metric]].append((labels, value))
        for gauge, found in (*self._of_cloud(), *self._of_migrations(), *self._of_breakers(), *self._of_queue()):
            samples[gauge] += found
        samples[metrics.READY] += [((name,), float(ready)) for name, ready in self._health.readiness()]
        for gauge, found in samples.items():
            family = GaugeMetricFamily(gauge.name, gauge.help, labels=gauge.labels)
            for labels, value in found:
                family.add_metric(labels, value)
            yield family

    def _of_cloud(self) -> Iterator[tuple[Scraped, list[Sample]]]:
        snapshot = self._cloud.snapshot
        ours = self._store.in_maintenance(snapshot)
        states = Counter({"up": 0, "down": 0, "in_maintenance": 0, "disabled": 0})
        states.update(_state(host, ours) for host in snapshot.hosts.values())
        states["unknown"] = len(snapshot.doubtful_hosts)
        yield metrics.HOSTS, [((state,), number) for state, number in states.items()]
        yield metrics.SERVERS, [((), len(snapshot.servers))]
        yield metrics.OPEN_MIGRATIONS, [((), sum(one.open for one in snapshot.migrations.values()))]
        read = snapshot.read_at
        yield metrics.VIEW, [((part.value,), read[part].timestamp() if part in read else 0.0) for part in Part]

    def _of_migrations(self) -> Iterator[tuple[Scraped, list[Sample]]]:
        """Computed at the scrape, because a reconcile that hangs or fails must not hide an overdue migration."""
        snapshot, now = self._cloud.snapshot, datetime.now(UTC)
        late = Counter({kind.value: 0 for kind in ResolvedType})
        for moves, obj in self._store.moving():
            if (type_ := moves.past_deadline(obj, snapshot, self._policy, now)) is not None:
                late[type_] += 1
        yield metrics.PAST_DEADLINE, [((type_,), number) for type_, number in late.items()]

    def _of_breakers(self) -> Iterator[tuple[Scraped, list[Sample]]]:
        found = Counter({"host": 0, "cloud": 0})
        found.update("host" if one.host else "cloud" for one in self._store.history.breakers().open(datetime.now(UTC)))
        yield metrics.OPEN_BREAKERS, [((scope,), number) for scope, number in found.items()]

    def _of_queue(self) -> Iterator[tuple[Scraped, list[Sample]]]:
        queue = self._queue
        yield metrics.QUEUE, [((), len(queue))]
        yield metrics.PROCESSING, [((), queue.processing)]
        yield metrics.SCHEDULED, [((), queue.scheduled)]
        yield metrics.FAILING, [((), queue.failing)]


def _state(host: Host, in_maintenance: frozenset[str]) -> str:
    if not host.service.up:
        return "down"
    if host.name in in_maintenance:
        return "in_maintenance"
    return "up" if host.service.enabled else "disabled"
