"""Cold migrations, their confirmation, and resizes of others that look alike."""

from __future__ import annotations

import pytest

from testbed.processes import wait_for
from testbed.tenant import Tenant
from tests.contract.conftest import Boot
from tests.contract.looks import SECONDS, Looks
from vmferry.cloud.actions import ColdMigrate, ConfirmResize, StartServer, StopServer
from vmferry.cloud.model import NOVA_TYPE, MigrationStage, ResolvedType
from vmferry.cloud.nova import NovaClient


@pytest.mark.parametrize("before", ["ACTIVE", "SHUTOFF"])
def test_it_waits_for_its_confirmation_and_returns_to_what_it_was(
    before: str, client: NovaClient, boot: Boot, looks: Looks
) -> None:
    """I7: the record is of type migration, ours, and the flavor is the same before and after."""
    server = boot("cmp1")
    if before == "SHUTOFF":
        looks.accepted(StopServer(server))
        assert looks.idle(server, "SHUTOFF").power_state == 4
    request = looks.accepted(ColdMigrate(server, "cmp2"))
    finished = looks.newest(server, "finished")
    assert finished.stage is MigrationStage.FINISHED
    assert finished.open
    assert finished.type == NOVA_TYPE[ResolvedType.COLD]
    assert (finished.source_host, finished.target_host, finished.user_id) == ("cmp1", "cmp2", client.user_id)
    assert finished.old_flavor_id == finished.new_flavor_id
    waiting = looks.idle(server, "VERIFY_RESIZE")
    assert (waiting.vm_state, waiting.host) == ("resized", "cmp2")
    assert looks.action(server, request).action == "migrate"

    looks.accepted(ConfirmResize(server))
    assert looks.newest(server, "confirmed").stage is MigrationStage.GOOD
    assert looks.idle(server, before).host == "cmp2"
    if before == "SHUTOFF":
        looks.accepted(StartServer(server))
        assert looks.idle(server).power_state == 1


def test_without_a_valid_host_it_stays_as_it_was(boot: Boot, looks: Looks, admin: Tenant, client: NovaClient) -> None:
    server = boot("cmp1")
    admin.disable_host("cmp2")
    try:
        wait_for(lambda: "COMPUTE_STATUS_DISABLED" in client.hosts()["cmp2"].traits, SECONDS, "the trait")
        request = looks.accepted(ColdMigrate(server, "cmp2"))
        looks.newest(server, "error")
        assert "No valid host" in looks.details(server, request, "cold_migrate")
        found = looks.idle(server)
        assert (found.host, found.fault) == ("cmp1", None)
    finally:
        admin.enable_host("cmp2")
    wait_for(
        lambda: "COMPUTE_STATUS_DISABLED" not in client.hosts()["cmp2"].traits, SECONDS, "cmp2 enabled in Placement"
    )


def test_a_users_resize_is_of_another_type(boot: Boot, looks: Looks, admin: Tenant) -> None:
    """I7: nobody may take it for a migration of ours."""
    server = boot("cmp1")
    admin.resize(server, "m1.small")
    record = looks.newest(server, "finished")
    assert record.type == "resize"
    assert record.old_flavor_id != record.new_flavor_id


def test_neither_cpu_nor_version_is_checked(boot: Boot, looks: Looks) -> None:
    """R12 to R14 are stricter than Nova, on purpose: from the newest hypervisor to the oldest CPU."""
    server = boot("cmp4")
    looks.accepted(ColdMigrate(server, "cmp3"))
    looks.newest(server, "finished")
    assert looks.idle(server, "VERIFY_RESIZE").host == "cmp3"
