"""`status` without a name: all maintenances and migrations, what needs somebody first. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from vmferry.cli.ferry.outcome import Object, Standing, outcome
from vmferry.cli.ferry.pages import COLOURS
from vmferry.cli.terminal import Paint, columns, plain
from vmferry.resources.hostmaintenance import HostMaintenance
from vmferry.resources.vmmigration import VMMigration

_ORDER = (
    Standing.BLOCKED,
    Standing.CANNOT_TELL,
    Standing.UNSEEN,
    Standing.UNDER_WAY,
    Standing.FAILED,
    Standing.DONE,
)
_NONE = "-"


def overview(objects: Sequence[Object], now: datetime, paint: Paint, *, wide: bool, where: str) -> list[str]:
    """`where` says which namespaces were looked at."""
    lines: list[str] = []
    for kind in (HostMaintenance, VMMigration):
        chosen = sorted((one for one in objects if isinstance(one, kind)), key=_key)
        if not chosen:
            continue
        rows = [_row(one, now, wide=wide) for one in chosen]
        head, *body = columns([_HEADS[kind] + (("MESSAGE",) if wide else ()), *rows])
        phase = _HEADS[kind].index("PHASE")
        lines += [""] if lines else []
        lines.append("  ".join(head).rstrip())
        for one, line in zip(chosen, body, strict=True):
            word = line[phase].rstrip()
            line[phase] = paint(word, COLOURS[outcome(one).standing]) + line[phase][len(word) :]
            lines.append("  ".join(line).rstrip())
    return lines or [plain(f"no HostMaintenance, and no VMMigration in {where}")]


_HEADS: dict[type[Object], tuple[str, ...]] = {
    HostMaintenance: ("MAINTENANCE", "HOST", "PHASE", "MOVED", "BLOCKED", "AGE"),
    VMMigration: ("MIGRATION", "SERVER", "TYPE", "SOURCE", "TARGET", "PHASE", "PROGRESS", "AGE"),
}


def _key(obj: Object) -> tuple[int, str, str]:
    return _ORDER.index(outcome(obj).standing), obj.metadata.namespace, obj.metadata.name


def _row(obj: Object, now: datetime, *, wide: bool) -> tuple[str, ...]:
    phase, old = str(obj.status.phase or "Pending"), age(obj.metadata.creation_timestamp, now)
    message = (outcome(obj).message,) if wide else ()
    if isinstance(obj, HostMaintenance):
        p = obj.status.progress
        moved = f"{p.moved}/{p.total - p.left}" if p else _NONE
        return (obj.metadata.name, obj.spec.host, phase, moved, str(p.blocked) if p else _NONE, old, *message)
    status, ref = obj.status, obj.spec.server
    server = status.server.name if status.server else ref.name or ref.id or _NONE
    target = status.target_host or (obj.spec.target.host if obj.spec.target else _NONE)
    percent = f"{status.progress.percent}%" if status.progress else _NONE
    return (
        f"{obj.metadata.namespace}/{obj.metadata.name}",
        server,
        str(status.type or obj.spec.type),
        status.source_host or _NONE,
        target,
        phase,
        percent,
        old,
        *message,
    )


def age(since: datetime | None, now: datetime) -> str:
    """`7s`, `5m`, `3h`, `2d`."""
    if since is None:
        return _NONE
    seconds = max(0, int((now - since).total_seconds()))
    for unit, name in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * unit or (unit == 60 and seconds >= unit):
            return f"{seconds // unit}{name}"
    return f"{seconds}s"
