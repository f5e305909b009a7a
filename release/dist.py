"""`python -m release.dist [FOLDER]`, or `make dist`: builds all files of a release in dist/.

    vmferry-V-py3-none-any.whl, vmferry-V.tar.gz    the package, and its source
    vmferry-V.tgz                                   the chart
    install.yaml                                    definitions and manifests, for use without Helm
    kubectl-ferry-V-OS-ARCH.tar.gz, ferry.yaml      the kubectl plug-in for this platform, and krew's manifest
    vmferry-V.cdx.json                              the bill of materials
    SHA256SUMS                                      checksums of all of them

The same commit yields the same bytes, in any folder and at any time, with the same Python and the same pins.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from release import archive, install_yaml, krew, pins, tree
from release.closure import Closure, ClosureError, closure, declared
from release.sbom import SbomError, sbom
from testbed.golang import InstallError
from testbed.kubernetes.install import install as programs
from vmferry import __version__

ROOT = Path(__file__).resolve().parent.parent
NAME = "vmferry"
LICENCE = "Apache-2.0"


class DistError(RuntimeError):
    """A tool failed; the message is its output."""


def dist(root: Path, to: Path) -> list[Path]:
    """Build all files from the work tree `root` into the folder `to`, which is emptied first.

    Raises DistError, and the errors of tree, closure and sbom.
    """
    at = tree.epoch(root)
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="vmferry-dist-") as temporary:
        source = Path(temporary) / "source"
        tree.copy(root, source)
        needed = closure(NAME, declared(source / "pyproject.toml"))
        wheel = _package(source, to, at)
        _chart(source, to, Path(temporary), at)
        (to / "install.yaml").write_text(install_yaml.bundle(source, __version__), encoding="utf-8")
        archive.write(to / krew.archive_name(), krew.contents(source, needed.installed), at)
        krew.write(to)
        (to / f"{NAME}-{__version__}.cdx.json").write_text(_bill(source, wheel, needed, at), encoding="utf-8")
    made = sorted(to.iterdir())
    sums = "".join(f"{_sha256(path)}  {path.name}\n" for path in made)
    (to / "SHA256SUMS").write_text(sums, encoding="utf-8")
    return [*made, to / "SHA256SUMS"]


def _run(command: list[str], where: Path, at: int) -> None:
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(at)}
    done = subprocess.run(command, cwd=where, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise DistError(f"{' '.join(command[:3])}: {done.stdout}{done.stderr}")


def _package(source: Path, to: Path, at: int) -> Path:
    _run([sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-t", "wheel", "-d", str(to)], source, at)
    (wheel,) = to.glob("*.whl")
    return wheel


def _chart(source: Path, to: Path, scratch: Path, at: int) -> None:
    """Package the chart with helm, which also validates it, and repack it without the current time."""
    _run([str(programs() / "helm"), "package", str(source / "helm" / NAME), "--destination", str(scratch)], source, at)
    name = f"{NAME}-{__version__}.tgz"
    archive.write(to / name, archive.read(scratch / name), at)


def _bill(source: Path, wheel: Path, needed: Closure, at: int) -> str:
    pinned = pins.read((source / "constraints.txt").read_text(encoding="utf-8"))
    return sbom(NAME, __version__, LICENCE, _sha256(wheel), needed, pinned, at)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    to = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "dist"
    try:
        changed = tree.changed(ROOT)
        made = dist(ROOT, to)
    except (DistError, InstallError, tree.TreeError, ClosureError, SbomError, pins.PinError) as error:
        sys.exit(f"dist: {error}")
    for path in made:
        print(f"dist: {path.stat().st_size:>10,}  {path}")
    if changed:
        print(f"dist: not what the last commit says: {len(changed)} files are changed, like {changed[0]}")


if __name__ == "__main__":
    main()
