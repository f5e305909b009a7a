"""Each generated file is current."""

from __future__ import annotations

from pathlib import Path

import pytest

from release import generate
from release.generate import ROOT, files, stale


@pytest.mark.parametrize("path", [pytest.param(path, id=str(path.relative_to(ROOT))) for path in files()])
def test_the_committed_file_is_what_make_generate_writes(path: Path) -> None:
    assert path.is_file() and path.read_text(encoding="utf-8") == files()[path], "run `make generate` and commit it"


def test_no_generated_file_is_left_over() -> None:
    assert set(stale()) <= files().keys()


def test_check_names_what_is_not_current(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    path = next(iter(files()))
    monkeypatch.setattr(generate, "files", lambda: {**files(), path: "something else"})
    assert generate.main(check=True) == 1
    assert f"{path.relative_to(ROOT)} is not current" in capsys.readouterr().out
