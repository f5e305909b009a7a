"""Enumerated values of the custom resources."""

from __future__ import annotations

from enum import StrEnum


class MigrationType(StrEnum):
    """`spec.type` of a VMMigration; `Auto` is resolved to one of the others."""

    LIVE = "Live"
    COLD = "Cold"
    EVACUATE = "Evacuate"
    AUTO = "Auto"


class OnTimeout(StrEnum):
    ABORT = "Abort"
    FORCE_COMPLETE = "ForceComplete"


class Priority(StrEnum):
    LOW = "Low"
    NORMAL = "Normal"
    HIGH = "High"


class Phase(StrEnum):
    """For people's eyes only; programs read the conditions."""

    PENDING = "Pending"
    CHECKING = "Checking"
    BLOCKED = "Blocked"
    QUEUED = "Queued"
    MIGRATING = "Migrating"
    VERIFYING = "Verifying"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"


class StorageClass(StrEnum):
    """Where a server's disks lie (R2-R4)."""

    VOLUMES_ONLY = "VolumesOnly"
    EPHEMERAL_SHARED = "EphemeralShared"
    EPHEMERAL_LOCAL = "EphemeralLocal"
