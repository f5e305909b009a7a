"""The VMMigrations that a HostMaintenance owns: how it asks for one, and what it reads of each.

The name of an owned migration follows from its owner's uid and from what it is for: creating it twice makes one (R36),
a resource that was deleted and created again never meets the records of the one before, and an object with another name
is not ours, whatever its labels say (`made_by`). Its round tells the drains of one resource apart that follow each
other as it is toggled.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256

from vmferry.cloud.model import ResolvedType
from vmferry.prerequisites.enums import Name, Reason, Result
from vmferry.reconcilers.conditions import READY, STALLED
from vmferry.resources.base import GROUP, OwnerReference
from vmferry.resources.vmmigration import VMMigration
from vmferry.resources.words import MigrationType, OnTimeout, Phase, Priority

MAINTENANCE = f"{GROUP}/maintenance"
PURPOSE = f"{GROUP}/purpose"
ROUND = f"{GROUP}/round"
TRY = f"{GROUP}/try"
#: which operator an object is for, where several run in one cluster; owned migrations have that of their owner
CLASS = f"{GROUP}/class"


class Purpose(StrEnum):
    DRAIN = "drain"
    #: back to the host after its maintenance
    RETURN = "return"


@dataclass(frozen=True, slots=True)
class Hindrance:
    """What stands against a server's move, as a status says it."""

    prerequisite: str
    reason: str
    message: str
    remedy: str | None = None


@dataclass(frozen=True, slots=True)
class OwnedMigration:
    """One VMMigration of a HostMaintenance, as far as its owner needs it."""

    namespace: str
    name: str
    uid: str
    resource_version: str
    server_id: str
    purpose: Purpose
    round: int
    #: 1 is the first
    number: int
    phase: Phase | None
    type: ResolvedType | None
    source_host: str | None
    #: that it was sent to, or will be
    target_host: str | None
    created_at: datetime | None
    #: the first change of the cloud was decided
    started_at: datetime | None
    completed_at: datetime | None
    deleting: bool
    #: why it is as it is, the reason and the message of its condition Ready
    reason: str
    message: str
    #: while it is Blocked or Stalled: it does not go on by itself
    hindrance: Hindrance | None

    @property
    def over(self) -> bool:
        return self.completed_at is not None

    @property
    def idle(self) -> bool:
        """Nothing is under way, so that it can be given up for nothing; one that has begun may wait again."""
        return self.started_at is None or self.phase in (Phase.PENDING, Phase.BLOCKED, Phase.QUEUED)

    @property
    def stalled(self) -> bool:
        """It was decided on, but it needs a person; blocked is what was not begun."""
        return self.hindrance is not None and self.phase is not Phase.BLOCKED

    @property
    def paused(self) -> bool:
        """It waits for the person who paused it."""
        return not self.over and self.reason == Reason.PAUSED

    @property
    def succeeded(self) -> bool:
        return self.over and self.phase is Phase.SUCCEEDED


@dataclass(frozen=True, slots=True)
class NewChild:
    """A VMMigration to be created."""

    namespace: str
    name: str
    labels: tuple[tuple[str, str], ...]
    server_id: str
    type: MigrationType
    #: None only in a trial, which is never created
    target_host: str | None
    stop_if_running: bool = False
    timeout: timedelta | None = None
    on_timeout: OnTimeout = OnTimeout.ABORT
    priority: Priority = Priority.NORMAL
    annotations: tuple[tuple[str, str], ...] = ()


def label_value(name: str) -> str:
    """A name as a label's value, which holds 63 characters."""
    if len(name) <= 63:
        return name
    return f"{name[:54].rstrip('.-')}-{sha256(name.encode()).hexdigest()[:8]}"


def owned_name(owner: str, uid: str, server_id: str, purpose: Purpose, round_: int, number: int) -> str:
    """`host-a-9f6c1234-5678-1-2-1f0e3dad99`: the second try of the first round. The hash covers all that is shortened
    in the name, and the owner's uid."""
    seed = "\n".join((uid, server_id, purpose, str(round_), str(number)))
    return f"{_readable_name(owner, server_id, purpose, round_, number)}-{sha256(seed.encode()).hexdigest()[:10]}"


def _readable_name(owner: str, server_id: str, purpose: Purpose, round_: int, number: int) -> str:
    """The whole name in version 0.1, whose owned migrations are still recognised."""
    back = "-back" if purpose is Purpose.RETURN else ""
    server = re.sub(r"[^a-z0-9-]", "", server_id.lower())[:13]
    return f"{owner[:200].rstrip('.-')}-{server}{back}-{round_}-{number}"


def made_by(child: OwnedMigration, owner: str, uid: str, namespace: str) -> bool:
    """Whether the HostMaintenance of that name and uid has created the object, as far as its place and its name prove.

    Labels and ownerReferences prove nothing: whoever may create a VMMigration in any namespace can write them.
    """
    of = owner, child.server_id, child.purpose, child.round, child.number
    names = (_readable_name(*of), owned_name(owner, uid, child.server_id, child.purpose, child.round, child.number))
    return child.namespace == namespace and child.round > 0 and child.number > 0 and child.name in names


def labels(owner: str, purpose: Purpose, round_: int, number: int) -> tuple[tuple[str, str], ...]:
    return ((MAINTENANCE, label_value(owner)), (PURPOSE, purpose.value), (ROUND, str(round_)), (TRY, str(number)))


def owner_reference(obj: VMMigration) -> OwnerReference | None:
    """The HostMaintenance that the object says it belongs to."""
    return next((o for o in obj.metadata.owner_references if o.controller and o.kind == "HostMaintenance"), None)


def owned_migration(obj: VMMigration) -> tuple[str, OwnedMigration] | None:
    """The uid of the HostMaintenance that the object says it belongs to, and what that one reads of it; None for
    everybody else's. Who reads it asks `made_by` whether it is true."""
    owner = owner_reference(obj)
    if owner is None:
        return None
    marks = obj.metadata.labels
    try:
        purpose, round_, number = Purpose(marks.get(PURPOSE, "")), int(marks[ROUND]), int(marks[TRY])
    except (KeyError, ValueError):
        purpose, round_, number = Purpose.DRAIN, 0, 0  # which no migration of ours has
    status = obj.status
    ready = status.condition(READY)
    return owner.uid, OwnedMigration(
        namespace=obj.metadata.namespace,
        name=obj.metadata.name,
        uid=obj.metadata.uid,
        resource_version=obj.metadata.resource_version,
        server_id=obj.spec.server.id or "",
        purpose=purpose,
        round=round_,
        number=number,
        phase=status.phase,
        type=status.type,
        source_host=status.attempts[-1].source_host if status.attempts else status.source_host,
        target_host=status.target_host or (obj.spec.target.host if obj.spec.target else None),
        created_at=obj.metadata.creation_timestamp,
        started_at=status.started_at,
        completed_at=status.completed_at,
        deleting=obj.metadata.deletion_timestamp is not None,
        reason=ready.reason if ready else "Pending",
        message=ready.message if ready else "",
        hindrance=_hindrance(obj),
    )


def _hindrance(obj: VMMigration) -> Hindrance | None:
    status = obj.status
    if status.phase is not Phase.BLOCKED:
        stalled = status.condition(STALLED)
        if stalled is None or status.completed_at is not None:
            return None
        where = f"{obj.metadata.namespace}/{obj.metadata.name}"
        return Hindrance(
            Name.SERVER_TASK.value,
            stalled.reason,
            stalled.message,
            f"this server needs a person: see VMMigration {where} and the run-book stuck-migration",
        )
    found = next((p for p in obj.status.prerequisites if p.result is Result.FAILED), None) or next(
        (p for p in obj.status.prerequisites if p.result is Result.UNKNOWN), None
    )
    if found is not None:
        return Hindrance(found.name.value, found.reason or "FactUnknown", found.message, found.remedy)
    ready = obj.status.condition(READY)
    return Hindrance(
        Name.SERVER_TASK.value, ready.reason if ready else "FactUnknown", ready.message if ready else "it is blocked"
    )
