"""`make crash`: kills the operator at every effect of every path, and prints a final line of counts."""

from __future__ import annotations

import sys
from collections import Counter

from testbed.crash.kill import Harm, points, survive, undisturbed
from testbed.crash.paths import PATHS


def main() -> int:
    total, harms = 0, Counter[Harm]()
    for name, path in PATHS.items():
        sound = undisturbed(path)
        found = 0
        for point in points(sound):
            total += 1
            harm = survive(path, sound, point)
            if harm is not None:
                found += 1
                harms[harm[0]] += 1
                print(f"\n{name}: killed {point}: {harm[0]}\n{harm[1]}\n", flush=True)
        print(f"crash {name}: {sound.effects} effects, {found or 'no'} harm", flush=True)
    survived = total - harms.total()
    counts = ", ".join(f"{harm} {harms[harm]}" for harm in Harm)
    print(f"crash points: {total}, survived {survived}, {counts}")
    return 0 if survived == total else 1


if __name__ == "__main__":
    sys.exit(main())
