"""Starts the long-running programs of demo and tests and ends exactly those, even after a crash."""

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

#: Environment variable that a started program and its descendants carry: `<run dir>/<name>`.
#: It finds those that outlive the program itself or leave its process group.
MARK = "VMFERRY_TESTBED_PROCESS"

#: The kernel counts a start in ticks since boot; the time of boot, added to it, moves when the clock is set.
CREATE_TIME_TOLERANCE = 2.0

#: Below the range that Linux takes for outgoing connections, so that none of those snatches a free port.
PORTS = range(20000, 32768)

POLL_SECONDS = 0.05

T = TypeVar("T")


class ProcessDiedError(RuntimeError):
    """A program that was needed has ended; the message ends with the last lines of its log."""


def cache_dir() -> Path:
    """`${XDG_CACHE_HOME:-~/.cache}/vmferry`: may be deleted at any time, making it again only costs time."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vmferry"
    # programs of the cache are run
    if folder.exists() and (folder.stat().st_uid != os.getuid() or folder.stat().st_mode & 0o002):
        raise PermissionError(f"{folder} can be written by somebody else: remove it, or set XDG_CACHE_HOME")
    return folder


def run_root() -> Path:
    """The folder, made private if missing, below which every run has its own: data, logs, secrets."""
    root = cache_dir() / "run"
    make_private(root)
    return root


def make_private(folder: Path) -> None:
    """Make the folder if it is missing; nobody else can read it, whoever made it and with which mode.

    Raises PermissionError for one of somebody else, who could read it or put programs into it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to another user")
    folder.chmod(0o700)


def free_ports(count: int) -> tuple[int, ...]:
    """`count` different TCP ports that nobody listens on at 127.0.0.1 right now."""
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
    """Ours, without what leads a child to another cloud or cluster: `make up` prints such lines for people's shells."""
    leading = ("OS_", "VMFERRY_")
    return {name: value for name, value in os.environ.items() if not name.startswith(leading) and name != "KUBECONFIG"}


def wait_for(condition: Callable[[], T], seconds: float, what: str, check: Callable[[], object] | None = None) -> T:
    """Ask `condition` until it is true and return its value; TimeoutError says that we waited for `what`.

    `check` is called between the questions and may raise to end the wait early: see `Supervisor.check`. Between two
    questions there is as much time as one takes, so that who waits leaves the processor to what is waited for.
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
    """`<name>.process.json`: which process was started. A pid alone may be given again to a stranger."""

    pid: int
    create_time: float  # psutil's: seconds since the epoch
    program: str  # argv[0]
    started_ns: int  # orders the records

    def leader(self) -> psutil.Process | None:
        """The started process while it lives; None when it ended or its pid belongs to a stranger."""
        try:
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.create_time) > CREATE_TIME_TOLERANCE or not _runs(process):
                return None
        except psutil.NoSuchProcess:
            return None
        return process


class Supervisor:
    """The programs of one run directory. Another process may make its own for it, to stop them."""

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
        """Start a program in a session of its own and return its pid; its output is added to `<name>.log`.

        `env` is the whole environment; None hands on ours. RuntimeError when `name` already runs.
        """
        if self.alive(name):
            raise RuntimeError(f"{name} already runs in {self.run_dir}")
        self.stop(name)  # what an earlier one left behind
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
        # not reaped yet, so it is there even when it has already ended
        created = psutil.Process(child.pid).create_time()
        record = _Record(child.pid, created, command[0], time.time_ns())
        unfinished = self._record_path(name).with_suffix(".new")
        unfinished.write_text(json.dumps(asdict(record)))
        unfinished.replace(self._record_path(name))
        return child.pid

    def alive(self, name: str) -> bool:
        return self.pid(name) is not None

    def pid(self, name: str) -> int | None:
        """The pid of a program that runs (or is stopped by SIGSTOP); None when it does not."""
        self._reap(name)
        record = self._record(name)
        return record.pid if record is not None and record.leader() is not None else None

    def names(self) -> list[str]:
        """All programs started here and not stopped since, dead or alive, in the order of their start."""
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
        """End a program and its descendants: TERM, and KILL to what is left after `grace` seconds.

        A grace of 0 kills at once. Nothing happens when it does not run.
        """
        self._end(lambda: self._processes(name), grace)
        if (child := self._children.pop(name, None)) is not None:
            child.wait(timeout=10)  # it has ended; between its last sign of life and the moment that it can be reaped
        self._record_path(name).unlink(missing_ok=True)

    def stop_all(self, grace: float = 10) -> None:
        """End everything that was started in the run directory, the latest first, each with this `grace`."""
        for name in reversed(self.names()):
            self.stop(name, grace)
        # a starter that was killed between start and record left no record, but the mark
        self._end(lambda: _marked(lambda mark: Path(mark).parent == self.run_dir), grace)

    def _end(self, find: Callable[[], list[psutil.Process]], grace: float) -> None:
        processes = find()
        if grace > 0:
            _signal(processes, signal.SIGTERM)
            deadline = time.monotonic() + grace
            while any(self._runs(process) for process in processes) and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
        # look again each time: one may have been forked while we looked
        while processes := [process for process in {*processes, *find()} if self._runs(process)]:
            _signal(processes, signal.SIGKILL)
            time.sleep(POLL_SECONDS)

    def _processes(self, name: str) -> list[psutil.Process]:
        """The living processes of a program: itself, its process group and all that carry its mark."""
        self._reap(name)
        found = _marked(lambda mark: mark == self._mark(name))
        record = self._record(name)
        if record is not None and (leader := record.leader()) is not None:
            # while the leader lives, the group with its pid is ours; programs may have overwritten their mark
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
    """Whether it can still act: a dead one stays as a zombie until its parent asks for it, maybe never."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _marked(wanted: Callable[[str], bool]) -> list[psutil.Process]:
    def carries(process: psutil.Process) -> bool:
        try:
            mark = process.environ().get(MARK)
        except psutil.Error:  # ended meanwhile, or belongs to another user
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
    """All living processes but this one: a supervised program may itself stop its run directory."""
    return (process for process in psutil.process_iter() if process.pid != os.getpid() and _runs(process))


def _signal(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)  # psutil refuses when the pid was given again
