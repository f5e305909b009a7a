"""The resume marks, a ConfigMap in the operator's namespace; it is polled, and people or GitOps tools may write it.

    kubectl create configmap vmferry-resume -n vmferry-system --from-literal=cmp1=2026-01-31T12:00:00Z

If the ConfigMap cannot be read, nothing changes: an open breaker stays open.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime

from vmferry.reconcilers.breaker_resume import Marks, parse
from vmferry.runtime.kill_switch import PATIENCE, PAUSE, ConfigMapClient
from vmferry.runtime.kube_api import KubeError, NotFoundError

logger = logging.getLogger(__name__)


def _now() -> datetime:
    return datetime.now(UTC)


class ResumeMarks:
    """Polls the marks. Belongs to one event loop, in which `changed` is called with the marks when they change."""

    def __init__(
        self,
        client: ConfigMapClient,
        namespace: str,
        name: str,
        changed: Callable[[Marks], None],
        now: Callable[[], datetime] = _now,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._changed = changed
        self._now = now
        self._seen = Marks()

    async def run(self) -> None:
        """Poll forever."""
        while True:
            await self.read()
            await asyncio.sleep(PAUSE)

    async def read(self) -> None:
        """Read the marks once. Never raises."""
        source = f"ConfigMap {self._namespace}/{self._name}"
        try:
            async with asyncio.timeout(PATIENCE):
                data = await self._client.get_config_map(self._namespace, self._name)
        except NotFoundError:
            data = {}
        except (KubeError, TimeoutError):
            return
        found = parse(data, source, self._now())
        if found == self._seen:
            return
        for problem in found.unusable.values():
            logger.warning("%s", problem)
        self._seen = found
        self._changed(found)
