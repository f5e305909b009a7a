"""Builds programs from a Go module into the cache folder, unless they are up to date."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.processes import cache_dir

INPUTS = ("go.mod", "go.sum", "main.go")
PROGRESS_SECONDS = 15


class InstallError(RuntimeError):
    """The programs could not be built; the message explains what to do, or ends with Go's output."""


@dataclass(frozen=True)
class Module:
    """A folder with `INPUTS`. Its dependencies are pinned and built in caches that all modules share."""

    #: the name of its stamp file, and the prefix of its output
    name: str
    source: Path
    #: the programs' names for messages, and their packages for Go
    programs: str
    packages: tuple[str, ...]
    #: the duration of a first build on two cores, as text
    patience: str
    #: values of variables that the linker sets, from the module versions in go.mod
    variables: Callable[[Mapping[str, str]], Mapping[str, str]] = lambda versions: {}
    #: additional names of the first program, as symbolic links
    links: tuple[str, ...] = ()

    def install(self) -> Path:
        """Return the folder with the programs; build them first if one of `INPUTS` changed. Raises InstallError.

        Concurrent callers wait for the first.
        """
        folder = cache_dir() / "bin"
        folder.mkdir(parents=True, exist_ok=True)
        stamp = folder / f"{self.name}.stamp"
        wanted = hashlib.sha256(b"\0".join((self.source / name).read_bytes() for name in INPUTS)).hexdigest()
        with self._lock(folder / f"{self.name}.lock"):
            if not stamp.exists() or stamp.read_text() != wanted:
                stamp.unlink(missing_ok=True)
                self._build(folder)
                stamp.write_text(wanted)
        return folder

    @contextmanager
    def _lock(self, path: Path) -> Iterator[None]:
        with path.open("w") as file:
            waited = 0
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if waited % PROGRESS_SECONDS == 0:
                        self._say(f"another process is building, waiting for it ({waited} s)")
                    time.sleep(1)
                    waited += 1
            yield

    def _build(self, folder: Path) -> None:
        cache = cache_dir() / "go"
        env = {
            **os.environ,
            "CGO_ENABLED": "0",
            "GOCACHE": str(cache / "build"),
            "GOMODCACHE": str(cache / "mod"),
            # modcacherw: otherwise Go's module cache is read-only, and the cache folder could not be deleted
            "GOFLAGS": "-trimpath -buildvcs=false -mod=readonly -modcacherw",
            "GOWORK": "off",
        }
        self._require_go(env)
        unfinished = folder / f"unfinished-{self.name}"
        shutil.rmtree(unfinished, ignore_errors=True)
        cache.mkdir(parents=True, exist_ok=True)
        log = cache / f"{self.name}.log"
        # grpcnotrace leaves out golang.org/x/net/trace, which prevents the linker from dropping unused methods
        command = ["go", "build", "-v", "-tags", "grpcnotrace", "-ldflags", self._linker_flags(env)]
        command += ["-o", f"{unfinished}/", *self.packages]
        self._say(f"building {self.programs}")
        started = time.monotonic()
        with log.open("w") as output, subprocess.Popen(command, cwd=self.source, env=env, stderr=output) as go:
            try:
                while True:
                    try:
                        status = go.wait(timeout=PROGRESS_SECONDS)
                        break
                    except subprocess.TimeoutExpired:
                        seconds = time.monotonic() - started
                        self._say(f"{seconds:.0f} s, the first time takes {self.patience}; {_progress(log)}")
            except BaseException:
                go.terminate()
                raise
        if status != 0:
            last = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
            raise InstallError(f"go build ended with status {status}; its last lines in {log}:\n{last}")
        for binary in unfinished.iterdir():
            binary.replace(folder / binary.name)  # replaced atomically, which also works while an older version runs
        unfinished.rmdir()
        for link in self.links:
            (folder / link).unlink(missing_ok=True)
            (folder / link).symlink_to(self._module(env)["Module"]["Path"].rsplit("/", 1)[1])
        self._say(f"built in {time.monotonic() - started:.0f} s: {folder}")

    def _require_go(self, env: dict[str, str]) -> None:
        """Refuse a Go older than go.mod requires, unless it downloads that version itself (GOTOOLCHAIN). Raises
        InstallError."""
        found = re.search(r"^go (\S+)$", (self.source / "go.mod").read_text(), re.MULTILINE)
        assert found is not None
        needed = found[1]
        if shutil.which("go") is None:
            raise InstallError(f"Go {needed} or newer is needed to build {self.programs}, and no `go` is in PATH")
        answer = subprocess.run(["go", "env", "GOVERSION"], cwd=self.source, env=env, capture_output=True, text=True)
        version = answer.stdout.strip()
        if answer.returncode != 0 or numbers(version) < numbers(needed):
            raise InstallError(
                f"Go {needed} or newer is needed to build {self.programs}: "
                f"{answer.stderr.strip() or f'found {version}'}"
            )

    def _linker_flags(self, env: dict[str, str]) -> str:
        """Strip symbols, and set the versions that the programs report."""
        versions = {module["Path"]: module["Version"] for module in self._module(env)["Require"]}
        return " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in self.variables(versions).items())])

    def _module(self, env: dict[str, str]) -> dict[str, Any]:
        edit = subprocess.run(["go", "mod", "edit", "-json"], cwd=self.source, env=env, capture_output=True, check=True)
        found: dict[str, Any] = json.loads(edit.stdout)
        return found

    def _say(self, message: str) -> None:
        print(f"{self.name}: {message}", flush=True)

    def main(self) -> None:
        """Install the programs; the entry point of `make install`."""
        try:
            self.install()
        except InstallError as error:
            raise SystemExit(f"{self.name}: {error}") from None


def numbers(version: str) -> tuple[int, ...]:
    """Convert `go1.26.0` or `v1.26.0` to a comparable tuple."""
    return tuple(int(number) for number in re.findall(r"\d+", version))


def _progress(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    downloads = sum(line.startswith("go: downloading ") for line in lines)
    compiled = len(lines) - downloads
    return f"modules downloaded: {downloads}, packages compiled: {compiled}"
