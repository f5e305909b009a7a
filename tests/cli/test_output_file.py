"""The file of a report: written beside it under a name of its own, and moved there when it is complete."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path

import pytest

from vmferry.cli.run import _opened


def write(path: Path, text: str) -> None:
    with _opened(path, io.StringIO()) as stream:
        stream.write(text)


def test_no_link_leads_elsewhere(tmp_path: Path) -> None:
    """Whoever may write to the folder could have made links under every name that can be guessed."""
    precious = tmp_path / "precious"
    precious.write_text("precious")
    report = tmp_path / "folder" / "r.json"
    report.parent.mkdir()
    for name in (".r.json.unfinished", ".r.json.tmp", "r.json"):
        (report.parent / name).symlink_to(precious)
    write(report, "report")
    assert precious.read_text() == "precious"
    assert report.read_text() == "report" and not report.is_symlink()


def test_nobody_reads_it_before_it_is_complete_and_then_as_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with _opened(tmp_path / "r.json", io.StringIO()) as stream:
            (unfinished,) = tmp_path.iterdir()
            assert unfinished.stat().st_mode & 0o777 == 0o600
            stream.write("x")
        assert (tmp_path / "r.json").stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(before)


def test_two_runs_at_once_do_not_share_a_file(tmp_path: Path) -> None:
    report, both = tmp_path / "r.json", threading.Barrier(2)

    def run(text: str) -> None:
        with _opened(report, io.StringIO()) as stream:
            both.wait(30)
            stream.write(text)

    threads = [threading.Thread(target=run, args=(letter * 100_000,)) for letter in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert report.read_text() in ("a" * 100_000, "b" * 100_000)
    assert list(tmp_path.iterdir()) == [report]


def test_what_fails_midway_leaves_the_old_report(tmp_path: Path) -> None:
    report = tmp_path / "r.json"
    write(report, "old")
    with pytest.raises(ValueError, match="midway"), _opened(report, io.StringIO()):
        raise ValueError("midway")
    assert report.read_text() == "old" and list(tmp_path.iterdir()) == [report]
