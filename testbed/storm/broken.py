"""The operator broken by hand in typical ways, and that the storm sees each: `python -m testbed.storm.broken`.

A rule that nothing can break proves nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from testbed.storm.breaks import BREAKS
from testbed.storm.world import storm

#: storms that are tried when those that a break names see it no more: after a change of the operator, other dice fall
SEEDS = range(6000, 6060)


@contextmanager
def broken(name: str) -> Iterator[None]:
    with ExitStack() as stack:
        BREAKS[name].how(stack)
        yield


def seen(name: str) -> set[str]:
    """The rules by which the first storm that sees that break does; not every storm has a chance to."""
    rules = BREAKS[name].rules
    for seed in (*BREAKS[name].seeds, *SEEDS):
        with broken(name):
            if by := storm(seed, until=rules).rules & rules:
                return by
    return set()


def main() -> int:
    """A line for each; 1 when one of them is not seen."""
    blind = 0
    for name in BREAKS:
        by = seen(name)
        blind += not by
        print(f"{'seen by ' + ', '.join(sorted(by)) if by else 'NOT SEEN'}: {name}", flush=True)
    return 1 if blind else 0


if __name__ == "__main__":
    sys.exit(main())
