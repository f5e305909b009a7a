"""The workers: each takes a key, reconciles it, and gives it back."""

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

#: seconds between two signs of life of a worker that has nothing to do
BEAT = 10.0

#: what fails, in `failing`
RECONCILES = "all reconciles fail"

Reconcile = Callable[[Key], Awaitable[None]]

logger = logging.getLogger(__name__)


async def work(
    name: str, queue: WorkQueue[Key], reconcile: Reconcile, health: Health, failing: Streaks | None = None
) -> None:
    """Take keys until the queue is closed. A failed reconcile is logged and comes back later; it never ends the worker.

    `failing` records what becomes of each that reaches Kubernetes, or fails by a fault of ours.
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
        # neither a full queue nor a reconcile without a wait gives way by itself to the loop's other tasks
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
