"""Waits for what the client shows, each with a deadline."""

from __future__ import annotations

from collections.abc import Callable

from testbed.processes import wait_for
from vmferry.cloud.actions import Accepted, Action
from vmferry.cloud.model import InstanceAction, Migration, Server
from vmferry.cloud.nova import NovaClient

SECONDS = 240.0


class Looks:
    """What tests wait for."""

    def __init__(self, client: NovaClient) -> None:
        self.client = client

    def accepted(self, action: Action) -> str:
        """Ask for it; it must be taken. Returns its request id."""
        outcome = self.client.act(action)
        assert isinstance(outcome, Accepted), outcome
        assert outcome.request_id
        return outcome.request_id

    def server(self, server_id: str, met: Callable[[Server], bool], what: str) -> Server:
        """The server, once it meets `met`."""

        def look() -> Server | None:
            found = self.client.server(server_id)
            return found if found is not None and met(found) else None

        found = wait_for(look, SECONDS, what)
        assert found is not None
        return found

    def idle(self, server_id: str, status: str = "ACTIVE") -> Server:
        return self.server(server_id, lambda s: s.status == status and s.task_state is None, f"an idle {status}")

    def newest(self, server_id: str, *statuses: str) -> Migration:
        """The server's newest migration, once its status is one of these."""

        def look() -> Migration | None:
            records = self.client.server_migrations(server_id)
            return records[0] if records and records[0].status in statuses else None

        found = wait_for(look, SECONDS, f"a migration that is {' or '.join(statuses)}")
        assert found is not None
        return found

    def action(self, server_id: str, request_id: str) -> InstanceAction:
        """The instance action of that request, with its events."""
        return next(one for one in self.client.actions(server_id, request_id) if one.request_id == request_id)

    def details(self, server_id: str, request_id: str, event: str) -> str:
        """The details of the failed event of that name, once there are any."""

        def look() -> str | None:
            events = self.action(server_id, request_id).events
            return next((e.details for e in events if e.name == event and e.details), None)

        found = wait_for(look, SECONDS, f"details of {event}")
        assert found is not None
        return found
