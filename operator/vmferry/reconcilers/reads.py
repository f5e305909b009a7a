"""What a reconciler may ask for before it decides: the runtime reads it and plans again (`World.answer`).

The counterpart of `cloud/actions.py`. A read that has an answer is never a None in the world: what the cloud may leave
open is open within the answer.
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
    """The server and all its migrations, fresh."""

    server_id: str
    #: the instance actions too
    actions: bool = False
    #: with the steps and their details of the action with this request id; None: of the newest one
    events_of: str | None = None


@dataclass(frozen=True, slots=True)
class CopyProgress:
    #: None: Nova reports none before and after the copy
    progress: Progress | None


@dataclass(frozen=True, slots=True)
class ReadCopyProgress(Read[CopyProgress]):
    """How far a running live migration has copied."""

    server_id: str
    migration_id: int


@dataclass(frozen=True, slots=True)
class ReadHost(Read[HostLook]):
    """The host with its servers and open migrations, fresh."""

    host: str


@dataclass(frozen=True, slots=True)
class HostLease:
    """Who may change a host (I32)."""

    host: str
    #: None: it is this resource
    holder: str | None
    #: why Kubernetes refuses to write the Lease: nobody can have it
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class TakeHostLease(Read[HostLease]):
    """Take or renew the Lease of the host for the object; the answer says who has it."""

    host: str


@dataclass(frozen=True, slots=True)
class ReadDeletion(Read[Deletion]):
    """Who deletes the object."""


@dataclass(frozen=True, slots=True)
class TryCreate(Read[str]):
    """Whether this could be created, without creating it: `World.refusals` says. The answer is its name."""

    new: CreateObject[Any]


AnyRead = ReadServer | ReadCopyProgress | ReadHost | TakeHostLease | ReadDeletion | TryCreate
