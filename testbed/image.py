"""Builds the operator's image from the Dockerfile without Docker, runs it like the chart, and measures size and time.

python -m testbed.image         # make image
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from pathlib import Path

from testbed.debian import InstallError
from testbed.sandbox import enter, folder, group, lock, quiet
from vmferry import __version__

ROOT = Path(__file__).resolve().parent.parent
#: maximum size in MB, as `podman images` counts them
LARGEST_MB = 200
#: stand-ins for python:3.11-slim, which no package registry has: for the build stage, and for the image
_MANUALS = [
    f"--dpkgopt=path-exclude=/usr/share/{name}/*"
    for name in ("doc", "man", "info", "locale", "lintian", "bash-completion")
]
BASES: dict[str, tuple[str, ...]] = {
    "builder": ("--variant=minbase", "--include=python3,python3-venv,python3-pip,ca-certificates", *_MANUALS),
    "base": ("--variant=essential", "--include=python3,ca-certificates", *_MANUALS),
}
#: as in the official image: `python`, a usable pip, and no Perl beyond the base
_HOOK = (
    'ln -s python3 "$1/usr/bin/python"; rm -rf "$1"/usr/lib/python3*/EXTERNALLY-MANAGED "$1"/usr/share/perl '
    '"$1"/usr/lib/*-linux-gnu/perl "$1"/usr/lib/*-linux-gnu/libperl.so* "$1"/usr/lib/*-linux-gnu/gconv'
)
#: the machine's configuration for access to package registries, needed by a build
_FROM_HERE = ("/etc/ssl/certs", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates", "/etc/pip.conf")
#: the default ulimits of Debian's podman exceed what a container within a container may have
ULIMITS = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024")


def image() -> str:
    return f"localhost/vmferry:{__version__}"


def podman(*arguments: str | Path) -> str:
    """Run podman with its files below the cache folder; only inside the sandbox."""
    where = folder()
    options: tuple[str, ...] = (f"--root={where / 'storage'}", f"--runroot={where / 'scratch' / 'run'}")
    options += (f"--tmpdir={where / 'scratch' / 'tmp'}", "--storage-driver=overlay", "--cgroup-manager=cgroupfs")
    return quiet("podman", *options, "--runtime=runc", "--events-backend=none", *arguments)


def _base(name: str) -> str:
    """The tag of the base image, built if it does not exist."""
    options = (*BASES[name], f"--customize-hook={_HOOK}")
    tag = f"localhost/vmferry-{name}:{hashlib.sha256(repr(options).encode()).hexdigest()[:12]}"
    if json.loads(podman("images", "--format=json", f"--filter=reference={tag}")):
        return tag
    print(f"image: a base from Debian's packages ({name}); some minutes, once", flush=True)
    archive = folder() / f"{name}.tar"
    quiet("mmdebstrap", "--quiet", *options, "bookworm", archive)
    podman("import", archive, tag)
    archive.unlink()
    return tag


def _remove_containers() -> None:
    """Remove containers that remain in the storage from killed builds and runs."""
    for name in podman("ps", "--all", "--external", "--quiet").split():
        podman("rm", "--force", name)


def build() -> tuple[float, float]:
    """Build the image. Returns the duration of the build in seconds and the image's size in MB. Raises InstallError."""
    bases = [f"--build-arg={'BASE' if name == 'base' else 'BUILDER'}={_base(name)}" for name in BASES]
    mounts = [f"--volume={path}:{path}:ro" for path in _FROM_HERE if Path(path).exists()]
    began = time.monotonic()
    podman("build", "--isolation=chroot", "--network=host", *bases, *mounts, f"--tag={image()}", ROOT)
    seconds = time.monotonic() - began
    (found,) = json.loads(podman("image", "inspect", image()))
    return seconds, found["Size"] / 1e6


def start(user: str, *arguments: str) -> str:
    """Run the image once with the chart's securityContext and return its output. Raises InstallError if it fails."""
    return podman(
        *("run", "--rm", "--network=none", "--read-only", "--cap-drop=all", "--security-opt=no-new-privileges"),
        *(f"--user={user}", "--tmpfs=/tmp", f"--cgroup-parent={group()}", *ULIMITS, image(), *arguments),
    )


def _build_and_try() -> None:
    seconds, size = build()
    print(f"image: {image()}: {size:.0f} MB, built in {seconds:.0f} s", flush=True)
    for user in ("65532:65532", "1000660000:0"):
        version = start(user, "version")
        print(f"image: as {user}: vmferry {version}", flush=True)
        if version != __version__:
            raise InstallError(f"vmferry {__version__} was expected")
        try:
            start(user, "operator", "--config", "/dev/null")
        except InstallError as error:
            if "no way to Kubernetes" not in str(error):
                raise
            print("image: the operator starts, and reports that there is no Kubernetes here", flush=True)
        else:
            raise InstallError("the operator ends without an error although there is no Kubernetes")
    if size > LARGEST_MB:
        raise InstallError(f"it has {size:.0f} MB, more than {LARGEST_MB}")


def main() -> int:
    try:
        enter("testbed.image", sys.argv[1:], network=False)
        with lock("image"):
            _remove_containers()
            _build_and_try()
    except InstallError as error:
        print(f"image: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
