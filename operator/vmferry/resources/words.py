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
    #: preflightOnly: all prerequisites are met
    CHECKED = "Checked"


class StorageClass(StrEnum):
    """Where a server's disks lie (R2-R4)."""

    VOLUMES_ONLY = "VolumesOnly"
    EPHEMERAL_SHARED = "EphemeralShared"
    EPHEMERAL_LOCAL = "EphemeralLocal"


class HeldBy(StrEnum):
    """What keeps a migration from starting, besides other migrations and limits."""

    KILL_SWITCH = "KillSwitch"
    BREAKER = "Breaker"
    #: the end of another migration may open a breaker
    AWAITED_RESULT = "AwaitedResult"
    PAUSE = "Pause"


class MaintenancePhase(StrEnum):
    """For people's eyes only; programs read the conditions."""

    CHECKING = "Checking"
    #: as many hosts as the budget allows are in maintenance already
    QUEUED = "Queued"
    BLOCKED = "Blocked"
    DRAINING = "Draining"
    IN_MAINTENANCE = "InMaintenance"
    RELEASING = "Releasing"
    RELEASED = "Released"
    #: preflightOnly: the plan is in the status
    CHECKED = "Checked"
    #: it was never in maintenance
    IN_SERVICE = "InService"


class RunningPolicy(StrEnum):
    LIVE_MIGRATE = "LiveMigrate"
    COLD_MIGRATE = "ColdMigrate"
    LEAVE = "Leave"


class PoweredOffPolicy(StrEnum):
    COLD_MIGRATE = "ColdMigrate"
    LEAVE = "Leave"


class OnBlockers(StrEnum):
    PROCEED = "Proceed"
    REFUSE = "Refuse"


class ServiceStatus(StrEnum):
    """Nova's words for whether a compute service takes new servers."""

    ENABLED = "enabled"
    DISABLED = "disabled"


class CordonState(StrEnum):
    """How far the cordon of a host is."""

    #: Nova was asked to disable the compute service, or is about to be
    REQUESTED = "Requested"
    #: the compute service was seen disabled
    HELD = "Held"
    #: Nova was asked to enable the compute service again
    UNDOING = "Undoing"


class CordonAnswer(StrEnum):
    """Why the cloud has not done what it was last asked for."""

    REFUSED = "Refused"
    #: it limits requests, or is busy
    NOT_NOW = "NotNow"


class MoveState(StrEnum):
    """Where a server's move stands, in a HostMaintenance's status."""

    MOVING = "Moving"
    RETURNING = "Returning"
    FAILED = "Failed"
    WAITING = "Waiting"
    PLANNED = "Planned"
    MOVED = "Moved"
    RETURNED = "Returned"
