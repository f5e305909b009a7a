"""A host is taken out of service and given back; who is on it, and on the way to it, is seen from every side."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator

import pytest

from testbed.cloud import CloudLab
from testbed.processes import wait_for
from testbed.tenant import Tenant
from tests.contract.conftest import Boot
from tests.contract.looks import SECONDS, Looks
from vmferry.cloud.actions import Accepted, DisableService, EnableService, LiveMigrate, Refused
from vmferry.cloud.model import HostLook
from vmferry.cloud.nova import NovaClient
from vmferry.cloud.observer import Observer

REASON = "vmferry maintenance 6f0e2c1a-contract"


@pytest.fixture
def host(admin: Tenant) -> Iterator[str]:
    """cmp2, in service again after the test whatever happened."""
    yield "cmp2"
    if admin.service("cmp2")["status"] != "enabled":
        admin.enable_host("cmp2")


def look(client: NovaClient, host: str) -> HostLook:
    return client.host_look(host)[0]


def service_id(client: NovaClient, host: str) -> str:
    found = client.service(host)
    assert found is not None
    return found.id


def test_a_cordon_shows_with_its_reason_and_is_gone_after_its_end(client: NovaClient, host: str, looks: Looks) -> None:
    ours = service_id(client, host)
    looks.accepted(DisableService(ours, host, REASON))
    service = look(client, host).service
    assert service is not None
    assert (service.id, service.host, service.enabled, service.disabled_reason) == (ours, host, False, REASON)
    assert (service.up, service.forced_down) == (True, False), "a cordon does not take a host down"
    looks.accepted(EnableService(ours, host))
    service = look(client, host).service
    assert service is not None
    assert (service.enabled, service.disabled_reason, service.forced_down) == (True, None, False)


def test_both_are_taken_again_where_they_hold_already(client: NovaClient, host: str, looks: Looks) -> None:
    """An answer that was lost may be followed by the same request: unlike a move it does no harm twice."""
    ours = service_id(client, host)
    for _ in range(2):
        looks.accepted(DisableService(ours, host, REASON))
    for _ in range(2):
        looks.accepted(EnableService(ours, host))


def test_the_end_of_a_cordon_leaves_a_forced_down_mark(
    client: NovaClient, host: str, looks: Looks, admin: Tenant
) -> None:
    """I8, I11."""
    ours = service_id(client, host)
    admin.force_down(host)
    try:
        looks.accepted(DisableService(ours, host, REASON))
        looks.accepted(EnableService(ours, host))
        service = client.service(host)
        assert service is not None
        assert (service.enabled, service.forced_down) == (True, True)
    finally:
        admin.force_down(host, False)
    wait_for(lambda: admin.service(host)["state"] == "up", SECONDS, f"{host} to be up")


def test_a_reason_is_bounded(client: NovaClient, host: str, looks: Looks) -> None:
    ours = service_id(client, host)
    outcome = client.act(DisableService(ours, host, "x" * 256))
    assert isinstance(outcome, Refused)
    assert outcome.code == 400
    assert outcome.message.endswith("is too long")
    looks.accepted(DisableService(ours, host, "x" * 255))


def test_an_unknown_service_is_refused(client: NovaClient) -> None:
    unknown = str(uuid.uuid4())
    for action in (DisableService(unknown, "nope", REASON), EnableService(unknown, "nope")):
        outcome = client.act(action)
        assert isinstance(outcome, Refused)
        assert (outcome.code, outcome.message) == (404, f"Service {unknown} could not be found.")


def test_a_host_that_nobody_knows_is_looked_at_in_vain(client: NovaClient) -> None:
    found = look(client, "nope")
    assert (found.service, found.servers, found.migrations) == (None, frozenset(), ())
    assert (found.on_hypervisor, found.allocated) == (None, None)


def test_whoever_may_not_is_refused_and_sees_nothing(lab: CloudLab, client: NovaClient, host: str) -> None:
    other = NovaClient("tenant", clouds_yaml=lab.clouds_yaml)
    other.connect()
    outcome = other.act(DisableService(service_id(client, host), host, REASON))
    assert isinstance(outcome, Refused)
    assert outcome.code == 403
    service = client.service(host)
    assert service is not None
    assert service.enabled


def test_a_move_is_seen_from_both_hosts_and_the_source_is_empty_after_it(
    client: NovaClient, boot: Boot, admin: Tenant, lab: CloudLab, looks: Looks
) -> None:
    before = look(client, "cmp2")
    running, stopped = boot("cmp2", "running"), boot("cmp2", "stopped")
    admin.stop(stopped)
    found, servers = client.host_look("cmp2")
    here = before.servers | {running, stopped}
    assert found.servers == found.on_hypervisor == here
    assert found.allocated is not None
    assert {running, stopped} <= found.allocated
    assert {running, stopped} <= {one.id for one in servers}
    assert found.migrations == ()
    assert {running, stopped}.isdisjoint(look(client, "cmp1").servers)

    lab.knob("cmp2", live_seconds=8)
    looks.accepted(LiveMigrate(running, "cmp1"))
    record = looks.newest(running, "running")
    for name in ("cmp1", "cmp2"):
        assert [one.uuid for one in look(client, name).migrations] == [record.uuid]
    assert look(client, "cmp3").migrations == ()
    coming = look(client, "cmp1").allocated
    assert coming is not None
    assert running in coming, "the target's room is taken from the beginning"
    looks.newest(running, "completed")
    assert looks.idle(running).host == "cmp1"

    admin.delete(stopped)
    empty = look(client, "cmp2")
    assert (empty.servers, empty.on_hypervisor, empty.migrations) == (before.servers, before.on_hypervisor, ())
    wait_for(lambda: look(client, "cmp2").allocated == before.allocated, SECONDS, "the source's room to be given back")
    arrived = look(client, "cmp1")
    assert arrived.on_hypervisor is not None
    assert running in arrived.servers & arrived.on_hypervisor
    assert arrived.migrations == ()


async def test_the_shared_view_shows_a_host_action_without_waiting_for_a_poll(client: NovaClient, host: str) -> None:
    observer = Observer(client)
    try:
        service = (await observer.read_once()).hosts[host].service
        assert service.enabled
        assert isinstance(await observer.act(DisableService(service.id, host, REASON)), Accepted)
        service = observer.snapshot.hosts[host].service
        assert (service.enabled, service.disabled_reason) == (False, REASON)
        found = await observer.host_look(host)
        assert found.service == service
        assert found.on_hypervisor is not None
        assert found.allocated is not None
        assert isinstance(await observer.act(EnableService(service.id, host)), Accepted)
        service = observer.snapshot.hosts[host].service
        assert (service.enabled, service.disabled_reason) == (True, None)
    finally:
        await observer.stop()


async def test_a_build_without_a_host_is_in_the_view_and_its_room_in_the_look(
    client: NovaClient, lab: CloudLab, boot: Boot, admin: Tenant
) -> None:
    """The late arrival (I20): scheduled before the cordon, it lands on the host when its nova-compute takes it."""
    observer = Observer(client)
    await observer.read_once()
    await asyncio.to_thread(lab.kill_compute, "cmp4")
    try:
        # the host counts as up for some seconds more
        server = await asyncio.to_thread(boot, "cmp4", "late", wait=False)
        await asyncio.to_thread(
            wait_for, lambda: server in (look(client, "cmp4").allocated or ()), SECONDS, "the build to have room"
        )
        found = await observer.host_look("cmp4")
        assert found.on_hypervisor is not None
        assert server not in found.servers | found.on_hypervisor
        seen = observer.snapshot.servers[server]
        assert (seen.status, seen.vm_state, seen.host) == ("BUILD", "building", None)
        # nobody touches its record any more; polls bring it all the same
        assert server in {one.id for one in client.servers(client.cloud_time())[0]}
    finally:
        await asyncio.to_thread(lab.start_compute, "cmp4")
        await observer.stop()
    await asyncio.to_thread(admin.wait_for_status, server, "ACTIVE")
    found = look(client, "cmp4")
    assert found.on_hypervisor is not None
    assert server in found.servers & found.on_hypervisor
