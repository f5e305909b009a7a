"""Log set-up: one JSON object or text per line. Each line of a reconcile names its object, and secrets are removed.

External text is escaped before a line is formatted, so it cannot end a line or forge another line.
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

#: log fields of the current reconcile: object (kind, namespace and name), its uid, and server and serverName, or host;
#: of the last attempt: its number (attempt), Nova's ID of our request (requestId) and the UUID of Nova's migration
#: record (migration)
_about: ContextVar[Mapping[str, str]] = ContextVar("about", default={})  # noqa: B039 - never changed, only replaced


@contextmanager
def about(fields: Mapping[str, str]) -> Iterator[None]:
    """Add these fields to all log lines within the context, of this task and of tasks that it starts."""
    token = _about.set({**_about.get(), **fields})
    try:
        yield
    finally:
        _about.reset(token)


class Fields(logging.Filter):
    """Adds the fields of `about` to each record."""

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            record.getMessage()
        except Exception:  # a wrong log call of a library; the logging module would print it without our format
            record.msg, record.args = str(_clean([record.msg, record.args])), None
        for name, word in _about.get().items():
            if not hasattr(record, name):
                setattr(record, name, word)
        return True


#: characters that some reader takes for a line end, terminal control characters, bidirectional and invisible
#: characters, and code points that are not characters
_UNPRINTABLE = re.compile(
    r"[\x00-\x1f\x7f-\xa0\xad\u061c\u180e\u200b-\u200f\u2028-\u202f\u205f-\u206f\ud800-\udfff\ufeff\ufff9-\uffff"
    r"\U000e0000-\U000e0fff]"
)


def printable(text: str) -> str:
    """The text with such characters escaped as in JSON and Python: `\\u001b`, `\\n`."""
    return _UNPRINTABLE.sub(lambda match: _SHORT.get(match[0]) or json.dumps(match[0])[1:-1], text)


_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _clean(value: Any, depth: int = 5) -> Any:
    """The value as JSON types, without secrets."""
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
    """Formats times as RFC 3339 in UTC: `2026-01-31T12:00:00.123Z`."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 - logging's
        moment = datetime.fromtimestamp(record.created, UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _Json(_UTCTimes, JsonFormatter):
    """Formats a record as JSON, after secrets are removed from all of its fields."""

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        cleaned: dict[str, Any] = _clean(log_data)
        return cleaned

    def jsonify_log_record(self, log_data: dict[str, Any]) -> str:
        # in JSON such characters occur only within strings, where escapes are allowed
        return printable(super().jsonify_log_record(log_data))


def _quoted(text: str) -> str:
    """A field's value, in quotes if it could look like several fields; tenants choose the names of servers."""
    return text if re.fullmatch(r"[^\s=\"\[\]]*", text) else json.dumps(text, ensure_ascii=False)


class _Text(_UTCTimes):
    """Formats a record as one line. Lines of a traceback are indented, so that none looks like a log line."""

    def format(self, record: logging.LogRecord) -> str:
        record.message, record.asctime = redact(record.getMessage()), self.formatTime(record)
        fields = " ".join(f"{name}={_quoted(redact(str(getattr(record, name))))}" for name in _about.get())
        line = self.formatMessage(record) + (f" [{fields}]" if fields else "")
        traces = [self.formatException(record.exc_info)] if record.exc_info else []
        traces += [self.formatStack(record.stack_info)] if record.stack_info else []
        below = redact("\n".join(traces)).splitlines()
        return "\n".join([printable(line), *(f"    {printable(text)}" for text in below)])


def set_up(log: Log) -> None:
    """Log to stderr. Libraries log from level `warning` on, or everything if the level is `debug`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(Fields())
    handler.setFormatter(formatter(log.format))
    level = log.level.upper()
    logging.basicConfig(level="DEBUG" if level == "DEBUG" else "WARNING", handlers=[handler], force=True)
    logging.getLogger("vmferry").setLevel(level)
    _catch_the_rest()
    # on level `debug` these log every request with its headers
    for chatty in ("kubernetes", "aiohttp.access", "keystoneauth", "urllib3", "asyncio"):
        logging.getLogger(chatty).setLevel("WARNING")
    # it warns about each connection above ten at once, but those are just closed after use
    logging.getLogger("urllib3.connectionpool").setLevel("ERROR")


def _catch_the_rest() -> None:
    """Log the errors and warnings that Python would otherwise print to stderr."""
    # the report of an error while a line is written would contain the unredacted text
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
    """The field for `about` with OpenStack's ID of our request; empty if it is unknown."""
    return {"requestId": request_id} if request_id else {}


def formatter(format_: LogFormat) -> logging.Formatter:
    if format_ is LogFormat.TEXT:
        return _Text("%(asctime)s %(levelname)s %(name)s: %(message)s")
    return _Json(
        "%(asctime)s %(levelname)s %(name)s %(message)s",
        rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
        json_ensure_ascii=False,
        # on level `debug` kopf adds its settings object to records, which is useless and not JSON-serializable
        reserved_attrs=[*RESERVED_ATTRS, "settings"],
        json_default=str,
    )
