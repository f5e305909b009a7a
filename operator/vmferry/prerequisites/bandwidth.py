"""Bandwidth (R17): the copies in flight on a host's management network stay within a configured limit.

The limit is in units for each host (`policy.bandwidth`). A live or cold migration weighs one unit, and one more for
each 100 GiB of disk, begun ones counted, that it copies: a local disk, or one that leaves its shared storage. An
evacuation copies nothing. What weighs more than the limit weighs as much as the limit: it runs alone.
"""

from __future__ import annotations

from collections.abc import Mapping

from vmferry.cloud.model import NOVA_TYPE, MigrationStage, ResolvedType
from vmferry.prerequisites import host_facts
from vmferry.prerequisites.check import Finding, Question, failed, passed
from vmferry.prerequisites.enums import Name, Reason
from vmferry.prerequisites.storage import has_local_disks

_NAME = Name.BANDWIDTH
#: GiB of local disk that count like the memory of one more server
GIB_PER_UNIT = 100
_COPYING = (MigrationStage.IN_FLIGHT, MigrationStage.UNKNOWN)


def check(question: Question) -> Finding:
    target, limit = question.target, question.policy.bandwidth
    assert target is not None
    if limit is None:
        return passed(_NAME, "no limit is configured", target.name)
    if question.server.host is None:
        return passed(_NAME, "the server is on no host: nothing to copy", target.name)
    needed = _units(question.server.id, question.server.host, target.name, question, limit)
    for host in (question.server.host, target.name):
        taken = _taken(question, host, limit)
        if taken + needed > limit:
            return failed(
                _NAME,
                Reason.BANDWIDTH_EXCEEDED,
                f"{host}: {needed} units needed, {taken} of {limit} are taken by other moves",
                "wait: it goes on by itself once others have ended; or raise policy.bandwidth",
                host,
                waits=True,
            )
    return passed(_NAME, f"{needed} of {limit} units on either host", target.name)


def _taken(question: Question, host: str, limit: int) -> int:
    """What other moves take of the host's network."""
    on_host = _loads(question, limit).get(host, {})
    return sum(on_host.values()) - on_host.get(question.server.id, 0)


class _LastLook:
    """A look asks every host about the same moves on the same view; all of it is replaced and never changed."""

    of: tuple[object, ...] = ()
    loads: Mapping[str, Mapping[str, int]] = {}


def _loads(question: Question, limit: int) -> Mapping[str, Mapping[str, int]]:
    """By host, and by server, the units of Nova's records, and of moves that are decided or go first."""
    of = (question.snapshot, question.moves, question.earlier, question.policy)
    if len(_LastLook.of) != len(of) or any(one is not other for one, other in zip(_LastLook.of, of, strict=True)):
        _LastLook.of, _LastLook.loads = of, _count(question, limit)
    return _LastLook.loads


def _count(question: Question, limit: int) -> dict[str, dict[str, int]]:
    loads: dict[str, dict[str, int]] = {}
    decided = {move.server_id: move for move in (*question.earlier, *question.moves)}
    for migration in question.snapshot.migrations.values():
        if migration.stage not in _COPYING:
            continue
        # Nova names the target of a cold migration late: until then the decided one counts
        planned = decided.pop(migration.server_id, None)
        target = migration.target_host or (planned.target_host if planned else None)
        if migration.type == NOVA_TYPE[ResolvedType.EVACUATE]:
            continue
        units = _units(migration.server_id, migration.source_host, target, question, limit)
        for host in {migration.source_host or "", target or ""}:
            loads.setdefault(host, {})[migration.server_id] = units
    for move in decided.values():
        if move.type is not ResolvedType.EVACUATE:
            units = _units(move.server_id, move.source_host, move.target_host, question, limit)
            for host in {move.source_host, move.target_host}:
                loads.setdefault(host, {})[move.server_id] = units
    return loads


def _units(server_id: str, source: str | None, target: str | None, question: Question, limit: int) -> int:
    """The weight of the server's move; a server that is not listed weighs like a small one."""
    server = question.snapshot.servers.get(server_id)
    if server is None or not has_local_disks(server) or _shared(question, source, target):
        return min(1, limit)
    return min(1 + -(-server.local_disk_gb // GIB_PER_UNIT), limit)


def _shared(question: Question, source: str | None, target: str | None) -> bool:
    """Whether the disks stay where they are; a target that Nova has not named yet counts as on the same storage."""
    pool = _pool(question, source)
    return pool is not None and (target is None or _pool(question, target) == pool)


def _pool(question: Question, name: str | None) -> str | None:
    host = question.snapshot.hosts.get(name or "")
    return host_facts.storage_pool(host, question.policy).value if host is not None else None
