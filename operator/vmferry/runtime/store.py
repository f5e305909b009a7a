"""The objects as they were last seen, and the moves that they are about: the operator's only view of Kubernetes.

Fed by the watch, by the re-list and by the answers to our own writes, in any order: of two bodies of one object the
one with the greater resourceVersion is the newer one. Kubernetes promises that these numbers can be compared (KEP-5504;
before that promise it was true of every custom resource, which all lie in etcd). So a late watch event cannot undo
what our own write brought, a list cannot bring back an object deleted meanwhile, and a re-list finds ghosts.
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
    """An object that is not what its schema says."""

    version: int
    #: which fields, and why; never a value
    message: str
    body: Body


@dataclass(frozen=True, slots=True)
class _Entry:
    version: int
    uid: str
    #: an object that is over is kept as its JSON: they are the many
    held: Resource | bytes | Unreadable


class Store:
    """By key; belongs to one event loop."""

    def __init__(self, kinds: Kinds, listener: Listener | None = None, breaker: BreakerRules | None = None) -> None:
        self._kinds = kinds
        #: everything was listed since the store was made, or since `forget_all`
        self.whole = True
        #: what the objects add to the gauges
        self.totals = Totals()
        self._entries: dict[Key, _Entry] = {}
        #: objects that may still move something
        self._active: dict[Key, Resource] = {}
        #: one-way moves that objects remember
        self._crossings: dict[Key, OSUpgradeMove] = {}
        #: the furthest of each server; None: some have changed
        self._os_upgrades: Mapping[str, OSUpgradeMove] | None = None
        self._listener = listener
        self._owned = OwnedObjects(self._owned_changed)
        self._claims = HostClaims(listener, is_over=lambda key: key not in self._active)
        #: resourceVersions of deletions that a list taken before them must not undo
        self._deleted: dict[Key, int] = {}
        self._moves = MoveIndex(kinds)
        #: ended attempts of all objects, also of those that are over
        self.history = AttemptHistory(breaker or BreakerRules())

    def __len__(self) -> int:
        return len(self._entries)

    def keys(self, kind: str) -> Iterator[Key]:
        return (key for key in list(self._entries) if key.kind == kind)

    def put(self, kind: str, body: Body) -> bool:
        """Take in a body; False when it is no news: the same, or an older one than what is known."""
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
        """The object is gone; `version` is that of the deletion, as its watch event tells it."""
        known = self._entries.get(key)
        if version is None:
            version = known.version if known else 0
        elif known is not None and known.version > version:
            return  # another object of that name is there already
        self._deleted[key] = max(version, self._deleted.get(key, 0))
        self._entries.pop(key, None)
        self._active.pop(key, None)
        self._put_moves(key, None)
        self._put_relations(key, None)
        self.totals.remove(key)

    def prune(self, kind: str, listed: Set[Key], list_version: int) -> list[Key]:
        """After a whole list of a kind was put: forget and return the ghosts, which were known but are not in it."""
        # what is newer than the list was made after it
        ghosts = [k for k in self.keys(kind) if k not in listed and self._entries[k].version <= list_version]
        for key in ghosts:
            self.remove(key)
        # no list to come is older than this one
        self._deleted = {k: v for k, v in self._deleted.items() if k.kind != kind or v > list_version}
        return ghosts

    def newest(self, kind: str) -> int:
        """The greatest resourceVersion that is known of the kind; 0: none."""
        known = (entry.version for key, entry in self._entries.items() if key.kind == kind)
        deleted = (version for key, version in self._deleted.items() if key.kind == kind)
        return max((*known, *deleted), default=0)

    def version(self, key: Key) -> int:
        """The resourceVersion that the object was last seen with; 0: it is not known."""
        entry = self._entries.get(key)
        return entry.version if entry is not None else 0

    def is_from_before(self, key: Key, version: int) -> bool:
        """Whether that resourceVersion of the object is older than the one that is known, or than its deletion."""
        return version < max(self.version(key), self._deleted.get(key, 0))

    def versions(self, kind: str) -> dict[Key, int]:
        """The resourceVersions with which objects of the kind were last seen, or deleted."""
        deleted = {key: version for key, version in self._deleted.items() if key.kind == kind}
        return deleted | {key: entry.version for key, entry in self._entries.items() if key.kind == kind}

    def forget_all(self) -> None:
        """Nothing that was known is true any more (I44): until everything is listed again, nothing is planned."""
        self.whole = False
        for key in list(self._entries):
            self.remove(key)
        self._deleted.clear()

    def get(self, key: Key) -> Resource | Unreadable | None:
        """The object as last seen. It is shared: never change it."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if not isinstance(entry.held, bytes):
            return entry.held
        obj: Resource = self._kinds[key.kind].type.model.read(json.loads(entry.held))
        return obj

    def moving(self) -> Iterator[tuple[MovesServers[Any], Resource]]:
        """The objects that may still move a server, as last seen, with the facet of their kind."""
        for key, obj in list(self._active.items()):
            if (moves := self._kinds[key.kind].moves) is not None:
                yield moves, obj

    def hold_move(self, key: Key, move: PlannedMove | None) -> None:
        """Count `move` from now on, before the status says it: no other pass may plan for the same room."""
        if move is not None:
            self._moves.hold(key, move)

    def note_unwritten(self, key: Key, obj: Resource) -> None:
        """Let the moves be those of `obj`, whose status is not written yet because it is no news."""
        if key in self._active and self._kinds[key.kind].moves is not None:
            self._moves.put(key, obj)

    def release_held(self, key: Key) -> None:
        """From now on the status tells (or the write has failed, and it is not so)."""
        self._moves.release(key)
        self._claims.release(key)

    def moves_except(self, key: Key, snapshot: Snapshot) -> Moves:
        """Moves decided or in flight of all other objects."""
        return self._moves.moves_except(key, snapshot)

    def os_upgrades(self) -> Mapping[str, OSUpgradeMove]:
        """By server id: the furthest one-way move that any object remembers (R22)."""
        if self._os_upgrades is None:
            self._os_upgrades = furthest(self._crossings.values())
        return self._os_upgrades

    def owned_by(self, uid: str) -> tuple[Owned, ...]:
        """What the object with that uid owns, by name."""
        return self._owned.of(uid)

    def owner(self, obj: Resource) -> Owner | None:
        """The object that owns it, as last seen; None: there is none of that name and uid."""
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
        """`namespace`: that of the owned object, where its owner lies too unless it is of the cluster's scope."""
        row = self._kinds.get(reference.kind)
        return Key(reference.kind, namespace if row is not None and row.type.namespaced else "", reference.name)

    def claims_except(self, key: Key) -> tuple[Claim, ...]:
        """What all other objects claim of hosts, with what reconciles under way have decided that they will claim."""
        return self._claims.all_except(key)

    def hold_claim(self, key: Key, claim: Claim) -> None:
        """Count `claim` from now on, before the status says it: no two reconciles may take the last place of a zone."""
        self._claims.hold(key, claim)

    def in_maintenance(self, snapshot: Snapshot) -> frozenset[str]:
        """Names of the hosts that anybody's claim keeps from being moved to (I18)."""
        return self._claims.in_maintenance(snapshot)

    def earlier_than(self, key: Key, snapshot: Snapshot) -> Sequence[PlannedMove]:
        """Moves of queued objects of the same kind whose turn is before that of `key`, in their order."""
        return self._moves.earlier_than(key, snapshot)

    def freed(self, snapshot: Snapshot) -> bool:
        """Whether a move or somebody's turn has gone since this was asked last: others may start."""
        return self._moves.freed(snapshot)

    def next_up(self, snapshot: Snapshot, limits: Limits) -> list[Key]:
        """Queued objects that could start now, all of them together, as far as the limits go; in their order."""
        return self._moves.next_up(snapshot, limits)

    def rests(self, key: Key) -> bool:
        """Whether it only waits, or is over: its reconcile is in no hurry."""
        obj = self._active.get(key)
        moves = self._kinds[key.kind].moves
        return obj is None or (moves is not None and moves.waits(obj))

    def is_over(self, key: Key) -> bool:
        """Whether it moves nothing any more, and was read."""
        entry = self._entries.get(key)
        return entry is not None and isinstance(entry.held, bytes)

    def _owned_changed(self, owner: Key, uid: str) -> None:
        entry = self._entries.get(owner)
        if self._listener is not None and entry is not None and entry.uid == uid:
            self._listener.owned_changed(owner)

    def _put_moves(self, key: Key, obj: Resource | None) -> None:
        """None: the object is gone, or cannot be read."""
        moves = self._kinds[key.kind].moves
        if moves is None:
            return
        self._put_crossing(key, moves.os_upgrade_move(obj) if obj is not None else None)
        self.history.put(key, moves.ended_attempts(obj) if obj is not None else ())
        self._moves.put(key, self._active.get(key))

    def _put_relations(self, key: Key, obj: Resource | None) -> None:
        """None: the object is gone."""
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
    """Which fields are wrong and why, without their values: an object may carry anything."""
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, p['loc'])) or 'object'}: {p['msg']}" for p in problems[:5])
