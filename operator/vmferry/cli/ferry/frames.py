"""What `--watch` shows at one moment: bytes of a migration, servers of a drain. Pure."""

from __future__ import annotations

import re
from datetime import datetime

from vmferry.cli.ferry.outcome import Object, Standing, outcome
from vmferry.cli.ferry.overview import age
from vmferry.cli.ferry.pages import title
from vmferry.cli.terminal import Paint, plain
from vmferry.resources.hostmaintenance import HostMaintenance
from vmferry.resources.vmmigration import VMMigration
from vmferry.resources.words import MoveState

_WIDTH = 24
#: moves and blockers that a drain's frame names, each
_NAMED = 5
_BAR = re.compile(r"(?P<before> *\[)(?P<full>#+)(?P<after>.*)")
_STATE = re.compile(r"(?P<before>  )(?P<state>moving|returning|blocked)(?P<after> .*)")
_STATE_COLOURS = {"moving": "cyan", "returning": "cyan", "blocked": "red"}
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def bar(percent: int) -> str:
    full = _WIDTH * min(100, max(0, percent)) // 100
    return f"[{'#' * full}{'.' * (_WIDTH - full)}] {percent:3d}%"


def size(count: int) -> str:
    """`1.5 GiB`."""
    value, unit = float(count), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.1f} {_UNITS[unit]}" if unit else f"{count} B"


def line(obj: Object) -> str:
    """For a log: it changes only when something has happened."""
    return plain(" ".join(part for part in (title(obj), _phase(obj), *_progress(obj), _said(obj)) if part))


def frame(obj: Object, now: datetime) -> list[str]:
    """For a terminal: drawn again and again in the same place."""
    lines = [f"{title(obj)} {_phase(obj)} {age(_begun(obj), now)}"]
    drawn = [bar(obj.status.progress.percent)] if obj.status.progress else []
    if numbers := [*drawn, *_progress(obj, percent=False)]:
        lines.append("  " + ", ".join(numbers))
    if isinstance(obj, HostMaintenance):
        lines += _moves(obj)
    if said := _said(obj):
        lines.append(f"  {said}")
    return [plain(text) if not text.startswith("  ") else "  " + plain(text) for text in lines]


def _begun(obj: Object) -> datetime | None:
    """A maintenance is switched on and off for years: what counts is when this drain, or this release, began."""
    if isinstance(obj, HostMaintenance):
        return obj.status.release_started_at or obj.status.admitted_at or obj.metadata.creation_timestamp
    return obj.metadata.creation_timestamp


def dressed(line: str, paint: Paint) -> str:
    """A frame's line in colours."""
    if match := _BAR.fullmatch(line):
        return f"{match['before']}{paint(match['full'], 'green')}{match['after']}"
    if match := _STATE.fullmatch(line):
        return f"{match['before']}{paint(match['state'], _STATE_COLOURS[match['state']])}{match['after']}"
    return line


def _phase(obj: Object) -> str:
    return "Pending" if outcome(obj).standing is Standing.UNSEEN else str(obj.status.phase or "Pending")


def _progress(obj: Object, *, percent: bool = True) -> list[str]:
    parts: list[str] = []
    if percent and obj.status.progress is not None:
        parts.append(f"{obj.status.progress.percent}%")
    if isinstance(obj, VMMigration):
        route = [host for host in (obj.status.source_host, obj.status.target_host) if host]
        if route:
            parts.append(" -> ".join(route))
        p = obj.status.progress
        if p is not None and (left := p.memory_remaining_bytes + p.disk_remaining_bytes):
            parts.append(f"{size(left)} left")
    elif obj.status.progress is not None:
        m = obj.status.progress
        waiting = f"{m.waiting} waiting ({m.limited_by})" if m.limited_by else f"{m.waiting} waiting"
        parts.append(f"{m.moved} of {m.total - m.left} moved, {m.moving} moving, {waiting}")
        parts += [f"{m.blocked} blocked"] if m.blocked else []
        parts += [f"{m.left} stay"] if m.left else []
        parts += [f"until about {m.estimated_end:%H:%M}Z"] if m.estimated_end else []
    return parts


def _said(obj: Object) -> str:
    """The operator's sentence, where it is more than the numbers."""
    found = outcome(obj)
    if isinstance(obj, HostMaintenance) and found.reason == "Draining":
        return ""
    return found.message


def _moves(obj: HostMaintenance) -> list[str]:
    moving = [one for one in obj.status.moves if one.state in (MoveState.MOVING, MoveState.RETURNING)]
    lines = [f"  {one.state.lower()}  {one.name} -> {one.target_host or '?'}" for one in moving[:_NAMED]]
    lines += [f"  blocked  {one.name}: {one.reason}: {one.message}" for one in obj.status.blockers[:_NAMED]]
    rest = max(0, len(moving) - _NAMED) + max(0, len(obj.status.blockers) - _NAMED)
    return [*lines, f"  and {rest} more"] if rest else lines
