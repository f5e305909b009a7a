"""Storage (R15; R2-R4, R6): where the server's disks lie decides what a move costs and whether it keeps the data.

Nova tells whether a server boots from a volume. Whether ephemeral disks are on shared storage it tells nobody:
that comes from the operator's configuration (`sharedStorage`).
"""

from __future__ import annotations

from vmferry.cloud.model import Host, MigrationKind, Server
from vmferry.policy import Policy, StoragePool
from vmferry.prerequisites.frame import ON_NO_HOST, PLACE_IT, Finding, Question, failed, passed, unknown
from vmferry.prerequisites.words import Name, Reason

_NAME = Name.STORAGE


def pool_of(host: Host | None, policy: Policy) -> StoragePool | None:
    """The shared storage that a host's ephemeral disks are on, None if none is configured for it."""
    if host is None:
        return None
    names = {aggregate.name for aggregate in host.aggregates}
    return next(
        (p for p in policy.shared_storage if host.name in p.hosts or names & p.aggregates),
        None,
    )


def has_local_disks(server: Server) -> bool:
    """Whether anything of the server lies in the host's instances folder; a bare config drive does not count."""
    return server.image_id is not None or server.local_disk_gb > 0


def check(question: Question) -> Finding:
    server, target, policy = question.server, question.target, question.policy
    assert target is not None
    if not has_local_disks(server):
        return passed(_NAME, "volumes only: nothing to copy", target.name)
    if server.host is None:
        return unknown(_NAME, ON_NO_HOST, PLACE_IT)
    source_pool, target_pool = pool_of(question.source, policy), pool_of(target, policy)
    if source_pool is not None:
        if target_pool is not None and target_pool.name == source_pool.name:
            return passed(_NAME, f"both hosts share {source_pool.name}", target.name)
        return failed(
            _NAME,
            Reason.STORAGE_NOT_SHARED,
            f"the server's disks are on shared storage {source_pool.name}, {target.name} is not on it",
            f"choose a host on {source_pool.name}",
            target.name,
        )
    if question.kind is not MigrationKind.EVACUATE:
        size = f"{server.local_disk_gb} GiB"
        if policy.local_unless_shared:
            return passed(_NAME, f"local disk: {size} will be copied", target.name)
        return passed(
            _NAME,
            f"not known to be shared, so treated as local: up to {size} will be copied",
            target.name,
        )
    if policy.local_unless_shared:
        return failed(
            _NAME,
            Reason.LOCAL_DISK,
            f"the server's disks are local to {server.host}: evacuation would rebuild them and lose the data",
            f"repair {server.host}, or restore the server from a backup",
            server.host,
        )
    return unknown(
        _NAME,
        f"the cloud does not tell whether the disks on {server.host} are shared; if they are local, "
        "evacuation would lose the data",
        "name the shared storage and its hosts in the operator's configuration (sharedStorage)",
        server.host,
    )
