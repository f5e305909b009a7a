"""A Kubernetes API in memory with its true semantics, as far as the operator can tell.

Optimistic locks, the status subresource, generations, finalizers, deletion by uid, a garbage collector, Leases, and a
log of changes that watches read. Statuses are checked against the committed schemas.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from testbed.kubernetes.structural import schema, violations
from vmferry.reconcilers.rows import KINDS
from vmferry.resources.base import API_VERSION
from vmferry.runtime.key import Key
from vmferry.runtime.kube_api import AlreadyExistsError, ConflictError, InvalidError, KubeError, NotFoundError
from vmferry.runtime.store import Body, key_of

SCHEMAS = {name: schema(kind.type.plural) for name, kind in KINDS.items()}
#: of a VMMigration that has started these may change, and nothing else
MUTABLE = {"paused", "priority", "ttlAfterFinished"}


@dataclass(frozen=True, slots=True)
class Change:
    """What a watch shows."""

    type: str
    body: Body


def _copy(value: Body) -> Body:
    """Objects are JSON, and this is much faster than `copy.deepcopy`."""
    copied: Body = json.loads(json.dumps(value))
    return copied


class Api:
    """The server. Everything happens at once; who stands in between adds the delays and faults."""

    def __init__(self, now: Callable[[], str]) -> None:
        self._now = now
        self.version = 100
        self.objects: dict[Key, Body] = {}
        self.leases: dict[tuple[str, str], Body] = {}
        #: the data of the kill switch; None: there is none
        #: resume marks, which close breakers
        self.marks: dict[str, str] = {}
        self.switch: dict[str, str] | None = None
        #: told to every watch
        self.watchers: list[Callable[[Change], None]] = []
        #: told about every write of a status: key, before, after
        self.status_written: Callable[[Key, Body, Body], None] = lambda *_: None
        #: told of objects that are gone
        self.gone: Callable[[Key, Body], None] = lambda *_: None
        #: told of what must not be
        self.complain: Callable[[str], None] = lambda _: None
        #: uids of what the garbage collector has deleted, and nobody else
        self.collected: set[str] = set()
        self._uid = 0

    # -- what everybody may do

    def create(self, kind: str, body: Body) -> Body:
        key = key_of(kind, body)
        if key in self.objects:
            raise AlreadyExistsError(f"{key} already exists")
        self._check(kind, {"spec": body["spec"]})
        self._uid += 1
        new = _copy(body)
        new |= {"apiVersion": API_VERSION, "kind": kind}
        new["metadata"] |= {"uid": f"uid-{self._uid}", "generation": 1, "creationTimestamp": self._now()}
        new.pop("status", None)
        self.objects[key] = new
        return self._changed(key, "ADDED")

    def get(self, key: Key) -> Body:
        if key not in self.objects:
            raise NotFoundError(f"{key} not found")
        return _copy(self.objects[key])

    def list(self, kind: str) -> tuple[list[Body], int]:
        return [_copy(b) for k, b in self.objects.items() if k.kind == kind], self.version

    def put_spec(self, key: Key, spec: Body) -> bool:
        """A person applies a manifest; False when the server refuses it."""
        body = self.objects[key]
        if spec == body["spec"]:
            return True
        started = key.kind == "VMMigration" and "startedAt" in body.get("status", {})
        changed = {f for f in spec.keys() | body["spec"].keys() if spec.get(f) != body["spec"].get(f)}
        if started and not changed <= MUTABLE:
            return False
        body["spec"] = _copy(spec)
        body["metadata"]["generation"] += 1
        self._changed(key, "MODIFIED")
        return True

    def touch(self, key: Key) -> None:
        """Somebody else writes to the object: an annotation, say."""
        self.objects[key]["metadata"].setdefault("annotations", {})["touched"] = str(self.version)
        self._changed(key, "MODIFIED")

    def edited(self, key: Key) -> None:
        """Somebody has written what `objects` has by now."""
        self.objects[key] |= {"apiVersion": API_VERSION, "kind": key.kind}
        self._changed(key, "MODIFIED")

    def put_status(self, key: Key, version: str, status: Body) -> Body:
        body = self._current(key, version)
        self._check(key.kind, {"status": status})
        before = body.get("status", {})
        if before == status:
            self.complain(f"says the same: {key}: a status is written that says what it said before")
            return _copy(body)
        body["status"] = _copy(status)
        self.status_written(key, before, body)
        return self._changed(key, "MODIFIED")

    def put_finalizers(self, key: Key, version: str, finalizers: Sequence[str]) -> Body:
        body = self._current(key, version)
        metadata = body["metadata"]
        if "deletionTimestamp" in metadata and set(finalizers) - set(metadata.get("finalizers", [])):
            raise InvalidError(f"{key}: no new finalizers can be added if the object is being deleted")
        metadata["finalizers"] = list(finalizers)
        if not finalizers:
            del metadata["finalizers"]  # an empty list is not stored
        if "deletionTimestamp" in metadata and not finalizers:
            return self._remove(key)
        return self._changed(key, "MODIFIED")

    def delete(self, key: Key, uid: str | None = None, version: str | None = None) -> Body | None:
        body = self._current(key, version)
        metadata = body["metadata"]
        if uid is not None and metadata["uid"] != uid:
            raise ConflictError(f"{key} is another one")
        if not metadata.get("finalizers"):
            self._remove(key)
            return None
        if "deletionTimestamp" not in metadata:
            metadata["deletionTimestamp"] = self._now()
            metadata["generation"] += 1
            self._changed(key, "MODIFIED")
        return _copy(body)

    def collect(self) -> None:
        """The garbage collector: what an object owned that is gone goes too."""
        uids = {body["metadata"]["uid"] for body in self.objects.values()}
        for key, body in list(self.objects.items()):
            owners = body["metadata"].get("ownerReferences", [])
            if owners and all(owner["uid"] not in uids for owner in owners):
                self._collect(key)

    def prune(self, key: Key) -> None:
        """Deleted with foreground propagation: first the owner is marked, then the collector deletes what it owns."""
        uid = self.objects[key]["metadata"]["uid"]
        self.delete(key)
        for other, body in list(self.objects.items()):
            if any(owner["uid"] == uid for owner in body["metadata"].get("ownerReferences", [])):
                self._collect(other)

    def _collect(self, key: Key) -> None:
        metadata = self.objects[key]["metadata"]
        if "deletionTimestamp" not in metadata:
            self.collected.add(metadata["uid"])
        self.delete(key)

    # -- histories

    def kept(self) -> dict[str, Any]:
        """What a backup of etcd has."""
        return {"objects": self.objects, "leases": self.leases, "version": self.version}

    def set_back(self, kept: dict[str, Any]) -> None:
        """Restore a backup: no watch is told."""
        for name, value in copy.deepcopy(kept).items():
            setattr(self, name, value)

    # -- Leases

    def get_lease(self, namespace: str, name: str) -> Body:
        if (namespace, name) not in self.leases:
            raise NotFoundError(f"{namespace}/{name} not found")
        return _copy(self.leases[namespace, name])

    def put_lease(self, namespace: str, body: Body) -> Body:
        name, version = body["metadata"]["name"], body["metadata"].get("resourceVersion")
        known = self.leases.get((namespace, name))
        if version is not None and known is None:
            raise NotFoundError(f"{namespace}/{name} not found")
        if (known["metadata"]["resourceVersion"] if known else None) != version:
            raise (ConflictError if version else AlreadyExistsError)(f"{name} has changed")
        self.version += 1
        uid = known["metadata"]["uid"] if known else f"lease-{self.version}"
        metadata = {**body["metadata"], "uid": uid, "resourceVersion": str(self.version)}
        self.leases[namespace, name] = {**_copy(body), "metadata": metadata}
        return _copy(self.leases[namespace, name])

    def delete_lease(self, namespace: str, name: str, uid: str, version: str) -> None:
        known = self.get_lease(namespace, name)["metadata"]
        if (known["uid"], known["resourceVersion"]) != (uid, version):
            raise ConflictError(f"{name} has changed")
        del self.leases[namespace, name]

    def holder(self, namespace: str, name: str) -> str | None:
        return (self.leases.get((namespace, name), {}).get("spec") or {}).get("holderIdentity") or None

    def get_config_map(self, name: str) -> dict[str, str]:
        if name == "vmferry-resume" and self.marks:
            return dict(self.marks)
        if name != "vmferry-stop" or self.switch is None:
            raise NotFoundError("the ConfigMap is not found")
        return dict(self.switch)

    # -- inside

    def _current(self, key: Key, version: str | None) -> Body:
        if key not in self.objects:
            raise NotFoundError(f"{key} not found")
        if version is not None and self.objects[key]["metadata"]["resourceVersion"] != version:
            raise ConflictError(f"{key} has changed")
        return self.objects[key]

    def _check(self, kind: str, part: Body) -> None:
        for name, value in part.items():
            wrong = "; ".join(violations(value, SCHEMAS[kind]["properties"][name], name))
            if wrong:
                self.complain(f"invalid: {kind}: the server would refuse what is written: {wrong}")
                raise InvalidError(wrong)

    def _changed(self, key: Key, type_: str) -> Body:
        self.version += 1
        body = self.objects[key]
        body["metadata"]["resourceVersion"] = str(self.version)
        for watcher in self.watchers:
            watcher(Change(type_, _copy(body)))
        return _copy(body)

    def _remove(self, key: Key) -> Body:
        body = self._changed(key, "DELETED")
        self.gone(key, self.objects.pop(key))
        return body


__all__ = ["Api", "Change", "KubeError"]
