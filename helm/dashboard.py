"""The Grafana dashboard: rows and panels of helm/vmferry/files/dashboard.json.

A panel has a title, a unit, and queries by legend. `R` selects the chosen release. Replicas export the same gauges, so
panels use their maximum. Counters are summed, because only the leader counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

#: selects the release that is chosen at the top of the dashboard
R = 'job=~"$job"'
RATE = "$__rate_interval"
#: width of Grafana's grid
WIDTH = 24


@dataclass(frozen=True, slots=True)
class Panel:
    title: str
    #: expressions by legend
    queries: Mapping[str, str]
    #: Grafana's name of the unit
    unit: str = "short"
    description: str = ""
    #: shows a single number instead of a curve
    stat: bool = False


def _rate(metric: str, *by: str) -> str:
    return f"sum by ({', '.join(by)}) (rate({metric}{{{R}}}[{RATE}]))"


def _grown(metric: str, *by: str) -> str:
    return f"sum by ({', '.join(by)}) (increase({metric}{{{R}}}[{RATE}]))"


def _quantile(quantile: float, metric: str, *by: str) -> str:
    return f"histogram_quantile({quantile}, sum by ({', '.join((*by, 'le'))}) (rate({metric}_bucket{{{R}}}[{RATE}])))"


def _max(metric: str, *by: str, where: str = "") -> str:
    selector = f"{R}, {where}" if where else R
    return f"max by ({', '.join(by)}) ({metric}{{{selector}}})" if by else f"max({metric}{{{selector}}})"


_MOVING = 'phase=~"Migrating|Verifying"'

ROWS: dict[str, tuple[Panel, ...]] = {
    "Overview": (
        Panel(
            "Leaders",
            {"leaders": f"sum(vmferry_leader{{{R}}})"},
            stat=True,
            description="Exactly one replica should lead.",
        ),
        Panel(
            "Kill switch", {"stopped": _max("vmferry_stopped")}, stat=True, description="1: no new migrations start."
        ),
        Panel(
            "Open breakers",
            {"{{scope}}": _max("vmferry_open_breakers", "scope")},
            stat=True,
            description="No migration starts from these hosts, or in the cloud: attempts failed with a common cause.",
        ),
        Panel(
            "Age of the view of the cloud",
            {"oldest part": f"time() - min(vmferry_cloud_view_timestamp_seconds{{{R}}})"},
            "s",
            stat=True,
            description="The operator decides nothing on a view that is older than policy.maxViewAge.",
        ),
        Panel(
            "Running migrations",
            {"migrations": f"sum({_max('vmferry_migrations', 'type', 'phase', where=_MOVING)})"},
            stat=True,
        ),
        Panel(
            "Blocked",
            {"objects": f"sum({_max('vmferry_blocked', 'kind', 'reason')}) or vector(0)"},
            stat=True,
            description="Migrations and maintenances that need a person to change something.",
        ),
        Panel("Version", {"{{version}}": f"count by (version) (vmferry_build_info{{{R}}})"}, stat=True),
    ),
    "Migrations": (
        Panel(
            "Finished migrations, by outcome",
            {"{{type}} {{outcome}}": _grown("vmferry_migrations_finished_total", "type", "outcome")},
        ),
        Panel("Migrations, by phase", {"{{phase}}": f"sum by (phase) ({_max('vmferry_migrations', 'type', 'phase')})"}),
        Panel(
            "Blocked migrations, by reason",
            {"{{reason}}": _max("vmferry_blocked", "reason", where='kind="VMMigration"')},
        ),
        Panel("Migrations past their deadline", {"{{type}}": _max("vmferry_migrations_past_deadline", "type")}),
        Panel(
            "Attempts, by result",
            {"{{type}} {{result}}": _grown("vmferry_migration_attempts_total", "type", "result")},
        ),
        Panel(
            "Duration of migrations",
            {
                "{{type}} p50": _quantile(0.5, "vmferry_migration_duration_seconds", "type"),
                "{{type}} p95": _quantile(0.95, "vmferry_migration_duration_seconds", "type"),
            },
            "s",
        ),
        Panel(
            "Time until the start (p95)", {"{{type}}": _quantile(0.95, "vmferry_migration_wait_seconds", "type")}, "s"
        ),
        Panel(
            "Copy rate of live migrations", {"{{type}}": _rate("vmferry_migration_copied_bytes_total", "type")}, "Bps"
        ),
        Panel("Remaining bytes to copy", {"{{part}}": _max("vmferry_migration_remaining_bytes", "part")}, "bytes"),
    ),
    "Maintenances": (
        Panel("Maintenances, by phase", {"{{phase}}": _max("vmferry_maintenances", "phase")}),
        Panel("Servers of hosts in maintenance", {"{{state}}": _max("vmferry_maintenance_servers", "state")}),
        Panel("Blocked servers, by reason", {"{{reason}}": _max("vmferry_maintenance_blockers", "reason")}),
        Panel(
            "Blocked maintenances, by reason",
            {"{{reason}}": _max("vmferry_blocked", "reason", where='kind="HostMaintenance"')},
        ),
        Panel(
            "Duration of drains",
            {
                "p50": _quantile(0.5, "vmferry_drain_duration_seconds"),
                "p95": _quantile(0.95, "vmferry_drain_duration_seconds"),
            },
            "s",
        ),
        Panel("Hosts", {"{{state}}": _max("vmferry_hosts", "state")}),
    ),
    "Cloud": (
        Panel(
            "Age of the view, by part",
            {"{{part}}": f"time() - min by (part) (vmferry_cloud_view_timestamp_seconds{{{R}}})"},
            "s",
        ),
        Panel("Requests", {"{{service}} {{code}}": _rate("vmferry_cloud_requests_total", "service", "code")}, "reqps"),
        Panel(
            "Duration of requests (p95)",
            {"{{service}}": _quantile(0.95, "vmferry_cloud_request_duration_seconds", "service")},
            "s",
        ),
        Panel(
            "Slowest requests (mean)",
            {
                "{{service}} {{operation}}": "topk(5, "
                + _rate("vmferry_cloud_request_duration_seconds_sum", "service", "operation")
                + " / "
                + _rate("vmferry_cloud_request_duration_seconds_count", "service", "operation")
                + ")"
            },
            "s",
        ),
        Panel(
            "Requests that change the cloud",
            {"{{action}} {{outcome}}": _grown("vmferry_cloud_actions_total", "action", "outcome") + " > 0"},
        ),
        Panel("Certificates not verified", {"verify: false": _max("vmferry_cloud_tls_unverified")}),
        Panel(
            "Servers and open migrations",
            {"servers": _max("vmferry_cloud_servers"), "open migrations": _max("vmferry_cloud_open_migrations")},
        ),
    ),
    "Operator": (
        Panel(
            "Queue",
            {
                "waiting": _max("vmferry_queue_length"),
                "processing": _max("vmferry_queue_processing"),
                "scheduled": _max("vmferry_queue_scheduled"),
                "failing": _max("vmferry_queue_failing"),
            },
        ),
        Panel("Time in the queue (p95)", {"wait": _quantile(0.95, "vmferry_queue_wait_seconds")}, "s"),
        Panel("Reconciles", {"{{kind}} {{result}}": _rate("vmferry_passes_total", "kind", "result")}, "ops"),
        Panel(
            "Duration of reconciles (p95)", {"{{kind}}": _quantile(0.95, "vmferry_pass_duration_seconds", "kind")}, "s"
        ),
        Panel(
            "Requests to Kubernetes",
            {"{{verb}} {{resource}} {{code}}": _rate("vmferry_kubernetes_requests_total", "verb", "resource", "code")},
            "reqps",
        ),
        Panel(
            "Duration of requests to Kubernetes (p95)",
            {"{{verb}}": _quantile(0.95, "vmferry_kubernetes_request_duration_seconds", "verb")},
            "s",
        ),
        Panel(
            "Status writes and watch events",
            {
                "written {{kind}}": _rate("vmferry_status_writes_total", "kind"),
                "seen {{kind}}": _rate("vmferry_watch_events_total", "kind"),
                "set back in time": f"sum(rate(vmferry_kubernetes_set_back_total{{{R}}}[{RATE}])) > 0",
            },
            "ops",
        ),
        Panel(
            "Writes that Kubernetes refuses",
            {"{{verb}} {{resource}}": _grown("vmferry_kubernetes_refused_writes_total", "verb", "resource") + " > 0"},
        ),
        Panel(
            "Events",
            {"{{reason}} {{result}}": _grown("vmferry_events_total", "reason", "result") + " > 0"},
        ),
        Panel(
            "Objects",
            {
                "{{kind}}": _max("vmferry_objects", "kind"),
                "unreadable {{kind}}": _max("vmferry_unreadable_objects", "kind"),
            },
        ),
        Panel(
            "Leader",
            {
                "{{instance}}": f"vmferry_leader{{{R}}}",
                "changes per hour": f"sum(increase(vmferry_leader_transitions_total{{{R}}}[1h]))",
            },
        ),
        Panel("Ready", {"{{instance}} {{check}}": f"vmferry_ready{{{R}}}"}, description="The checks of /readyz."),
        Panel(
            "Memory and CPU",
            {
                "{{instance}} memory": f"process_resident_memory_bytes{{{R}}}",
                "{{instance}} CPU seconds per hour": f"3600 * rate(process_cpu_seconds_total{{{R}}}[{RATE}])",
            },
        ),
    ),
}


def dashboard() -> str:
    """Return the content of dashboard.json."""
    source = {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"}
    query = "label_values(vmferry_build_info, job)"
    job = {
        "name": "job",
        "type": "query",
        "label": "Release",
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "query": {"query": query, "refId": "job"},
        "definition": query,
        "refresh": 2,
        "multi": False,
        "includeAll": True,
        "allValue": ".+",
        "current": {"text": "All", "value": "$__all"},
    }
    whole = {
        "uid": "vmferry",
        "title": "vmferry",
        "tags": ["vmferry", "openstack"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [source, job]},
        "panels": [{"id": number, **panel} for number, panel in enumerate(_panels(), 1)],
    }
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def _panels() -> Iterator[dict[str, Any]]:
    """Lay out the panels row by row, left to right; a panel's type determines its size."""
    top = 0
    for title, panels in ROWS.items():
        yield {"type": "row", "title": title, "collapsed": False, "gridPos": _at(1, WIDTH, 0, top), "panels": []}
        top, left, height = top + 1, 0, 0
        for panel in panels:
            width, height = (4, 4) if panel.stat else (12, 8)
            if left + width > WIDTH:
                left, top = 0, top + height
            yield _panel(panel) | {"gridPos": _at(height, width, left, top)}
            left += width
        top += height


def _at(height: int, width: int, left: int, top: int) -> dict[str, int]:
    return {"h": height, "w": width, "x": left, "y": top}


def _panel(panel: Panel) -> dict[str, Any]:
    more = {"options": {"reduceOptions": {"calcs": ["lastNotNull"]}}} if panel.stat else {}
    return {
        "type": "stat" if panel.stat else "timeseries",
        "title": panel.title,
        "description": panel.description,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        **more,
        "targets": [
            {"refId": chr(ord("A") + number), "expr": expression, "legendFormat": legend}
            for number, (legend, expression) in enumerate(panel.queries.items())
        ],
    }
