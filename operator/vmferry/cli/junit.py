"""The JUnit XML report, for pipelines: a testcase per server; Blocked is a failure, Unknown an error."""

from __future__ import annotations

from datetime import datetime
from typing import TextIO
from xml.sax.saxutils import escape, quoteattr

from vmferry.cli.terminal import plain
from vmferry.cli.verdict import Answer, Tally, Verdict

_ELEMENT = {Answer.BLOCKED: "failure", Answer.UNKNOWN: "error"}


class JUnitReport:
    def __init__(self, out: TextIO, read_at: datetime) -> None:
        self._out = out
        self._read_at = read_at
        # kept until the end, because the counts precede the testcases
        self._cases: list[str] = []

    def add(self, verdict: Verdict) -> None:
        title = f"{verdict.name} ({verdict.id})" if verdict.id else verdict.name
        start = f"<testcase name={_attribute(title)} classname={_attribute(verdict.status.source_host or 'no host')}"
        element = _ELEMENT.get(verdict.answer)
        if element is None:
            self._cases.append(f"{start}><system-out>{_text(verdict.message)}</system-out></testcase>")
            return
        lines = [_text(verdict.message)] if not verdict.against else []
        for view in verdict.against:
            lines.append(_text(f"{view.name}: {view.result} ({view.reason}): {view.message}"))
            lines += [_text(f"  remedy: {view.remedy}")] if view.remedy else []
        self._cases.append(
            f"{start}><{element} type={_attribute(verdict.reason)} message={_attribute(verdict.message)}>"
            + "\n".join(lines)
            + f"</{element}></testcase>"
        )

    def end(self, tally: Tally) -> None:
        counts = f'tests="{tally.servers}" failures="{tally.blocked}" errors="{tally.unknown}"'
        moment = self._read_at.strftime("%Y-%m-%dT%H:%M:%S")
        self._out.write(f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites {counts}>\n')
        self._out.write(f'<testsuite name="vmferry preflight" {counts} skipped="0" timestamp="{moment}">\n')
        self._out.writelines(f"{case}\n" for case in self._cases)
        self._out.write("</testsuite>\n</testsuites>\n")


def _text(text: str) -> str:
    """Escape text for XML. XML 1.0 cannot represent most control characters, escaped or not; `plain` removes them."""
    return escape(plain(text))


def _attribute(text: str) -> str:
    return quoteattr(plain(text))
