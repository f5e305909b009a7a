"""What a host in maintenance needs of Nova and Placement: cordon, the witnesses of what is on it, late arrivals."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import pytest

from tests.simulator.bench import Bench, message


def service(bench: Bench, host: str = "cmp1") -> str:
    return f"/os-services/{bench.cloud.hosts[host].service_uuid}"


async def boot(bench: Bench, host: str | None = "cmp1", name: str = "late") -> str:
    """Asked for as a user would, without waiting."""
    wanted: dict[str, Any] = {
        "name": name,
        "flavorRef": next(one.id for one in bench.cloud.flavors.values() if one.name == "m1.tiny"),
        "imageRef": next(iter(bench.cloud.images)),
        "networks": "none",
    }
    status, body = await bench.nova("POST", "/servers", {"server": wanted | ({"host": host} if host else {})})
    assert status == 202, body
    return str(body["server"]["id"])


async def consumers(bench: Bench, host: str = "cmp1") -> set[str]:
    found = await bench.placement(f"/resource_providers/{bench.cloud.hosts[host].uuid}/allocations")
    return set(found["allocations"])


async def on_hypervisor(bench: Bench, host: str = "cmp1") -> set[str]:
    path = f"/os-hypervisors/{bench.cloud.hosts[host].uuid}?with_servers=true"
    return {one["uuid"] for one in (await bench.get(path, version="2.84"))["hypervisor"]["servers"]}


async def test_a_cordon_and_its_end(bench: Bench) -> None:
    await bench.nova("PUT", service(bench), {"forced_down": True})
    _, body = await bench.nova("PUT", service(bench), {"status": "disabled", "disabled_reason": "new fans"})
    shown = body["service"]
    assert (shown["status"], shown["disabled_reason"], shown["forced_down"]) == ("disabled", "new fans", True)
    _, body = await bench.nova("PUT", service(bench), {"status": "disabled"})
    assert body["service"]["disabled_reason"] is None, "a second one overwrites the reason"
    status, body = await bench.nova("PUT", service(bench), {"status": "enabled"})
    shown = body["service"]
    assert (status, shown["status"], shown["disabled_reason"], shown["forced_down"]) == (200, "enabled", None, True)
    assert (await bench.nova("PUT", service(bench), {"status": "enabled"}))[0] == 200, "once more is no error"


@dataclass(frozen=True)
class Row:
    body: dict[str, Any]
    status: int
    text: str
    service: str | None = None
    user: str = "admin"


LONG = "x" * 256
UNKNOWN = str(uuid.UUID(int=1))
REASON = "Invalid input for field/attribute disabled_reason. Value: "

ROWS = {
    "a reason without a cordon": Row(
        {"status": "enabled", "disabled_reason": "why"},
        400,
        "Specifying 'disabled_reason' with status 'enabled' is invalid.",
    ),
    "a reason that is too long": Row(
        {"status": "disabled", "disabled_reason": LONG}, 400, f"{REASON}{LONG}. '{LONG}' is too long"
    ),
    "an empty reason": Row({"status": "disabled", "disabled_reason": ""}, 400, f"{REASON}. '' should be non-empty"),
    "a reason that is none": Row(
        {"status": "disabled", "disabled_reason": None}, 400, f"{REASON}None. None is not of type 'string'"
    ),
    "another word": Row(
        {"status": "off"},
        400,
        "Invalid input for field/attribute status. Value: off. 'off' is not one of ['enabled', 'disabled']",
    ),
    "nothing at all": Row({}, 400, "No updates were requested. Fields 'status' or 'forced_down' should be specified."),
    "an unknown service": Row({"status": "disabled"}, 404, f"Service {UNKNOWN} could not be found.", service=UNKNOWN),
    "a service id that is none": Row({"status": "disabled"}, 400, "Invalid uuid 7", service="7"),
    "somebody who may not": Row(
        {"status": "disabled"},
        403,
        "Policy doesn't allow os_compute_api:os-services:update to be performed.",
        user="operator",
    ),
}


@pytest.mark.parametrize("sentence", ROWS)
async def test_it_refuses(bench: Bench, sentence: str) -> None:
    row = ROWS[sentence]
    path = f"/os-services/{row.service}" if row.service else service(bench)
    status, body = await bench.nova("PUT", path, row.body, user=row.user)
    assert (status, message(body)) == (row.status, row.text)
    assert not bench.cloud.hosts["cmp1"].disabled


async def test_the_longest_reason(bench: Bench) -> None:
    status, _ = await bench.nova("PUT", service(bench), {"status": "disabled", "disabled_reason": LONG[1:]})
    assert status == 200


async def test_nothing_new_is_placed_on_a_disabled_host(bench: Bench) -> None:
    for host in ("cmp1", "cmp2", "cmp3"):
        await bench.nova("PUT", service(bench, host), {"status": "disabled"})
    servers = [await boot(bench, None, f"s{number}") for number in range(4)]
    asked_for = await boot(bench, "cmp1")
    bench.step(5)
    assert {(await bench.show(server))["OS-EXT-SRV-ATTR:host"] for server in servers} == {"cmp4"}
    assert (await bench.show(asked_for))["status"] == "ERROR"
    await bench.nova("PUT", service(bench, "cmp1"), {"status": "enabled"})
    again = await boot(bench, "cmp1")
    bench.step(5)
    assert (await bench.show(again))["OS-EXT-SRV-ATTR:host"] == "cmp1"


async def test_what_is_on_a_host_shows_in_all_places(bench: Bench) -> None:
    running, stopped = await bench.server("cmp1"), await bench.server("cmp1", state="stopped")
    assert await on_hypervisor(bench) == await consumers(bench) == {running, stopped}
    listed = (await bench.get("/servers/detail?all_tenants=1&host=cmp1"))["servers"]
    assert {one["id"] for one in listed} == {running, stopped}
    assert await on_hypervisor(bench, "cmp2") == await consumers(bench, "cmp2") == set()


async def test_a_migration_shows_at_both_its_hosts_and_its_source_is_held_by_the_migration(bench: Bench) -> None:
    server = await bench.server("cmp1")
    await bench.live(server, "cmp2")
    bench.step(1)
    for host, seen in {"cmp1": [server], "cmp2": [server], "cmp3": []}.items():
        rows = (await bench.get(f"/os-migrations?host={host}"))["migrations"]
        assert [row["instance_uuid"] for row in rows] == seen
    row = await bench.migration(server)
    assert (await consumers(bench, "cmp1"), await consumers(bench, "cmp2")) == ({row["uuid"]}, {server})
    bench.step(10)
    assert (await consumers(bench, "cmp1"), await consumers(bench, "cmp2")) == (set(), {server})


async def test_a_build_held_before_it_is_on_the_host(bench: Bench) -> None:
    await bench.control("PUT", "/hosts/cmp1/knobs", {"hold_scheduled": True})
    server = await boot(bench)
    bench.step(60)
    shown = await bench.show(server)
    assert (shown["status"], shown["OS-EXT-SRV-ATTR:host"]) == ("BUILD", None)
    assert (await consumers(bench), await on_hypervisor(bench)) == ({server}, set())
    builds = (await bench.get("/servers/detail?all_tenants=1&status=BUILD"))["servers"]
    assert [one["id"] for one in builds] == [server]
    # a cordon does not stop what is scheduled already
    await bench.nova("PUT", service(bench), {"status": "disabled"})
    await bench.control("PUT", "/hosts/cmp1/knobs", {"hold_scheduled": None})
    bench.step(5)
    shown = await bench.show(server)
    assert (shown["status"], shown["OS-EXT-SRV-ATTR:host"]) == ("ACTIVE", "cmp1")
    assert await consumers(bench) == await on_hypervisor(bench) == {server}


async def test_a_build_held_on_the_host(bench: Bench) -> None:
    await bench.control("PUT", "/hosts/cmp1/knobs", {"hold_spawning": True})
    server = await boot(bench)
    bench.step(60)
    shown = await bench.show(server)
    assert (shown["status"], shown["OS-EXT-STS:task_state"]) == ("BUILD", "spawning")
    assert await on_hypervisor(bench) == {server}
    await bench.control("DELETE", "/knobs")
    bench.step(1)
    assert (await bench.show(server))["status"] == "ACTIVE"


async def test_a_held_build_that_is_deleted_gives_its_room_back(bench: Bench) -> None:
    await bench.control("PUT", "/hosts/cmp1/knobs", {"hold_scheduled": True})
    server = await boot(bench)
    bench.step(1)
    await bench.nova("DELETE", f"/servers/{server}")
    bench.step(1)
    await bench.control("DELETE", "/knobs")
    bench.step(5)
    assert await consumers(bench) == await on_hypervisor(bench) == set()


async def test_a_build_for_a_host_that_dies_waits_for_it(bench: Bench) -> None:
    await bench.control("POST", "/hosts/cmp1/kill")
    server = await boot(bench)
    bench.step(60)
    assert (await bench.show(server))["OS-EXT-SRV-ATTR:host"] is None
    assert await consumers(bench) == {server}
    await bench.control("POST", "/hosts/cmp1/start")
    bench.step(5)
    assert (await bench.show(server))["status"] == "ACTIVE"
