"""Who is woken by what: owners by children, maintenances by each other's claims and by the servers of their host."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.build import host
from tests.runtime.fakes import HOST, child
from vmferry.cloud.model import Snapshot
from vmferry.reconcilers.owned_migrations import OwnedMigration
from vmferry.reconcilers.rows import KINDS
from vmferry.resources.hostmaintenance import HostMaintenance
from vmferry.runtime import triggers
from vmferry.runtime.key import Key
from vmferry.runtime.owned import body_of
from vmferry.runtime.queue import WorkQueue
from vmferry.runtime.store import Body, Store
from vmferry.runtime.triggers import Triggers

OTHER = Key("HostMaintenance", "", "host-b")
CHILD = Key("VMMigration", "vmferry-system", "one")
WAITING = Key("VMMigration", "team", "waits")


class Scene:
    """A store and a triggers by a clock that only the test moves, with two maintenances that nobody has to look at."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.version = 100
        self.by_host: dict[str, tuple[str, ...]] = {}
        self.queue: WorkQueue[Key] = WorkQueue(clock=lambda: self.time)
        #: who could start
        self.up: list[Key] = []
        self.triggers = Triggers(self.queue, lambda: self.by_host, clock=lambda: self.time, next_up=lambda: self.up)
        self.store = Store(KINDS, self.triggers)
        self.maintenance(HOST)
        self.maintenance(OTHER)
        self.woken(60)

    def put(self, key: Key, body: Body, **metadata: Any) -> None:
        self.version += 1
        known = {"name": key.name, "uid": f"uid-{key.name}", "resourceVersion": str(self.version)}
        if key.namespace:
            known["namespace"] = key.namespace
        self.store.put(key.kind, {**body, "metadata": {**body.get("metadata", {}), **known, **metadata}})

    def maintenance(self, key: Key, *, status: Body | None = None, enabled: bool = True, **metadata: Any) -> None:
        self.put(key, {"spec": {"host": key.name, "enabled": enabled}, "status": status or {}}, **metadata)

    def child(self, status: Body | None = None, **metadata: Any) -> None:
        owner = HostMaintenance.read({"metadata": {"name": "host-a", "uid": "uid-host-a"}, "spec": {"host": "host-a"}})
        body = body_of(child("one"), owner)
        self.put(CHILD, {**body, "status": status or {}}, **metadata)

    def woken(self, seconds: float) -> set[Key]:
        """Who is due within that time."""
        self.time += seconds
        found = set()
        while (key := self.queue.poll()) is not None:
            found.add(key)
            self.queue.done(key)
        return found


MOVING = {"phase": "Migrating", "progress": {"percent": 10}}

CHILDREN: dict[str, tuple[Body, dict[str, Any], bool]] = {
    "its phase changes": ({"phase": "Verifying"}, {}, True),
    "it is over": ({"phase": "Succeeded", "completedAt": "2026-01-01T12:00:00Z"}, {}, True),
    "it is being deleted": (MOVING, {"deletionTimestamp": "2026-01-01T12:00:00Z"}, True),
    "another one has its name now": (MOVING, {"uid": "another"}, True),
    "only its copy goes on": ({"phase": "Migrating", "progress": {"percent": 90}}, {}, False),
    "only its labels change": (MOVING, {"annotations": {"by": "somebody"}}, False),
}


@pytest.mark.parametrize(("status", "metadata", "wakes"), CHILDREN.values(), ids=CHILDREN.keys())
def test_an_owner_is_woken_when_of_a_child(status: Body, metadata: dict[str, Any], wakes: bool) -> None:
    scene = Scene()
    scene.child(MOVING)
    assert scene.woken(triggers.KIN_PAUSE) == {HOST}, "it is there"
    scene.child(status, **metadata)
    assert scene.woken(0) == set(), "changes are collected first"
    assert scene.woken(triggers.KIN_PAUSE) == ({HOST} if wakes else set())


def test_an_owner_is_woken_when_a_child_is_gone_even_if_nobody_saw_it_go() -> None:
    scene = Scene()
    scene.child(MOVING)
    scene.woken(60)
    scene.store.prune(CHILD.kind, set(), scene.version)
    assert scene.woken(triggers.KIN_PAUSE) == {HOST}


def test_a_child_whose_owner_is_gone_wakes_nobody() -> None:
    scene = Scene()
    scene.child(MOVING)
    scene.store.remove(HOST)
    scene.woken(60)
    scene.child({"phase": "Failed"})
    assert scene.woken(60) == set()


CLAIMS: dict[str, tuple[Body, dict[str, Any], bool]] = {
    "is switched off": ({"enabled": False}, {}, True),
    "is let in": ({"status": {"admittedAt": "2026-01-01T12:00:00Z"}}, {}, True),
    "is being deleted": ({}, {"deletionTimestamp": "2026-01-01T12:00:00Z"}, True),
    "only counts its servers": ({"status": {"progress": {"total": 3}}}, {}, False),
}


@pytest.mark.parametrize(("change", "metadata", "wakes"), CLAIMS.values(), ids=CLAIMS.keys())
def test_the_others_and_those_that_wait_are_woken_when_a_maintenance(
    change: dict[str, Any], metadata: dict[str, Any], wakes: bool
) -> None:
    scene = Scene()
    scene.triggers.note(WAITING, None, waits=True)
    scene.maintenance(HOST, **change, **metadata)
    assert scene.woken(triggers.KIN_PAUSE) == ({OTHER, WAITING} if wakes else set())


def test_the_others_are_woken_when_a_maintenance_comes_or_goes() -> None:
    scene = Scene()
    third = Key("HostMaintenance", "", "host-c")
    scene.maintenance(third)
    assert scene.woken(triggers.KIN_PAUSE) == {HOST, OTHER}
    scene.store.remove(third)
    assert scene.woken(triggers.KIN_PAUSE) == {HOST, OTHER}


def test_a_maintenance_that_is_over_is_let_sleep() -> None:
    scene = Scene()
    scene.maintenance(OTHER, enabled=False, status={"phase": "Released", "observedGeneration": 1})
    scene.woken(60)
    scene.maintenance(HOST, enabled=False)
    assert scene.woken(60) == set()


def test_an_unreadable_maintenance_keeps_its_claim() -> None:
    scene = Scene()
    scene.put(HOST, {"spec": {"host": 5}})
    assert scene.woken(60) == set()
    assert {claim.name for claim in scene.store.claims_except(OTHER)} == {"host-a"}


#: servers on host-a before and after; which server changed; whether the maintenance is woken
SERVERS: dict[str, tuple[tuple[str, ...], tuple[str, ...], str, bool]] = {
    "one of its servers changes": (("s1",), ("s1",), "s1", True),
    "a server comes": (("s1",), ("s1", "s2"), "s2", True),
    "a server leaves": (("s1", "s2"), ("s1",), "s2", True),
    "its last server leaves": (("s1",), (), "s1", True),
    "a server elsewhere changes": (("s1",), ("s1",), "s3", False),
}


@pytest.mark.parametrize(("before", "after", "changed", "wakes"), SERVERS.values(), ids=SERVERS.keys())
def test_a_maintenance_is_woken_when_of_its_host(
    before: tuple[str, ...], after: tuple[str, ...], changed: str, wakes: bool
) -> None:
    scene = Scene()
    scene.by_host = {"host-a": before}
    scene.triggers.note(HOST, None, waits=False, host="host-a")
    scene.by_host = {"host-a": after}
    scene.triggers.changed({changed}, False)
    assert scene.woken(0) == ({HOST} if wakes else set())


def test_a_host_wakes_at_most_once_in_a_while_and_loses_no_change() -> None:
    scene = Scene()
    scene.by_host = {"host-a": ("s1",)}
    scene.triggers.note(HOST, None, waits=False, host="host-a")
    scene.triggers.changed({"s1"}, False)
    assert scene.woken(0) == {HOST}
    scene.triggers.note(HOST, None, waits=False, host="host-a")
    for _ in range(3):
        scene.triggers.changed({"s1"}, False)
    assert scene.woken(triggers.HOST_INTERVAL / 2) == set()
    assert scene.woken(triggers.HOST_INTERVAL / 2) == {HOST}
    assert scene.woken(60) == set(), "the three were one"
    scene.triggers.forget(HOST)
    scene.triggers.changed({"s1"}, False)
    assert scene.woken(60) == set()


def test_a_server_that_left_between_two_looks_wakes_no_more_once_it_is_elsewhere() -> None:
    scene = Scene()
    scene.by_host = {"host-a": ("s1",)}
    scene.triggers.note(HOST, None, waits=False, host="host-a")
    scene.by_host = {"host-b": ("s1",)}
    scene.triggers.changed({"s1"}, False)
    assert scene.woken(0) == {HOST}
    scene.triggers.changed({"s1"}, False)
    assert scene.woken(60) == set()


def test_children_are_known_by_name_also_those_kept_as_json() -> None:
    scene = Scene()
    scene.child({"phase": "Succeeded", "completedAt": "2026-01-01T12:00:00Z"})
    (known,) = scene.store.owned_by("uid-host-a")
    assert isinstance(known, OwnedMigration)
    assert (known.name, known.number, known.succeeded) == ("one", 1, True)
    assert scene.store.owned_by("uid-host-b") == ()
    scene.store.remove(CHILD)
    assert scene.store.owned_by("uid-host-a") == ()


def test_I18_the_hosts_in_maintenance_are_worked_out_once_for_a_view() -> None:
    scene = Scene()
    view = Snapshot(hosts={name: host(name) for name in ("host-a", "host-b")})
    first = scene.store.in_maintenance(view)
    assert first == {"host-a", "host-b"}
    assert scene.store.in_maintenance(view) is first
    scene.maintenance(HOST, status={"progress": {"total": 3}})
    assert scene.store.in_maintenance(view) is first, "no claim has changed"
    scene.maintenance(HOST, enabled=False)
    assert scene.store.in_maintenance(view) == {"host-b"}
    assert scene.store.in_maintenance(Snapshot()) == frozenset()


def test_a_free_place_wakes_at_once_those_that_could_take_it_and_no_others() -> None:
    scene = Scene()
    thousands = [Key("VMMigration", "team", f"m{n}") for n in range(1000)]
    for key in thousands:
        scene.triggers.note(key, None, waits=True)
    scene.up = thousands[:2]
    scene.triggers.freed()
    assert scene.woken(0) == set(thousands[:2])
    scene.triggers.changed({"s1"}, False)
    assert scene.woken(triggers.UP_INTERVAL / 2) == set(), "these were looked at just now"
    assert scene.woken(triggers.UP_INTERVAL / 2) == set(thousands[:2]), "but the change is not forgotten"
    scene.up = thousands[1:3]
    scene.triggers.changed({"s1"}, False)
    assert scene.woken(0) == {thousands[2]}


def test_a_change_of_hosts_wakes_all_that_wait_and_keeps_nothing_else_waiting_for_them() -> None:
    scene = Scene()
    scene.by_host = {"host-a": ("s1",)}
    scene.triggers.note(WAITING, None, waits=True)
    scene.triggers.note(OTHER, None, waits=True, host="host-b")
    scene.triggers.changed((), True)
    assert scene.queue.poll() == OTHER, "a maintenance first: it keeps a Lease"
    scene.queue.add(HOST)
    assert scene.queue.poll() == HOST
    scene.queue.done(OTHER)
    scene.queue.done(HOST)
    assert scene.queue.poll() == WAITING
