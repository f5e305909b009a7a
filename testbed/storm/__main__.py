"""`make storm`: random storms, one seed after the other; what goes wrong is told with the least that leads to it.

python -m testbed.storm --seconds 60 --seed 1     # as many as fit
python -m testbed.storm --storms 8                # so many
python -m testbed.storm --replay 4711             # one, with all that happened; --without 3,5 leaves some of it out
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from random import SystemRandom

from testbed.storm.world import Result, storm

#: names of violated rules in the final line; all other rules count as "broken rules"
LINE = {"I3": "moved twice", "lost": "lost", "stuck": "stuck"}
#: number of log lines that are printed for a failed storm
LINES = 60


def least(found: Result) -> Result:
    """Print the command for a minimal storm with the same violations, and return its result.

    It leaves out events one by one while one of the violations remains.
    """
    without: set[int] = set()
    for number in reversed(range(found.happenings)):
        again = storm(found.seed, without=without | {number})
        if again.rules & found.rules:
            without, found = without | {number}, again
    print(f"least: --replay {found.seed}" + (f" --without {','.join(map(str, sorted(without)))}" if without else ""))
    return found


def show(found: Result, lines: int) -> None:
    print("\n".join(line[:400] for line in found.log[-lines:]))
    for wrong in found.wrongs:
        print(f"  {wrong[:600]}")
    sys.stdout.flush()


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="storm", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--storms", type=int, help="so many, however long they take")
    parser.add_argument("--seed", type=int, help="of the first one")
    parser.add_argument("--replay", type=int, metavar="SEED")
    parser.add_argument("--without", default="", help="with --replay: numbers of happenings to leave out")
    asked = parser.parse_args(words)
    if asked.replay is not None:
        found = storm(asked.replay, without={int(n) for n in asked.without.split(",") if n})
        show(found, len(found.log))
        return 1 if found.wrongs else 0
    first = SystemRandom().randrange(10**6) if asked.seed is None else asked.seed
    print(f"storm: from seed {first}", flush=True)
    begun, seed = time.monotonic(), first
    faults = moves = 0
    harms: Counter[str] = Counter()
    while (seed - first < asked.storms) if asked.storms else (time.monotonic() - begun < asked.seconds):
        found = storm(seed)
        faults, moves, seed = faults + found.faults, moves + found.moves, seed + 1
        if found.wrongs:
            print(f"\nstorm {found.seed}:")
            harms.update(LINE.get(rule, "broken rules") for rule in found.rules)
            show(least(found), LINES)
    counts = ", ".join(f"{word} {harms[word]}" for word in (*LINE.values(), "broken rules"))
    print(f"storm: schedules {seed - first}, faults {faults}, moves {moves}, {counts}")
    return 1 if harms else 0


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":  # decides nothing, but the order of sets affects the random draws
        os.execve(
            sys.executable,
            [sys.executable, "-m", "testbed.storm", *sys.argv[1:]],
            {**os.environ, "PYTHONHASHSEED": "0"},
        )
    sys.exit(main(sys.argv[1:]))
