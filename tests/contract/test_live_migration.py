"""Live migrations from the request to the end, good and bad."""

from __future__ import annotations

import pytest

from testbed.cloud import CloudLab
from testbed.processes import wait_for
from testbed.tenant import Tenant
from tests.contract.conftest import Boot
from tests.contract.looks import SECONDS, Looks
from vmferry.cloud.actions import AbortMigration, ForceComplete, LiveMigrate, NotNow, Refused
from vmferry.cloud.model import NOVA_TYPE, MigrationStage, ResolvedType
from vmferry.cloud.nova import NovaClient

CHECK = "compute_check_can_live_migrate_destination"
CONDUCTOR = "conductor_live_migrate_instance"


def test_it_completes_and_every_record_is_ours(client: NovaClient, boot: Boot, looks: Looks, lab: CloudLab) -> None:
    """I5: the record is good and the server is there; progress shows while it copies, and only then."""
    server = boot("cmp1")
    lab.knob("cmp1", live_seconds=3)
    request = looks.accepted(LiveMigrate(server, "cmp2"))
    running = looks.newest(server, "running")
    assert running.type == NOVA_TYPE[ResolvedType.LIVE]
    assert running.stage is MigrationStage.IN_FLIGHT
    assert (running.source_host, running.target_host) == ("cmp1", "cmp2")
    assert running.user_id == client.user_id
    assert running.old_flavor_id == running.new_flavor_id

    progress = wait_for(lambda: client.progress(server, running.id), SECONDS, "progress")
    assert progress is not None
    wait_for(lambda: (p := client.progress(server, running.id)) is None or p.memory_total_bytes, SECONDS, "bytes")

    ended = looks.newest(server, "completed")
    assert (ended.id, ended.uuid) == (running.id, running.uuid)
    assert ended.stage is MigrationStage.GOOD
    assert client.progress(server, ended.id) is None
    assert looks.server(server, lambda s: s.host == "cmp2" and s.task_state is None, "the server on cmp2").fault is None
    action = looks.action(server, request)
    assert action.action == "live-migration"
    assert action.user_id == client.user_id
    assert action.started_at is not None
    assert {event.result for event in action.events} == {"Success"}
    assert CHECK in {event.name for event in action.events}


def test_an_aborted_one_ends_and_the_server_stays(client: NovaClient, boot: Boot, looks: Looks, lab: CloudLab) -> None:
    """I9. On the way, a second request is refused by the task.

    Nova 33 rolls back, writes `cancelled`, then collects the copy's result, which libvirt gives as an error, and so
    ends with `error` and a server in ERROR that runs on all the same. Older ones leave `cancelled` and ACTIVE.
    """
    server = boot("cmp1")
    lab.knob("cmp1", never_converge=True)
    looks.accepted(LiveMigrate(server, "cmp2"))
    running = looks.newest(server, "running")
    second = client.act(LiveMigrate(server, "cmp3"))
    assert isinstance(second, NotNow)
    assert second.message.endswith("while it is in task_state migrating")

    looks.accepted(AbortMigration(server, running.id))
    assert looks.newest(server, "cancelled", "error").stage is MigrationStage.BAD
    found = looks.server(server, lambda s: s.task_state is None, "an idle server")
    assert (found.host, found.power_state) == ("cmp1", 1)
    again = client.act(AbortMigration(server, running.id))
    assert isinstance(again, Refused)


def test_a_forced_one_completes(client: NovaClient, boot: Boot, looks: Looks, lab: CloudLab) -> None:
    server = boot("cmp1")
    lab.knob("cmp1", never_converge=True)
    looks.accepted(LiveMigrate(server, "cmp2"))
    running = looks.newest(server, "running")
    looks.accepted(ForceComplete(server, running.id))
    looks.newest(server, "completed")
    looks.server(server, lambda s: s.host == "cmp2" and s.task_state is None, "the server on cmp2")
    again = client.act(ForceComplete(server, running.id))
    assert isinstance(again, Refused)
    assert again.code == 409


def test_a_third_one_from_the_host_is_queued_and_can_be_aborted_there(
    client: NovaClient, boot: Boot, looks: Looks, lab: CloudLab
) -> None:
    """I24: Nova runs two at once from one host (`max_concurrent_live_migrations`) and lets the next one wait."""
    servers = [boot("cmp1") for _ in range(3)]
    lab.knob("cmp1", never_converge=True)
    for server in servers[:2]:
        looks.accepted(LiveMigrate(server, "cmp2"))
        looks.newest(server, "running")
    third = servers[2]
    looks.accepted(LiveMigrate(third, "cmp2"))
    queued = looks.newest(third, "queued")
    assert queued.stage is MigrationStage.IN_FLIGHT
    forced = client.act(ForceComplete(third, queued.id))
    assert isinstance(forced, Refused)
    assert forced.code == 400
    assert "is queued. Cannot force complete while the migration is in this state." in forced.message
    looks.accepted(AbortMigration(third, queued.id))
    looks.newest(third, "cancelled")
    assert looks.idle(third).host == "cmp1"


def test_one_that_fails_in_the_copy_leaves_the_server_where_it_was(boot: Boot, looks: Looks, lab: CloudLab) -> None:
    """Whether the record ends `failed` or `error`, and the server ACTIVE or ERROR, is the driver's choice."""
    server = boot("cmp1")
    lab.knob("cmp1", live_seconds=1, fail_live_at=0.5)
    looks.accepted(LiveMigrate(server, "cmp2"))
    assert looks.newest(server, "failed", "error").stage is MigrationStage.BAD
    found = looks.server(server, lambda s: s.task_state is None, "an idle server")
    assert found.host == "cmp1"


def test_the_reason_of_an_unfit_cpu_is_in_an_event_only(client: NovaClient, boot: Boot, looks: Looks) -> None:
    """Nova answers 202, the server stays as it was without a fault, the migration has no target."""
    server = boot("cmp1")
    request = looks.accepted(LiveMigrate(server, "cmp3"))
    record = looks.newest(server, "error")
    assert record.target_host is None
    assert "Unacceptable CPU info" in looks.details(server, request, CHECK)
    assert "No valid host was found" in looks.details(server, request, CONDUCTOR)
    found = looks.idle(server)
    assert (found.host, found.fault) == ("cmp1", None)


def test_an_older_hypervisor_is_refused_without_saying_so(boot: Boot, looks: Looks) -> None:
    """The planner has to know it itself (I18): all Nova says is that there is no host."""
    server = boot("cmp4")
    request = looks.accepted(LiveMigrate(server, "cmp1"))
    looks.newest(server, "error")
    assert "No valid host was found" in looks.details(server, request, CONDUCTOR)
    events = looks.action(server, request).events
    assert not any("ypervisor" in (event.details or "") for event in events)
    assert looks.idle(server).host == "cmp4"


def test_one_to_the_host_it_is_on_is_taken_and_fails(boot: Boot, looks: Looks) -> None:
    server = boot("cmp1")
    request = looks.accepted(LiveMigrate(server, "cmp1"))
    looks.newest(server, "error")
    assert "No valid host was found" in looks.details(server, request, CONDUCTOR)
    assert looks.idle(server).host == "cmp1"


def test_one_to_a_disabled_host_is_taken_and_fails(boot: Boot, looks: Looks, admin: Tenant, client: NovaClient) -> None:
    """I19: the scheduler is heard although the host is named."""
    server = boot("cmp1")
    admin.disable_host("cmp2", "maintenance")
    try:
        looks_disabled(client)
        request = looks.accepted(LiveMigrate(server, "cmp2"))
        looks.newest(server, "error")
        assert "No valid host was found" in looks.details(server, request, CONDUCTOR)
    finally:
        admin.enable_host("cmp2")
    wait_for(
        lambda: "COMPUTE_STATUS_DISABLED" not in client.hosts()["cmp2"].traits, SECONDS, "cmp2 enabled in Placement"
    )


def looks_disabled(client: NovaClient) -> None:
    """A disabled host says so, with the reason, and in Placement, where it keeps its resources."""
    host = wait_for(
        lambda: (h := client.hosts()["cmp2"]) and "COMPUTE_STATUS_DISABLED" in h.traits and h, SECONDS, "the trait"
    )
    assert host
    assert not host.service.enabled
    assert host.service.up
    assert host.service.disabled_reason == "maintenance"
    assert host.inventories is not None
    assert "MEMORY_MB" in host.inventories


STATES = {"locked": "a locked server moves for an administrator (I10 is ours to keep)", "paused": "a paused one too"}


@pytest.mark.parametrize("state", STATES)
def test_other_states_move_too(state: str, boot: Boot, looks: Looks, admin: Tenant) -> None:
    server = boot("cmp1")
    if state == "locked":
        admin.lock(server, "mine")
    else:
        admin.pause(server)
    looks.accepted(LiveMigrate(server, "cmp2"))
    looks.newest(server, "completed")
    found = looks.server(server, lambda s: s.host == "cmp2" and s.task_state is None, "the server on cmp2")
    assert found.locked == (state == "locked")
    assert found.vm_state == ("paused" if state == "paused" else "active")
