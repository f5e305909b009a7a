"""What Prometheus sees of a real operator at work: each panel and each alert asks for something that is there."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from helm.generate import CHART
from testbed.bed import Bed
from testbed.prometheus import Prometheus
from testbed.simulator import SimulatedCloud
from tests.e2e.conftest import PATIENCE, Player
from tests.e2e.test_maintenance import HOST, Maintenance

pytestmark = pytest.mark.parametrize(
    "bed",
    [pytest.param("simulator", marks=[pytest.mark.simulator, pytest.mark.kubernetes])],
    indirect=True,
    scope="module",
)

#: of the release, as a ServiceMonitor would bring them
LABELS = {"job": "vmferry", "namespace": "vmferry-system"}
#: Grafana puts the first there by the interval of scrapes, and the second from the list at the top
VARIABLES = {"$__rate_interval": "15s", "$job": ".+"}
ALERTS = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())
RULES = {rule["alert"]: rule["expr"] for group in ALERTS["groups"] for rule in group["rules"]}

#: what finds nothing here, and why that is right
EMPTY = {
    "vmferry_unreadable_objects": "the API server lets no object in that the operator could not read",
    'vmferry_kubernetes_requests_total{job="vmferry", namespace="vmferry-system", code=~"none|403|429|5.."}': (
        "the API server serves, and the operator has the rights that it needs"
    ),
    "vmferry_kubernetes_refused_writes_total": "no policy and no quota stands in the way of a write",
    "vmferry_kubernetes_set_back_total": "nobody restores a backup of etcd",
    'vmferry_blocked{job="vmferry", namespace="vmferry-system", reason="NoProgress"}': "nothing hangs for half an hour",
}


def panels() -> dict[str, str]:
    """Each query of the dashboard by its panel and legend, as Grafana would send it."""
    found: dict[str, str] = {}
    for panel in json.loads((CHART / "files" / "dashboard.json").read_text())["panels"]:
        for target in panel.get("targets", ()):
            query = target["expr"]
            for name, value in VARIABLES.items():
                query = query.replace(name, value)
            found[f"{panel['id']} {panel['title']}: {target['legendFormat']}"] = query
    return found


def selectors() -> dict[str, str]:
    """Each selector of an alert, with the alert."""
    release = ", ".join(f'{name}="{value}"' for name, value in LABELS.items())
    return {
        selector.replace("RELEASE", release): alert
        for alert, query in RULES.items()
        for selector in re.findall(r"\b(?:vmferry|process)_\w+\{[^}]*\}", query)
    }


def tells(prometheus: Prometheus, query: str) -> bool:
    """Whether there is a number; NaN is what a quantile of nothing is. Raises QueryError."""
    return any(math.isfinite(float(sample["value"][1])) for sample in prometheus.query(query))


@pytest.fixture
def prometheus(bed: Bed, tmp_path: Path) -> Iterator[Prometheus]:
    release = ", ".join(f'{name}="{value}"' for name, value in LABELS.items())
    rules = tmp_path / "alerts.yaml"
    rules.write_text((CHART / "files" / "alerts.yaml").read_text().replace("RELEASE", release))
    try:
        yield Prometheus.start(bed.supervisor, tmp_path, bed.health_port, LABELS, rules=rules)
    finally:
        bed.supervisor.stop("prometheus")


def test_every_query_finds_what_it_asks_for_while_the_operator_works(player: Player, prometheus: Prometheus) -> None:
    bed, tenant = player.bed, player.tenant
    cloud = bed.cloud
    assert isinstance(cloud, SimulatedCloud)
    missing = panels() | {f"{alert}: {selector}": f"count({selector})" for selector, alert in selectors().items()}
    rightly = {name for name in missing for empty in EMPTY if empty in missing[name]}
    for name in rightly:
        missing.pop(name)

    def look() -> None:
        """Take off the list what tells something now."""
        for name in [name for name, query in missing.items() if tells(prometheus, query)]:
            del missing[name]

    drain = Maintenance(player)
    try:
        servers = [player.boot(HOST, wait=False) for _ in range(7)]
        for server in servers:
            tenant.wait_for_status(server, "ACTIVE")
        copied, refused, unanswered, aborted, off, locked, late = servers
        cloud.knob(HOST, live_seconds=4)
        tenant.stop(off)
        tenant.lock(locked, "monthly audit")
        look()
        waits = player.apply(locked, type="Live")
        player.blocked(waits)
        # one after the other, so that a fault meets the one that it is for
        path = rf"/servers/{refused}/action$"
        cloud.fault(method="POST", path=path, status=409, body={"conflictingRequest": {"message": "no"}}, times=1)
        cloud.fault(method="POST", path=rf"/servers/{unanswered}/action$", status=503, times=1)
        fails = player.apply(refused, type="Live", target={"host": "cmp2"}, retries=0)
        moves = [
            player.apply(copied, type="Live", target={"host": "cmp2"}),
            player.apply(unanswered, type="Live", target={"host": "cmp2"}),
            player.apply(off, type="Cold", target={"host": "cmp2"}),
        ]
        stopped = player.apply(aborted, type="Live", target={"host": "cmp2"})
        player.running(stopped)
        look()
        player.kubectl("delete", "vmm", stopped, "--wait=false")
        player.finished(fails, "Failed")
        for move in moves:
            player.finished(move)
            look()
        # whatever an abort leaves behind is not what this is about
        tenant.delete(aborted)
        drain.apply(maxParallel=2)
        drain.wait("blocked", lambda s: s.get("phase") == "Blocked" and bool(s.get("blockers")))
        look()
        tenant.unlock(locked)
        player.finished(waits)
        drain.phase("InMaintenance")
        end = time.monotonic() + PATIENCE
        while missing and time.monotonic() < end:
            look()
            time.sleep(0.5)
        assert not missing, "nothing was ever told by:\n" + "\n".join(f"{n}\n    {q}" for n, q in missing.items())
        assert tenant.host_of(late) != HOST

        health = {rule["name"]: (rule["health"], rule.get("lastError", "")) for rule in prometheus.rules()}
        assert health == dict.fromkeys(RULES, ("ok", ""))
        eventually(lambda: check_numbers(player, prometheus, refused=fails))
        check_labels(player, prometheus, [*servers, waits, fails, *moves, drain.name])
        for empty in EMPTY:
            assert prometheus.query(f"sum({empty}) > 0") == [], f"there is something after all: {EMPTY[empty]}"
    finally:
        cloud.clear_faults()
        player.kubectl("delete", "hm", drain.name, "--ignore-not-found", "--timeout=240s")
        tenant.enable_host(HOST)


def eventually(check: Callable[[], None]) -> None:
    """Until it passes: Prometheus scrapes some time after the statuses were written."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return check()
        except AssertionError:
            if time.monotonic() > end:
                raise
        time.sleep(0.5)


def check_numbers(player: Player, prometheus: Prometheus, refused: str) -> None:
    """What is counted is what the statuses say."""
    found = json.loads(player.kubectl("get", "vmm", "-o", "json"))["items"]
    there = [one["status"] for one in found]
    for outcome in ("Succeeded", "Failed"):
        wanted = sum(status["phase"] == outcome for status in there)
        total = f'sum(vmferry_migrations_finished_total{{outcome="{outcome}"}})'
        assert prometheus.value(total) == wanted > 0, outcome
        assert prometheus.value(f'sum(vmferry_migrations{{phase="{outcome}"}})') == wanted, outcome
    assert prometheus.value('sum(vmferry_migrations_finished_total{outcome="Cancelled"})') == 1, "and it is gone"
    assert prometheus.value('sum(vmferry_migration_attempts_total{result="Refused"})') == 1
    assert prometheus.value('sum(vmferry_cloud_actions_total{outcome="Unanswered"})') == 1
    progress = [status["progress"] for status in there if "progress" in status]
    copied = prometheus.value("sum(vmferry_migration_copied_bytes_total)")
    assert copied >= sum(one.get("totalBytes", 0) for one in progress) > 0, "the aborted one has copied something too"
    assert prometheus.value('vmferry_hosts{state="in_maintenance"}') == 1
    assert player.status(refused)["phase"] == "Failed"


def check_labels(player: Player, prometheus: Prometheus, names: list[str]) -> None:
    """No name and no id of anything; and not more series than a Prometheus bears from each of many operators."""
    hosts = [*player.bed.cloud.hosts, player.namespace]
    series: list[dict[str, Any]] = prometheus.query('{job="vmferry"}')
    for one in series:
        told = {value for label, value in one["metric"].items() if label not in ("__name__", "job", "namespace")}
        assert not told & {*names, *hosts}, one["metric"]
    assert len(series) < 3000
    print(f"{len(series)} series")
