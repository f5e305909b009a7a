"""Linux namespaces for programs from Debian packages, which disappear without leaving anything on the machine.

`enter` restarts the calling program in new mount and process namespaces, and on request a network namespace, with the
packages overlaid on /usr and /etc as if they were installed. The first process inside dies with its parent, and all
others die with the first, so mounts, interfaces and processes vanish with their namespaces. The process outside removes
the control groups, which the kernel keeps, and reports anything that remains by name. If it is killed itself, the next
run cleans up. Needs root.
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
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from testbed.debian import InstallError, run, unpack
from testbed.processes import cache_dir, run_root

#: programs for images and for a node
CONTAINER_TOOLS = (
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
#: environment variable that is set inside and names the run's folder
INSIDE = "VMFERRY_SANDBOX"
#: the control group, below each controller of /sys/fs/cgroup, of all processes inside
GROUP = "vmferry-testbed"
#: folders that programs inside write to, some regardless of their configuration; inside, they are in memory
_COVERED = ("/etc", "/opt", "/run", "/var/lib", "/var/log")
#: seconds that the kernel may take to end a namespace
_GRACE = 10.0
_IPTABLES = [f"ip{six}tables{what}" for six in ("", "6") for what in ("", "-save", "-restore")]


def folder() -> Path:
    """The folder of files that outlive a run: packages, base images, images."""
    found = cache_dir() / "containers"
    found.mkdir(mode=0o700, parents=True, exist_ok=True)
    return found


@contextmanager
def lock(name: str) -> Iterator[None]:
    """Hold a lock that only one process can have. The kernel releases it when the process ends in any way."""
    with (folder() / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def install(names: Sequence[str] = CONTAINER_TOOLS) -> Path:
    """Return the folder with the unpacked packages. Raises InstallError if they cannot be downloaded."""
    stamp = hashlib.sha256(" ".join(names).encode()).hexdigest()[:12]
    packages = folder() / f"debian-{stamp}"
    with lock("install"):
        if not (packages / ".ready").exists():
            print(f"sandbox: unpacking {', '.join(names)} from Debian's packages into {packages}", flush=True)
            unpack(names, packages)
            # in Debian, /bin, /sbin and /lib are links to these folders
            for name in ("bin", "sbin", "lib"):
                if (packages / name).is_dir():
                    shutil.copytree(packages / name, packages / "usr" / name, symlinks=True, dirs_exist_ok=True)
                    shutil.rmtree(packages / name)
            # the links that update-alternatives would create
            if (packages / "usr/sbin/xtables-nft-multi").exists():
                for name in _IPTABLES:
                    (packages / "usr/sbin" / name).unlink(missing_ok=True)
                    (packages / "usr/sbin" / name).symlink_to("xtables-nft-multi")
            (packages / "etc").mkdir(exist_ok=True)
            (packages / ".ready").touch()
    return packages


def inside() -> bool:
    """Whether this program runs inside the sandbox."""
    return INSIDE in os.environ


def enter(module: str, arguments: Sequence[str], *, network: bool, packages: Sequence[str] = CONTAINER_TOOLS) -> None:
    """Continue inside as `python -m module arguments`; returns only there.

    Outside, it exits with the status of that program, or with 1 if something of it remains. Raises InstallError.
    """
    if not inside():
        if os.geteuid() != 0 or sys.platform != "linux":
            raise InstallError("this needs Linux, and root: it makes namespaces and mounts")
        install(packages)
        command = ["setpriv", "--pdeathsig=KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child"]
        command += ["--mount-proc", *(["--net"] if network else [])]
        sys.exit(_supervise([*command, sys.executable, "-u", "-m", module, *arguments]))
    here = Path(os.environ[INSIDE])
    links = [Path("/proc/self/ns", name).readlink() for name in ("mnt", "pid", *(["net"] if network else []))]
    (here / "namespaces").write_text(" ".join(map(str, links)))
    _lay_out(install(packages))
    if network:
        run("ip", "link", "set", "lo", "up")


def _supervise(command: Sequence[str]) -> int:
    """Run the command in the run's folder, wait until nothing of it remains, and return its status."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: sys.exit(128 + number))
    runs = folder() / "runs"
    here = runs / str(os.getpid())
    with contextlib.ExitStack() as stack:
        with lock("runs"):
            _clear(runs)
            (here / "tmp").mkdir(parents=True)
            held = stack.enter_context((here / "lock").open("w"))
            fcntl.flock(held, fcntl.LOCK_EX)
        environment = {**os.environ, INSIDE: str(here), "TMPDIR": str(here / "tmp")}
        # in a new session: Ctrl-C reaches only this process, which ends all others
        program = subprocess.Popen(command, env=environment, start_new_session=True)
        try:
            status = program.wait()
        except SystemExit as ended:
            status = int(ended.code or 1)
        program.kill()
        program.wait()
        left = _remove(here)
        for name in left:
            print(f"sandbox: left behind: {name}", file=sys.stderr)
    return 1 if left else status


def _clear(runs: Path) -> None:
    """Clean up earlier runs whose supervising process was killed. Raises InstallError if something remains."""
    for here in runs.glob("*"):
        with (here / "lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            for process in processes(here):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            if left := _remove(here):
                raise InstallError(f"an earlier run left {', '.join(left)}: end that first")


def _remove(here: Path) -> list[str]:
    """Remove the run's control groups and its folder once all processes have ended. Returns what remains."""
    deadline = time.monotonic() + _GRACE
    while True:
        for path in groups(here):
            with contextlib.suppress(OSError):
                path.rmdir()
        left = leftovers(here)
        if not left:
            shutil.rmtree(here)
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.1)


def leftovers(here: Path) -> list[str]:
    """What remains of a run outside, by name. `here` is the run's folder."""
    own = _namespaces(here)
    ours = (str(folder()), str(run_root()))
    found = [f"process {process.pid} ({process.name()})" for process in processes(here)]
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        _, _, _, root, point, *_ = line.split()
        if root in own or point.startswith(ours):
            found.append(f"mount {point}")
    return [*found, *(f"control group {path}" for path in groups(here))]


def processes(here: Path) -> list[psutil.Process]:
    """The running processes of a run, identified by their environment, their namespaces or their control groups."""
    own = _namespaces(here)
    members = {pid for path in groups(here) for pid in (path / "cgroup.procs").read_text().split()}

    def belongs(process: psutil.Process) -> bool:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            links = {os.readlink(path) for path in Path(f"/proc/{process.pid}/ns").iterdir()}  # noqa: PTH115
            return str(process.pid) in members or bool(own & links) or process.environ().get(INSIDE) == str(here)
        except (psutil.Error, OSError):
            return False  # it has ended in the meantime

    return [process for process in psutil.process_iter() if belongs(process)]


def _namespaces(here: Path) -> set[str]:
    path = here / "namespaces"
    return set(path.read_text().split()) if path.exists() else set()


def groups(here: Path) -> list[Path]:
    """The control groups of a run in every hierarchy, deepest first."""
    hierarchies = Path("/sys/fs/cgroup")
    roots = [*hierarchies.glob(f"{GROUP}/{here.name}"), *hierarchies.glob(f"*/{GROUP}/{here.name}")]
    below = [path for root in roots for path in root.rglob("*") if path.is_dir()]
    return sorted([*roots, *below], reverse=True)


def group() -> str:
    """The path of this run's control group below each controller's root."""
    return f"/{GROUP}/{Path(os.environ[INSIDE]).name}"


def _lay_out(packages: Path) -> None:
    """Overlay the packages on the machine's folders, and redirect writes to memory."""
    if any(folder().is_relative_to(path) for path in _COVERED):
        raise InstallError(f"the cache folder {folder()} is hidden inside: set XDG_CACHE_HOME to another place")
    scratch = folder() / "scratch"
    scratch.mkdir(exist_ok=True)
    run("mount", "-t", "tmpfs", "none", scratch)
    run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={packages}/usr:/usr", "/usr")
    for path in _COVERED:
        above = scratch / path.strip("/").replace("/", "-")
        for name in ("up", "work"):
            (above / name).mkdir(parents=True)
        below = f"{packages}/etc:/etc" if path == "/etc" else path
        layers = f"lowerdir={below},upperdir={above}/up,workdir={above}/work"
        run("mount", "-t", "overlay", "overlay", "-o", layers, path)
    run("ldconfig", "-C", scratch / "ld.so.cache")
    run("mount", "--bind", scratch / "ld.so.cache", "/etc/ld.so.cache")


def quiet(*argv: str | Path) -> str:
    """Run a command and return its output. Raises InstallError with its error output if it fails."""
    done = subprocess.run([str(part) for part in argv], capture_output=True, text=True)
    if done.returncode != 0:
        raise InstallError(f"{' '.join(map(str, argv[:6]))} …: {(done.stderr or done.stdout).strip()[-3000:]}")
    return done.stdout.strip()
