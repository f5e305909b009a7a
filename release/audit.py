"""`python -m release.audit`, or `make audit`: checks the project's dependencies. Prints a line per check.

All checks but the last need no network, and the tests run them, too. The exit status is 1 if a check fails. A failed
lookup of known vulnerabilities is reported but does not count as a failure.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.requirements import Requirement

from release import licences, pins, vulnerabilities
from release.closure import Closure, ClosureError, closure, declared
from release.imports import differences, imported

ROOT = Path(__file__).resolve().parent.parent
PINNED = ("constraints.txt", "release/tools.txt", "testbed/nova/constraints.txt", "testbed/nova/build-constraints.txt")
#: folders of tools and tests, whose dependencies are in requirements.in
OWN = ("docs", "helm", "release", "testbed", "tests", "vmferry")


def needed() -> Closure:
    """The dependencies of the package at run time. Raises ClosureError."""
    return closure("vmferry", declared(ROOT / "pyproject.toml"))


def wanted() -> list[Requirement]:
    """The requirements in requirements.in."""
    lines = (ROOT / "requirements.in").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def everything_is_pinned_with_hashes() -> list[str]:
    wrong = []
    for name in PINNED:
        try:
            found = pins.read((ROOT / name).read_text(encoding="utf-8"))
        except pins.PinError as error:
            wrong.append(f"{name}: {error}")
            continue
        if name == "constraints.txt":
            wrong += [f"{one.name} is not pinned" for one in wanted() if pins.canonical(one.name) not in found]
    return wrong


def what_is_installed_fits_together_and_is_what_is_pinned() -> list[str]:
    try:
        found = closure("requirements.in", wanted())
    except ClosureError as error:
        return str(error).splitlines()
    pinned = pins.read((ROOT / "constraints.txt").read_text(encoding="utf-8"))
    return [
        f"{name} {package.version} is installed, and the pin is {pinned[name].version if name in pinned else 'missing'}"
        for name, package in found.installed.items()
        if name not in pinned or pinned[name].version != package.version
    ]


def licences_are_allowed() -> list[str]:
    told = {f"{name} {package.version}": licences.of(package) for name, package in needed().installed.items()}
    return [f"{name}: {said or 'no licence told'}" for name, said in told.items() if not licences.allowed(said)]


def the_package_declares_what_it_imports_and_nothing_else() -> list[str]:
    names = [one.name for one in declared(ROOT / "pyproject.toml")]
    return differences(imported(ROOT / "operator"), names, packages_distributions(), ["vmferry"])


def tools_and_tests_import_what_is_pinned() -> list[str]:
    names = pins.read((ROOT / "constraints.txt").read_text(encoding="utf-8"))
    modules = {one for folder in OWN if folder != "vmferry" for one in imported(ROOT / folder)}
    modules -= imported(ROOT / "testbed" / "nova" / "inside")  # runs in a separate environment
    own = {*OWN, *(path.stem for folder in OWN for path in (ROOT / folder).rglob("*.py"))}
    found = differences(modules, names, packages_distributions(), own)
    return [one for one in found if " is imported, " in one]


CHECKS: tuple[Callable[[], list[str]], ...] = (
    everything_is_pinned_with_hashes,
    what_is_installed_fits_together_and_is_what_is_pinned,
    licences_are_allowed,
    the_package_declares_what_it_imports_and_nothing_else,
    tools_and_tests_import_what_is_pinned,
)


def main() -> None:
    wrong = 0
    for check in CHECKS:
        found = check()
        wrong += len(found)
        _say(check.__name__.replace("_", " "), found)
    try:
        with tempfile.TemporaryDirectory(prefix="vmferry-audit-") as folder:
            found = vulnerabilities.known(vulnerabilities.install(Path(folder)), ROOT / "constraints.txt")
    except vulnerabilities.NotLookedUpError as error:
        print(f"audit: known vulnerabilities: NOT LOOKED UP: {error}")
    else:
        wrong += len(found)
        _say("no vulnerabilities are known", found)
    sys.exit(1 if wrong else 0)


def _say(what: str, found: list[str]) -> None:
    print(f"audit: {what}: {'ok' if not found else f'{len(found)} wrong'}")
    for one in found:
        print(f"audit:   {one}")


if __name__ == "__main__":
    main()
