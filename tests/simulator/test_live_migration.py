"""Live migration: which pairs of hosts work, where the reason of a refusal is, the races, aborting and forcing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from tests.simulator.bench import Bench, message

NOT_ENOUGH = "No valid host was found. There are not enough hosts available."
TOO_OLD = "The instance requires a newer hypervisor version than has been provided."
TOP = "conductor_live_migrate_instance"
CHECK = "compute_check_can_live_migrate_destination"


@dataclass(frozen=True)
class Pair:
    source: str
    target: str | None
    status: str
    lands: str | None = None  # the host afterwards; None: it stays
    top: str | None = None  # the conductor's event
    check: str | None = None  # the start of the destination's event
    version: str = "2.100"
    force: bool = False


PAIRS = {
    "alike": Pair("cmp1", "cmp2", "completed", "cmp2"),
    "to a newer hypervisor": Pair("cmp1", "cmp4", "completed", "cmp4"),
    "from an older CPU": Pair("cmp3", "cmp1", "completed", "cmp1"),
    "to an older CPU": Pair(
        "cmp1", "cmp3", "error", None, NOT_ENOUGH, "Migration pre-check error: Unacceptable CPU info: CPU doesn't have"
    ),
    "to an older CPU, forced": Pair(
        "cmp1",
        "cmp3",
        "error",
        None,
        "Migration pre-check error: Unacceptable CPU info: CPU doesn't have",
        "Migration pre-check error: Unacceptable CPU info: CPU doesn't have",
        "2.67",
        force=True,
    ),
    "to an older hypervisor: the reason is nowhere": Pair("cmp4", "cmp1", "error", None, NOT_ENOUGH),
    "to an older hypervisor, forced: the reason shows": Pair(
        "cmp4", "cmp1", "error", None, TOO_OLD, None, "2.67", force=True
    ),
    "from a newer hypervisor to any": Pair("cmp4", None, "error", None, NOT_ENOUGH),
    "to the same host": Pair("cmp1", "cmp1", "error", None, NOT_ENOUGH),
}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS.keys())
async def test_a_live_migration(bench: Bench, pair: Pair) -> None:
    server = await bench.server(pair.source)
    more = {"force": True} if pair.force else {}
    assert (await bench.live(server, pair.target, version=pair.version, **more))[0] == 202
    bench.step(10)
    migration, shown, events = await bench.migration(server), await bench.show(server), await bench.events(server)
    assert migration["status"] == pair.status
    assert shown["status"] == "ACTIVE"
    assert shown["OS-EXT-STS:task_state"] is None
    assert "fault" not in shown
    assert shown["OS-EXT-SRV-ATTR:host"] == (pair.lands or pair.source)
    assert migration["dest_compute"] == (pair.lands or (pair.target if pair.force else None))
    assert (events[TOP]["details"] or "").startswith(pair.top or "")
    assert (events[TOP]["result"] == "Error") is (pair.top is not None)
    assert ((events.get(CHECK) or {}).get("details") or "").startswith(pair.check or "")


@dataclass(frozen=True)
class Trouble:
    """What is wrong with the target cmp2 or the source cmp1, and what the conductor's event says."""

    text: str
    dead: str | None = None
    put: dict[str, Any] | None = None  # on cmp2's service
    server: dict[str, Any] | None = None
    fill: bool = False


TROUBLES = {
    "the target is dead": Trouble(NOT_ENOUGH, dead="cmp2"),
    "the source is dead": Trouble("Compute service of cmp1 is unavailable at this time.", dead="cmp1"),
    "the target is disabled": Trouble("No valid host was found. ", put={"status": "disabled"}),
    "the target is forced down": Trouble(NOT_ENOUGH, put={"forced_down": True}),
    "the target has no room": Trouble("No valid host was found. ", fill=True),
    "the server is pinned to another zone": Trouble("No valid host was found. ", server={"zone": "elsewhere"}),
}


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES.keys())
async def test_a_live_migration_is_accepted_and_then_refused_when(bench: Bench, trouble: Trouble) -> None:
    server = await bench.server("cmp1", **(trouble.server or {}))
    if trouble.dead:
        await bench.kill(trouble.dead)
    if trouble.put:
        service = bench.cloud.hosts["cmp2"].service_uuid
        assert (await bench.nova("PUT", f"/os-services/{service}", trouble.put))[0] == 200
    if trouble.fill:
        bench.cloud.hosts["cmp2"].memory_mb = 512
    assert (await bench.live(server, "cmp2"))[0] == 202
    bench.step(1)
    assert (await bench.migration(server))["status"] == "error"
    assert (await bench.events(server))[TOP]["details"] == trouble.text
    assert bench.cloud.ledger.consumers[server].holds.keys() == {bench.cloud.hosts["cmp1"].uuid}


async def test_anti_affinity_holds_for_moves(bench: Bench) -> None:
    _, body = await bench.nova("POST", "/os-server-groups", {"server_group": {"name": "g", "policy": "anti-affinity"}})
    for host in ("cmp1", "cmp2"):
        server = await bench.server(host, group="g")
    assert len((await bench.get(f"/os-server-groups/{body['server_group']['id']}"))["server_group"]["members"]) == 2
    await bench.live(server, "cmp1")
    bench.step(1)
    assert (await bench.events(server))[TOP]["details"] == NOT_ENOUGH


STORAGE = {
    "shared disks are not copied by auto": ({}, "auto", "completed", None),
    "shared disks can not be copied": (
        {},
        True,
        "error",
        "cmp1 is not on local storage: Block migration can not be used with shared storage.",
    ),
    "local disks are copied by auto": ({"store": "local"}, "auto", "completed", None),
    "local disks must be copied": (
        {"store": "local"},
        False,
        "error",
        "cmp1 is not on shared storage: Shared storage live-migration requires either shared storage or "
        "boot-from-volume with no local disks.",
    ),
}


@pytest.mark.parametrize(("store", "block", "status", "text"), STORAGE.values(), ids=STORAGE.keys())
async def test_storage(bench: Bench, store: dict[str, str], block: object, status: str, text: str | None) -> None:
    if store:
        for host in bench.cloud.hosts.values():
            host.store = None
    server = await bench.server("cmp1")
    await bench.live(server, "cmp2", block_migration=block)
    bench.step(1)
    if status == "completed":
        (under_way,) = (await bench.get(f"/servers/{server}/migrations"))["migrations"]
        assert (under_way["disk_total_bytes"] > 0) is bool(store)
    bench.step(5)
    assert (await bench.migration(server))["status"] == status
    events = await bench.events(server)
    if text is not None:
        assert events["compute_check_can_live_migrate_source"]["details"] == text
        told = "Error while check_can_live_migrate_source from cmp1 to host cmp2: Invalid"
        assert events[CHECK]["details"].startswith(told)
        assert len(events[CHECK]["details"]) <= 255
    assert events[TOP]["details"] == (NOT_ENOUGH if text else None)


async def test_a_server_on_volumes_alone_needs_no_shared_store(bench: Bench) -> None:
    for host in bench.cloud.hosts.values():
        host.store = None
    server = await bench.server("cmp1", volume="new")
    shown = await bench.show(server)
    assert shown["image"] == ""
    assert len(shown["os-extended-volumes:volumes_attached"]) == 1
    assert "DISK_GB" not in bench.cloud.ledger.consumers[server].holds[bench.cloud.hosts["cmp1"].uuid]
    await bench.live(server, "cmp2", block_migration=False)
    bench.step(5)
    assert (await bench.migration(server))["status"] == "completed"


async def test_the_life_of_a_migration_with_its_races(bench: Bench) -> None:
    """Times are those of the settings: row 0.05, precheck 0.1, prepare 0.2, copy 1.5, post 0.1."""
    server = await bench.server("cmp1")
    await bench.live(server, "cmp2")
    rows, mine = f"/os-migrations?instance_uuid={server}", f"/servers/{server}/migrations"
    assert (await bench.get(rows))["migrations"] == []
    assert (await bench.show(server))["status"] == "MIGRATING"
    bench.step(0.06)
    assert (await bench.migration(server))["status"] == "accepted"
    assert (await bench.get(mine))["migrations"] == []
    bench.step(0.1)
    assert (await bench.migration(server))["status"] == "preparing"
    bench.step(0.2 + 0.75)
    (row,) = (await bench.get(mine))["migrations"]
    assert row["status"] == "running"
    assert row["memory_total_bytes"] == 2**30
    assert row["memory_processed_bytes"] == pytest.approx(2**29, rel=0.05)
    assert row["memory_processed_bytes"] + row["memory_remaining_bytes"] == 2**30
    assert row["disk_total_bytes"] == 0
    bench.step(0.75)
    shown = await bench.show(server)
    assert (shown["status"], shown["OS-EXT-STS:task_state"]) == ("ACTIVE", None)
    assert shown["OS-EXT-SRV-ATTR:host"] == "cmp2"
    assert (await bench.migration(server))["status"] == "running"
    bench.step(0.1)
    assert (await bench.migration(server))["status"] == "completed"
    assert (await bench.get(mine))["migrations"] == []


async def test_the_source_stays_reserved_under_the_migration_until_it_ends(bench: Bench) -> None:
    server = await bench.server("cmp1")
    hosts = bench.cloud.hosts
    await bench.live(server, "cmp2")
    bench.step(1)
    migration = await bench.migration(server)
    assert list((await bench.placement(f"/allocations/{server}"))["allocations"]) == [hosts["cmp2"].uuid]
    held = await bench.placement(f"/allocations/{migration['uuid']}")
    assert list(held["allocations"]) == [hosts["cmp1"].uuid]
    bench.step(5)
    assert (await bench.placement(f"/allocations/{migration['uuid']}"))["allocations"] == {}
    assert (await bench.placement(f"/resource_providers/{hosts['cmp1'].uuid}/usages"))["usages"]["VCPU"] == 0


async def test_the_third_of_three_waits_its_turn(bench: Bench) -> None:
    servers = [await bench.server("cmp1") for _ in range(3)]
    for server in servers:
        await bench.live(server, "cmp2")
    bench.step(1)
    assert [(await bench.migration(server))["status"] for server in servers] == ["running", "running", "queued"]
    bench.step(1.2)
    assert [(await bench.migration(server))["status"] for server in servers] == ["completed", "completed", "running"]


@pytest.mark.parametrize("status", ["queued", "preparing", "running"])
async def test_aborting(bench: Bench, status: str) -> None:
    await bench.control("PATCH", "/settings", {"nova": {"copy_failure": "rollback"}})
    servers = [await bench.server("cmp1") for _ in range(3)]
    for server in servers:
        await bench.live(server, "cmp2")
    bench.step(0.2 if status == "preparing" else 1)
    server = servers[2] if status == "queued" else servers[0]
    migration = await bench.migration(server)
    assert migration["status"] == status
    path = f"/servers/{server}/migrations/{migration['id']}"
    code, body = await bench.nova("DELETE", path, version="2.64")
    if status != "running":
        assert (code, message(body)) == (
            400,
            f"Migration {migration['id']} state of instance {server} is {status}. Cannot abort live migration while "
            "the migration is in this state.",
        )
        code, _ = await bench.nova("DELETE", path)
    assert code == 202
    bench.step(0.2)
    shown = await bench.show(server)
    assert (await bench.migration(server))["status"] == "cancelled"
    assert (shown["status"], shown["OS-EXT-SRV-ATTR:host"]) == ("ACTIVE", "cmp1")
    bench.step(10)
    assert (await bench.migration(server))["status"] == "cancelled"
    assert (await bench.migration(servers[1]))["status"] == "completed"


async def test_aborting_after_the_end(bench: Bench) -> None:
    server = await bench.server()
    await bench.live(server, "cmp2")
    bench.step(5)
    number = (await bench.migration(server))["id"]
    status, body = await bench.nova("DELETE", f"/servers/{server}/migrations/{number}")
    assert (status, message(body)) == (
        409,
        f"Instance {server} is in an invalid state for 'abort live migration'",
    )
    status, body = await bench.nova("POST", f"/servers/{server}/migrations/{number}/action", {"force_complete": None})
    assert (status, message(body)) == (
        409,
        f"Instance {server} is in an invalid state for 'force_complete'",
    )


async def test_one_that_never_converges_stays_at_ninety_percent_until_it_is_forced(bench: Bench) -> None:
    await bench.control("PUT", "/hosts/cmp1/knobs", {"never_converge": True})
    server = await bench.server("cmp1")
    await bench.live(server, "cmp2")
    bench.step(1000)
    (row,) = (await bench.get(f"/servers/{server}/migrations"))["migrations"]
    assert row["memory_processed_bytes"] == int(0.9 * 2**30)
    path = f"/servers/{server}/migrations/{row['id']}/action"
    assert (await bench.nova("POST", path, {"force_complete": None}))[0] == 202
    bench.step(1)
    assert (await bench.migration(server))["status"] == "completed"


async def test_a_queued_one_can_not_be_forced(bench: Bench) -> None:
    servers = [await bench.server("cmp1") for _ in range(3)]
    for server in servers:
        await bench.live(server, "cmp2")
    bench.step(1)
    number = (await bench.migration(servers[2]))["id"]
    path = f"/servers/{servers[2]}/migrations/{number}/action"
    status, body = await bench.nova("POST", path, {"force_complete": None})
    assert (status, message(body)) == (
        400,
        f"Migration {number} state of instance {servers[2]} is queued. Cannot force complete while the migration is in "
        "this state.",
    )


@pytest.mark.parametrize(
    ("outcome", "status", "server_status"), [("rollback", "failed", "ACTIVE"), ("error", "error", "ERROR")]
)
async def test_a_copy_that_fails_tells_nobody_why(outcome: str, status: str, server_status: str) -> None:
    bench = await Bench.open(settings={"nova": {"copy_failure": outcome}})
    try:
        await bench.control("PUT", "/hosts/cmp1/knobs", {"fail_live_at": 0.5, "live_seconds": 2})
        server = await bench.server("cmp1")
        await bench.live(server, "cmp2")
        bench.step(1)
        assert (await bench.migration(server))["status"] == "running"
        bench.step(0.4)
        assert (await bench.migration(server))["status"] == "failed"
        bench.step(0.4)
        shown = await bench.show(server)
        assert (await bench.migration(server))["status"] == status
        assert (shown["status"], shown["OS-EXT-SRV-ATTR:host"]) == (server_status, "cmp1")
        assert not any(event["details"] for event in (await bench.events(server)).values())
    finally:
        await bench.close()


async def test_with_nova_33_an_aborted_copy_is_cancelled_and_then_an_error() -> None:
    bench = await Bench.open(settings={"nova": {"copy_failure": "error"}})
    try:
        server = await bench.server("cmp1")
        await bench.live(server, "cmp2")
        bench.step(1)
        await bench.nova("DELETE", f"/servers/{server}/migrations/{(await bench.migration(server))['id']}")
        bench.step(0.15)
        assert (await bench.migration(server))["status"] == "cancelled"
        bench.step(0.1)
        assert (await bench.migration(server))["status"] == "error"
        assert (await bench.show(server))["status"] == "ERROR"
    finally:
        await bench.close()


async def test_a_failure_to_prepare_shows_in_its_event(bench: Bench) -> None:
    await bench.control("PUT", "/hosts/cmp1/knobs", {"fail_pre_live": "no bridge br-ex"})
    server = await bench.server("cmp1")
    await bench.live(server, "cmp2")
    bench.step(1)
    assert (await bench.migration(server))["status"] == "failed"
    assert (await bench.events(server))["compute_pre_live_migration"]["details"] == "no bridge br-ex"


async def test_below_2_34_the_checks_run_inside_the_call(bench: Bench) -> None:
    server = await bench.server("cmp4")
    status, body = await bench.live(server, "cmp1", version="2.33")
    assert (status, message(body)) == (400, NOT_ENOUGH)
    status, body = await bench.live(server, "cmp1", version="2.33", force=True)
    assert (status, message(body)) == (400, TOO_OLD)
    status, body = await bench.live(server, "cmp1", version="2.29")
    assert (status, message(body)) == (400, TOO_OLD)


async def test_a_full_disk_is_noticed_only_where_the_caller_says_how(bench: Bench) -> None:
    for host in bench.cloud.hosts.values():
        host.store = None
    await bench.control("PUT", "/hosts/cmp2/knobs", {"disk_used_gb": 400})
    server = await bench.server("cmp1")
    status, body = await bench.act(
        server,
        "os-migrateLive",
        {"host": "cmp2", "block_migration": True, "disk_over_commit": False},
        version="2.24",
    )
    assert status == 400
    assert "Disk of instance is too large(available on destination host:0 < need:" in message(body)
    await bench.live(server, "cmp2")
    bench.step(5)
    assert (await bench.migration(server))["status"] == "completed"


async def test_a_source_that_dies_and_returns_forgets_its_migration(bench: Bench) -> None:
    server = await bench.server("cmp1")
    await bench.live(server, "cmp2")
    bench.step(1)
    await bench.kill("cmp1")
    bench.step(100)
    assert (await bench.migration(server))["status"] == "running"
    await bench.control("POST", "/hosts/cmp1/start")
    bench.step(1)
    shown = await bench.show(server)
    assert (await bench.migration(server))["status"] == "error"
    assert (shown["status"], shown["OS-EXT-STS:task_state"], shown["OS-EXT-SRV-ATTR:host"]) == ("ACTIVE", None, "cmp1")


async def test_of_several_hosts_tried_only_one_event_holds_the_text(bench: Bench) -> None:
    for name in ("cmp2", "cmp4"):
        bench.cloud.hosts[name].cpu = bench.cloud.hosts["cmp3"].cpu
    server = await bench.server("cmp1")
    await bench.live(server)
    bench.step(1)
    action = (await bench.get(f"/servers/{server}/os-instance-actions"))["instanceActions"][0]
    path = f"/servers/{server}/os-instance-actions/{action['request_id']}"
    checks = [event for event in (await bench.get(path))["instanceAction"]["events"] if event["event"] == CHECK]
    assert len(checks) == 3
    assert sum(event["details"] is not None for event in checks) == 1
