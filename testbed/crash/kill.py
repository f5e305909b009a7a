"""Kills the operator at one effect of a life, starts it again, and judges how it all ended.

An effect is a write to Kubernetes or a change of the cloud. Reads have none: being killed between two of them is being
killed before the next effect.
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

#: how long the operator is away: a Pod that is started again, and a node that is lost (its Lease expires meanwhile)
DOWN = (timedelta(0), timedelta(minutes=5))


class Harm(StrEnum):
    #: a server moved more often than without the crash, or a second move was asked for while one was open
    MOVED_TWICE = "moved twice"
    #: a server in ERROR, on no host or half-way with nobody to see to it
    LOST = "lost"
    #: it does not come to its end in time, or to another one
    STUCK = "stuck"


@dataclass(frozen=True, slots=True)
class Point:
    """Where the operator is killed."""

    #: 1 is the first
    effect: int
    #: the effect has happened, and the operator never learns of it
    after: bool
    down: timedelta

    def __str__(self) -> str:
        return f"{'after' if self.after else 'before'} effect {self.effect}, away for {self.down}"


@dataclass(frozen=True, slots=True)
class End:
    """What a life leaves behind; where a crash must not make a difference."""

    effects: int
    moved: Counter[str]
    #: by server id: vm_state and task_state
    servers: dict[str, tuple[str, str | None]]
    #: (object, phase)
    phases: tuple[tuple[str, str | None], ...]
    #: compute services that are enabled
    enabled: frozenset[str]


def undisturbed(path: Path) -> End:
    """How it ends when nobody is killed."""
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
    """None: it survived. Otherwise what became of it, with the log."""
    d = path.make()
    d.crash_at, d.crash_after, d.down = point.effect, point.after, point.down
    overlaps = watch(d)
    late: str | None = None
    try:
        path.live(d)
        d.rest(40)  # nothing may follow
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
    """The moves that are asked of the cloud while an earlier one of the same server is open (I3)."""
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
    """What nobody would see to its end, empty if there is nothing."""
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
