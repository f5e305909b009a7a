"""The archive from which krew installs `kubectl ferry`, and krew's manifest of the available archives.

    python -m release.krew FOLDER    # rewrites FOLDER/ferry.yaml, with archives of other machines

An archive has the package and its installed run-time dependencies, so it is for this platform and this Python.
"""

from __future__ import annotations

import hashlib
import platform
import re
import sys
from importlib.metadata import Distribution
from pathlib import Path
from string import Template

from release.archive import Entry
from vmferry import __version__

ROOT = Path(__file__).resolve().parent.parent
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_PLATFORM = re.compile(r"kubectl-ferry-(?P<version>.+)-(?P<os>linux|darwin)-(?P<arch>amd64|arm64)\.tar\.gz")
_PLATFORMS = "  platforms:\n"


class KrewError(RuntimeError):
    """There is no archive for a manifest."""


#: krew links to it from a folder on the PATH
LAUNCHER = f"""\
#!/bin/sh
# What lies in lib/ is for CPython {PYTHON} and no other.
here=$(dirname "$(readlink -f "$0")")
command -v python{PYTHON} >/dev/null || {{ echo "kubectl ferry needs Python {PYTHON} on the PATH" >&2; exit 2; }}
export PYTHONDONTWRITEBYTECODE=1
exec python{PYTHON} -I -c '
import sys
sys.path.insert(0, sys.argv.pop(1))
from vmferry.cli.ferry.main import main
main()
' "$here/lib" "$@"
"""


def archive_name() -> str:
    """The name of the archive for this machine, with krew's names of platforms."""
    machine = platform.machine().lower()
    return f"kubectl-ferry-{__version__}-{sys.platform}-{_ARCHITECTURES.get(machine, machine)}.tar.gz"


def contents(root: Path, installed: dict[str, Distribution]) -> dict[str, Entry]:
    """The archive's files: the package below `root`, and the installed dependencies."""
    found = {
        "LICENSE": Entry((root / "LICENSE").read_bytes()),
        "kubectl-ferry": Entry(LAUNCHER.encode(), executable=True),
    }
    package = root / "operator"
    for path in sorted((package / "vmferry").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            found[f"lib/{path.relative_to(package)}"] = Entry(path.read_bytes())
    for one in installed.values():
        for file in one.files or ():
            if _belongs(file.parts):
                found[f"lib/{file}"] = Entry(Path(str(file.locate())).read_bytes())
    return found


def _belongs(parts: tuple[str, ...]) -> bool:
    """Exclude programs, metadata of the local installation, and openstacksdk's own tests."""
    told_by_pip = parts[0].endswith(".dist-info") and parts[-1] in (
        "RECORD",
        "INSTALLER",
        "REQUESTED",
        "direct_url.json",
    )
    return not (parts[0] == ".." or "__pycache__" in parts or told_by_pip or parts[:2] == ("openstack", "tests"))


def manifest(template: str, archives: list[Path]) -> str:
    """Return ferry.yaml with a platform for each archive. Download URLs and homepage remain placeholders."""
    text = "".join(line for line in template.splitlines(keepends=True) if not line.startswith("#"))
    head, found, each = text.partition(_PLATFORMS)
    assert found
    platforms = []
    for path in sorted(archives):
        match = _PLATFORM.fullmatch(path.name)
        assert match is not None and match["version"] == __version__, path.name
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        values = {"OS": match["os"], "ARCH": match["arch"], "ARCHIVE": path.name, "SHA256": sha256}
        platforms.append(Template(each).safe_substitute(values))
    return Template(head).safe_substitute(VERSION=__version__, PYTHON=PYTHON) + found + "".join(platforms)


def write(folder: Path) -> None:
    """Write ferry.yaml for the archives of this version in the folder. Raises KrewError."""
    archives = [path for path in folder.glob(f"kubectl-ferry-{__version__}-*.tar.gz") if _PLATFORM.fullmatch(path.name)]
    if not archives:
        raise KrewError(f"no archive of version {__version__} is in {folder}")
    template = (ROOT / "manifests" / "krew" / "ferry.yaml").read_text(encoding="utf-8")
    (folder / "ferry.yaml").write_text(manifest(template, archives), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
