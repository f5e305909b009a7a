"""The storage class of a server (R2-R4), as far as the cloud and the configuration tell."""

from __future__ import annotations

from vmferry.cloud.model import Host, Server
from vmferry.policy import Policy
from vmferry.prerequisites import told
from vmferry.prerequisites.storage import has_local_disks
from vmferry.resources.words import StorageClass


def storage_class(server: Server, source: Host | None, policy: Policy) -> StorageClass | None:
    """None: nobody tells whether its ephemeral disks are shared."""
    if not has_local_disks(server):
        return StorageClass.VOLUMES_ONLY
    pool = told.storage_pool(source, policy) if source is not None else None
    if pool is not None and pool.value is not None:
        return StorageClass.EPHEMERAL_SHARED
    if pool is not None and pool.contradictory:
        return None
    return StorageClass.EPHEMERAL_LOCAL if policy.local_unless_shared else None
