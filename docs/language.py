"""Counts the words that docs/language.toml replaces: `python -m docs.language`, part of `make lint`.

Each word has a ceiling that may only be lowered: the check fails where a word is used more often. `python -m
docs.language --lower` writes the current counts as the new ceilings.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tokenize
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORDS = ROOT / "docs" / "language.toml"
#: generated from strings in the code, which are counted there
_GENERATED = re.compile(r"docs/(metrics|events)\.md|docs/reference/(?!conditions)|crds/")
#: files that a newcomer reads; the change log of old releases is not changed
_SOURCES = ("*.py", "*.md", "*.toml", "Makefile", "helm/**/*.yaml", "helm/**/*.txt", "manifests/**/*.yaml")
_NOT_READ = re.compile(r"docs/language\.(py|toml)$|tests/docs/test_language\.py$|constraints|\bCHANGELOG\.md$")
AREAS = ("names", "strings", "comments", "pages")


@dataclass(frozen=True, slots=True)
class Word:
    """A pattern to avoid; in names it is compared with each part of an identifier."""

    name: str
    pattern: re.Pattern[str]
    #: the replacement
    instead: str
    ceiling: int
    #: whether it counts in identifiers, and in text
    in_names: bool
    in_text: bool


@dataclass(frozen=True, slots=True)
class Allowed:
    """A justified use: the number of uses in a file, and the reason."""

    word: str
    file: str
    count: int
    why: str


def read(path: Path = WORDS) -> tuple[list[Word], list[Allowed]]:
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    words = [
        Word(
            name,
            re.compile(entry.get("pattern", rf"\b{name}\b"), re.IGNORECASE),
            entry["instead"],
            entry["ceiling"],
            entry.get("names", True),
            entry.get("text", True),
        )
        for name, entry in content["word"].items()
    ]
    return words, [Allowed(**entry) for entry in content.get("exception", ())]


def pieces(name: str, text: str) -> Iterator[tuple[str, str]]:
    """Yield the text of a file by area. Identifiers are split into parts: `lookOut` and `LOOK_OUT` become `look
    out`."""
    if not name.endswith(".py"):
        yield "pages", text
        return
    kinds = {tokenize.STRING: "strings", tokenize.COMMENT: "comments"}
    statement_begins = True
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME:
            yield "names", re.sub(r"_|(?<=[a-z0-9])(?=[A-Z])", " ", token.string).strip()
        elif token.type in kinds:
            docstring = token.type == tokenize.STRING and statement_begins
            yield "comments" if docstring else kinds[token.type], token.string
        if token.type not in (tokenize.COMMENT, tokenize.NL):
            statement_begins = token.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING)


def count(name: str, text: str, words: list[Word]) -> Counter[tuple[str, str]]:
    """Count the uses of each word in a file, by word and area."""
    found: Counter[tuple[str, str]] = Counter()
    texts: dict[str, list[str]] = {area: [] for area in AREAS}
    for area, piece in pieces(name, text):
        texts[area].append(piece)
    for area, some in texts.items():
        whole = "\n".join(some)
        for word in words:
            if word.in_names if area == "names" else word.in_text:
                found[word.name, area] += sum(1 for _ in word.pattern.finditer(whole))
    return found


def tracked() -> Iterator[str]:
    """The files to count, by their path in the repository."""
    listed = subprocess.run(["git", "ls-files", *_SOURCES], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in sorted(set(listed.stdout.splitlines())):
        if not _GENERATED.search(name) and not _NOT_READ.search(name) and (ROOT / name).is_file():
            yield name


def unjustified(words: list[Word], exceptions: list[Allowed]) -> tuple[dict[str, Counter[str]], list[str]]:
    """Return uses of each word by area, without justified ones, and the exceptions that are no longer needed."""
    found: dict[str, Counter[str]] = {word.name: Counter() for word in words}
    allowed = {(entry.word, entry.file): entry.count for entry in exceptions}
    for name in tracked():
        for (word, area), number in count(name, (ROOT / name).read_text(encoding="utf-8"), words).items():
            right = min(number, allowed.get((word, name), 0))
            if right:
                allowed[word, name] -= right
            found[word][area] += number - right
    return found, [f"{word} in {file}: {left} fewer than allowed" for (word, file), left in allowed.items() if left]


def lowered(content: str, counts: Mapping[str, int]) -> str:
    """Return docs/language.toml with ceilings that do not exceed the counts."""

    def row(match: re.Match[str]) -> str:
        return f"{match[1]}{min(int(match[3]), counts[match[2]])}"

    return re.sub(r"(?m)^(\[word\.\"?([^\]\"]+)\"?\]\n(?:(?!\[)(?!ceiling).*\n)*ceiling = )(\d+)", row, content)


def main(arguments: list[str]) -> int:
    words, exceptions = read()
    found, unused = unjustified(words, exceptions)
    totals = {name: sum(areas.values()) for name, areas in found.items()}
    if "--lower" in arguments:
        WORDS.write_text(lowered(WORDS.read_text(encoding="utf-8"), totals), encoding="utf-8")
    if arguments:
        print(f"{'word':22}{'ceiling':>8}{'total':>7}" + "".join(f"{area:>10}" for area in AREAS))
        for word in words:
            areas = "".join(f"{found[word.name][area]:>10}" for area in AREAS)
            print(f"{word.name:22}{word.ceiling:>8}{totals[word.name]:>7}{areas}")
        print(f"{'all':22}{sum(word.ceiling for word in words):>8}{sum(totals.values()):>7}")
    over = [word for word in words if totals[word.name] > word.ceiling]
    for word in over:
        print(f"'{word.name}' is used {totals[word.name]} times, at most {word.ceiling} are allowed: {word.instead}")
    for line in unused:
        print(f"docs/language.toml: an exception for {line}")
    return 1 if over or unused else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
