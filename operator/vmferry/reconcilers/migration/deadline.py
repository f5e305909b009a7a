"""The deadline of an attempt; by default it grows with the bytes to copy (I6)."""

from __future__ import annotations

from datetime import datetime, timedelta

from vmferry.cloud.model import Server, Snapshot
from vmferry.planning.storage_class import storage_class
from vmferry.policy import Policy
from vmferry.reconcilers.migration.scope import MigrationScope
from vmferry.resources.vmmigration import Attempt, VMMigration
from vmferry.resources.words import StorageClass


def deadline(attempt: Attempt, server: Server | None, scope: MigrationScope) -> datetime:
    """When the attempt counts as stuck. Time spent in Nova's own queue does not count."""
    return _deadline(attempt, server, scope.spec.timeout, scope.policy, scope.snapshot)


def is_past_deadline(obj: VMMigration, snapshot: Snapshot, policy: Policy, now: datetime) -> bool:
    """Whether the VMMigration has an open attempt that is past its deadline. A migration in Nova's own queue has no
    deadline."""
    attempt = obj.status.open_attempt
    if attempt is None:
        return False
    server_id = obj.status.server.id if obj.status.server is not None else None
    records = snapshot.migrations_by_server.get(server_id or "", ())
    if any(record.waits for record in records if record.uuid == attempt.migration_id):
        return False
    server = snapshot.servers.get(server_id or "")
    return now >= _deadline(attempt, server, obj.spec.timeout, policy, snapshot)


def _deadline(
    attempt: Attempt, server: Server | None, timeout: timedelta | None, policy: Policy, snapshot: Snapshot
) -> datetime:
    begun = attempt.running_since or attempt.started_at
    return begun + (timeout or default_timeout(attempt, server, policy, snapshot))


def default_timeout(attempt: Attempt, server: Server | None, policy: Policy, snapshot: Snapshot) -> timedelta:
    """The timeout by the storage on the attempt's recorded hosts, since the server may be at the target already."""
    if server is None:
        return policy.timeout_base
    gib = server.flavor.memory_mb / 1024
    hosts = snapshot.hosts
    source, target = hosts.get(attempt.source_host), hosts.get(attempt.target_host)
    if storage_class(server, source, policy, target) not in (
        StorageClass.VOLUMES_ONLY,
        StorageClass.EPHEMERAL_SHARED,
    ):
        gib += server.local_disk_gb
    return policy.timeout_base + policy.timeout_per_gib * gib
