"""The version is defined in operator/vmferry/__init__.py; other files that name it are updated from there.

python -m release.version          # updates the other files: `make version`
python -m release.version 0.2.0    # sets the version first: `make version V=0.2.0`
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_PLACE = "operator/vmferry/__init__.py"
_ASSIGNED = re.compile(r'^__version__ = "([^"]*)"$', re.MULTILINE)
#: a version that pip, Helm and krew all accept
_PLAIN = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
#: an image's tag, and the file names of a release
_NAMED = re.compile(
    r"(?P<before>\bvmferry:|\b(?:kubectl-ferry|vmferry)-)\d+\.\d+\.\d+(?=[^\w.]|\.(?:tgz|tar|cdx)\b|$)", re.MULTILINE
)
_WHERE = ("README.md", "Dockerfile", "docs/**/*.md", "manifests/**/*.yaml", "helm/vmferry/*.md")


class VersionError(ValueError):
    """The version is missing or does not consist of three numbers."""


def read(root: Path = ROOT) -> str:
    """Read the version from its definition. Raises VersionError."""
    match = _ASSIGNED.search((root / _PLACE).read_text(encoding="utf-8"))
    if match is None or not _PLAIN.fullmatch(match[1]):
        raise VersionError(f'{_PLACE} must have a line like __version__ = "1.2.3"')
    return match[1]


def followed(text: str, version: str) -> str:
    """Replace the version in `text` wherever it names one of our files or images."""
    return _NAMED.sub(rf"\g<before>{version}", text)


def followers(root: Path = ROOT) -> Iterator[Path]:
    """The files that name the version, except those of the chart, which helm.generate writes."""
    for pattern in _WHERE:
        yield from sorted(root.glob(pattern))


def write(root: Path = ROOT, to: str | None = None) -> list[Path]:
    """Set the version to `to`, if given, and update the other files. Returns the changed files. Raises VersionError."""
    changed = []
    if to is not None:
        if not _PLAIN.fullmatch(to):
            raise VersionError(f"{to!r} is no version of three numbers, like 1.2.3")
        place = root / _PLACE
        text = place.read_text(encoding="utf-8")
        place.write_text(_ASSIGNED.sub(f'__version__ = "{to}"', text), encoding="utf-8")
        changed.append(place)
    version = read(root)
    for path in followers(root):
        text = path.read_text(encoding="utf-8")
        if (new := followed(text, version)) != text:
            path.write_text(new, encoding="utf-8")
            changed.append(path)
    return changed


def main() -> None:
    try:
        changed = write(to=next(iter(sys.argv[1:]), None))
    except VersionError as error:
        sys.exit(str(error))
    for path in changed:
        print(path.relative_to(ROOT))
    print(f"the version is {read()}; CHANGELOG.md needs a section of that name")


if __name__ == "__main__":
    main()
