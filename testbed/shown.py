"""Shared parts of the demo: printing, and running `kubectl`."""

from __future__ import annotations

import contextlib
import shlex
import threading
import time
from collections.abc import Iterator

from testbed.bed import ROOT, Bed

MANIFESTS = ROOT / "manifests/demo"


class DemoError(Exception):
    """A step of the demo had an unexpected result."""


def say(text: str = "") -> None:
    print(text, flush=True)


def heading(text: str) -> None:
    say(f"\n== {text}")


class Shown:
    """Runs commands on the bed and prints them as a person would type them."""

    def __init__(self, bed: Bed) -> None:
        self.bed = bed
        self.tenant = bed.tenant

    def kubectl(self, *args: str, show: bool = True) -> str:
        if show:
            say(f"$ kubectl {shlex.join(args)}")
        out = self.bed.cluster.kubectl_run(*args)
        if show:
            say(out.rstrip())
        return out

    def apply(self, file: str) -> None:
        say(f"$ kubectl apply -f manifests/demo/{file}")
        say(self.bed.cluster.kubectl_run("apply", "-f", MANIFESTS / file).rstrip())


@contextlib.contextmanager
def still_working(what: str, every: float = 15) -> Iterator[None]:
    """Print every `every` seconds that long work is still in progress."""
    done = threading.Event()
    began = time.monotonic()

    def beat() -> None:
        while not done.wait(every):
            say(f"   {what}: {time.monotonic() - began:.0f} s")

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
