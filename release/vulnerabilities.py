"""Known vulnerabilities of pinned packages according to pip-audit; a failed lookup is an error of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

TOOL = "pip-audit"
#: the tools of a release, pinned with hashes like shipped packages, because they run with the rights of the releaser
TOOLS = Path(__file__).with_name("tools.txt")
_SECONDS = 300
_INSTALL = ("install", "--quiet", "--require-hashes", "--no-deps", "--requirement")

Run = Callable[[list[str]], "subprocess.CompletedProcess[str]"]


class NotLookedUpError(RuntimeError):
    """The lookup failed; the message explains why."""


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command without a shell. After a timeout, it counts as failed."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"no answer within {_SECONDS} s")


def install(folder: Path, run: Run = run) -> Path:
    """Install the tool in a separate environment. Raises NotLookedUpError."""
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [str(folder / "bin" / "python"), "-m", "pip", *_INSTALL, str(TOOLS)],
    ):
        if (done := run(command)).returncode != 0:
            raise NotLookedUpError(f"{TOOL} could not be installed: {_last(done)}")
    return folder / "bin" / TOOL


def known(tool: Path, constraints: Path, run: Run = run) -> list[str]:
    """Return a message for each vulnerability of a pinned version. Raises NotLookedUpError unless all were looked
    up."""
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
    """The last line of the output, which follows a traceback."""
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return lines[-1] if lines else f"it ended with {done.returncode} and said nothing"
