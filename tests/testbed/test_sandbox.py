"""What the sandbox leaves behind, however it ends: nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from testbed import sandbox
from testbed.processes import wait_for

PACKAGES = ("iproute2",)
#: the roots of two hierarchies of control groups (or of the only one)
HIERARCHIES = sorted({path.parent for path in Path("/sys/fs/cgroup").glob("*/cgroup.procs")})[:2]
if Path("/sys/fs/cgroup/cgroup.procs").exists():
    HIERARCHIES = [Path("/sys/fs/cgroup")]
#: files of the machine that must not be touched
COVERED = [Path(folder) / "vmferry-sandboxed" for folder in ("/etc", "/opt", "/run", "/var/lib", "/var/log")]

pytestmark = [
    pytest.mark.simulator,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can make namespaces"),
]


class Run:
    """The program of `sandboxed.py`, from outside."""

    def __init__(self, how: str) -> None:
        self.label = uuid.uuid4().hex
        command = [sys.executable, "-m", "tests.testbed.sandboxed", how, self.label]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        while (line := self.process.stdout.readline()) and "inside" not in line:
            pass
        self.folder = sandbox.folder() / "runs" / str(self.process.pid)

    def end(self) -> tuple[int, str]:
        """Its status and what it printed as errors."""
        _, errors = self.process.communicate(timeout=60)
        return self.process.returncode, errors

    def processes(self) -> list[int]:
        return [process.pid for process in psutil.process_iter() if _label(process) == self.label]

    def groups(self) -> list[Path]:
        name = f"{sandbox.GROUP}/{self.process.pid}"
        return [path for root in HIERARCHIES for path in (root / name).rglob("*") if path.is_dir()]

    def check_nothing_left(self) -> None:
        """Seen without the sandbox's own eyes, and with them."""
        assert not self.processes()
        assert not self.groups()
        assert not self.folder.exists()
        assert str(sandbox.folder()) not in Path("/proc/self/mountinfo").read_text()
        assert not [path for path in COVERED if path.exists()]
        assert not sandbox.leftovers(self.folder)


def _label(process: psutil.Process) -> str | None:
    try:
        return process.environ().get("LABEL") if process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None


@pytest.fixture
def start() -> Iterator[Callable[[str], Run]]:
    runs: list[Run] = []

    def started(how: str) -> Run:
        runs.append(Run(how))
        return runs[-1]

    yield started
    for run in runs:
        run.process.kill()
        run.process.wait()


@pytest.mark.parametrize(("how", "status"), [("ends", 0), ("fails", 3)])
def test_nothing_is_left_after_its_end(how: str, status: int, start: Callable[[str], Run]) -> None:
    run = start(how)
    assert run.end() == (status, "")
    run.check_nothing_left()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_nothing_is_left_after_a_signal(number: signal.Signals, start: Callable[[str], Run]) -> None:
    run = start("waits")
    assert run.groups()
    assert len(run.processes()) > 2
    run.process.send_signal(number)
    assert run.end() == (128 + number, "")
    run.check_nothing_left()


def test_the_next_run_removes_what_a_killed_one_has_left(start: Callable[[str], Run]) -> None:
    run, other = start("waits"), start("waits")
    run.process.kill()
    run.process.wait()
    wait_for(lambda: run.processes() == [run.process.pid] or not run.processes(), 30, "the end of all processes")
    assert run.groups()
    assert any("control group" in name for name in sandbox.leftovers(run.folder))
    assert start("ends").end() == (0, "")
    run.check_nothing_left()
    assert other.groups(), "a run that goes on keeps its groups"
    assert other.processes()


def test_what_is_left_is_reported_by_name(start: Callable[[str], Run]) -> None:
    run = start("waits")
    # as if it had escaped
    stray = subprocess.Popen(["sleep", "600"])
    try:
        (run.groups()[0] / "cgroup.procs").write_text(str(stray.pid))
        run.process.terminate()
        status, errors = run.end()
        assert status == 1
        assert f"left behind: process {stray.pid} (sleep)" in errors
        assert f"left behind: control group {run.groups()[0]}" in errors
    finally:
        stray.kill()
        stray.wait()
    assert start("ends").end() == (0, "")
    run.check_nothing_left()
