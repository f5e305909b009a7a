"""The kill switch (I31), a ConfigMap in the operator's namespace: polled for statuses, and read before each request.

    kubectl create configmap vmferry-stop -n vmferry-system --from-literal=stop=true
    kubectl create configmap vmferry-stop -n vmferry-system --from-literal=zones=az1,az2

If the ConfigMap cannot be read, new moves are stopped, because the switch may be on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from vmferry.cloud.actions import Action
from vmferry.cloud.model import Snapshot
from vmferry.reconcilers.kill_switch import STARTS, KillSwitchState, parse
from vmferry.runtime.kube_api import KubeError, NotFoundError
from vmferry.runtime.metrics import definitions as metrics

#: seconds between two polls
PAUSE = 5.0
#: maximum number of seconds for one read of the switch
PATIENCE = 10.0

logger = logging.getLogger(__name__)


class ConfigMapClient(Protocol):
    """Implemented by `kube.Kube`. Raises `KubeError`."""

    async def get_config_map(self, namespace: str, name: str) -> dict[str, str]: ...


class KillSwitch:
    """Polls and reads the switch. Belongs to one event loop, in which `changed` is called when the switch changes."""

    def __init__(
        self,
        client: ConfigMapClient,
        namespace: str,
        name: str,
        changed: Callable[[], None] = lambda: None,
        came_back: Callable[[], None] = lambda: None,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._changed = changed
        #: called when the switch can be read again after a failed poll
        self._came_back = came_back
        self._source = f"ConfigMap {namespace}/{name}"
        self._unreadable = KillSwitchState(
            everywhere=True, message=f"new moves are stopped: {self._source} cannot be read"
        )
        #: whether the last poll failed
        self._lost = False
        #: the state that statuses report
        self.seen = KillSwitchState(everywhere=True, message=f"new moves wait until {self._source} was read")

    async def run(self, beat: Callable[[str], None] = lambda _: None) -> None:
        """Poll forever."""
        while True:
            beat("stop switch")
            await self.refresh()
            await asyncio.sleep(PAUSE)

    async def refresh(self) -> None:
        """Read the switch and update `seen`. A failure counts only if the poll before it failed as well."""
        state = await self.read()
        if self._lost and state != self._unreadable:
            self._came_back()
        first, self._lost = not self._lost, state == self._unreadable
        if self._lost and first:
            return  # safe, because each request reads the switch itself
        if state != self.seen:
            if state.message:
                logger.warning("%s", state.message)
            else:
                logger.info("the kill switch is off")
            self.seen = state
            metrics.STOPPED.set(bool(state.everywhere or state.zones))
            self._changed()

    async def read(self) -> KillSwitchState:
        """Read the current state. Never raises; if the switch cannot be read, the state stops everything."""
        try:
            async with asyncio.timeout(PATIENCE):
                data = await self._client.get_config_map(self._namespace, self._name)
        except NotFoundError:
            return KillSwitchState()
        except (KubeError, TimeoutError):
            return self._unreadable
        return parse(data, self._source)

    def against(self, action: Action, snapshot: Callable[[], Snapshot]) -> Callable[[], str | None]:
        """A function for other threads that returns why the action must not be sent now, or None.

        It reads the switch on each call.
        """
        loop = asyncio.get_running_loop()

        def ask() -> str | None:
            if not isinstance(action, STARTS):
                return None
            reading = asyncio.run_coroutine_threadsafe(self.read(), loop)
            try:
                state = reading.result(2 * PATIENCE)
            except TimeoutError:  # the event loop is blocked
                return self._unreadable.message
            return state.against_action(action, snapshot())

        return ask
