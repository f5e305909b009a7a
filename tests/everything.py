"""`make test`: runs every part of the tests, whatever becomes of the others, and names all failures at its end.

The tests that need servers mostly wait for them, so these parts run beside the others, which take the processors only
when nobody else does; their output is printed when the others are through.

Exit status 0: all parts passed; 1: a part failed.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.examples import THOROUGH

UNIT = "not simulator and not kubernetes and not nova"
SERVERS = "(simulator or kubernetes) and not nova and not long"
#: folders whose tests are parts of their own, since they take as long as all the others together
APART = ("tests/e2e", "tests/chaos", "tests/security")
#: of the end-to-end tests those that wait for breakers, deletions and restored histories: as long as all the others
SLOW = ("tests/e2e/test_breaker.py", "tests/e2e/test_pipelines.py")
#: seconds between two reports on the parts that run beside the others
REPORT = 30.0
#: seconds that a part may take to stop what it started when the run is ended
GRACE = 60.0
_DONE = re.compile(r"^\S+::.* (PASSED|FAILED|ERROR)", re.MULTILINE)
_FAILED = re.compile(r"^(?:FAILED|ERROR) \S+::.*", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Part:
    """A command, and whether it runs beside the others."""

    name: str
    command: tuple[str, ...]
    beside: bool = False


def _pytest(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-u", "-m", "pytest", "--durations=25", *arguments)


def parts() -> tuple[Part, ...]:
    """In the order in which they are printed."""
    return (
        Part("lint", ("make", "--no-print-directory", "lint")),
        Part("unit", _pytest("-q", "-m", UNIT, f"--hypothesis-profile={THOROUGH}")),
        Part("servers", _pytest("-v", "-m", SERVERS, *(f"--ignore={folder}" for folder in APART)), beside=True),
        Part("nova", _pytest("-v", "-m", "nova and not long"), beside=True),
        Part(
            "end-to-end",
            _pytest("-v", "-m", SERVERS, "tests/e2e", "tests/chaos", *(f"--ignore={file}" for file in SLOW)),
            beside=True,
        ),
        Part("attacks", _pytest("-v", "-m", SERVERS, "tests/security"), beside=True),
        Part("breakers-and-pipelines", _pytest("-v", "-m", SERVERS, *SLOW), beside=True),
    )


def run(parts: Sequence[Part], logs: Path) -> dict[str, str]:
    """Run them all; by name of each part that failed, what there is to say of it."""
    logs.mkdir(parents=True, exist_ok=True)
    files = {part.name: logs / f"{part.name}.log" for part in parts}
    failed: dict[str, str] = {}
    running: list[tuple[Part, subprocess.Popen[bytes]]] = []
    try:
        running += [(part, _start(part, files[part.name])) for part in parts if part.beside]
        for part in parts:
            if not part.beside:
                print(f"== {part.name}", flush=True)
                process = _start(part, files[part.name])
                running.append((part, process))
                _print_until_it_ends(process, files[part.name])
        reported = time.monotonic()
        while any(process.poll() is None for _, process in running):
            if time.monotonic() - reported >= REPORT:
                reported = time.monotonic()
                for part, _ in running:
                    if part.beside:
                        print(f"{part.name}: {len(_DONE.findall(_text(files[part.name])))} tests done", flush=True)
            time.sleep(0.5)
        for part, process in running:
            if part.beside:
                print(f"== {part.name}\n{_text(files[part.name])}", flush=True)
            if process.returncode != 0:
                which = _FAILED.findall(_text(files[part.name]))
                failed[part.name] = "\n".join([f"exit status {process.returncode}", *which])
    finally:
        _end([process for _, process in running if process.poll() is None])
    return failed


def _start(part: Part, log: Path) -> subprocess.Popen[bytes]:
    command = part.command if part.beside else ("nice", *part.command)
    with log.open("wb") as output:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)


def _print_until_it_ends(process: subprocess.Popen[bytes], log: Path) -> None:
    """Follows the file instead of a pipe, which a server that was left behind would keep open."""
    with log.open("rb") as output:
        ended = False
        while not ended:
            ended = process.poll() is not None
            sys.stdout.write(output.read().decode(errors="replace"))
            sys.stdout.flush()
            if not ended:
                time.sleep(0.2)


def _text(log: Path) -> str:
    return log.read_text(errors="replace")


def _end(running: Sequence[subprocess.Popen[bytes]]) -> None:
    """Each part stops its servers itself when it is told to end."""
    for process in running:
        process.terminate()
    until = time.monotonic() + GRACE
    for process in running:
        try:
            process.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    # runs of two checkouts at once keep their logs apart
    logs = cache / "vmferry" / "test-logs" / str(os.getpid())
    begun = time.monotonic()
    failed = run(parts(), logs)
    minutes, seconds = divmod(round(time.monotonic() - begun), 60)
    print(f"\nall parts are through after {minutes} min {seconds} s; their output is in {logs}")
    for name, what in failed.items():
        print(f"FAILED part {name}: {what}")
    print("every part passed" if not failed else f"{len(failed)} parts failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
    sys.exit(130)
