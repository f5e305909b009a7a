"""Breaks the operator in typical ways and checks that storms detect each: `python -m testbed.storm.broken`.

Otherwise a rule might pass only because it cannot fail.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from testbed.storm.breaks import BREAKS
from testbed.storm.world import storm

#: seeds that are tried if those of a break no longer detect it: a change of the operator changes the random draws
SEEDS = range(6000, 6060)


@contextmanager
def broken(name: str) -> Iterator[None]:
    with ExitStack() as stack:
        BREAKS[name].how(stack)
        yield


def seen(name: str) -> set[str]:
    """The rules by which the first storm detects the break; empty if none does. Not every storm can detect it."""
    rules = BREAKS[name].rules
    for seed in (*BREAKS[name].seeds, *SEEDS):
        with broken(name):
            if by := storm(seed, until=rules).rules & rules:
                return by
    return set()


def main() -> int:
    """Print a line for each break. Returns 1 if one is not detected."""
    blind = 0
    for name in BREAKS:
        by = seen(name)
        blind += not by
        print(f"{'seen by ' + ', '.join(sorted(by)) if by else 'NOT SEEN'}: {name}", flush=True)
    return 1 if blind else 0


if __name__ == "__main__":
    sys.exit(main())
