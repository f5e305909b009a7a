"""A record of the requests through a proxy, to check afterwards what was sent, and how often."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

_SERVER_ACTION = re.compile(r"/servers/([0-9a-f-]{36})/action$")
#: the server actions that move a server
MOVES = ("os-migrateLive", "migrate", "evacuate")


@dataclass(slots=True)
class Passed:
    """A request that passed through a proxy."""

    at: float
    method: str
    path: str
    #: the server and the action of a server action
    server: str | None = None
    action: str | None = None
    #: the status of the upstream response; None if the request was not forwarded or had no response
    status: int | None = None
    #: the fault that was applied to it
    fault: str = ""
    #: whether the client received a response
    answered: bool = False

    @classmethod
    def of(cls, method: str, path: str, body: bytes) -> Passed:
        found = _SERVER_ACTION.search(path) if method == "POST" else None
        return cls(time.time(), method, path, found[1] if found else None, _action(body) if found else None)

    @property
    def is_move(self) -> bool:
        return self.action in MOVES


def _action(body: bytes) -> str | None:
    try:
        told: Any = json.loads(body)
    except ValueError:
        return None
    return next(iter(told), None) if isinstance(told, dict) else None


@dataclass
class Journal:
    """Counts of all requests by method and path (ids replaced), and a list of all requests that are not GET."""

    counts: Counter[str] = field(default_factory=Counter)
    changes: list[Passed] = field(default_factory=list)

    def note(self, passed: Passed) -> None:
        path = re.sub(r"[0-9a-f]{8}-?[0-9a-f-]{24,28}", "{id}", passed.path.split("?")[0])
        self.counts[f"{passed.method} {path}"] += 1
        if passed.method != "GET":
            self.changes.append(passed)

    @property
    def moves(self) -> list[Passed]:
        """The moves that reached the upstream server."""
        return [one for one in self.changes if one.is_move and one.status is not None]
