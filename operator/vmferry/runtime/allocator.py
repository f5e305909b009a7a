"""Limits the memory that glibc's allocator keeps for threads.

By default glibc gives every thread an arena of its own, up to eight for each core, and an arena gives little back. The
threads that read the cloud fill and empty theirs all day, so the process grew by megabytes a minute for as long as
servers came and went, though nothing in it was kept. Two arenas are enough: the interpreter's lock lets one thread
allocate at a time.
"""

from __future__ import annotations

import ctypes

#: `M_ARENA_MAX` of glibc's malloc.h
_M_ARENA_MAX = -8
ARENAS = 2


def limit_arenas(arenas: int = ARENAS) -> bool:
    """Let this process have at most so many arenas; to be called before it starts threads.

    Returns whether it could be set: a C library other than glibc has no such setting, and needs none.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return bool(mallopt(_M_ARENA_MAX, arenas))
