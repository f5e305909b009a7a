"""Faults of a Kubernetes watch, a stream of JSON documents, one per line: lost events, repeated events, early ends."""

from __future__ import annotations

import json
import re
from collections import Counter, deque
from collections.abc import AsyncIterator
from random import Random
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

#: event types that may be lost or repeated; bookmarks and errors are not about objects
About = Literal["ADDED", "MODIFIED", "DELETED"]
ABOUT_OBJECTS: tuple[About, ...] = ("ADDED", "MODIFIED", "DELETED")
#: how many events back a repeated event may be
BACK = 5


class WatchFault(BaseModel):
    """The fault of watches that begin while it is in force and whose path matches."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str = ".*"
    #: the event types that it affects
    events: tuple[About, ...] = ABOUT_OBJECTS
    #: the share of events that are lost
    missing: float = Field(0, ge=0, le=1)
    #: the share of events after which one of the last five is repeated
    duplicate: float = Field(0, ge=0, le=1)
    #: number of events after which the stream ends
    ends_after: int | None = Field(None, ge=1)

    def matches(self, path: str) -> bool:
        return re.search(self.path, path) is not None


class Lines(Protocol):
    """The part of `aiohttp.StreamReader` that is used."""

    async def readany(self) -> bytes: ...


async def altered(stream: Lines, fault: WatchFault | None, seed: int, met: Counter[str]) -> AsyncIterator[bytes]:
    """Yield the lines of the stream with the fault applied, each as soon as it is complete; `met` counts applied
    faults."""
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
    """Split a stream into lines. `readline` cannot be used, because it limits their length to its buffer."""
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
