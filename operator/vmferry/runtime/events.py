"""Kubernetes Events (events.k8s.io/v1) of what the operator decides. An Event never fails a pass."""

from __future__ import annotations

import hashlib
import logging
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from vmferry.reconcilers.decision import Event
from vmferry.redaction import redact
from vmferry.resources.base import clip
from vmferry.runtime.key import Key
from vmferry.runtime.kube_api import ConflictError, KubeError
from vmferry.runtime.metrics import definitions as metrics

CONTROLLER = "vmferry.dev/operator"
NOTE_LENGTH = 1024

#: apiVersion, kind, namespace, name and uid
Reference = Mapping[str, str]

logger = logging.getLogger(__name__)


#: seconds that a word is remembered, and how many may be said of one object meanwhile: no storm of Events, whatever
#: makes an object change all the time
SPAN = 600.0
MOST = 60


class Recent:
    """What was posted lately; belongs to one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: uid, reason and message, and when; the oldest first
        self._told: dict[tuple[str, str, str], float] = {}
        self._numbers: Counter[str] = Counter()

    def judge(self, uid: str, event: Event) -> str:
        """Told: say it. Repeated: it was said a moment ago. Dropped: too much is said of this object."""
        now = self._clock()
        while self._told and (oldest := next(iter(self._told.items())))[1] <= now - SPAN:
            del self._told[oldest[0]]
            self._numbers[oldest[0][0]] -= 1
            if not self._numbers[oldest[0][0]]:
                del self._numbers[oldest[0][0]]
        word = uid, event.reason, event.message
        if word in self._told:
            return "Repeated"
        if self._numbers[uid] >= MOST:
            return "Dropped"
        self._told[word] = now
        self._numbers[uid] += 1
        return "Told"


class EventSink(Protocol):
    async def create_event(self, namespace: str, body: dict[str, Any]) -> None: ...


async def post(
    sink: EventSink, recent: Recent, key: Key, reference: Reference, version: str, event: Event, now: datetime
) -> None:
    """Write one Event. Told twice of the object as it was at `version`, or within ten minutes, it is there once."""
    verdict = recent.judge(reference["uid"], event)
    if verdict != "Told":
        metrics.EVENTS.labels(event.reason, verdict).inc()
        return
    seed = "\n".join((reference["uid"], version, event.reason, event.message))
    digest = hashlib.sha256(seed.encode()).hexdigest()[:16]
    # events of cluster-scoped objects lie in the namespace "default"
    namespace = key.namespace or "default"
    body = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": f"{key.name[:200].rstrip('.-')}.{digest}", "namespace": namespace},
        "eventTime": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "reportingController": CONTROLLER,
        "reportingInstance": f"vmferry-{socket.gethostname()}"[:128],
        "action": "Reconcile",
        "reason": clip(event.reason, 128),
        "regarding": dict(reference),
        "note": clip(redact(event.message), NOTE_LENGTH).encode()[:NOTE_LENGTH].decode(errors="ignore"),
        "type": event.type.value,
    }
    try:
        await sink.create_event(namespace, body)
        metrics.EVENTS.labels(event.reason, "Told").inc()
    except ConflictError:
        pass
    except KubeError as error:
        metrics.EVENTS.labels(event.reason, "Lost").inc()
        logger.warning("the event %s is lost: %s", event.reason, error)


async def tell_of_operator(sink: EventSink, namespace: str, lease: str, event: Event, now: datetime) -> None:
    """Write one Event about the operator itself, as an Event of its Lease: it is found in the operator's namespace."""
    reference = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "namespace": namespace, "name": lease}
    await post(sink, Recent(), Key("Lease", namespace, lease), {**reference, "uid": ""}, "", event, now)
