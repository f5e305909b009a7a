"""The shared view over a cloud: what others do shows up by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from testbed.tenant import Tenant
from tests.contract.conftest import Boot
from tests.contract.looks import SECONDS
from vmferry.cloud.actions import Accepted, LiveMigrate
from vmferry.cloud.nova import NovaClient
from vmferry.cloud.observer import Observer, Pace

PACE = Pace(poll=0.3, full=1000, hosts=1, resources=1, groups=1, projects=1)


async def until(condition: Callable[[], object], what: str) -> None:
    deadline = asyncio.get_running_loop().time() + SECONDS
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"waited in vain for {what}"
        await asyncio.sleep(0.05)


async def test_a_server_is_seen_to_come_move_and_go(client: NovaClient, boot: Boot, admin: Tenant) -> None:
    changed: set[str] = set()
    observer = Observer(client, PACE)
    observer.subscribe(lambda servers, hosts: changed.update(servers))
    await observer.start()
    try:
        await until(lambda: observer.snapshot.age(datetime.now(UTC)), "a whole view")
        assert observer.snapshot.user_id == client.user_id
        assert observer.snapshot.find_host("cmp1") is not None
        server = await asyncio.to_thread(boot, "cmp1")
        await until(lambda: server in observer.snapshot.servers_by_host.get("cmp1", ()), "the new server")
        await until(lambda: observer.snapshot.servers[server].task_state is None, "the end of its boot")

        outcome = await observer.act(LiveMigrate(server, "cmp2"))
        assert isinstance(outcome, Accepted)
        detail = await observer.detail(server, outcome.request_id)
        assert detail.server == observer.snapshot.servers[server]
        assert detail.actions is not None
        assert detail.actions[0].request_id == outcome.request_id
        await until(
            lambda: [m.status for m in observer.snapshot.migrations_by_server.get(server, ())] == ["completed"],
            "the migration's end",
        )
        await until(lambda: observer.snapshot.servers[server].host == "cmp2", "the server on cmp2")
        await until(lambda: observer.snapshot.servers[server].task_state is None, "an idle server")
        assert server in changed

        await asyncio.to_thread(admin.delete, server)
        await until(lambda: server not in observer.snapshot.servers, "the deletion")
        assert server not in observer.snapshot.migrations_by_server
        assert observer.snapshot.trouble is None
    finally:
        await observer.stop()
