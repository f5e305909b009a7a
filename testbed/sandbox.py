"""A Linux of our own for what needs one: container tools from Debian's packages, and namespaces that leave nothing.

`enter` starts the calling program again inside: in namespaces of mounts and processes, and if asked for also of the
network, with the packages laid over /usr and /etc, as if they were installed. The first process inside ends with the
one that has started it, and all others with that one, however it ends: mounts, interfaces and processes vanish with
them. What the kernel keeps, control groups, is removed by who comes next. Only root can do it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from testbed.debian import InstallError, run, unpack
from testbed.processes import cache_dir

PACKAGES = (
    "podman",
    "mmdebstrap",
    "containerd",
    "runc",
    "containernetworking-plugins",
    "iptables",
    "conntrack",
    "ebtables",
    "socat",
    "iproute2",
)
#: set inside
INSIDE = "VMFERRY_SANDBOX"
#: below each controller of /sys/fs/cgroup, all that is started inside
GROUP = "vmferry-testbed"
_IPTABLES = [f"ip{six}tables{what}" for six in ("", "6") for what in ("", "-save", "-restore")]


def folder() -> Path:
    """What outlives a run: packages, bases, images."""
    found = cache_dir() / "containers"
    found.mkdir(mode=0o700, parents=True, exist_ok=True)
    return found


def install() -> Path:
    """The folder with the unpacked packages; InstallError where that cannot be."""
    stamp = hashlib.sha256(" ".join(PACKAGES).encode()).hexdigest()[:12]
    packages = folder() / f"debian-{stamp}"
    with (folder() / "install.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (packages / ".ready").exists():
            print(f"containers: {', '.join(PACKAGES)} from Debian's packages into {packages} (200 MB)", flush=True)
            unpack(PACKAGES, packages)
            # what Debian's /bin, /sbin and /lib link to
            for name in ("bin", "sbin", "lib"):
                if (packages / name).is_dir():
                    shutil.copytree(packages / name, packages / "usr" / name, symlinks=True, dirs_exist_ok=True)
                    shutil.rmtree(packages / name)
            # what update-alternatives would do
            for name in _IPTABLES:
                (packages / "usr/sbin" / name).unlink(missing_ok=True)
                (packages / "usr/sbin" / name).symlink_to("xtables-nft-multi")
            (packages / ".ready").touch()
    return packages


def inside() -> bool:
    """Whether `enter` has started this program already."""
    return INSIDE in os.environ


def enter(module: str, arguments: Sequence[str], *, network: bool) -> None:
    """Go on inside, as `python -m module arguments`; returns only when it is inside already. Raises InstallError."""
    if os.environ.pop(INSIDE, None) is None:
        if os.geteuid() != 0 or sys.platform != "linux":
            raise InstallError("this needs Linux, and root: it makes namespaces and mounts")
        install()
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        command += ["--net"] if network else []
        environment = {**os.environ, INSIDE: str(os.getpid())}
        os.execvpe(command[0], [*command, sys.executable, "-u", "-m", module, *arguments], environment)
    _lay_out(install())
    if network:
        run("ip", "link", "set", "lo", "up")


def _lay_out(packages: Path) -> None:
    scratch = folder() / "scratch"
    scratch.mkdir(exist_ok=True)
    run("mount", "--make-rprivate", "/")
    run("mount", "-t", "tmpfs", "none", scratch)
    for name in ("up", "work"):
        (scratch / name).mkdir()
    run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={packages}/usr:/usr", "/usr")
    upper = f"upperdir={scratch}/up,workdir={scratch}/work"
    run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={packages}/etc:/etc,{upper}", "/etc")
    run("ldconfig", "-C", scratch / "ld.so.cache")
    run("mount", "--bind", scratch / "ld.so.cache", "/etc/ld.so.cache")
    remove_groups()


def group() -> str:
    """The control group, below each controller's root, of all that is started inside."""
    return f"/{GROUP}/{Path('/proc/self/ns/pid').readlink().name.strip('pid:[]')}"


def end_all() -> None:
    """Kill whatever else runs inside, containers and those who hold them, and remove their control groups."""
    if os.getpid() != 1:
        raise RuntimeError("this is not the first process of a namespace")
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)  # from inside nobody else can be seen
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
    remove_groups()


def remove_groups() -> None:
    """Those of a run before this one; one that something is in stays."""
    for root in Path("/sys/fs/cgroup").glob(f"*/{GROUP}"):
        for path in sorted((path for path in root.rglob("*") if path.is_dir()), reverse=True):
            with contextlib.suppress(OSError):
                path.rmdir()


def quiet(*argv: str | Path) -> str:
    """The output of a command that must not fail; InstallError with what it said otherwise."""
    done = subprocess.run([str(part) for part in argv], capture_output=True, text=True)
    if done.returncode != 0:
        raise InstallError(f"{' '.join(map(str, argv[:6]))} …: {(done.stderr or done.stdout).strip()[-3000:]}")
    return done.stdout.strip()
