"""What reaches a person's terminal: clean text, colours where they are wanted, progress where it is seen."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import TextIO

import click

from vmferry.resources.base import clip

#: seconds between two texts of progress: on a terminal, and as lines of a log
_REDRAW, _LINE = 0.2, 5.0
_ERASE = "\r\x1b[2K"


def plain(text: str) -> str:
    """One line without control characters, whoever wrote the text: the cloud's users name their servers."""
    return clip(text, 4096)


def wants_colour(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """On a terminal, unless NO_COLOR (no-color.org) or TERM=dumb says otherwise."""
    return stream.isatty() and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"


class Paint:
    """Colours, or none."""

    def __init__(self, on: bool) -> None:
        self._on = on

    def __call__(self, text: str, colour: str | None) -> str:
        return click.style(text, fg=colour) if self._on and colour else text


def columns(rows: Iterable[Sequence[str]]) -> list[list[str]]:
    """The rows with every cell but the last padded to its column's width."""
    listed = [[plain(cell) for cell in row] for row in rows]
    widths = [max(map(width, column)) for column in zip(*listed, strict=True)]
    return [
        [*(cell + " " * (wide - width(cell)) for cell, wide in zip(row[:-1], widths, strict=False)), row[-1]]
        for row in listed
    ]


def width(text: str) -> int:
    """Places on a terminal: East Asian characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


class Progress:
    """How far a long run is: one line that is drawn again on a terminal, else a line every few seconds."""

    def __init__(self, stream: TextIO, *, quiet: bool = False) -> None:
        self._stream = stream
        self._quiet = quiet
        self._terminal = stream.isatty()
        self._last = time.monotonic()
        self._drawn = False

    def show(self, text: str) -> None:
        """`text` is ours: it carries no words of the cloud."""
        now = time.monotonic()
        if self._quiet or now - self._last < (_REDRAW if self._terminal else _LINE):
            return
        self._last = now
        self._stream.write(f"{_ERASE}{text}" if self._terminal else f"{text}\n")
        self._stream.flush()
        self._drawn = self._terminal

    def line(self, text: str) -> None:
        """A line that stays."""
        if not self._quiet:
            self.clear()
            self._stream.write(f"{text}\n")
            self._stream.flush()

    def clear(self) -> None:
        """Before anything else is written."""
        if self._drawn:
            self._stream.write(_ERASE)
            self._stream.flush()
            self._drawn = False
