"""The view of a VMMigration."""

from __future__ import annotations

from collections.abc import Sequence

from vmferry.cli.ferry.views.view import EXPECTED, NONE, Point, View, size
from vmferry.prerequisites.enums import Result
from vmferry.reconcilers import conditions as c
from vmferry.reconcilers.migration.os_upgrade_moves import crossing_of
from vmferry.resources.vmmigration import PrerequisiteView, VMMigration
from vmferry.resources.words import Phase


class MigrationView(View[VMMigration]):
    columns = ("MIGRATION", "SERVER", "TYPE", "SOURCE", "TARGET", "PHASE", "PROGRESS", "AGE")

    def begun(self, obj: VMMigration) -> bool:
        return obj.status.started_at is not None

    def finished(self, obj: VMMigration) -> bool:
        return obj.status.completed_at is not None

    def only_unknown(self, obj: VMMigration) -> bool:
        results = {view.result for view in obj.status.prerequisites}
        return Result.UNKNOWN in results and Result.FAILED not in results

    def withdrawal(self, obj: VMMigration) -> str:
        return f"cancel {obj.metadata.name} -n {obj.metadata.namespace}"

    def row(self, obj: VMMigration, phase: str, age: str) -> tuple[str, ...]:
        status, ref = obj.status, obj.spec.server
        return (
            f"{obj.metadata.namespace}/{obj.metadata.name}",
            status.server.name if status.server else ref.name or ref.id or NONE,
            str(status.type or obj.spec.type),
            status.source_host or NONE,
            _target(obj) or NONE,
            phase,
            f"{status.progress.percent}%" if status.progress else NONE,
            age,
        )

    def facts(self, obj: VMMigration) -> list[tuple[str, str]]:
        status, ref = obj.status, obj.spec.server
        asked = ref.id or f"{ref.project}/{ref.name}"
        server = f"{status.server.name} ({status.server.id}), {status.server.state}" if status.server else asked
        return [
            ("server", server),
            ("type", str(status.type or obj.spec.type)),
            ("from", status.source_host or ""),
            ("to", _target(obj)),
        ]

    def points(self, obj: VMMigration) -> list[Point]:
        points: list[Point] = []
        for view in unmet(obj):
            reason = view.reason or ("not known" if view.result == Result.UNKNOWN else "Failed")
            points.append(
                [
                    (f"{view.name}: {reason}", ""),
                    ("where", view.host or ""),
                    ("found", view.message),
                    ("expected", EXPECTED.get(view.name, "")),
                    ("remedy", view.remedy or ""),
                ]
            )
        succeeded = obj.status.condition(c.SUCCEEDED)
        if succeeded is not None and succeeded.status == "True":
            return points
        return points + [
            [
                (f"attempt {attempt.number}: {attempt.type}, {attempt.state}", ""),
                ("where", f"{attempt.source_host} to {attempt.target_host}"),
                ("found", attempt.message),
                ("request", attempt.request_id or ""),
            ]
            for attempt in obj.status.attempts
            if attempt.message
        ]

    def see_also(self, obj: VMMigration) -> str:
        if not obj.status.ineligible_targets:
            return ""
        return f"the hosts: kubectl ferry targets --migration {obj.metadata.name} -n {obj.metadata.namespace}"

    def steps(self, obj: VMMigration) -> Sequence[tuple[str, ...]]:
        rows = [
            (
                str(attempt.number),
                attempt.type,
                attempt.source_host,
                attempt.target_host,
                attempt.state,
                attempt.message or "",
            )
            for attempt in obj.status.attempts
        ]
        return [("ATTEMPT", "TYPE", "SOURCE", "TARGET", "STATE", "SAID"), *rows] if rows else []

    def progress(self, obj: VMMigration) -> list[str]:
        hosts = [host for host in (obj.status.source_host, obj.status.target_host) if host]
        parts = [" -> ".join(hosts)] if hosts else []
        copied = obj.status.progress
        if copied is not None and (left := copied.memory_remaining_bytes + copied.disk_remaining_bytes):
            parts.append(f"{size(left)} left")
        return parts


def _target(obj: VMMigration) -> str:
    return obj.status.target_host or (obj.spec.target.host if obj.spec.target else "")


def unmet(obj: VMMigration) -> list[PrerequisiteView]:
    """The prerequisites that are not met, failed ones first. Tolerated Unknown results may be among them."""
    met = obj.status.condition(c.PREREQUISITES_MET)
    if met is None or met.status == "True" or obj.status.completed_at is not None:
        return []
    views = obj.status.prerequisites
    return [view for result in (Result.FAILED, Result.UNKNOWN) for view in views if view.result == result]


def cancelling(obj: VMMigration) -> str:
    """Describe in a sentence what deleting the migration does now; docs/migrations.md has the operator's rules."""
    status = obj.status
    if crossing_of(obj) is not None:
        return (
            "it is over; but it is what remembers that its server went to a newer operating system and cannot return: "
            "deleting it loses that"
        )
    if status.completed_at is not None or status.phase in (
        Phase.SUCCEEDED,
        Phase.FAILED,
        Phase.CANCELLED,
        Phase.CHECKED,
    ):
        return "it is over: only this record of it goes away"
    running = status.open_attempt
    if running is None:
        if status.graceful_stop is not None:
            return "its server was stopped for the move: it is started again, then the request is gone"
        return "nothing has begun: it is gone at once, and the server stays where it is"
    if running.type == "Live":
        return (
            f"the live migration to {running.target_host} is aborted, then it is gone; from Nova 33 on the server may "
            "be marked ERROR although it runs on where it was"
        )
    word = "a cold migration" if running.type == "Cold" else "an evacuation"
    return f"{word} cannot be stopped: the one to {running.target_host} is seen to its end, then it is gone"
