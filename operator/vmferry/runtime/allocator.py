"""Limits the memory that glibc's allocator keeps for threads.

By default glibc creates an arena for every thread, up to eight for each core, and an arena returns little memory to the
system. The threads that read the cloud constantly allocate and free memory, so the process grew by megabytes a minute
while servers were created and deleted, although no object leaked. Two arenas are enough, because the interpreter's lock
lets only one thread allocate at a time.
"""

from __future__ import annotations

import ctypes

#: `M_ARENA_MAX` of glibc's malloc.h
_M_ARENA_MAX = -8
ARENAS = 2


def limit_arenas(arenas: int = ARENAS) -> bool:
    """Set the maximum number of arenas of this process. Call it before threads are started.

    Returns False if it cannot be set: C libraries other than glibc do not have this setting and do not need it.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return bool(mallopt(_M_ARENA_MAX, arenas))
