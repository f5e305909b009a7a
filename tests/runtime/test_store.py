"""The store: which of two bodies is the newer one, ghosts, and the moves that objects are about."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.runtime.fakes import KEY, NOW, SERVER
from vmferry.cloud.model import Flavor, ResolvedType, Server, ServerGroup, Snapshot
from vmferry.prerequisites.check import PlannedMove
from vmferry.reconcilers.rows import KINDS
from vmferry.runtime.key import Key
from vmferry.runtime.store import Body, Store, Unreadable

KIND = KEY.kind


def body(version: int, name: str = "web", uid: str = "u", **rest: Any) -> Body:
    metadata = {"namespace": "team", "name": name, "resourceVersion": str(version), "uid": uid}
    metadata["creationTimestamp"] = "2026-01-01T00:00:00Z"
    metadata["managedFields"] = [{"manager": "kubectl"}]  # type: ignore[assignment]
    return {"metadata": metadata, "spec": {"server": {"id": SERVER}}, **rest}


def version(store: Store, key: Key = KEY) -> str | None:
    obj = store.get(key)
    assert not isinstance(obj, Unreadable)
    return obj.metadata.resource_version if obj else None


def moving(version: int, name: str = "web", target: str = "host-b", *, ended: bool = False) -> Body:
    attempt = {
        "number": 1,
        "type": "Live",
        "sourceHost": "host-a",
        "targetHost": target,
        "state": "Requested",
        "startedAt": "2026-01-01T12:00:00Z",
    }
    if ended:
        attempt["endedAt"] = "2026-01-01T12:01:00Z"
    status = {"server": {"id": SERVER, "name": "web", "state": "ACTIVE"}, "attempts": [attempt]}
    return body(version, name, status=status)


def queued(version: int, name: str, created: str, priority: str = "Normal") -> Body:
    made = body(
        version,
        name,
        status={
            "phase": "Queued",
            "type": "Live",
            "server": {"id": SERVER, "name": "web", "state": "ACTIVE"},
            "sourceHost": "host-a",
            "targetHost": f"to-{name}",
        },
    )
    made["metadata"]["creationTimestamp"] = created
    made["spec"]["priority"] = priority
    return made


def snapshot() -> Snapshot:
    server = Server(
        SERVER, "web", "p", "ACTIVE", "active", None, 1, "host-a", "nova", Flavor("m", 2, 2048, 0), image_id=None
    )
    return Snapshot(servers={SERVER: server})


def test_an_older_body_never_replaces_a_newer_one() -> None:
    store = Store(KINDS)
    assert store.put(KIND, body(9))
    assert not store.put(KIND, body(9)), "the echo of our own write is no news"
    assert not store.put(KIND, body(8))
    assert version(store) == "9"
    assert store.put(KIND, body(10)), "a number, not a text: 10 is after 9"
    assert version(store) == "10"


def test_a_late_event_or_list_does_not_bring_back_a_deleted_object() -> None:
    store = Store(KINDS)
    store.put(KIND, body(5))
    store.remove(KEY, 7)
    assert not store.put(KIND, body(6))
    assert store.get(KEY) is None
    assert store.put(KIND, body(8, uid="other")), "another object of that name may follow"


def test_the_deletion_of_an_older_object_does_not_hide_its_successor() -> None:
    store = Store(KINDS)
    store.put(KIND, body(8, uid="new"))
    store.remove(KEY, 7)
    assert version(store) == "8"


def test_a_list_removes_ghosts_and_only_them() -> None:
    store = Store(KINDS)
    for name, number in (("web", 5), ("ghost", 6), ("younger", 20)):
        store.put(KIND, body(number, name))
    ghosts = store.prune(KIND, {KEY}, 10)
    assert [ghost.name for ghost in ghosts] == ["ghost"]
    assert sorted(key.name for key in store.keys(KIND)) == ["web", "younger"]


@pytest.mark.parametrize("finished", [False, True])
def test_an_object_comes_back_as_it_was_put(finished: bool) -> None:
    store = Store(KINDS)
    status = {"phase": "Succeeded", "completedAt": "2026-01-01T12:00:00Z"} if finished else {"phase": "Blocked"}
    store.put(KIND, body(5, status=status))
    obj = store.get(KEY)
    assert obj is not None
    assert not isinstance(obj, Unreadable)
    assert status.items() <= obj.status.to_json().items()


def test_an_unreadable_object_is_kept_as_such_without_its_values() -> None:
    store = Store(KINDS)
    store.put(KIND, {**body(5), "spec": {"server": {"id": "s3cret"}}})
    found = store.get(KEY)
    assert isinstance(found, Unreadable)
    assert "spec.server.id" in found.message
    assert "s3cret" not in found.message
    store.put(KIND, body(6))
    assert version(store) == "6"


def test_moves_are_those_of_the_statuses_and_those_held() -> None:
    store = Store(KINDS)
    store.put(KIND, moving(1))
    store.put(KIND, moving(2, "over", "host-c", ended=True))
    store.put(KIND, moving(3, "other", "host-d"))
    held = Key(KIND, "team", "held")
    store.put(KIND, body(4, "held"))
    move = PlannedMove(SERVER, ResolvedType.LIVE, "host-a", "host-e", {}, NOW)
    store.hold_move(held, move)
    targets = sorted(m.target_host for m in store.moves_except(KEY, snapshot()))
    assert targets == ["host-d", "host-e"]
    assert store.moves_except(held, snapshot())[0].needs == {"VCPU": 2, "MEMORY_MB": 2048}
    store.release_held(held)
    assert [m.target_host for m in store.moves_except(KEY, snapshot())] == ["host-d"]
    store.remove(Key(KIND, "team", "other"), 9)
    assert store.moves_except(KEY, snapshot()) == ()


def test_who_goes_first_is_priority_then_age() -> None:
    store = Store(KINDS)
    store.put(KIND, queued(1, "web", "2026-01-01T00:00:05Z"))
    store.put(KIND, queued(2, "younger", "2026-01-01T00:00:06Z"))
    store.put(KIND, queued(3, "older", "2026-01-01T00:00:04Z"))
    store.put(KIND, queued(4, "urgent", "2026-01-01T00:00:09Z", "High"))
    store.put(KIND, queued(5, "later", "2026-01-01T00:00:01Z", "Low"))
    assert [m.target_host for m in store.earlier_than(KEY, snapshot())] == ["to-urgent", "to-older"]


ELIGIBLE = [{"host": host, "rank": rank, "message": "empty"} for rank, host in enumerate(("to-older", "host-c"), 1)]
CHOICES: dict[str, tuple[dict[str, Any], str | None, tuple[str, ...] | None]] = {
    "no target: to any of the hosts that it was found to fit": ({}, None, ("host-c",)),
    "a target: there and nowhere else": ({"target": {"host": "to-older"}}, None, None),
    "no target, but a wish of its server group: to the host that it likes best": ({}, "soft-affinity", None),
    "no target, and a strict group, which says what fits": ({}, "anti-affinity", ("host-c",)),
}


@pytest.mark.parametrize("sentence", CHOICES)
def test_I24_where_one_that_waits_may_go(sentence: str) -> None:
    spec, policy, elsewhere = CHOICES[sentence]
    store, view = Store(KINDS), snapshot()
    if policy is not None:
        view = replace(view, server_groups=(ServerGroup("g", "shop", policy, frozenset({SERVER})),))
    older = queued(3, "older", "2026-01-01T00:00:04Z")
    older["spec"] |= spec
    older["status"]["eligibleTargets"] = ELIGIBLE
    store.put(KIND, older)
    store.put(KIND, queued(1, "web", "2026-01-01T00:00:05Z"))
    (before,) = store.earlier_than(KEY, view)
    assert (before.target_host, before.elsewhere) == ("to-older", elsewhere)


def test_what_one_that_waits_sees_of_hosts_gives_nobody_a_place() -> None:
    store, view = Store(KINDS), snapshot()
    waits = queued(1, "web", "2026-01-01T00:00:05Z")
    store.put(KIND, waits)
    assert not store.freed(view)
    with_others = {**waits, "status": {**waits["status"], "eligibleTargets": ELIGIBLE}}
    store.put(KIND, {**with_others, "metadata": {**waits["metadata"], "resourceVersion": "2"}})
    assert not store.freed(view)
    goes_elsewhere = {**with_others, "status": {**with_others["status"], "targetHost": "host-c"}}
    store.put(KIND, {**goes_elsewhere, "metadata": {**waits["metadata"], "resourceVersion": "3"}})
    assert store.freed(view)
