"""Output to a terminal: text without control characters, colours, and progress."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import TextIO

import click

from vmferry.resources.base import clip

#: seconds between two updates of the progress: on a terminal, and in a log
_REDRAW, _LINE = 0.2, 5.0
_ERASE = "\r\x1b[2K"


def plain(text: str) -> str:
    """Return one line without control characters. Text may come from users of the cloud, such as names of servers."""
    return clip(text, 4096)


def wants_colour(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether `stream` is a terminal and neither NO_COLOR (no-color.org) nor TERM=dumb is set."""
    return stream.isatty() and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"


class Paint:
    """Applies colours if they are switched on."""

    def __init__(self, on: bool) -> None:
        self._on = on

    def __call__(self, text: str, colour: str | None) -> str:
        return click.style(text, fg=colour) if self._on and colour else text


def columns(rows: Iterable[Sequence[str]]) -> list[list[str]]:
    """Pad every cell but the last of a row to the width of its column."""
    listed = [[plain(cell) for cell in row] for row in rows]
    widths = [max(map(width, column)) for column in zip(*listed, strict=True)]
    return [
        [*(cell + " " * (wide - width(cell)) for cell, wide in zip(row[:-1], widths, strict=False)), row[-1]]
        for row in listed
    ]


def width(text: str) -> int:
    """The width on a terminal: East Asian wide characters take two columns, combining characters none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


class Progress:
    """Progress of a long run: a line that is redrawn on a terminal, else a new line every few seconds."""

    def __init__(self, stream: TextIO, *, quiet: bool = False) -> None:
        self._stream = stream
        self._quiet = quiet
        self._terminal = stream.isatty()
        self._last = time.monotonic()
        self._drawn = False

    def show(self, text: str) -> None:
        """Show the progress. `text` must not contain text from the cloud, because it is printed as it is."""
        now = time.monotonic()
        if self._quiet or now - self._last < (_REDRAW if self._terminal else _LINE):
            return
        self._last = now
        self._stream.write(f"{_ERASE}{text}" if self._terminal else f"{text}\n")
        self._stream.flush()
        self._drawn = self._terminal

    def line(self, text: str) -> None:
        """Print a line that stays on the screen."""
        if not self._quiet:
            self.clear()
            self._stream.write(f"{text}\n")
            self._stream.flush()

    def clear(self) -> None:
        """Erase the progress line; to be called before any other output."""
        if self._drawn:
            self._stream.write(_ERASE)
            self._stream.flush()
            self._drawn = False
