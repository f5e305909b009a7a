"""VMMigration: the wish to move one server, and all that is known of how it went.

`crds/vmmigrations.yaml` is generated from here.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field

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
from vmferry.resources.words import MigrationType, OnTimeout, Phase, Priority, StorageClass

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
        description="Deadline of one attempt, longer than 0s; onTimeout says what happens then. Without it: the "
        "operator's timeoutBase, and its timeoutPerGiB for each GiB of memory and local disk to copy."
    ),
]
AttemptOnTimeout = Annotated[
    OnTimeout,
    Field(
        description="At the deadline of a live migration: Abort it, or ForceComplete it, which pauses the server "
        "or, where Nova is configured so, switches to post-copy; one that is not copying yet is "
        "aborted all the same. A cold migration or an evacuation cannot be stopped: it is watched "
        "until it has ended."
    ),
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
            description="The server's UUID, in lower case. Either this, or name and project.",
        ),
    ] = None
    name: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=255,
            pattern=PRINTABLE,
            description="The server's exact name; needs project. A name that two servers share, or none has, "
            "blocks the migration with ServerNotFound.",
        ),
    ] = None
    project: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=255,
            pattern=PRINTABLE,
            description="Name or id of the server's project; needs name.",
        ),
    ] = None


class TargetRef(Model):
    """Where to: restricts the choice, never forces it (R8)."""

    host: Annotated[
        HostName,
        Field(
            description="The host's name, as `openstack compute service list` shows it, or the hypervisor's UUID. "
            "One that the cloud does not list blocks with HostNotFound."
        ),
    ]


class Attestation(Model):
    """A person's word that a host is dead (I38)."""

    host: Annotated[
        HostName,
        Field(
            description="The host that is powered off: its name, as `openstack compute service list` shows it, or the "
            "hypervisor's UUID. The server must be on it."
        ),
    ]
    by: Annotated[str | None, Field(max_length=255, pattern=PRINTABLE, description="Who made certain of it.")] = None
    at: Annotated[
        Moment | None,
        Field(
            description="When. A host that has reported since then is not dead, and ends the request. Without it: when "
            "this object was created. It must not lie in the future."
        ),
    ] = None
    statement: Annotated[
        str | None, Field(max_length=1024, pattern=LINES, description="How, like: powered off through its BMC.")
    ] = None


class VMMigrationSpec(Model):
    """What is wanted. Immutable once the migration has started, save paused, priority and ttlAfterFinished."""

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
        ServerRef, Field(description="The server to move: either its id, or its name together with its project.")
    ]
    type: Annotated[
        MigrationType,
        Field(
            description="Live keeps the server running; Cold needs it powered off; Evacuate rebuilds it from a "
            "failed host, and asking for it by name attests that the host on which the server is at that moment is "
            "dead: it ends as Failed when the server is on another host, or when that host's service is up; Auto is "
            "Evacuate where the host's service is down and somebody has marked it as forced down, Cold where the "
            "server is powered off, and otherwise Live."
        ),
    ] = MigrationType.AUTO
    target: Annotated[
        TargetRef | None,
        Field(
            description="The host to move to. It is judged like any other and never forced, and tried once. "
            "Without it the best eligible host is picked, and another one for each further attempt."
        ),
    ] = None
    attestation: Annotated[
        Attestation | None,
        Field(
            description="Type Evacuate: which host is dead, and who says so. Without it, it is the host on which the "
            "operator finds the server when it first reconciles this object."
        ),
    ] = None
    start_before: Annotated[
        Moment | None,
        Field(
            description="Start no attempt after this time: if none has begun, this object ends as Failed with the "
            "reason Expired. Without it, the operator's expireAfter counts from its creation."
        ),
    ] = None
    stop_if_running: Annotated[
        bool,
        Field(
            description="Type Cold: stop a running server gracefully first and start it afterwards, whatever came "
            "of the move. One that does not stop within the operator's stopTimeout is not moved, and one whose move "
            "cannot start within that time after it has stopped is started again and not moved. "
            "Under Auto it does nothing: a running server is moved live."
        ),
    ] = False
    timeout: AttemptTimeout = None
    on_timeout: AttemptOnTimeout = OnTimeout.ABORT
    retries: Annotated[
        int,
        Field(
            ge=0,
            le=MAX_ATTEMPTS - 1,
            description="Further attempts after a failure, each on another target, after a pause that doubles. 0: "
            "one attempt. Not used with a target that is named, after somebody else's abort, or with "
            "a server left in ERROR.",
        ),
    ] = 2
    preflight_only: Annotated[
        bool,
        Field(
            description="Write prerequisites and eligible targets again and again, move nothing. Set to false, it "
            "moves."
        ),
    ] = False
    paused: Annotated[
        bool,
        Field(
            description="Start nothing new, neither a first nor a further attempt; what runs is seen to its end. It "
            "still expires, and a server that was stopped for it is started again after the operator's stopTimeout."
        ),
    ] = False
    priority: Annotated[
        Priority,
        Field(
            description="Who goes first when there are more requests than the operator's limits admit; among "
            "equals the older one. It overtakes what waits and stops nothing that runs."
        ),
    ] = Priority.NORMAL
    os_upgrade: Annotated[
        bool,
        Field(
            description="This move may cross to a newer operating system, along a path that is known (Ubuntu "
            "22.04 to 24.04), and to a newer hypervisor: one way, the server never comes back."
        ),
    ] = False
    ttl_after_finished: Annotated[
        Duration | None,
        Field(
            description="Delete this object that long after it has finished; 0s: at once. Without it the "
            "operator's ttlAfterFinished holds, or it stays. It stays in any case where Argo CD, Flux "
            "or Helm would create it again, and, if it moved its server to a newer operating system, "
            "as long as the server lives; and while its failure counts for a breaker."
        ),
    ] = None


class ServerView(Model):
    """The server as it was last seen."""

    id: Annotated[str, Field(max_length=64, description="The server's UUID.")]
    name: Annotated[str, Field(max_length=255, description="The server's name.")]
    state: Annotated[str, Field(max_length=64, description="Nova's status of it, like ACTIVE or SHUTOFF.")]


class PrerequisiteView(Model):
    """The verdict on one prerequisite."""

    name: Annotated[Name, Field(description="Which prerequisite, by the name that the documentation has.")]
    result: Annotated[
        Result,
        Field(
            description="Passed; Failed; Unknown: the cloud does not tell, which blocks unless the operator's "
            "tolerateUnknown names it; NotApplicable: not asked for this kind of migration."
        ),
    ]
    reason: Annotated[
        str | None, Field(max_length=64, description="Why not, as one word for programs; absent if it passed.")
    ] = None
    host: Annotated[str | None, Field(max_length=255, description="The host that this was found on.")] = None
    message: Annotated[Message, Field(description="What was found, and what was expected.")]
    remedy: Annotated[str | None, Field(max_length=1024, description="What a person can do about it.")] = None


class EligibleTarget(Model):
    """A host that the server may move to."""

    host: Annotated[str, Field(max_length=255, description="The host's name, as Nova's compute service has it.")]
    rank: Annotated[int, Field(ge=1, description="1 is the best: the one that is taken.")]
    message: Annotated[Message, Field(description="Why it stands at this rank.")]


class IneligibleTargets(Model):
    """Hosts that the server cannot move to, counted by their first reason."""

    reason: Annotated[str, Field(max_length=64, description="The reason that they share.")]
    hosts: Annotated[int, Field(ge=1, description="How many hosts.")]
    example: Annotated[str, Field(max_length=255, description="One of these hosts.")]
    message: Annotated[Message | None, Field(description="What was found on the example.")] = None


class ProgressView(Model):
    """How far the running copy is."""

    percent: Annotated[int, Field(ge=0, le=100, description="Copied, of memory and disks together.")]
    total_bytes: Annotated[Bytes, Field(description="Memory and disks to copy.")] = 0
    memory_remaining_bytes: Annotated[Bytes, Field(description="Memory still to copy.")] = 0
    disk_remaining_bytes: Annotated[Bytes, Field(description="Disk still to copy.")] = 0
    updated_at: Annotated[Time | None, Field(description="When this was read from Nova.")] = None


class OSCrossing(Model):
    """A one-way move to a newer operating system."""

    source: Annotated[str, Field(max_length=64, description="What the source host ran, like Ubuntu 22.04.")]
    target: Annotated[str, Field(max_length=64, description="What the target host ran.")]


class AttemptFailure(Model):
    """What the breaker compares of an attempt that the cloud let fail."""

    left_in_error: Annotated[
        bool, Field(description="The server was in ERROR when the end of the attempt was seen.")
    ] = False
    cause: Annotated[
        str | None,
        Field(
            max_length=256,
            description="The cloud's words without names, ids and numbers: equal for failures of one cause. Absent "
            "where the failure says nothing of other servers, like an abort at the deadline.",
        ),
    ] = None


class Attempt(Model):
    """One request for a migration that was, or was about to be, sent to Nova."""

    number: Annotated[int, Field(ge=1, le=1000, description="Which attempt this is; 1 is the first.")]
    type: Annotated[ResolvedType, Field(description="What was asked for: Live, Cold or Evacuate.")]
    source_host: Annotated[str, Field(max_length=255, description="Where the server was.")]
    target_host: Annotated[
        str, Field(max_length=255, description="Where it was to go; once Nova has a record, what that says.")
    ]
    state: Annotated[
        str,
        Field(
            max_length=64,
            description="Requested: asked for, or about to be. Refused: Nova said no. NotSent: it never reached "
            "Nova, and does not count. NotNow: the cloud was busy or limits requests; it does not count. "
            "ServerGone: the server was deleted meanwhile. In lower case: the status of Nova's own record, like "
            "running, completed or error.",
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
            description="Nova's id of our request, as `openstack server event list` and Nova's logs have it.",
        ),
    ] = None
    started_at: Annotated[Time, Field(description="When the intent was written, before Nova was asked.")]
    running_since: Annotated[
        Time | None,
        Field(
            description="When Nova was first seen working on it. Until then it waits in Nova's own queue, and its "
            "deadline does not count."
        ),
    ] = None
    ended_at: Annotated[Time | None, Field(description="When the end was seen; absent while it is open.")] = None
    retry_at: Annotated[
        Time | None, Field(description="NotNow: when the request may be sent again, as the cloud asked for.")
    ] = None
    stop_requested_at: Annotated[
        Time | None, Field(description="When an abort or a forced completion was last asked for.")
    ] = None
    confirm_requested_at: Annotated[Time | None, Field(description="Cold: when our own resize was last confirmed.")] = (
        None
    )
    stop_reason: Annotated[str | None, Field(max_length=64, description="Why it was aborted: Deleted or TimedOut.")] = (
        None
    )
    crossing: Annotated[
        OSCrossing | None, Field(description="Set where source and target run different operating systems.")
    ] = None
    message: Annotated[Message | None, Field(description="The cloud's own words, with the request id.")] = None
    failure: Annotated[
        AttemptFailure | None,
        Field(description="Set where the cloud let it fail; several alike from one host open its breaker."),
    ] = None

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
    stopped_at: Annotated[Time | None, Field(description="When the server was first seen powered off for it.")] = None
    reason: Annotated[
        str | None,
        Field(max_length=64, description="Set once the move is given up because it could not start in time: why."),
    ] = None
    message: Annotated[Message | None, Field(description="The same, for people.")] = None


class AttestationView(Model):
    """What an Evacuate attests: one host, and one moment."""

    host: Annotated[str, Field(max_length=255, description="The only host from which this request evacuates.")]
    at: Annotated[Time, Field(description="A host that has reported since then is not dead.")]


class VMMigrationStatus(Model):
    """What was found and done."""

    observed_generation: ObservedGeneration = None
    phase: Annotated[
        Phase | None, Field(description="A summary for people, which may change its words; programs read conditions.")
    ] = None
    conditions: Annotated[
        list[Condition],
        Field(
            max_length=16,
            json_schema_extra=keyed_by("type"),
            description="PrerequisitesMet, Succeeded and Ready; TypeResolved says which kind and why; Reconciling "
            "and Stalled are there only while they are True.",
        ),
    ] = []
    type: Annotated[ResolvedType | None, Field(description="The kind in force: Live, Cold or Evacuate.")] = None
    server: Annotated[ServerView | None, Field(description="The server as last seen.")] = None
    storage: Annotated[
        StorageClass | None,
        Field(
            description="What the move has to do with its disks: VolumesOnly, EphemeralShared (nothing is "
            "copied), or EphemeralLocal (they are copied). Absent: nobody tells whether they are "
            "shared."
        ),
    ] = None
    attestation: Annotated[
        AttestationView | None,
        Field(description="Type Evacuate: the host whose death is attested. It does not follow the server."),
    ] = None
    source_host: Annotated[str | None, Field(max_length=255, description="Where it is, or was.")] = None
    target_host: Annotated[str | None, Field(max_length=255, description="Where it goes, or went.")] = None
    prerequisites: Annotated[
        list[PrerequisiteView],
        Field(
            max_length=32,
            json_schema_extra=keyed_by("name"),
            description="Every one with its verdict, for the target that is named or picked; where no host "
            "is eligible, what all hosts together say.",
        ),
    ] = []
    eligible_targets: Annotated[
        list[EligibleTarget],
        Field(
            max_length=MAX_ELIGIBLE,
            json_schema_extra=keyed_by("host"),
            description="Hosts that it may go to, the best first.",
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
    progress: Annotated[ProgressView | None, Field(description="How far the running copy is.")] = None
    graceful_stop: Annotated[
        GracefulStop | None,
        Field(description="Set from the stop for this move until the start after it: the start is owed."),
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
        Time | None, Field(description="From when expireAfter counts: its creation, or the end of preflightOnly.")
    ] = None
    started_at: Annotated[
        Time | None, Field(description="When the first change was decided; from then on the spec is fixed.")
    ] = None
    completed_at: Annotated[Time | None, Field(description="When it was over, whatever came of it.")] = None

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

    spec: Annotated[VMMigrationSpec, Field(description="What is wanted.")]
    status: Annotated[VMMigrationStatus, Field(description="What was found and done.")] = VMMigrationStatus()

    @property
    def key(self) -> str:
        return f"{self.metadata.namespace}/{self.metadata.name}"
