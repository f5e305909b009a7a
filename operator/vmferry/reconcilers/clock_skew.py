"""Times in a status that lie ahead of us: whoever wrote them had a wrong clock, or we have one.

Pauses and deadlines are counted from such times, so a clock that was an hour ahead for a moment would have everything
wait for an hour. The future has not happened: what lies further ahead than two machines' clocks differ counts as now.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from vmferry.resources.base import Model

#: well-kept clocks of two machines differ by less
TOLERANCE = timedelta(seconds=60)


def is_ahead(moment: datetime, now: datetime) -> bool:
    return moment - now > TOLERANCE


def set_right(part: Model | None, names: Iterable[str], now: datetime) -> None:
    """Change those of the part's times that lie ahead."""
    for name in names if part is not None else ():
        moment = getattr(part, name)
        if moment is not None and is_ahead(moment, now):
            setattr(part, name, now)
