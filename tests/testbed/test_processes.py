"""The supervisor ends what it started, all of it and nothing else."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from testbed.processes import (
    MARK,
    ProcessDiedError,
    Supervisor,
    cache_dir,
    free_ports,
    make_private,
    plain_environment,
    run_root,
    wait_for,
)

IDLE = ["sleep", "600"]
# says that it runs, so that a test can wait for it
IGNORES_TERM = ["bash", "-c", "trap '' TERM; echo ready; while true; do sleep 0.1; done"]

# each writes the pid of its child to the file `pids`
FAMILIES = {
    "a child in the same process group": "sleep 600 & echo $! > pids; exec sleep 600",
    "a child in a session of its own": "setsid sleep 600 & echo $! > pids; exec sleep 600",
    "a child without the mark in its environment": f"env -u {MARK} sleep 600 & echo $! > pids; exec sleep 600",
    "a child whose parent has ended": "sleep 600 & echo $! > pids; exit 1",
    "a child that ignores TERM": "(trap '' TERM; sleep 600) & echo $! > pids; exec sleep 600",
}


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    supervisor = Supervisor(tmp_path)
    yield supervisor
    supervisor.stop_all(grace=0)


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process like those supervised, leader of its own session, that nobody here may touch."""
    process = subprocess.Popen(IDLE, start_new_session=True)
    yield process
    process.kill()
    process.wait()


def runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_stop_ends_one_program_and_leaves_the_others(supervisor: Supervisor) -> None:
    first, second = supervisor.start("first", IDLE), supervisor.start("second", IDLE)
    supervisor.stop("first")
    assert (runs(first), supervisor.alive("first")) == (False, False)
    assert (runs(second), supervisor.alive("second")) == (True, True)
    assert supervisor.names() == ["second"]


def test_stop_all_ends_the_latest_first(supervisor: Supervisor, tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        says_so = f"trap 'echo {name} >> ended; exit' TERM; echo ready; while true; do sleep 0.05; done"
        supervisor.start(name, ["bash", "-c", says_so], cwd=tmp_path)
        wait_for(lambda name=name: supervisor.log_tail(name) == "ready", 240, f"{name} to be ready")  # type: ignore[misc]
    supervisor.stop_all()
    assert (tmp_path / "ended").read_text().split() == ["c", "a", "b"]
    assert supervisor.names() == []


def test_stop_does_nothing_when_nothing_runs(supervisor: Supervisor) -> None:
    supervisor.stop("never started")
    supervisor.start("program", ["true"])
    wait_for(lambda: not supervisor.alive("program"), 240, "the program to end")
    supervisor.stop("program")
    supervisor.stop("program")


def test_what_ignores_term_is_killed_after_the_grace(supervisor: Supervisor) -> None:
    pid = supervisor.start("stubborn", IGNORES_TERM)
    wait_for(lambda: supervisor.log_tail("stubborn") == "ready", 240, "the program to ignore TERM")
    supervisor.stop("stubborn", grace=0.3)
    assert not runs(pid)


@pytest.mark.parametrize("family", FAMILIES)
def test_stop_ends_also(family: str, supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start("parent", ["bash", "-c", FAMILIES[family]], cwd=tmp_path)
    pids = tmp_path / "pids"
    child = int(wait_for(lambda: pids.exists() and pids.read_text().strip(), 240, "the child to start"))
    if "ended" in family:
        wait_for(lambda: not supervisor.alive("parent"), 240, "the parent to end")
    assert runs(child)
    supervisor.stop("parent", grace=0.5)
    assert not runs(child)


def test_another_process_ends_what_a_killed_starter_left(tmp_path: Path) -> None:
    crashes = """if True:
        import os, signal, sys
        from pathlib import Path
        from testbed.processes import Supervisor
        supervisor = Supervisor(Path(sys.argv[1]))
        supervisor.start("one", ["sleep", "600"])
        supervisor.start("two", ["bash", "-c", "sleep 600 & wait"])
        os.kill(os.getpid(), signal.SIGKILL)
    """
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    starter = subprocess.run([sys.executable, "-c", crashes, tmp_path], env=env)
    assert starter.returncode == -signal.SIGKILL

    supervisor = Supervisor(tmp_path)
    assert supervisor.names() == ["one", "two"]
    pids = [pid for name in supervisor.names() if (pid := supervisor.pid(name)) is not None]
    assert len(pids) == 2
    supervisor.stop_all()
    assert [pid for pid in pids if runs(pid)] == []
    assert supervisor.names() == []


def test_what_a_starter_killed_before_its_record_left_is_ended_too(supervisor: Supervisor, tmp_path: Path) -> None:
    pid = supervisor.start("program", IDLE)
    (tmp_path / "program.process.json").unlink()
    Supervisor(tmp_path).stop_all()
    assert not runs(pid)


def test_a_stranger_with_the_reused_pid_is_left_alone(
    supervisor: Supervisor, stranger: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    supervisor.start("program", IDLE)
    record = tmp_path / "program.process.json"
    content = json.loads(record.read_text())
    supervisor.stop("program")
    # an hour after our program started, and ended unnoticed, its pid was given again
    started = psutil.Process(stranger.pid).create_time() - 3600
    record.write_text(json.dumps({**content, "pid": stranger.pid, "create_time": started}))

    later = Supervisor(tmp_path)
    assert not later.alive("program")
    later.stop_all()
    assert stranger.poll() is None
    assert later.names() == []


def test_a_run_directory_beside_is_left_alone(supervisor: Supervisor, tmp_path: Path) -> None:
    beside = Supervisor(tmp_path / "beside")
    pid = beside.start("program", IDLE)
    supervisor.stop_all()
    assert runs(pid)
    beside.stop_all()
    assert not runs(pid)


def test_a_name_runs_once(supervisor: Supervisor) -> None:
    pid = supervisor.start("program", IDLE)
    with pytest.raises(RuntimeError, match="program already runs"):
        supervisor.start("program", IDLE)
    assert supervisor.pid("program") == pid


def test_a_program_that_ended_can_be_started_again(supervisor: Supervisor) -> None:
    pid = supervisor.start("program", IDLE)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not supervisor.alive("program"), 240, "the program to end")
    assert supervisor.start("program", IDLE) != pid
    assert supervisor.alive("program")


def test_the_environment_is_ours_or_the_given_one(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURS", "1")
    pids = {
        "ours": supervisor.start("ours", IDLE),
        "given": supervisor.start("given", IDLE, env={"PATH": os.environ["PATH"]}),
    }
    carried = {
        # for a moment of its start a program has none
        name: wait_for(psutil.Process(pid).environ, 240, f"the environment of {name}")
        for name, pid in pids.items()
    }
    assert carried["ours"]["OURS"] == "1"
    assert set(carried["given"]) == {"PATH", MARK}


def test_waiting_ends_with_the_last_lines_when_the_program_dies(supervisor: Supervisor) -> None:
    supervisor.start("program", ["bash", "-c", "echo no such database; exit 3"])
    with pytest.raises(ProcessDiedError, match=r"program has ended.*\nno such database"):
        wait_for(lambda: False, 240, "the program to answer", lambda: supervisor.check("program"))


def test_waiting_says_what_it_waited_for() -> None:
    with pytest.raises(TimeoutError, match=r"waited 0\.1 s in vain for the moon"):
        wait_for(lambda: False, 0.1, "the moon")


def test_waiting_returns_what_came(tmp_path: Path) -> None:
    assert wait_for(lambda: "here", 0, "anything") == "here"


def test_free_ports_differ_and_can_be_bound() -> None:
    ports = free_ports(50)
    assert len(set(ports)) == 50
    for port in ports:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", port))


@pytest.mark.parametrize(
    ("variable", "expected"),
    [("/elsewhere", "/elsewhere/vmferry"), ("", "~/.cache/vmferry"), (None, "~/.cache/vmferry")],
)
def test_the_cache_folder_follows_the_convention(
    variable: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable is None:
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    else:
        monkeypatch.setenv("XDG_CACHE_HOME", variable)
    assert cache_dir() == Path(expected).expanduser()


def test_a_folder_that_exists_is_made_private_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    root = tmp_path / "vmferry" / "run"
    root.mkdir(parents=True, mode=0o755)
    root.chmod(0o755)
    assert run_root() == root and root.stat().st_mode & 0o777 == 0o700
    root.chmod(0o777)
    Supervisor(root)
    assert root.stat().st_mode & 0o777 == 0o700


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "vmferry").mkdir()
    (tmp_path / "vmferry").chmod(0o777)
    with pytest.raises(PermissionError, match="written by somebody else"):
        cache_dir()
    (tmp_path / "vmferry").chmod(0o755)
    assert cache_dir() == tmp_path / "vmferry"
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    with pytest.raises(PermissionError):
        cache_dir()
    with pytest.raises(PermissionError):
        make_private(tmp_path / "vmferry")


def test_a_child_is_led_to_no_other_cloud_or_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `make up` prints for a person's shell is exported there when `make demo` runs."""
    for name in ("OS_CLIENT_CONFIG_FILE", "OS_CLOUD", "KUBECONFIG", "VMFERRY_CLOUDS_FILE"):
        monkeypatch.setenv(name, "/elsewhere")
    environment = plain_environment()
    assert "/elsewhere" not in environment.values()
    assert environment["PATH"] == os.environ["PATH"]
