"""The paths that are interrupted: all types of migration, and a host's way into maintenance and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from testbed.build import ident
from testbed.lifecycle.drains import Drain, a_cloud
from testbed.lifecycle.little_cloud import LittleCloud
from vmferry.cloud.actions import Refused

SECONDS = 3600
VM = "web-1"


@dataclass(frozen=True, slots=True)
class Path:
    """One sequence from a request to its end."""

    make: Callable[[], Drain]
    #: runs the path with the actions of people; raises AssertionError if it does not finish in time
    live: Callable[[Drain], None]
    #: whether people act at fixed times, so that a crash may change whether a server has moved by then
    by_the_clock: bool = False


# ---- one server


def migration(cloud: LittleCloud, **spec: Any) -> Drain:
    d = Drain(cloud)
    d.migrate("m", ident(VM), **spec)
    return d


def ended(d: Drain) -> None:
    d.run(lambda: "completedAt" in d.migrations["m"].get("status", {}) and not held(d), SECONDS)


def held(d: Drain) -> bool:
    return bool(d.migrations["m"]["metadata"].get("finalizers"))


def deleted_on_its_way(d: Drain) -> None:
    d.rest(5)
    d.delete_migration("m")
    d.run(lambda: "m" not in d.migrations, SECONDS)


def live() -> Drain:
    return migration(a_cloud(VM), type="Live")


def cold() -> Drain:
    return migration(a_cloud(f"{VM} stopped"), type="Cold", target={"host": "cmp3"})


def cold_with_stop_and_start() -> Drain:
    return migration(a_cloud(VM), type="Cold", stopIfRunning=True)


def evacuation() -> Drain:
    cloud = a_cloud(VM, start_after=True)
    cloud.add_host("cmp1", up=False, silent=120)
    return migration(cloud, type="Evacuate")


def timed_out_and_aborted() -> Drain:
    return migration(a_cloud(VM, never_ends=True), type="Live", timeout="20s", retries=0)


def timed_out_and_forced() -> Drain:
    return migration(a_cloud(VM, never_ends=True), type="Live", timeout="20s", onTimeout="ForceComplete")


def refused() -> Drain:
    no = Refused(400, "Compute host cmp2 could not be found.", "req-x")
    return migration(a_cloud(VM, answers=[no] * 100), type="Live", target={"host": "cmp2"})


def second_attempt_elsewhere() -> Drain:
    return migration(a_cloud(VM, bad_targets={"cmp2"}), type="Live")


def answer_lost_and_record_late() -> Drain:
    return migration(a_cloud(VM, lose_answers=1, late_record=6), type="Live")


# ---- a host


def drain(cloud: LittleCloud, **spec: object) -> Drain:
    d = Drain(cloud)
    d.apply("cmp1", **spec)
    return d


def there_and_back(d: Drain) -> None:
    d.in_maintenance(seconds=SECONDS)
    d.apply("cmp1", enabled=False, returnVMs=True)
    d.released(seconds=SECONDS)


def toggled(d: Drain) -> None:
    d.rest(6)
    d.apply("cmp1", enabled=False)
    d.rest(4)
    d.apply("cmp1", enabled=True)
    d.rest(4)
    d.apply("cmp1", enabled=False)
    d.released(seconds=SECONDS)


def deleted(d: Drain) -> None:
    d.rest(12)
    d.delete("cmp1")
    d.gone(seconds=SECONDS)


def dies_on_the_way(d: Drain) -> None:
    d.run(lambda: bool(d.cloud.migrations), SECONDS)
    d.cloud.set_service("cmp1", up=False)
    d.rest(20)
    d.cloud.set_service("cmp1", forced_down=True)
    d.in_maintenance(seconds=SECONDS)
    d.cloud.set_service("cmp1", up=True)
    d.cloud.set_service("cmp1", forced_down=False)
    d.apply("cmp1", enabled=False)
    d.released(seconds=SECONDS)


def small_drain() -> Drain:
    return drain(a_cloud("web-1", "db-1 stopped"))


def drain_by_stop_and_start() -> Drain:
    return drain(a_cloud("web-1", "db-1 stopped"), running="ColdMigrate")


def drain_with_a_target_that_fails() -> Drain:
    return drain(a_cloud("web-1", bad_targets={"cmp2"}))


def drain_of_a_host_that_dies() -> Drain:
    return drain(a_cloud("web-1", "web-2", start_after=True), maxParallel=1, migration={"timeout": "1m"})


def drain_of_a_disabled_host() -> Drain:
    cloud = a_cloud("web-1")
    cloud.set_service("cmp1", enabled=False, disabled_reason="new rack")
    return drain(cloud)


PATHS: dict[str, Path] = {
    "live": Path(live, ended),
    "cold": Path(cold, ended),
    "cold with stop and start": Path(cold_with_stop_and_start, ended),
    "evacuate": Path(evacuation, ended),
    "timeout and abort": Path(timed_out_and_aborted, ended),
    "timeout and forced completion": Path(timed_out_and_forced, ended),
    "refused": Path(refused, ended),
    "second attempt elsewhere": Path(second_attempt_elsewhere, ended),
    "answer lost, record late": Path(answer_lost_and_record_late, ended),
    "live, deleted on its way": Path(live, deleted_on_its_way, by_the_clock=True),
    "cold, deleted on its way": Path(cold_with_stop_and_start, deleted_on_its_way, by_the_clock=True),
    "drain, release, return": Path(small_drain, there_and_back),
    "drain by stop and start": Path(drain_by_stop_and_start, there_and_back),
    "drain, a target fails": Path(drain_with_a_target_that_fails, there_and_back),
    "drain, the host dies": Path(drain_of_a_host_that_dies, dies_on_the_way, by_the_clock=True),
    "drain of a disabled host": Path(drain_of_a_disabled_host, there_and_back),
    "drain, toggled": Path(small_drain, toggled, by_the_clock=True),
    "drain, deleted": Path(small_drain, deleted, by_the_clock=True),
}
