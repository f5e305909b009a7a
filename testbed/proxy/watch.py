"""Faults of a Kubernetes watch, whose events are JSON documents, one a line: some are missing, some come twice."""

from __future__ import annotations

import json
import re
from collections import Counter, deque
from collections.abc import AsyncIterator
from random import Random
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

#: the kinds of events that may be lost or repeated; bookmarks and errors are not about objects
About = Literal["ADDED", "MODIFIED", "DELETED"]
ABOUT_OBJECTS: tuple[About, ...] = ("ADDED", "MODIFIED", "DELETED")
#: how far back an event that is repeated may lie
BACK = 5


class WatchFault(BaseModel):
    """What happens to the watches that begin while it is in force and whose path matches."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str = ".*"
    #: the kinds of events that it is about
    events: tuple[About, ...] = ABOUT_OBJECTS
    #: the part of the events that never comes
    missing: float = Field(0, ge=0, le=1)
    #: the part of the events after which one of the last five comes again
    duplicate: float = Field(0, ge=0, le=1)
    #: the stream ends after this many events
    ends_after: int | None = Field(None, ge=1)

    def matches(self, path: str) -> bool:
        return re.search(self.path, path) is not None


class Lines(Protocol):
    """What `aiohttp.StreamReader` is of it."""

    async def readany(self) -> bytes: ...


async def altered(stream: Lines, fault: WatchFault | None, seed: int, met: Counter[str]) -> AsyncIterator[bytes]:
    """The lines of the stream as the fault leaves them, each as soon as it is whole; `met` counts what it did."""
    random, last, events = Random(seed), deque[bytes](maxlen=BACK), 0
    async for line in _lines(stream):
        if fault is None or _kind(line) not in fault.events:
            yield line
            continue
        events += 1
        if random.random() < fault.missing:
            met["event missing"] += 1
        else:
            yield line
            last.append(line)
        if last and random.random() < fault.duplicate:
            met["event again"] += 1
            yield random.choice(last)
        if events == fault.ends_after:
            met["watch ended"] += 1
            return


async def _lines(stream: Lines) -> AsyncIterator[bytes]:
    """Not `readline`, which takes no line longer than its buffer."""
    rest = b""
    while chunk := await stream.readany():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line + b"\n"
    if rest:
        yield rest


def _kind(line: bytes) -> str | None:
    try:
        told: Any = json.loads(line)
    except ValueError:
        return None
    kind = told.get("type") if isinstance(told, dict) else None
    return kind if isinstance(kind, str) else None
