"""Threads share the allocator's arenas."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: after the limit is set, if it is, twenty threads allocate at once; prints how many arenas there are
_PROGRAM = """
import ctypes, re, sys, threading
from vmferry.runtime.allocator import limit_arenas
assert sys.argv[1] == "as it is" or limit_arenas()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
together = threading.Barrier(20)
def allocate():
    together.wait(30)
    libc.malloc(ctypes.c_size_t(1000))
    together.wait(30)
threads = [threading.Thread(target=allocate) for _ in range(20)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
libc.fopen.restype = ctypes.c_void_p
libc.malloc_info(0, ctypes.c_void_p(ctypes.c_void_p.in_dll(libc, "stdout").value))
libc.fflush(None)
"""


def _arenas(how: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, how], capture_output=True, text=True, check=True, timeout=300
    )
    return done.stdout.count("<heap nr=")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_twenty_threads_get_two_arenas() -> None:
    assert _arenas("as it is") > 2, "the default of glibc, or the test sees nothing"
    assert _arenas("limited") <= 2
