"""The VMMigrations that another object owns, in Kubernetes: created once, and known to the store at once.

What the store knows already is no news when the watch brings it, so whatever is put there here is queued here as well.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from vmferry.reconcilers.children import Child, NewChild
from vmferry.resources.base import API_VERSION
from vmferry.resources.vmmigration import ServerRef, TargetRef, VMMigration, VMMigrationSpec
from vmferry.runtime.kinds import Key, Kind, Kinds, Resource
from vmferry.runtime.kube import AlreadyExistsError, ConflictError, InvalidError, KubeError, NotFoundError
from vmferry.runtime.queue import WorkQueue
from vmferry.runtime.store import Body, Store

logger = logging.getLogger(__name__)


class Writer(Protocol):
    """The writes of `kube.Kube`. All raise `KubeError`."""

    async def get(self, kind: Kind[Any, Any], key: Key) -> Body: ...

    async def create(self, kind: Kind[Any, Any], body: Body) -> Body: ...

    async def delete(self, kind: Kind[Any, Any], key: Key, uid: str, version: str | None = None) -> Body | None: ...


@dataclass(frozen=True, slots=True)
class Children:
    """Creates and deletes them."""

    kinds: Kinds
    store: Store
    queue: WorkQueue[Key]
    kube: Writer

    async def delete(self, children: Iterable[Child]) -> None:
        """Raises KubeError; one that is gone already is fine."""
        kind = self.kinds[VMMigration.KIND]
        for child in children:
            key = Key(kind.name, child.namespace, child.name)
            logger.info("deleting a child", extra={"child": str(key)})
            try:
                # whatever it says by now: deleting it cancels what has not begun, and waits for what has
                left = await self.kube.delete(kind, key, child.uid)
            except NotFoundError:
                left = None
            except ConflictError:  # it is gone, and another one has its name
                left = await self._there(kind, key)
            if left is None:
                self.store.remove(key)
            else:
                self.store.put(kind.name, left)
            self.queue.add(key)

    async def create(self, owner: Resource, children: Iterable[NewChild]) -> bool:
        """Create those that are not there; False when something else has a child's name.

        Raises KubeError: the store knows those created until then. One that the server finds invalid does not keep
        the others from being created.
        """
        kind = self.kinds[VMMigration.KIND]
        refused: KubeError | None = None
        free = True
        for child in children:
            key = Key(kind.name, child.namespace, child.name)
            try:
                body = await self.kube.create(kind, body_of(child, owner))
                logger.info("created a child", extra={"child": str(key)})
            except AlreadyExistsError:
                body = await self._there(kind, key)
            except InvalidError as error:
                refused = error
                continue
            except NotFoundError as error:  # it is the namespace that is missing, not the owner
                raise KubeError(str(error)) from error
            if self.store.put(kind.name, body):
                self.queue.add(key)
            if not any((one.namespace, one.name) == key[1:] for one in self.store.children_of(owner.metadata.uid)):
                logger.warning("%s is not ours, though it has the name of a child", key)
                free = False
        if refused is not None:
            raise refused
        return free

    async def _there(self, kind: Kind[Any, Any], key: Key) -> Body:
        try:
            return await self.kube.get(kind, key)
        except NotFoundError as error:
            raise KubeError(f"{key} was there a moment ago: {error}") from error


def body_of(child: NewChild, owner: Resource) -> Body:
    """The VMMigration as it is created. It goes with its owner, and does not keep it from going."""
    reference = owner.reference()
    spec = VMMigrationSpec(
        server=ServerRef(id=child.server_id),
        type=child.type,
        target=TargetRef(host=child.target_host),
        stop_if_running=child.stop_if_running,
        timeout=child.timeout,
        on_timeout=child.on_timeout,
        priority=child.priority,
    )
    return {
        "apiVersion": API_VERSION,
        "kind": VMMigration.KIND,
        "metadata": {
            "namespace": child.namespace,
            "name": child.name,
            "labels": dict(child.labels),
            "ownerReferences": [
                {
                    "apiVersion": reference["apiVersion"],
                    "kind": reference["kind"],
                    "name": reference["name"],
                    "uid": reference["uid"],
                    "controller": True,
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "spec": spec.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True),
    }
