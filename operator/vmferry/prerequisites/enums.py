"""The names, results and reasons of prerequisites: machine-readable, stable, documented in docs/prerequisites.md."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from vmferry.resources.documented import Documented


class Name(StrEnum):
    """The prerequisites of a migration."""

    POWER_STATE = "PowerState"
    SOURCE_HOST = "SourceHost"
    TARGET_HOST = "TargetHost"
    AVAILABILITY_ZONE = "AvailabilityZone"
    CPU_MODEL = "CPUModel"
    OPERATING_SYSTEM = "OperatingSystem"
    HYPERVISOR_VERSION = "HypervisorVersion"
    STORAGE = "Storage"
    CAPACITY = "Capacity"
    BANDWIDTH = "Bandwidth"
    SERVER_GROUP = "ServerGroup"
    SERVER_LOCK = "ServerLock"
    SERVER_TASK = "ServerTask"
    DEVICES = "Devices"


#: prerequisites for which `tolerateUnknown` is not allowed, and why
NEVER_TOLERATED: Mapping[Name, str] = {
    Name.STORAGE: "an evacuation might lose data; name sharedStorage instead",
    Name.SOURCE_HOST: "a host that may be alive is never evacuated",
    Name.TARGET_HOST: "nothing is moved to a host of which nothing is known",
}


class Result(StrEnum):
    PASSED = "Passed"
    FAILED = "Failed"
    #: the cloud does not report (R19); blocks unless the policy tolerates it
    UNKNOWN = "Unknown"
    NOT_APPLICABLE = "NotApplicable"


class Reason(Documented):
    """Why a prerequisite, an attempt or a request failed."""

    NO_ELIGIBLE_TARGET = "NoEligibleTarget", "no host is eligible; `ineligibleTargets` counts why"
    INSUFFICIENT_CAPACITY = "InsufficientCapacity", "there is not enough free capacity"
    CPU_INCOMPATIBLE = "CPUIncompatible", "the target lacks CPU features that the guest may use"
    OS_MISMATCH = "OSMismatch", "the target runs another operating system"
    HYPERVISOR_TOO_OLD = "HypervisorTooOld", "the target's hypervisor is older"
    HYPERVISOR_MISMATCH = "HypervisorMismatch", "the target runs another hypervisor, or a newer one without `osUpgrade`"
    LOCAL_DISK = "LocalDisk", "an evacuation would lose the server's disks"
    STORAGE_NOT_SHARED = "StorageNotShared", "the server's disks are on shared storage that the target does not have"
    AFFINITY_CONFLICT = "AffinityConflict", "a server group forbids it, or lets its members move only one after another"
    LOCKED = "Locked", "the server is locked"
    TASK_IN_PROGRESS = "TaskInProgress", "Nova or somebody else is working on the server"
    RESIZE_PENDING = "ResizePending", "a resize or cold migration waits for its confirmation"
    TASK_STUCK = "TaskStuck", "Nova has been in one task with the server for `policy.stuckAfter` without a change"
    LEFTOVER_RECORD = "LeftoverRecord", "a migration record of the server is open, and Nova no longer works on it"
    NO_PROGRESS = "NoProgress", "nothing has changed for `policy.stuckAfter`: [what it may wait for](../waiting.md)"
    STATE_NOT_MIGRATABLE = (
        "StateNotMigratable",
        "the server's state does not fit the type; or it did not shut down, or start again, in time",
    )
    DEVICE_ATTACHED = "DeviceAttached", "the server has a device that Nova does not move"
    HOST_DOWN = "HostDown", "a host whose compute service has to be up is down"
    HOST_DISABLED = "HostDisabled", "the target's compute service is disabled"
    HOST_IN_MAINTENANCE = "HostInMaintenance", "the target is in maintenance, or about to be"
    HOST_NOT_FAILED = (
        "HostNotFailed",
        "nothing proves that the host is dead; or the attestation is contradicted, which ends the request",
    )
    OUTSIDE_ZONE = (
        "OutsideAvailabilityZone",
        "the target is in another availability zone, or lacks what the flavor demands",
    )
    BANDWIDTH_EXCEEDED = "BandwidthExceeded", "the configured bandwidth is in use; the migration waits"
    NOT_RETURNABLE = "NotReturnable", "the server moved to a newer operating system and must not move back"
    OPTED_OUT = "OptedOut", "the server's owner does not want it moved"
    FACT_UNKNOWN = (
        "FactUnknown",
        "a fact that the check needs is unknown, or Nova reports a word that this operator does not know",
    )
    CLOUD_REFUSED = "CloudRefused", "Nova refused the request, or failed to carry it out"
    CONFLICT = (
        "Conflict",
        "somebody else aborted the migration, paused it while its server was shut down for it, or has the host",
    )
    SERVER_NOT_FOUND = (
        "ServerNotFound",
        "there is no such server, there are two of that name, or it was deleted meanwhile",
    )
    HOST_NOT_FOUND = "HostNotFound", "the cloud has no host of that name"
    EXPIRED = "Expired", "the request did not start before its `startBefore`, or within `policy.expireAfter`"
    PAUSED = "Paused", "a VMMigration of a drain is paused"
    SAME_HOST = "SameHost", "the server is on the target already"
