"""Unpacks Debian (or Ubuntu) packages into a folder, without root and without installing them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path


class InstallError(RuntimeError):
    """A required program is missing and cannot be installed; the message explains what to do."""


def unpack(packages: Iterable[str], folder: Path, *, dependencies: bool = True, only: str = "") -> None:
    """Fill `folder` with the files of the packages, laid out as below `/`. Raises InstallError.

    With `dependencies`, includes dependencies that the machine lacks. With `only`, a path like `usr/bin`, includes only
    the files below it.
    """
    for program in ("apt-get", "dpkg"):
        if shutil.which(program) is None:
            raise InstallError(f"{program} is missing: {', '.join(packages)} are taken from Debian's packages")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    downloads = folder.with_name(f"{folder.name}.downloads")
    shutil.rmtree(downloads, ignore_errors=True)
    archives = downloads / "archives"
    for needed in (downloads / "lists" / "partial", archives / "partial"):
        needed.mkdir(parents=True)
    # apt with its own lists and downloads: it reads the machine's package database and does not change it
    apt: tuple[str, ...] = ("apt-get", "-qq", "-o", f"Dir::State::Lists={downloads / 'lists'}")
    apt += ("-o", f"Dir::Cache={downloads}", "-o", "Debug::NoLocking=1")
    if os.geteuid() == 0:
        apt += ("-o", "APT::Sandbox::User=root")  # apt's own user cannot write to a private folder
    run(*apt, "update")
    if dependencies:
        run(*apt, "--yes", "--download-only", "--reinstall", "--no-install-recommends", "install", *packages)
    else:
        run(*apt, "download", *packages, cwd=archives)
    whole = downloads / "whole" if only else folder
    for package in sorted(archives.glob("*.deb")):
        run("dpkg", "-x", package, whole)
    if only:
        (folder / only).parent.mkdir(parents=True, exist_ok=True)
        (whole / only).rename(folder / only)
    shutil.rmtree(downloads)


def run(*argv: str | Path, env: dict[str, str] | None = None, cwd: Path | None = None) -> None:
    """Run a command quietly. Raises InstallError with its output if it fails."""
    command = [str(part) for part in argv]
    done = subprocess.run(command, env=env, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        output = done.stdout.decode(errors="replace").strip()
        raise InstallError(f"{' '.join(command[:6])} ... failed with {done.returncode}:\n{output[-3000:]}")
