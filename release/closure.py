"""The direct and indirect dependencies of the package at run time, as installed in the environment."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

from release.pins import canonical


@dataclass(frozen=True)
class Closure:
    """Installed packages and dependencies by canonical name; `needs` includes the package itself, under its own
    name."""

    installed: dict[str, Distribution]
    needs: dict[str, tuple[str, ...]]


class ClosureError(RuntimeError):
    """A required package is not installed, or not in a required version."""


def declared(pyproject: Path) -> list[Requirement]:
    """The dependencies that pyproject.toml declares."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    return [Requirement(text) for text in project["dependencies"]]


def closure(name: str, wanted: list[Requirement]) -> Closure:
    """Resolve dependencies for this platform and this Python. Raises ClosureError with all mismatches."""
    installed: dict[str, Distribution] = {}
    needs: dict[str, tuple[str, ...]] = {}
    wrong: list[str] = []
    todo = [(name, wanted)]
    while todo:
        who, asked = todo.pop()
        asked = [one for one in asked if one.marker is None or one.marker.evaluate({"extra": ""})]
        needs[who] = tuple(sorted({canonical(one.name) for one in asked}))
        for one in asked:
            key = canonical(one.name)
            try:
                found = installed.get(key) or distribution(one.name)
            except PackageNotFoundError:
                wrong.append(f"{who} needs {one}, which is not installed")
                continue
            if not one.specifier.contains(found.version, prereleases=True):
                wrong.append(f"{who} needs {one}, and {found.version} is installed")
            if key not in installed:
                installed[key] = found
                todo.append((key, [Requirement(text) for text in found.requires or ()]))
    if wrong:
        raise ClosureError("\n".join(sorted(wrong)))
    return Closure(dict(sorted(installed.items())), needs)
