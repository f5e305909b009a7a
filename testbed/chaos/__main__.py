"""`make chaos SECONDS=600 SEED=1 CLOUD=simulator`: random requests and faults against the real operator process.

Begins no schedule later than after that many seconds; their seeds are SEED, SEED+1 and so on, so one of them is played
again with its seed and SECONDS=1. Ends with
`chaos: schedules N, requests M, faults F, moved twice 0, lost 0, stuck 0, untrue 0, noisy 0`; the exit status is 1
unless all of the last are 0.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from testbed.bed import CLOUDS, OPERATOR
from testbed.chaos.draw import draw
from testbed.chaos.judge import Harm, judge
from testbed.chaos.stage import Stage
from testbed.processes import Supervisor, cache_dir, run_root
from testbed.proxy.thread import Proxies


def say(text: str) -> None:
    print(text, flush=True)


def run(stage: Stage, seed: int, seconds: float, kept: Path) -> bool:
    """Play schedules until `seconds` have passed. Returns whether no harm was found."""
    end = time.monotonic() + seconds
    harms: Counter[Harm] = Counter()
    troubles = played = 0
    try:
        while played == 0 or time.monotonic() < end:
            schedule = draw(seed + played, stage.cloud.hosts)
            played += 1
            before, began = stage.faults.total(), time.monotonic()
            try:
                facts = stage.play(schedule)
            except Exception:
                troubles += 1
                say(f"{schedule}\nseed {schedule.seed}: the stage itself failed\n{traceback.format_exc()}")
                continue
            found = judge(facts)
            harms.update(one.harm for one in found)
            rates = {name: f"{facts.busy[name]:.0f}/{facts.quiet[name]:.0f}" for name in ("compute", "kubernetes")}
            say(
                f"seed {schedule.seed}: {len(facts.objects)} objects, {len(facts.records)} migrations, "
                f"{stage.faults.total() - before} faults, requests a second (on the average/at rest) {rates}, "
                f"{time.monotonic() - began:.0f} s: {len(found) or 'no'} harm"
            )
            if found:
                kept.mkdir(parents=True, exist_ok=True)
                log = kept / f"{stage.cloud.name}-seed{schedule.seed}.log"
                log.write_text(f"{schedule}\n\n" + "\n".join(map(str, found)) + "\n\n" + facts.log)
                say(str(schedule))
                say("\n".join(f"  {one}" for one in found))
                say(f"  again with SEED={schedule.seed} SECONDS=1; the operator's log: {log}")
    finally:
        counts = ", ".join(f"{harm} {harms[harm]}" for harm in Harm)
        say(f"faults met: {', '.join(f'{name} {n}' for name, n in stage.faults.most_common())}")
        if troubles:
            say(f"{troubles} schedules were not played to their end: the stage itself failed")
        say(f"chaos: schedules {played}, requests {stage.requests}, faults {stage.faults.total()}, {counts}")
    return not harms.total() and not troubles


def main() -> int:
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--cloud", choices=CLOUDS, default="simulator")
    parser.add_argument("--seed", type=int, default=int(time.time()) % 1_000_000)
    parser.add_argument("--seconds", type=float, default=300, help="begin no schedule later than this")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything that was started is ended
    folder = Path(tempfile.mkdtemp(prefix="chaos-", dir=run_root()))
    supervisor = Supervisor(folder)
    say(f"chaos: seed {args.seed}, cloud {args.cloud}, for {args.seconds:g} s")
    try:
        with Proxies() as proxies:
            stage = Stage.start(args.cloud, supervisor, folder, proxies)
            return 0 if run(stage, args.seed, args.seconds, cache_dir() / "chaos") else 1
    except Exception:
        say(supervisor.log_tail(OPERATOR, 30))
        raise
    finally:
        supervisor.stop_all(grace=0)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
