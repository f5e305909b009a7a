"""Absurd arguments of `vmferry`: exit status 2 and one clean line, before anything is asked."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from vmferry.__main__ import main
from vmferry.cli import preflight
from vmferry.cli.plain_errors import LONGEST
from vmferry.cli.run import Options, PreflightError, run
from vmferry.cli.select import Selection
from vmferry.planning.request import Request
from vmferry.resources.words import MigrationType

ABSURD = {
    "empty": "",
    "a space": " ",
    "hostile": "\x1b[2J\x9b31m\u202e\r\n\x07",
    "no UTF-8": "\udcff\udc9b",
    "huge": "a" * 100_000,
    "an option of nobody": "--nobody",
}
COMMANDS: tuple[Callable[[str], list[str]], ...] = (
    lambda x: [x],
    lambda x: ["preflight", x],
    lambda x: ["preflight", x, "--project", "p", "--host", "h"],
    lambda x: ["preflight", "--type", x],
    lambda x: ["preflight", "--all", "--target", "h", "--output", x],
    lambda x: ["preflight", f"--{x}"],
    lambda x: ["operator", "--config", f"/nowhere/{x}"],
    lambda x: ["operator", x],
    lambda x: ["uninstall-check", x],
    lambda x: ["version", x],
)


def unusable(error: str) -> None:
    """One complaint, in one clean line that is the last one."""
    assert error.replace("\n", "").isprintable() and "Traceback" not in error
    (line,) = [line for line in error.splitlines() if line.startswith("Error: ")]
    assert error.endswith(f"{line}\n") and len("Error: ") < len(line) < LONGEST + 100


@pytest.mark.parametrize("absurd", ABSURD)
def test_no_argument_ends_in_a_traceback(absurd: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "end", lambda options: pytest.fail(f"these were taken: {options}"))
    for command in COMMANDS:
        words = command(ABSURD[absurd])
        done = CliRunner().invoke(main, words)
        assert (done.exit_code, done.stdout) == (2, ""), (words, done.output)
        unusable(done.stderr)


def test_without_arguments_there_is_the_help() -> None:
    assert "\n  preflight " in CliRunner().invoke(main, []).output


def test_preflight_by_itself_as_the_plug_in_runs_it() -> None:
    done = CliRunner().invoke(preflight.preflight, ["--all", "x\x1b[2J\r"])
    assert done.exit_code == 2
    unusable(done.stderr)


@pytest.mark.parametrize("absurd", ["hostile", "no UTF-8", "huge", "empty"])
def test_no_file_or_cloud_of_preflight_ends_in_a_traceback(absurd: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OS_CLOUD", raising=False)
    text, every = ABSURD[absurd], Selection(everything=True)
    request = Request(MigrationType.AUTO, attested=None)
    for options in (
        Options(every, request, config=Path(f"/nowhere/{text}")),
        Options(every, request, cloud=text, clouds_file=Path("/nowhere/clouds.yaml")),
        Options(every, request, cloud="x", clouds_file=Path(f"/nowhere/{text}")),
    ):
        with pytest.raises(PreflightError) as caught:
            run(options, {}, io.StringIO(), io.StringIO())
        assert str(caught.value).isprintable() and str(caught.value).strip()
        assert len(str(caught.value)) < 5000


def test_an_unknown_key_that_looks_like_a_secret_is_told_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("cloud: {password: hunter2}")
    with pytest.raises(PreflightError, match=r"cloud\.password: no such key$"):
        run(Options(Selection(everything=True), Request(attested=None), config=path), {}, io.StringIO(), io.StringIO())
