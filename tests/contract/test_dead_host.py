"""A host whose nova-compute is dead, and evacuation from it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from testbed.cloud import CloudLab
from testbed.processes import wait_for
from testbed.tenant import Tenant
from tests.contract.conftest import Boot
from tests.contract.looks import SECONDS, Looks
from vmferry.cloud.actions import ColdMigrate, Evacuate, LiveMigrate, Refused
from vmferry.cloud.model import NOVA_TYPE, MigrationStage, ResolvedType
from vmferry.cloud.nova import NovaClient

CONDUCTOR = "conductor_live_migrate_instance"


@pytest.fixture(scope="module")
def victims(admin: Tenant) -> Iterator[list[str]]:
    """Two servers on cmp4, the second one stopped; booted before the host dies."""
    servers = [admin.boot(f"victim-{number}", "cmp4") for number in (1, 2)]
    admin.stop(servers[1])
    yield servers
    admin.delete(*servers)


# `victims` before `dead_host` in every test: pytest makes them in this order


def test_it_is_down_but_enabled_and_keeps_its_resources(victims: list[str], dead_host: str, client: NovaClient) -> None:
    host = client.hosts()[dead_host]
    assert (host.service.up, host.service.enabled, host.service.forced_down) == (False, True, False)
    assert host.service.last_seen is not None
    assert (client.cloud_time() - host.service.last_seen).total_seconds() > 5
    assert host.inventories is not None
    server = client.server(victims[0])
    assert server is not None
    assert (server.status, server.host) == ("ACTIVE", dead_host), "Nova's word on the server does not change"


def test_a_live_migration_from_it_is_taken_and_fails(victims: list[str], dead_host: str, looks: Looks) -> None:
    request = looks.accepted(LiveMigrate(victims[0], "cmp1"))
    looks.newest(victims[0], "error")
    text = looks.details(victims[0], request, CONDUCTOR)
    assert re.search(r"Compute service of cmp4 is unavailable at this time\.", text)
    assert looks.idle(victims[0]).host == dead_host


def test_a_live_migration_to_it_is_taken_and_fails(
    victims: list[str], dead_host: str, boot: Boot, looks: Looks
) -> None:
    server = boot("cmp1")
    request = looks.accepted(LiveMigrate(server, dead_host))
    looks.newest(server, "error")
    assert looks.details(server, request, CONDUCTOR)
    assert looks.idle(server).host == "cmp1"


def test_a_cold_migration_from_it_is_refused(victims: list[str], dead_host: str, client: NovaClient) -> None:
    outcome = client.act(ColdMigrate(victims[1], "cmp1"))
    assert isinstance(outcome, Refused)
    assert (outcome.code, outcome.message) == (409, "Service is unavailable at this time.")


def test_evacuated_servers_end_stopped_and_the_records_complete_when_the_host_is_back(
    victims: list[str], dead_host: str, client: NovaClient, looks: Looks, lab: CloudLab
) -> None:
    """`done` is good already: the server runs elsewhere, only the source's copy is not cleaned up yet."""
    requests = [looks.accepted(Evacuate(server, "cmp1")) for server in victims]
    for server, request in zip(victims, requests, strict=True):
        record = looks.newest(server, "done")
        assert record.stage is MigrationStage.GOOD
        assert record.type == NOVA_TYPE[ResolvedType.EVACUATE]
        assert (record.source_host, record.target_host, record.user_id) == (dead_host, "cmp1", client.user_id)
        assert looks.idle(server, "SHUTOFF" if client.evacuated_stay_stopped else "ACTIVE").host == "cmp1"
        assert looks.action(server, request).action == "evacuate"
    lab.start_compute(dead_host)
    for server in victims:
        assert looks.newest(server, "completed").stage is MigrationStage.GOOD
    assert client.hosts()[dead_host].service.up


def test_a_forced_down_host_counts_as_down_although_it_lives(
    boot: Boot, client: NovaClient, admin: Tenant, looks: Looks
) -> None:
    """I12: Nova does not protect a live host that somebody forced down, so the flag has to be seen."""
    admin.force_down("cmp3")
    try:
        service = client.hosts()["cmp3"].service
        assert (service.up, service.forced_down) == (False, True)
    finally:
        admin.force_down("cmp3", False)
    wait_for(lambda: client.hosts()["cmp3"].service.up, SECONDS, "cmp3 to be up")
