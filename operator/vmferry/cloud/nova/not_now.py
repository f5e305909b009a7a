"""Answers that mean "not now", such as rate limits or a service that is starting: how they are recognised, and how long
no further request is sent to that service."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

#: seconds to wait if the answer names no time
PAUSE = 10.0
#: maximum seconds to wait, whatever the answer names
LONGEST = 300.0

_WITH_RETRY_AFTER = (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.SERVICE_UNAVAILABLE)


def retry_after(answer: Any) -> float | None:
    """Seconds until the request may be repeated, if the answer refuses it only for now; else None.

    These answers are 429, and 413 or 503 with `Retry-After`: rate limits of OpenStack itself and of proxies before it.
    """
    named = _named(answer.headers)
    if answer.status_code == HTTPStatus.TOO_MANY_REQUESTS:
        return PAUSE if named is None else named
    return named if answer.status_code in _WITH_RETRY_AFTER else None


def _named(headers: Mapping[str, str]) -> float | None:
    """`Retry-After` in seconds, bounded; the header is a number or a date (RFC 9110, 10.2.3)."""
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
    """Times until which nothing is sent, separately for reads and actions of each service. Thread-safe."""

    def __init__(self) -> None:
        self._until: dict[tuple[str, bool], tuple[float, str]] = {}

    def note(self, service: str, acts: bool, answer: Any, words: str) -> float | None:
        """Record an answer; returns the seconds that it requests to wait, or None. `words` is the answer's text."""
        seconds = retry_after(answer)
        if seconds is not None:
            key = (service, acts)
            self._until[key] = max((time.monotonic() + seconds, words), self._until.get(key, (0.0, "")))
        return seconds

    def left(self, service: str, acts: bool) -> tuple[float, str] | None:
        """Seconds until the next request may be sent, and the text of the answer; None if it may be sent now."""
        until, words = self._until.get((service, acts), (0.0, ""))
        left = until - time.monotonic()
        return (left, words) if left > 0 else None
