"""Writes that the Kubernetes API server refuses until a cause is removed: a policy, a quota, missing rights, a webhook,
a namespace that is missing or being deleted. The next decision receives the refusals in `World.refusals`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

#: reason of the conditions that report a refusal
WRITE_REFUSED = "WriteRefused"
#: subject of a refusal: the finalizer on the object itself
FINALIZER = "finalizer"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A write that Kubernetes refused at the last try."""

    #: name of the owned migration that could not be created or deleted, or `FINALIZER`
    subject: str
    #: the API server's message, bounded and redacted
    message: str
    at: datetime
    #: whether the name belongs to an object that this resource does not own; no other migration is concerned
    taken: bool = False
    #: whether the refused write was a deletion
    delete: bool = False

    @property
    def creates(self) -> bool:
        """Whether the refusal concerns every object to be created, not only one name."""
        return not (self.taken or self.delete or self.subject == FINALIZER)
