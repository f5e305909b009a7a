"""Cold migration, evacuation, and what a host's death and return mean for both."""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulator.bench import Bench, message


async def test_a_cold_migration_waits_for_its_confirmation(bench: Bench) -> None:
    server = await bench.server("cmp1")
    assert await bench.act(server, "migrate", {"host": "cmp3"}) == (202, None)
    assert (await bench.show(server))["status"] == "RESIZE"
    bench.step(5)
    shown, migration = await bench.show(server), await bench.migration(server)
    assert (shown["status"], shown["OS-EXT-SRV-ATTR:host"]) == ("VERIFY_RESIZE", "cmp3")
    assert (migration["migration_type"], migration["status"], migration["dest_compute"]) == (
        "migration",
        "finished",
        "cmp3",
    )
    assert await bench.act(server, "confirmResize") == (204, None)
    assert (await bench.migration(server))["status"] == "confirming"
    bench.step(0.25)
    assert (await bench.migration(server))["status"] == "confirmed"
    assert (await bench.show(server))["status"] == "VERIFY_RESIZE"
    bench.step(0.1)
    assert (await bench.show(server))["status"] == "ACTIVE"


async def test_a_stopped_server_is_stopped_again_after_a_cold_migration(bench: Bench) -> None:
    server = await bench.server("cmp1", state="stopped")
    await bench.act(server, "migrate")
    bench.step(5)
    assert (await bench.show(server))["OS-EXT-STS:power_state"] == 4
    await bench.act(server, "confirmResize")
    bench.step(1)
    assert (await bench.show(server))["status"] == "SHUTOFF"


async def test_a_reverted_one_is_back_where_it_was_and_holds_nothing_else(bench: Bench) -> None:
    server = await bench.server("cmp1")
    await bench.act(server, "migrate", {"host": "cmp2"})
    bench.step(5)
    assert await bench.act(server, "revertResize") == (202, None)
    assert (await bench.show(server))["status"] == "REVERT_RESIZE"
    bench.step(1)
    shown = await bench.show(server)
    assert (shown["status"], shown["OS-EXT-SRV-ATTR:host"]) == ("ACTIVE", "cmp1")
    assert (await bench.migration(server))["status"] == "reverted"
    assert bench.cloud.ledger.consumers[server].holds.keys() == {bench.cloud.hosts["cmp1"].uuid}


async def test_cold_migration_asks_neither_cpu_nor_hypervisor(bench: Bench) -> None:
    server = await bench.server("cmp4")
    await bench.act(server, "migrate", {"host": "cmp3"})
    bench.step(5)
    assert (await bench.show(server))["OS-EXT-SRV-ATTR:host"] == "cmp3"


async def test_a_cold_migration_without_a_host_leaves_the_server_as_it_was(bench: Bench) -> None:
    server = await bench.server("cmp1")
    bench.cloud.hosts["cmp2"].disabled = True
    await bench.act(server, "migrate", {"host": "cmp2"})
    bench.step(1)
    shown = await bench.show(server)
    assert (shown["status"], "fault" in shown) == ("ACTIVE", False)
    assert (await bench.migration(server))["status"] == "error"
    details = (await bench.events(server))["cold_migrate"]["details"]
    assert details == "No valid host was found. No valid host found for cold migrate"


async def test_a_cold_migration_that_fails_on_its_host_leaves_error_and_a_fault(bench: Bench) -> None:
    await bench.control("PUT", "/hosts/cmp1/knobs", {"fail_cold": "disk full"})
    server = await bench.server("cmp1")
    await bench.act(server, "migrate")
    bench.step(5)
    shown = await bench.show(server)
    assert (shown["status"], shown["fault"]["message"], shown["fault"]["code"]) == ("ERROR", "disk full", 500)
    assert (await bench.migration(server))["status"] == "error"


async def test_a_resize_changes_the_flavor_and_its_share_of_the_host(bench: Bench) -> None:
    server = await bench.server("cmp1")
    large = next(flavor.id for flavor in bench.cloud.flavors.values() if flavor.name == "m1.large")
    await bench.act(server, "resize", {"flavorRef": large})
    bench.step(5)
    await bench.act(server, "confirmResize")
    bench.step(1)
    shown = await bench.show(server)
    assert shown["flavor"]["original_name"] == "m1.large"
    (held,) = bench.cloud.ledger.consumers[server].holds.values()
    assert held == {"VCPU": 4, "MEMORY_MB": 8192, "DISK_GB": 40}


@pytest.mark.parametrize(
    ("version", "state", "status"),
    [
        ("2.95", "active", "SHUTOFF"),
        ("2.95", "error", "ACTIVE"),
        ("2.94", "active", "ACTIVE"),
        ("2.94", "stopped", "SHUTOFF"),
        ("2.94", "error", "ACTIVE"),
    ],
)
async def test_an_evacuated_server_ends(bench: Bench, version: str, state: str, status: str) -> None:
    server = await bench.server("cmp1", state=state)
    await bench.kill("cmp1")
    assert await bench.act(server, "evacuate", {"host": "cmp2"}, version=version) == (200, None)
    assert (await bench.show(server))["status"] == "REBUILD"
    bench.step(5)
    shown, migration = await bench.show(server), await bench.migration(server)
    assert (shown["status"], shown["OS-EXT-SRV-ATTR:host"]) == (status, "cmp2")
    assert (migration["migration_type"], migration["status"]) == ("evacuation", "done")


async def test_a_source_that_returns_completes_its_evacuations_and_may_then_be_forced_up(bench: Bench) -> None:
    server = await bench.server("cmp1")
    await bench.kill("cmp1")
    await bench.act(server, "evacuate", {})
    bench.step(5)
    host = bench.cloud.hosts["cmp1"]
    assert len(bench.cloud.ledger.consumers[server].holds) == 2
    await bench.nova("PUT", f"/os-services/{host.service_uuid}", {"forced_down": True})
    status, body = await bench.nova("PUT", f"/os-services/{host.service_uuid}", {"forced_down": False})
    assert (status, message(body)) == (
        400,
        "Unable to force up host cmp1 as `done` evacuation migration records remain associated with the host. Ensure "
        "the compute service has been restarted, allowing these records to move to `completed` before retrying this "
        "request.",
    )
    await bench.control("POST", "/hosts/cmp1/start")
    bench.step(1)
    assert (await bench.migration(server))["status"] == "completed"
    assert len(bench.cloud.ledger.consumers[server].holds) == 1
    status, _ = await bench.nova("PUT", f"/os-services/{host.service_uuid}", {"forced_down": False})
    assert status == 200


async def test_a_host_may_be_forced_up_once_the_servers_evacuated_from_it_are_deleted(bench: Bench) -> None:
    server = await bench.server("cmp1")
    service = f"/os-services/{bench.cloud.hosts['cmp1'].service_uuid}"
    await bench.nova("PUT", service, {"forced_down": True})
    await bench.act(server, "evacuate", {})
    bench.step(5)
    assert (await bench.nova("PUT", service, {"forced_down": False}))[0] == 400
    await bench.nova("DELETE", f"/servers/{server}")
    bench.step(1)
    assert (await bench.nova("PUT", service, {"forced_down": False}))[0] == 200


async def test_an_evacuation_that_finds_no_host_leaves_error(bench: Bench) -> None:
    server = await bench.server("cmp1")
    for name in ("cmp2", "cmp3", "cmp4"):
        bench.cloud.hosts[name].disabled = True
    await bench.kill("cmp1")
    await bench.act(server, "evacuate", {})
    bench.step(1)
    shown = await bench.show(server)
    assert (await bench.migration(server))["status"] == "error"
    assert (shown["status"], shown["fault"]["message"]) == (
        "ERROR",
        "No valid host was found. There are not enough hosts available.",
    )


async def test_forced_down_on_a_living_host_lets_it_be_evacuated(bench: Bench) -> None:
    server = await bench.server("cmp1")
    path = f"/os-services/{bench.cloud.hosts['cmp1'].service_uuid}"
    _, body = await bench.nova("PUT", path, {"forced_down": True})
    assert (body["service"]["state"], body["service"]["forced_down"]) == ("down", True)
    assert (await bench.act(server, "evacuate", {}))[0] == 200


async def test_a_killed_host_is_down_only_after_the_service_down_time(bench: Bench) -> None:
    async def states() -> dict[str, Any]:
        services = (await bench.get("/os-services?binary=nova-compute"))["services"]
        return {service["host"]: service["state"] for service in services}

    await bench.control("POST", "/hosts/cmp2/kill")
    bench.step(5)
    assert await states() == dict.fromkeys(("cmp1", "cmp2", "cmp3", "cmp4"), "up")
    bench.step(4)
    assert (await states())["cmp2"] == "down"
    await bench.control("POST", "/hosts/cmp2/start")
    assert (await states())["cmp2"] == "down"
    bench.step(1)
    assert (await states())["cmp2"] == "up"


async def test_what_is_asked_of_a_dead_host_happens_when_it_returns(bench: Bench) -> None:
    server = await bench.server("cmp1")
    await bench.kill("cmp1")
    assert (await bench.act(server, "os-stop"))[0] == 202
    bench.step(60)
    assert (await bench.show(server))["OS-EXT-STS:task_state"] == "powering-off"
    await bench.control("POST", "/hosts/cmp1/start")
    bench.step(1)
    assert (await bench.show(server))["status"] == "SHUTOFF"


async def test_a_dead_host_cannot_write_its_trait_so_placement_still_offers_it(bench: Bench) -> None:
    path = f"/resource_providers/{bench.cloud.hosts['cmp1'].uuid}/traits"
    await bench.kill("cmp1")
    await bench.nova("PUT", f"/os-services/{bench.cloud.hosts['cmp1'].service_uuid}", {"status": "disabled"})
    assert "COMPUTE_STATUS_DISABLED" not in (await bench.placement(path))["traits"]
    await bench.control("POST", "/hosts/cmp1/start")
    bench.step(1)
    assert "COMPUTE_STATUS_DISABLED" in (await bench.placement(path))["traits"]
