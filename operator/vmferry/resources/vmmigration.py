"""VMMigration: the wish to move one server, and all that is known of how it went.

`crds/vmmigrations.yaml` is generated from here.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Self

from pydantic import ConfigDict, Field

from vmferry.cloud.model import MigrationKind
from vmferry.prerequisites.words import Name, Result
from vmferry.resources.base import (
    API_VERSION,
    Condition,
    Duration,
    Metadata,
    Model,
    ObservedGeneration,
    Time,
    to_camel,
)
from vmferry.resources.words import MigrationType, OnTimeout, Phase, Priority, StorageClass

#: on the object only while there is something to undo or to see to its end
FINALIZER = "vmferry.dev/migration"
#: how many attempts one request may make at most: `retries` is bounded by it
MAX_ATTEMPTS = 20
MAX_ELIGIBLE = 10
MAX_INELIGIBLE = 20

HostName = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\s/]+$")]
Message = Annotated[str, Field(max_length=2048)]
#: bounded integers of 64 bits, as bytes can be
Bytes = Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})]


def rule(expression: str, message: str, field_path: str | None = None) -> dict[str, Any]:
    """One CEL validation rule (R35)."""
    path = {"fieldPath": field_path} if field_path else {}
    return {"rule": expression, "message": message, **path}


#: fields that whoever has servers moved asks for
AttemptTimeout = Annotated[
    Duration | None,
    Field(description="Deadline of one attempt, like 30m; the default grows with the bytes to copy."),
]
AttemptOnTimeout = Annotated[
    OnTimeout,
    Field(description="At the deadline of a live migration: Abort it, or ForceComplete it by post-copy or a pause."),
]


class ServerRef(Model):
    """Which server: by its id, or by its exact name within a project."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    "has(self.id) ? !has(self.name) && !has(self.project) : has(self.name) && has(self.project)",
                    "name the server exactly one way: either id, or name together with project",
                )
            ]
        }
    )

    id: Annotated[
        str | None,
        Field(
            pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
            max_length=36,
            description="The server's UUID.",
        ),
    ] = None
    name: Annotated[
        str | None, Field(min_length=1, max_length=255, description="The server's exact name; needs project.")
    ] = None
    project: Annotated[
        str | None, Field(min_length=1, max_length=255, description="Name or id of the server's project.")
    ] = None


class TargetRef(Model):
    """Where to: restricts the choice, never forces it (R8)."""

    host: Annotated[HostName, Field(description="Compute service host name, or the hypervisor's UUID.")]


class VMMigrationSpec(Model):
    """What is wanted. Immutable once the migration has started, save paused, priority and ttlAfterFinished."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    "!has(self.timeout) || self.timeout.matches('[1-9]')",
                    "timeout must be longer than 0s: write hours, minutes and seconds like 30m, 1h30m or 90s",
                )
            ]
        }
    )

    server: Annotated[ServerRef, Field(description="The server to move.")]
    type: Annotated[
        MigrationType,
        Field(
            description="Live keeps the server running; Cold needs it powered off; Evacuate rebuilds it from a "
            "failed host, and asking for it by name attests that the host is dead; Auto picks one of them."
        ),
    ] = MigrationType.AUTO
    target: Annotated[
        TargetRef | None,
        Field(description="The host to move to; without it the best eligible one is picked."),
    ] = None
    stop_if_running: Annotated[
        bool, Field(description="Cold only: stop a running server gracefully first and start it afterwards.")
    ] = False
    timeout: AttemptTimeout = None
    on_timeout: AttemptOnTimeout = OnTimeout.ABORT
    retries: Annotated[
        int,
        Field(ge=0, le=MAX_ATTEMPTS - 1, description="Further attempts after a failure, each on another target."),
    ] = 2
    preflight_only: Annotated[bool, Field(description="Write prerequisites and eligible targets, move nothing.")] = (
        False
    )
    paused: Annotated[bool, Field(description="Start nothing new; what runs is seen to its end.")] = False
    priority: Annotated[
        Priority, Field(description="Who goes first when there are more requests than the limits admit.")
    ] = Priority.NORMAL
    os_upgrade: Annotated[
        bool, Field(description="This move may cross to a newer version of system or hypervisor, one way.")
    ] = False
    ttl_after_finished: Annotated[
        Duration | None, Field(description="Delete this object that long after it has finished, like 24h.")
    ] = None


class ServerView(Model):
    """The server as it was last seen."""

    id: Annotated[str, Field(max_length=64, description="UUID.")]
    name: Annotated[str, Field(max_length=255, description="Name.")]
    state: Annotated[str, Field(max_length=64, description="Nova's status, like ACTIVE or SHUTOFF.")]


class PrerequisiteView(Model):
    """The verdict on one prerequisite."""

    name: Annotated[Name, Field(description="Which prerequisite.")]
    result: Annotated[Result, Field(description="Passed, Failed, Unknown or NotApplicable.")]
    reason: Annotated[str | None, Field(max_length=64, description="Why not, as one word for programs.")] = None
    host: Annotated[str | None, Field(max_length=255, description="The host that this was found on.")] = None
    message: Annotated[Message, Field(description="What was found and what was expected.")]
    remedy: Annotated[str | None, Field(max_length=1024, description="What a person can do about it.")] = None


class EligibleTarget(Model):
    """A host that the server may move to."""

    host: Annotated[str, Field(max_length=255, description="Compute service host name.")]
    rank: Annotated[int, Field(ge=1, description="1 is the best.")]
    message: Annotated[Message, Field(description="Why it stands at this rank.")]


class IneligibleTargets(Model):
    """Hosts that the server cannot move to, counted by their first reason."""

    reason: Annotated[str, Field(max_length=64, description="The reason that they share.")]
    hosts: Annotated[int, Field(ge=1, description="How many hosts.")]
    example: Annotated[str, Field(max_length=255, description="One of them.")]
    message: Annotated[Message | None, Field(description="What was found on the example.")] = None


class ProgressView(Model):
    """How far the running copy is."""

    percent: Annotated[int, Field(ge=0, le=100, description="Of memory and disks together.")]
    total_bytes: Annotated[Bytes, Field(description="Memory and disks to copy.")] = 0
    memory_remaining_bytes: Annotated[Bytes, Field(description="Memory still to copy.")] = 0
    disk_remaining_bytes: Annotated[Bytes, Field(description="Disk still to copy.")] = 0
    updated_at: Annotated[Time | None, Field(description="When this was read.")] = None


class OSCrossing(Model):
    """A one-way move to a newer operating system."""

    source: Annotated[str, Field(max_length=64, description="What the source host ran, like Ubuntu 22.04.")]
    target: Annotated[str, Field(max_length=64, description="What the target host ran.")]


class Attempt(Model):
    """One request for a migration that was, or was about to be, sent to Nova."""

    number: Annotated[int, Field(ge=1, le=1000, description="1 is the first.")]
    type: Annotated[MigrationKind, Field(description="Live, Cold or Evacuate.")]
    source_host: Annotated[str, Field(max_length=255, description="Where the server was.")]
    target_host: Annotated[str, Field(max_length=255, description="Where it was to go.")]
    state: Annotated[
        str,
        Field(
            max_length=64,
            description="Requested, Refused, NotSent, TimedOut or, in lower case, the status of Nova's own record.",
        ),
    ]
    previous_migration_id: Annotated[
        int,
        Field(
            ge=0,
            json_schema_extra={"format": "int64"},
            description="The newest record that Nova had of this server when the intent was written; "
            "only a newer one can be ours.",
        ),
    ] = 0
    migration_id: Annotated[str | None, Field(max_length=64, description="UUID of Nova's record.")] = None
    request_id: Annotated[str | None, Field(max_length=64, description="Nova's id of our request.")] = None
    started_at: Annotated[Time, Field(description="When the intent was written.")]
    ended_at: Annotated[Time | None, Field(description="When the end was seen.")] = None
    stop_requested_at: Annotated[
        Time | None, Field(description="When an abort or a forced completion was last asked for.")
    ] = None
    confirm_requested_at: Annotated[Time | None, Field(description="Cold: when our own resize was last confirmed.")] = (
        None
    )
    stop_reason: Annotated[str | None, Field(max_length=64, description="Why: Deleted or TimedOut.")] = None
    crossing: Annotated[
        OSCrossing | None, Field(description="Set where source and target run different operating systems.")
    ] = None
    message: Annotated[Message | None, Field(description="The cloud's own words.")] = None

    @property
    def open(self) -> bool:
        return self.ended_at is None


class GracefulStop(Model):
    """The stop before a cold migration that the request asked for, and the start owed after it."""

    requested_at: Annotated[
        Time, Field(description="When the stop was decided; anew if nobody was there to ask for it.")
    ]
    start_requested_at: Annotated[
        Time | None, Field(description="When the start afterwards was decided; anew if nobody was there to ask for it.")
    ] = None
    asked_at: Annotated[
        Time | None,
        Field(description="When the stop, or the start, was last asked for, or the cloud last seen to be at it."),
    ] = None


class VMMigrationStatus(Model):
    """What was found and done."""

    observed_generation: ObservedGeneration = None
    phase: Annotated[Phase | None, Field(description="A summary for people.")] = None
    conditions: Annotated[
        list[Condition],
        Field(
            max_length=16,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
            description="PrerequisitesMet, Succeeded, Ready; TypeResolved; Reconciling and Stalled only while True.",
        ),
    ] = []
    type: Annotated[MigrationKind | None, Field(description="The kind in force.")] = None
    server: Annotated[ServerView | None, Field(description="The server as last seen.")] = None
    storage: Annotated[StorageClass | None, Field(description="Where its disks lie, as far as known.")] = None
    source_host: Annotated[str | None, Field(max_length=255, description="Where it is, or was.")] = None
    target_host: Annotated[str | None, Field(max_length=255, description="Where it goes, or went.")] = None
    prerequisites: Annotated[
        list[PrerequisiteView], Field(max_length=32, description="Every one, with its verdict.")
    ] = []
    eligible_targets: Annotated[
        list[EligibleTarget], Field(max_length=MAX_ELIGIBLE, description="The best hosts, best first.")
    ] = []
    ineligible_targets: Annotated[
        list[IneligibleTargets], Field(max_length=MAX_INELIGIBLE, description="The others, by reason.")
    ] = []
    progress: Annotated[ProgressView | None, Field(description="Of the running copy.")] = None
    graceful_stop: Annotated[
        GracefulStop | None, Field(description="Set while the server was stopped for this move.")
    ] = None
    attempts: Annotated[
        list[Attempt], Field(max_length=MAX_ATTEMPTS + 5, description="Every attempt, oldest first.")
    ] = []
    started_at: Annotated[Time | None, Field(description="When the first change was decided.")] = None
    completed_at: Annotated[Time | None, Field(description="When it was over.")] = None

    @property
    def open_attempt(self) -> Attempt | None:
        return self.attempts[-1] if self.attempts and self.attempts[-1].open else None

    def condition(self, type_: str) -> Condition | None:
        return next((c for c in self.conditions if c.type == type_), None)


#: fields that may change after the start
_MUTABLE = ("paused", "priority", "ttlAfterFinished")


def _immutable_once_started() -> list[dict[str, Any]]:
    """The object-level transition rules: a started migration is not redirected (I33)."""
    fields = [to_camel(name) for name in VMMigrationSpec.model_fields if to_camel(name) not in _MUTABLE]
    same = " && ".join(
        f"has(self.spec.{f}) == has(oldSelf.spec.{f}) && (!has(self.spec.{f}) || self.spec.{f} == oldSelf.spec.{f})"
        for f in fields
    )
    return [
        rule(
            f"!has(oldSelf.status) || !has(oldSelf.status.startedAt) || ({same})",
            "the migration has started: only paused, priority and ttlAfterFinished may still change; "
            "delete it to cancel it, and create another one",
        )
    ]


class VMMigration(Model):
    """The whole object."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    "!self.spec.stopIfRunning || self.spec.type in ['Cold', 'Auto']",
                    "stopIfRunning goes with type Cold or Auto only",
                ),
                rule(
                    "self.spec.onTimeout != 'ForceComplete' || self.spec.type in ['Live', 'Auto']",
                    "onTimeout: ForceComplete goes with type Live or Auto only",
                ),
                *_immutable_once_started(),
            ]
        }
    )

    KIND: ClassVar[str] = "VMMigration"
    PLURAL: ClassVar[str] = "vmmigrations"

    metadata: Metadata
    spec: Annotated[VMMigrationSpec, Field(description="What is wanted.")]
    status: Annotated[VMMigrationStatus, Field(description="What was found and done.")] = VMMigrationStatus()

    @classmethod
    def read(cls, body: dict[str, Any]) -> Self:
        """From the API server's JSON. Raises pydantic's ValidationError when it is not what the schema says."""
        return cls.model_validate(body)

    @property
    def key(self) -> str:
        return f"{self.metadata.namespace}/{self.metadata.name}"

    def reference(self) -> dict[str, str]:
        """An object reference, as Events carry it."""
        return {
            "apiVersion": API_VERSION,
            "kind": self.KIND,
            "namespace": self.metadata.namespace,
            "name": self.metadata.name,
            "uid": self.metadata.uid,
        }
