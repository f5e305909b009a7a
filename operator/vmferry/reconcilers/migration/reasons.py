"""The conditions of a VMMigration and their reasons. docs/reference/conditions.md is generated from this file.

The conditions also use the reasons of prerequisites (`vmferry.prerequisites.enums.Reason`) and, in TypeResolved, those
of the chosen type (`vmferry.planning.choose_type.TypeReason`).
"""

from __future__ import annotations

from collections.abc import Mapping

from vmferry.resources.documented import ConditionReason

#: meaning of True, False and Unknown of each condition
CONDITIONS: Mapping[str, tuple[str, str, str]] = {
    "PrerequisitesMet": (
        "nothing blocks the migration",
        "something does: the reason is that of the first failed prerequisite, the message has all",
        "nothing was checked: the view of the cloud is stale, or the migration ended before",
    ),
    "Succeeded": ("the migration succeeded", "it failed, or was cancelled", "it is running or waiting"),
    "Ready": ("as `Succeeded`", "everything else: running, waiting, or failed", ""),
    "TypeResolved": ("which type is in force, and why", "", ""),
    "Reconciling": ("it goes on by itself", "", ""),
    "CloudUnverified": (
        "the operator's clouds.yaml has `verify: false`: the cloud's certificates are not checked "
        "([security](../security.md#what-the-cloud-may-do)). Absent otherwise",
        "",
        "",
    ),
    "Stalled": ("it needs a person, or it failed", "", ""),
}


class MigrationReason(ConditionReason):
    ALL_PASSED = "AllPassed", "PrerequisitesMet", "every prerequisite is met"
    CLOUD_VIEW_STALE = (
        "CloudViewStale",
        "PrerequisitesMet, Ready",
        "the cloud cannot be read; nothing is decided until it can",
        "see the message, and [troubleshooting](../troubleshooting.md)",
    )
    PAUSED = (
        "Paused",
        "Ready",
        "`spec.paused` is true; with `Stalled` if the server was shut down for the migration and is off",
        "set `spec.paused` to false",
    )
    QUEUED = (
        "Queued",
        "Ready",
        "a limit, the bandwidth or another member of its server group delays it; it starts by itself",
    )
    STOPPED = "Stopped", "Ready", "the kill switch is on", "[turn it off](../stopping.md)"
    BREAKER_OPEN = (
        "BreakerOpen",
        "Ready",
        "attempts from its host, or in the cloud, failed by a common cause",
        "repair the cause, then [close the breaker](../breaker.md)",
    )
    AWAITING_RESULT = (
        "AwaitingResult",
        "Ready",
        "the last attempt from its host left a server in ERROR; it starts once the attempts in flight from there ended",
    )
    STOPPING_SERVER = "StoppingServer", "Ready", "the server is being shut down gracefully for its cold migration"
    STARTING_SERVER = "StartingServer", "Ready", "the server is being started again"
    WAITING_FOR_NOVA = (
        "WaitingForNova",
        "Ready",
        "Nova accepted the migration but has not started it for `policy.stuckAfter`; it is not aborted",
        "check nova-compute on the source and nova-conductor",
    )
    MIGRATING = "Migrating", "Ready", "Nova was asked for the migration, or is about to be"
    ABORTING = "Aborting", "Ready", "a running live migration is being aborted"
    RUNS_TO_COMPLETION = (
        "RunsToCompletion",
        "Ready",
        "the resource is being deleted, but the running migration is not aborted: its HostMaintenance or its namespace "
        "is being deleted, or it is a cold migration or an evacuation",
    )
    OWNER_MISSING = (
        "OwnerMissing",
        "PrerequisitesMet, Ready",
        "the HostMaintenance that created it no longer exists: it moves nothing",
        "delete it, or create a VMMigration of your own",
    )
    FALSE_CLAIM = (
        "FalseClaim",
        "PrerequisitesMet, Ready",
        "its labels or ownerReferences name a HostMaintenance that has not created it: it moves nothing",
        "delete it, or create a VMMigration of your own",
    )
    WRITE_REFUSED = (
        "WriteRefused",
        "Ready",
        "Kubernetes refuses the operator's finalizer, without which nothing is begun",
        "see the message for the API server's reason",
    )
    VERIFYING = "Verifying", "Ready", "Nova reports the migration done; the server is checked, or the move confirmed"
    NOT_NOW = (
        "NotNow",
        "Ready",
        "the cloud limits requests (429) or the server is busy; the request is sent again after the pause that the "
        "cloud asks for, and no attempt is used up",
    )
    RETRYING = "Retrying", "Ready", "an attempt failed; the next one follows after a pause"
    MIGRATION_SUCCEEDED = "MigrationSucceeded", "Succeeded", "the server is on the target"
    ALREADY_ON_TARGET = "AlreadyOnTarget", "Succeeded", "the server was there before anything was requested"
    PREFLIGHT_PASSED = "PreflightPassed", "Succeeded", "`preflightOnly`: the migration could start"
    TIMED_OUT = (
        "TimedOut",
        "Succeeded",
        "the last attempt was aborted at its deadline, or a shut-down server waited too long for its limits",
        "raise `spec.timeout`, or set `spec.onTimeout` to ForceComplete",
    )
    CANCELLED = "Cancelled", "Succeeded", "the resource was deleted"
    VERIFY_DISABLED = (
        "VerifyDisabled",
        "CloudUnverified",
        "clouds.yaml has `verify: false`",
        "set `cacert` and remove `verify: false`",
    )
