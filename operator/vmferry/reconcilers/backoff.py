"""The pause between a failure and the next attempt."""

from __future__ import annotations

from datetime import timedelta

from vmferry.policy import Policy

#: doubled twenty times, fifteen seconds would be half a year
LONGEST = timedelta(minutes=30)


def pause_after(failures: int, policy: Policy) -> timedelta:
    """Doubled with each failure after the first, and never longer than `LONGEST` or the first pause."""
    first: timedelta = policy.retry_backoff
    doubled: timedelta = first * 2 ** min(failures - 1, 20)
    return max(first, min(doubled, LONGEST))
