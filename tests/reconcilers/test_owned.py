"""Owned migrations: whose they are, who deletes them, and what Kubernetes refuses (I41, I42)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from testbed.build import ident
from testbed.lifecycle.control_plane import POLICY
from testbed.lifecycle.drains import Drain, a_cloud, where
from testbed.lifecycle.life import Life
from testbed.lifecycle.little_cloud import SERVER, LittleCloud
from vmferry.cloud.actions import AbortMigration
from vmferry.policy import Maintenance
from vmferry.reconcilers.owned import CLASS, Deletion, Owner
from vmferry.reconcilers.owned_migrations import (
    MAINTENANCE,
    PURPOSE,
    ROUND,
    TRY,
    Ownership,
    Purpose,
    label_value,
    labels,
    made_by,
    owned_migration,
    owned_name,
    ownership,
)
from vmferry.reconcilers.reads import ReadDeletion
from vmferry.reconcilers.world import World
from vmferry.resources.base import API_VERSION, format_time
from vmferry.resources.vmmigration import VMMigration

NAMESPACE = "vmferry-system"
OWNER = Owner("cmp1", "hm-1", deleting=False)
GOING = replace(OWNER, deleting=True)


def reference(uid: str = "hm-1") -> list[dict[str, Any]]:
    owner = {"apiVersion": API_VERSION, "kind": "HostMaintenance", "name": "cmp1", "uid": uid, "controller": True}
    return [owner]


def owned(**metadata: Any) -> dict[str, Any]:
    """The metadata of the first drain of SERVER from cmp1."""
    return {
        "name": owned_name("cmp1", "hm-1", SERVER, Purpose.DRAIN, 1, 1),
        "namespace": NAMESPACE,
        "labels": dict(labels("cmp1", Purpose.DRAIN, 1, 1)),
        "ownerReferences": reference(),
        **metadata,
    }


def in_flight(**metadata: Any) -> Life:
    """A live migration, half done, whose resource is being deleted."""
    cloud = LittleCloud(seconds=60)
    for host in ("cmp1", "cmp2"):
        cloud.add_host(host)
    cloud.add_server("cmp1")
    life = Life(cloud, {"target": {"host": "cmp2"}})
    while not [m for m in cloud.migrations if m.status == "running"]:
        life.one_pass()
        cloud.pass_time(timedelta(seconds=2))
    life.body["metadata"] |= {**metadata, "deletionTimestamp": format_time(cloud.now)}
    return life


WISHES = {
    "a person's own migration, deleted by a person": ({}, Deletion(), True),
    "an owned one, deleted by a person while its owner lives": (owned(), Deletion(OWNER), True),
    "with its owner, in the foreground": (owned(), Deletion(GOING), False),
    "after its owner has gone": (owned(), Deletion(None), False),
    "orphaned, and deleted then": (owned(ownerReferences=[]), Deletion(None), False),
    "a person's own, with its namespace": ({}, Deletion(None, namespace_terminating=True), False),
    "an owned one, with its namespace": (owned(), Deletion(OWNER, namespace_terminating=True), False),
}


@pytest.mark.parametrize("case", WISHES, ids=lambda case: case.replace(" ", "-"))
def test_I41_only_a_wish_to_cancel_aborts_a_running_migration(case: str) -> None:
    metadata, deletion, aborted = WISHES[case]
    life = in_flight(**metadata)
    life.deletion = deletion
    world = World(life.cloud.snapshot(), owner=deletion.owner)
    decision = life.look(world)
    assert isinstance(decision.action, AbortMigration) == aborted
    assert decision.events[-1].reason == ("AbortRequested" if aborted else "RunsToCompletion")
    assert decision.finalizer, "it stays until Nova has ended it"


def test_I41_who_deletes_is_read_before_anything_is_aborted() -> None:
    life = in_flight(**owned())
    from vmferry.reconcilers.migration.plan import plan

    decision = plan(life.obj, World(life.cloud.snapshot(), owner=OWNER), life.cloud.now, life.policy)
    assert decision.needs == ReadDeletion()


@pytest.mark.parametrize("propagation", ["Background", "Foreground", "Orphan"])
def test_I41_a_pruned_maintenance_completes_what_has_begun_and_leaves_nothing_cordoned(propagation: str) -> None:
    d = Drain(a_cloud("web-1", "web-2", "web-3", "web-4", seconds=40))
    d.switch()
    d.run(lambda: sum(m.open for m in d.cloud.migrations) == 2)
    d.delete("cmp1", propagation)
    d.run(lambda: "cmp1" not in d.maintenances and not any(m.open for m in d.cloud.migrations))
    d.rest(30)
    assert sorted(m.status for m in d.cloud.migrations) == ["completed", "completed"], d.told("aborted")
    assert all(server.vm_state == "active" for server in d.cloud.servers.values())
    assert sum(host == "cmp1" for host in where(d.cloud).values()) == 2, "what had not begun stays"
    assert d.cloud.hosts["cmp1"].service.enabled, d.told("left cordoned")
    assert d.migrations == {} or propagation == "Orphan", d.told("left behind")


def test_records_kept_by_orphan_propagation_do_not_hinder_the_next_maintenance_of_that_name() -> None:
    d = Drain(a_cloud("web-1", "web-2"))
    d.switch()
    d.in_maintenance()
    kept = set(d.migrations)
    d.delete("cmp1", "Orphan")
    d.run(lambda: "cmp1" not in d.maintenances)
    for server in list(d.cloud.servers):
        d.cloud.servers[server] = replace(d.cloud.servers[server], host="cmp1")
    d.switch()
    d.in_maintenance()
    assert kept < set(d.migrations)
    assert "cmp1" not in where(d.cloud).values()


OWNERSHIPS: dict[str, tuple[dict[str, Any], Owner | None, Ownership]] = {
    "a person's own": ({"name": "web-1", "namespace": "team"}, None, Ownership.NONE),
    "created by its owner": (owned(), OWNER, Ownership.OWNED),
    "created by its owner, which is being deleted": (owned(), GOING, Ownership.OWNED),
    "as version 0.1 named it": (owned(name=f"cmp1-{SERVER[:13]}-1-1"), OWNER, Ownership.OWNED),
    "its owner is not there": (owned(), None, Ownership.OWNER_MISSING),
    "its owner was deleted and created again": (owned(), replace(OWNER, uid="hm-2"), Ownership.OWNER_MISSING),
    "restored from a backup: labels, and no owner": (owned(ownerReferences=[]), None, Ownership.OWNER_MISSING),
    "restored, while an owner of that name is there": (owned(ownerReferences=[]), OWNER, Ownership.OWNER_MISSING),
    "a name of its own": (owned(name="evil-1"), OWNER, Ownership.FALSE_CLAIM),
    "in another namespace": (owned(namespace="team-a"), OWNER, Ownership.FALSE_CLAIM),
    "the name of another round": (owned(labels={**dict(labels("cmp1", Purpose.DRAIN, 2, 1))}), OWNER,
                                  Ownership.FALSE_CLAIM),
    "without labels": (owned(labels={}), OWNER, Ownership.FALSE_CLAIM),
    "labels that are no numbers": (owned(labels={MAINTENANCE: "cmp1", PURPOSE: "drain", ROUND: "x", TRY: "1"}), OWNER,
                                   Ownership.FALSE_CLAIM),
}  # fmt: skip


@pytest.mark.parametrize("case", OWNERSHIPS, ids=lambda case: case.replace(" ", "-"))
def test_I42_whose_a_migration_is(case: str) -> None:
    metadata, owner, expected = OWNERSHIPS[case]
    obj = VMMigration.read({"metadata": metadata, "spec": {"server": {"id": SERVER}}})
    assert ownership(obj, owner, NAMESPACE) is expected


@pytest.mark.parametrize(
    "case", [name for name, row in OWNERSHIPS.items() if row[2] not in (Ownership.NONE, Ownership.OWNED)]
)
def test_I42_what_has_no_owner_moves_nothing_and_reports_it(case: str) -> None:
    metadata, owner, reason = OWNERSHIPS[case]
    cloud = LittleCloud()
    for host in ("cmp1", "cmp2"):
        cloud.add_host(host)
    cloud.add_server("cmp1")
    life = Life(cloud)
    life.body["metadata"] |= metadata
    for _ in range(5):
        decision = life.look(World(cloud.snapshot(), owner=owner))
        assert decision.action is None
        life.body["status"] = decision.status.to_json()
        cloud.pass_time(timedelta(seconds=40))
    assert life.condition("Ready") == ("False", str(reason))
    assert life.condition("Stalled") == ("True", str(reason))
    assert cloud.migrations == []


def forge(d: Drain, name: str, namespace: str = "team-a", **over: Any) -> None:
    """Somebody who may create VMMigrations creates one that says that it belongs to the maintenance."""
    uid = d.maintenances["cmp1"]["metadata"]["uid"]
    metadata = {
        "name": name,
        "namespace": namespace,
        "labels": dict(labels("cmp1", Purpose.DRAIN, 1, 1)),
        "ownerReferences": reference(uid),
        "finalizers": ["mallory.example.org/hold"],
        **over,
    }
    d.api.create("VMMigration", {"metadata": metadata, "spec": {"server": {"id": ident("web-1")}, "paused": True}})


FORGERIES: dict[str, dict[str, Any]] = {
    "in another namespace": {"name": "evil-1"},
    "in our namespace, with a name of its own": {"name": "evil-1", "namespace": NAMESPACE},
    "as finished": {"name": "evil-1"},
    "being deleted, and held by a foreign finalizer": {"name": "evil-1", "deletionTimestamp": "2026-01-01T12:00:00Z"},
}


@pytest.mark.parametrize("case", FORGERIES)
def test_nobody_holds_up_a_host_with_a_migration_that_claims_to_belong_to_its_maintenance(case: str) -> None:
    d = Drain(a_cloud("web-1", "web-2"))
    d.switch()
    forge(d, **FORGERIES[case])
    if case == "as finished":
        d.migrations["evil-1"]["status"] = {"phase": "Cancelled", "completedAt": "2026-01-01T12:00:00Z"}
    forged = {**d.migrations["evil-1"]["metadata"], "resourceVersion": None}
    d.in_maintenance()
    assert d.condition("cmp1", "FalseClaims") == ("True", "FalseClaim")
    found = d.maintenance("cmp1").status.condition("FalseClaims")
    assert found is not None
    assert "evil-1" in found.message
    assert sum("FalseClaim" in line for line in d.log) == 1, "one Event"
    d.switch(enabled=False)
    d.released()
    assert d.migrations["evil-1"]["metadata"] | {"resourceVersion": None} == forged, "what is not ours is never deleted"
    d.migrations.pop("evil-1")
    d.switch(enabled=True)
    d.in_maintenance()
    assert d.condition("cmp1", "FalseClaims") is None


def test_a_taken_name_is_a_conflict_of_one_server_that_names_the_object() -> None:
    d = Drain(a_cloud("web-1", "web-2"))
    d.switch()
    uid = d.maintenances["cmp1"]["metadata"]["uid"]
    name = owned_name("cmp1", uid, ident("web-1"), Purpose.DRAIN, 1, 1)
    d.migrate(name, ident("web-1"), NAMESPACE, paused=True)
    d.blocked()
    assert where(d.cloud)["web-2"] != "cmp1", "the others leave"
    (blocker,) = d.maintenance("cmp1").status.blockers
    assert (blocker.name, blocker.reason) == ("web-1", "Conflict")
    assert name in blocker.message
    d.rest(60)
    writes = d.writes
    d.rest(180)
    assert d.writes == writes, d.told("the status goes to and fro")
    d.migrations.pop(name)
    d.in_maintenance()


def denied(new: object) -> str | None:
    return "422 every object needs the label team"


def test_a_host_is_not_touched_where_its_migrations_cannot_be_created() -> None:
    d = Drain(a_cloud("web-1", "web-2"))
    d.refuses_creates = denied
    d.switch()
    d.blocked()
    d.rest(60)
    assert d.is_("cmp1", "WriteRefused", "False")
    stalled = d.maintenance("cmp1").status.condition("Stalled")
    assert stalled is not None
    assert "every object needs the label team" in stalled.message
    assert sum("WriteRefused" in line for line in d.log) == 1, "one Event"
    assert d.cloud.hosts["cmp1"].service.enabled
    assert d.leases == {}
    d.refuses_creates = lambda new: None
    d.in_maintenance()


def test_what_is_refused_midway_is_reported_and_goes_on_by_itself() -> None:
    d = Drain(a_cloud("web-1", "web-2", "web-3", "web-4"))
    d.switch()
    d.run(lambda: any(m.open for m in d.cloud.migrations))
    d.refuses_creates = denied
    d.blocked()
    assert d.is_("cmp1", "WriteRefused", "False")
    d.rest(60)  # the estimate of its end is dropped once it is over
    writes = d.writes
    d.rest(120)
    d.restart()
    d.rest(120)
    assert d.writes == writes, d.told("the status goes to and fro")
    assert sum("WriteRefused" in line for line in d.log) == 1, "one Event"
    d.refuses_creates = lambda new: None
    d.in_maintenance()


def test_servers_whose_way_back_is_refused_wait_and_the_host_is_in_service() -> None:
    d = Drain(a_cloud("web-1", "web-2"))
    d.switch(returnVMs=True)
    d.in_maintenance()
    d.refuses_creates = denied
    d.switch(enabled=False)
    d.run(lambda: d.is_("cmp1", "WriteRefused", "False"))
    assert d.cloud.hosts["cmp1"].service.enabled
    d.rest(60)
    writes = d.writes
    d.rest(120)
    assert d.writes == writes, d.told("the status goes to and fro")
    d.refuses_creates = lambda new: None
    d.released()
    assert set(where(d.cloud).values()) == {"cmp1"}


def test_a_lease_that_cannot_be_written_is_reported() -> None:
    d = Drain(a_cloud("web-1"))
    d.lease_refused = "404 namespaces vmferry-system not found"
    d.switch()
    d.run(lambda: d.is_("cmp1", "WriteRefused", "False"))
    d.rest(60)
    assert d.cloud.hosts["cmp1"].service.enabled
    d.lease_refused = None
    d.in_maintenance()


def test_owned_migrations_carry_what_the_rules_of_a_cluster_demand_and_the_class_of_their_owner() -> None:
    rules = Maintenance(labels={"team": "compute"}, annotations={"ticket": "OPS-1"})
    d = Drain(a_cloud("web-1"), replace(POLICY, maintenance=rules))
    d.switch()
    d.maintenances["cmp1"]["metadata"]["labels"] = {CLASS: "two"}
    d.in_maintenance()
    (body,) = d.migrations.values()
    assert body["metadata"]["annotations"] == {"ticket": "OPS-1"}
    assert body["metadata"]["labels"] == {
        "team": "compute", CLASS: "two", MAINTENANCE: "cmp1", PURPOSE: "drain", ROUND: "1", TRY: "1",
    }  # fmt: skip


# ---- a host that is not listed (I43)


def held() -> Drain:
    d = Drain(a_cloud("web-1"))
    d.switch()
    d.in_maintenance()
    return d


def hide(d: Drain) -> Callable[[], None]:
    """The shared view lacks cmp1; Nova still knows its service."""
    whole = d.cloud.snapshot
    d.cloud.snapshot = lambda: replace(whole(), hosts={n: h for n, h in whole().hosts.items() if n != "cmp1"})  # type: ignore[method-assign]

    def show() -> None:
        d.cloud.snapshot = whole  # type: ignore[method-assign]

    return show


def test_I43_a_host_that_the_view_lacks_is_enabled_all_the_same_on_its_release() -> None:
    d = held()
    hide(d)
    d.switch(enabled=False)
    d.released()
    assert d.cloud.hosts["cmp1"].service.enabled
    assert d.maintenance("cmp1").status.cordon is None


def test_I43_a_host_that_the_view_lacks_keeps_its_lease_and_its_cordon() -> None:
    d = held()
    show = hide(d)
    d.rest(300)
    assert d.renews("cmp1")
    assert d.maintenance("cmp1").status.cordon is not None
    assert d.maintenances["cmp1"]["metadata"]["finalizers"]
    assert d.is_("cmp1", "HostNotFound", "False")
    show()
    d.in_maintenance()


def test_I43_a_host_that_nova_itself_does_not_know_any_more_is_released() -> None:
    d = held()
    del d.cloud.hosts["cmp1"]
    d.delete("cmp1")
    d.gone()


def test_I43_another_cloud_that_does_not_know_the_host_undoes_nothing() -> None:
    d = held()
    d.maintenances["cmp1"]["status"]["cloud"] = "one@nova.one.example"
    whole = d.cloud.snapshot
    d.cloud.snapshot = lambda: replace(whole(), cloud_id="two@nova.two.example")  # type: ignore[method-assign]
    kept = d.cloud.hosts.pop("cmp1")
    d.switch(enabled=False)
    d.rest(300)
    assert d.maintenance("cmp1").status.cordon is not None
    assert d.maintenances["cmp1"]["metadata"]["finalizers"]
    assert d.is_("cmp1", "HostNotFound", "False")
    # the operator of the right cloud comes back
    d.cloud.snapshot = lambda: replace(whole(), cloud_id="one@nova.one.example")  # type: ignore[method-assign]
    d.cloud.hosts["cmp1"] = kept
    d.released()
    assert d.cloud.hosts["cmp1"].service.enabled


# ---- names


NAMES = {
    "a plain one": "cmp1",
    "with an underscore folded": "rack-1",
    "with dots": "cmp1.az1.example.org",
    "of 253 characters": "a" * 253,
    "that ends in a dash where it is cut": "a" * 199 + "-" + "b" * 50,
}


@pytest.mark.parametrize("case", NAMES)
def test_names_of_owned_migrations_fit_and_differ_in_all_that_they_are_for(case: str) -> None:
    owner = NAMES[case]
    other = SERVER[:-1] + "2"
    of = {
        owned_name(owner, uid, server, purpose, round_, number)
        for uid in ("u1", "u2")
        for server in (SERVER, other)
        for purpose in Purpose
        for round_ in (1, 11)
        for number in (1, 2)
    }
    assert len(of) == 32, "two servers whose ids begin alike, too"
    for name in of:
        assert len(name) <= 253
        assert name.strip("-.") == name
    assert len(label_value(owner)) <= 63
    assert not label_value(owner).endswith(("-", "."))


def test_labels_of_two_long_names_differ() -> None:
    names = ["a" * 63 + "1", "a" * 63 + "2", "a" * 253]
    assert len({label_value(name) for name in names}) == 3


def test_a_child_of_another_uid_is_not_ours() -> None:
    obj = VMMigration.read({"metadata": owned(), "spec": {"server": {"id": SERVER}}})
    found = owned_migration(obj)
    assert made_by(found, "cmp1", "hm-1", NAMESPACE)
    assert not made_by(found, "cmp1", "hm-2", NAMESPACE)
