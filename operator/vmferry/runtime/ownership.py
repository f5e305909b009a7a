"""Which objects own which, and which hosts are claimed; two parts of the `Store`.

The `Listener` is called for each change, whether it comes from the watch, a list, or our own write.
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
    """Receives changes that affect objects other than the changed one. Implemented by `triggers.Triggers`."""

    def owned_changed(self, owner: Key) -> None: ...

    def claims_changed(self, others: Collection[Key]) -> None:
        """`others` are the unfinished objects that also claim hosts."""


class OwnedObjects:
    """Owned objects by key and by the uid of the owner. An unreadable object keeps its last known state."""

    def __init__(self, changed: Callable[[Key, str], None]) -> None:
        """`changed` is called with the owner's key and uid from the owner reference; the owner may not exist."""
        self._changed = changed
        self._known: dict[Key, tuple[Key, str, Owned]] = {}
        self._by_owner: dict[str, dict[Key, Owned]] = {}

    def put(self, key: Key, owned: tuple[Key, str, Owned] | None) -> None:
        """Store the owner's key and uid and the owned object; None if the object has no owner or is gone."""
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
        """The objects that the object with that uid owns, sorted by name."""
        owned = self._by_owner.get(uid, {}).values()
        return tuple(sorted(owned, key=lambda each: (each.name, each.namespace, each.kind)))


class HostClaims:
    """Host claims by key of the claiming object. An unreadable object keeps its last known claim."""

    def __init__(self, listener: Listener | None, is_over: Callable[[Key], bool]) -> None:
        self._listener = listener
        self._is_over = is_over
        self._claims: dict[Key, Claim] = {}
        #: claims decided by reconciles whose status is not written yet
        self._held: dict[Key, Claim] = {}
        #: cached result for the hosts of one view, because thousands of reconciles need the same
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
        """The claims of all other objects; a held claim replaces the stored one."""
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
