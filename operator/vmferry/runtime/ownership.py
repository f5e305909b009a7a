"""Which objects own which, and which hosts are claimed; two parts of the `Store`.

A change is reported to the `Listener` however it became known: by the watch, by a list, or by our own write.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from vmferry.cloud.model import Host, Snapshot
from vmferry.reconcilers import host_claims
from vmferry.reconcilers.host_claims import Claim
from vmferry.reconcilers.owned import Owned
from vmferry.runtime.key import Key


class Listener(Protocol):
    """Who has to know of changes that concern other objects than the changed one; `triggers.Triggers` is it."""

    def owned_changed(self, owner: Key) -> None: ...

    def claims_changed(self, others: Collection[Key]) -> None:
        """`others`: the objects that claim something too and are not over."""


class OwnedObjects:
    """By key, and by the uid of the owner; an object that cannot be read stays what it was last known to be."""

    def __init__(self, changed: Callable[[Key, str], None]) -> None:
        """`changed` gets key and uid of an owner as the owned object names them; there may be no such object."""
        self._changed = changed
        self._known: dict[Key, tuple[Key, str, Owned]] = {}
        self._by_owner: dict[str, dict[Key, Owned]] = {}

    def put(self, key: Key, owned: tuple[Key, str, Owned] | None) -> None:
        """The object with key and uid of its owner; None: it has none, or is gone."""
        before = self._known.pop(key, None)
        if before is not None:
            siblings = self._by_owner[before[1]]
            del siblings[key]
            if not siblings:
                del self._by_owner[before[1]]
        if owned is not None:
            self._known[key] = owned
            self._by_owner.setdefault(owned[1], {})[key] = owned[2]
        if _for_owner(before) != _for_owner(owned):
            for owner, uid in {known[:2] for known in (before, owned) if known is not None}:
                self._changed(owner, uid)

    def of(self, uid: str) -> tuple[Owned, ...]:
        """What the object with that uid owns, by name."""
        owned = self._by_owner.get(uid, {}).values()
        return tuple(sorted(owned, key=lambda each: (each.name, each.namespace, each.kind)))


class HostClaims:
    """By key of the claiming object; one that cannot be read claims what it was last known to."""

    def __init__(self, listener: Listener | None, is_over: Callable[[Key], bool]) -> None:
        self._listener = listener
        self._is_over = is_over
        self._claims: dict[Key, Claim] = {}
        #: decided by a reconcile whose status is not written yet
        self._held: dict[Key, Claim] = {}
        #: of the claims, for the hosts of one view: thousands of reconciles ask for the same
        self._in_maintenance: tuple[Mapping[str, Host], frozenset[str]] | None = None

    def put(self, key: Key, claim: Claim | None) -> None:
        if self._claims.get(key) == claim:
            return
        if claim is None:
            del self._claims[key]
        else:
            self._claims[key] = claim
        self._in_maintenance = None
        if self._listener is not None:
            self._listener.claims_changed([o for o in self._claims if o != key and not self._is_over(o)])

    def hold(self, key: Key, claim: Claim) -> None:
        self._held[key] = claim

    def release(self, key: Key) -> None:
        self._held.pop(key, None)

    def all_except(self, key: Key) -> tuple[Claim, ...]:
        """Of all other objects, with what is held of them."""
        held = {claim.uid: claim for other, claim in self._held.items() if other != key}
        return tuple(held.get(claim.uid, claim) for other, claim in self._claims.items() if other != key)

    def in_maintenance(self, snapshot: Snapshot) -> frozenset[str]:
        """Names of the hosts in, entering or queued for maintenance (I18)."""
        known = self._in_maintenance
        if known is None or known[0] is not snapshot.hosts:
            known = self._in_maintenance = snapshot.hosts, host_claims.in_maintenance(self._claims.values(), snapshot)
        return known[1]


def _for_owner(known: tuple[Key, str, Owned] | None) -> tuple[object, ...] | None:
    return None if known is None else (known[1], *known[2].for_owner)
