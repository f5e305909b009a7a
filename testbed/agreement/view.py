"""The operator's shared view, extended for tests: it can be refreshed on demand and waited for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from testbed.agreement.tempo import Tempo
from testbed.cloud import CLOUD_NAME, CloudLab
from vmferry.cloud.model import Migration, MigrationStage, Server
from vmferry.cloud.nova import NovaClient
from vmferry.cloud.observer import Observer

T = TypeVar("T")


class LateError(Exception):
    """Nova did not reach the expected state in time."""


class View(Observer):
    """An `Observer`; `start` begins to read."""

    def __init__(self, lab: CloudLab, tempo: Tempo) -> None:
        super().__init__(NovaClient(CLOUD_NAME, clouds_yaml=lab.clouds_yaml), tempo.pace, threads=32)
        self.patience = tempo.patience
        self._refreshing = asyncio.Lock()
        self._refreshed = float("-inf")

    async def call(self, function: Callable[..., T], *args: object) -> T:
        """Run a blocking function in a thread."""
        return await self._call(function, *args)

    async def whole(self) -> None:
        """Wait until every part was read once."""
        while self.snapshot.age(datetime.now(UTC)) is None:  # noqa: ASYNC110 - the view is polled itself
            await asyncio.sleep(0.2)

    async def refresh(self) -> None:
        """Read hosts, their resources and server groups, or wait for a reading that began later than this call."""
        asked = time.monotonic()
        async with self._refreshing:
            if self._refreshed >= asked:
                return
            begun = time.monotonic()
            await self._read_hosts()
            await asyncio.gather(self._read_resources(), self._read_groups())
            self._refreshed = begun

    def server(self, server_id: str) -> Server | None:
        return self.snapshot.servers.get(server_id)

    def records(self, server_id: str) -> tuple[Migration, ...]:
        """The migrations of the server, newest first."""
        return self.snapshot.migrations_by_server.get(server_id, ())

    async def until(
        self,
        server_id: str,
        met: Callable[[Server], bool],
        what: str,
        *,
        from_error: bool = False,
    ) -> Server:
        """Wait until the server in the view meets the condition.

        Raises `LateError` after a timeout, and if the server ends in ERROR (unless `from_error`: it was in ERROR
        before).
        """
        deadline = time.monotonic() + self.patience
        while True:
            server = self.server(server_id)
            if server is not None and met(server):
                return server
            state = f"{server.status}, task {server.task_state}" if server else "unknown"
            broken = not from_error and server is not None and server.vm_state == "error" and server.task_state is None
            if broken or time.monotonic() > deadline:
                fault = f": {server.fault}" if server and server.fault else ""
                raise LateError(f"server {server_id} is {state}, wanted {what}{fault}")
            await asyncio.sleep(0.2)

    def idle(self, server: Server) -> bool:
        """Whether the server has no task and no migration in progress; the task ends first."""
        moving = any(record.stage is MigrationStage.IN_FLIGHT for record in self.records(server.id))
        return server.task_state is None and not moving

    async def until_copying(self, server_id: str, after: int) -> None:
        """Wait until a migration with an id above `after` is copying or has ended."""
        while True:
            newest = next(iter(self.records(server_id)), None)
            if newest and newest.id > after and newest.status not in ("accepted", "queued", "preparing"):
                return
            await asyncio.sleep(0.2)

    async def until_gone(self, *server_ids: str) -> None:
        deadline = time.monotonic() + self.patience
        while any(server_id in self.snapshot.servers for server_id in server_ids):
            if time.monotonic() > deadline:
                raise LateError(f"{server_ids} are still there")
            await asyncio.sleep(0.2)
