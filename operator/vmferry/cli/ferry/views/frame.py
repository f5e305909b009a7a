"""The current state of an object for `--watch`: bytes of a migration, servers of a drain. Pure."""

from __future__ import annotations

import re
from datetime import datetime

from vmferry.cli.ferry.outcome import Object, Standing, outcome
from vmferry.cli.ferry.views import view_of
from vmferry.cli.ferry.views.overview import age
from vmferry.cli.ferry.views.page import title
from vmferry.cli.terminal import Paint, plain

_WIDTH = 24
_BAR = re.compile(r"(?P<before> *\[)(?P<full>#+)(?P<after>.*)")
_STATE = re.compile(r"(?P<before>  )(?P<state>moving|returning|blocked)(?P<after> .*)")
_STATE_COLOURS = {"moving": "cyan", "returning": "cyan", "blocked": "red"}


def bar(percent: int) -> str:
    full = _WIDTH * min(100, max(0, percent)) // 100
    return f"[{'#' * full}{'.' * (_WIDTH - full)}] {percent:3d}%"


def line(obj: Object) -> str:
    """The state in one line, for a log; it changes only with the object."""
    return plain(" ".join(part for part in (title(obj), _phase(obj), *_progress(obj), _message(obj)) if part))


def frame(obj: Object, now: datetime) -> list[str]:
    """The state in several lines, for a terminal, where they are redrawn in place."""
    lines = [f"{title(obj)} {_phase(obj)} {age(view_of(obj).since(obj), now)}"]
    drawn = [bar(obj.status.progress.percent)] if obj.status.progress else []
    if numbers := [*drawn, *_progress(obj, percent=False)]:
        lines.append("  " + ", ".join(numbers))
    lines += [f"  {line}" for line in view_of(obj).current_moves(obj)]
    if message := _message(obj):
        lines.append(f"  {message}")
    return [plain(text) if not text.startswith("  ") else "  " + plain(text) for text in lines]


def dressed(line: str, paint: Paint) -> str:
    """Colour a line of a frame."""
    if match := _BAR.fullmatch(line):
        return f"{match['before']}{paint(match['full'], 'green')}{match['after']}"
    if match := _STATE.fullmatch(line):
        return f"{match['before']}{paint(match['state'], _STATE_COLOURS[match['state']])}{match['after']}"
    return line


def _phase(obj: Object) -> str:
    return "Pending" if outcome(obj).standing is Standing.UNSEEN else str(obj.status.phase or "Pending")


def _progress(obj: Object, *, percent: bool = True) -> list[str]:
    known = obj.status.progress
    return [*([f"{known.percent}%"] if percent and known else []), *view_of(obj).progress(obj)]


def _message(obj: Object) -> str:
    """The operator's message, unless it only repeats the progress."""
    result = outcome(obj)
    return "" if result.reason in view_of(obj).shown_by_progress else result.message
