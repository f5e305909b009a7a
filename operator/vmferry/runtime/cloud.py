"""The interface of the cloud that the runtime uses; implemented by `cloud.observer.Observer`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from vmferry.cloud.actions import Action, Outcome
from vmferry.cloud.model import Detail, HostLook, Progress, Snapshot


class Cloud(Protocol):
    """The shared view, direct reads of one server or host, and `act`, the only method that changes the cloud."""

    @property
    def snapshot(self) -> Snapshot: ...

    def subscribe(self, callback: Callable[[frozenset[str], bool], None]) -> None: ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def detail(self, server_id: str, actions: str | None = None, *, with_actions: bool = False) -> Detail: ...

    async def progress(self, server_id: str, migration_id: int) -> Progress | None: ...

    async def host_look(self, host: str) -> HostLook: ...

    async def act(self, action: Action, forbidden: Callable[[], str | None] = ...) -> Outcome:
        """Send the action. `forbidden` is called in the sending thread right before that, and may block.

        If it returns a reason, the action is not sent.
        """
        ...
