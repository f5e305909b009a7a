"""Future times in a status: either the clock of the operator that wrote them or the current operator's clock is wrong.

Pauses and deadlines are counted from such times, so a clock that was an hour fast for a moment would delay everything
by an hour. A time further in the future than the tolerated clock difference therefore counts as now.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from vmferry.resources.base import Model

#: maximum difference between the clocks of two well-kept machines
TOLERANCE = timedelta(seconds=60)


def is_ahead(moment: datetime, now: datetime) -> bool:
    return moment - now > TOLERANCE


def set_right(part: Model | None, names: Iterable[str], now: datetime) -> None:
    """Set the named times of `part` to `now` where they are in the future."""
    for name in names if part is not None else ():
        moment = getattr(part, name)
        if moment is not None and is_ahead(moment, now):
            setattr(part, name, now)
