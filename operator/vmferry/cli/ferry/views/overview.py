"""`status` without a name: all maintenances and migrations, those that need attention first. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from vmferry.cli.ferry.outcome import Object, Standing, outcome
from vmferry.cli.ferry.views import VIEWS
from vmferry.cli.ferry.views.page import COLOURS
from vmferry.cli.ferry.views.view import NONE, View
from vmferry.cli.terminal import Paint, columns, plain

_ORDER = (
    Standing.BLOCKED,
    Standing.CANNOT_TELL,
    Standing.UNSEEN,
    Standing.UNDER_WAY,
    Standing.FAILED,
    Standing.DONE,
)


def overview(objects: Sequence[Object], now: datetime, paint: Paint, *, wide: bool, where: str) -> list[str]:
    """Lay out a table for each kind. `where` describes the listed namespaces."""
    lines: list[str] = []
    for kind, view in VIEWS.items():
        chosen = sorted((obj for obj in objects if kind == obj.KIND), key=_key)
        if not chosen:
            continue
        rows = [_row(view, obj, now, wide=wide) for obj in chosen]
        head, *body = columns([view.columns + (("MESSAGE",) if wide else ()), *rows])
        phase = view.columns.index("PHASE")
        lines += [""] if lines else []
        lines.append("  ".join(head).rstrip())
        for obj, line in zip(chosen, body, strict=True):
            word = line[phase].rstrip()
            line[phase] = paint(word, COLOURS[outcome(obj).standing]) + line[phase][len(word) :]
            lines.append("  ".join(line).rstrip())
    return lines or [plain(f"no HostMaintenance, and no VMMigration in {where}")]


def _key(obj: Object) -> tuple[int, str, str]:
    return _ORDER.index(outcome(obj).standing), obj.metadata.namespace, obj.metadata.name


def _row(view: View[Any], obj: Object, now: datetime, *, wide: bool) -> tuple[str, ...]:
    cells = view.row(obj, str(obj.status.phase or "Pending"), age(obj.metadata.creation_timestamp, now))
    return (*cells, outcome(obj).message) if wide else cells


def age(since: datetime | None, now: datetime) -> str:
    """Format an age: `7s`, `5m`, `3h`, `2d`."""
    if since is None:
        return NONE
    seconds = max(0, int((now - since).total_seconds()))
    for unit, name in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * unit or (unit == 60 and seconds >= unit):
            return f"{seconds // unit}{name}"
    return f"{seconds}s"
