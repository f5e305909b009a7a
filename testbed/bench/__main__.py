"""`make bench`, or `python -m testbed.bench [PART OF A NAME]...`: prints `bench NAME VALUE GOAL ok|short` per figure.

The exit status is always 0: a figure that cannot be measured is `short` with the value `-`, with the reason on stderr.
A new figure needs a row in `FIGURES` and a line in README.md.
"""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from testbed.bench import batches, drains, looks, memory, operating, planning, preflight, refresh, rivals


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured figure; lower is better."""

    name: str
    #: the maximum value
    goal: float
    measure: Callable[[], float]


FIGURES = (
    Figure("refresh-full-to-json-loads", 3, refresh.full_to_json_loads),
    Figure("refresh-full-to-openstacksdk", 0.05, refresh.full_to_openstacksdk),
    Figure("refresh-10-changes-tenfold-fleet", 1.5, refresh.changes_by_fleet),
    Figure("preflight-one-500-hosts-doubling", 2.2, preflight.doubling),
    Figure("preflight-fleet-cached-to-plain", 0.2, preflight.cached_to_plain),
    Figure("preflight-fleet-memory-MiB", 300, preflight.fleet_memory),
    Figure("preflight-fleet-minutes", 2, preflight.fleet_minutes),
    Figure("operator-look-at-one-of-5000-to-10", 1.5, looks.many_to_few),
    Figure("operator-5000-calls-per-live-migration", 4, lambda: operating.seen().calls_live),
    Figure("operator-5000-calls-per-cold-migration", 7, lambda: operating.seen().calls_cold),
    Figure("operator-5000-polls-to-those-of-10", 1.1, lambda: operating.seen().polls),
    Figure("operator-5000-writes-per-live-migration", 6, lambda: operating.seen().writes_live),
    Figure("operator-5000-writes-per-cold-migration", 6, lambda: operating.seen().writes_cold),
    Figure("operator-5000-writes-of-unchanged", 0, lambda: operating.seen().writes_waiting),
    Figure("operator-5000-writes-per-migration-that-waited", 6, lambda: operating.seen().writes_at_turnover),
    Figure("operator-5000-apply-to-request-to-that-of-10", 1.5, lambda: operating.seen().latency),
    Figure("operator-5000-memory-MiB", 400, lambda: operating.seen().memory_mib),
    Figure("operator-5000-slowest-answer-to-renew-deadline", 0.3, lambda: operating.seen().pause),
    Figure("operator-50000-servers-batch-memory-MiB", 400, memory.batch_mib),
    Figure("operator-churn-memory-MiB-an-hour", 20, memory.churn_mib_an_hour),
    Figure("batch-40-servers-to-ideal", 1.1, batches.to_ideal),
    Figure("drain-plan-200-servers-doubling", 2.2, planning.plan_doubling),
    Figure("drain-look-to-plan", 1.5, planning.look_to_plan),
    Figure("drain-100-servers-to-ideal", 1.1, drains.simulated_ratio),
    Figure("drain-nova-to-openstack-loop", 1, rivals.to_the_loop),
    Figure("drain-nova-to-host-evacuate-live", 1.25, rivals.to_host_evacuate_live),
)


def line(figure: Figure) -> str:
    try:
        value = figure.measure()
    except Exception:  # the other figures are still measured
        traceback.print_exc()
        return f"bench {figure.name} - {figure.goal:g} short"
    return f"bench {figure.name} {value:.3g} {figure.goal:g} {'ok' if value <= figure.goal else 'short'}"


def main(wanted: list[str]) -> None:
    for figure in FIGURES:
        if not wanted or any(part in figure.name for part in wanted):
            print(line(figure), flush=True)


if __name__ == "__main__":
    # stops everything that a figure has started
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    main(sys.argv[1:])
