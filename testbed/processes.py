"""Starts the long-running programs of the demo and the tests, and ends exactly those, even after a crash."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import psutil

#: Environment variable of a started program and its descendants: `<run dir>/<name>`. It identifies descendants that
#: outlive the program or leave its process group.
MARK = "VMFERRY_TESTBED_PROCESS"

#: The kernel records a start in ticks since boot. The boot time, which is added to it, shifts when the clock is set.
CREATE_TIME_TOLERANCE = 2.0

#: Below Linux's range of ephemeral ports, so that no outgoing connection takes a free port.
PORTS = range(20000, 32768)

POLL_SECONDS = 0.05

T = TypeVar("T")


class ProcessDiedError(RuntimeError):
    """A required program has ended; the message ends with the last lines of its log."""


def cache_dir() -> Path:
    """`${XDG_CACHE_HOME:-~/.cache}/vmferry`. It can be deleted at any time; rebuilding it only takes time."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vmferry"
    # programs of the cache are executed, so nobody else may write there
    if folder.exists() and (folder.stat().st_uid != os.getuid() or folder.stat().st_mode & 0o002):
        raise PermissionError(f"{folder} can be written by somebody else: remove it, or set XDG_CACHE_HOME")
    return folder


def run_root() -> Path:
    """The private folder (created if missing) below which each run has a folder with its data, logs and secrets."""
    root = cache_dir() / "run"
    make_private(root)
    return root


def make_private(folder: Path) -> None:
    """Create the folder if it is missing, and set its mode to 0700.

    Raises PermissionError if it belongs to another user, who could read it or put programs into it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to another user")
    folder.chmod(0o700)


def free_ports(count: int) -> tuple[int, ...]:
    """Return `count` different TCP ports that are currently free at 127.0.0.1."""
    with contextlib.ExitStack() as held:
        found: list[int] = []
        for port in random.sample(PORTS, len(PORTS)):
            probe = held.enter_context(socket.socket())
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found.append(port)
            if len(found) == count:
                return tuple(found)
    raise RuntimeError(f"no {count} free ports in {PORTS.start}..{PORTS.stop - 1}")


def free_port() -> int:
    return free_ports(1)[0]


def plain_environment() -> dict[str, str]:
    """Our environment without variables that would lead a subprocess to another cloud or cluster, such as `make up`
    prints for people's shells."""
    leading = ("OS_", "VMFERRY_")
    return {name: value for name, value in os.environ.items() if not name.startswith(leading) and name != "KUBECONFIG"}


def wait_for(condition: Callable[[], T], seconds: float, what: str, check: Callable[[], object] | None = None) -> T:
    """Poll `condition` until it is true and return its value. Raises TimeoutError, which names `what`.

    `check` is called between two polls and may raise to end the wait early: see `Supervisor.check`. The pause between
    two polls is at least as long as a poll took, to leave the processor to the program that we wait for.
    """
    deadline = time.monotonic() + seconds
    while True:
        asked = time.monotonic()
        if value := condition():
            return value
        if check is not None:
            check()
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s in vain for {what}")
        time.sleep(max(POLL_SECONDS, time.monotonic() - asked))


@dataclass(frozen=True)
class _Record:
    """The content of `<name>.process.json`: the started process. A pid alone may have been reused by another
    process."""

    pid: int
    create_time: float  # psutil's: seconds since the epoch
    program: str  # argv[0]
    started_ns: int  # defines the order of the records

    def leader(self) -> psutil.Process | None:
        """The started process while it runs; None if it has ended or another process has its pid."""
        try:
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.create_time) > CREATE_TIME_TOLERANCE or not _runs(process):
                return None
        except psutil.NoSuchProcess:
            return None
        return process


class Supervisor:
    """The programs of a run directory. Another process may create a Supervisor for the same directory to stop them."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir.resolve()
        make_private(self.run_dir)
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def start(
        self,
        name: str,
        argv: Sequence[str | Path],
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> int:
        """Start a program in a new session and return its pid; its output is appended to `<name>.log`.

        `env` is the complete environment; None means that of this process. Raises RuntimeError if `name` already runs.
        """
        if self.alive(name):
            raise RuntimeError(f"{name} already runs in {self.run_dir}")
        self.stop(name)  # ends remaining descendants of an earlier start
        command = [str(part) for part in argv]
        with self.log(name).open("ab") as log:
            child = subprocess.Popen(
                command,
                env={**(os.environ if env is None else env), MARK: self._mark(name)},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._children[name] = child
        # not reaped yet, so its record exists even if it has already ended
        created = psutil.Process(child.pid).create_time()
        record = _Record(child.pid, created, command[0], time.time_ns())
        unfinished = self._record_path(name).with_suffix(".new")
        unfinished.write_text(json.dumps(asdict(record)))
        unfinished.replace(self._record_path(name))
        return child.pid

    def alive(self, name: str) -> bool:
        return self.pid(name) is not None

    def pid(self, name: str) -> int | None:
        """The pid of a program that runs (or is suspended by SIGSTOP); None if it does not run."""
        self._reap(name)
        record = self._record(name)
        return record.pid if record is not None and record.leader() is not None else None

    def names(self) -> list[str]:
        """All programs started here and not stopped since, running or not, in the order of their start."""
        suffix = ".process.json"
        records = {path.name.removesuffix(suffix): path for path in self.run_dir.glob(f"*{suffix}")}
        return sorted(records, key=lambda name: record.started_ns if (record := self._record(name)) else 0)

    def check(self, *names: str) -> None:
        """Raise ProcessDiedError unless all of them run."""
        for name in names:
            if not self.alive(name):
                raise ProcessDiedError(f"{name} has ended; its last lines in {self.log(name)}:\n{self.log_tail(name)}")

    def log(self, name: str) -> Path:
        return self.run_dir / f"{name}.log"

    def log_tail(self, name: str, lines: int = 15) -> str:
        try:
            text = self.log(name).read_text(errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def stop(self, name: str, grace: float = 10) -> None:
        """End a program and its descendants with SIGTERM, and with SIGKILL after `grace` seconds.

        With a grace of 0, kill at once. Does nothing if the program does not run.
        """
        self._end(lambda: self._processes(name), grace)
        if (child := self._children.pop(name, None)) is not None:
            child.wait(timeout=10)  # it has ended, but may not be reapable for another moment
        self._record_path(name).unlink(missing_ok=True)

    def stop_all(self, grace: float = 10) -> None:
        """End all programs of the run directory, the latest first, each with this `grace`."""
        for name in reversed(self.names()):
            self.stop(name, grace)
        # a starter that was killed before it wrote the record leaves processes that only the mark identifies
        self._end(lambda: _marked(lambda mark: Path(mark).parent == self.run_dir), grace)

    def _end(self, find: Callable[[], list[psutil.Process]], grace: float) -> None:
        processes = find()
        if grace > 0:
            _signal(processes, signal.SIGTERM)
            deadline = time.monotonic() + grace
            while any(self._runs(process) for process in processes) and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
        # search again each time: a process may have been forked during the search
        while processes := [process for process in {*processes, *find()} if self._runs(process)]:
            _signal(processes, signal.SIGKILL)
            time.sleep(POLL_SECONDS)

    def _processes(self, name: str) -> list[psutil.Process]:
        """The running processes of a program: the program, its process group, and all processes with its mark."""
        self._reap(name)
        found = _marked(lambda mark: mark == self._mark(name))
        record = self._record(name)
        if record is not None and (leader := record.leader()) is not None:
            # while the leader runs, the group with its pid is ours; programs may have overwritten their mark
            found += [process for process in _group(leader.pid) if process not in found]
        return found

    def _runs(self, process: psutil.Process) -> bool:
        for name in self._children:
            self._reap(name)
        return _runs(process)

    def _reap(self, name: str) -> None:
        if (child := self._children.get(name)) is not None:
            child.poll()

    def _mark(self, name: str) -> str:
        return str(self.run_dir / name)

    def _record_path(self, name: str) -> Path:
        return self.run_dir / f"{name}.process.json"

    def _record(self, name: str) -> _Record | None:
        try:
            return _Record(**json.loads(self._record_path(name).read_text()))
        except FileNotFoundError:
            return None


def _runs(process: psutil.Process) -> bool:
    """Whether the process can still act. A dead process remains a zombie until its parent reaps it, which may never
    happen."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _marked(wanted: Callable[[str], bool]) -> list[psutil.Process]:
    def carries(process: psutil.Process) -> bool:
        try:
            mark = process.environ().get(MARK)
        except psutil.Error:  # it has ended, or belongs to another user
            return False
        return mark is not None and wanted(mark)

    return [process for process in _others() if carries(process)]


def _group(pgid: int) -> list[psutil.Process]:
    def belongs(process: psutil.Process) -> bool:
        try:
            return os.getpgid(process.pid) == pgid
        except OSError:
            return False

    return [process for process in _others() if belongs(process)]


def _others() -> Iterator[psutil.Process]:
    """All running processes except this one: a supervised program may itself stop its run directory."""
    return (process for process in psutil.process_iter() if process.pid != os.getpid() and _runs(process))


def _signal(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)  # psutil refuses if the pid was reused
