"""Counts the operator's requests: to the simulated cloud about single servers, and to Kubernetes about single
objects."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from testbed.bed import OPERATOR_NAMESPACE, SERVICE_ACCOUNT, Bed

USER = f"system:serviceaccount:{OPERATOR_NAMESPACE}:{SERVICE_ACCOUNT}"


def is_of_one(route: str) -> bool:
    """Whether the route is about a single server, unlike the shared polls."""
    return "/servers/{" in route or route.endswith("instance_uuid")


def is_progress(route: str) -> bool:
    return route.startswith("GET") and "/migrations/{" in route


def calls(counts: Mapping[str, int]) -> int:
    """The number of requests about single servers, without reads of progress."""
    return sum(times for route, times in counts.items() if is_of_one(route) and not is_progress(route))


def requests(bed: Bed, since: int) -> list[dict[str, Any]]:
    """The operator's requests in the API server's audit log, from this byte offset on."""
    with bed.cluster.audit_log.open("rb") as log:
        log.seek(since)
        lines = [line for line in log.read().splitlines() if line.endswith(b"}")]
    return [event for event in map(json.loads, lines) if event.get("user", {}).get("username") == USER]


def writes(bed: Bed, since: int) -> Counter[str]:
    """The number of writes by name of the VMMigration, without Events, from this byte offset of the audit log on."""
    return Counter(
        event["objectRef"]["name"]
        for event in requests(bed, since)
        if event.get("objectRef", {}).get("resource") == "vmmigrations" and event["verb"] in ("update", "patch")
    )


def progresses(status: Mapping[str, Any], every: float) -> int:
    """How often the progress of a finished migration may be written: once at the start, and then every `every`
    seconds."""
    begun, ended = (datetime.fromisoformat(status[key]) for key in ("startedAt", "completedAt"))
    return 1 + int((ended - begun).total_seconds() // every)
