"""The Kubernetes API for the leader's reconciles: none of them can write after the term in which it began (I32).

A former leader that cannot write can neither conflict with the next leader nor carry out its old decisions. If a write
is in flight when the term ends, the object's resourceVersion prevents that it overwrites a change of the next leader.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from vmferry.resources.catalog import ResourceType
from vmferry.runtime.events import EventSink
from vmferry.runtime.key import Key
from vmferry.runtime.kube_api import KubeError
from vmferry.runtime.lease_record import LeaseClient
from vmferry.runtime.owned import Writer as ChildWriter
from vmferry.runtime.store import Body

#: the term of the reconcile that runs in this task
_term: ContextVar[int | None] = ContextVar("term", default=None)


class NotLeadingError(KubeError):
    """Nothing was written, because the term of this reconcile has ended."""


class Writer(EventSink, ChildWriter, Protocol):
    """The writes of `kube.Kube`. All methods raise `KubeError`."""

    async def is_terminating(self, namespace: str) -> bool: ...

    async def put_status(self, kind: ResourceType[Any], key: Key, version: str, status: Body) -> Body: ...

    async def put_finalizers(
        self, kind: ResourceType[Any], key: Key, version: str, finalizers: Sequence[str]
    ) -> Body: ...


class _Kube(Writer, LeaseClient, Protocol):
    """The methods of `kube.Kube` that reconciles use."""


class LeaderFence:
    """Implements `Writer` and `lease_record.LeaseClient`. `term` returns the current term, or None."""

    def __init__(self, kube: _Kube, term: Callable[[], int | None]) -> None:
        self._kube = kube
        self.term = term

    @contextmanager
    def during(self, term: int) -> Iterator[None]:
        """Let all writes of this task within the context belong to `term`."""
        token = _term.set(term)
        try:
            yield
        finally:
            _term.reset(token)

    def _open(self) -> _Kube:
        mine, now = _term.get(), self.term()
        if mine is None or mine != now:
            raise NotLeadingError("this operator no longer leads")
        return self._kube

    async def get(self, kind: ResourceType[Any], key: Key) -> Body:
        return await self._kube.get(kind, key)

    async def is_terminating(self, namespace: str) -> bool:
        return await self._kube.is_terminating(namespace)

    async def create(self, kind: ResourceType[Any], body: Body) -> Body:
        return await self._open().create(kind, body)

    async def create_dry_run(self, kind: ResourceType[Any], body: Body) -> None:
        await self._open().create_dry_run(kind, body)

    async def delete(self, kind: ResourceType[Any], key: Key, uid: str, version: str | None = None) -> Body | None:
        return await self._open().delete(kind, key, uid, version)

    async def put_status(self, kind: ResourceType[Any], key: Key, version: str, status: Body) -> Body:
        return await self._open().put_status(kind, key, version, status)

    async def put_finalizers(self, kind: ResourceType[Any], key: Key, version: str, finalizers: Sequence[str]) -> Body:
        return await self._open().put_finalizers(kind, key, version, finalizers)

    async def create_event(self, namespace: str, body: Body) -> None:
        await self._open().create_event(namespace, body)

    async def get_lease(self, namespace: str, name: str) -> Body:
        return await self._kube.get_lease(namespace, name)

    async def put_lease(self, namespace: str, body: Body) -> Body:
        return await self._open().put_lease(namespace, body)

    async def delete_lease(self, namespace: str, name: str, uid: str, version: str) -> None:
        await self._open().delete_lease(namespace, name, uid, version)
