"""Compares the packages that the code imports with those that it declares."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from release.pins import canonical


def imported(folder: Path) -> set[str]:
    """The top-level modules that the Python files below `folder` import, without the standard library."""
    found: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module is not None and not node.level:
                found.add(node.module)
    return {name.partition(".")[0] for name in found} - sys.stdlib_module_names


def differences(
    modules: Iterable[str], declared: Iterable[str], providers: Mapping[str, list[str]], own: Iterable[str]
) -> list[str]:
    """Return a message for each undeclared import, and for each declared package that is not imported.

    `providers` lists the packages that provide each module, as `importlib.metadata.packages_distributions` does; `own`
    are this repository's modules.
    """
    asked = {canonical(name) for name in declared}
    used: set[str] = set()
    wrong = []
    for module in sorted(set(modules) - set(own)):
        bring = {canonical(name) for name in providers.get(module, ())}
        if bring & asked:
            used |= bring & asked
        else:
            wrong.append(
                f"{module} is imported, and no package is declared that brings it: {sorted(bring) or 'none does'}"
            )
    return wrong + [f"{name} is declared, and nothing imports it" for name in sorted(asked - used)]
