"""HostMaintenance: drains a host and returns it to service (R25-R30).

`crds/hostmaintenances.yaml` is generated from here.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import AliasChoices, ConfigDict, Field

from vmferry.resources.base import Condition, Model, ObservedGeneration, Resource, Time, keyed_by
from vmferry.resources.vmmigration import (
    LINES,
    MAX_ATTEMPTS,
    AttemptOnTimeout,
    AttemptTimeout,
    HostName,
    Message,
    TargetRef,
    rule,
)
from vmferry.resources.words import (
    CordonAnswer,
    CordonState,
    MaintenancePhase,
    MoveState,
    OnBlockers,
    OnTimeout,
    PoweredOffPolicy,
    Priority,
    RunningPolicy,
    ServiceStatus,
)

#: on the object from the moment that something may have to be undone until it is
FINALIZER = "vmferry.dev/maintenance"
MAX_BLOCKERS = 50
MAX_MOVES = 50
MAX_LEFTOVERS = 10

Count = Annotated[int, Field(ge=0, le=1_000_000)]


class MigrationSettings(Model):
    """How each server is moved; the fields are those of a VMMigration."""

    timeout: AttemptTimeout = None
    on_timeout: AttemptOnTimeout = OnTimeout.ABORT
    retries: Annotated[
        int,
        Field(
            ge=0,
            le=MAX_ATTEMPTS - 1,
            description="Further attempts for a server after a failure, each on another host (on the named one, "
            "if there is a target). When all attempts have failed, the server is a blocker until its "
            "last VMMigration is deleted.",
        ),
    ] = 2
    priority: Annotated[
        Priority,
        Field(description="Order among migrations when the operator's limits are used up."),
    ] = Priority.NORMAL


class HostMaintenanceSpec(Model):
    """The desired state of the host."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    "self.host == oldSelf.host",
                    "host cannot be changed: create another HostMaintenance for another host",
                    ".host",
                ),
                rule(
                    "!has(self.target) || self.target.host != self.host",
                    "target.host must be another host",
                    ".target.host",
                ),
            ]
        }
    )

    host: Annotated[
        HostName,
        Field(
            description="The host's name, as `openstack compute service list` shows it, or the hypervisor's UUID."
            " A host has one HostMaintenance: a second one reports Conflict and does nothing."
        ),
    ]
    enabled: Annotated[
        bool,
        Field(
            description="true drains the host; false returns it to service, as deleting the resource does. It can"
            " be changed at any time, also during a drain."
        ),
    ] = True
    reason: Annotated[
        str,
        Field(
            max_length=128,
            pattern=LINES,
            description="Reason for people. It becomes part of Nova's disabled reason when the host is disabled; "
            "later changes do not.",
        ),
    ] = ""
    target: Annotated[
        TargetRef | None,
        Field(
            description="The host that all servers move to; the same prerequisites apply. Without it, the "
            "operator chooses a host for each server."
        ),
    ] = None
    running: Annotated[
        RunningPolicy,
        Field(
            description="Servers that are not powered off: LiveMigrate them; ColdMigrate shuts them down, "
            "migrates and starts them; Leave them on the host."
        ),
    ] = RunningPolicy.LIVE_MIGRATE
    powered_off: Annotated[
        PoweredOffPolicy,
        Field(description="Servers that are powered off or suspended: ColdMigrate them, or Leave them on the host."),
    ] = PoweredOffPolicy.COLD_MIGRATE
    on_blockers: Annotated[
        OnBlockers,
        Field(
            description="While some servers cannot move: Proceed migrates those that can; Refuse changes nothing "
            "on the host, and starts no further migration if a server becomes blocked during the "
            "drain."
        ),
    ] = OnBlockers.PROCEED
    max_parallel: Annotated[
        int,
        Field(
            ge=1,
            le=100,
            description="Maximum number of parallel migrations of this maintenance, in either direction; the "
            "operator's limits apply as well.",
        ),
    ] = 2
    preflight_only: Annotated[
        bool, Field(description="Only check the host and write the plan; neither disable it nor move servers.")
    ] = False
    return_vms: Annotated[
        bool,
        Field(
            alias="returnVMs",
            description="On release, migrate servers back if they are still where they were moved to and may "
            "return, with one attempt each. The others stay where they are.",
        ),
    ] = False
    ignore_headroom: Annotated[
        bool,
        Field(
            description="Drain even if less memory remains free on the zone's other hosts than headroomPercent "
            "requires."
        ),
    ] = False
    migration: Annotated[
        MigrationSettings, Field(description="Settings for VMMigrations that are created from now on.")
    ] = MigrationSettings()


class HostBefore(Model):
    """The compute service as it was before this resource touched it (I8)."""

    status: Annotated[ServiceStatus, Field(description="Its status in Nova: enabled or disabled.")]
    disabled_reason: Annotated[str | None, Field(max_length=255, description="Nova's disabled reason.")] = None


class Cordon(Model):
    """The operator's request to disable the compute service, written before it is sent."""

    service_id: Annotated[str, Field(alias="serviceID", max_length=64, description="ID of the compute service.")]
    disabled_reason: Annotated[
        str,
        Field(
            max_length=255,
            description="The disabled reason that the operator sets. It enables the "
            "service again only if exactly this reason is set.",
        ),
    ]
    requested_at: Annotated[Time, Field(description="When it was last requested.")]
    state: Annotated[
        CordonState | None,
        Field(
            description="Requested: Nova was asked to disable the compute service, or is about to be. Held: it was "
            "seen disabled. Undoing: Nova was asked to enable it again. Absent until an operator that knows this "
            "field reconciles the object."
        ),
    ] = None
    answer: Annotated[
        CordonAnswer | None,
        Field(
            description="Why Nova has not done it. Refused: a person has to change something. NotNow: the request is "
            "sent again after the pause that the cloud asks for."
        ),
    ] = None
    message: Annotated[str | None, Field(max_length=2048, description="The cloud's words for that.")] = None

    def begin(self, state: CordonState) -> None:
        """What the cloud answered to the step before is over."""
        if self.state is not state:
            self.state, self.answer, self.message = state, None, None


class MaintenanceProgress(Model):
    """Number of servers: total is the sum of moved, moving, waiting, blocked and staying."""

    total: Annotated[Count, Field(description="Servers that were on the host, or arrived during the maintenance.")] = 0
    moved: Annotated[Count, Field(description="Servers that have left.")] = 0
    moving: Annotated[Count, Field(description="Servers that are being moved now.")] = 0
    waiting: Annotated[Count, Field(description="Servers that wait, including planned ones.")] = 0
    blocked: Annotated[Count, Field(description="Servers that cannot move; see blockers.")] = 0
    staying: Annotated[
        Count,
        # version 0.1 called it `left`
        Field(
            validation_alias=AliasChoices("staying", "left"),
            description="Servers that stay because the spec says Leave.",
        ),
    ] = 0
    percent: Annotated[
        int, Field(ge=0, le=100, description="Percentage of servers that have moved, of those that do not stay.")
    ] = 0
    estimated_end: Annotated[
        Time | None,
        Field(
            description="Estimated time when all servers that can move will have moved, based on the migrations "
            "so far; absent until some have moved, and once it has passed."
        ),
    ] = None
    limited_by: Annotated[
        str | None,
        Field(max_length=255, description="The limit that delays the next planned server, with its value."),
    ] = None
    last_change_at: Annotated[
        Time | None,
        Field(
            description="When the maintenance last made progress: a server started or finished moving, or a step "
            "ended. If nothing happens for policy.stuckAfter, the maintenance is Stalled with the "
            "reason NoProgress."
        ),
    ] = None


class Blocker(Model):
    """A server that cannot move, and a remedy."""

    server: Annotated[str, Field(max_length=64, description="The server's UUID.")]
    name: Annotated[str, Field(max_length=255, description="The server's name.")]
    prerequisite: Annotated[str, Field(max_length=64, description="The first prerequisite that fails.")]
    reason: Annotated[str, Field(max_length=64, description="Reason for programs, one word.")]
    message: Annotated[Message, Field(description="What was found and what was expected.")]
    remedy: Annotated[str | None, Field(max_length=1024, description="What a person can do about it.")] = None


class LeftoverRecord(Model):
    """An open migration record that Nova no longer works on."""

    migration: Annotated[str, Field(max_length=64, description="The record's UUID.")]
    server: Annotated[str, Field(max_length=64, description="The UUID of its server, which is elsewhere.")]
    message: Annotated[Message, Field(description="What was found.")]
    remedy: Annotated[str | None, Field(max_length=1024, description="What a person can do about it.")] = None


class Move(Model):
    """A server and its target."""

    server: Annotated[str, Field(max_length=64, description="The server's UUID.")]
    name: Annotated[str, Field(max_length=255, description="The server's name.")]
    type: Annotated[str | None, Field(max_length=16, description="Type of the migration: Live, Cold or Evacuate.")] = (
        None
    )
    target_host: Annotated[str | None, Field(max_length=255, description="The target; a plan may still change.")] = None
    migration: Annotated[
        str | None, Field(max_length=512, description="The VMMigration that moves it, as namespace/name.")
    ] = None
    state: Annotated[
        MoveState,
        Field(
            description="Planned: no VMMigration exists yet. Waiting: queued, or waiting for somebody else's "
            "action on the server. Moving, Moved. Failed: the last attempt failed. Returning, "
            "Returned: on release."
        ),
    ]
    message: Annotated[str | None, Field(max_length=512, description="Why it waits, or how it failed.")] = None


class HostMaintenanceStatus(Model):
    """What the operator observed and did."""

    observed_generation: ObservedGeneration = None
    phase: Annotated[
        MaintenancePhase | None,
        Field(description="A summary for people; its values may change. Programs should read conditions."),
    ] = None
    conditions: Annotated[
        list[Condition],
        Field(
            max_length=16,
            json_schema_extra=keyed_by("type"),
            description="PrerequisitesMet, Cordoned, Drained and Ready; Reconciling and Stalled are present only "
            "while they are True.",
        ),
    ] = []
    host: Annotated[str | None, Field(max_length=255, description="The host's name in Nova.")] = None
    progress: Annotated[MaintenanceProgress | None, Field(description="Numbers of servers.")] = None
    blockers: Annotated[
        list[Blocker],
        Field(
            max_length=MAX_BLOCKERS,
            json_schema_extra=keyed_by("server"),
            description="The first servers that cannot move, by name.",
        ),
    ] = []
    leftover_records: Annotated[
        list[LeftoverRecord],
        Field(
            max_length=MAX_LEFTOVERS,
            json_schema_extra=keyed_by("migration"),
            description="Open migration records of the host whose servers are elsewhere and idle. They use up no limit "
            "and do not keep the host from being empty; Nova does not delete the compute service while they are open.",
        ),
    ] = []
    moves: Annotated[
        list[Move],
        Field(
            max_length=MAX_MOVES,
            description="Servers and their targets: moving ones first, then failed, waiting, planned and moved ones.",
        ),
    ] = []
    host_before: Annotated[
        HostBefore | None, Field(description="The compute service as it was before the operator disabled it.")
    ] = None
    cordon: Annotated[
        Cordon | None, Field(description="Set while this resource keeps the compute service disabled.")
    ] = None
    cloud: Annotated[
        str | None,
        Field(
            max_length=255,
            description="Region and address of the cloud in which the maintenance began. If another cloud does "
            "not know the host, nothing follows from that.",
        ),
    ] = None
    round: Annotated[int, Field(ge=0, description="Number of times that the maintenance has begun.")] = 0
    admitted_at: Annotated[
        Time | None, Field(description="When the host was admitted into maintenance; unset once it is released.")
    ] = None
    empty_since: Annotated[
        Time | None, Field(description="The first of the consecutive checks that found the host empty.")
    ] = None
    drained_at: Annotated[Time | None, Field(description="When the host was verified empty.")] = None
    down_since: Annotated[Time | None, Field(description="When its compute service was first seen down.")] = None
    release_started_at: Annotated[Time | None, Field(description="When its release began.")] = None
    released_at: Annotated[Time | None, Field(description="When it was returned to service.")] = None

    def condition(self, type_: str) -> Condition | None:
        return next((c for c in self.conditions if c.type == type_), None)


class HostMaintenance(Resource):
    """The whole object."""

    KIND: ClassVar[str] = "HostMaintenance"

    spec: Annotated[HostMaintenanceSpec, Field(description="The desired state.")]
    status: Annotated[HostMaintenanceStatus, Field(description="What the operator observed and did.")] = (
        HostMaintenanceStatus()
    )
