"""`make agreement N=1000 SEED=7 SECONDS=2400`: random requests against a real Nova, or the simulator (R21).

Ends with `agreement: A of N, passed-but-refused P, refused-but-possible R`; the exit status is 1 unless P and R are 0.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from testbed.agreement import report
from testbed.agreement.clouds import CLOUDS
from testbed.agreement.draw import draw
from testbed.agreement.fleet import generate
from testbed.agreement.hands import Place
from testbed.agreement.tempo import Tempo
from testbed.agreement.trial import Case
from testbed.agreement.world import TROUBLE, World
from testbed.cloud import CloudLab
from testbed.processes import Supervisor, cache_dir, run_root

#: requests between two changes of the failed hosts
EPOCH = 200
#: number of concurrent requests
WORKERS = 8
#: a run with more troubles than this, and than a tenth of its requests, is aborted
TROUBLES = 20


def say(text: str) -> None:
    print(text, flush=True)


class Run:
    def __init__(self, world: World, seed: int, count: int, seconds: float) -> None:
        self.world, self.seed, self.count = world, seed, count
        self.end = time.monotonic() + seconds
        self.cases: list[Case] = []
        self.troubles: list[str] = []
        self._said = 0.0

    async def all(self) -> None:
        epoch = min(EPOCH, max(40, -(-self.count // 3)))
        steps = iter(range(1, self.count + 1))
        for number in range(-(-self.count // epoch)):
            if time.monotonic() > self.end:
                break
            await self.world.fail_hosts(random.Random(f"{self.seed} hosts {number}"))
            world = self.world
            say(f"hosts: {world.killed} killed, {world.forced} forced down, {world.disabled} disabled")
            part = itertools.islice(steps, epoch)
            await asyncio.gather(*(self._work(part) for _ in range(WORKERS)))

    async def _work(self, steps: Iterator[int]) -> None:
        for step in steps:
            if time.monotonic() > self.end:
                return
            await self._one(step)
            self._progress()

    async def _one(self, step: int) -> None:
        wish, of_failed, which = draw(self.seed, step, self.world.lab.hosts, self.world.fleet.alike)
        case = None
        while case is None:
            doomed = of_failed and bool(self.world.victims)
            places = self.world.victims if doomed else self.world.places
            place = places[int(which * len(places))]
            try:
                case = await self.world.carry_out(wish, place)
            except TROUBLE as error:
                if doomed and place not in self.world.victims:
                    continue  # another request has evacuated it in the meantime
                self.troubles.append(f"step {step}: {type(error).__name__} {error}")
                say(f"  the lab: {self.troubles[-1]}")
                if len(self.troubles) > max(TROUBLES, self.count // 10):
                    raise RuntimeError("the lab does not do as it is told") from error
                await self._mend(place)
                return
        self.cases.append(case)
        if case.outcome in report.DEFECTS:
            say(report.disagreement(case, self.seed))

    async def _mend(self, place: Place) -> None:
        """Replace the server of a place. If that fails too, the place is abandoned."""
        async with place.busy:
            try:
                if place in self.world.places or place in self.world.victims:
                    await self.world.lose(place)
            except TROUBLE as error:
                say(f"  the lab: {place.slot.name} is given up: {error}")
                if place in self.world.places:
                    self.world.places.remove(place)

    def _progress(self) -> None:
        if time.monotonic() - self._said < 15:
            return
        self._said = time.monotonic()
        count = Counter(str(case.outcome) for case in self.cases)
        told = ", ".join(f"{name} {n}" for name, n in count.most_common())
        say(f"  {len(self.cases)} of {self.count}: {told}; {max(0, self.end - time.monotonic()):.0f} s left")


async def run(lab: CloudLab, tempo: Tempo, seed: int, count: int, seconds: float) -> Run:
    """Run all requests. Failures of the lab end the run but do not raise, so that the results so far are reported."""
    world = World(lab, generate(seed), tempo)
    made = Run(world, seed, count, seconds)
    began = time.monotonic()
    try:
        await world.start()
        say(f"{len(world.places)} servers are up after {time.monotonic() - began:.0f} s")
        await made.all()
    except Exception as error:
        traceback.print_exc()
        made.troubles.append(f"given up: {type(error).__name__} {error}")
    finally:
        await world.stop()
    return made


def main() -> int:
    parser = argparse.ArgumentParser(prog="agreement", description=__doc__)
    parser.add_argument("--cloud", choices=CLOUDS, default="nova")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=3600, help="begin no request later than this")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the lab is ended, too
    fleet = generate(args.seed)
    folder = Path(tempfile.mkdtemp(prefix="agreement-", dir=run_root()))
    supervisor = Supervisor(folder)
    began = time.monotonic()
    try:
        kind = CLOUDS[args.cloud]
        lab = kind.start(supervisor, folder, fleet.hosts)
        made = asyncio.run(run(lab, kind.tempo, args.seed, args.requests, args.seconds))
    finally:
        supervisor.stop_all(grace=0)
        shutil.rmtree(folder, ignore_errors=True)
    cases = made.cases
    path = cache_dir() / "agreement" / f"{args.cloud}-seed{args.seed}-n{args.requests}-{int(time.time())}.json"
    seconds = time.monotonic() - began
    facts = {
        "cloud": args.cloud,
        "seconds": round(seconds),
        "troubles": made.troubles,
        "hosts": [asdict(h) for h in fleet.hosts],
    }
    report.write(path, args.seed, cases, facts)
    say("")
    for case in cases:
        if case.outcome in report.DEFECTS:
            say(report.disagreement(case, args.seed))
    say("\n".join(["", *report.by_outcome(cases), "", *report.confusion(cases), ""]))
    say("\n".join(["stricter than Nova on purpose:", *report.policies(cases), ""]))
    say(f"took {seconds:.0f} s; {len(made.troubles)} times the lab was late; all cases: {path}")
    say("\n".join(report.closing(cases, args.requests)))
    given_up = any(trouble.startswith("given up") for trouble in made.troubles)
    return 1 if given_up or any(case.outcome in report.DEFECTS for case in cases) else 0


if __name__ == "__main__":
    sys.exit(main())
