"""The VMMigrations that a HostMaintenance owns: their names, the data that the owner reads, and their deletion.

The name of an owned migration is derived from its owner's uid and its purpose, so creating it twice yields a single
object (R36), and a resource that was deleted and created again does not adopt the records of its predecessor. An
object with another name is not owned, whatever its labels are (`made_by`). The round distinguishes the successive
drains of a resource that is enabled and disabled repeatedly.

When a HostMaintenance is deleted, the garbage collector of Kubernetes also deletes the VMMigrations that it created:
at once with foreground propagation (the default of Argo CD), afterwards with background propagation, and not at all
with orphan propagation, which removes the ownerReference instead. Deleting a namespace deletes all of its objects.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256

from vmferry.cloud.model import ResolvedType
from vmferry.prerequisites.enums import Name, Result
from vmferry.reconcilers.conditions import READY, STALLED
from vmferry.reconcilers.owned import Deletion, Owned, Owner, owner_reference
from vmferry.resources.base import GROUP
from vmferry.resources.vmmigration import VMMigration
from vmferry.resources.words import HeldBy, Phase

MAINTENANCE = f"{GROUP}/maintenance"
PURPOSE = f"{GROUP}/purpose"
ROUND = f"{GROUP}/round"
TRY = f"{GROUP}/try"


class Purpose(StrEnum):
    DRAIN = "drain"
    #: the return to the host after its maintenance
    RETURN = "return"


@dataclass(frozen=True, slots=True)
class Hindrance:
    """The reason why a server's move is blocked, as a status reports it."""

    prerequisite: str
    reason: str
    message: str
    remedy: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedMigration(Owned):
    """The data of an owned VMMigration that its HostMaintenance needs."""

    kind: str = VMMigration.KIND
    server_id: str
    purpose: Purpose
    round: int
    #: number of the try, from 1
    number: int
    phase: Phase | None
    type: ResolvedType | None
    source_host: str | None
    #: the host that the server was sent to, or will be
    target_host: str | None
    created_at: datetime | None
    #: when the first change of the cloud was decided
    started_at: datetime | None
    #: reason and message of its condition Ready
    reason: str
    message: str
    #: what keeps it from starting, apart from other migrations and limits
    held_by: HeldBy | None
    #: set while it is Blocked or Stalled, that is while it does not continue without intervention
    hindrance: Hindrance | None

    @property
    def over(self) -> bool:
        return self.completed_at is not None

    @property
    def idle(self) -> bool:
        """Whether nothing is in progress, so that deleting it loses nothing. A started migration may be idle again."""
        return self.started_at is None or self.phase in (Phase.PENDING, Phase.BLOCKED, Phase.QUEUED)

    @property
    def stalled(self) -> bool:
        """Whether it was started but needs a person; a migration that was not started is Blocked instead."""
        return self.hindrance is not None and self.phase is not Phase.BLOCKED

    @property
    def paused(self) -> bool:
        """Whether it waits for a user to unset `spec.paused`."""
        return not self.over and self.held_by is HeldBy.PAUSE

    @property
    def succeeded(self) -> bool:
        return self.over and self.phase is Phase.SUCCEEDED


def label_value(name: str) -> str:
    """The name as a label value, shortened to the limit of 63 characters."""
    if len(name) <= 63:
        return name
    return f"{name[:54].rstrip('.-')}-{sha256(name.encode()).hexdigest()[:8]}"


def owned_name(owner: str, uid: str, server_id: str, purpose: Purpose, round_: int, number: int) -> str:
    """For example `host-a-9f6c1234-5678-1-2-1f0e3dad99` for the second try of the first round.

    The hash covers the owner's uid and everything that is shortened in the name.
    """
    seed = "\n".join((uid, server_id, purpose, str(round_), str(number)))
    return f"{_readable_name(owner, server_id, purpose, round_, number)}-{sha256(seed.encode()).hexdigest()[:10]}"


def _readable_name(owner: str, server_id: str, purpose: Purpose, round_: int, number: int) -> str:
    """The readable part; in version 0.1 it was the whole name, and such owned migrations are still recognised."""
    back = "-back" if purpose is Purpose.RETURN else ""
    server = re.sub(r"[^a-z0-9-]", "", server_id.lower())[:13]
    return f"{owner[:200].rstrip('.-')}-{server}{back}-{round_}-{number}"


def made_by(child: OwnedMigration, owner: str, uid: str, namespace: str) -> bool:
    """Whether the HostMaintenance with that name and uid created the object, as proven by its namespace and name.

    Labels and ownerReferences prove nothing: any user with the right to create a VMMigration in any namespace can write
    them.
    """
    of = owner, child.server_id, child.purpose, child.round, child.number
    names = (_readable_name(*of), owned_name(owner, uid, child.server_id, child.purpose, child.round, child.number))
    return child.namespace == namespace and child.round > 0 and child.number > 0 and child.name in names


def labels(owner: str, purpose: Purpose, round_: int, number: int) -> tuple[tuple[str, str], ...]:
    return ((MAINTENANCE, label_value(owner)), (PURPOSE, purpose.value), (ROUND, str(round_)), (TRY, str(number)))


def owned_migration(obj: VMMigration) -> OwnedMigration:
    """The data that an owner reads of the object; it then checks with `made_by` that it created the object."""
    marks = obj.metadata.labels
    try:
        purpose, round_, number = Purpose(marks.get(PURPOSE, "")), int(marks[ROUND]), int(marks[TRY])
    except (KeyError, ValueError):
        purpose, round_, number = Purpose.DRAIN, 0, 0  # no owned migration has round 0
    status = obj.status
    ready = status.condition(READY)
    return OwnedMigration(
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
        held_by=status.held_by,
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


class Ownership(StrEnum):
    """The ownership of a VMMigration by its labels, ownerReference and name."""

    #: a user's own request
    NONE = "None"
    #: its HostMaintenance exists and created it
    OWNED = "Owned"
    #: its HostMaintenance does not exist: the object was orphaned, or restored from a backup without it
    OWNER_MISSING = "OwnerMissing"
    #: names a HostMaintenance that did not create it
    FALSE_CLAIM = "FalseClaim"


def ownership(obj: VMMigration, owner: Owner | None, namespace: str) -> Ownership:
    """The ownership of `obj`. `owner`: the HostMaintenance that the ownerReference names, None if it does not exist;
    `namespace`: the namespace in which owned migrations are created."""
    reference = owner_reference(obj.metadata)
    if reference is None:
        # owner and reference are lost if a backup is restored or the owner is orphan-deleted; the label remains
        return Ownership.OWNER_MISSING if MAINTENANCE in obj.metadata.labels else Ownership.NONE
    if owner is None or owner.uid != reference.uid:
        return Ownership.OWNER_MISSING
    if not made_by(owned_migration(obj), owner.name, owner.uid, namespace):
        return Ownership.FALSE_CLAIM
    return Ownership.OWNED


def is_cancellation(obj: VMMigration, deletion: Deletion) -> bool:
    """Whether the deletion of `obj` cancels it, as opposed to being a consequence of another deletion."""
    if deletion.namespace_terminating:
        return False
    if owner_reference(obj.metadata) is None and MAINTENANCE not in obj.metadata.labels:
        return True
    return deletion.owner is not None and not deletion.owner.deleting
