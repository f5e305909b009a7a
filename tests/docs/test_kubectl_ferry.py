"""docs/kubectl-ferry.md says what the help says, its examples are command lines, its pictures are whole."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path
from xml.etree import ElementTree

import pytest

from vmferry.cli.ferry.arguments import EXIT_STATUS, parser

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "kubectl-ferry.md"
TEXT = PAGE.read_text()
PICTURES = sorted((ROOT / "docs" / "pictures").glob("*.svg"))
#: on every command, and told once
COMMON = {"-h", "--help", "-n", "--namespace", "--context", "--kubeconfig", "--class"}


def commands() -> dict[str, tuple[argparse.ArgumentParser, str]]:
    """Each command's parser and the words of help for it."""
    (group,) = (one for one in parser()._actions if isinstance(one, argparse._SubParsersAction))
    told = {action.dest: action.help or "" for action in group._choices_actions}
    return {name: (command, told[name]) for name, command in group.choices.items()}


def row(name: str, command: argparse.ArgumentParser, told: str) -> str:
    """A command's line of the table."""
    places = [
        f"[{action.metavar or action.dest}]" if action.nargs == "?" else str(action.metavar or action.dest)
        for action in command._actions
        if not action.option_strings and command.add_help
    ]
    options = [
        f"`{next(word for word in action.option_strings if word[:2] == '--')}`"
        for action in command._actions
        if action.option_strings and not COMMON & set(action.option_strings)
    ]
    usage = " ".join([name, *places]).replace("|", "\\|")
    return f"| `{usage}` | {told} | {' '.join(options)} |"


def test_each_command_and_option_is_in_the_table() -> None:
    missing = [line for name, (command, told) in commands().items() if (line := row(name, command, told)) not in TEXT]
    assert not missing, "write into docs/kubectl-ferry.md:\n" + "\n".join(missing)


def test_each_exit_status_is_told_in_the_same_words() -> None:
    statuses = re.findall(r"^  (\d+) +(.*(?:\n {7}.*)*)", EXIT_STATUS, re.MULTILINE)
    assert len(statuses) == 4
    for number, words in statuses:
        assert f"| {number} | {' '.join(words.split())} |" in TEXT


def examples() -> list[str]:
    blocks = "\n".join(re.findall(r"```\w*\n(.*?)```", TEXT, re.DOTALL))
    return re.findall(r"^\$ kubectl ferry (.*)$", blocks, re.MULTILINE)


@pytest.mark.parametrize("example", examples())
def test_an_example_is_a_command_line(example: str) -> None:
    words = shlex.split(example, comments=True)
    if words[0] != "preflight":  # its words are another program's
        parser().parse_args(list(_before_redirection(words)))


def _before_redirection(words: list[str]) -> list[str]:
    ends = [n for n, word in enumerate(words) if word in (">", "|", "&&", "||")]
    return words[: ends[0]] if ends else words


def test_each_command_has_an_example() -> None:
    assert {shlex.split(one, comments=True)[0] for one in examples()} == commands().keys()


def test_there_are_pictures() -> None:
    shown = set(re.findall(r"\((pictures/[\w-]+\.svg)\)", TEXT))
    assert shown == {f"pictures/{path.name}" for path in PICTURES} and len(shown) >= 4


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.name)
def test_a_picture_needs_nothing_from_elsewhere(path: Path) -> None:
    text = path.read_text()
    root = ElementTree.fromstring(text)
    assert root.get("aria-label", "").startswith("kubectl ferry ")
    assert set(re.findall(r"\w+://[^\s\"'<]*", text)) == {"http://www.w3.org/2000/svg"}, (
        "the format's name, and no address"
    )
    tags = {str(one.tag).rpartition("}")[2] for one in root.iter()}
    assert tags == {"svg", "title", "rect", "circle", "g", "text"}, "neither scripts nor images nor fonts"
    assert not re.search(r"Traceback|error|/root|/tmp|/home", text)
