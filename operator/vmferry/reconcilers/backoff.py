"""The pause between a failure and the next attempt."""

from __future__ import annotations

from datetime import timedelta

from vmferry.policy import Policy

#: upper bound of the pause; 15 seconds doubled twenty times would be half a year
LONGEST = timedelta(minutes=30)


def pause_after(failures: int, policy: Policy) -> timedelta:
    """The pause doubles with each failure after the first, up to `LONGEST` or the first pause if that is longer."""
    first: timedelta = policy.retry_backoff
    doubled: timedelta = first * 2 ** min(failures - 1, 20)
    return max(first, min(doubled, LONGEST))
