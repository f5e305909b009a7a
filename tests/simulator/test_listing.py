"""Lists: filters, pages, what is deleted, and whose servers one sees; and Keystone and Placement on the way."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.simulator.bench import Bench, message


async def test_pages_have_every_server_once_and_a_link_until_the_last() -> None:
    bench = await Bench.open(settings={"nova": {"max_limit": 4}})
    try:
        servers = {await bench.server(name=f"s{number}") for number in range(10)}
        seen: list[str] = []
        path, pages = "/servers/detail?all_tenants=true", 0
        while path:
            body = await bench.get(path)
            seen += [server["id"] for server in body["servers"]]
            links = body.get("servers_links", [])
            path = links[0]["href"].partition("/compute/v2.1")[2] if links else ""
            pages += 1
        assert len(seen) == 10
        assert set(seen) == servers
        assert pages == 3
    finally:
        await bench.close()


FILTERS = {
    "by host": ("host=cmp2", {"two"}),
    "by part of the name": ("name=o", {"one", "two"}),
    "by status": ("status=SHUTOFF", {"three"}),
    "by several statuses": ("status=SHUTOFF&status=PAUSED", {"three"}),
    "by lock": ("locked=true", {"two"}),
    "by project": ("project_id={tenant}", {"theirs"}),
    "with a limit": ("limit=1", {"theirs"}),
}


@pytest.mark.parametrize(("query", "names"), FILTERS.values(), ids=FILTERS.keys())
async def test_a_list(bench: Bench, query: str, names: set[str]) -> None:
    await bench.server("cmp1", name="one")
    await bench.server("cmp2", name="two", locked=True)
    await bench.server("cmp3", name="three", state="stopped")
    await bench.server("cmp4", name="theirs", project="tenant")
    tenant = next(project.id for project in bench.cloud.projects.values() if project.name == "tenant")
    body = await bench.get("/servers/detail?all_tenants=1&" + query.format(tenant=tenant))
    assert {server["name"] for server in body["servers"]} == names


async def test_changes_since_has_the_deleted_too(bench: Bench) -> None:
    old, gone, busy = [await bench.server(name=name) for name in ("old", "gone", "busy")]
    bench.step(60)
    since = datetime.fromtimestamp(bench.cloud.now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    await bench.nova("DELETE", f"/servers/{gone}")
    await bench.act(busy, "os-stop")
    bench.step(5)
    found = (await bench.get(f"/servers/detail?all_tenants=1&changes-since={since}"))["servers"]
    assert {server["id"]: server["status"] for server in found} == {gone: "DELETED", busy: "SHUTOFF"}
    assert old not in found
    assert {server["id"] for server in (await bench.get("/servers"))["servers"]} == {old, busy}


async def test_migrations_since_have_no_row_that_was_never_updated(bench: Bench) -> None:
    server = await bench.server()
    since = datetime.fromtimestamp(bench.cloud.now - 5, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    await bench.live(server, "cmp2")
    bench.step(0.1)
    assert (await bench.migration(server))["status"] == "accepted"
    assert (await bench.get(f"/os-migrations?changes-since={since}"))["migrations"] == []
    bench.step(1)
    assert len((await bench.get(f"/os-migrations?changes-since={since}"))["migrations"]) == 1


async def test_migrations_come_in_pages_newest_first(bench: Bench) -> None:
    server = await bench.server()
    for _ in range(3):
        await bench.live(server, "cmp3")
        bench.step(1)
    first = await bench.get("/os-migrations?limit=2")
    assert [row["id"] for row in first["migrations"]] == [3, 2]
    path = first["migrations_links"][0]["href"].partition("/compute/v2.1")[2]
    assert [row["id"] for row in (await bench.get(path))["migrations"]] == [1]


REFUSED = {
    "an unknown parameter": ("/servers?bogus=1", "'bogus' does not match any of the regexes: '^_'"),
    "an unknown parameter of migrations": (
        "/os-migrations?bogus=1",
        "Additional properties are not allowed ('bogus' was unexpected)",
    ),
    "an unknown marker": ("/servers?marker=x", "marker [x] not found"),
    "an unknown status": ("/servers?status=nope", "Invalid status value"),
    "an unknown hypervisor pattern": (
        "/os-hypervisors?hypervisor_hostname_pattern=zz",
        "No hypervisor matching 'zz' could be found.",
    ),
}


@pytest.mark.parametrize(("path", "text"), REFUSED.values(), ids=REFUSED.keys())
async def test_a_list_refuses(bench: Bench, path: str, text: str) -> None:
    status, body = await bench.nova("GET", path)
    assert status in (400, 404)
    assert message(body) == text


async def test_a_tenant_sees_its_own_servers_and_nothing_of_hosts(bench: Bench) -> None:
    mine = await bench.server(project="tenant")
    await bench.server()
    assert [server["id"] for server in (await bench.get("/servers", user="operator"))["servers"]] == [mine]
    shown = await bench.show(mine, user="operator")
    assert not [key for key in shown if key.startswith("OS-EXT-SRV-ATTR") and not key.endswith(":hostname")]
    assert "host_status" not in shown
    for path, rule in (
        ("/servers/detail?all_tenants=1", "servers:detail:get_all_tenants"),
        ("/os-services", "os-services:list"),
        ("/os-hypervisors", "os-hypervisors:list"),
        ("/os-migrations", "os-migrations:index"),
        ("/os-aggregates", "os-aggregates:index"),
    ):
        status, body = await bench.nova("GET", path, user="operator")
        assert (status, message(body)) == (403, f"Policy doesn't allow os_compute_api:{rule} to be performed.")


LOGINS: dict[str, tuple[dict[str, Any], dict[str, Any] | None, int]] = {
    "by names": ({"name": "admin", "password": "secret", "domain": {"name": "Default"}}, {"name": "admin"}, 201),
    "by the domain's id": (
        {"name": "admin", "password": "secret", "domain": {"id": "default"}},
        {"name": "admin"},
        201,
    ),
    "with a wrong password": ({"name": "admin", "password": "x", "domain": {"name": "Default"}}, None, 401),
    "as nobody": ({"name": "nobody", "password": "secret", "domain": {"name": "Default"}}, None, 401),
    "for another's project": (
        {"name": "operator", "password": "secret", "domain": {"name": "Default"}},
        {"name": "admin"},
        401,
    ),
}


@pytest.mark.parametrize(("user", "project", "status"), LOGINS.values(), ids=LOGINS.keys())
async def test_logging_in(bench: Bench, user: dict[str, Any], project: dict[str, Any] | None, status: int) -> None:
    auth: dict[str, Any] = {"identity": {"methods": ["password"], "password": {"user": user}}}
    if project:
        auth["scope"] = {"project": project | {"domain": {"name": "Default"}}}
    answer = await bench.client.post("/identity/v3/auth/tokens", json={"auth": auth})
    assert answer.status == status
    body = await answer.json()
    if status == 201 and project:
        assert {entry["type"] for entry in body["token"]["catalog"]} >= {"identity", "compute", "placement", "image"}
    if status == 401:
        assert body["error"]["code"] == 401


async def test_a_token_expires(bench: Bench) -> None:
    token = await bench.log_in("admin")
    bench.step(86401)
    answer = await bench.client.get("/compute/v2.1/servers", headers={"X-Auth-Token": token})
    assert answer.status == 401


async def test_candidates_are_the_hosts_with_room_and_the_wanted_traits(bench: Bench) -> None:
    hosts = bench.cloud.hosts
    body = await bench.placement("/allocation_candidates?resources=VCPU:1,MEMORY_MB:1024&required=HW_CPU_X86_AVX512F")
    names = {name for name, host in hosts.items() if host.uuid in body["provider_summaries"]}
    assert names == {"cmp1", "cmp2", "cmp4"}
    bench.cloud.set_disabled(hosts["cmp1"], True, None)
    path = "/allocation_candidates?resources=VCPU:1&required=!COMPUTE_STATUS_DISABLED"
    assert hosts["cmp1"].uuid not in (await bench.placement(path))["provider_summaries"]
    body = await bench.placement("/allocation_candidates?resources=VCPU:33")
    assert body == {"allocation_requests": [], "provider_summaries": {}}


async def test_placement_has_microversions_of_its_own(bench: Bench) -> None:
    for version, status in (("1.39", 200), ("1.40", 406), ("banana", 400)):
        headers = {"OpenStack-API-Version": f"placement {version}"}
        assert (await bench.raw("GET", "/placement/resource_providers", headers=headers)).status == status
    without = await (await bench.raw("GET", "/placement/allocation_candidates?resources=VCPU:1")).json()
    assert without["errors"][0]["status"] == 404
