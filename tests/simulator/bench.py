"""A simulated cloud in the test's own process, whose clock stands still until the test moves it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer

from vmferry.simulator import fleet
from vmferry.simulator.__main__ import LAB
from vmferry.simulator.app import make_app
from vmferry.simulator.cloud import Cloud

NEWEST = "2.100"
#: of the control API
TOKEN = "let-me-in"


class Bench:
    """One cloud and its HTTP client; calls are the administrator's at the newest microversion by default."""

    def __init__(self, cloud: Cloud, client: TestClient[Any, Any]) -> None:
        self.cloud = cloud
        self.client = client
        self._tokens: dict[str, str] = {}

    @classmethod
    async def open(cls, **changes: Any) -> Bench:
        """The lab's fleet; `changes` replace top-level entries of the file, `settings` are merged."""
        document = fleet.load(LAB).model_dump()
        settings = changes.pop("settings", {})
        for key, value in settings.items():
            document["settings"][key] = document["settings"][key] | value if isinstance(value, dict) else value
        cloud = fleet.build(fleet.Fleet.model_validate(document | changes), speed=0)
        client = TestClient(TestServer(make_app(cloud, TOKEN)))
        await client.start_server()
        return cls(cloud, client)

    async def close(self) -> None:
        await self.client.close()

    # ---- speaking

    async def log_in(self, user: str) -> str:
        project = {"admin": "admin", "operator": "tenant"}[user]
        identity = {"name": user, "password": "secret", "domain": {"name": "Default"}}
        auth = {
            "identity": {"methods": ["password"], "password": {"user": identity}},
            "scope": {"project": {"name": project, "domain": {"name": "Default"}}},
        }
        answer = await self.client.post("/identity/v3/auth/tokens", json={"auth": auth})
        assert answer.status == 201, await answer.text()
        return str(answer.headers["X-Subject-Token"])

    async def raw(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        user: str = "admin",
        headers: Mapping[str, str] | None = None,
    ) -> ClientResponse:
        if user not in self._tokens:
            self._tokens[user] = await self.log_in(user)
        sent = {"X-Auth-Token": self._tokens[user], **(headers or {})}
        return await self.client.request(method, path, json=body, headers=sent)

    async def nova(
        self, method: str, path: str, body: object = None, *, version: str = NEWEST, user: str = "admin"
    ) -> tuple[int, Any]:
        """The status and the parsed answer."""
        headers = {"OpenStack-API-Version": f"compute {version}"}
        answer = await self.raw(method, f"/compute/v2.1{path}", body, user=user, headers=headers)
        return answer.status, await answer.json() if await answer.read() else None

    async def get(self, path: str, *, version: str = NEWEST, user: str = "admin") -> Any:
        status, body = await self.nova("GET", path, version=version, user=user)
        assert status == 200, body
        return body

    async def placement(self, path: str, version: str = "1.36") -> Any:
        headers = {"OpenStack-API-Version": f"placement {version}"}
        answer = await self.raw("GET", f"/placement{path}", headers=headers)
        assert answer.status == 200, await answer.text()
        return await answer.json()

    async def control(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        answer = await self.client.request(method, f"/_control{path}", json=body, headers={"X-Control-Token": TOKEN})
        return answer.status, await answer.json() if await answer.read() else None

    # ---- short for what most tests do

    def step(self, seconds: float) -> None:
        self.cloud.clock.step(seconds)

    async def server(self, host: str = "cmp1", **entry: Any) -> str:
        """A server that already runs there."""
        body = {"name": "web", "flavor": "m1.small", "host": host, **entry}
        if "volume" not in body:
            body.setdefault("image", "cirros")
        status, answer = await self.control("POST", "/servers", body)
        assert status == 201, answer
        return str(answer["id"])

    async def act(
        self, server: str, action: str, value: object = None, *, version: str = NEWEST, user: str = "admin"
    ) -> tuple[int, Any]:
        return await self.nova("POST", f"/servers/{server}/action", {action: value}, version=version, user=user)

    async def live(
        self, server: str, host: str | None = None, *, version: str = NEWEST, **more: Any
    ) -> tuple[int, Any]:
        return await self.act(
            server, "os-migrateLive", {"host": host, "block_migration": "auto", **more}, version=version
        )

    async def show(self, server: str, *, version: str = NEWEST, user: str = "admin") -> dict[str, Any]:
        body = await self.get(f"/servers/{server}", version=version, user=user)
        found: dict[str, Any] = body["server"]
        return found

    async def migration(self, server: str) -> dict[str, Any]:
        """Its latest."""
        found: dict[str, Any] = (await self.get(f"/os-migrations?instance_uuid={server}"))["migrations"][0]
        return found

    async def events(self, server: str) -> dict[str, dict[str, Any]]:
        """Of its latest action, by name."""
        action = (await self.get(f"/servers/{server}/os-instance-actions"))["instanceActions"][0]
        path = f"/servers/{server}/os-instance-actions/{action['request_id']}"
        return {event["event"]: event for event in (await self.get(path))["instanceAction"]["events"]}

    async def kill(self, host: str) -> None:
        """Kill its nova-compute and let the service group notice."""
        await self.control("POST", f"/hosts/{host}/kill")
        self.step(self.cloud.settings.nova.service_down_time + 1)


def message(body: Any) -> str:
    """The text of an error in Nova's shape."""
    (fault,) = body.values()
    return str(fault["message"])
