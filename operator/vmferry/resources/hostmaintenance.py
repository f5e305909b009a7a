"""HostMaintenance: a toggle that drains a host, and gives it back (R25-R30).

`crds/hostmaintenances.yaml` is generated from here.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field

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
            "if there is a target). After these it is a blocker, until its last VMMigration is "
            "deleted.",
        ),
    ] = 2
    priority: Annotated[
        Priority,
        Field(description="Who goes first when there are more migrations than the operator's limits admit."),
    ] = Priority.NORMAL


class HostMaintenanceSpec(Model):
    """What is wanted of the host."""

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
            description="The host's name, as `openstack compute service list` shows it, or the hypervisor's UUID. "
            "One host has one HostMaintenance: a second one says Conflict and does nothing."
        ),
    ]
    enabled: Annotated[
        bool,
        Field(
            description="The toggle: true drains the host, false gives it back, as deleting the resource does. It "
            "may be changed at any time, also midway."
        ),
    ] = True
    reason: Annotated[
        str,
        Field(
            max_length=128,
            pattern=LINES,
            description="Why, for people. It becomes part of Nova's disabled reason when the host is disabled; a "
            "change after that does not.",
        ),
    ] = ""
    target: Annotated[
        TargetRef | None,
        Field(
            description="The one host that everything moves to, judged like any other and never forced. Without "
            "it a host is chosen for each server."
        ),
    ] = None
    running: Annotated[
        RunningPolicy,
        Field(
            description="Servers that are not powered off: LiveMigrate them; ColdMigrate stops, moves and starts "
            "them; Leave them on the host."
        ),
    ] = RunningPolicy.LIVE_MIGRATE
    powered_off: Annotated[
        PoweredOffPolicy,
        Field(description="Servers that are powered off or suspended: ColdMigrate them, or Leave them on the host."),
    ] = PoweredOffPolicy.COLD_MIGRATE
    on_blockers: Annotated[
        OnBlockers,
        Field(
            description="While some servers cannot move: Proceed moves those that can; Refuse leaves the host as "
            "it is, and starts nothing new if something becomes blocked midway."
        ),
    ] = OnBlockers.PROCEED
    max_parallel: Annotated[
        int,
        Field(
            ge=1,
            le=100,
            description="Servers that this maintenance moves at once, away and back; the operator's limits hold "
            "besides.",
        ),
    ] = 2
    preflight_only: Annotated[
        bool, Field(description="Check the host and write the plan; neither cordon it nor move anything.")
    ] = False
    return_vms: Annotated[
        bool,
        Field(
            alias="returnVMs",
            description="On release, bring back the servers that are still where they were moved to and may "
            "return, one try each. The others stay where they are.",
        ),
    ] = False
    ignore_headroom: Annotated[
        bool,
        Field(
            description="Drain even if less memory would stay free on the zone's other hosts than headroomPercent asks."
        ),
    ] = False
    migration: Annotated[
        MigrationSettings, Field(description="How each server is moved, for VMMigrations created from now on.")
    ] = MigrationSettings()


class HostBefore(Model):
    """The compute service as it was before this resource touched it (I8)."""

    status: Annotated[ServiceStatus, Field(description="Its status in Nova: enabled or disabled.")]
    disabled_reason: Annotated[
        str | None, Field(max_length=255, description="Why it was disabled, in Nova's words.")
    ] = None


class Cordon(Model):
    """What we asked Nova for; written before it is asked."""

    service_id: Annotated[str, Field(alias="serviceID", max_length=64, description="Id of the compute service.")]
    disabled_reason: Annotated[
        str, Field(max_length=255, description="The reason that is ours: only with exactly it the cordon is undone.")
    ]
    requested_at: Annotated[Time, Field(description="When it was last asked for.")]


class MaintenanceProgress(Model):
    """Servers, counted: total is the sum of moved, moving, waiting, blocked and left."""

    total: Annotated[Count, Field(description="Servers that were on the host, or came to it.")] = 0
    moved: Annotated[Count, Field(description="Servers that have left.")] = 0
    moving: Annotated[Count, Field(description="Servers that are being moved now.")] = 0
    waiting: Annotated[Count, Field(description="Servers that wait for their turn, planned ones included.")] = 0
    blocked: Annotated[Count, Field(description="Servers that cannot move; see blockers.")] = 0
    left: Annotated[Count, Field(description="Servers that stay because the spec says Leave.")] = 0
    percent: Annotated[int, Field(ge=0, le=100, description="How many have moved, of those that do not stay.")] = 0
    estimated_end: Annotated[
        Time | None,
        Field(
            description="When all that can move will have, by what the moves so far took; absent until some have, and "
            "once it has passed."
        ),
    ] = None
    limited_by: Annotated[
        str | None,
        Field(
            max_length=255, description="The limit that keeps the next planned server from starting, with its value."
        ),
    ] = None
    last_change_at: Annotated[
        Time | None,
        Field(
            description="When the maintenance last went on: a server began to move or left, or a step of it ended. "
            "Nothing for policy.stuckAfter and nothing under way: Stalled, reason NoProgress."
        ),
    ] = None


class Blocker(Model):
    """A server that cannot move, and what to do about it."""

    server: Annotated[str, Field(max_length=64, description="The server's UUID.")]
    name: Annotated[str, Field(max_length=255, description="The server's name.")]
    prerequisite: Annotated[str, Field(max_length=64, description="The first prerequisite that is not met.")]
    reason: Annotated[str, Field(max_length=64, description="Why, as one word for programs.")]
    message: Annotated[Message, Field(description="What was found and what was expected.")]
    remedy: Annotated[str | None, Field(max_length=1024, description="What a person can do about it.")] = None


class LeftoverRecord(Model):
    """An open migration record that Nova no longer works on."""

    migration: Annotated[str, Field(max_length=64, description="The record's UUID.")]
    server: Annotated[str, Field(max_length=64, description="The UUID of its server, which is elsewhere.")]
    message: Annotated[Message, Field(description="What was found.")]
    remedy: Annotated[str | None, Field(max_length=1024, description="What a person can do about it.")] = None


class Move(Model):
    """A server and where it goes, or went."""

    server: Annotated[str, Field(max_length=64, description="The server's UUID.")]
    name: Annotated[str, Field(max_length=255, description="The server's name.")]
    type: Annotated[str | None, Field(max_length=16, description="How it moves: Live, Cold or Evacuate.")] = None
    target_host: Annotated[
        str | None, Field(max_length=255, description="Where it goes, or went; a plan may still change.")
    ] = None
    migration: Annotated[
        str | None, Field(max_length=512, description="The VMMigration that moves it, as namespace/name.")
    ] = None
    state: Annotated[
        MoveState,
        Field(
            description="Planned: no VMMigration yet. Waiting: for its turn, or for somebody else's action on the "
            "server. Moving, Moved. Failed: the last try. Returning, Returned: on release."
        ),
    ]
    message: Annotated[str | None, Field(max_length=512, description="Why it waits, or how it failed.")] = None


class HostMaintenanceStatus(Model):
    """What was found and done."""

    observed_generation: ObservedGeneration = None
    phase: Annotated[
        MaintenancePhase | None,
        Field(description="A summary for people, which may change its words; programs read conditions."),
    ] = None
    conditions: Annotated[
        list[Condition],
        Field(
            max_length=16,
            json_schema_extra=keyed_by("type"),
            description="PrerequisitesMet, Cordoned, Drained and Ready; Reconciling and Stalled are there only "
            "while they are True.",
        ),
    ] = []
    host: Annotated[str | None, Field(max_length=255, description="The host, by Nova's name.")] = None
    progress: Annotated[MaintenanceProgress | None, Field(description="Servers, counted.")] = None
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
        Field(max_length=MAX_MOVES, description="Moving ones first, then failed, waiting, planned and moved ones."),
    ] = []
    host_before: Annotated[HostBefore | None, Field(description="The host as it was before it was cordoned.")] = None
    cordon: Annotated[Cordon | None, Field(description="Set while the host is cordoned by this resource.")] = None
    cloud: Annotated[
        str | None,
        Field(
            max_length=255,
            description="Region and address of the cloud that the host was let into maintenance in. Another cloud that "
            "does not know the host says nothing about it.",
        ),
    ] = None
    round: Annotated[int, Field(ge=0, description="How often the maintenance was begun.")] = 0
    admitted_at: Annotated[
        Time | None, Field(description="When the host was let into maintenance; unset once it is released.")
    ] = None
    empty_since: Annotated[
        Time | None, Field(description="The first of the looks in a row that found the host empty.")
    ] = None
    drained_at: Annotated[Time | None, Field(description="Since when it is verified empty.")] = None
    down_since: Annotated[Time | None, Field(description="Since when its compute service is seen down.")] = None
    release_started_at: Annotated[Time | None, Field(description="When its release began.")] = None
    released_at: Annotated[Time | None, Field(description="When it was given back.")] = None

    def condition(self, type_: str) -> Condition | None:
        return next((c for c in self.conditions if c.type == type_), None)


class HostMaintenance(Resource):
    """The whole object."""

    KIND: ClassVar[str] = "HostMaintenance"

    spec: Annotated[HostMaintenanceSpec, Field(description="What is wanted.")]
    status: Annotated[HostMaintenanceStatus, Field(description="What was found and done.")] = HostMaintenanceStatus()
