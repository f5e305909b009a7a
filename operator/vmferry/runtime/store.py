"""The last known state of all objects, with the moves that follow from it: the operator's only view of Kubernetes.

The watch, the re-list and the responses to our own writes feed it in any order. Of two bodies of one object, the body
with the greater resourceVersion is the newer one. Kubernetes guarantees that these numbers can be compared (KEP-5504;
before that guarantee it held for every custom resource, because all of them are stored in etcd). So a late watch event
cannot undo our own write, a list cannot bring back an object that was deleted meanwhile, and a re-list finds ghosts:
objects whose deletion was missed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from vmferry.cloud.model import Snapshot
from vmferry.policy import Breaker as BreakerRules
from vmferry.policy import Limits
from vmferry.prerequisites.check import OSUpgradeMove, PlannedMove
from vmferry.prerequisites.moves import Moves
from vmferry.reconcilers.host_claims import Claim
from vmferry.reconcilers.kind import Kinds, MovesServers
from vmferry.reconcilers.migration.os_upgrade_moves import furthest
from vmferry.reconcilers.owned import Owned, Owner, owner_of, owner_reference
from vmferry.reconcilers.telemetry import Sample
from vmferry.resources.base import OwnerReference, Resource
from vmferry.runtime.attempt_history import AttemptHistory
from vmferry.runtime.key import Key
from vmferry.runtime.metrics.totals import Totals
from vmferry.runtime.move_index import MoveIndex
from vmferry.runtime.ownership import HostClaims, Listener, OwnedObjects

Body = dict[str, Any]

_OBJECTS, _UNREADABLE = "vmferry_objects", "vmferry_unreadable_objects"


def key_of(kind: str, body: Body) -> Key:
    metadata = body["metadata"]
    return Key(kind, metadata.get("namespace", ""), metadata["name"])


def version_of(body: Body) -> int:
    return int(body["metadata"]["resourceVersion"])


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An object that violates the schema of its kind."""

    version: int
    #: the invalid fields and why they are invalid, without their values
    message: str
    body: Body


@dataclass(frozen=True, slots=True)
class _Entry:
    version: int
    uid: str
    #: a finished object is kept as JSON to save memory, because most objects are finished
    held: Resource | bytes | Unreadable


class Store:
    """All objects by key. Belongs to one event loop."""

    def __init__(self, kinds: Kinds, listener: Listener | None = None, breaker: BreakerRules | None = None) -> None:
        self._kinds = kinds
        #: whether everything was listed since the store was created, or since `forget_all`
        self.whole = True
        #: the objects' contributions to the gauges
        self.totals = Totals()
        self._entries: dict[Key, _Entry] = {}
        #: objects that may still move something
        self._active: dict[Key, Resource] = {}
        #: OS upgrade moves that objects record
        self._crossings: dict[Key, OSUpgradeMove] = {}
        #: the furthest OS upgrade move of each server; None if it must be computed again
        self._os_upgrades: Mapping[str, OSUpgradeMove] | None = None
        self._listener = listener
        self._owned = OwnedObjects(self._owned_changed)
        self._claims = HostClaims(listener, is_over=lambda key: key not in self._active)
        #: resourceVersions of deletions that a list taken before them must not undo
        self._deleted: dict[Key, int] = {}
        self._moves = MoveIndex(kinds)
        #: ended attempts of all objects, including finished ones
        self.history = AttemptHistory(breaker or BreakerRules())

    def __len__(self) -> int:
        return len(self._entries)

    def keys(self, kind: str) -> Iterator[Key]:
        return (key for key in list(self._entries) if key.kind == kind)

    def put(self, kind: str, body: Body) -> bool:
        """Store a body. False if it is not newer than the known state."""
        key, version = key_of(kind, body), version_of(body)
        known = self._entries.get(key)
        if version <= max(known.version if known else -1, self._deleted.get(key, -1)):
            return False
        self._deleted.pop(key, None)
        body = {**body, "metadata": {k: v for k, v in body["metadata"].items() if k != "managedFields"}}
        held: Resource | bytes | Unreadable
        self._active.pop(key, None)
        row = self._kinds[kind]
        try:
            obj: Resource = row.type.model.read(body)
        except ValidationError as error:
            held = Unreadable(version, explain(error), body)
            self._put_moves(key, None)
            self.totals.put(key, (Sample(_OBJECTS, (kind,), 1), Sample(_UNREADABLE, (kind,), 1)))
        else:
            if row.finished(obj):
                held = json.dumps(body, separators=(",", ":")).encode()
            else:
                held = self._active[key] = obj
            self._put_moves(key, obj)
            self._put_relations(key, obj)
            self.totals.put(key, (Sample(_OBJECTS, (kind,), 1), *row.telemetry(None, obj).gauges))
        self._entries[key] = _Entry(version, body["metadata"].get("uid", ""), held)
        return True

    def remove(self, key: Key, version: int | None = None) -> None:
        """Remove a deleted object; `version` is the resourceVersion in the watch event of the deletion."""
        known = self._entries.get(key)
        if version is None:
            version = known.version if known else 0
        elif known is not None and known.version > version:
            return  # a new object of that name exists already
        self._deleted[key] = max(version, self._deleted.get(key, 0))
        self._entries.pop(key, None)
        self._active.pop(key, None)
        self._put_moves(key, None)
        self._put_relations(key, None)
        self.totals.remove(key)

    def prune(self, kind: str, listed: Set[Key], list_version: int) -> list[Key]:
        """Forget and return the ghosts: objects that are known but missing from a complete list of their kind.

        Call it after all objects of the list were put.
        """
        # an object newer than the list was created after it
        ghosts = [k for k in self.keys(kind) if k not in listed and self._entries[k].version <= list_version]
        for key in ghosts:
            self.remove(key)
        # no later list is older than this one
        self._deleted = {k: v for k, v in self._deleted.items() if k.kind != kind or v > list_version}
        return ghosts

    def newest(self, kind: str) -> int:
        """The greatest known resourceVersion of the kind; 0 if none is known."""
        known = (entry.version for key, entry in self._entries.items() if key.kind == kind)
        deleted = (version for key, version in self._deleted.items() if key.kind == kind)
        return max((*known, *deleted), default=0)

    def version(self, key: Key) -> int:
        """The last known resourceVersion of the object; 0 if the object is unknown."""
        entry = self._entries.get(key)
        return entry.version if entry is not None else 0

    def is_from_before(self, key: Key, version: int) -> bool:
        """Whether `version` is older than the object's known resourceVersion, or than its deletion."""
        return version < max(self.version(key), self._deleted.get(key, 0))

    def versions(self, kind: str) -> dict[Key, int]:
        """The last known resourceVersions of the kind's objects, including those of deletions."""
        deleted = {key: version for key, version in self._deleted.items() if key.kind == kind}
        return deleted | {key: entry.version for key, entry in self._entries.items() if key.kind == kind}

    def forget_all(self) -> None:
        """Forget everything because it is no longer true (I44). Nothing is planned until everything is listed again."""
        self.whole = False
        for key in list(self._entries):
            self.remove(key)
        self._deleted.clear()

    def get(self, key: Key) -> Resource | Unreadable | None:
        """The last known state of the object. It is shared and must not be changed."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if not isinstance(entry.held, bytes):
            return entry.held
        obj: Resource = self._kinds[key.kind].type.model.read(json.loads(entry.held))
        return obj

    def moving(self) -> Iterator[tuple[MovesServers[Any], Resource]]:
        """The objects that may still move a server, in their last known state, with the facet of their kind."""
        for key, obj in list(self._active.items()):
            if (moves := self._kinds[key.kind].moves) is not None:
                yield moves, obj

    def hold_move(self, key: Key, move: PlannedMove | None) -> None:
        """Count `move` from now on, before the status contains it: no other reconcile may plan for its capacity."""
        if move is not None:
            self._moves.hold(key, move)

    def note_unwritten(self, key: Key, obj: Resource) -> None:
        """Count the moves of `obj`, whose status write was deferred because it is not urgent."""
        if key in self._active and self._kinds[key.kind].moves is not None:
            self._moves.put(key, obj)

    def release_held(self, key: Key) -> None:
        """Drop the held move and claim: the status contains them now, or the write has failed and they do not exist."""
        self._moves.release(key)
        self._claims.release(key)

    def moves_except(self, key: Key, snapshot: Snapshot) -> Moves:
        """Moves of all other objects that are decided or in flight."""
        return self._moves.moves_except(key, snapshot)

    def os_upgrades(self) -> Mapping[str, OSUpgradeMove]:
        """By server id: the furthest OS upgrade move that any object records (R22)."""
        if self._os_upgrades is None:
            self._os_upgrades = furthest(self._crossings.values())
        return self._os_upgrades

    def owned_by(self, uid: str) -> tuple[Owned, ...]:
        """The objects that the object with that uid owns, sorted by name."""
        return self._owned.of(uid)

    def owner(self, obj: Resource) -> Owner | None:
        """The last known state of the object's owner; None if no known object has the owner's name and uid."""
        reference = owner_reference(obj.metadata)
        if reference is None:
            return None
        key = self.owner_key(reference, obj.metadata.namespace)
        entry = self._entries.get(key)
        found = self.get(key)
        if entry is None or found is None or entry.uid != reference.uid:
            return None
        if isinstance(found, Unreadable):
            return Owner(reference.name, reference.uid, "deletionTimestamp" in found.body["metadata"])
        return owner_of(found.metadata)

    def owner_key(self, reference: OwnerReference, namespace: str) -> Key:
        """The owner's key. `namespace` is the owned object's; the owner has the same unless it is cluster-scoped."""
        row = self._kinds.get(reference.kind)
        return Key(reference.kind, namespace if row is not None and row.type.namespaced else "", reference.name)

    def claims_except(self, key: Key) -> tuple[Claim, ...]:
        """The host claims of all other objects, including claims that running reconciles have decided."""
        return self._claims.all_except(key)

    def hold_claim(self, key: Key, claim: Claim) -> None:
        """Count `claim` from now on, before the status contains it.

        Otherwise two reconciles could both take the last slot of an availability zone.
        """
        self._claims.hold(key, claim)

    def in_maintenance(self, snapshot: Snapshot) -> frozenset[str]:
        """Names of the hosts that a claim excludes as targets (I18)."""
        return self._claims.in_maintenance(snapshot)

    def earlier_than(self, key: Key, snapshot: Snapshot) -> Sequence[PlannedMove]:
        """Moves of queued objects of the same kind that are earlier in the queue than `key`, in queue order."""
        return self._moves.earlier_than(key, snapshot)

    def freed(self, snapshot: Snapshot) -> bool:
        """Whether a move or a queue position has gone since the last call, so that other objects may start."""
        return self._moves.freed(snapshot)

    def next_up(self, snapshot: Snapshot, limits: Limits) -> list[Key]:
        """Queued objects that could all start together now within the limits, in queue order."""
        return self._moves.next_up(snapshot, limits)

    def rests(self, key: Key) -> bool:
        """Whether the object only waits or has finished, so that its reconcile is not urgent."""
        obj = self._active.get(key)
        moves = self._kinds[key.kind].moves
        return obj is None or (moves is not None and moves.waits(obj))

    def is_over(self, key: Key) -> bool:
        """Whether the object is readable and has finished."""
        entry = self._entries.get(key)
        return entry is not None and isinstance(entry.held, bytes)

    def _owned_changed(self, owner: Key, uid: str) -> None:
        entry = self._entries.get(owner)
        if self._listener is not None and entry is not None and entry.uid == uid:
            self._listener.owned_changed(owner)

    def _put_moves(self, key: Key, obj: Resource | None) -> None:
        """`obj` is None if the object is gone or cannot be read."""
        moves = self._kinds[key.kind].moves
        if moves is None:
            return
        self._put_crossing(key, moves.os_upgrade_move(obj) if obj is not None else None)
        self.history.put(key, moves.ended_attempts(obj) if obj is not None else ())
        self._moves.put(key, self._active.get(key))

    def _put_relations(self, key: Key, obj: Resource | None) -> None:
        """`obj` is None if the object is gone."""
        row = self._kinds[key.kind]
        if row.owned is not None:
            reference = owner_reference(obj.metadata) if obj is not None else None
            if obj is not None and reference is not None:
                self._owned.put(key, (self.owner_key(reference, key.namespace), reference.uid, row.owned(obj)))
            else:
                self._owned.put(key, None)
        if row.claim is not None:
            self._claims.put(key, row.claim(obj) if obj is not None else None)

    def _put_crossing(self, key: Key, crossing: OSUpgradeMove | None) -> None:
        if self._crossings.get(key) == crossing:
            return
        self._os_upgrades = None
        if crossing is None:
            del self._crossings[key]
        else:
            self._crossings[key] = crossing


def explain(error: ValidationError) -> str:
    """The invalid fields and why they are invalid, without their values, which may be secret or long."""
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, p['loc'])) or 'object'}: {p['msg']}" for p in problems[:5])
