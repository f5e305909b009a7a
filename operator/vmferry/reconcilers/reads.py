"""The reads that a reconciler may request before it decides: the runtime carries them out and plans again.

The counterpart of `cloud/actions.py`. `World.answer` returns the answer; None only means that nothing was read. Values
that the cloud may not report are optional within the answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from vmferry.cloud.model import Detail, HostLook, Progress
from vmferry.reconcilers.owned import CreateObject, Deletion

Answer = TypeVar("Answer")


class Read(Generic[Answer]):
    __slots__ = ()


@dataclass(frozen=True, slots=True)
class ReadServer(Read[Detail]):
    """A fresh read of the server and all its migrations."""

    server_id: str
    #: whether to read the instance actions too
    actions: bool = False
    #: read the events and details of the action with this request id; None: of the newest action
    events_of: str | None = None


@dataclass(frozen=True, slots=True)
class CopyProgress:
    #: None: Nova reports none before and after the copy
    progress: Progress | None


@dataclass(frozen=True, slots=True)
class ReadCopyProgress(Read[CopyProgress]):
    """The copy progress of a running live migration."""

    server_id: str
    migration_id: int


@dataclass(frozen=True, slots=True)
class ReadHost(Read[HostLook]):
    """A fresh read of the host with its servers and open migrations."""

    host: str


@dataclass(frozen=True, slots=True)
class HostLease:
    """The holder of a host's Lease; only the holder may change the host (I32)."""

    host: str
    #: None: this resource holds the Lease
    holder: str | None
    #: why Kubernetes refuses to write the Lease, so that no resource can hold it
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class TakeHostLease(Read[HostLease]):
    """Acquire or renew the Lease of the host for the object; the answer names the holder."""

    host: str


@dataclass(frozen=True, slots=True)
class ReadDeletion(Read[Deletion]):
    """A read of the cause of the object's deletion."""


@dataclass(frozen=True, slots=True)
class TryCreate(Read[str]):
    """Test whether the object could be created, without creating it. `World.refusals` then contains a refusal, if any;
    the answer is the object's name."""

    new: CreateObject[Any]


AnyRead = ReadServer | ReadCopyProgress | ReadHost | TakeHostLease | ReadDeletion | TryCreate
