"""The interface of a report: it takes verdicts one by one and writes them to a stream. Each format has its own
module."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Protocol, TextIO

from vmferry.cli.json_report import JSONReport
from vmferry.cli.junit import JUnitReport
from vmferry.cli.table import TableReport
from vmferry.cli.terminal import Paint
from vmferry.cli.verdict import Tally, Verdict
from vmferry.planning.request import Request


class Format(StrEnum):
    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    JUNIT = "junit"


class Report(Protocol):
    def add(self, verdict: Verdict) -> None: ...

    def end(self, tally: Tally) -> None:
        """Finish the report after the last verdict."""


def make_report(format_: Format, out: TextIO, paint: Paint, request: Request, read_at: datetime) -> Report:
    match format_:
        case Format.JSON:
            return JSONReport(out, request, read_at)
        case Format.JUNIT:
            return JUnitReport(out, read_at)
        case _:
            return TableReport(out, paint, wide=format_ is Format.WIDE)
