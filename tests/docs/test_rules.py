"""docs/design/rules.md defines each rule that is cited by number, and nothing that users read cites one."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

from docs.rules import KEPT_BY, PAGE, ROOT, SHOWN_BY, citations, defined
from vmferry.cli.ferry.arguments import parser

CODE = ("operator", "tests", "testbed")
NUMBER = re.compile(r"\b[RI]\d{1,2}\b")


def test_each_rule_that_is_cited_is_defined() -> None:
    cited = {rule: files for folder in CODE for rule, files in citations(folder).items()}
    assert not {rule: files for rule, files in cited.items() if rule not in defined()}


def test_each_rule_that_is_defined_is_shown_by_a_test_or_says_what_keeps_it() -> None:
    unshown = {rule for rule, (_, shown) in defined().items() if rule not in citations(*SHOWN_BY)}
    assert unshown == {rule for rule, (_, shown) in defined().items() if shown.startswith(KEPT_BY)}


def test_each_rule_is_kept_in_a_module_of_the_operator() -> None:
    assert not {rule for rule in defined() if rule not in citations("operator")}


def test_a_rule_is_one_entry_of_whole_sentences() -> None:
    rules = re.findall(r"^\| ([IR]\d+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rules) == len(set(rules)) == len(defined()) > 60
    for rule, (sentence, _) in defined().items():
        assert sentence[0].isupper() and sentence.endswith("."), rule


def read_by_users() -> list[Path]:
    """Every text that users read: pages, definitions, the chart, examples."""
    listed = subprocess.run(
        ["git", "ls-files", "README.md", "CHANGELOG.md", "docs/*.md", "crds", "helm/vmferry", "manifests"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found = [ROOT / name for name in listed.stdout.splitlines()]
    return [path for path in found if path.is_file() and not path.is_relative_to(PAGE.parent)]


def test_no_text_for_users_cites_a_number() -> None:
    texts = read_by_users()
    assert len(texts) > 80
    found = {str(path.relative_to(ROOT)): NUMBER.findall(path.read_text(encoding="utf-8")) for path in texts}
    assert not {name: numbers for name, numbers in found.items() if numbers}


def test_no_help_text_cites_a_number() -> None:
    actions = parser()._actions
    choices = [action.choices for action in actions if isinstance(action.choices, dict)]
    helps = [parser().format_help(), *(sub.format_help() for some in choices for sub in some.values())]
    assert len(helps) > 5 and not [text for text in helps if NUMBER.search(text)]


MODULES = [pytest.param(p, id=str(p.relative_to(ROOT))) for p in sorted((ROOT / "operator").rglob("*.py"))]


@pytest.mark.parametrize("path", MODULES)
def test_no_message_cites_a_number(path: Path) -> None:
    """A number may stand in comments and docstrings only: other strings become messages, remedies, descriptions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in bare
    ]
    assert not [text for text in texts if NUMBER.search(text)]
