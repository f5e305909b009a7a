"""The cost of planning a drain, and of reconciling a drain in progress."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from testbed.bench.clock import best, note
from testbed.bench.fleet import FLAVORS, IMAGES, big_fleet
from testbed.build import NOW, index_servers, move, server
from vmferry.cloud.actions import DisableService
from vmferry.cloud.model import HostLook, ResolvedType, Snapshot
from vmferry.planning.drain.plan import Departure, DrainPlan, plan_drain
from vmferry.planning.request import NO_OTHERS, Request
from vmferry.policy import Policy
from vmferry.prerequisites.check import PlannedMove
from vmferry.reconcilers.maintenance import plan as hostmaintenance
from vmferry.reconcilers.maintenance.scope import MaintenanceDecision
from vmferry.reconcilers.owned_migrations import OwnedMigration, Purpose, owned_name
from vmferry.reconcilers.reads import HostLease, ReadHost, TakeHostLease, TryCreate
from vmferry.reconcilers.world import World
from vmferry.resources.base import API_VERSION
from vmferry.resources.hostmaintenance import HostMaintenance
from vmferry.resources.words import MigrationType, Phase

HOSTS, SERVERS_PER_HOST = 500, 20
LEAVING, AT_ONCE = 200, 10
#: the drained host, and the number of hosts for each planned move of others
HOST, HOSTS_PER_MOVE = "cmp0000", 10
POLICY = Policy(local_unless_shared=True)


def plan_doubling(hosts: int = HOSTS, leaving: int = LEAVING, times: int = 7) -> float:
    """The plan of a drain of 200 servers with twice the hosts, servers and moves of others, relative to 500 hosts."""
    two, one = crowded(2 * hosts, leaving), crowded(hosts, leaving)
    assert len(one.plan().planned) + len(one.plan().stuck) == leaving
    twice, once = best(times, two.plan, one.plan)
    note(f"plan of {leaving} servers: over {hosts} hosts {once * 1000:.0f} ms, {2 * hosts}: {twice * 1000:.0f} ms")
    return twice / once


def look_to_plan(hosts: int = HOSTS, leaving: int = LEAVING, times: int = 7) -> float:
    """All plans of a reconcile of a drain in progress, without readings, relative to a single plan of as many
    servers."""
    fleet = crowded(hosts, leaving)
    drain = Drain(fleet)
    look, plan = best(times, drain.look, fleet.plan)
    note(
        f"a look at the drain of {leaving} servers over {hosts} hosts: {look * 1000:.0f} ms; plan {plan * 1000:.0f} ms"
    )
    return look / plan


@dataclass(frozen=True, slots=True)
class Crowded:
    """A large fleet with a host that has many servers."""

    view: Snapshot
    leaving: tuple[Departure, ...]
    moves: tuple[PlannedMove, ...]

    def plan(self) -> DrainPlan:
        others = replace(NO_OTHERS, moves=self.moves)
        return plan_drain(self.leaving, self.view, POLICY, NOW, others, ignore_headroom=False)


def crowded(hosts: int, leaving: int) -> Crowded:
    view = big_fleet(hosts, hosts * SERVERS_PER_HOST)
    names = sorted(view.hosts)
    others = [one for one in view.servers.values() if one.host != HOST]
    more = [
        server(
            name=f"more-{n}",
            host=HOST,
            flavor=FLAVORS[n % len(FLAVORS)],
            image_id=IMAGES[n % len(IMAGES)] if n % 3 else None,
        )
        for n in range(leaving - SERVERS_PER_HOST)
    ]
    servers = {**view.servers, **{one.id: one for one in more}}
    view = replace(view, servers=servers, servers_by_host=index_servers(servers))
    request = Request(MigrationType.LIVE, attested=None)
    here = [servers[one] for one in view.servers_by_host[HOST]]
    return Crowded(
        view,
        tuple(Departure(one, request, ResolvedType.LIVE) for one in here),
        tuple(move(one, names[-n]) for n, one in enumerate(others[: hosts // HOSTS_PER_MOVE], 1)),
    )


class Drain:
    """A HostMaintenance in progress: the host is disabled, and ten servers are moving."""

    def __init__(self, fleet: Crowded) -> None:
        view = fleet.view
        service = view.hosts[HOST].service
        body: dict[str, Any] = {
            "apiVersion": API_VERSION,
            "kind": HostMaintenance.KIND,
            "metadata": {"name": HOST, "uid": "hm", "generation": 1, "resourceVersion": "1"},
            "spec": {"host": HOST, "enabled": True, "maxParallel": AT_ONCE},
        }
        self._lease = HostLease(HOST, None)
        world = World(view, moves=fleet.moves).with_answer(TakeHostLease(HOST), self._lease)
        look = HostLook(HOST, NOW, service, frozenset(view.servers_by_host[HOST]))
        world = world.with_answer(ReadHost(HOST), look)
        begun = hostmaintenance.plan(HostMaintenance.read(body), world, NOW, POLICY)
        if isinstance(begun.needs, TryCreate):
            # answers that Kubernetes would create the first migration
            world = world.with_answer(begun.needs, begun.needs.new.name)
            begun = hostmaintenance.plan(HostMaintenance.read(body), world, NOW, POLICY)
        assert isinstance(begun.action, DisableService)
        closed = replace(service, enabled=False, disabled_reason=begun.action.reason)
        hosts = {**view.hosts, HOST: replace(view.hosts[HOST], service=closed)}
        begun.status.round = 1
        self._world = World(
            replace(view, hosts=hosts),
            moves=fleet.moves,
            owned=tuple(_moving(one, n) for n, one in enumerate(fleet.leaving[:AT_ONCE])),
        )
        self._obj = HostMaintenance.read({**body, "status": begun.status.to_json()})
        self._leaving = len(fleet.leaving)

    def look(self) -> MaintenanceDecision:
        """Reconcile like the runtime: plan, read what is needed, plan again."""
        decision, world = hostmaintenance.plan(self._obj, self._world, NOW, POLICY), self._world
        if decision.needs is not None:
            assert decision.needs == TakeHostLease(HOST)
            decision = hostmaintenance.plan(self._obj, world.with_answer(TakeHostLease(HOST), self._lease), NOW, POLICY)
        progress = decision.status.progress
        assert decision.needs is None and progress is not None
        assert (progress.total, progress.moving) == (self._leaving, AT_ONCE)
        return decision


def _moving(leaving: Departure, number: int) -> OwnedMigration:
    ago = NOW - timedelta(seconds=20)
    return OwnedMigration(
        namespace="vmferry-system",
        name=owned_name(HOST, "hm", leaving.server.id, Purpose.DRAIN, 1, 1),
        uid=f"child-{number}",
        resource_version="1",
        server_id=leaving.server.id,
        purpose=Purpose.DRAIN,
        round=1,
        number=1,
        phase=Phase.MIGRATING,
        type=ResolvedType.LIVE,
        source_host=HOST,
        target_host=f"cmp{number + 1:04}",
        created_at=ago,
        started_at=ago,
        completed_at=None,
        deleting=False,
        reason="Migrating",
        message="",
        held_by=None,
        hindrance=None,
    )
