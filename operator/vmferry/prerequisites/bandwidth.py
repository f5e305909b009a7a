"""Bandwidth (R17): the copies in flight on a host's management network stay within a configured limit.

The limit is a number of units for each host (`policy.bandwidth`). A live or cold migration counts as one unit, plus one
for each started 100 GiB of disk that it copies, which is local disk or disk that leaves its shared storage. An
evacuation copies nothing. A move with more units than the limit counts as the limit, so that it runs alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vmferry.cloud.model import NOVA_TYPE, Host, Migration, MigrationStage, ResolvedType, Server
from vmferry.policy import Policy
from vmferry.prerequisites import host_facts
from vmferry.prerequisites.check import Finding, PlannedMove, Question, failed, passed
from vmferry.prerequisites.enums import Name, Reason
from vmferry.prerequisites.storage import has_local_disks

_NAME = Name.BANDWIDTH
#: GiB of copied disk that count as one unit
GIB_PER_UNIT = 100
_COPYING = (MigrationStage.IN_FLIGHT, MigrationStage.UNKNOWN)


def check(question: Question) -> Finding:
    target, limit = question.target, question.policy.bandwidth
    assert target is not None
    if limit is None:
        return passed(_NAME, "no limit is configured", target.name)
    if question.server.host is None:
        return passed(_NAME, "the server is on no host: nothing to copy", target.name)
    snapshot, policy = question.snapshot, question.policy
    loads = snapshot.derived.once(
        _loads, snapshot.migrations, snapshot.servers, snapshot.hosts, question.moves, question.earlier, policy
    )
    needed = _units(question.server, question.server.host, target.name, snapshot.hosts, policy)
    for host in (question.server.host, target.name):
        on_host = loads.get(host, {})
        own = on_host.get(question.server.id, 0) if question.server_is_moving else 0
        taken = sum(on_host.values()) - own
        if taken + needed > limit:
            return failed(
                _NAME,
                Reason.BANDWIDTH_EXCEEDED,
                f"{host}: {needed} units needed, {taken} of {limit} are taken by other moves",
                "wait: it continues when others have ended; or raise policy.bandwidth",
                host,
                waits=True,
            )
    return passed(_NAME, f"{needed} of {limit} units on either host", target.name)


def _loads(
    migrations: Mapping[str, Migration],
    servers: Mapping[str, Server],
    hosts: Mapping[str, Host],
    moves: Sequence[PlannedMove],
    earlier: Sequence[PlannedMove],
    policy: Policy,
) -> Mapping[str, Mapping[str, int]]:
    """Units by host and server id, of Nova's records and of moves that are decided or earlier in the queue."""
    loads: dict[str, dict[str, int]] = {}
    decided = {move.server_id: move for move in (*earlier, *moves)}
    for migration in migrations.values():
        if migration.stage not in _COPYING:
            continue
        # Nova reports the target of a cold migration late; until then the decided target counts
        planned = decided.pop(migration.server_id, None)
        target = migration.target_host or (planned.target_host if planned else None)
        if migration.type == NOVA_TYPE[ResolvedType.EVACUATE]:
            continue
        units = _units(servers.get(migration.server_id), migration.source_host, target, hosts, policy)
        for host in {migration.source_host or "", target or ""}:
            loads.setdefault(host, {})[migration.server_id] = units
    for move in decided.values():
        if move.type is not ResolvedType.EVACUATE:
            units = _units(servers.get(move.server_id), move.source_host, move.target_host, hosts, policy)
            for host in {move.source_host, move.target_host}:
                loads.setdefault(host, {})[move.server_id] = units
    return loads


def _units(
    server: Server | None,
    source: str | None,
    target: str | None,
    hosts: Mapping[str, Host],
    policy: Policy,
) -> int:
    """The units of the server's move; a server that Nova does not list counts as a small one."""
    limit = policy.bandwidth or 0
    pool, there = (_pool(hosts.get(name or ""), policy) for name in (source, target))
    # a target that Nova has not reported yet counts as being on the same storage
    stays = pool is not None and (target is None or there == pool)
    if server is None or not has_local_disks(server) or stays:
        return min(1, limit)
    return min(1 + -(-server.local_disk_gb // GIB_PER_UNIT), limit)


def _pool(host: Host | None, policy: Policy) -> str | None:
    return host_facts.storage_pool(host, policy).value if host is not None else None
