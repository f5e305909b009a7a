"""The language check counts the right words, and its ceilings only fall."""

from __future__ import annotations

import re

from docs.language import WORDS, count, lowered, read, tracked
from docs.language import Word as Entry

LOOK = Entry("look", re.compile(r"\blooks?\b(?! up\b)", re.IGNORECASE), "reconcile", 0, in_names=True, in_text=True)
ONE = Entry("one", re.compile(r"(?m)^one$"), "a noun", 0, in_names=True, in_text=False)

CODE = '''"""A look at it."""

one = lookUp("one look", LOOK_AGAIN)  # it looks again
'''


def test_names_are_split_and_text_is_counted_by_area() -> None:
    assert +count("a.py", CODE, [LOOK, ONE]) == {
        ("look", "names"): 1,
        ("look", "strings"): 1,
        ("look", "comments"): 2,
        ("one", "names"): 1,
    }, "`look up` is no such word"


def test_a_page_is_text() -> None:
    assert +count("a.md", "Look twice, then look up one.", [LOOK, ONE]) == {("look", "pages"): 1}


def test_a_ceiling_falls_and_never_rises() -> None:
    text = '[word.a]\ninstead = "x"\nceiling = 5\n\n[word."b c"]\npattern = "y"\ninstead = "x"\nceiling = 2\n'
    assert lowered(text, {"a": 3, "b c": 7}) == text.replace("ceiling = 5", "ceiling = 3")


def test_each_exception_names_a_file_that_counts_and_a_word() -> None:
    words, exceptions = read()
    files, names = set(tracked()), {word.name for word in words}
    assert len(names) > 25 and len(files) > 300
    for entry in exceptions:
        assert entry.word in names and entry.file in files and entry.why.endswith("."), entry
    assert lowered(WORDS.read_text(encoding="utf-8"), dict.fromkeys(names, 0)).count("ceiling = 0") == len(names)
