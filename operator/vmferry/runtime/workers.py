"""The workers: each takes a key from the queue, reconciles it, and marks it as done."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from vmferry.cloud.nova import CloudError
from vmferry.runtime.health import Health
from vmferry.runtime.key import Key
from vmferry.runtime.kube_api import KubeError
from vmferry.runtime.logs import about, asked_as
from vmferry.runtime.metrics import definitions as metrics
from vmferry.runtime.queue import QueueClosedError, WorkQueue
from vmferry.runtime.streaks import Streaks

#: seconds between two heartbeats of an idle worker
BEAT = 10.0

#: name of the streak in `failing`
RECONCILES = "all reconciles fail"

Reconcile = Callable[[Key], Awaitable[None]]

logger = logging.getLogger(__name__)


async def work(
    name: str, queue: WorkQueue[Key], reconcile: Reconcile, health: Health, failing: Streaks | None = None
) -> None:
    """Reconcile keys until the queue is closed. A failed reconcile is logged and repeated later.

    `failing` records successes, Kubernetes errors and unexpected errors of reconciles, but no OpenStack errors.
    """
    failing = failing or Streaks(0.0)
    while True:
        health.beat(name)
        try:
            key = await queue.get(BEAT)
        except QueueClosedError:
            health.forget(name)
            return
        if key is None:
            continue
        # with a full queue and reconciles that never wait, other tasks would otherwise not run
        await asyncio.sleep(0)
        failed = True
        try:
            with about({"object": str(key)}), metrics.PASS_SECONDS.labels(key.kind).time():
                failed = await _failed(reconcile, key, failing)
        finally:
            metrics.PASSES.labels(key.kind, "failed" if failed else "done").inc()
            queue.done(key, failed=failed)


async def _failed(reconcile: Reconcile, key: Key, failing: Streaks) -> bool:
    try:
        await reconcile(key)
    except CloudError as error:
        with about(asked_as(error.request_id)):
            logger.warning("the reconcile has failed and will be repeated: %s", error)
    except KubeError as error:
        logger.warning("the reconcile has failed and will be repeated: %s", error)
        failing.bad(RECONCILES, error.trouble)
    except Exception as error:
        logger.exception("the reconcile has failed and will be repeated")
        failing.bad(RECONCILES, f"an unexpected {type(error).__name__}, see the log")
    else:
        failing.good(RECONCILES)
        return False
    return True
