"""Logs when the view of the cloud becomes too old for decisions, and when it is fresh again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from vmferry.cloud.model import Snapshot

#: seconds between two checks
PAUSE = 1.0

logger = logging.getLogger(__name__)


class ViewAge:
    """Checks the age of the view and logs one line for each change between fresh and stale."""

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        longest: timedelta,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._snapshot = snapshot
        self._longest = longest
        self._now = now
        self._began = now()
        self._stale_since: datetime | None = None

    async def run(self) -> None:
        """Check forever."""
        while True:
            self.check()
            await asyncio.sleep(PAUSE)

    def check(self) -> None:
        now, snapshot = self._now(), self._snapshot()
        age = snapshot.age(now)
        # before the first complete read the view counts as old as the operator
        stale = (now - self._began if age is None else age) > self._longest
        if stale and self._stale_since is None:
            self._stale_since = now
            seen = "was never read whole" if age is None else f"is {int(age.total_seconds())} s old"
            trouble = snapshot.trouble or "no part of it reports an error"
            logger.warning("the view of the cloud %s: nothing is decided until it is fresh: %s", seen, trouble)
        elif not stale and self._stale_since is not None:
            logger.info(
                "the view of the cloud is fresh again after %s s", int((now - self._stale_since).total_seconds())
            )
            self._stale_since = None
