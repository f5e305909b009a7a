"""Kubernetes Events (events.k8s.io/v1) about the operator's decisions. A failed Event never fails a reconcile."""

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


#: seconds for which a posted Event is remembered, and the maximum number of Events per object in that time; together
#: they prevent an Event storm if an object changes all the time
SPAN = 600.0
MOST = 60


class Recent:
    """The Events posted in the last `SPAN` seconds. Belongs to one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: uid, reason and message of each Event, and when it was posted; the oldest first
        self._told: dict[tuple[str, str, str], float] = {}
        self._numbers: Counter[str] = Counter()

    def judge(self, uid: str, event: Event) -> str:
        """Decide whether to post the Event.

        `Told`: post it. `Repeated`: the same Event was posted recently. `Dropped`: the object has too many Events.
        """
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
    """Write one Event.

    An Event that is repeated for the same resourceVersion of the object, or within ten minutes, exists only once.
    """
    verdict = recent.judge(reference["uid"], event)
    if verdict != "Told":
        metrics.EVENTS.labels(event.reason, verdict).inc()
        return
    seed = "\n".join((reference["uid"], version, event.reason, event.message))
    digest = hashlib.sha256(seed.encode()).hexdigest()[:16]
    # Events of cluster-scoped objects belong to the namespace "default"
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
    """Write one Event about the operator itself. It regards the operator's Lease, so it is in the same namespace."""
    reference = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "namespace": namespace, "name": lease}
    await post(sink, Recent(), Key("Lease", namespace, lease), {**reference, "uid": ""}, "", event, now)
