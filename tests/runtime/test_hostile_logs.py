"""No text of others breaks a line of the log, forges one or brings a secret into it."""

from __future__ import annotations

import io
import json
import logging
import re
import subprocess
import sys
from typing import Any

import pytest

from tests.security.encodings import ENCODINGS, SECRETS_OF_MANY_SHAPES, traces
from vmferry.redaction import SECRETS
from vmferry.runtime.config import LogFormat
from vmferry.runtime.logs import Fields, about, formatter

HOSTILE = {
    "a lock reason that ends like a password": 'see password: "q',
    "a name that ends like a token": "token=",
    "a project that ends like a password": "password: ",
    "a JSON text": '{"password": "S3CRETvalue99"}',
    "a line of its own": 'x\n{"level": "CRITICAL", "message": "forged"}',
    "another platform's line": 'x\r\n{"level": "CRITICAL"}',
    "Unicode's line separators": 'x\u2028{"level": "CRITICAL"}\u2029\x85\x0b\x0c\x1c\x1d\x1e',
    "text that turns around": "x\u202egnp\u2066.exe\u200f\u061c",
    "a terminal's orders": "\x1b]0;pwn\x07\x1b[31mred\x9b2J",
    "half a character": "x\ud800y\udfff",
    "no character": "\ufffe\uffff\ufeff\U000e0041",
    "NUL": "a\x00b",
    "quotes and backslashes": '"}\\"}\\\\"} \\u0022',
    "formats": "%s %d %(levelname)s {0} ${jndi:ldap://x}",
}


def written(format_: LogFormat, *records: logging.LogRecord) -> str:
    """What stderr gets, in bytes and back, as a reader of any kind would split it."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace")
    handler = logging.StreamHandler(stream)
    handler.addFilter(Fields())
    handler.setFormatter(formatter(format_))
    for record in records:
        if handler.filter(record):
            handler.emit(record)
    stream.flush()
    stream.seek(0)
    return stream.read()


def record(message: object, *args: object, **extra: Any) -> logging.LogRecord:
    return logging.makeLogRecord(
        {"name": "vmferry.x", "levelname": "WARNING", "levelno": 30, "msg": message, "args": args, **extra}
    )


def raised(text: str) -> Any:
    try:
        raise ValueError(text) from KeyError(text)
    except ValueError:
        return sys.exc_info()


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_line_stays_one_line_of_json(text: str) -> None:
    with about({"object": f"VMMigration/team/{text}", "server": text}):
        out = written(
            LogFormat.JSON,
            record("it says: %s", text, exc_info=raised(text), odd={text: [text, {1, 2}]}, number=float("nan")),
            record({"a mapping": text}),
            record("wrong number of arguments %s %s", text),
        )
    lines = out.splitlines()
    assert len(lines) == 3, lines
    for line in lines:
        told = json.loads(line, parse_constant=lambda _: pytest.fail("no JSON"))
        assert {"time", "level", "logger", "message", "object", "server"} <= told.keys()
        assert told["level"] == "WARNING", "a hostile text changed a field"
        assert all(char.isprintable() or char == "\n" for char in line), "something steers a reader"


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_no_text_forges_a_line_of_a_text_log(text: str) -> None:
    forged = f"{text}\n2026-11-27T16:00:00.000Z INFO vmferry.runtime.elector: leading"
    with about({"object": forged}):
        out = written(LogFormat.TEXT, record("it says: %s", forged, exc_info=raised(forged)))
    first, *trace = out.splitlines()
    assert re.match(r"\d{4}-\d\d-\d\dT\S+Z WARNING vmferry\.x: it says: ", first)
    assert trace
    assert all(line.startswith("    ") for line in trace), "it looks like a line of the log"
    assert all(char.isprintable() or char == "\n" for char in out)


@pytest.mark.parametrize("format_", LogFormat)
@pytest.mark.parametrize("secret", SECRETS_OF_MANY_SHAPES.values(), ids=SECRETS_OF_MANY_SHAPES.keys())
def test_I33_no_known_secret_in_any_encoding_anywhere_in_a_line(secret: str, format_: LogFormat) -> None:
    SECRETS.add(secret)
    for name, encode in ENCODINGS.items():
        text = encode(secret)
        with about({"object": text}):
            out = written(format_, record("%s", text, exc_info=raised(text), extra_one=[text], extra_two={text: text}))
        assert "[redacted]" in out, name
        assert not [trace for trace in traces(secret) if trace in out], (name, out)


def test_what_looks_like_a_password_in_json_is_redacted_in_both_formats() -> None:
    for format_ in LogFormat:
        assert "S3CRETvalue99" not in written(format_, record('{"password": "S3CRETvalue99"}'))


def test_what_python_prints_by_itself_is_a_line_of_the_log_too() -> None:
    script = """
import threading, warnings, logging
from vmferry.redaction import SECRETS
from vmferry.runtime.config import Log
from vmferry.runtime.logs import set_up
set_up(Log())
SECRETS.add("S3CRET-of-the-test")
warnings.warn("careful: S3CRET-of-the-test")
def fail(): raise ValueError("a thread: S3CRET-of-the-test")
thread = threading.Thread(target=fail); thread.start(); thread.join()
class Odd:
    def __del__(self): raise ValueError("ignored: S3CRET-of-the-test")
Odd()
logging.getLogger("x").warning("%s %s", "too few: S3CRET-of-the-test")
raise RuntimeError("the end: S3CRET-of-the-test")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert len(lines) == 5, done.stderr
    assert "S3CRET" not in done.stderr
    assert done.returncode == 1
