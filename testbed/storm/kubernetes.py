"""An in-memory Kubernetes API with the semantics that the operator relies on.

It has optimistic locking, the status subresource, generations, finalizers, deletion by uid, a garbage collector,
Leases, and watches. Specs of new objects and all statuses are checked against the committed schemas.
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
#: the only spec fields of a started VMMigration that may change
MUTABLE = {"paused", "priority", "ttlAfterFinished"}


@dataclass(frozen=True, slots=True)
class Change:
    """A watch event."""

    type: str
    body: Body


def _copy(value: Body) -> Body:
    """A deep copy. Objects are JSON, and this is much faster than `copy.deepcopy`."""
    copied: Body = json.loads(json.dumps(value))
    return copied


class Api:
    """The API server. Its calls take no time; `process.Kube` and `process.Watch` add delays and faults."""

    def __init__(self, now: Callable[[], str]) -> None:
        self._now = now
        self.version = 100
        self.objects: dict[Key, Body] = {}
        self.leases: dict[tuple[str, str], Body] = {}
        #: resume marks, which close breakers
        self.marks: dict[str, str] = {}
        #: the data of the kill switch's ConfigMap, or None if it does not exist
        self.switch: dict[str, str] | None = None
        #: callbacks of the watches
        self.watchers: list[Callable[[Change], None]] = []
        #: called for every status write with the key, the status before, and the object after it
        self.status_written: Callable[[Key, Body, Body], None] = lambda *_: None
        #: called for every object that is gone
        self.gone: Callable[[Key, Body], None] = lambda *_: None
        #: called with every violation
        self.complain: Callable[[str], None] = lambda _: None
        #: uids of objects whose deletion the garbage collector has started
        self.collected: set[str] = set()
        self._uid = 0

    # -- requests

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
        """A person applies a manifest. False if the server refuses it."""
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
        """Another client writes an annotation to the object."""
        self.objects[key]["metadata"].setdefault("annotations", {})["touched"] = str(self.version)
        self._changed(key, "MODIFIED")

    def edited(self, key: Key) -> None:
        """Publish a change that was made directly in `objects`."""
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
        """Run the garbage collector: delete objects whose owners are all gone."""
        uids = {body["metadata"]["uid"] for body in self.objects.values()}
        for key, body in list(self.objects.items()):
            owners = body["metadata"].get("ownerReferences", [])
            if owners and all(owner["uid"] not in uids for owner in owners):
                self._collect(key)

    def prune(self, key: Key) -> None:
        """Delete with foreground propagation: mark the owner, then let the collector delete the owned objects."""
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

    # -- backup and restore

    def kept(self) -> dict[str, Any]:
        """The contents of an etcd backup."""
        return {"objects": self.objects, "leases": self.leases, "version": self.version}

    def set_back(self, kept: dict[str, Any]) -> None:
        """Restore a backup. No watch gets an event for it."""
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

    # -- helpers

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
