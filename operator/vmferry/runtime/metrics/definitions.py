"""All metrics of the operator: names, labels and help texts. docs/metrics.md is generated from this module.

Names follow the conventions of Prometheus: base units, `_total` for counters, timestamps instead of ages. Labels have
few values that are known in advance: kinds, phases, reasons, routes; never the name or ID of a server, host or object.

Counters and histograms are updated where something happens, by the operator that does it. Gauges of the current state
are computed at a scrape (`collect.py`), so they are never out of date.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import get_args

from prometheus_client import Counter, Gauge, Histogram, Info, disable_created_metrics
from prometheus_client.metrics import MetricWrapperBase

from vmferry import __version__
from vmferry.cloud.actions import Action, Outcome
from vmferry.cloud.model import ResolvedType
from vmferry.reconcilers.migration.telemetry import RESULTS, UNDECIDED
from vmferry.reconcilers.telemetry import Sample
from vmferry.resources.catalog import CATALOG

# they would add an unused second series for each counter
disable_created_metrics()  # type: ignore[no-untyped-call]

#: buckets in seconds for migrations, from an idle server in a lab to a large disk over a slow network
LONG = (5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800)
#: buckets in seconds for one reconcile including its API calls
SHORT = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
#: buckets in seconds for one HTTP request
REQUEST = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

TYPES = (*(kind.value for kind in ResolvedType), UNDECIDED)
#: outcomes of a migration; the phases of the same names
OUTCOMES = ("Succeeded", "Failed", "Cancelled")
#: outcomes of a request that changes the cloud
ANSWERS = tuple(outcome.__name__ for outcome in get_args(Outcome))
#: the `code` label of a request without a response
NO_ANSWER = "none"

# ---- migrations and maintenances

MIGRATIONS_FINISHED = Counter(
    "vmferry_migrations_finished_total",
    "Finished VMMigrations, by outcome; counted by the operator that writes the end",
    ["type", "outcome"],
)
MIGRATION_SECONDS = Histogram(
    "vmferry_migration_duration_seconds",
    "Time from the first decided change to the end of a VMMigration, including all its attempts",
    ["type", "outcome"],
    buckets=LONG,
)
MIGRATION_WAIT = Histogram(
    "vmferry_migration_wait_seconds",
    "Time from the creation of a VMMigration to the first decided change",
    ["type"],
    buckets=LONG,
)
ATTEMPTS = Counter(
    "vmferry_migration_attempts_total",
    "Finished attempts (requests for a migration), by result; counted by the operator that writes the end",
    ["type", "result"],
)
COPIED = Counter(
    "vmferry_migration_copied_bytes_total",
    "Memory and disks that live migrations have copied, as far as Nova reports it",
    ["type"],
)
DRAINS = Histogram(
    "vmferry_drain_duration_seconds",
    "Time from the admission of a host into maintenance until it was verified empty",
    buckets=LONG,
)

# ---- the cloud

ACTIONS = Counter(
    "vmferry_cloud_actions_total",
    "Requests that change something in the cloud, by outcome",
    ["action", "outcome"],
)
CLOUD_REQUESTS = Counter(
    "vmferry_cloud_requests_total",
    f"HTTP requests to the cloud, by their status code; {NO_ANSWER}: no response",
    ["service", "operation", "code"],
)
CLOUD_SECONDS = Histogram(
    "vmferry_cloud_request_duration_seconds",
    "Duration of HTTP requests to the cloud, whatever their result",
    ["service", "operation"],
    buckets=REQUEST,
)

CLOUD_UNVERIFIED = Gauge(
    "vmferry_cloud_tls_unverified",
    "1 while clouds.yaml has verify: false: an attacker in the network could read the password and forge responses",
)

# ---- Kubernetes

KUBERNETES_REQUESTS = Counter(
    "vmferry_kubernetes_requests_total",
    f"Requests to the Kubernetes API, by their status code; {NO_ANSWER}: no response",
    ["verb", "resource", "code"],
)
KUBERNETES_SECONDS = Histogram(
    "vmferry_kubernetes_request_duration_seconds",
    "Duration of requests to the Kubernetes API, whatever their result",
    ["verb", "resource"],
    buckets=REQUEST,
)
REFUSED_WRITES = Counter(
    "vmferry_kubernetes_refused_writes_total",
    "Writes that Kubernetes refuses until somebody changes something: policy, webhook, quota, rights, namespace",
    ["verb", "resource"],
)
SET_BACK = Counter(
    "vmferry_kubernetes_set_back_total",
    "How often the Kubernetes API was found to be set back in time; the operator then reads everything again",
)
WATCHED = Counter("vmferry_watch_events_total", "Events that the watches of Kubernetes have delivered", ["kind"])
EVENTS = Counter(
    "vmferry_events_total",
    "Kubernetes Events, by result: Told (sent), Repeated (within ten minutes), Dropped (too many), Lost",
    ["reason", "result"],
)

# ---- the operator's own work

PASSES = Counter("vmferry_passes_total", "Reconciles, by result: done or failed", ["kind", "result"])
PASS_SECONDS = Histogram("vmferry_pass_duration_seconds", "Duration of a reconcile", ["kind"], buckets=SHORT)
WRITES = Counter("vmferry_status_writes_total", "Writes of a status", ["kind"])
QUEUE_WAIT = Histogram("vmferry_queue_wait_seconds", "Time that an object waits for a worker", buckets=SHORT)
TERMS = Counter("vmferry_leader_transitions_total", "How often this operator has become the leader")
LEADER = Gauge("vmferry_leader", "1 while this operator leads")
STOPPED = Gauge("vmferry_stopped", "1 while the kill switch prevents new migrations, everywhere or in some zones")
BUILD = Info("vmferry_build", "Always 1; the label is the version")


@dataclass(frozen=True, slots=True, eq=False)
class Scraped:
    """A gauge that is computed at a scrape. Compared by identity, because it is often used as a dictionary key."""

    name: str
    help: str
    labels: tuple[str, ...] = ()


MIGRATIONS = Scraped(
    "vmferry_migrations",
    "Existing VMMigrations, by phase; finished ones count until they are deleted",
    ("type", "phase"),
)
PAST_DEADLINE = Scraped(
    "vmferry_migrations_past_deadline",
    "VMMigrations whose running attempt is past its deadline; the time in Nova's own queue does not count",
    ("type",),
)
REMAINING = Scraped(
    "vmferry_migration_remaining_bytes",
    "Bytes that running live migrations still have to copy, as last written to the statuses",
    ("part",),
)
MAINTENANCES = Scraped("vmferry_maintenances", "Existing HostMaintenances, by phase", ("phase",))
MAINTENANCE_SERVERS = Scraped(
    "vmferry_maintenance_servers",
    "Servers of HostMaintenances that are not released: moved, moving, waiting, blocked, staying (by spec)",
    ("state",),
)
BLOCKERS = Scraped(
    "vmferry_maintenance_blockers",
    "Servers that keep a host from becoming empty, by reason; each HostMaintenance lists its first 50",
    ("reason",),
)
BLOCKED = Scraped(
    "vmferry_blocked",
    "Unfinished objects that need a person to change something, by the reason of their condition Ready",
    ("kind", "reason"),
)
OPEN_BREAKERS = Scraped(
    "vmferry_open_breakers",
    "Open breakers, of a host or of the cloud: no migrations start after failures with a common cause",
    ("scope",),
)
OBJECTS = Scraped("vmferry_objects", "Objects that this operator knows", ("kind",))
UNREADABLE = Scraped("vmferry_unreadable_objects", "Objects that do not match their schema", ("kind",))

HOSTS = Scraped(
    "vmferry_hosts",
    "Compute hosts in the view of the cloud, by the first state that applies: unknown (several records with one "
    "name), down, in_maintenance (of vmferry), disabled, up",
    ("state",),
)
SERVERS = Scraped("vmferry_cloud_servers", "Servers in the view of the cloud")
OPEN_MIGRATIONS = Scraped("vmferry_cloud_open_migrations", "Open migrations in the cloud, whoever started them")
VIEW = Scraped(
    "vmferry_cloud_view_timestamp_seconds",
    "When this part of the view of the cloud was last read, in Unix time; 0: never",
    ("part",),
)

QUEUE = Scraped("vmferry_queue_length", "Objects that wait for a worker")
PROCESSING = Scraped("vmferry_queue_processing", "Objects that are being reconciled")
SCHEDULED = Scraped("vmferry_queue_scheduled", "Objects that are scheduled for a later reconcile")
FAILING = Scraped("vmferry_queue_failing", "Objects whose last reconcile failed")
READY = Scraped("vmferry_ready", "1 while this check of /readyz passes, otherwise 0", ("check",))


def counted() -> Iterator[MetricWrapperBase]:
    """The metrics that are updated where something happens."""
    return (found for found in globals().values() if isinstance(found, MetricWrapperBase))


def name_of(metric: MetricWrapperBase) -> str:
    """The metric's name in a scrape, without the suffixes of a histogram."""
    (family,) = metric.describe()
    return f"{family.name}_total" if isinstance(metric, Counter) else family.name


def scraped() -> Iterator[Scraped]:
    """The gauges that are computed at a scrape."""
    return (found for found in globals().values() if isinstance(found, Scraped))


def record(sample: Sample) -> None:
    """Add the sample to its counter or histogram. Raises KeyError if there is none of that name."""
    metric, labels, value = sample
    family = _BY_NAME[metric]
    series = family.labels(*labels) if labels else family
    if isinstance(series, Counter):
        series.inc(value)
    else:
        series.observe(value)


def _begin() -> None:
    """Create series with the value 0. If a series began with its first event, `increase` would miss that event."""
    for kind, outcome in product(TYPES, OUTCOMES):
        MIGRATIONS_FINISHED.labels(kind, outcome)
    for kind, result in product(TYPES[:-1], RESULTS):
        ATTEMPTS.labels(kind, result)
    for action, answer in product(get_args(Action), ANSWERS):
        ACTIONS.labels(action.__name__, answer)
    COPIED.labels(ResolvedType.LIVE.value)
    for kind, result in product(CATALOG, ("done", "failed")):
        PASSES.labels(kind, result)
    BUILD.info({"version": __version__})


_BY_NAME = {name_of(metric): metric for metric in counted() if isinstance(metric, Counter | Histogram)}
_begin()
