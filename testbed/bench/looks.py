"""CPU time of the operator's reconciles by the number of objects, without a process or a network."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import Any

from testbed.bench.clock import best, note
from testbed.bench.fleet import big_fleet
from testbed.build import NOW, index_migrations, migration
from vmferry.cloud.model import Detail, Server, Snapshot
from vmferry.planning.host_assessments import HostAssessments
from vmferry.policy import Limits, Policy
from vmferry.reconcilers.reads import ReadServer
from vmferry.reconcilers.rows import KINDS, VM_MIGRATION
from vmferry.reconcilers.world import World
from vmferry.resources.vmmigration import VMMigration
from vmferry.runtime.key import Key
from vmferry.runtime.store import Store

HOSTS, SERVERS = 500, 10_000
OBJECTS, FLYING = 5_000, 500
FEW = 10
#: above the number of migrations in flight, so that a reconciled migration may start
POLICY = Policy(local_unless_shared=True, limits=Limits(4, 40, 2 * FLYING))
TIME = "2026-03-02T11:59:00Z"


def many_to_few() -> float:
    """Compare a reconcile that starts a new object among 5,000 others (500 in flight) with one among ten."""
    view = big_fleet(HOSTS, SERVERS)
    few, many = _Operator(view, FEW, FEW), _Operator(view, OBJECTS, FLYING)
    a, b = best(3, few.look_at_some, many.look_at_some)
    note(f"a look with {FEW} objects: {a / _SOME * 1000:.1f} ms, with {OBJECTS}: {b / _SOME * 1000:.1f} ms")
    return b / a


#: reconciles per measurement
_SOME = 20


class _Operator:
    def __init__(self, view: Snapshot, objects: int, flying: int) -> None:
        self._servers = list(view.servers.values())
        self._fresh = self._servers[OBJECTS:]
        self._numbers = count(OBJECTS)
        self._store = Store(KINDS)
        self._host_assessments = HostAssessments()
        records = [
            migration(server, n + 1, target_host=_neighbour(server), user_id="vmferry")
            for n, server in enumerate(self._servers[:flying])
        ]
        by_uuid = {one.uuid: one for one in records}
        self._view = replace(view, migrations=by_uuid, migrations_by_server=index_migrations(by_uuid))
        for number, server in enumerate(self._servers[:objects]):
            flies = number < flying
            self._put(number, server, _flying(server, records[number].uuid) if flies else _status(server, "Queued"))

    def _put(self, number: int, server: Server, status: dict[str, Any]) -> Key:
        key = Key(VM_MIGRATION.name, "team", f"m{number:06}")
        metadata = {"namespace": "team", "name": key.name, "uid": key.name, "resourceVersion": str(number + 1)}
        metadata["creationTimestamp"] = TIME
        self._store.put(key.kind, {"metadata": metadata, "spec": {"server": {"id": server.id}}, "status": status})
        return key

    def look_at_some(self) -> None:
        for _ in range(_SOME):
            number = next(self._numbers)
            self._look(self._put(number, self._fresh[number % len(self._fresh)], {}))

    def _look(self, key: Key) -> None:
        """Reconcile like `Reconciler`; a migration that starts counts from then on."""
        obj, world = self._store.get(key), self._world(key)
        assert isinstance(obj, VMMigration)
        decision = VM_MIGRATION.plan(obj, world, NOW, POLICY)
        if isinstance(decision.needs, ReadServer):
            server = self._view.servers[decision.needs.server_id]
            decision = VM_MIGRATION.plan(obj, world.with_answer(decision.needs, Detail(NOW, server)), NOW, POLICY)
        self._store.hold_move(key, decision.move)
        self._store.remove(key)
        self._store.release_held(key)

    def _world(self, key: Key) -> World:
        store, view = self._store, self._view
        return World(
            view,
            moves=store.moves_except(key, view),
            earlier=store.earlier_than(key, view),
            os_upgrades=store.os_upgrades(),
            in_maintenance=store.in_maintenance(view),
            assess_hosts=self._host_assessments.assess_hosts,
        )


def _neighbour(server: Server) -> str:
    number = int((server.host or "")[3:])
    first = number - number % 50
    return f"cmp{first + (number - first + 2) % 50:04}"


def _status(server: Server, phase: str) -> dict[str, Any]:
    of = {"id": server.id, "name": server.name, "state": server.status}
    return {"phase": phase, "type": "Live", "server": of, "sourceHost": server.host, "targetHost": _neighbour(server)}


def _flying(server: Server, record: str) -> dict[str, Any]:
    hosts = {"sourceHost": server.host, "targetHost": _neighbour(server)}
    attempt = {"number": 1, "type": "Live", **hosts, "state": "running", "startedAt": TIME, "migrationID": record}
    return {**_status(server, "Migrating"), "startedAt": TIME, "attempts": [attempt]}
