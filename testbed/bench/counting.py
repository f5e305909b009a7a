"""What the operator asked for: of the simulated cloud about single servers, and of Kubernetes for single objects."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from testbed.bed import OPERATOR_NAMESPACE, SERVICE_ACCOUNT, Bed

USER = f"system:serviceaccount:{OPERATOR_NAMESPACE}:{SERVICE_ACCOUNT}"


def is_of_one(route: str) -> bool:
    """About a single server, unlike the polls that are everybody's."""
    return "/servers/{" in route or route.endswith("instance_uuid")


def is_progress(route: str) -> bool:
    return route.startswith("GET") and "/migrations/{" in route


def calls(counts: Mapping[str, int]) -> int:
    """About single servers, beside the reads of their progress."""
    return sum(times for route, times in counts.items() if is_of_one(route) and not is_progress(route))


def requests(bed: Bed, since: int) -> list[dict[str, Any]]:
    """The operator's own, of the API server's audit log from this byte on."""
    with bed.cluster.audit_log.open("rb") as log:
        log.seek(since)
        lines = [line for line in log.read().splitlines() if line.endswith(b"}")]
    return [event for event in map(json.loads, lines) if event.get("user", {}).get("username") == USER]


def writes(bed: Bed, since: int) -> Counter[str]:
    """By name of the VMMigration, Events aside, in the API server's audit log from this byte on."""
    return Counter(
        event["objectRef"]["name"]
        for event in requests(bed, since)
        if event.get("objectRef", {}).get("resource") == "vmmigrations" and event["verb"] in ("update", "patch")
    )


def progresses(status: Mapping[str, Any], every: float) -> int:
    """How often the progress of a finished migration may be written: at once, and then every so many seconds."""
    begun, ended = (datetime.fromisoformat(status[key]) for key in ("startedAt", "completedAt"))
    return 1 + int((ended - begun).total_seconds() // every)
