"""Known vulnerabilities of what is pinned, as pip-audit tells; where that has no answer, that is what is said."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

TOOL = "pip-audit"
#: the tools of a release, pinned with their hashes like what is shipped: they run with the rights of who releases
TOOLS = Path(__file__).with_name("tools.txt")
_SECONDS = 300
_INSTALL = ("install", "--quiet", "--require-hashes", "--no-deps", "--requirement")

Run = Callable[[list[str]], "subprocess.CompletedProcess[str]"]


class NotLookedUpError(RuntimeError):
    """Nobody was there to answer; the message says who."""


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Without a shell, and not for ever. A command that does not end in time is one that failed."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"no answer within {_SECONDS} s")


def install(folder: Path, run: Run = run) -> Path:
    """The tool in an environment of its own. Raises NotLookedUpError."""
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [str(folder / "bin" / "python"), "-m", "pip", *_INSTALL, str(TOOLS)],
    ):
        if (done := run(command)).returncode != 0:
            raise NotLookedUpError(f"{TOOL} could not be installed: {_last(done)}")
    return folder / "bin" / TOOL


def known(tool: Path, constraints: Path, run: Run = run) -> list[str]:
    """A sentence for each vulnerability of a pinned version. Raises NotLookedUpError where not all were looked up."""
    options = ["--disable-pip", "--require-hashes", "--progress-spinner=off", "--format=json"]
    done = run([str(tool), *options, "--requirement", str(constraints)])
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        raise NotLookedUpError(f"{TOOL} has no answer: {_last(done)}") from None
    skipped = [f"{one['name']}: {one['skip_reason']}" for one in packages if "skip_reason" in one]
    if skipped or not packages:
        example = f", like {skipped[0]}" if skipped else ""
        raise NotLookedUpError(f"{TOOL} tells nothing of {len(skipped)} of {len(packages)} packages{example}")
    return [
        f"{one['name']} {one['version']}: {found['id']}, mended in {', '.join(found['fix_versions']) or 'none yet'}"
        for one in packages
        for found in one["vulns"]
    ]


def _last(done: subprocess.CompletedProcess[str]) -> str:
    """The last line that it said: the ones before are a traceback."""
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return lines[-1] if lines else f"it ended with {done.returncode} and said nothing"
