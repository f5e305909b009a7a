"""The VMMigrations that another object owns, in Kubernetes: created once, and known to the store at once.

What the store knows already is no news when the watch brings it, so whatever is put there here is queued here as well.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, Protocol

from vmferry.reconcilers.owned import NewChild, OwnedMigration
from vmferry.resources.base import API_VERSION, Resource
from vmferry.resources.catalog import ResourceType
from vmferry.resources.vmmigration import ServerRef, TargetRef, VMMigration, VMMigrationSpec
from vmferry.runtime.key import Key
from vmferry.runtime.kinds import Kinds
from vmferry.runtime.kube import AlreadyExistsError, ConflictError, KubeError, NotFoundError
from vmferry.runtime.queue import WorkQueue
from vmferry.runtime.refusals import Refusals
from vmferry.runtime.store import Body, Store

logger = logging.getLogger(__name__)


class Writer(Protocol):
    """The writes of `kube.Kube`. All raise `KubeError`."""

    async def get(self, kind: ResourceType[Any], key: Key) -> Body: ...

    async def create(self, kind: ResourceType[Any], body: Body) -> Body: ...

    async def try_create(self, kind: ResourceType[Any], body: Body) -> None: ...

    async def delete(self, kind: ResourceType[Any], key: Key, uid: str, version: str | None = None) -> Body | None: ...


@dataclass(frozen=True, slots=True)
class Children:
    """Creates and deletes them. What Kubernetes refuses is noted, for the next decision about the owner."""

    kinds: Kinds
    store: Store
    queue: WorkQueue[Key]
    kube: Writer
    refusals: Refusals

    async def delete(self, owner: Resource, children: Iterable[OwnedMigration], now: datetime) -> None:
        """Raises KubeError; one that is gone already is fine."""
        kind = self.kinds[VMMigration.KIND].type
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
            except KubeError as error:
                if not error.refused:
                    raise
                self._note(owner, child.name, error, now, delete=True)
                continue
            self.refusals.clear(_key(owner), child.name)
            if left is None:
                self.store.remove(key)
            else:
                self.store.put(kind.name, left)
            self.queue.add(key)

    async def create(self, owner: Resource, children: Iterable[NewChild], now: datetime) -> bool:
        """Create those that are not there; False when one was refused, or its name is another object's.

        Raises KubeError: the store knows those created until then. One that is refused does not keep the others from
        being created.
        """
        kind = self.kinds[VMMigration.KIND].type
        done = True
        for child in children:
            key = Key(kind.name, child.namespace, child.name)
            try:
                body = await self.kube.create(kind, body_of(child, owner))
                logger.info("created a child", extra={"child": str(key)})
            except AlreadyExistsError:
                body = await self._there(kind, key)
            except KubeError as error:
                if not error.refused:
                    raise
                self._note(owner, child.name, error, now)
                done = False
                continue
            if self.store.put(kind.name, body):
                self.queue.add(key)
            if _is_of(body, owner):
                self.refusals.clear(_key(owner), child.name)
            else:
                self._note(owner, child.name, _taken(key), now)
                done = False
        return done

    async def try_create(self, owner: Resource, child: NewChild, now: datetime) -> None:
        """Find out whether it could be created, and note what is refused. Raises KubeError."""
        kind = self.kinds[VMMigration.KIND].type
        key = Key(kind.name, child.namespace, child.name)
        try:
            await self.kube.try_create(kind, body_of(child, owner))
        except AlreadyExistsError:
            body = await self._there(kind, key)
            if not _is_of(body, owner):
                self._note(owner, child.name, _taken(key), now)
                return
        except KubeError as error:
            if error.code == HTTPStatus.BAD_REQUEST:
                # a webhook that allows no dry run; only a true attempt gives the answer
                logger.info("whether a child can be created is not known: %s", error)
            elif error.refused:
                self._note(owner, child.name, error, now)
                return
            else:
                raise
        # what holds for one holds for all but those whose name is another object's
        for refusal in self.refusals.of(_key(owner)):
            if refusal.subject == child.name or not (refusal.taken or refusal.delete):
                self.refusals.clear(_key(owner), refusal.subject)

    def _note(self, owner: Resource, name: str, error: KubeError | str, now: datetime, *, delete: bool = False) -> None:
        logger.warning("a child is refused: %s", error, extra={"child": name})
        self.refusals.note(_key(owner), name, error, now, delete=delete)

    async def _there(self, kind: ResourceType[Any], key: Key) -> Body:
        try:
            return await self.kube.get(kind, key)
        except NotFoundError as error:
            raise KubeError(f"{key} was there a moment ago: {error}") from error


def _key(owner: Resource) -> Key:
    return Key(owner.reference()["kind"], owner.metadata.namespace, owner.metadata.name)


def _is_of(body: Body, owner: Resource) -> bool:
    references = body["metadata"].get("ownerReferences") or ()
    return any(one.get("uid") == owner.metadata.uid for one in references)


def _taken(key: Key) -> str:
    return f"the name {key.namespace}/{key.name} belongs to a VMMigration that this HostMaintenance has not created"


def body_of(child: NewChild, owner: Resource) -> Body:
    """The VMMigration as it is created. It goes with its owner, and does not keep it from going."""
    reference = owner.reference()
    spec = VMMigrationSpec(
        server=ServerRef(id=child.server_id),
        type=child.type,
        target=TargetRef(host=child.target_host) if child.target_host else None,
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
            **({"annotations": dict(child.annotations)} if child.annotations else {}),
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
