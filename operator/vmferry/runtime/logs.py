"""Logs: one JSON object or one text per line; each line of a reconcile names its object; secrets never get through.

Texts of others are made harmless before a line is formatted, so no text can break a line, end it or forge another one.
"""

from __future__ import annotations

import json
import logging
import math
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from vmferry.redaction import redact
from vmferry.runtime.config import Log, LogFormat

logger = logging.getLogger(__name__)

#: what the running reconcile is about: object (kind, namespace and name), its uid, server and serverName, or host; of
#: the last attempt its number (attempt), Nova's ID of our request (requestId) and the UUID of Nova's record (migration)
_about: ContextVar[Mapping[str, str]] = ContextVar("about", default={})  # noqa: B039 - never changed, only replaced


@contextmanager
def about(fields: Mapping[str, str]) -> Iterator[None]:
    """All lines within, of this task and of what it starts, carry these fields too."""
    token = _about.set({**_about.get(), **fields})
    try:
        yield
    finally:
        _about.reset(token)


class Fields(logging.Filter):
    """Gives each record what `about` says."""

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            record.getMessage()
        except Exception:  # a library's mistake; the logging module would print it without any format
            record.msg, record.args = str(_clean([record.msg, record.args])), None
        for name, word in _about.get().items():
            if not hasattr(record, name):
                setattr(record, name, word)
        return True


#: what ends a line for some reader, steers a terminal, changes the order of what is shown, or is no character at all
_UNPRINTABLE = re.compile(
    r"[\x00-\x1f\x7f-\xa0\xad\u061c\u180e\u200b-\u200f\u2028-\u202f\u205f-\u206f\ud800-\udfff\ufeff\ufff9-\uffff"
    r"\U000e0000-\U000e0fff]"
)


def printable(text: str) -> str:
    """The text with such characters as JSON and Python write them: `\\u001b`, `\\n`."""
    return _UNPRINTABLE.sub(lambda match: _SHORT.get(match[0]) or json.dumps(match[0])[1:-1], text)


_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _clean(value: Any, depth: int = 5) -> Any:
    """What JSON can hold, without secrets."""
    if isinstance(value, bool | int | None):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if depth and isinstance(value, Mapping):
        return {redact(str(name)): _clean(inner, depth - 1) for name, inner in value.items()}
    if depth and isinstance(value, list | tuple | set | frozenset):
        return [_clean(inner, depth - 1) for inner in value]
    try:
        return redact(str(value))
    except Exception as error:
        return f"(a {type(value).__name__} that cannot be shown: {type(error).__name__})"


class _UTCTimes(logging.Formatter):
    """Times as RFC 3339 writes them, in UTC: `2026-01-31T12:00:00.123Z`."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 - logging's
        moment = datetime.fromtimestamp(record.created, UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _Json(_UTCTimes, JsonFormatter):
    """Cleans each field, whoever added it, before it becomes JSON."""

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        cleaned: dict[str, Any] = _clean(log_data)
        return cleaned

    def jsonify_log_record(self, log_data: dict[str, Any]) -> str:
        # within JSON such characters only stand in strings, where they may be written as escapes
        return printable(super().jsonify_log_record(log_data))


def _quoted(text: str) -> str:
    """A field's value, in quotes where it would look like several fields: a tenant chooses the names of servers."""
    return text if re.fullmatch(r"[^\s=\"\[\]]*", text) else json.dumps(text, ensure_ascii=False)


class _Text(_UTCTimes):
    """A line each; those of a traceback are indented, so that none of them looks like a line of the log."""

    def format(self, record: logging.LogRecord) -> str:
        record.message, record.asctime = redact(record.getMessage()), self.formatTime(record)
        fields = " ".join(f"{name}={_quoted(redact(str(getattr(record, name))))}" for name in _about.get())
        line = self.formatMessage(record) + (f" [{fields}]" if fields else "")
        traces = [self.formatException(record.exc_info)] if record.exc_info else []
        traces += [self.formatStack(record.stack_info)] if record.stack_info else []
        below = redact("\n".join(traces)).splitlines()
        return "\n".join([printable(line), *(f"    {printable(text)}" for text in below)])


def set_up(log: Log) -> None:
    """Everything goes to stderr; libraries are heard from `warning` on, unless debugging."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(Fields())
    handler.setFormatter(formatter(log.format))
    level = log.level.upper()
    logging.basicConfig(level="DEBUG" if level == "DEBUG" else "WARNING", handlers=[handler], force=True)
    logging.getLogger("vmferry").setLevel(level)
    _catch_the_rest()
    # these tell every request, with headers, when debugging
    for chatty in ("kubernetes", "aiohttp.access", "keystoneauth", "urllib3", "asyncio"):
        logging.getLogger(chatty).setLevel("WARNING")
    # warns of each connection above ten at once, which is only closed after its use
    logging.getLogger("urllib3.connectionpool").setLevel("ERROR")


def _catch_the_rest() -> None:
    """What Python would print to stderr by itself becomes lines of the log."""
    # an error while a line is written: its report would repeat what was to be written
    logging.raiseExceptions = False
    logging.captureWarnings(True)

    def of_process(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        logger.critical("the process ends by an error", exc_info=(kind, error, trace))

    def of_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
            logger.error("a thread has ended by an error", exc_info=args.exc_value)

    def unraisable(args: Any) -> None:
        logger.error("an error was ignored", exc_info=args.exc_value)

    sys.excepthook, threading.excepthook, sys.unraisablehook = of_process, of_thread, unraisable


def asked_as(request_id: str | None) -> dict[str, str]:
    """For `about`: the cloud's id of our request, where it gave one."""
    return {"requestId": request_id} if request_id else {}


def formatter(format_: LogFormat) -> logging.Formatter:
    if format_ is LogFormat.TEXT:
        return _Text("%(asctime)s %(levelname)s %(name)s: %(message)s")
    return _Json(
        "%(asctime)s %(levelname)s %(name)s %(message)s",
        rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
        json_ensure_ascii=False,
        # kopf hands its settings along when debugging: no words, and nothing that JSON can hold
        reserved_attrs=[*RESERVED_ATTRS, "settings"],
        json_default=str,
    )
