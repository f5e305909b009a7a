"""What objects are to each other: children to their owners, and claims to all who mind them. Kept by the `Store`.

A change is told to the `Listener` however it became known: by the watch, by a list, or by our own write.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

from vmferry.cloud.model import Host, Snapshot
from vmferry.reconcilers import host_claims
from vmferry.reconcilers.host_claims import Claim
from vmferry.reconcilers.owned import OwnedMigration
from vmferry.runtime.key import Key


class Listener(Protocol):
    """Who is told of what is news for other objects than the changed one; `waking.Waker` is it."""

    def child_changed(self, owner: Key) -> None: ...

    def claims_changed(self, others: Collection[Key]) -> None:
        """`others`: the objects that claim something too and are not over."""


class Relations:
    """By key; an object that cannot be read stays what it was last known to be."""

    def __init__(self, listener: Listener | None, is_over: Callable[[Key], bool]) -> None:
        self._listener = listener
        self._is_over = is_over
        #: with the uid of the owner
        self._children: dict[Key, tuple[str, OwnedMigration]] = {}
        self._by_owner: dict[str, dict[Key, OwnedMigration]] = {}
        self._claims: dict[Key, Claim] = {}
        #: of the claims, for the hosts of one view: thousands of looks ask for the same
        self._in_maintenance: tuple[Mapping[str, Host], frozenset[str]] | None = None

    def put(self, key: Key, child: tuple[str, OwnedMigration] | None, claim: Claim | None) -> None:
        """What the object is now; None: it is none."""
        self._put_child(key, child)
        self._put_claim(key, claim)

    def remove(self, key: Key) -> None:
        self.put(key, None, None)

    def children_of(self, uid: str) -> tuple[OwnedMigration, ...]:
        """Of the object with that uid, by name."""
        return tuple(sorted(self._by_owner.get(uid, {}).values(), key=lambda child: (child.name, child.namespace)))

    def claims_except(self, key: Key) -> tuple[Claim, ...]:
        return tuple(claim for other, claim in self._claims.items() if other != key)

    def in_maintenance(self, snapshot: Snapshot) -> frozenset[str]:
        """Names of the hosts in, entering or queued for maintenance (I18)."""
        known = self._in_maintenance
        if known is None or known[0] is not snapshot.hosts:
            known = self._in_maintenance = snapshot.hosts, host_claims.in_maintenance(self._claims.values(), snapshot)
        return known[1]

    def _put_child(self, key: Key, child: tuple[str, OwnedMigration] | None) -> None:
        before = self._children.pop(key, None)
        if before is not None:
            siblings = self._by_owner[before[0]]
            del siblings[key]
            if not siblings:
                del self._by_owner[before[0]]
        if child is not None:
            self._children[key] = child
            self._by_owner.setdefault(child[0], {})[key] = child[1]
        if self._listener is None or _news(before) == _news(child):
            return
        owners = {one[0] for one in (before, child) if one is not None}
        for owner, claim in self._claims.items():
            if claim.uid in owners:
                self._listener.child_changed(owner)

    def _put_claim(self, key: Key, claim: Claim | None) -> None:
        if self._claims.get(key) == claim:
            return
        if claim is None:
            del self._claims[key]
        else:
            self._claims[key] = claim
        self._in_maintenance = None
        if self._listener is not None:
            self._listener.claims_changed([o for o in self._claims if o != key and not self._is_over(o)])


def _news(child: tuple[str, OwnedMigration] | None) -> tuple[Any, ...] | None:
    """What an owner is woken for: not for how far the copy is."""
    if child is None:
        return None
    owner, read = child
    return owner, read.uid, read.phase, read.completed_at, read.deleting
