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
from vmferry.planning.breaker import EndedAttempt
from vmferry.policy import Breaker as BreakerRules
from vmferry.policy import Limits
from vmferry.prerequisites.check import OSUpgradeMove, PlannedMove
from vmferry.prerequisites.moves import Moves
from vmferry.reconcilers.host_claims import Claim
from vmferry.reconcilers.migration.os_upgrade_moves import furthest
from vmferry.reconcilers.owned import OwnedMigration
from vmferry.reconcilers.owners import Owner, owner_of
from vmferry.resources.base import Resource
from vmferry.runtime import metrics
from vmferry.runtime.attempt_history import AttemptHistory
from vmferry.runtime.census import Census
from vmferry.runtime.key import Key
from vmferry.runtime.kinds import Kinds
from vmferry.runtime.move_index import MoveIndex
from vmferry.runtime.relations import Listener, Relations

Body = dict[str, Any]


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
        self.census = Census()
        self._entries: dict[Key, _Entry] = {}
        #: objects that may still move something
        self._active: dict[Key, Resource] = {}
        #: one-way moves that objects remember
        self._crossings: dict[Key, OSUpgradeMove] = {}
        #: the furthest of each server; None: some have changed
        self._os_upgrades: Mapping[str, OSUpgradeMove] | None = None
        self._relations = Relations(listener, is_over=lambda key: key not in self._active)
        #: resourceVersions of deletions that a list taken before them must not undo
        self._deleted: dict[Key, int] = {}
        self._moves = MoveIndex(kinds)
        #: ended attempts of all objects, also of those that are over
        self.history = AttemptHistory(breaker or BreakerRules())
        #: decided by a pass whose status is not written yet
        self._held_claims: dict[Key, Claim] = {}

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
        crossing = None
        attempts: tuple[EndedAttempt, ...] = ()
        try:
            obj: Resource = self._kinds[kind].type.model.read(body)
        except ValidationError as error:
            held = Unreadable(version, explain(error), body)
            self.census.put(key, (((metrics.OBJECTS, (kind,)), 1), ((metrics.UNREADABLE, (kind,)), 1)))
        else:
            row = self._kinds[kind]
            crossing, attempts = row.crossing(obj), row.ended_attempts(obj)
            if row.finished(obj):
                held = json.dumps(body, separators=(",", ":")).encode()
            else:
                held = self._active[key] = obj
            self._relations.put(key, row.child(obj), row.claim(obj))
            self.census.put(key, (((metrics.OBJECTS, (kind,)), 1), *row.shares(obj)))
        self._put_crossing(key, crossing)
        self.history.put(key, attempts)
        self._moves.put(key, self._active.get(key))
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
        self._put_crossing(key, None)
        self.history.put(key, ())
        self._moves.put(key, None)
        self._relations.remove(key)
        self.census.remove(key)

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

    def active(self) -> tuple[Resource, ...]:
        """The objects that may still move something, as last seen."""
        return tuple(self._active.values())

    def hold_move(self, key: Key, move: PlannedMove | None) -> None:
        """Count `move` from now on, before the status says it: no other pass may plan for the same room."""
        if move is not None:
            self._moves.hold(key, move)

    def note_unwritten(self, key: Key, obj: Resource) -> None:
        """Let the moves be those of `obj`, whose status is not written yet because it is no news."""
        if key in self._active:
            self._moves.put(key, obj)

    def release_held(self, key: Key) -> None:
        """From now on the status tells (or the write has failed, and it is not so)."""
        self._moves.release(key)
        self._held_claims.pop(key, None)

    def moves_except(self, key: Key, snapshot: Snapshot) -> Moves:
        """Moves decided or in flight of all other objects."""
        return self._moves.moves_except(key, snapshot)

    def os_upgrades(self) -> Mapping[str, OSUpgradeMove]:
        """By server id: the furthest one-way move that any object remembers (R22)."""
        if self._os_upgrades is None:
            self._os_upgrades = furthest(self._crossings.values())
        return self._os_upgrades

    def children_of(self, uid: str) -> tuple[OwnedMigration, ...]:
        """What the object with that uid owns, by name."""
        return self._relations.children_of(uid)

    def owner(self, obj: Resource, kind: str) -> Owner | None:
        """The object that owns it, as last seen; None: there is none of that name and uid."""
        reference = self._kinds[kind].owner(obj)
        if reference is None:
            return None
        key = Key(reference.kind, "", reference.name)
        entry = self._entries.get(key)
        found = self.get(key)
        if entry is None or found is None or entry.uid != reference.uid:
            return None
        if isinstance(found, Unreadable):
            return Owner(reference.name, reference.uid, "deletionTimestamp" in found.body["metadata"])
        return owner_of(found.metadata)

    def claims_except(self, key: Key) -> tuple[Claim, ...]:
        """What all other objects say about hosts, with what passes under way have decided that they will say."""
        held = {claim.uid: claim for other, claim in self._held_claims.items() if other != key}
        return tuple(held.get(claim.uid, claim) for claim in self._relations.claims_except(key))

    def hold_claim(self, key: Key, claim: Claim | None) -> None:
        """Count `claim` from now on, before the status says it: no two passes may take the last place of a cluster."""
        if claim is not None:
            self._held_claims[key] = claim

    def in_maintenance(self, snapshot: Snapshot) -> frozenset[str]:
        """Names of the hosts that anybody's claim keeps from being moved to (I18)."""
        return self._relations.in_maintenance(snapshot)

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
        """Whether it only waits, or is over: a look at it is in no hurry."""
        obj = self._active.get(key)
        return obj is None or self._kinds[key.kind].waits(obj)

    def is_over(self, key: Key) -> bool:
        """Whether it moves nothing any more, and was read."""
        entry = self._entries.get(key)
        return entry is not None and isinstance(entry.held, bytes)

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
