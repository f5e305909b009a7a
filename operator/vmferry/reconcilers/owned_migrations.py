"""The VMMigrations that a HostMaintenance owns: how they are named, what it reads of each, and who deletes them.

The name of an owned migration follows from its owner's uid and from what it is for: creating it twice makes one (R36),
a resource that was deleted and created again never meets the records of the one before, and an object with another name
is not ours, whatever its labels say (`made_by`). Its round tells the drains of one resource apart that follow each
other as it is toggled.

A VMMigration that a HostMaintenance has created belongs to it. When the HostMaintenance is deleted, the garbage
collector of Kubernetes deletes its migrations too: at once with foreground propagation (the default of Argo CD),
afterwards with background propagation, and not at all with orphan propagation, which takes the ownerReference away
instead. A deleted namespace takes all of its objects along.
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
    #: back to the host after its maintenance
    RETURN = "return"


@dataclass(frozen=True, slots=True)
class Hindrance:
    """What stands against a server's move, as a status says it."""

    prerequisite: str
    reason: str
    message: str
    remedy: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedMigration(Owned):
    """One VMMigration of a HostMaintenance, as far as its owner needs it."""

    kind: str = VMMigration.KIND
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
    #: why it is as it is, the reason and the message of its condition Ready
    reason: str
    message: str
    #: what keeps it from starting, besides other migrations and limits
    held_by: HeldBy | None
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
        return not self.over and self.held_by is HeldBy.PAUSE

    @property
    def succeeded(self) -> bool:
        return self.over and self.phase is Phase.SUCCEEDED


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


def owned_migration(obj: VMMigration) -> OwnedMigration:
    """What the owner of the object reads of it, who asks `made_by` whether it is its own."""
    marks = obj.metadata.labels
    try:
        purpose, round_, number = Purpose(marks.get(PURPOSE, "")), int(marks[ROUND]), int(marks[TRY])
    except (KeyError, ValueError):
        purpose, round_, number = Purpose.DRAIN, 0, 0  # which no migration of ours has
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
    """What a VMMigration's labels, ownerReference and name say of its owner."""

    #: somebody's own request
    NONE = "None"
    #: its HostMaintenance is there and has created it
    OWNED = "Owned"
    #: created by a HostMaintenance that is not there: orphaned, or restored from a backup without it
    OWNER_MISSING = "OwnerMissing"
    #: says that it belongs to a HostMaintenance that has not created it
    FALSE_CLAIM = "FalseClaim"


def ownership(obj: VMMigration, owner: Owner | None, namespace: str) -> Ownership:
    """`owner`: the HostMaintenance that the ownerReference names, None if there is none; `namespace`: the one that
    owned migrations are created in."""
    reference = owner_reference(obj.metadata)
    if reference is None:
        # both are gone once a backup is restored or the owner is deleted with orphan propagation; the label stays
        return Ownership.OWNER_MISSING if MAINTENANCE in obj.metadata.labels else Ownership.NONE
    if owner is None or owner.uid != reference.uid:
        return Ownership.OWNER_MISSING
    if not made_by(owned_migration(obj), owner.name, owner.uid, namespace):
        return Ownership.FALSE_CLAIM
    return Ownership.OWNED


def is_cancellation(obj: VMMigration, deletion: Deletion) -> bool:
    """Whether the deletion of `obj` is somebody's wish to cancel it, and not a consequence of another deletion."""
    if deletion.namespace_terminating:
        return False
    if owner_reference(obj.metadata) is None and MAINTENANCE not in obj.metadata.labels:
        return True
    return deletion.owner is not None and not deletion.owner.deleting
