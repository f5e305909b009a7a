"""The storage class of a server (R2-R4), as far as the cloud and the configuration tell."""

from __future__ import annotations

from vmferry.cloud.model import Host, Server
from vmferry.policy import Policy
from vmferry.prerequisites import host_facts
from vmferry.prerequisites.storage import has_local_disks
from vmferry.resources.words import StorageClass


def storage_class(
    server: Server, source: Host | None, policy: Policy, target: Host | None = None
) -> StorageClass | None:
    """What a move from `source` to `target` has to do with the disks; without a target what they lie on now.

    None: nobody tells whether its ephemeral disks are shared. Off the shared storage of `source` they are copied
    (only a cold migration goes there), so to such a target they count as local.
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
