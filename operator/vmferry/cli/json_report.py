"""The JSON report, for programs; its structure is part of the API version in it.

    {"apiVersion": "vmferry.dev/v1alpha1", "kind": "Preflight", "readAt": "2026-03-02T12:00:00Z",
     "request": {"type": "Auto", "stopIfRunning": false, "osUpgrade": false, "target": {"host": "cmp2"}},
     "servers": [{"asked": …, "verdict": "OK" | "Waits" | "Blocked" | "Unknown", "reason": …, "message": …, …}],
     "summary": {"servers": 1, "ok": 1, "waits": 0, "blocked": 0, "unknown": 0, "exitStatus": 0}}

The other fields of a server are those of a VMMigration's status: `type`, `server`, `storage`, `sourceHost`,
`targetHost`, `prerequisites`, `eligibleTargets`, `ineligibleTargets`, `conditions`. Each server takes one line.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, TextIO

from vmferry.cli.verdict import Tally, Verdict
from vmferry.planning.request import Request
from vmferry.resources.base import API_VERSION, format_time


class JSONReport:
    def __init__(self, out: TextIO, request: Request, read_at: datetime) -> None:
        self._out = out
        asked: dict[str, Any] = {
            "type": request.type.value,
            "stopIfRunning": request.stop_if_running,
            "osUpgrade": request.os_upgrade,
        }
        if request.target is not None:
            asked["target"] = {"host": request.target}
        self._out.write(f'{{"apiVersion": {_dump(API_VERSION)}, "kind": "Preflight", ')
        self._out.write(f'"readAt": {_dump(format_time(read_at))},\n "request": {_dump(asked)},\n "servers": [')
        self._before = "\n  "

    def add(self, verdict: Verdict) -> None:
        entry = {
            "asked": verdict.asked,
            "verdict": verdict.answer.value,
            "reason": verdict.reason,
            "message": verdict.message,
            **verdict.status.to_json(),
        }
        # a preflight makes no attempts
        del entry["attempts"]
        self._out.write(self._before + _dump(entry))
        self._before = ",\n  "

    def end(self, tally: Tally) -> None:
        summary = {
            "servers": tally.servers,
            "ok": tally.ok,
            "waits": tally.waits,
            "blocked": tally.blocked,
            "unknown": tally.unknown,
            "exitStatus": int(tally.exit_status),
        }
        self._out.write(f'\n ],\n "summary": {_dump(summary)}}}\n')


def _dump(value: Any) -> str:
    """Dump JSON as ASCII, and escape DEL, which JSON allows raw but which a terminal might interpret."""
    return json.dumps(value).replace("\x7f", "\\u007f")
