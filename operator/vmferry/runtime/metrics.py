"""Every metric of the operator: its name, its labels and what it means. docs/metrics.md is generated from here.

Names follow Prometheus' conventions: base units, `_total` for what only grows, moments instead of ages. Labels take few
values that are known beforehand: kinds, phases, reasons, routes; never the name or id of a server, host or object.

Counters and histograms are counted where something happens, by the operator that does it. Gauges of what is there are
computed when somebody asks (`inventory.py`), so they cannot be out of date.
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

# a second series for each counter, which nobody asks for
disable_created_metrics()  # type: ignore[no-untyped-call]

#: from a memory-less lab to a large disk over a slow network
LONG = (5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800)
#: one look at an object, with its calls
SHORT = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
#: one HTTP request
REQUEST = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

TYPES = (*(kind.value for kind in ResolvedType), UNDECIDED)
#: how a migration ends; the phases of that name
OUTCOMES = ("Succeeded", "Failed", "Cancelled")
#: what comes of a request that changes the cloud
ANSWERS = tuple(outcome.__name__ for outcome in get_args(Outcome))
#: no answer came
NO_ANSWER = "none"

# ---- migrations and maintenances

MIGRATIONS_FINISHED = Counter(
    "vmferry_migrations_finished_total",
    "VMMigrations that this operator has written the end of, by how they ended",
    ["type", "outcome"],
)
MIGRATION_SECONDS = Histogram(
    "vmferry_migration_duration_seconds",
    "From the first change that was decided to the end of a VMMigration, with all its attempts",
    ["type", "outcome"],
    buckets=LONG,
)
MIGRATION_WAIT = Histogram(
    "vmferry_migration_wait_seconds",
    "From the creation of a VMMigration to the first change that was decided",
    ["type"],
    buckets=LONG,
)
ATTEMPTS = Counter(
    "vmferry_migration_attempts_total",
    "Attempts, which are requests for a migration, that this operator has written the end of",
    ["type", "result"],
)
COPIED = Counter(
    "vmferry_migration_copied_bytes_total",
    "Memory and disks that live migrations have copied, as far as Nova tells",
    ["type"],
)
DRAINS = Histogram(
    "vmferry_drain_duration_seconds",
    "From the moment that a host was let into maintenance until it was verified empty",
    buckets=LONG,
)

# ---- the cloud

ACTIONS = Counter(
    "vmferry_cloud_actions_total",
    "Requests to the cloud that change something, by what came of them",
    ["action", "outcome"],
)
CLOUD_REQUESTS = Counter(
    "vmferry_cloud_requests_total",
    f"HTTP requests to the cloud, by their status code; {NO_ANSWER}: no answer came",
    ["service", "operation", "code"],
)
CLOUD_SECONDS = Histogram(
    "vmferry_cloud_request_duration_seconds",
    "How long an HTTP request to the cloud took, whatever came of it",
    ["service", "operation"],
    buckets=REQUEST,
)

CLOUD_UNVERIFIED = Gauge(
    "vmferry_cloud_tls_unverified",
    "1 while clouds.yaml has verify: false, so that anybody between can read the password and answer for the cloud",
)

# ---- Kubernetes

KUBERNETES_REQUESTS = Counter(
    "vmferry_kubernetes_requests_total",
    f"Requests to the Kubernetes API, by their status code; {NO_ANSWER}: no answer came",
    ["verb", "resource", "code"],
)
KUBERNETES_SECONDS = Histogram(
    "vmferry_kubernetes_request_duration_seconds",
    "How long a request to the Kubernetes API took, whatever came of it",
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
    "How often the Kubernetes API was found to have been set back in time, and everything was read anew",
)
WATCHED = Counter("vmferry_watch_events_total", "What the watches of Kubernetes have shown", ["kind"])
EVENTS = Counter(
    "vmferry_events_total",
    "Kubernetes Events, by what came of them: Told, Repeated (within ten minutes), Dropped (too many), Lost",
    ["reason", "result"],
)

# ---- the operator's own work

PASSES = Counter("vmferry_passes_total", "Looks at an object, by how they ended: done or failed", ["kind", "result"])
PASS_SECONDS = Histogram(
    "vmferry_pass_duration_seconds", "How long one look at an object took", ["kind"], buckets=SHORT
)
WRITES = Counter("vmferry_status_writes_total", "Status writes", ["kind"])
QUEUE_WAIT = Histogram(
    "vmferry_queue_wait_seconds", "How long an object that is due waited for a worker", buckets=SHORT
)
TERMS = Counter("vmferry_leader_transitions_total", "How often this operator has begun to lead")
LEADER = Gauge("vmferry_leader", "1 while this operator leads")
STOPPED = Gauge("vmferry_stopped", "1 while the kill switch keeps new moves from beginning, everywhere or in some zone")
BUILD = Info("vmferry_build", "Always 1; which version this is")


@dataclass(frozen=True, slots=True, eq=False)
class Scraped:
    """A gauge that is computed when it is asked for. Each is itself only: objects are counted by it, often."""

    name: str
    help: str
    labels: tuple[str, ...] = ()


MIGRATIONS = Scraped(
    "vmferry_migrations",
    "VMMigrations that are there, by phase; the finished ones too, until they are deleted",
    ("type", "phase"),
)
PAST_DEADLINE = Scraped(
    "vmferry_migrations_past_deadline",
    "VMMigrations whose running attempt is past its deadline; the time in Nova's own queue does not count",
    ("type",),
)
REMAINING = Scraped(
    "vmferry_migration_remaining_bytes", "What running live migrations still have to copy, as last written", ("part",)
)
MAINTENANCES = Scraped("vmferry_maintenances", "HostMaintenances that are there, by phase", ("phase",))
MAINTENANCE_SERVERS = Scraped(
    "vmferry_maintenance_servers",
    "Servers of all HostMaintenances that are not released: moved, moving, waiting, blocked, left (they stay by wish)",
    ("state",),
)
BLOCKERS = Scraped(
    "vmferry_maintenance_blockers",
    "Servers that keep a host from being empty, by reason; each HostMaintenance names its first 50",
    ("reason",),
)
BLOCKED = Scraped(
    "vmferry_blocked",
    "Unfinished objects that wait for somebody to change something, by the reason of their condition Ready",
    ("kind", "reason"),
)
OPEN_BREAKERS = Scraped(
    "vmferry_open_breakers",
    "Breakers that keep moves from being started after failures with a common cause: of a host, or of the cloud",
    ("scope",),
)
OBJECTS = Scraped("vmferry_objects", "Objects that this operator knows", ("kind",))
UNREADABLE = Scraped("vmferry_unreadable_objects", "Objects that are not what their schema says", ("kind",))

HOSTS = Scraped(
    "vmferry_hosts",
    "Compute hosts in the view of the cloud; the first that holds of: unknown (several "
    "records of one name), down, in_maintenance (ours), disabled, up",
    ("state",),
)
SERVERS = Scraped("vmferry_cloud_servers", "Servers in the view of the cloud")
OPEN_MIGRATIONS = Scraped("vmferry_cloud_open_migrations", "Migrations that are under way in the cloud, anybody's")
VIEW = Scraped(
    "vmferry_cloud_view_timestamp_seconds",
    "When that part of the view of the cloud was last read, in Unix time; 0: never",
    ("part",),
)

QUEUE = Scraped("vmferry_queue_length", "Objects that are due and wait for a worker")
PROCESSING = Scraped("vmferry_queue_processing", "Objects that a worker looks at now")
SCHEDULED = Scraped("vmferry_queue_scheduled", "Objects that are due later")
FAILING = Scraped("vmferry_queue_failing", "Objects whose last look failed")
READY = Scraped("vmferry_ready", "1 while /readyz is satisfied with this, 0 while it is not", ("check",))


def counted() -> Iterator[MetricWrapperBase]:
    """The metrics that are counted where something happens."""
    return (found for found in globals().values() if isinstance(found, MetricWrapperBase))


def name_of(metric: MetricWrapperBase) -> str:
    """As a scrape shows it, without a histogram's endings."""
    (family,) = metric.describe()
    return f"{family.name}_total" if isinstance(metric, Counter) else family.name


def scraped() -> Iterator[Scraped]:
    """The gauges that are computed when they are asked for."""
    return (found for found in globals().values() if isinstance(found, Scraped))


def record(sample: Sample) -> None:
    """Increase the counter, or let the histogram observe the value. Raises KeyError: there is none of that name."""
    metric, labels, value = sample
    family = _BY_NAME[metric]
    series = family.labels(*labels) if labels else family
    if isinstance(series, Counter):
        series.inc(value)
    else:
        series.observe(value)


def _begin() -> None:
    """Series begin at 0: of one that appears with its first event, `increase` would not see that event."""
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
