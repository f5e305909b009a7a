"""Creates and deletes owned objects in Kubernetes, each only once, and puts them into the store at once.

A watch event with a state that the store has already does not queue the object. So this module queues each object that
it puts into the store.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, Protocol

from vmferry.reconcilers.kind import Kinds
from vmferry.reconcilers.owned import CreateObject, Owned
from vmferry.resources.base import API_VERSION, Resource
from vmferry.resources.catalog import ResourceType
from vmferry.runtime.key import Key
from vmferry.runtime.kube_api import AlreadyExistsError, ConflictError, KubeError, NotFoundError
from vmferry.runtime.queue import WorkQueue
from vmferry.runtime.refusals import Refusals
from vmferry.runtime.store import Body, Store

logger = logging.getLogger(__name__)


class Writer(Protocol):
    """The methods of `kube.Kube` that this module uses. All raise `KubeError`."""

    async def get(self, kind: ResourceType[Any], key: Key) -> Body: ...

    async def create(self, kind: ResourceType[Any], body: Body) -> Body: ...

    async def create_dry_run(self, kind: ResourceType[Any], body: Body) -> None: ...

    async def delete(self, kind: ResourceType[Any], key: Key, uid: str, version: str | None = None) -> Body | None: ...


@dataclass(frozen=True, slots=True)
class OwnedWriter:
    """Creates and deletes owned objects. Records refused writes for the next decision about the owner."""

    kinds: Kinds
    store: Store
    queue: WorkQueue[Key]
    kube: Writer
    refusals: Refusals

    async def delete(self, owner: Resource, objects: Iterable[Owned], now: datetime) -> None:
        """Delete the objects. An object that is gone already is not an error. Raises KubeError."""
        for new in objects:
            kind = self.kinds[new.kind].type
            key = Key(kind.name, new.namespace, new.name)
            logger.info("deleting an owned object", extra={"owned": str(key)})
            try:
                # in any state: a deletion cancels a move that has not begun, and waits for one in flight
                left = await self.kube.delete(kind, key, new.uid)
            except NotFoundError:
                left = None
            except ConflictError:  # it is gone, and a new object has its name
                left = await self._there(kind, key)
            except KubeError as error:
                if not error.refused:
                    raise
                self._note(owner, new.name, error, now, delete=True)
                continue
            self.refusals.clear(_key(owner), new.name)
            if left is None:
                self.store.remove(key)
            else:
                self.store.put(kind.name, left)
            self.queue.add(key)

    async def create(self, owner: Resource, objects: Iterable[CreateObject[Any]], now: datetime) -> bool:
        """Create the objects that do not exist. False if one was refused, or its name belongs to another object.

        A refused object does not prevent the creation of the others. Raises KubeError; the store then contains the
        objects created so far.
        """
        done = True
        for new in objects:
            kind = self.kinds[new.kind].type
            key = Key(kind.name, new.namespace, new.name)
            try:
                body = await self.kube.create(kind, body_of(new, owner))
                logger.info("created an owned object", extra={"owned": str(key)})
            except AlreadyExistsError:
                body = await self._there(kind, key)
            except KubeError as error:
                if not error.refused:
                    raise
                self._note(owner, new.name, error, now)
                done = False
                continue
            if self.store.put(kind.name, body):
                self.queue.add(key)
            if _is_of(body, owner):
                self.refusals.clear(_key(owner), new.name)
            else:
                self._note(owner, new.name, _taken(key, owner), now)
                done = False
        return done

    async def create_dry_run(self, owner: Resource, new: CreateObject[Any], now: datetime) -> None:
        """Check with a dry run whether the object could be created, and record a refusal. Raises KubeError."""
        kind = self.kinds[new.kind].type
        key = Key(kind.name, new.namespace, new.name)
        try:
            await self.kube.create_dry_run(kind, body_of(new, owner))
        except AlreadyExistsError:
            body = await self._there(kind, key)
            if not _is_of(body, owner):
                self._note(owner, new.name, _taken(key, owner), now)
                return
        except KubeError as error:
            if error.code == HTTPStatus.BAD_REQUEST:
                # a webhook does not support dry runs; only a real attempt shows whether it is accepted
                logger.info("whether the object can be created is not known: %s", error)
            elif error.refused:
                self._note(owner, new.name, error, now)
                return
            else:
                raise
        # the result holds for all other creations as well, except those whose name belongs to another object
        for refusal in self.refusals.of(_key(owner)):
            if refusal.subject == new.name or not (refusal.taken or refusal.delete):
                self.refusals.clear(_key(owner), refusal.subject)

    def _note(self, owner: Resource, name: str, error: KubeError | str, now: datetime, *, delete: bool = False) -> None:
        logger.warning("a write of an owned object is refused: %s", error, extra={"owned": name})
        self.refusals.note(_key(owner), name, error, now, delete=delete)

    async def _there(self, kind: ResourceType[Any], key: Key) -> Body:
        try:
            return await self.kube.get(kind, key)
        except NotFoundError as error:
            raise KubeError(f"{key} was there a moment ago: {error}") from error


def _key(owner: Resource) -> Key:
    return Key(owner.KIND, owner.metadata.namespace, owner.metadata.name)


def _is_of(body: Body, owner: Resource) -> bool:
    references = body["metadata"].get("ownerReferences") or ()
    return any(one.get("uid") == owner.metadata.uid for one in references)


def _taken(key: Key, owner: Resource) -> str:
    name = f"{key.namespace}/{key.name}" if key.namespace else key.name
    return f"the name {name} belongs to a {key.kind} that this {owner.KIND} has not created"


def body_of(new: CreateObject[Any], owner: Resource) -> Body:
    """The body for the creation. The object is deleted with its owner and does not block the owner's deletion."""
    reference = owner.reference()
    return {
        "apiVersion": API_VERSION,
        "kind": new.kind,
        "metadata": {
            **({"namespace": new.namespace} if new.namespace else {}),
            "name": new.name,
            "labels": dict(new.labels),
            **({"annotations": dict(new.annotations)} if new.annotations else {}),
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
        "spec": new.spec.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True),
    }
