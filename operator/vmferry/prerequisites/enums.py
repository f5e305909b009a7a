"""The names, results and reasons of prerequisites: machine-readable, stable, documented in docs/prerequisites.md."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


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


#: prerequisites whose Unknown nobody may tolerate, and why
NEVER_TOLERATED: Mapping[Name, str] = {
    Name.STORAGE: "an evacuation might lose data; name sharedStorage instead",
    Name.SOURCE_HOST: "a host that may be alive is never evacuated",
    Name.TARGET_HOST: "nothing is moved to a host of which nothing is known",
}


class Result(StrEnum):
    PASSED = "Passed"
    FAILED = "Failed"
    #: the cloud does not tell (R19); blocks unless the policy tolerates it
    UNKNOWN = "Unknown"
    NOT_APPLICABLE = "NotApplicable"


class Reason(StrEnum):
    """Why a prerequisite, an attempt or a request failed."""

    NO_ELIGIBLE_TARGET = "NoEligibleTarget"
    INSUFFICIENT_CAPACITY = "InsufficientCapacity"
    CPU_INCOMPATIBLE = "CPUIncompatible"
    OS_MISMATCH = "OSMismatch"
    HYPERVISOR_TOO_OLD = "HypervisorTooOld"
    HYPERVISOR_MISMATCH = "HypervisorMismatch"
    LOCAL_DISK = "LocalDisk"
    STORAGE_NOT_SHARED = "StorageNotShared"
    AFFINITY_CONFLICT = "AffinityConflict"
    LOCKED = "Locked"
    TASK_IN_PROGRESS = "TaskInProgress"
    RESIZE_PENDING = "ResizePending"
    #: Nova has been busy with the server for too long without a change
    TASK_STUCK = "TaskStuck"
    #: an open migration record that Nova no longer works on
    LEFTOVER_RECORD = "LeftoverRecord"
    #: nothing has moved for too long, whatever the cause
    NO_PROGRESS = "NoProgress"
    STATE_NOT_MIGRATABLE = "StateNotMigratable"
    DEVICE_ATTACHED = "DeviceAttached"
    HOST_DOWN = "HostDown"
    HOST_DISABLED = "HostDisabled"
    HOST_IN_MAINTENANCE = "HostInMaintenance"
    HOST_NOT_FAILED = "HostNotFailed"
    OUTSIDE_ZONE = "OutsideAvailabilityZone"
    BANDWIDTH_EXCEEDED = "BandwidthExceeded"
    NOT_RETURNABLE = "NotReturnable"
    OPTED_OUT = "OptedOut"
    FACT_UNKNOWN = "FactUnknown"
    CLOUD_REFUSED = "CloudRefused"
    CONFLICT = "Conflict"
    SERVER_NOT_FOUND = "ServerNotFound"
    HOST_NOT_FOUND = "HostNotFound"
    #: the request did not start in time
    EXPIRED = "Expired"
    #: a person set `spec.paused`
    PAUSED = "Paused"
    #: the target is the host that the server is on already
    SAME_HOST = "SameHost"
