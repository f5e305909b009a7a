"""Installs the programs of the testbed's Nova below the cache folder, without root and without other changes.

OpenStack's services come from PyPI into a virtual environment. RabbitMQ and MariaDB come from packages of the machine's
Debian (or Ubuntu), are unpacked into a folder, and run from there.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from testbed.debian import InstallError, run, unpack
from testbed.processes import cache_dir

HERE = Path(__file__).parent
CONSTRAINTS = HERE / "constraints.txt"
BUILD_CONSTRAINTS = HERE / "build-constraints.txt"

#: apt adds dependencies that the machine lacks
DEBIAN_PACKAGES = ("rabbitmq-server", "erlang-base", "mariadb-server-core")


@dataclass(frozen=True)
class Programs:
    """The paths of the installed programs."""

    venv: Path
    debian: Path  # a root folder with the files of the packages only

    @property
    def python(self) -> Path:
        return self.venv / "bin" / "python"

    def script(self, name: str) -> Path:
        """A command of the virtual environment, such as `nova-manage`."""
        return self.venv / "bin" / name

    @property
    def usr(self) -> Path:
        return self.debian / "usr"

    @property
    def mariadbd(self) -> Path:
        return self.usr / "sbin" / "mariadbd"

    @property
    def erlang(self) -> Path:
        return self.usr / "lib" / "erlang"

    @property
    def epmd(self) -> Path:
        return self.erlang / "bin" / "epmd"

    @property
    def rabbitmq(self) -> Path:
        """RabbitMQ's own start script; Debian's wrapper requires root or the user `rabbitmq`."""
        (script,) = self.usr.glob("lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server")
        return script

    def debian_env(self) -> dict[str, str]:
        """The environment with which the unpacked programs find each other and their libraries."""
        libraries = [str(path) for path in (*self.usr.glob("lib/*-linux-gnu*"), self.usr / "lib")]
        return {
            **os.environ,
            "LD_LIBRARY_PATH": ":".join(libraries),
            "PATH": f"{self.erlang / 'bin'}:{os.environ.get('PATH', os.defpath)}",
        }


def nova_cache() -> Path:
    """The folder of everything that outlives a run; it can be deleted while no lab runs."""
    folder = cache_dir() / "nova"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def cache_lock(name: str) -> Iterator[None]:
    """Hold the lock of a cached item, so that only one process creates it while others wait."""
    with (nova_cache() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def stamp(*files: Path) -> str:
    """A short digest of files, so that a change of one of them leads to a new folder in the cache."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def progress(text: str) -> None:
    print(f"nova: {text}", flush=True)


def install() -> Programs:
    """Install what is missing; takes minutes the first time. Raises InstallError, CalledProcessError."""
    with cache_lock("install"):
        return Programs(venv=_install_venv(), debian=_install_debian())


def _install_venv() -> Path:
    venv = nova_cache() / f"venv-{stamp(CONSTRAINTS, BUILD_CONSTRAINTS)}"
    ready = venv / ".ready"
    if ready.exists():
        return venv
    progress(f"OpenStack's services from PyPI into {venv} (513 MB, some minutes)")
    run(sys.executable, "-m", "venv", "--clear", venv)
    pip = (venv / "bin" / "python", "-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps")
    run(*pip, "-r", BUILD_CONSTRAINTS)
    # isolated builds would download unpinned build tools
    run(*pip, "--no-build-isolation", "-r", CONSTRAINTS)
    ready.touch()
    return venv


def _install_debian() -> Path:
    folder = nova_cache() / "debian"
    ready = folder / ".ready"
    if ready.exists():
        return folder
    progress(f"RabbitMQ and MariaDB from Debian's packages into {folder} (105 MB)")
    unpack(DEBIAN_PACKAGES, folder)
    _relocate(folder)
    ready.touch()
    return folder


def _relocate(debian: Path) -> None:
    """Patch Debian's `erl`, which has a fixed folder; all other programs are relocatable."""
    erlang = debian / "usr" / "lib" / "erlang"
    erl = erlang / "bin" / "erl"
    erl.write_text(erl.read_text().replace("ROOTDIR=/usr/lib/erlang", f'ROOTDIR="{erlang}"'))
    programs = Programs(venv=Path(), debian=debian)
    halt = ("-noshell", "-boot", "start_clean", "-eval", "halt().")
    for command in ((erl, *halt), (programs.mariadbd, "--version")):
        run(*command, env=programs.debian_env())


if __name__ == "__main__":
    try:
        print(install())
    except InstallError as error:
        sys.exit(f"nova: {error}")
