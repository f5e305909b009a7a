"""`make test` goes on after a failed part, and says at its end what failed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.everything import Part, parts, run


def _python(program: str) -> tuple[str, ...]:
    return (sys.executable, "-c", program)


GOOD = _python("print('tests/test_a.py::test_x PASSED')")
BAD = _python("print('FAILED tests/test_b.py::test_y - assert 1 == 2'); raise SystemExit(1)")


@pytest.mark.parametrize(
    ("first", "beside", "failed"),
    [
        pytest.param(GOOD, GOOD, [], id="all pass"),
        pytest.param(BAD, GOOD, ["first"], id="the first one fails, and the others run all the same"),
        pytest.param(GOOD, BAD, ["beside"], id="one that runs beside the others fails"),
        pytest.param(BAD, BAD, ["first", "beside"], id="several fail, and all are named"),
    ],
)
def test_what_failed(
    first: tuple[str, ...],
    beside: tuple[str, ...],
    failed: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ran = _python(f"open({str(tmp_path / 'ran')!r}, 'w')")
    found = run([Part("first", first), Part("beside", beside, beside=True), Part("last", ran)], tmp_path / "logs")
    assert sorted(found) == sorted(failed)
    assert all("tests/test_b.py::test_y" in what for what in found.values())
    assert (tmp_path / "ran").exists()
    assert "== beside" in capsys.readouterr().out


def test_the_parts_are_all_there_is_to_test() -> None:
    names = [part.name for part in parts()]
    assert names == ["lint", "unit", "servers", "nova", "end-to-end", "attacks", "breakers-and-pipelines"]
