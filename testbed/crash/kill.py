"""Kills the operator at one effect of a path, starts it again, and checks the final state.

An effect is a write to Kubernetes or a change of the cloud. Reads have no effect: a kill between two reads equals a
kill before the next effect.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from testbed.crash.paths import Path
from testbed.lifecycle.drains import Drain
from vmferry.cloud.actions import Move, Outcome

#: downtimes of the operator: a restarted Pod, and a lost node (its Lease expires meanwhile)
DOWN = (timedelta(0), timedelta(minutes=5))


class Harm(StrEnum):
    #: a server moved more often than without the crash, or a second move was requested while the first was open
    MOVED_TWICE = "moved twice"
    #: a server in ERROR, without a host, in an unfinished move, or in another state than without the crash
    LOST = "lost"
    #: the path does not finish in time, or finishes differently than without the crash
    STUCK = "stuck"


@dataclass(frozen=True, slots=True)
class Point:
    """The point at which the operator is killed."""

    #: number of the effect, from 1
    effect: int
    #: kill after the effect, before the operator gets the response
    after: bool
    down: timedelta

    def __str__(self) -> str:
        return f"{'after' if self.after else 'before'} effect {self.effect}, away for {self.down}"


@dataclass(frozen=True, slots=True)
class End:
    """The final state of a path, which a crash must not change."""

    effects: int
    moved: Counter[str]
    #: by server id: vm_state and task_state
    servers: dict[str, tuple[str, str | None]]
    #: (object, phase)
    phases: tuple[tuple[str, str | None], ...]
    #: hosts whose compute services are enabled
    enabled: frozenset[str]


def undisturbed(path: Path) -> End:
    """The final state without a crash."""
    d = path.make()
    overlaps = watch(d)
    path.live(d)
    assert not overlaps and not half_way(d), d.told("this goes wrong without a crash")
    return end_of(d)


def points(sound: End) -> Iterator[Point]:
    for effect in range(1, sound.effects + 1):
        for after in (False, True):
            for down in DOWN:
                yield Point(effect, after, down)


def survive(path: Path, sound: End, point: Point) -> tuple[Harm, str] | None:
    """Run the path with a crash at `point`. None if it survives, otherwise the harm and the log."""
    d = path.make()
    d.crash_at, d.crash_after, d.down = point.effect, point.after, point.down
    overlaps = watch(d)
    late: str | None = None
    try:
        path.live(d)
        d.rest(40)  # no further effect may follow
    except AssertionError as why:
        late = str(why)
    end = end_of(d)
    often = {server: max(1, sound.moved[server]) if path.by_the_clock else sound.moved[server] for server in end.moved}
    if overlaps or any(end.moved[server] > times for server, times in often.items()):
        return Harm.MOVED_TWICE, d.told(f"{overlaps} {end.moved}, without the crash {sound.moved}")
    if late is not None:
        return Harm.STUCK, late
    if wrong := half_way(d):
        return Harm.LOST, d.told(wrong)
    if end.servers != sound.servers:
        return Harm.LOST, d.told(f"{end.servers}, without the crash {sound.servers}")
    same = end.moved == sound.moved and end.phases == sound.phases
    if end.enabled != sound.enabled or not (same or path.by_the_clock):
        return Harm.STUCK, d.told(f"{end}\nwithout the crash {sound}")
    return None


def watch(d: Drain) -> list[str]:
    """Record, in the returned list, moves requested while an earlier move of the same server is open (I3)."""
    overlaps: list[str] = []
    act = d.cloud.act

    def watched(action: Any) -> Outcome:
        if isinstance(action, Move):
            still = [m.uuid for m in d.cloud.migrations if m.server_id == action.server_id and m.open]
            overlaps.extend(f"{action} while {uuid} is open" for uuid in still)
        return act(action)

    d.cloud.act = watched  # type: ignore[method-assign]
    return overlaps


def half_way(d: Drain) -> str:
    """Describe all unfinished work and broken servers; empty if there are none."""
    wrongs = [f"{m.uuid} is {m.status}" for m in d.cloud.migrations if m.open]
    wrongs += [
        f"{server.name} is {server.vm_state}, {server.task_state}, on {server.host}"
        for server in d.cloud.servers.values()
        if server.host not in d.cloud.hosts or server.task_state or server.vm_state in ("error", "resized")
    ]
    wrongs += [f"{body['metadata']['name']} is held" for body in _objects(d) if body["metadata"].get("finalizers")]
    wrongs += [f"the Lease of {host} is still renewed" for host in d.leases if d.renews(host)]
    return "; ".join(wrongs)


def end_of(d: Drain) -> End:
    phases = [(body["metadata"]["name"], body.get("status", {}).get("phase")) for body in _objects(d)]
    return End(
        effects=d.effects,
        moved=Counter(server for server, _, _ in d.cloud.moved),
        servers={s.id: (s.vm_state, s.task_state) for s in d.cloud.servers.values()},
        phases=tuple(sorted(phases)),
        enabled=frozenset(name for name, host in d.cloud.hosts.items() if host.service.enabled),
    )


def _objects(d: Drain) -> list[dict[str, Any]]:
    return [*d.maintenances.values(), *d.migrations.values()]
