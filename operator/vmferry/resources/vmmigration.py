"""VMMigration: the wish to move one server, and all that is known of how it went.

`crds/vmmigrations.yaml` is generated from here.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from vmferry.cloud.model import ResolvedType
from vmferry.prerequisites.enums import Name, Result
from vmferry.resources.base import (
    Condition,
    Duration,
    Model,
    Moment,
    ObservedGeneration,
    Resource,
    Time,
    keyed_by,
    to_camel,
)
from vmferry.resources.words import HeldBy, MigrationType, OnTimeout, Phase, Priority, StorageClass

#: on the object only while there is something to undo or to see to its end
FINALIZER = "vmferry.dev/migration"
#: how many attempts one request may make at most: `retries` is bounded by it
MAX_ATTEMPTS = 20
MAX_ELIGIBLE = 10
MAX_INELIGIBLE = 20

HostName = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\s/\x00-\x1f\x7f-\x9f]+$")]
#: no control characters, which would steer the terminal of whoever lists the object
PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f]*$"
#: the same for a text of several lines
LINES = r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f]*$"
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
    Field(
        description="Deadline of one attempt, longer than 0s; onTimeout sets what happens then. Without it: the "
        "operator's timeoutBase, plus its timeoutPerGiB for each GiB of memory and local disk to "
        "copy."
    ),
]
AttemptOnTimeout = Annotated[
    OnTimeout,
    Field(
        description="What happens at the deadline of a live migration: Abort aborts it; ForceComplete pauses the "
        "server until it is copied or, if Nova is configured so, switches to post-copy. A migration "
        "that is not copying yet is aborted in either case. A cold migration or an evacuation cannot "
        "be aborted: it is followed until it ends."
    ),
]


class ServerRef(Model):
    """Which server: by its ID, or by its exact name within a project."""

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
            description="The server's UUID, in lower case. Set either this, or name and project.",
        ),
    ] = None
    name: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=255,
            pattern=PRINTABLE,
            description="The server's exact name; requires project. If no server or two servers have this name, "
            "the migration is blocked with ServerNotFound.",
        ),
    ] = None
    project: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=255,
            pattern=PRINTABLE,
            description="Name or ID of the server's project; requires name.",
        ),
    ] = None


class TargetRef(Model):
    """Where to: limits the choice to one host, and never forces it (R8)."""

    host: Annotated[
        HostName,
        Field(
            description="The host's name, as `openstack compute service list` shows it, or the hypervisor's UUID."
            " If the cloud does not list it, the migration is blocked with HostNotFound."
        ),
    ]


class Attestation(Model):
    """A person's confirmation that a host is dead (I38)."""

    host: Annotated[
        HostName,
        Field(
            description="The host that is powered off: its name, as `openstack compute service list` shows it, or the "
            "hypervisor's UUID. The server must be on it."
        ),
    ]
    by: Annotated[str | None, Field(max_length=255, pattern=PRINTABLE, description="Who confirmed it.")] = None
    at: Annotated[
        Moment | None,
        Field(
            description="When it was confirmed. If the host has reported since then, it is not dead, and the "
            "request ends. Without it: when this object was created. It must not be in the future."
        ),
    ] = None
    statement: Annotated[
        str | None,
        Field(
            max_length=1024,
            pattern=LINES,
            description="How it was confirmed, for example: powered off through its BMC.",
        ),
    ] = None


class VMMigrationSpec(Model):
    """The desired migration. Immutable once the migration has started, except paused, priority and ttlAfterFinished."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    "!has(self.timeout) || self.timeout.matches('[1-9]')",
                    "timeout must be longer than 0s: write hours, minutes and seconds like 30m, 1h30m or 90s",
                    ".timeout",
                )
            ]
        }
    )

    server: Annotated[
        ServerRef, Field(description="The server to move: either its ID, or its name together with its project.")
    ]
    type: Annotated[
        MigrationType,
        Field(
            description="Live keeps the server running. Cold requires that it is powered off. Evacuate rebuilds "
            "it from a dead host; requesting it attests that the host on which the server is at that "
            "moment is dead, and the request fails if the server is on another host or the host's "
            "service is up. Auto means Evacuate if the host's service is down and somebody has marked"
            " it as forced down, Cold if the server is powered off, and otherwise Live."
        ),
    ] = MigrationType.AUTO
    target: Annotated[
        TargetRef | None,
        Field(
            description="The host to move to. The same prerequisites apply, and there is only one attempt. "
            "Without it, the operator picks the best eligible host, and another one for each further "
            "attempt."
        ),
    ] = None
    attestation: Annotated[
        Attestation | None,
        Field(
            description="Type Evacuate: which host is dead, and who confirmed it. Without it, the host is the one"
            " on which the operator finds the server when it first reconciles this object."
        ),
    ] = None
    start_before: Annotated[
        Moment | None,
        Field(
            description="No attempt starts after this time: if none has started, the request ends as Failed with "
            "the reason Expired. Without it, the operator's expireAfter applies, counted from the "
            "creation."
        ),
    ] = None
    stop_if_running: Annotated[
        bool,
        Field(
            description="Type Cold: first shut a running server down gracefully, and start it again afterwards, "
            "even if the migration failed. If the server does not stop within the operator's "
            "stopTimeout, it is not migrated. If its migration cannot start within that time after "
            "the shutdown, the server is started again and not migrated. With Auto it has no effect: "
            "a running server is migrated live."
        ),
    ] = False
    timeout: AttemptTimeout = None
    on_timeout: AttemptOnTimeout = OnTimeout.ABORT
    retries: Annotated[
        int,
        Field(
            ge=0,
            le=MAX_ATTEMPTS - 1,
            description="Further attempts after a failure, each on another target, after a pause that doubles. 0:"
            " one attempt. Not used with a named target, after somebody else aborted the migration, "
            "or if the server was left in ERROR.",
        ),
    ] = 2
    preflight_only: Annotated[
        bool,
        Field(
            description="Only check: keep prerequisites and eligible targets in the status up to date, and move "
            "nothing. If set to false later, the migration starts."
        ),
    ] = False
    paused: Annotated[
        bool,
        Field(
            description="Start neither a first nor a further attempt; a running migration runs to completion. The"
            " request still expires, and a server that was shut down for it is started again after "
            "the operator's stopTimeout."
        ),
    ] = False
    priority: Annotated[
        Priority,
        Field(
            description="Order among requests when the operator's limits are used up; among equals, the older one"
            " goes first. It never stops a running migration."
        ),
    ] = Priority.NORMAL
    os_upgrade: Annotated[
        bool,
        Field(
            description="Allow a move to a newer operating system along a known path (Ubuntu 22.04 to 24.04), and"
            " to a newer hypervisor. It is one way: the server never moves back."
        ),
    ] = False
    ttl_after_finished: Annotated[
        Duration | None,
        Field(
            description="Delete this object this long after it has finished; 0s: at once. Without it, the "
            "operator's ttlAfterFinished applies, or it remains. It remains in any case if Argo CD, "
            "Flux or Helm would create it again, while it is the record of a move to a newer "
            "operating system, and while its failure counts for a breaker."
        ),
    ] = None


class ServerView(Model):
    """The server as it was last seen."""

    id: Annotated[str, Field(max_length=64, description="The server's UUID.")]
    name: Annotated[str, Field(max_length=255, description="The server's name.")]
    state: Annotated[str, Field(max_length=64, description="Nova's status of the server, like ACTIVE or SHUTOFF.")]


class PrerequisiteView(Model):
    """The verdict on one prerequisite."""

    name: Annotated[Name, Field(description="Name of the prerequisite.")]
    result: Annotated[
        Result,
        Field(
            description="Passed; Failed; Unknown: a fact is missing, which blocks unless the operator's "
            "tolerateUnknown names this prerequisite; NotApplicable: not checked for this type of "
            "migration."
        ),
    ]
    reason: Annotated[
        str | None, Field(max_length=64, description="Reason for programs, one word; absent if it passed.")
    ] = None
    host: Annotated[str | None, Field(max_length=255, description="The host that this is about.")] = None
    message: Annotated[Message, Field(description="What was found, and what was expected.")]
    remedy: Annotated[str | None, Field(max_length=1024, description="What a person can do about it.")] = None


class EligibleTarget(Model):
    """A host that the server may move to."""

    host: Annotated[str, Field(max_length=255, description="The host's name, as Nova's compute service has it.")]
    rank: Annotated[int, Field(ge=1, description="1 is the best host.")]
    message: Annotated[Message, Field(description="Why it has this rank.")]


class IneligibleTargets(Model):
    """Hosts that the server cannot move to, counted by their first reason."""

    reason: Annotated[str, Field(max_length=64, description="Their common reason.")]
    hosts: Annotated[int, Field(ge=1, description="Number of hosts.")]
    example: Annotated[str, Field(max_length=255, description="One of these hosts.")]
    message: Annotated[Message | None, Field(description="What was found on the example.")] = None


class ProgressView(Model):
    """How far the running copy is."""

    percent: Annotated[int, Field(ge=0, le=100, description="Percentage copied, of memory and disks together.")]
    total_bytes: Annotated[Bytes, Field(description="Memory and disks to copy.")] = 0
    memory_remaining_bytes: Annotated[Bytes, Field(description="Memory still to copy.")] = 0
    disk_remaining_bytes: Annotated[Bytes, Field(description="Disk still to copy.")] = 0
    updated_at: Annotated[Time | None, Field(description="When this was read from Nova.")] = None


class OSCrossing(Model):
    """A one-way move to a newer operating system."""

    source: Annotated[str, Field(max_length=64, description="What the source host ran, like Ubuntu 22.04.")]
    target: Annotated[str, Field(max_length=64, description="What the target host ran.")]


class AttemptFailure(Model):
    """What the breaker compares of a failed attempt."""

    left_in_error: Annotated[
        bool, Field(description="Whether the server was in ERROR when the end of the attempt was seen.")
    ] = False
    cause: Annotated[
        str | None,
        Field(
            max_length=256,
            description="The cloud's error text without names, IDs and numbers, equal for failures with the same "
            "cause. Absent if the failure says nothing about other servers, like an abort at the "
            "deadline.",
        ),
    ] = None


def attempt_state(word: str) -> str:
    """A status of Nova's migration record in the spelling of the other states: `post-migrating` to `PostMigrating`."""
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[-_ ]", word))


class Attempt(Model):
    """One request for a migration that was, or was about to be, sent to Nova."""

    number: Annotated[int, Field(ge=1, le=1000, description="Which attempt this is; 1 is the first.")]
    type: Annotated[ResolvedType, Field(description="Type of the request: Live, Cold or Evacuate.")]
    source_host: Annotated[str, Field(max_length=255, description="Where the server was.")]
    target_host: Annotated[
        str, Field(max_length=255, description="The planned target; once Nova has a record, the target in that record.")
    ]
    state: Annotated[
        str,
        # version 0.1 wrote the status of Nova's record as Nova spells it
        AfterValidator(attempt_state),
        Field(
            max_length=64,
            description="Requested: asked for, or about to be. Refused: Nova said no. NotSent: it never reached "
            "Nova, and does not count. NotNow: the cloud was busy or limits requests; it does not count. "
            "ServerGone: the server was deleted meanwhile. Otherwise the status of Nova's own record, like Running, "
            "Completed, Error or PostMigrating.",
        ),
    ]
    previous_migration_id: Annotated[
        int,
        Field(
            ge=0,
            json_schema_extra={"format": "int64"},
            description="The newest record that Nova had of this server when the intent was written; only a newer "
            "one can be ours.",
        ),
    ] = 0
    migration_id: Annotated[str | None, Field(max_length=64, description="UUID of Nova's migration record.")] = None
    request_id: Annotated[
        str | None,
        Field(
            max_length=64,
            description="Nova's ID of the request, as in `openstack server event list` and Nova's logs.",
        ),
    ] = None
    started_at: Annotated[
        Time, Field(description="When the attempt was written to the status, before the request was sent to Nova.")
    ]
    running_since: Annotated[
        Time | None,
        Field(
            description="When Nova was first seen working on the migration. Until then it waits in Nova's own "
            "queue, and the deadline does not count."
        ),
    ] = None
    ended_at: Annotated[Time | None, Field(description="When the end was seen; absent while it is open.")] = None
    retry_at: Annotated[
        Time | None, Field(description="NotNow: when the request may be sent again, as the cloud requested.")
    ] = None
    stop_requested_at: Annotated[
        Time | None, Field(description="When an abort or a forced completion was last requested.")
    ] = None
    confirm_requested_at: Annotated[
        Time | None, Field(description="Cold: when the operator last confirmed its own resize.")
    ] = None
    stop_reason: Annotated[str | None, Field(max_length=64, description="Why it was aborted: Deleted or TimedOut.")] = (
        None
    )
    crossing: Annotated[
        OSCrossing | None, Field(description="Set if source and target run different operating systems.")
    ] = None
    message: Annotated[Message | None, Field(description="The cloud's error text, with the request ID.")] = None
    failure: Annotated[
        AttemptFailure | None,
        Field(
            description="Set if the cloud failed the attempt; several similar failures from one host open its breaker."
        ),
    ] = None

    @property
    def open(self) -> bool:
        return self.ended_at is None


class GracefulStop(Model):
    """The shutdown before a cold migration, and the start that must follow."""

    requested_at: Annotated[
        Time, Field(description="When the shutdown was decided; updated if the request could not be sent.")
    ]
    start_requested_at: Annotated[
        Time | None,
        Field(description="When the start afterwards was decided; updated if the request could not be sent."),
    ] = None
    asked_at: Annotated[
        Time | None,
        Field(description="When the shutdown or the start was last requested, or last seen in progress."),
    ] = None
    stopped_at: Annotated[
        Time | None, Field(description="When the server was first seen powered off for the migration.")
    ] = None
    reason: Annotated[
        str | None,
        Field(
            max_length=64,
            description="Set if the migration is given up because it could not start in time: the reason.",
        ),
    ] = None
    message: Annotated[Message | None, Field(description="The same as a sentence for people.")] = None


class AttestationView(Model):
    """What an Evacuate attests: one host and one moment."""

    host: Annotated[str, Field(max_length=255, description="The only host from which this request evacuates.")]
    at: Annotated[Time, Field(description="A host that has reported since then is not dead.")]


_HELD = {
    "Stopped": HeldBy.KILL_SWITCH,
    "BreakerOpen": HeldBy.BREAKER,
    "AwaitingResult": HeldBy.AWAITED_RESULT,
    "Paused": HeldBy.PAUSE,
}


class VMMigrationStatus(Model):
    """What the operator observed and did."""

    observed_generation: ObservedGeneration = None
    phase: Annotated[
        Phase | None, Field(description="A summary for people; its values may change. Programs should read conditions.")
    ] = None
    conditions: Annotated[
        list[Condition],
        Field(
            max_length=16,
            json_schema_extra=keyed_by("type"),
            description="PrerequisitesMet, Succeeded and Ready; TypeResolved names the type in force and the "
            "reason; Reconciling and Stalled are present only while they are True.",
        ),
    ] = []
    type: Annotated[ResolvedType | None, Field(description="The kind in force: Live, Cold or Evacuate.")] = None
    server: Annotated[ServerView | None, Field(description="The server as last seen.")] = None
    storage: Annotated[
        StorageClass | None,
        Field(
            description="Where the server's disks are: VolumesOnly, EphemeralShared (nothing is copied), or "
            "EphemeralLocal (they are copied). Absent: it is unknown whether they are shared."
        ),
    ] = None
    attestation: Annotated[
        AttestationView | None,
        Field(description="Type Evacuate: the host that is attested as dead. It does not follow the server."),
    ] = None
    source_host: Annotated[str | None, Field(max_length=255, description="Where it is, or was.")] = None
    target_host: Annotated[str | None, Field(max_length=255, description="Where it goes, or went.")] = None
    prerequisites: Annotated[
        list[PrerequisiteView],
        Field(
            max_length=32,
            json_schema_extra=keyed_by("name"),
            description="Every prerequisite with its result, for the named or picked target; if no host is "
            "eligible, what applies to all hosts.",
        ),
    ] = []
    eligible_targets: Annotated[
        list[EligibleTarget],
        Field(
            max_length=MAX_ELIGIBLE,
            json_schema_extra=keyed_by("host"),
            description="Hosts to which the server may move, the best first.",
        ),
    ] = []
    ineligible_targets: Annotated[
        list[IneligibleTargets],
        Field(
            max_length=MAX_INELIGIBLE,
            json_schema_extra=keyed_by("reason"),
            description="The other hosts, by their first reason.",
        ),
    ] = []
    held_by: Annotated[
        HeldBy | None,
        Field(
            description="What keeps it from starting, besides other migrations and limits: KillSwitch, Breaker, "
            "AwaitedResult (the end of another migration may open a breaker) or Pause. It has no place in the queue."
        ),
    ] = None
    progress: Annotated[ProgressView | None, Field(description="How far the running copy is.")] = None
    graceful_stop: Annotated[
        GracefulStop | None,
        Field(
            description="Set from the shutdown for this migration until the start after it: the operator must "
            "start the server again."
        ),
    ] = None
    attempts: Annotated[
        list[Attempt],
        Field(
            max_length=MAX_ATTEMPTS + 5,
            json_schema_extra=keyed_by("number"),
            description="Every attempt, the oldest first.",
        ),
    ] = []
    requested_at: Annotated[
        Time | None,
        Field(description="When the time of expireAfter starts: at the creation, or at the end of preflightOnly."),
    ] = None
    started_at: Annotated[
        Time | None, Field(description="When the first change was decided; from then on the spec is fixed.")
    ] = None
    completed_at: Annotated[Time | None, Field(description="When it finished, whatever the outcome.")] = None

    @model_validator(mode="after")
    def _held_before(self) -> Self:
        """Version 0.1 had it in the reason of the condition Ready only."""
        ready = self.condition("Ready") if self.held_by is None else None
        self.held_by = _HELD.get(ready.reason) if ready is not None else self.held_by
        return self

    @property
    def open_attempt(self) -> Attempt | None:
        return self.attempts[-1] if self.attempts and self.attempts[-1].open else None

    def condition(self, type_: str) -> Condition | None:
        return next((c for c in self.conditions if c.type == type_), None)


#: fields that may change after the start
_MUTABLE = ("paused", "priority", "ttlAfterFinished")
#: all others
FIXED_ONCE_STARTED = tuple(to_camel(name) for name in VMMigrationSpec.model_fields if to_camel(name) not in _MUTABLE)


def _immutable_once_started() -> list[dict[str, Any]]:
    """The object-level transition rules: a started migration is not redirected (I33)."""
    same = " && ".join(
        f"has(self.spec.{f}) == has(oldSelf.spec.{f}) && (!has(self.spec.{f}) || self.spec.{f} == oldSelf.spec.{f})"
        for f in FIXED_ONCE_STARTED
    )
    return [
        rule(
            f"!has(oldSelf.status) || !has(oldSelf.status.startedAt) || ({same})",
            "the migration has started: only paused, priority and ttlAfterFinished may still change; "
            "delete it to cancel it, and create another one",
            ".spec",
        )
    ]


class VMMigration(Resource):
    """The whole object."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    "!self.spec.stopIfRunning || self.spec.type in ['Cold', 'Auto']",
                    "stopIfRunning goes with type Cold or Auto only",
                    ".spec.stopIfRunning",
                ),
                rule(
                    "self.spec.onTimeout != 'ForceComplete' || self.spec.type in ['Live', 'Auto']",
                    "onTimeout: ForceComplete goes with type Live or Auto only",
                    ".spec.onTimeout",
                ),
                rule(
                    "!has(self.spec.attestation) || self.spec.type == 'Evacuate'",
                    "attestation goes with type Evacuate only",
                    ".spec.attestation",
                ),
                *_immutable_once_started(),
            ]
        }
    )

    KIND: ClassVar[str] = "VMMigration"

    spec: Annotated[VMMigrationSpec, Field(description="The desired state.")]
    status: Annotated[VMMigrationStatus, Field(description="What the operator observed and did.")] = VMMigrationStatus()

    @property
    def key(self) -> str:
        return f"{self.metadata.namespace}/{self.metadata.name}"
