"""A terminal's screen as a self-contained SVG picture."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

import pyte
from pyte.screens import Char

from vmferry.cli.terminal import width as places

_BACKGROUND, _FOREGROUND, _FRAME = "#11151c", "#d8dee9", "#3b4252"
#: the named colours of a terminal, readable on the background
_COLOURS = {
    "black": "#4c566a",
    "red": "#f07178",
    "green": "#a3d977",
    "brown": "#ffcb6b",  # the standard's name for dark yellow
    "blue": "#82aaff",
    "magenta": "#c792ea",
    "cyan": "#7fdbca",
    "white": "#d8dee9",
}
_COLOURS |= {f"bright{name}": colour for name, colour in _COLOURS.items()}
_FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace"
_SIZE, _LINE, _PADDING, _BAR = 14, 20, 16, 28
#: width of a character in such a font; each run of text is stretched to it, whatever font is used
_CELL = 8.4


@dataclass(frozen=True, slots=True)
class Run:
    """Adjacent characters of the same style; `column` is the column of the first."""

    column: int
    text: str
    cells: int
    colour: str
    bold: bool


def rows(screen: pyte.Screen) -> list[list[Run]]:
    """The screen's lines, without empty lines at the end."""
    found = [list(_runs([screen.buffer[y][x] for x in range(screen.columns)])) for y in range(screen.lines)]
    while found and not found[-1]:
        found.pop()
    return found


def _runs(line: Sequence[Char]) -> Iterator[Run]:
    def style(cell: tuple[int, Char]) -> tuple[str, bool]:
        return cell[1].fg, cell[1].bold

    for (colour, bold), cells in itertools.groupby(enumerate(line), style):
        listed = list(cells)
        # runs are split at wide gaps, so that letters stay near their columns in a slightly wider font
        text = "".join(char.data for _, char in listed)
        for match in re.finditer(r"\S+(?: \S+)*", text):
            words = match[0]
            yield Run(listed[0][0] + match.start(), words, places(words), colour, bold)


def svg(screen: pyte.Screen, title: str) -> str:
    """Return the picture as text; `title` is its accessible name and the text of the window's bar."""
    found = rows(screen)
    cells = max([run.column + run.cells for row in found for run in row] + [places(title) + 8])
    width, height = round(cells * _CELL + 2 * _PADDING), len(found) * _LINE + 2 * _PADDING + _BAR
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
        f' role="img" aria-label={quoteattr(title)}>',
        f"<title>{escape(title)}</title>",
        f'<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8" fill="{_BACKGROUND}"'
        f' stroke="{_FRAME}"/>',
        *(f'<circle cx="{18 + 16 * n}" cy="16" r="5" fill="{_FRAME}"/>' for n in range(3)),
        f'<g font-family={quoteattr(_FONT)} font-size="{_SIZE}" fill="{_FOREGROUND}" xml:space="preserve">',
        f'<text x="{width / 2:g}" y="21" font-size="12" text-anchor="middle" opacity="0.6">{escape(title)}</text>',
    ]
    for number, row in enumerate(found):
        for run in row:
            look = f' fill="{_COLOURS[run.colour]}"' if run.colour in _COLOURS else ""
            look += ' font-weight="bold"' if run.bold else ""
            y = _BAR + _PADDING + number * _LINE + _SIZE
            place = f'x="{_PADDING + run.column * _CELL:g}" y="{y}" textLength="{run.cells * _CELL:g}"'
            lines.append(f'<text {place} lengthAdjust="spacingAndGlyphs"{look}>{escape(run.text)}</text>')
    return "\n".join([*lines, "</g>", "</svg>", ""])
