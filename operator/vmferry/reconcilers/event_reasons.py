"""The reasons of Events (I33): stable values for programs. docs/events.md is generated from here."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class EventReason(StrEnum):
    """A HostMaintenance also emits the reasons of failed prerequisites (`prerequisites.enums.Reason`)."""

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
_NOT_DONE = "Nova refused the request or did not respond, or the request was not sent; vmferry checks or retries"

#: what each means, by the kind that emits it
OF_MIGRATIONS: Mapping[EventReason, str] = {
    _E.PREREQUISITES_NOT_MET: "A prerequisite fails; emitted once for each reason",
    _E.STOPPED: "The kill switch prevents the start",
    _E.BREAKER_OPEN: "Attempts from its host, or in the cloud, failed with a common cause; the migration does not"
    " start yet",
    _E.TRIAL_MOVE: "The breaker lets this one migration start; its result decides about the others",
    _E.STOPPING_SERVER: "The server is being shut down gracefully for a cold migration with `stopIfRunning`",
    _E.MIGRATING: "An attempt was decided; the request to the cloud follows",
    _E.REQUEST_ACCEPTED: "Nova accepted a request; with its request ID",
    _E.CLOUD_REFUSED: "Nova refused a migration; with Nova's error text and the request ID",
    _E.NO_ANSWER: "It is unknown whether Nova accepted the migration request; vmferry checks Nova's records",
    _E.NOT_SENT: "The kill switch or a lost Lease prevented a request at the last moment",
    _E.NOT_NOW: "The cloud limits requests, or the server is busy; vmferry retries after a pause, and no attempt "
    "is used up",
    _E.MIGRATION_STARTED: "Nova has a record of the migration; with its UUID and the request ID",
    _E.ATTEMPT_FAILED: "An attempt failed; with the cloud's error text and the request ID",
    _E.ABORT_REQUESTED: "vmferry aborts its live migration, because it is past its deadline or the object was deleted",
    _E.FORCE_COMPLETE_REQUESTED: "vmferry forces a live migration past its deadline to complete",
    _E.RUNS_TO_COMPLETION: "The object is being deleted with its HostMaintenance or namespace, or cannot be "
    "aborted; the migration continues",
    _E.STARTING_SERVER: "The server is being started again after the cold migration that it was shut down for",
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
    _E.SUCCEEDED: "The server is on its target, in its previous state",
    _E.FAILED: "The migration failed",
    _E.EXPIRED: "The migration did not start before its `startBefore`, or within `policy.expireAfter`; with what "
    "blocked it",
    _E.CANCELLED: "The migration had started and was cancelled",
    _E.NO_PROGRESS: "Nothing has changed for policy.stuckAfter; the message names what the migration waits for",
    _E.WRITE_REFUSED: "Kubernetes refuses a write (rights, policy, quota, webhook or namespace); with its error text",
    _E.UNREADABLE: "The object does not match its schema and is ignored",
}

OF_MAINTENANCES: Mapping[EventReason, str] = {
    _E.HOST_NOT_FOUND: "Nova lists no compute service with that name",
    _E.FACT_UNKNOWN: "Nova's records of the host contradict each other or cannot be read; nothing is changed on it",
    _E.CONFLICT: "Another HostMaintenance or operator owns the host",
    _E.QUEUED: "The maximum number of hosts of the zone is in maintenance",
    _E.STOPPED: "The kill switch prevents changes to the host, or further migrations",
    _E.BREAKER_OPEN: "Attempts from the host, or in the cloud, failed with a common cause; no migration starts",
    _E.MAINTENANCE_STARTED: "The host was admitted into maintenance",
    _E.DISABLED_BEFORE: "Somebody had disabled the host before; it stays disabled on release",
    _E.CORDONED: "Nova accepted the request to disable the compute service; with its request ID",
    _E.NOT_CORDONED: _NOT_DONE,
    _E.CORDON_REASSERTED: "Somebody enabled the host during the maintenance; vmferry disables it again",
    _E.HOST_DOWN: "The host's compute service is down",
    _E.HOST_UP: "The host's compute service is up again",
    _E.LATE_ARRIVAL: "A server arrived on the host after it was verified empty",
    _E.DRAINED: "The host was verified empty",
    _E.RELEASING: "The host is being returned to service",
    _E.UNCORDONED: "Nova accepted the request to enable the compute service; with its request ID",
    _E.NOT_UNCORDONED: _NOT_DONE,
    _E.CORDON_LEFT: "The host stays disabled, because its disabled reason is no longer the one that vmferry set",
    _E.RELEASED: "The host was returned to service",
    _E.NO_PROGRESS: "No server has moved for policy.stuckAfter; the message names what the drain waits for",
    _E.FALSE_CLAIM: "VMMigrations that this resource did not create claim to belong to it; they are ignored",
    _E.WRITE_REFUSED: "Kubernetes refuses a write (rights, policy, quota, webhook or namespace); with its error text",
    _E.UNREADABLE: "The object does not match its schema and is ignored",
}

OF_OPERATOR: Mapping[EventReason, str] = {
    _E.KUBERNETES_SET_BACK: "The Kubernetes API shows an older state, as after a restored etcd; the operator "
    "reads everything again",
}
