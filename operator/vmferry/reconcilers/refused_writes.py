"""Writes that the Kubernetes API server refuses until somebody changes something: a policy, a quota, rights, a webhook,
a namespace that is missing or being deleted. What came of a write reaches the next decision in `World.refusals`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

#: reason of the conditions that report one
WRITE_REFUSED = "WriteRefused"
#: the subject of a refusal: our finalizer on the object itself
FINALIZER = "finalizer"


@dataclass(frozen=True, slots=True)
class Refusal:
    """What was refused when it was last tried."""

    #: name of the owned migration that could not be created or deleted, or `FINALIZER`
    subject: str
    #: in the API server's words, bounded and redacted
    message: str
    at: datetime
    #: the name belongs to an object that is not ours; no other migration is concerned
    taken: bool = False
    #: it could not be deleted
    delete: bool = False

    @property
    def creates(self) -> bool:
        """Whether it concerns whatever would be created, not only one name."""
        return not (self.taken or self.delete or self.subject == FINALIZER)
