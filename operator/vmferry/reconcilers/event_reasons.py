"""The reasons of the Events that are told (I33): stable words for programs. docs/events.md is generated from here."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class EventReason(StrEnum):
    """Beside these a HostMaintenance tells the reason of the prerequisite that stands in its way (`words.Reason`)."""

    PREREQUISITES_NOT_MET = "PrerequisitesNotMet"
    STOPPED = "Stopped"
    BREAKER_OPEN = "BreakerOpen"
    TRIAL_MOVE = "TrialMove"
    STOPPING_SERVER = "StoppingServer"
    STARTING_SERVER = "StartingServer"
    MIGRATING = "Migrating"
    REQUEST_ACCEPTED = "RequestAccepted"
    CLOUD_REFUSED = "CloudRefused"
    NO_ANSWER = "NoAnswer"
    NOT_SENT = "NotSent"
    NOT_NOW = "NotNow"
    MIGRATION_STARTED = "MigrationStarted"
    ATTEMPT_FAILED = "AttemptFailed"
    ABORT_REQUESTED = "AbortRequested"
    FORCE_COMPLETE_REQUESTED = "ForceCompleteRequested"
    RUNS_TO_COMPLETION = "RunsToCompletion"
    STOP_SERVER_NOT_DONE = "StopServerNotDone"
    START_SERVER_NOT_DONE = "StartServerNotDone"
    CONFIRM_RESIZE_NOT_DONE = "ConfirmResizeNotDone"
    ABORT_MIGRATION_NOT_DONE = "AbortMigrationNotDone"
    FORCE_COMPLETE_NOT_DONE = "ForceCompleteNotDone"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    EXPIRED = "Expired"
    CANCELLED = "Cancelled"

    HOST_NOT_FOUND = "HostNotFound"
    FACT_UNKNOWN = "FactUnknown"
    CONFLICT = "Conflict"
    QUEUED = "Queued"
    MAINTENANCE_STARTED = "MaintenanceStarted"
    DISABLED_BEFORE = "DisabledBefore"
    CORDONED = "Cordoned"
    NOT_CORDONED = "NotCordoned"
    CORDON_REASSERTED = "CordonReasserted"
    HOST_DOWN = "HostDown"
    HOST_UP = "HostUp"
    LATE_ARRIVAL = "LateArrival"
    DRAINED = "Drained"
    RELEASING = "Releasing"
    UNCORDONED = "Uncordoned"
    NOT_UNCORDONED = "NotUncordoned"
    CORDON_LEFT = "CordonLeft"
    RELEASED = "Released"

    NO_PROGRESS = "NoProgress"
    FALSE_CLAIM = "FalseClaim"
    WRITE_REFUSED = "WriteRefused"

    UNREADABLE = "Unreadable"

    KUBERNETES_SET_BACK = "KubernetesSetBack"


_E = EventReason
_NOT_DONE = "Nova refused it, gave no answer, or it was not sent; it is looked up or tried again"

#: what each means, by the kind that tells it
OF_MIGRATIONS: Mapping[EventReason, str] = {
    _E.PREREQUISITES_NOT_MET: "Something stands in the way; once for each reason",
    _E.STOPPED: "The kill switch keeps it from beginning",
    _E.BREAKER_OPEN: "Attempts from its host, or in the whole cloud, failed by a common cause: it is not started yet",
    _E.TRIAL_MOVE: "The breaker lets this one move start; whether it succeeds decides on the others",
    _E.STOPPING_SERVER: "A graceful stop, before a cold migration that asked for it",
    _E.MIGRATING: "An attempt was decided; the request to the cloud comes next",
    _E.REQUEST_ACCEPTED: "Nova took a request; with its request id",
    _E.CLOUD_REFUSED: "Nova refused a migration, in its own words; with its request id",
    _E.NO_ANSWER: "It is not known whether Nova took the request for a migration; its records are looked up",
    _E.NOT_SENT: "The kill switch or a lost Lease forbade a request at the last moment",
    _E.NOT_NOW: "The cloud limits requests, or the server is busy; sent again after a pause, no attempt is used up",
    _E.MIGRATION_STARTED: "Nova shows a record of the migration; with its UUID and the request id",
    _E.ATTEMPT_FAILED: "An attempt ended without success, in the cloud's own words; with the request id",
    _E.ABORT_REQUESTED: "A live migration of ours is aborted: over its deadline, or the object is deleted",
    _E.FORCE_COMPLETE_REQUESTED: "A live migration over its deadline is made to converge",
    _E.RUNS_TO_COMPLETION: "It is deleted with its HostMaintenance or namespace, or cannot be aborted: it goes on",
    _E.STARTING_SERVER: "The start after a cold migration that had stopped the server",
    **dict.fromkeys(
        (
            _E.STOP_SERVER_NOT_DONE,
            _E.START_SERVER_NOT_DONE,
            _E.CONFIRM_RESIZE_NOT_DONE,
            _E.ABORT_MIGRATION_NOT_DONE,
            _E.FORCE_COMPLETE_NOT_DONE,
        ),
        _NOT_DONE,
    ),
    _E.SUCCEEDED: "The server is where it was to go, and as it was",
    _E.FAILED: "It is over without success",
    _E.EXPIRED: "It did not start before its `startBefore`, or within `policy.expireAfter`; with what blocked it",
    _E.CANCELLED: "It had begun and was cancelled",
    _E.NO_PROGRESS: "Nothing has changed for policy.stuckAfter; the message says what it waits for",
    _E.WRITE_REFUSED: "Kubernetes refuses a write: rights, policy, quota, webhook or namespace; in its own words",
    _E.UNREADABLE: "The object is not what its schema says and is left alone",
}

OF_MAINTENANCES: Mapping[EventReason, str] = {
    _E.HOST_NOT_FOUND: "Nova lists no compute service of that name",
    _E.FACT_UNKNOWN: "Nova's records of the host contradict each other or cannot be read; nothing is done on it",
    _E.CONFLICT: "Another HostMaintenance, or another operator, has the host",
    _E.QUEUED: "As many hosts of the zone as may be are in maintenance",
    _E.STOPPED: "The kill switch keeps the host from being touched, or further moves from beginning",
    _E.BREAKER_OPEN: "Attempts from the host, or in the whole cloud, failed by a common cause: no move is started",
    _E.MAINTENANCE_STARTED: "The host was let into maintenance",
    _E.DISABLED_BEFORE: "Somebody had disabled the host before; it stays so at the end",
    _E.CORDONED: "Nova took the request to disable the host; with its request id",
    _E.NOT_CORDONED: _NOT_DONE,
    _E.CORDON_REASSERTED: "Somebody has enabled the host meanwhile; it is disabled again",
    _E.HOST_DOWN: "The host's compute service is down",
    _E.HOST_UP: "It is up again",
    _E.LATE_ARRIVAL: "The host was verified empty and is not any more",
    _E.DRAINED: "The host was verified empty",
    _E.RELEASING: "The host is being given back",
    _E.UNCORDONED: "Nova took the request to enable the host; with its request id",
    _E.NOT_UNCORDONED: _NOT_DONE,
    _E.CORDON_LEFT: "The host stays disabled: the reason in Nova is not ours any more",
    _E.RELEASED: "The host was given back",
    _E.NO_PROGRESS: "Nothing has moved for policy.stuckAfter; the message says what it waits for",
    _E.FALSE_CLAIM: "VMMigrations claim to belong to it that it has not created; they are ignored",
    _E.WRITE_REFUSED: "Kubernetes refuses a write: rights, policy, quota, webhook or namespace; in its own words",
    _E.UNREADABLE: "The object is not what its schema says and is left alone",
}

OF_OPERATOR: Mapping[EventReason, str] = {
    _E.KUBERNETES_SET_BACK: "The Kubernetes API shows an older state, as after a restored etcd; all is read anew",
}
