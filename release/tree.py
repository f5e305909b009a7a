"""The source files of a release: the files that git tracks, with their content in the work tree."""

from __future__ import annotations

import subprocess
from pathlib import Path


class TreeError(RuntimeError):
    """There is no git work tree, or git is missing."""


def _git(root: Path, *args: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(root), *args], capture_output=True, text=True)
    except FileNotFoundError as error:
        raise TreeError("git is needed: it says which files belong to a release, and of when they are") from error
    if done.returncode != 0:
        raise TreeError(f"git {args[0]}: {done.stderr.strip()}")
    return done.stdout


def epoch(root: Path) -> int:
    """The time of the last commit, in seconds since the epoch."""
    return int(_git(root, "log", "-1", "--format=%ct"))


def changed(root: Path) -> list[str]:
    """The tracked files that differ from the last commit."""
    return [line[3:] for line in _git(root, "status", "--porcelain", "--untracked-files=no").splitlines()]


def copy(root: Path, to: Path) -> None:
    """Copy all tracked files with git's modes, regardless of the user's umask."""
    for line in _git(root, "ls-files", "--stage", "-z").split("\0"):
        if not line:
            continue
        about, _, name = line.partition("\t")
        source, target = root / name, to / name
        if not source.is_file():
            continue  # deleted, but not yet committed
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
        target.chmod(0o755 if about.startswith("100755") else 0o644)
