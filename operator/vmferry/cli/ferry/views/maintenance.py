"""The view of a HostMaintenance."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from vmferry.cli.ferry.views.view import EXPECTED, NONE, Point, View
from vmferry.prerequisites.enums import Reason
from vmferry.resources.hostmaintenance import HostMaintenance
from vmferry.resources.words import MoveState

#: how many moves and how many blockers a frame names
_NAMED = 5


class MaintenanceView(View[HostMaintenance]):
    columns = ("MAINTENANCE", "HOST", "PHASE", "MOVED", "BLOCKED", "AGE")
    shown_by_progress = frozenset({"Draining"})

    def only_unknown(self, obj: HostMaintenance) -> bool:
        blockers = obj.status.blockers
        return bool(blockers) and all(blocker.reason == Reason.FACT_UNKNOWN for blocker in blockers)

    def since(self, obj: HostMaintenance) -> datetime | None:
        """When the current drain or release began; the object itself may be much older."""
        return obj.status.release_started_at or obj.status.admitted_at or obj.metadata.creation_timestamp

    def withdrawal(self, obj: HostMaintenance) -> str:
        return f"release {obj.metadata.name}"

    def row(self, obj: HostMaintenance, phase: str, age: str) -> tuple[str, ...]:
        p = obj.status.progress
        moved = f"{p.moved}/{p.total - p.staying}" if p else NONE
        return obj.metadata.name, obj.spec.host, phase, moved, str(p.blocked) if p else NONE, age

    def facts(self, obj: HostMaintenance) -> list[tuple[str, str]]:
        host = obj.status.host or obj.spec.host
        return [("host", host), ("reason", obj.spec.reason), ("servers", _counts(obj))]

    def points(self, obj: HostMaintenance) -> list[Point]:
        status = obj.status
        points: list[Point] = [
            [
                (f"{blocker.name} ({blocker.server}): {blocker.prerequisite}: {blocker.reason}", ""),
                ("found", blocker.message),
                ("expected", EXPECTED.get(blocker.prerequisite, "")),
                ("remedy", blocker.remedy or ""),
            ]
            for blocker in status.blockers
        ]
        more = (status.progress.blocked if status.progress else 0) - len(status.blockers)
        if more > 0:
            points.append([(f"and {more} more servers, which the status does not list", "")])
        blocked = {blocker.server for blocker in status.blockers}
        points += [
            [
                (f"{move.name} ({move.server}): its move failed", ""),
                ("where", move.target_host or ""),
                ("found", move.message or "no reason was given"),
                ("migration", move.migration or ""),
            ]
            for move in status.moves
            if move.state is MoveState.FAILED and move.server not in blocked
        ]
        cordoned = status.condition("Cordoned")
        if cordoned is not None and cordoned.reason == "LeftDisabled":
            points.append([("the compute service is left disabled", ""), ("found", cordoned.message)])
        return points

    def leaves_servers(self, obj: HostMaintenance) -> bool:
        return bool(self.points(obj))

    def leftovers(self, obj: HostMaintenance) -> list[Point]:
        """Leftover migration records: they block nothing here, but Nova does not delete the host's compute service
        because of them."""
        return [
            [
                (f"leftover migration record {record.migration} of server {record.server}", ""),
                ("found", record.message),
                ("remedy", record.remedy or ""),
            ]
            for record in obj.status.leftover_records
        ]

    def steps(self, obj: HostMaintenance) -> Sequence[tuple[str, ...]]:
        rows = [
            (
                str(move.state),
                move.name,
                move.type or NONE,
                move.target_host or NONE,
                move.message or move.migration or "",
            )
            for move in obj.status.moves
        ]
        return [("STATE", "SERVER", "TYPE", "TARGET", "SAID"), *rows] if rows else []

    def progress(self, obj: HostMaintenance) -> list[str]:
        p = obj.status.progress
        if p is None:
            return []
        parts = [f"{p.moved} of {p.total - p.staying} moved, {p.moving} moving, {_waiting(obj)}"]
        parts += [f"{p.blocked} blocked"] if p.blocked else []
        parts += [f"{p.staying} stay"] if p.staying else []
        parts += [f"until about {p.estimated_end:%H:%M}Z"] if p.estimated_end else []
        return parts

    def current_moves(self, obj: HostMaintenance) -> list[str]:
        moving = [move for move in obj.status.moves if move.state in (MoveState.MOVING, MoveState.RETURNING)]
        lines = [f"{move.state.lower()}  {move.name} -> {move.target_host or '?'}" for move in moving[:_NAMED]]
        lines += [
            f"blocked  {blocker.name}: {blocker.reason}: {blocker.message}" for blocker in obj.status.blockers[:_NAMED]
        ]
        rest = max(0, len(moving) - _NAMED) + max(0, len(obj.status.blockers) - _NAMED)
        return [*lines, f"and {rest} more"] if rest else lines


def _counts(obj: HostMaintenance) -> str:
    p = obj.status.progress
    if p is None:
        return ""
    text = f"{p.moved} of {p.total - p.staying} have left, {p.moving} moving, {_waiting(obj)}, {p.blocked} blocked"
    return f"{text}, {p.staying} stay" if p.staying else text


def _waiting(obj: HostMaintenance) -> str:
    p = obj.status.progress
    assert p is not None
    return f"{p.waiting} waiting ({p.limited_by})" if p.limited_by else f"{p.waiting} waiting"
