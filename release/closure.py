"""What the package needs at run time, directly and indirectly, as the environment has it installed."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

from release.pins import canonical


@dataclass(frozen=True)
class Closure:
    """By canonical name; `needs` also has the edges of the package itself, under its own name."""

    installed: dict[str, Distribution]
    needs: dict[str, tuple[str, ...]]


class ClosureError(RuntimeError):
    """A package that is needed is not installed, or not in a version that is asked for."""


def declared(pyproject: Path) -> list[Requirement]:
    """What pyproject.toml says the package needs."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    return [Requirement(text) for text in project["dependencies"]]


def closure(name: str, wanted: list[Requirement]) -> Closure:
    """On this platform and this Python: markers count. Raises ClosureError with everything that does not fit."""
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
