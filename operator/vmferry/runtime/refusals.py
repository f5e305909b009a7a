"""Remembers which writes Kubernetes has refused, for the next decision about the object.

The refusals are not kept over a restart: a dry run of the same write is refused again.
"""

from __future__ import annotations

from datetime import datetime

from vmferry.reconcilers.refused_writes import Refusal
from vmferry.redaction import redact
from vmferry.resources.base import clip
from vmferry.runtime.key import Key
from vmferry.runtime.kube_api import KubeError

#: maximum length of the server's text
LENGTH = 512


class Refusals:
    """Refusals by the key of the object for which the write was. Belongs to one event loop."""

    def __init__(self) -> None:
        self._known: dict[Key, dict[str, Refusal]] = {}

    def note(self, key: Key, subject: str, error: KubeError | str, now: datetime, *, delete: bool = False) -> None:
        """Record a refusal. A KubeError comes from the server; a text means that the name belongs to another object."""
        words = clip(redact(str(error)), LENGTH)
        refusal = Refusal(subject, words, now, taken=isinstance(error, str), delete=delete)
        self._known.setdefault(key, {})[subject] = refusal

    def clear(self, key: Key, subject: str) -> None:
        """Remove a refusal, because the write was accepted."""
        known = self._known.get(key)
        if known is not None:
            known.pop(subject, None)
            if not known:
                del self._known[key]

    def forget(self, key: Key) -> None:
        """Remove all refusals of a deleted object."""
        self._known.pop(key, None)

    def of(self, key: Key) -> tuple[Refusal, ...]:
        """The object's refusals, sorted by subject."""
        return tuple(sorted(self._known.get(key, {}).values(), key=lambda one: one.subject))
