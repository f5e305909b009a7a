"""Each promise of docs/security.md names a test, and each of these tests is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECTION = (ROOT / "docs/security.md").read_text().partition("## What is promised")[2].partition("\n## ")[0]
PROMISES = dict(re.findall(r"^\| ([^|]+?) \| ([^|]+?) \|$", SECTION, re.MULTILINE)[1:])


@pytest.mark.parametrize("promise", PROMISES)
def test_a_promise_is_tested(promise: str) -> None:
    tests = re.findall(r"`([^`:]+)::(\w+)`", PROMISES[promise])
    assert tests, "no test is named"
    for file, name in tests:
        source = (ROOT / file).read_text()
        assert re.search(rf"^(async )?def {name}\(", source, re.MULTILINE), f"{file} has no {name}"
        body = re.split(r"\n(?=[^\s)])", source.partition(f"def {name}(")[2], maxsplit=1)[0]
        assert re.search(r"\bassert\b|pytest\.raises|\.judge\(", body), f"{name} checks nothing"
        assert not re.search(r"pytest\.(mark\.)?(skip|xfail)", body)


def test_the_promises_were_found() -> None:
    assert len(PROMISES) >= 15
