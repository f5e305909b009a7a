"""Answers that mean "not now" (rate limits, a service that is starting): how they are recognised, and for how long no
further request is sent to that service."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

#: seconds to wait where the answer names none
PAUSE = 10.0
#: the longest that is waited, whatever the answer names
LONGEST = 300.0

_WITH_RETRY_AFTER = (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.SERVICE_UNAVAILABLE)


def retry_after(answer: Any) -> float | None:
    """Seconds until the request may be repeated, when the answer says that it was refused for its moment only.

    That is 429, and 413 and 503 that name a `Retry-After`: OpenStack's own rate limits, those of proxies before it.
    """
    named = _named(answer.headers)
    if answer.status_code == HTTPStatus.TOO_MANY_REQUESTS:
        return PAUSE if named is None else named
    return named if answer.status_code in _WITH_RETRY_AFTER else None


def _named(headers: Mapping[str, str]) -> float | None:
    """`Retry-After` in seconds, bounded; it is a number or a date (RFC 9110, 10.2.3)."""
    text = str(headers.get("Retry-After") or "").strip()[:64]
    try:
        if text.isascii() and text.isdigit():
            seconds = float(text)
        else:
            moment = parsedate_to_datetime(text)
            date = headers.get("Date")
            now = parsedate_to_datetime(date) if date else datetime.now(UTC)
            seconds = (_utc(moment) - _utc(now)).total_seconds()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return min(max(seconds, 1.0), LONGEST)


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


class Pauses:
    """Until when nothing is sent: reads of a service, and actions, each by themselves. Safe for threads."""

    def __init__(self) -> None:
        self._until: dict[tuple[str, bool], tuple[float, str]] = {}

    def note(self, service: str, acts: bool, answer: Any, words: str) -> float | None:
        """Heed an answer with these words. Returns the seconds that it asks for, if it does."""
        seconds = retry_after(answer)
        if seconds is not None:
            key = (service, acts)
            self._until[key] = max((time.monotonic() + seconds, words), self._until.get(key, (0.0, "")))
        return seconds

    def left(self, service: str, acts: bool) -> tuple[float, str] | None:
        """Seconds until the next request may be sent, and the words of that answer; None when it may be sent now."""
        until, words = self._until.get((service, acts), (0.0, ""))
        left = until - time.monotonic()
        return (left, words) if left > 0 else None
