"""Logs: a line of JSON each, or text; every line of a pass says what it is about; secrets never get through."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from vmferry.redaction import redact
from vmferry.runtime.config import Log, LogFormat

#: what the running pass is about: object (kind, namespace and name), its uid, server or host; of the last attempt its
#: number (attempt), Nova's id of our request (requestId) and the UUID of Nova's record (migration)
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
        for name, word in _about.get().items():
            if not hasattr(record, name):
                setattr(record, name, word)
        return True


class _Json(JsonFormatter):
    """Redacts the finished line, so that no field and no traceback is forgotten."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = " ".join(f"{name}={getattr(record, name)}" for name in _about.get())
        return redact(super().format(record) + (f" [{fields}]" if fields else ""))


def set_up(log: Log) -> None:
    """Everything goes to stderr; libraries are heard from `warning` on, unless debugging."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(Fields())
    handler.setFormatter(formatter(log.format))
    level = log.level.upper()
    logging.basicConfig(level="DEBUG" if level == "DEBUG" else "WARNING", handlers=[handler], force=True)
    logging.getLogger("vmferry").setLevel(level)
    # these tell every request, with headers, when debugging
    for chatty in ("kubernetes", "aiohttp.access", "keystoneauth", "urllib3", "asyncio"):
        logging.getLogger(chatty).setLevel("WARNING")
    # warns of each connection above ten at once, which is only closed after its use
    logging.getLogger("urllib3.connectionpool").setLevel("ERROR")


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
