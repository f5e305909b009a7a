"""Drains in any order, with failures, killed anywhere: the safety invariants by their names, and bounds."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from testbed.build import ident
from testbed.lifecycle.control_plane import POLICY
from testbed.lifecycle.drains import HOSTS, Drain, a_cloud, add, moves_of, where
from testbed.lifecycle.little_cloud import LittleCloud
from vmferry.cloud.actions import DisableService, EnableService, LiveMigrate, Outcome, Refused, Unanswered
from vmferry.cloud.model import Flavor, ServerGroup
from vmferry.policy import Maintenance
from vmferry.prerequisites.enums import Reason
from vmferry.reconcilers.maintenance.take_survey import take_survey
from vmferry.resources.base import clip
from vmferry.resources.catalog import HOST_MAINTENANCE
from vmferry.resources.crd import object_schema
from vmferry.resources.hostmaintenance import HostMaintenance
from vmferry.runtime.key import Key

RING = ("ring-1", "ring-2", "ring-3")


# ---- whatever the order


def shuffled(seed: int) -> Drain:
    """Hosts and servers of every movable kind, added in an order of the dice, looked after in such an order."""
    dice = Random(seed)
    cloud = LittleCloud(seconds=dice.choice((4, 8, 20)), late_record=dice.choice((0, 0, 5)))
    steps: list[Callable[[], object]] = [lambda host=host: cloud.add_host(host) for host in (*HOSTS, "cmp4", "cmp5")]  # type: ignore[misc]
    states = {"db-1": "stopped", "db-2": "stopped", "job-1": "paused"}
    names = (*RING, "db-1", "db-2", "job-1", "web-1", "web-2", "web-3")
    steps += [lambda name=name: add(cloud, name, vm_state=states.get(name, "active")) for name in names]  # type: ignore[misc]
    dice.shuffle(steps)
    for step in steps:
        step()
    # two of them share the host that they leave; none may share the next one with more
    cloud.groups.append(ServerGroup("g1", "ring", "anti-affinity", frozenset(map(ident, RING[:2])), 1))
    add(cloud, "other-ring", "cmp2")
    cloud.groups.append(
        ServerGroup("g2", "wide", "anti-affinity", frozenset({ident("ring-3"), ident("other-ring")}), 1)
    )
    d = Drain(cloud)
    d.shuffle = dice
    return d


@pytest.mark.parametrize("seed", range(12))
def test_I24_I25_in_any_order_each_server_moves_exactly_once(seed: int) -> None:
    d = shuffled(seed)
    d.apply("cmp1", maxParallel=Random(seed).randint(1, 6))
    d.in_maintenance()
    assert Counter(server for server, _, _ in d.cloud.moved) == Counter(
        server.id for server in d.cloud.servers.values() if server.name != "other-ring"
    )
    assert not [server for server in d.cloud.servers.values() if server.host == "cmp1" or server.task_state]
    hosts = where(d.cloud)
    assert hosts["ring-1"] != hosts["ring-2"] and hosts["ring-3"] != hosts["other-ring"]
    d.apply("cmp1", enabled=False)
    d.released()
    assert d.cloud.hosts["cmp1"].service.enabled


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_I4_I23_with_failures_nothing_is_lost_or_moved_twice(seed: int) -> None:
    d, dice = shuffled(seed), Random(seed + 1000)
    cloud = d.cloud
    cloud.bad_targets = {dice.choice(("cmp3", "cmp4", "cmp5"))}
    cloud.lose_answers = dice.randint(0, 5)
    act, failures = cloud.act, [dice.randint(0, 3) for _ in range(60)]

    def now_and_then(action: Any) -> Outcome:
        if isinstance(action, DisableService | EnableService):
            return act(action)
        match failures.pop() if failures else 3:
            case 0:
                return Refused(409, "Cannot do that while the instance is busy.", "req-409")
            case 1 if dice.random() < 0.5:
                return Unanswered("connection reset by peer")
        return act(action)

    cloud.act = now_and_then  # type: ignore[method-assign]
    d.apply("cmp1", maxParallel=dice.randint(1, 6), migration={"retries": 4})
    d.run(lambda: d.is_("cmp1", "InMaintenance") or d.stuck(), 7200)
    moved = Counter(server for server, _, _ in cloud.moved)
    assert max(moved.values(), default=0) <= 1, d.told("a server was moved twice")
    blocked = {b.server for b in d.maintenance("cmp1").status.blockers}
    for server in cloud.servers.values():
        assert (server.host == "cmp1") == (server.id in blocked), d.told(f"{server.name} is lost")
        assert server.vm_state != "resized", server.name
    failures.clear()
    d.apply("cmp1", enabled=False)
    d.released()
    assert cloud.hosts["cmp1"].service.enabled


# ---- killed anywhere


def small() -> Drain:
    d = Drain(a_cloud("web-1", "db-1 stopped"))
    d.apply("cmp1")
    return d


def whole(d: Drain) -> None:
    d.in_maintenance(seconds=600)
    d.apply("cmp1", enabled=False, returnVMs=True)
    d.released(seconds=600)


def toggled(d: Drain) -> None:
    d.rest(6)
    d.apply("cmp1", enabled=False)
    d.rest(4)
    d.apply("cmp1", enabled=True)
    d.rest(4)
    d.apply("cmp1", enabled=False)
    d.released(seconds=600)


def deleted(d: Drain) -> None:
    d.rest(12)
    d.delete("cmp1")
    d.gone(seconds=600)


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("live", [whole, toggled, deleted], ids=lambda f: f.__name__)
def test_I2_I8_I20_killed_at_any_effect_it_ends_as_it_should(live: Callable[[Drain], None], after: bool) -> None:
    sound = small()
    live(sound)
    most = {name: moves_of(sound.cloud, name) for name in ("web-1", "db-1")}
    for point in range(1, sound.effects + 1):
        d = small()
        d.crash_at, d.crash_after = point, after
        live(d)
        d.rest(40)
        at = d.told(f"killed {'after' if after else 'before'} effect {point} of {sound.effects}")
        assert d.cloud.hosts["cmp1"].service.enabled, at
        assert not [m for m in d.cloud.migrations if m.open], at
        for server in d.cloud.servers.values():
            assert server.task_state is None and server.vm_state != "resized", at
            if live is whole:
                assert (server.host, moves_of(d.cloud, server.name)) == ("cmp1", 2), at
            else:
                assert moves_of(d.cloud, server.name) <= max(1, most[server.name]), at
        if live is deleted:
            assert not d.maintenances and not d.migrations, at
        else:
            assert d.phase() == "Released" and "finalizers" not in d.maintenances["cmp1"]["metadata"], at


# ---- the invariants that no golden log tells well


def test_I18_never_to_a_host_that_is_in_maintenance_or_queued_or_older_or_out_of_service() -> None:
    cloud = a_cloud("web-1", "web-2", hosts=("cmp1", "good"))
    cloud.add_host("kept")
    cloud.add_host("waits")
    cloud.add_host("older", system="20.04", version=4002000)
    cloud.add_host("off", enabled=False)
    cloud.add_host("down", up=False)
    d = Drain(cloud, replace(POLICY, maintenance=Maintenance(max_hosts_per_cluster=2)))
    d.apply("kept")
    d.in_maintenance("kept")
    d.apply("cmp1")
    d.apply("waits")
    d.in_maintenance()
    assert d.is_("waits", "Queued")
    assert set(where(cloud).values()) == {"good"}


def test_I19_the_call_names_the_host_that_was_planned_and_forces_nothing() -> None:
    d = Drain(a_cloud("web-1"))
    d.apply("cmp1")
    d.run(lambda: bool(d.migrations))
    (body,) = d.migrations.values()
    d.run(lambda: bool(d.cloud.migrations))
    assert d.cloud.migrations[0].target_host == body["spec"]["target"]["host"]
    assert set(LiveMigrate.__dataclass_fields__) == {"server_id", "target_host"}


def test_I20_the_host_is_disabled_before_its_servers_are_moved_and_empty_for_two_looks() -> None:
    d = Drain(a_cloud("web-1"))
    asked: list[Any] = []
    act = d.cloud.act

    def noted(action: Any) -> Outcome:
        asked.append(action)
        return act(action)

    d.cloud.act = noted  # type: ignore[method-assign]
    d.apply("cmp1")
    d.run(lambda: "cmp1" not in where(d.cloud).values())
    empty = d.cloud.now
    d.in_maintenance()
    assert isinstance(asked[0], DisableService)
    assert d.cloud.now - empty >= d.policy.maintenance.settle


def test_I20_a_migration_that_is_still_open_keeps_the_host_from_being_empty() -> None:
    cloud = a_cloud()
    add(cloud, "guest-1", "cmp2")
    cloud.act(LiveMigrate(ident("guest-1"), "cmp1"))
    cloud.never_ends = True
    d = Drain(cloud)
    d.apply("cmp1")
    d.rest(300)
    assert d.condition("cmp1", "Drained") == ("False", "NotEmptyYet")
    cloud.never_ends = False
    d.in_maintenance()
    assert where(cloud)["guest-1"] != "cmp1"


def test_I21_all_blockers_are_told_before_the_first_move_and_nothing_is_stopped_unasked() -> None:
    cloud = a_cloud("web-1", "susp-1 suspended")
    add(cloud, "lock-1", locked=True)
    d = Drain(cloud)
    told: list[list[str]] = []
    d.admission = lambda body: told.append([b.name or "" for b in d.maintenance("cmp1").status.blockers])
    d.apply("cmp1")
    d.blocked()
    assert told == [["lock-1", "susp-1"]], "when the first VMMigration is created"
    assert cloud.servers[ident("lock-1")].vm_state == "active"
    assert not [a for a in cloud.actions if a.action == "stop"]


@pytest.mark.parametrize("ignore", [False, True], ids=["refused", "ignored"])
def test_I22_a_drain_that_leaves_too_little_room_is_refused(ignore: bool) -> None:
    cloud = a_cloud("web-1", hosts=("cmp1", "cmp2"))
    cloud.servers[ident("web-1")] = replace(
        cloud.servers[ident("web-1")], flavor=Flavor("m1.large", 1, 262144 * 3 // 4, 0)
    )
    d = Drain(cloud, replace(POLICY, maintenance=Maintenance(headroom_percent=50)))
    d.apply("cmp1", ignoreHeadroom=ignore)
    if ignore:
        d.in_maintenance()
        return
    d.rest(120)
    assert d.is_("cmp1", Reason.INSUFFICIENT_CAPACITY) and d.phase() == "Blocked"
    assert cloud.hosts["cmp1"].service.enabled and not d.migrations
    cloud.add_host("cmp3")
    d.in_maintenance()


def test_I26_the_budget_holds_in_any_order_and_by_cluster() -> None:
    cloud = a_cloud(hosts=tuple(f"cmp{n}" for n in range(6)))
    cloud.add_host("elsewhere", zone="cluster2")
    d = Drain(cloud, replace(POLICY, maintenance=Maintenance(max_hosts_per_cluster=2)))
    d.shuffle = Random(7)
    names = [*(f"cmp{n}" for n in range(6)), "elsewhere"]
    for name in names:
        d.apply(name)
        d.cloud.pass_time(timedelta(seconds=1))
    order: list[str] = []
    for _ in range(3):
        d.rest(60)
        there = [name for name in names if d.is_(name, "InMaintenance")]
        assert "elsewhere" in there and len(there) == 3, d.told(str(there))
        order += [name for name in there if name != "elsewhere"]
        for name in there:
            if name != "elsewhere":
                d.apply(name, enabled=False)
    assert len(set(order)) == 6, "each has its turn, and nobody waits for ever"


def test_I27_it_is_disabled_again_and_said_once() -> None:
    d = Drain(a_cloud("web-1"))
    d.apply("cmp1")
    d.in_maintenance()
    d.cloud.set_service("cmp1", enabled=True, disabled_reason=None)
    d.in_maintenance()
    d.rest(120)
    assert not d.cloud.hosts["cmp1"].service.enabled
    assert sum("CordonReasserted" in line for line in d.log) == 1


def test_I28_nothing_returns_unasked() -> None:
    d = Drain(a_cloud("web-1"))
    d.apply("cmp1")
    d.in_maintenance()
    d.apply("cmp1", enabled=False)
    d.released()
    d.rest(60)
    assert len(d.cloud.moved) == 1


def test_I28_no_way_back_to_an_older_system() -> None:
    cloud = a_cloud("web-1", hosts=("cmp1", "cmp2"))
    d = Drain(cloud)
    d.apply("cmp1", returnVMs=True)
    d.in_maintenance()
    older = cloud.hosts["cmp1"]
    cloud.add_host("cmp1", system="20.04", version=4002000)
    cloud.hosts["cmp1"] = replace(cloud.hosts["cmp1"], service=older.service)
    d.apply("cmp1", enabled=False)
    d.released()
    assert where(cloud)["web-1"] == "cmp2" and len(cloud.moved) == 1
    assert d.maintenance("cmp1").status.moves[0].state == "Failed"


# ---- what does not change is not written


def idle_in_maintenance() -> Drain:
    d = Drain(a_cloud("web-1"))
    d.apply("cmp1", reason="DIMM 4")
    d.in_maintenance()
    return d


def idle_with_left_ones() -> Drain:
    d = Drain(a_cloud("web-1", "db-1 stopped"))
    d.apply("cmp1", poweredOff="Leave")
    d.in_maintenance()
    return d


def idle_disabled_before() -> Drain:
    d = Drain(a_cloud("web-1"))
    d.cloud.set_service("cmp1", enabled=False, disabled_reason="new rack")
    d.apply("cmp1")
    d.in_maintenance()
    return d


def idle_blocked() -> Drain:
    d = Drain(a_cloud("web-1", "err-1 error"))
    d.apply("cmp1")
    d.blocked()
    return d


def idle_given_up() -> Drain:
    d = Drain(a_cloud("web-1"))
    d.cloud.bad_targets = {"cmp2", "cmp3"}
    d.apply("cmp1", migration={"retries": 0})
    d.blocked()
    return d


def idle_refused() -> Drain:
    d = idle_blocked_cloud(onBlockers="Refuse")
    d.blocked()
    return d


def idle_checked() -> Drain:
    d = idle_blocked_cloud(preflightOnly=True)
    d.run(lambda: d.phase() == "Checked")
    return d


def idle_blocked_cloud(**spec: object) -> Drain:
    cloud = a_cloud("web-1")
    add(cloud, "lock-1", locked=True)
    d = Drain(cloud)
    d.apply("cmp1", **spec)
    return d


def idle_queued() -> Drain:
    d = idle_in_maintenance()
    d.apply("cmp2")
    d.run(lambda: d.phase("cmp2") == "Queued")
    return d


def idle_in_conflict() -> Drain:
    d = idle_in_maintenance()
    d.apply("second", host="cmp1")
    d.run(lambda: d.is_("second", "Conflict"))
    return d


def idle_without_the_lease() -> Drain:
    d = Drain(a_cloud("web-1"))
    d.leases["cmp1"] = "another"
    d.apply("cmp1")
    d.run(lambda: d.is_("cmp1", "Conflict"))
    return d


def idle_without_host() -> Drain:
    d = Drain(a_cloud("web-1"))
    d.apply("cmp9")
    d.run(lambda: d.phase("cmp9") == "Blocked")
    return d


def idle_released() -> Drain:
    d = idle_in_maintenance()
    d.apply("cmp1", enabled=False, returnVMs=True)
    d.released()
    return d


def idle_behind_a_foreign_migration() -> Drain:
    d = Drain(a_cloud("web-1"))
    d.cloud.act(LiveMigrate(ident("web-1"), "cmp2"))
    d.cloud.never_ends = True
    d.apply("cmp1")
    d.rest(10)
    return d


@pytest.mark.parametrize(
    "make",
    [
        idle_in_maintenance,
        idle_with_left_ones,
        idle_disabled_before,
        idle_blocked,
        idle_given_up,
        idle_refused,
        idle_checked,
        idle_queued,
        idle_in_conflict,
        idle_without_the_lease,
        idle_without_host,
        idle_released,
        idle_behind_a_foreign_migration,
    ],
    ids=lambda f: f.__name__,
)
def test_an_idle_maintenance_writes_nothing_and_says_nothing(make: Callable[[], Drain]) -> None:
    d = make()
    d.rest(20)
    before, lines = (d.writes, d.effects), len(d.log)
    d.rest(600)
    assert (d.writes, d.effects) == before
    assert d.log[lines:] == []


# ---- bounds


def check(value: Any, schema: dict[str, Any], path: str = "status") -> None:
    """The bounds that the API server would check."""
    kind = schema.get("type")
    if kind == "object" and "properties" in schema:
        for key, inner in value.items():
            check(inner, schema["properties"][key], f"{path}.{key}")
        assert set(schema.get("required", ())) <= value.keys(), path
    elif kind == "array":
        assert len(value) <= schema["maxItems"], f"{path}: {len(value)}"
        for n, inner in enumerate(value):
            check(inner, schema["items"], f"{path}[{n}]")
    elif kind == "string":
        assert isinstance(value, str), path
        assert len(value) <= schema.get("maxLength", 64), f"{path}: {len(value)}"
        assert "enum" not in schema or value in schema["enum"], path
    elif kind == "integer":
        assert schema.get("minimum", value) <= value <= schema.get("maximum", value), f"{path}: {value}"


@pytest.mark.slow
@pytest.mark.parametrize("hostile", [False, True], ids=["plain", "hostile"])
def test_the_status_of_500_servers_with_200_blockers_is_bounded(hostile: bool) -> None:
    cloud = a_cloud(hosts=("cmp1",))
    for n in range(2, 14):
        cloud.add_host(f"cmp{n}")
    for n in range(500):
        plain = f"vm-{n}"
        name = (f"{n}\x1b[31m\r\n\x00{'🐋' * 300}")[:255] if hostile else plain
        cloud.add_server(
            "cmp1",
            id=ident(plain),
            name=name,
            locked=n < 200,
            locked_reason="\x07\n" + "🐋" * 5000 if hostile else None,
            flavor=Flavor("m1.small", 1, 512, 0),
        )
    reason = "y\n" * 64 if hostile else "DIMM"
    d = Drain(cloud)
    d.apply("cmp1", reason=reason, maxParallel=100)
    d.rest(30)
    body = d.maintenances["cmp1"]
    status = HostMaintenance.read(body).status
    assert status.progress is not None
    assert (status.progress.total, status.progress.blocked) == (500, 200)
    assert len(status.blockers) == 50 and len(status.moves) == 50
    raw = json.dumps(body["status"], ensure_ascii=False)
    assert len(raw.encode()) < 256 * 1024, len(raw)
    schema = object_schema(HOST_MAINTENANCE)["properties"]["status"]
    check(body["status"], schema)
    assert all(clip(line, 10**6) == line for b in status.blockers for line in (b.name, b.message, b.remedy or ""))
    assert cloud.hosts["cmp1"].service.disabled_reason is not None
    assert len(cloud.hosts["cmp1"].service.disabled_reason) <= 255


def test_a_look_at_a_drain_under_way_makes_its_plan_once(monkeypatch: pytest.MonkeyPatch) -> None:
    surveys, looks = 0, 0
    decided = Drain.decided

    def counted(*args: Any) -> Any:
        nonlocal surveys
        surveys += 1
        return take_survey(*args)

    def counted_too(self: Drain, key: Key, decision: Any) -> None:
        nonlocal looks
        looks += key.kind == "HostMaintenance"
        decided(self, key, decision)

    d = Drain(a_cloud("web-1", "web-2", "web-3"))
    d.apply("cmp1")
    d.run(lambda: d.maintenance("cmp1").status.admitted_at is not None)
    for module in ("check", "admission"):
        monkeypatch.setattr(f"vmferry.reconcilers.maintenance.{module}.take_survey", counted)
    monkeypatch.setattr(Drain, "decided", counted_too)
    d.run(lambda: len(d.cloud.moved) == 3)
    assert surveys == looks > 3
