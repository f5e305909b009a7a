"""The report for people: a line per server, or all details when there is only one server."""

from __future__ import annotations

from typing import TextIO

from vmferry.cli.terminal import Paint, columns, plain
from vmferry.cli.verdict import Answer, Tally, Verdict
from vmferry.prerequisites.enums import Result

_COLOURS = {Answer.OK: "green", Answer.WAITS: "cyan", Answer.BLOCKED: "red", Answer.UNKNOWN: "yellow"}
_RESULT_COLOURS: dict[str, str] = {Result.PASSED: "green", Result.FAILED: "red", Result.UNKNOWN: "yellow"}
_HEADER = ("NAME", "ID", "HOST", "TYPE", "VERDICT")
_WIDE_HEADER = ("NAME", "ID", "HOST", "STATE", "TYPE", "STORAGE", "VERDICT")
_SHORT_NAME = 40
_NONE = "-"


class TableReport:
    def __init__(self, out: TextIO, paint: Paint, *, wide: bool) -> None:
        self._out = out
        self._paint = paint
        self._wide = wide
        self._rows: list[tuple[Answer, tuple[str, ...]]] = []
        #: kept because a report with a single server shows its details
        self._first: Verdict | None = None

    def add(self, verdict: Verdict) -> None:
        self._first = self._first or verdict
        self._rows.append((verdict.answer, self._row(verdict)))

    def end(self, tally: Tally) -> None:
        if not self._rows or self._first is None:
            self._write("no servers")
        elif len(self._rows) == 1 and self._first.status.server is not None:
            self._write(*one_server(self._first, self._paint))
        else:
            head, *lines = columns([_WIDE_HEADER if self._wide else _HEADER, *(row for _, row in self._rows)])
            self._write("  ".join(head))
            for (answer, _), line in zip(self._rows, lines, strict=True):
                self._write("  ".join([*line[:-1], self._paint(line[-1], _COLOURS[answer])]))
            self._write(str(tally))

    def _row(self, verdict: Verdict) -> tuple[str, ...]:
        status = verdict.status
        host, kind = status.source_host or _NONE, status.type or _NONE
        if not self._wide:
            name = verdict.name if len(verdict.name) <= _SHORT_NAME else verdict.name[: _SHORT_NAME - 1] + "…"
            return name, verdict.id[:8] or _NONE, host, kind, headline(verdict)
        state = status.server.state if status.server else _NONE
        long = verdict.answer is not Answer.OK and bool(verdict.against)
        text = f"{headline(verdict)}: {verdict.message}" if long else headline(verdict)
        return verdict.name, verdict.id or _NONE, host, state, kind, status.storage or _NONE, text

    def _write(self, *lines: str) -> None:
        self._out.writelines(f"{line}\n" for line in lines)


def headline(verdict: Verdict) -> str:
    """Summarize the verdict in a few words."""
    if verdict.answer is Answer.OK:
        moves = verdict.status.target_host != verdict.status.source_host
        return f"OK -> {verdict.status.target_host}" if moves else f"OK: {verdict.message}"
    if verdict.answer is Answer.WAITS:
        return f"WAITS -> {verdict.status.target_host}: {', '.join(verdict.reasons)}"
    if not verdict.against:
        return f"{verdict.answer.upper()} {verdict.reason}: {verdict.message}"
    return f"{verdict.answer.upper()} {', '.join(verdict.reasons)}"


def one_server(verdict: Verdict, paint: Paint) -> list[str]:
    """Show every prerequisite with its message and remedy, and every host with its rank or reason."""
    status = verdict.status
    state = status.server.state if status.server else ""
    resolved = status.condition("TypeResolved")
    facts = [
        ("server", f"{verdict.name} ({verdict.id}), {state}"),
        ("host", status.source_host or _NONE),
        ("type", f"{status.type} ({resolved.message})" if resolved else f"{status.type}"),
        ("storage", status.storage or "not known"),
        ("verdict", headline(verdict)),
    ]
    lines = ["  ".join(line) for line in columns(facts)]
    lines[-1] = "verdict  " + paint(plain(headline(verdict)), _COLOURS[verdict.answer])
    if status.prerequisites:
        lines += ["", *_prerequisites(verdict, paint)]
    if status.eligible_targets:
        rows = [(str(target.rank), target.host, target.message) for target in status.eligible_targets]
        lines += ["", *("  ".join(line) for line in columns([("RANK", "ELIGIBLE TARGET", "WHY"), *rows]))]
    if status.ineligible_targets:
        groups = [
            (str(group.hosts), group.reason, f"{group.example}: {group.message or ''}")
            for group in status.ineligible_targets
        ]
        lines += ["", *("  ".join(line) for line in columns([("HOSTS", "INELIGIBLE", "FOR EXAMPLE"), *groups]))]
    return lines


def _prerequisites(verdict: Verdict, paint: Paint) -> list[str]:
    views = verdict.status.prerequisites
    rows = [(view.name, view.result, view.host or "", view.message) for view in views]
    head, *padded = columns([("PREREQUISITE", "RESULT", "HOST", "MESSAGE"), *rows])
    lines = ["  ".join(head)]
    for view, (name, result, host, message) in zip(views, padded, strict=True):
        reason = f"{view.reason}: " if view.reason else ""
        lines.append("  ".join([name, paint(result, _RESULT_COLOURS.get(view.result)), host, reason + message]))
        if view.remedy:
            lines.append(f"  remedy: {plain(view.remedy)}")
    return lines
