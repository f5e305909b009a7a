"""The storage class of a server (R2-R4), as far as the cloud and the configuration report it."""

from __future__ import annotations

from vmferry.cloud.model import Host, Server
from vmferry.policy import Policy
from vmferry.prerequisites import host_facts
from vmferry.prerequisites.storage import has_local_disks
from vmferry.resources.words import StorageClass


def storage_class(
    server: Server, source: Host | None, policy: Policy, target: Host | None = None
) -> StorageClass | None:
    """The storage class of a move from `source` to `target`; without a target, that of the server's current disks.

    None: it is unknown whether its ephemeral disks are shared. A move off the shared storage of `source` copies them
    (only a cold migration can do so), so for such a target they count as local.
    """
    if not has_local_disks(server):
        return StorageClass.VOLUMES_ONLY
    pool = host_facts.storage_pool(source, policy) if source is not None else None
    if pool is not None and pool.contradictory:
        return None
    if pool is None or pool.value is None:
        return StorageClass.EPHEMERAL_LOCAL if policy.local_unless_shared else None
    there = host_facts.storage_pool(target, policy) if target is not None else pool
    if there.contradictory:
        return None
    return StorageClass.EPHEMERAL_SHARED if there.value == pool.value else StorageClass.EPHEMERAL_LOCAL
