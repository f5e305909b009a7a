"""Whose a VMMigration is, and who deletes it: what a garbage collector does is no person's wish (I41, I42).

A VMMigration that a HostMaintenance has created belongs to it. When the HostMaintenance is deleted, the garbage
collector of Kubernetes deletes its migrations too: at once with foreground propagation (the default of Argo CD),
afterwards with background propagation, and not at all with orphan propagation, which takes the ownerReference away
instead. A deleted namespace takes all of its objects along.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from vmferry.reconcilers.owned import MAINTENANCE, made_by, owned_migration, owner_reference
from vmferry.resources.base import Metadata
from vmferry.resources.vmmigration import VMMigration


@dataclass(frozen=True, slots=True)
class Owner:
    """A HostMaintenance, as far as its migrations need it."""

    name: str
    uid: str
    deleting: bool


@dataclass(frozen=True, slots=True)
class Deletion:
    """What was read just now of a VMMigration that is being deleted."""

    #: None: there is no HostMaintenance of that name and uid
    owner: Owner | None = None
    #: also when that could not be found out: a migration that runs to completion does no harm
    namespace_terminating: bool = False


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


def owner_of(metadata: Metadata) -> Owner:
    return Owner(metadata.name, metadata.uid, metadata.deletion_timestamp is not None)


def ownership(obj: VMMigration, owner: Owner | None, namespace: str) -> Ownership:
    """`owner`: the HostMaintenance that the ownerReference names, None if there is none; `namespace`: the one that
    owned migrations are created in."""
    reference = owner_reference(obj)
    if reference is None:
        # both are gone once a backup is restored or the owner is deleted with orphan propagation; the label stays
        return Ownership.OWNER_MISSING if MAINTENANCE in obj.metadata.labels else Ownership.NONE
    if owner is None or owner.uid != reference.uid:
        return Ownership.OWNER_MISSING
    claimed = owned_migration(obj)
    if claimed is None or not made_by(claimed[1], owner.name, owner.uid, namespace):
        return Ownership.FALSE_CLAIM
    return Ownership.OWNED


def is_a_wish(obj: VMMigration, deletion: Deletion) -> bool:
    """Whether the deletion of `obj` is somebody's wish to cancel it, and not a consequence of another deletion."""
    if deletion.namespace_terminating:
        return False
    if owner_reference(obj) is None and MAINTENANCE not in obj.metadata.labels:
        return True
    return deletion.owner is not None and not deletion.owner.deleting
