"""A clock that was an hour ahead for a while leaves times behind that lie ahead; nobody waits for that hour."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

from testbed.build import ident
from testbed.lifecycle.drains import Drain, a_cloud, moves_of
from vmferry.resources.base import format_time

HOUR = timedelta(hours=1)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def later(part: Any) -> Any:
    """The same, with every time in it an hour later."""
    if isinstance(part, dict):
        return {name: later(value) for name, value in part.items()}
    if isinstance(part, list):
        return [later(value) for value in part]
    if isinstance(part, str) and _TIME.fullmatch(part):
        return format_time(datetime.fromisoformat(part) + HOUR)
    return part


def ahead(d: Drain) -> None:
    """The operator's clock was an hour ahead until now."""
    for body in (*d.migrations.values(), *d.maintenances.values()):
        if "status" in body:
            body["status"] = later(body["status"])


def test_I23_a_second_attempt_waits_for_its_pause_and_no_longer() -> None:
    d = Drain(a_cloud("web-1", bad_targets={"cmp2", "cmp3"}))
    d.migrate("m", ident("web-1"), type="Live")
    d.run(lambda: "endedAt" in str(d.migrations["m"].get("status")))
    ahead(d)
    d.run(lambda: len(d.migrations["m"]["status"]["attempts"]) == 2, 120)


def test_I6_a_deadline_is_kept() -> None:
    d = Drain(a_cloud("web-1", never_ends=True))
    d.migrate("m", ident("web-1"), type="Live", timeout="30s", retries=0)
    d.run(lambda: bool(d.cloud.migrations))
    d.rest(4)
    ahead(d)
    d.run(lambda: d.migrations["m"]["status"]["phase"] == "Failed", 120)


def test_I23_a_drain_tries_a_failed_server_again() -> None:
    d = Drain(a_cloud("web-1", bad_targets={"cmp2"}, hosts=("cmp1", "cmp2")))
    d.apply("cmp1", migration={"retries": 3})
    d.run(lambda: any(body.get("status", {}).get("phase") == "Failed" for body in d.migrations.values()))
    d.cloud.add_host("cmp3")
    ahead(d)
    d.in_maintenance(seconds=300)
    assert moves_of(d.cloud, "web-1") == 1


def test_I20_a_host_is_found_empty_twice() -> None:
    d = Drain(a_cloud())
    d.apply("cmp1")
    d.run(lambda: "emptySince" in d.maintenances["cmp1"].get("status", {}))
    ahead(d)
    d.in_maintenance(seconds=300)
