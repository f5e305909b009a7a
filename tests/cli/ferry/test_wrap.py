"""Long lines of a page on a terminal."""

from __future__ import annotations

import pytest

from vmferry.cli.ferry.wrap import wrap

#: English sentence: width, line, its parts
LINES: dict[str, tuple[int, str, list[str]]] = {
    "what fits stays": (12, "twelve chars", ["twelve chars"]),
    "words go on below their column": (
        24,
        "  remedy  ask its owner to unlock it",
        ["  remedy  ask its owner", "          to unlock it"],
    ),
    "the last column counts": (
        30,
        "1  cmp3  OSMismatch of the two hosts here",
        ["1  cmp3  OSMismatch of the two", "         hosts here"],
    ),
    "text without columns is indented": (14, "one two three four five", ["one two three", "  four five"]),
    "an empty line stays": (5, "", [""]),
    "a long word is the terminal's to break": (8, "  a 0123456789 b", ["  a", "    0123456789", "    b"]),
    "a column far to the right is none to go on below": (
        20,
        "a-name-of-some-length  and what it says",
        ["a-name-of-some-length  and", "  what it says"],
    ),
    "colours take no place": (12, "\x1b[31mtwelve\x1b[0m chars", ["\x1b[31mtwelve\x1b[0m chars"]),
    "wide characters take two places": (10, "日本語 日本語", ["日本語", "  日本語"]),
}


@pytest.mark.parametrize("sentence", LINES)
def test_it_is_folded(sentence: str) -> None:
    width, line, parts = LINES[sentence]
    assert wrap([line], width) == parts
