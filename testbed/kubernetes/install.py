"""Builds the control plane (see main.go) and helm into the cache folder, unless they are there already."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from testbed.processes import cache_dir

SOURCE = Path(__file__).resolve().parent
INPUTS = ("go.mod", "go.sum", "main.go")
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl")
HELM = "helm.sh/helm/v3"
PROGRESS_SECONDS = 15


class InstallError(RuntimeError):
    """The programs could not be built; the message says what to do or ends with what Go said."""


def install() -> Path:
    """The folder with `PROGRAMS` and `helm`, built first if go.mod, go.sum or main.go changed.

    A first build takes 5 to 10 minutes on two cores and leaves about 4 GB in the cache folder; afterwards it
    takes seconds. Callers at the same time wait for the first one. InstallError when it fails.
    """
    folder = cache_dir() / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    stamp = folder / "kubernetes.stamp"
    wanted = hashlib.sha256(b"\0".join((SOURCE / name).read_bytes() for name in INPUTS)).hexdigest()
    with _lock(folder / "kubernetes.lock"):
        if not stamp.exists() or stamp.read_text() != wanted:
            stamp.unlink(missing_ok=True)
            _build(folder)
            stamp.write_text(wanted)
    return folder


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        waited = 0
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if waited % PROGRESS_SECONDS == 0:
                    _say(f"another process is building, waiting for it ({waited} s)")
                time.sleep(1)
                waited += 1
        yield


def _build(folder: Path) -> None:
    cache = cache_dir() / "go"
    env = {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOCACHE": str(cache / "build"),
        "GOMODCACHE": str(cache / "mod"),
        # modcacherw: Go's module cache is read-only otherwise, and the cache folder could not be deleted
        "GOFLAGS": "-trimpath -buildvcs=false -mod=readonly -modcacherw",
        "GOWORK": "off",
    }
    _require_go(env)
    unfinished = folder / "unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    cache.mkdir(parents=True, exist_ok=True)
    log = cache / "build.log"
    # grpcnotrace leaves out golang.org/x/net/trace, which keeps the linker from dropping unused methods
    command = ["go", "build", "-v", "-tags", "grpcnotrace", "-ldflags", _linker_flags(env)]
    command += ["-o", f"{unfinished}/", ".", f"{HELM}/cmd/helm"]
    _say("building etcd, kube-apiserver, kube-controller-manager, kubectl and helm")
    started = time.monotonic()
    with log.open("w") as output, subprocess.Popen(command, cwd=SOURCE, env=env, stderr=output) as go:
        try:
            while True:
                try:
                    status = go.wait(timeout=PROGRESS_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    seconds = time.monotonic() - started
                    _say(f"{seconds:.0f} s, the first time takes 5 to 10 minutes; {_progress(log)}")
        except BaseException:
            go.terminate()
            raise
    if status != 0:
        last = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
        raise InstallError(f"go build ended with status {status}; its last lines in {log}:\n{last}")
    for binary in unfinished.iterdir():
        binary.replace(folder / binary.name)  # never half written, and also while an older one runs
    unfinished.rmdir()
    for program in PROGRAMS:
        (folder / program).unlink(missing_ok=True)
        (folder / program).symlink_to("controlplane")
    _say(f"built in {time.monotonic() - started:.0f} s: {folder}")


def _require_go(env: dict[str, str]) -> None:
    """Refuse an older Go than go.mod asks for, unless it fetches that one itself (GOTOOLCHAIN)."""
    found = re.search(r"^go (\S+)$", (SOURCE / "go.mod").read_text(), re.MULTILINE)
    assert found is not None
    needed = found[1]
    if shutil.which("go") is None:
        raise InstallError(f"Go {needed} or newer is needed to build Kubernetes, and no `go` is in PATH")
    answer = subprocess.run(["go", "env", "GOVERSION"], cwd=SOURCE, env=env, capture_output=True, text=True)
    version = answer.stdout.strip()
    if answer.returncode != 0 or _numbers(version) < _numbers(needed):
        raise InstallError(
            f"Go {needed} or newer is needed to build Kubernetes: {answer.stderr.strip() or f'found {version}'}"
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))


def _linker_flags(env: dict[str, str]) -> str:
    """No symbols, and the versions that the programs report: charts look at them."""
    edit = subprocess.run(["go", "mod", "edit", "-json"], cwd=SOURCE, env=env, capture_output=True, check=True)
    versions = {module["Path"]: module["Version"] for module in json.loads(edit.stdout)["Require"]}
    kubernetes = versions["k8s.io/kubernetes"]
    major, minor = _numbers(kubernetes)[:2]
    values = {f"{HELM}/internal/version.version": versions[HELM]}
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
        values |= {
            f"{package}.gitVersion": kubernetes,
            f"{package}.gitMajor": str(major),
            f"{package}.gitMinor": str(minor),
            f"{package}.gitTreeState": "clean",
        }
    for package in (f"{HELM}/pkg/lint/rules", f"{HELM}/pkg/chartutil"):
        values |= {f"{package}.k8sVersionMajor": str(major), f"{package}.k8sVersionMinor": str(minor)}
    return " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in values.items())])


def _progress(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    downloads = sum(line.startswith("go: downloading ") for line in lines)
    compiled = len(lines) - downloads
    return f"modules downloaded: {downloads}, packages compiled: {compiled}"


def _say(message: str) -> None:
    print(f"kubernetes: {message}", flush=True)


if __name__ == "__main__":
    try:
        install()
    except InstallError as error:
        raise SystemExit(f"kubernetes: {error}") from None
