"""Storage (R15; R2-R4, R6, I14): the location of the server's disks decides how much is copied and if data is lost.

Nova reports whether a server boots from a volume, but not whether ephemeral disks are on shared storage: that comes
from the operator's configuration (`sharedStorage`) or from an aggregate's metadata (`shared_storage`).
"""

from __future__ import annotations

from vmferry.cloud.model import FactKind, ResolvedType, Server
from vmferry.prerequisites import host_facts
from vmferry.prerequisites.check import ON_NO_HOST, PLACE_IT, Finding, Question, failed, passed, unknown
from vmferry.prerequisites.enums import Name, Reason

_NAME = Name.STORAGE


def has_local_disks(server: Server) -> bool:
    """Whether the server has data in the host's instances folder; a config drive alone does not count."""
    # size first: servers with different images but equal size then share their findings in `HostAssessments`
    return server.local_disk_gb > 0 or server.image_id is not None


def check(question: Question) -> Finding:
    server, target, policy = question.server, question.target, question.policy
    assert target is not None
    if not has_local_disks(server):
        return passed(_NAME, "volumes only: nothing to copy", target.name)
    if server.host is None:
        return unknown(_NAME, ON_NO_HOST, PLACE_IT)
    for host in filter(None, (question.source, target)):
        pool = host_facts.storage_pool(host, policy)
        if pool.contradictory:
            return unknown(
                _NAME,
                f"it is not certain which shared storage {host.name} is on: {pool}",
                "correct the source that is wrong",
                host.name,
            )
    source_pool = host_facts.storage_pool(question.source, policy).value if question.source else None
    if source_pool is not None:
        if host_facts.storage_pool(target, policy).value == source_pool:
            return passed(_NAME, f"both hosts share {source_pool}", target.name)
        if question.type is ResolvedType.COLD:
            return passed(
                _NAME,
                f"{server.local_disk_gb} GiB will be copied off shared storage {source_pool}: "
                f"{target.name} is not on it",
                target.name,
            )
        return failed(
            _NAME,
            Reason.STORAGE_NOT_SHARED,
            f"the server's disks are on shared storage {source_pool}, {target.name} is not on it",
            f"choose a host on {source_pool}",
            target.name,
        )
    if question.type is not ResolvedType.EVACUATE:
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
        f"whether the disks on {server.host} are shared is unknown; if they are local, evacuation would lose the data"
        f"{host_facts.unreadable(question.source, FactKind.STORAGE_POOL) if question.source else ''}",
        "name the shared storage and its hosts in the operator's configuration (sharedStorage), or in the metadata "
        "of their aggregate (vmferry:shared_storage)",
        server.host,
    )
