"""Wraps long lines of a page between words, and indents the continuation to the last column."""

from __future__ import annotations

import re
from collections.abc import Iterable

from vmferry.cli.terminal import width as places

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
#: two or more spaces separate columns
_GAP = re.compile(r"(?<=\S) {2,}(?=\S)")


def wrap(lines: Iterable[str], width: int) -> list[str]:
    """Wrap lines to at most `width` columns of the terminal, where the words are short enough."""
    return [part for line in lines for part in _wrapped(line, width)]


def _wrapped(line: str, width: int) -> list[str]:
    bare = _COLOUR.sub("", line)
    if places(bare) <= width:
        return [line]
    indent = len(bare) - len(bare.lstrip()) + 2
    columns = [gap.end() for gap in _GAP.finditer(bare) if gap.end() <= width // 2]
    hanging = " " * (columns[-1] if columns else min(indent, width // 2))
    # a single space separates words; two or more separate columns and are preserved
    first, *words = re.split(r"(?<=\S) (?=\S)", line)
    parts = [first]
    for word in words:
        longer = f"{parts[-1]} {word}"
        if places(_COLOUR.sub("", longer)) <= width:
            parts[-1] = longer
        else:
            parts.append(hanging + word)
    return parts
