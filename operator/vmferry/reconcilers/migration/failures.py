"""The part of an attempt's failure that the breaker compares with other failures (I37).

Only failures of the cloud count. An abort by a person, an abort at the deadline, or a request that Nova could not take
at that moment is no evidence about the host. A server in ERROR counts whatever ended the attempt.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from vmferry.cloud.actions import Refused
from vmferry.resources.base import clip
from vmferry.resources.vmmigration import Attempt, AttemptFailure

#: status codes about this moment (401: token, 409: busy, 429 and 503: later) or this server (404), not about the host
_NOT_THE_HOST = frozenset({401, 404, 408, 409, 413, 425, 429, 502, 503, 504})
#: scheduler errors about targets, independent of the source host
_OF_TARGETS = ("no valid host", "max scheduling attempts")

_IDS = re.compile(
    r"req-[0-9a-f-]+|instance-[0-9a-f]+|[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}"
    r"|\b(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?\b|(?:[0-9a-f]{0,4}:){3,}[0-9a-f:]*|0x[0-9a-f]+",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\d+(?:\.\d+)*")


def cause_of(words: str, names: Iterable[str]) -> str:
    """The cloud's error text without what differs between two failures of the same cause: ids, numbers, these names."""
    text = words
    for name in sorted(filter(None, names), key=len, reverse=True):
        text = re.sub(rf"(?<![\w.-]){re.escape(name)}(?:\.[\w.-]*\w)?(?![\w-])", "*", text)
    text = _NUMBER.sub("#", _IDS.sub("*", text))
    return clip(" ".join(text.split()), 256)


def failed_in_nova(attempt: Attempt, words: str | None, *, in_error: bool, server_name: str) -> AttemptFailure | None:
    """The failure of an attempt that Nova accepted. `words`: Nova's error text; None if another cause ended it."""
    cause = None
    if words is not None and not any(text in words.lower() for text in _OF_TARGETS):
        cause = cause_of(words, (attempt.source_host, attempt.target_host, server_name))
    return AttemptFailure(left_in_error=in_error, cause=cause) if in_error or cause else None


def refused(attempt: Attempt, outcome: Refused, server_name: str) -> AttemptFailure | None:
    """The failure of a request that Nova refused: the server is unchanged."""
    if outcome.code in _NOT_THE_HOST:
        return None
    return failed_in_nova(attempt, f"{outcome.code}: {outcome.message}", in_error=False, server_name=server_name)
