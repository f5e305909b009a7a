"""Remembers which writes Kubernetes has refused, for the next decision about the object.

After a restart nothing is remembered: a trial (a dry run) of the same write gives the same answer again.
"""

from __future__ import annotations

from datetime import datetime

from vmferry.reconcilers.refused_writes import Refusal
from vmferry.redaction import redact
from vmferry.resources.base import clip
from vmferry.runtime.key import Key
from vmferry.runtime.kube_api import KubeError

#: of the server's words
LENGTH = 512


class Refusals:
    """By the key of the object that the write was for; belongs to one event loop."""

    def __init__(self) -> None:
        self._known: dict[Key, dict[str, Refusal]] = {}

    def note(self, key: Key, subject: str, error: KubeError | str, now: datetime, *, delete: bool = False) -> None:
        """`error` is what the server said; a text says that the name is another object's."""
        words = clip(redact(str(error)), LENGTH)
        refusal = Refusal(subject, words, now, taken=isinstance(error, str), delete=delete)
        self._known.setdefault(key, {})[subject] = refusal

    def clear(self, key: Key, subject: str) -> None:
        """It is not refused any more."""
        known = self._known.get(key)
        if known is not None:
            known.pop(subject, None)
            if not known:
                del self._known[key]

    def forget(self, key: Key) -> None:
        """The object is gone."""
        self._known.pop(key, None)

    def of(self, key: Key) -> tuple[Refusal, ...]:
        """By subject."""
        return tuple(sorted(self._known.get(key, {}).values(), key=lambda one: one.subject))
