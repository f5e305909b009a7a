"""README, CONTRIBUTING and docs/: links lead somewhere, manifests are valid, commands exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from helm.values import Values
from testbed.kubernetes.structural import violations
from vmferry.__main__ import main
from vmferry.cli.ferry.arguments import parser
from vmferry.resources.base import API_VERSION
from vmferry.resources.catalog import CATALOG
from vmferry.resources.crd import object_schema
from vmferry.runtime.config import Config, parse

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
EACH = [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES]

_BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_SCHEMAS = {kind.name: object_schema(kind) for kind in CATALOG.values()}
_MODELS = {kind.name: kind.model for kind in CATALOG.values()}
_FERRY = parser()
_LINK = re.compile(r"(?<!!)\[(?:[^\]\[]|\[[^\]]*\])*\]\(([^)\s]+)\)")


@cache
def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@cache
def prose(page: Path) -> str:
    """Without blocks of code."""
    return _BLOCK.sub("", text_of(page))


def blocks(page: Path, language: str | None = None) -> Iterator[str]:
    for indent, kind, body in _BLOCK.findall(text_of(page)):
        if language is None or kind == language:
            yield re.sub(rf"^{indent}", "", body, flags=re.MULTILINE)


@cache
def anchors(page: Path) -> set[str]:
    """As the usual renderers of Markdown make them of headings."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        same = sum(one == slug or (one.startswith(f"{slug}-") and one[len(slug) + 1 :].isdigit()) for one in found)
        found.add(f"{slug}-{same}" if same else slug)
    return found


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """Where the relative ones lead, and to which heading there."""
    for link in _LINK.findall(re.sub(r"`[^`\n]*`", "", prose(page))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        yield (page.parent / path).resolve() if path else page, anchor


@pytest.mark.parametrize("page", EACH)
def test_every_relative_link_leads_to_something(page: Path) -> None:
    broken = [
        f"{target.relative_to(ROOT)}#{anchor}"
        for target, anchor in links(page)
        if not target.exists() or (anchor and anchor not in anchors(target))
    ]
    assert not broken


def test_every_page_is_reached_from_the_index() -> None:
    """By links, one after another; a link to a folder is one to all its pages."""
    seen: set[Path] = set()
    left = [DOCS / "README.md"]
    while left:
        page = left.pop()
        if page in seen or not page.exists():
            continue
        seen.add(page)
        if page.suffix == ".md":
            left += [target for target, _ in links(page)]
        elif page.is_dir():
            left += page.glob("*.md")
    assert not [page.name for page in DOCS.rglob("*.md") if page not in seen], "add a line to docs/README.md"


@pytest.mark.parametrize("page", EACH)
def test_every_manifest_of_ours_is_one_that_the_api_server_takes(page: Path) -> None:
    for block in blocks(page, "yaml"):
        for document in yaml.safe_load_all(block):
            if not isinstance(document, dict) or document.get("apiVersion") != API_VERSION:
                continue
            kind = document["kind"]
            assert not list(violations(document, _SCHEMAS[kind]))
            _MODELS[kind].model_validate(document)


def laid_over(default: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """As Helm does it; what only the configuration has is left to `parse`."""
    merged = dict(default)
    for name, value in values.items():
        if name != "config":
            inner = default.get(name)
            merged[name] = laid_over(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged


@pytest.mark.parametrize("page", EACH)
def test_every_configuration_and_every_file_of_values_is_valid(page: Path) -> None:
    keys = {field.alias or name for name, field in Config.model_fields.items()}
    for block in blocks(page, "yaml"):
        for document in yaml.safe_load_all(block):
            if not isinstance(document, dict) or "apiVersion" in document or "kind" in document:
                continue
            if set(document) <= keys:
                parse(document, {})
            elif "config" in document:
                default = yaml.safe_load(text_of(ROOT / "helm" / "vmferry" / "values.yaml"))
                Values.model_validate(laid_over(default, document))
                parse(document["config"], {})


def commands(page: Path, program: str) -> Iterator[list[str]]:
    """Each `program …` in code, as words, up to what a shell would end it with."""
    code = [*blocks(page), *re.findall(r"`([^`\n]+)`", prose(page))]
    code += re.findall(r"^    (\S.*)$", prose(page), re.MULTILINE)
    for text in code:
        for line in text.replace("\\\n", " ").splitlines():
            start = rf"(?:^|(?<=[;&|(]) *)(?:\$ )?(?:[A-Z_]+=\S+ )*{program} ([^;&|>()]*)"
            for rest in re.findall(start, line.strip()):
                try:
                    yield shlex.split(rest, comments=True)
                except ValueError:
                    yield rest.split()


@pytest.mark.parametrize("page", EACH)
def test_every_make_target_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
    for words in commands(page, "make"):
        named = [word for word in words if re.fullmatch(r"[a-z0-9-]+", word)]
        assert set(named[:1]) <= targets, f"make {' '.join(words)}"


def understood(words: list[str]) -> bool:
    """Whether kubectl ferry takes the words; those in capitals stand for something. A command alone is just named."""
    if len(words) == 1:
        words = [*words, "--help"]
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        try:
            _FERRY.parse_args(words)
        except SystemExit as end:
            return end.code == 0
    return True


#: what ends a command in a sentence about it, or stands for more
_UNFINISHED = {"…", "..."}


@pytest.mark.parametrize("page", EACH)
def test_every_kubectl_ferry_is_understood(page: Path) -> None:
    for words in commands(page, "kubectl ferry"):
        shown = ["x" if word in _UNFINISHED else word for word in words]
        shown = [word.split("|")[0] for word in shown]
        if shown and shown[0] != "preflight":
            assert understood(shown), f"kubectl ferry {' '.join(words)}"


@pytest.mark.parametrize("page", EACH)
def test_every_vmferry_command_is_understood(page: Path) -> None:
    for words in commands(page, "vmferry"):
        if not words or words[0] not in main.commands:
            assert not words or not re.fullmatch(r"[a-z]+", words[0]), f"vmferry {' '.join(words)}"
            continue
        command: click.Command = main.commands[words[0]]
        given: list[Any] = [word for word in words[1:] if word not in _UNFINISHED]
        if given:
            command.make_parser(click.Context(command)).parse_args(args=given)


def test_the_checks_see_what_is_wrong(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A heading: with `code`\n\n[a](#a-heading-with-code) [b](gone.md)\n\n"
        "```\n$ make nothing | cat\nkubectl ferry live --hosts a x\nvmferry preflight --al\n```\n"
    )
    assert [(target.name, target.exists()) for target, _ in links(page)] == [("page.md", True), ("gone.md", False)]
    assert anchors(page) == {"a-heading-with-code"}
    assert list(commands(page, "make")) == [["nothing"]]
    assert not understood(next(commands(page, "kubectl ferry")))
    with pytest.raises(click.NoSuchOption):
        test_every_vmferry_command_is_understood(page)
