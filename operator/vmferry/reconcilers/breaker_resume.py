"""Resume marks, by which a person confirms that the cause of an open breaker is repaired (I37).

They are the data of a ConfigMap: `cmp1: "2026-01-01T12:00:00Z"`, or `cloud:` for all hosts. Failures that ended before
that time do not count. An unusable mark changes nothing, and the message of the breaker explains why it is unusable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from vmferry.planning.breaker import CLOUD
from vmferry.resources.base import clip

#: maximum clock difference: a mark further in the future would disable the breaker until then
TOLERANCE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Marks:
    """The usable marks, and for each unusable mark the reason."""

    times: Mapping[str, datetime] = field(default_factory=dict)
    unusable: Mapping[str, str] = field(default_factory=dict)

    def since(self, host: str) -> datetime | None:
        """The time from which failures of the host count; None: all failures count."""
        return max((self.times[key] for key in (host, CLOUD) if key in self.times), default=None)


def parse(data: Mapping[str, str], source: str, now: datetime) -> Marks:
    """Parse the data of the ConfigMap `source`."""
    times: dict[str, datetime] = {}
    unusable: dict[str, str] = {}
    for key, text in data.items():
        try:
            time = datetime.fromisoformat(text.strip())
        except ValueError:
            time = None
        if time is None or time.tzinfo is None:
            problem = f"{clip(text.strip(), 60)!r} is no time like 2026-01-31T12:00:00Z"
        elif time - now > TOLERANCE:
            problem = f"{text.strip()} is in the future"
        else:
            times[key] = time
            continue
        unusable[key] = f"The key {clip(key, 100)} of {source} closes nothing: {problem}"
    return Marks(times, unusable)
