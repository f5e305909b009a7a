"""`kubectl-ferry`, which kubectl runs as `kubectl ferry`: the entry point of the process."""

from __future__ import annotations

import os
import random
import signal
import string
import sys
import time
import traceback
from collections.abc import Iterable
from datetime import UTC, datetime

from vmferry.cli.ferry import completion
from vmferry.cli.ferry.arguments import PROGRAM, parser
from vmferry.cli.ferry.commands import Ferry, Surroundings
from vmferry.cli.ferry.kube import FerryError, Kube, exit_status
from vmferry.cli.terminal import plain
from vmferry.cli.verdict import ExitStatus
from vmferry.resources.hostmaintenance import HostMaintenance
from vmferry.resources.vmmigration import VMMigration
from vmferry.runtime.kube_api import KubeError


def main() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    # as after Ctrl+C, `targets` deletes its request when a pipeline's deadline ends the process
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    words = sys.argv[1:]
    if words[:1] == ["preflight"]:
        from vmferry.cli.preflight import preflight

        preflight.main(args=words[1:], prog_name=f"{PROGRAM} preflight")
    elif words[:1] == ["__complete"]:
        for text in completion.candidates(words[1:], parser(), _names):
            print(text)
        print(completion.NO_FILES)
    else:
        sys.exit(_run(words))


def _run(words: list[str]) -> int:
    ferry: Ferry | None = None
    try:
        ferry = Ferry(parser().parse_args(words), _surroundings())
        status = ferry.run()
        sys.stdout.flush()
        return int(status)
    except (FerryError, KubeError) as error:
        sys.stderr.write(f"Error: {plain(str(error))}\n")
        return int(exit_status(error))
    except KeyboardInterrupt:
        left = f": {ferry.left_behind}" if ferry is not None and ferry.left_behind else ""
        sys.stderr.write(f"\ninterrupted{left}\n")
        return int(ExitStatus.INTERRUPTED)
    except BrokenPipeError:
        # the reader has closed the output; without this, Python would report another error when it flushes
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(ExitStatus.CANNOT_TELL)
    except Exception as error:  # Python would exit with 1 after an internal error, which would look like a verdict
        if os.environ.get("VMFERRY_TRACEBACK"):
            traceback.print_exc()
        sys.stderr.write(
            f"Error: a fault of kubectl-ferry: {plain(f'{type(error).__name__}: {error}')} "
            "(VMFERRY_TRACEBACK=1 tells where)\n"
        )
        return int(ExitStatus.CANNOT_TELL)


def _surroundings() -> Surroundings:
    return Surroundings(
        connect=_connect,
        out=sys.stdout,
        err=sys.stderr,
        environment=os.environ,
        now=lambda: datetime.now(UTC),
        sleep=time.sleep,
        suffix=_suffix,
        ask=_ask if sys.stdin.isatty() else None,
    )


def _connect(kubeconfig: str | None, context: str | None) -> Kube:
    # imported late to keep `--help` and `--dry-run=client` fast
    from vmferry.cli.ferry.kube_client import connect

    return connect(kubeconfig, context)


def _suffix() -> str:
    return "".join(random.choices(string.ascii_lowercase + string.digits, k=5))  # noqa: S311


def _ask(question: str) -> bool:
    sys.stdout.write(question)
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _names(command: str) -> Iterable[str]:
    """The names that a command accepts; empty after any error, because completion must not print errors."""
    try:
        kube = _connect(None, None)
        names: list[str] = []
        if command != "cancel":
            listed = kube.list(HostMaintenance, None)
            names += [body["spec"]["host"] for body in listed] + [body["metadata"]["name"] for body in listed]
        if command in ("status", "why", "cancel"):
            names += [body["metadata"]["name"] for body in kube.list(VMMigration, kube.namespace)]
        return [name for name in names if name.isprintable()]
    except Exception:  # completion ignores every error
        return []
