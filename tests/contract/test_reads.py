"""What the client reads of servers, hosts, groups and projects."""

from __future__ import annotations

import uuid
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from testbed.cloud import CLOUD_NAME, CloudLab
from testbed.processes import wait_for
from testbed.tenant import Tenant, TenantError
from tests.contract.conftest import Boot
from tests.contract.looks import SECONDS, Looks
from vmferry.cloud.actions import ColdMigrate, ConfirmResize, LiveMigrate, StopServer
from vmferry.cloud.nova import CloudError, NovaClient


def test_the_login_tells_who_we_are_and_what_nova_can(client: NovaClient, admin: Tenant) -> None:
    assert client.user_id == admin.connection.current_user_id
    assert client.maximum >= (2, 100)
    assert client.evacuated_stay_stopped
    client.server_groups()
    assert client.tells_time, "any answer of Nova does"


def test_a_wrong_password_is_an_error_without_the_password(lab: CloudLab, tmp_path: Path) -> None:
    clouds = yaml.safe_load(lab.clouds_yaml.read_text())
    clouds["clouds"][CLOUD_NAME]["auth"]["password"] = "wrong-and-secret"
    file = tmp_path / "clouds.yaml"
    file.write_text(yaml.safe_dump(clouds))
    with pytest.raises(CloudError, match="cannot log in: Unauthorized") as caught:
        NovaClient(CLOUD_NAME, clouds_yaml=file).connect()
    assert "wrong-and-secret" not in str(caught.value)


def test_a_server_as_an_administrator_sees_it(client: NovaClient, boot: Boot, admin: Tenant) -> None:
    name = f"seen-{uuid.uuid4().hex[:6]}"
    server = boot("cmp1", name, flavor="m1.small", metadata={"vmferry:migrate": "no"}, availability_zone="cluster1")
    admin.lock(server, "by its owner")
    found = client.server(server)
    assert found is not None
    assert (found.id, found.name, found.host, found.status) == (server, name, "cmp1", "ACTIVE")
    assert (found.vm_state, found.task_state, found.power_state) == ("active", None, 1)
    assert (found.flavor.name, found.flavor.vcpus, found.flavor.memory_mb) == ("m1.small", 1, 1024)
    assert found.needs == {"VCPU": 1, "MEMORY_MB": 1024, "DISK_GB": 10}
    assert found.image_id
    assert found.volumes == ()
    assert found.metadata == {"vmferry:migrate": "no"}
    assert (found.locked, found.locked_reason) == (True, "by its owner")
    assert (found.availability_zone, found.pinned_availability_zone) == ("cluster1", "cluster1")
    listed = {one.id: one for one in client.servers()[0]}
    assert listed[server] == found, "the list and the single read tell the same"
    names, whole = client.projects()
    assert (names[found.project_id], whole) == ("admin", True)


def test_servers_of_all_projects_come_page_by_page(lab: CloudLab, boot: Boot, tenant: Tenant) -> None:
    own = tenant.boot("of-another-project")
    try:
        servers = {boot("cmp1"), boot("cmp2"), own}
        client = NovaClient(CLOUD_NAME, clouds_yaml=lab.clouds_yaml, page=1)
        client.connect()
        found, gone = client.servers()
        assert servers <= {one.id for one in found}
        assert gone == set()
        assert client.calls["GET /servers/detail"] >= 3
        assert len(client.hypervisors()) == 4
    finally:
        tenant.delete(own)


def test_changes_since_brings_what_changed_and_what_is_gone(client: NovaClient, boot: Boot, admin: Tenant) -> None:
    deleted, changed, same = boot("cmp1", "deleted"), boot("cmp1", "changed"), boot("cmp1", "same")
    updated = client.server(same)
    assert updated is not None
    # Nova's times have whole seconds: wait for the next one, by the cloud's clock
    since = client.cloud_time() + timedelta(seconds=2)
    wait_for(lambda: client.services() and client.cloud_time() > since, SECONDS, "the next seconds")
    admin.stop(changed)
    admin.delete(deleted)
    found, gone = client.servers(since)
    assert changed in {one.id for one in found}
    assert deleted in gone
    assert same not in {one.id for one in found}
    assert client.server(deleted) is None


def test_nova_forgets_the_migrations_of_a_deleted_server_but_not_its_actions(
    client: NovaClient, boot: Boot, admin: Tenant, looks: Looks
) -> None:
    server = boot("cmp1")
    request = looks.accepted(LiveMigrate(server, "cmp2"))
    record = looks.newest(server, "completed")
    looks.server(server, lambda s: s.task_state is None, "an idle server")
    assert record.uuid in {one.uuid for one in client.migrations()}
    admin.delete(server)
    assert client.server_migrations(server) == ()
    assert record.uuid not in {one.uuid for one in client.migrations()}
    assert looks.action(server, request).action == "live-migration"


def test_migrations_are_found_while_open_and_by_what_changed(
    lab: CloudLab, client: NovaClient, boot: Boot, looks: Looks
) -> None:
    server = boot("cmp1")
    for target, other in (("cmp2", "cmp1"), ("cmp1", "cmp2")):
        looks.accepted(ColdMigrate(server, target))
        waiting = looks.newest(server, "finished")
        looks.idle(server, "VERIFY_RESIZE")
        assert waiting.uuid in {one.uuid for one in client.migrations()}, "open"
        looks.accepted(ConfirmResize(server))
        looks.newest(server, "confirmed")
        assert looks.idle(server).host != other
    newer, older = client.server_migrations(server)
    assert newer.id > older.id
    changed = {one.uuid: one for one in client.migrations(client.cloud_time() - timedelta(minutes=5))}
    assert changed[newer.uuid] == newer
    assert changed[older.uuid] == older
    paged = NovaClient(CLOUD_NAME, clouds_yaml=lab.clouds_yaml, page=1)
    paged.connect()
    assert paged.server_migrations(server) == (newer, older)


def test_actions_come_newest_first_and_the_newest_with_its_events(client: NovaClient, boot: Boot, looks: Looks) -> None:
    server = boot("cmp1")
    request = looks.accepted(StopServer(server))
    looks.idle(server, "SHUTOFF")
    newest, oldest = client.actions(server)
    assert (newest.request_id, newest.action, oldest.action) == (request, "stop", "create")
    assert newest.events
    assert oldest.events == ()
    older = client.actions(server, oldest.request_id)[1]
    assert older.events
    assert client.actions(server, "req-of-somebody-else")[0].events == ()
    assert client.actions(str(uuid.uuid4())) == ()


def test_hosts_with_what_they_have_room_for(client: NovaClient, boot: Boot, lab: CloudLab) -> None:
    before = client.hosts()
    assert tuple(sorted(before)) == lab.hosts
    boot("cmp1", flavor="m1.small")
    after = client.hosts()["cmp1"]
    assert after.hypervisor is not None
    assert after.hypervisor.service_host == "cmp1"
    assert after.hypervisor.version_text == "6.2.0"
    assert before["cmp4"].hypervisor is not None
    assert before["cmp4"].hypervisor.version > after.hypervisor.version
    assert after.answers_to(after.hypervisor.id)
    assert (after.service.up, after.service.enabled, after.service.disabled_reason) == (True, True, None)
    assert after.zone == "cluster1"
    assert [one.name for one in after.aggregates] == ["cluster1"]
    was, now = before["cmp1"].inventories, after.inventories
    assert was is not None
    assert now is not None
    assert {name: now[name].used - was[name].used for name in ("VCPU", "MEMORY_MB", "DISK_GB")} == {
        "VCPU": 1,
        "MEMORY_MB": 1024,
        "DISK_GB": 10,
    }
    assert all(now[name].free > 0 for name in now)
    assert any(trait.startswith("HW_CPU_X86_") for trait in after.traits)
    assert before["cmp3"].traits != after.traits, "cmp3 has another CPU"


def test_a_full_host_is_read_alone_and_tells_the_same(client: NovaClient, boot: Boot) -> None:
    """No host gets full here, so the second way is taken by asking for a provider as if it were missing."""
    boot("cmp1")
    host = client.hosts()["cmp1"]
    assert host.hypervisor is not None
    assert host.inventories is not None
    placement = client._open().placement
    assert placement is not None
    alone = client._provider(placement, host.hypervisor.id)
    assert alone is not None
    assert alone.inventories == host.inventories, "what the hypervisor has in all is Placement's max_unit"
    assert alone.traits == host.traits
    assert all(one.max_unit for one in alone.inventories.values())
    assert client._provider(placement, str(uuid.uuid4())) is None


def test_server_groups_with_their_members(client: NovaClient, boot: Boot, admin: Tenant) -> None:
    group = admin.create_group(f"group-{uuid.uuid4().hex[:6]}", "anti-affinity")
    try:
        server = boot("cmp1", group=group)
        found = next(one for one in client.server_groups() if one.id == group)
        assert (found.policy, set(found.members), found.max_server_per_host) == ("anti-affinity", {server}, 1)
    finally:
        admin.delete_group(group)


def test_a_key_of_a_servers_metadata_has_no_slash(active: str, admin: Tenant) -> None:
    """So a wish of its owner cannot be named as Kubernetes names labels."""
    with pytest.raises(TenantError, match="does not match any of the regexes") as caught:
        admin.set_metadata(active, {"vmferry.dev/migrate": "no"})
    assert caught.value.status == 400


def test_aggregates_with_hosts_and_metadata(client: NovaClient, admin: Tenant) -> None:
    """A host may lie in many; the operating system's version is found in their metadata."""
    made = admin.create_aggregate(f"os-{uuid.uuid4().hex[:6]}", hosts=["cmp1"], metadata={"os_version": "22.04"})
    try:
        host = client.hosts()["cmp1"]
        assert [one.metadata.get("os_version") for one in host.aggregates] == [None, "22.04"]
    finally:
        admin.delete_aggregate(made)


def test_projects_are_the_same_page_by_page(lab: CloudLab, client: NovaClient) -> None:
    paged = NovaClient(CLOUD_NAME, clouds_yaml=lab.clouds_yaml, page=1)
    paged.connect()
    assert len(client.projects()[0]) > 1
    assert paged.projects() == client.projects()
