"""Shows progress: redrawn in place on a terminal, or as lines of a log."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import TextIO

from vmferry.cli.terminal import width as places


class Screen:
    """Shows the progress of one object."""

    def __init__(
        self,
        out: TextIO,
        environment: Mapping[str, str],
        *,
        width: Callable[[], int] | None = None,
        dress: Callable[[str], str] = str,
    ) -> None:
        """`dress` colours a line of a frame after it was clipped to the width of the terminal."""
        self._out = out
        self._redraws = out.isatty() and environment.get("TERM") not in (None, "", "dumb")
        self._width = width or (lambda: columns_of(out))
        self._dress = dress
        self._drawn = 0
        self._last = ""

    def show(self, frame: Sequence[str], line: str) -> None:
        """Redraw `frame` on a terminal; otherwise print `line` if it has changed."""
        if not self._redraws:
            if line != self._last:
                self._out.write(f"{line}\n")
                self._out.flush()
            self._last = line
            return
        # a wrapped line would take two rows, and the next frame would start too low
        fitted = [fit(text, self._width() - 1) for text in frame]
        self._out.write(self._up() + "".join(f"{self._dress(text)}\n" for text in fitted))
        self._out.flush()
        self._drawn = len(fitted)

    def clear(self) -> None:
        """Erase the frame before the final message."""
        if self._drawn:
            self._out.write(self._up())
            self._out.flush()
            self._drawn = 0

    def _up(self) -> str:
        return f"\x1b[{self._drawn}F\x1b[J" if self._drawn else ""


def columns_of(out: TextIO) -> int:
    """The current width of the terminal behind `out`; the variable COLUMNS takes precedence."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns) > 0:
        return int(columns)
    try:
        return os.get_terminal_size(out.fileno()).columns or shutil.get_terminal_size().columns
    except (OSError, ValueError):
        return shutil.get_terminal_size().columns


def fit(text: str, width: int) -> str:
    """Clip text to a width on the terminal; wide characters count twice."""
    used = 0
    for index, char in enumerate(text):
        used += places(char)
        if used > max(1, width):
            return text[: max(0, index - 1)] + "…"
    return text
