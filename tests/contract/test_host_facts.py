"""Where the facts of hosts come from: what Nova's hypervisors tell of their CPU, and what an administrator marks."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest

from testbed.tenant import Tenant
from tests.contract.conftest import Boot
from tests.contract.looks import Looks
from vmferry.cloud.actions import LiveMigrate
from vmferry.cloud.facts.collect import with_facts
from vmferry.cloud.model import CPU, OperatingSystem, ResolvedType, Snapshot
from vmferry.cloud.nova import NovaClient
from vmferry.planning.request import NO_OTHERS, Request
from vmferry.policy import Policy
from vmferry.prerequisites import cpu_model, host_facts
from vmferry.prerequisites.enums import Result
from vmferry.resources.words import MigrationType

#: source, target, and whether Nova takes a live migration of a guest that sees its host's model
PAIRS = [("cmp1", "cmp2", True), ("cmp1", "cmp3", False), ("cmp3", "cmp1", True), ("cmp1", "cmp4", True)]


def view(client: NovaClient) -> Snapshot:
    """Hosts with their facts, and servers."""
    servers, _ = client.servers()
    return Snapshot(servers={one.id: one for one in servers}, hosts=with_facts(client.hosts(), {}, None))


def test_hypervisors_tell_their_cpu_as_an_object_with_all_its_features(client: NovaClient) -> None:
    raw = {one["hypervisor_hostname"]: one["cpu_info"] for one in client._must("/os-hypervisors/detail")["hypervisors"]}
    assert all(isinstance(one, dict) for one in raw.values()), "from microversion 2.28 on it is no JSON in a string"
    cpus = {name: one.hypervisor.cpu for name, one in client.hosts().items() if one.hypervisor}
    skylake, ivy = cpus["cmp1"], cpus["cmp3"]
    assert isinstance(skylake, CPU) and isinstance(ivy, CPU)
    assert (skylake.vendor, skylake.arch, skylake.model) == ("Intel", "x86_64", "Skylake-Server-IBRS")
    assert ivy.model == "IvyBridge-IBRS"
    assert cpus["cmp2"] == skylake
    assert skylake.features_complete and ivy.features_complete, "Nova has libvirt expand the model's own features"
    assert ivy.features < skylake.features


@pytest.mark.parametrize(("source", "target", "taken"), PAIRS)
def test_R21_what_is_said_of_the_cpu_is_what_nova_does(
    client: NovaClient, boot: Boot, looks: Looks, source: str, target: str, taken: bool
) -> None:
    server = boot(source)
    seen = view(client)
    asked = Request(MigrationType.LIVE, attested=None).question(
        seen.servers[server], ResolvedType.LIVE, seen, Policy(), client.cloud_time(), NO_OTHERS
    )
    finding = cpu_model.check(replace(asked, target=seen.hosts[target]))
    assert (finding.result is Result.PASSED) == taken, finding
    looks.accepted(LiveMigrate(server, target))
    looks.newest(server, "completed" if taken else "error")
    looks.server(server, lambda s: s.task_state is None, "an idle server")


def test_an_aggregates_metadata_tells_what_its_hosts_run(client: NovaClient, admin: Tenant) -> None:
    metadata = {"vmferry:os_version": "Ubuntu 22.04", "vmferry:shared_storage": "nfs-1", "cpu_mode": "host-model"}
    made = admin.create_aggregate(f"facts-{uuid.uuid4().hex[:6]}", hosts=["cmp1"], metadata=metadata)
    try:
        hosts = view(client).hosts
        assert host_facts.operating_system(hosts["cmp1"], Policy()).value == OperatingSystem("Ubuntu", "22.04")
        assert host_facts.storage_pool(hosts["cmp1"], Policy()).value == "nfs-1"
        assert str(host_facts.guest_cpu(hosts["cmp1"], Policy()).value) == "HostModel"
        assert host_facts.operating_system(hosts["cmp2"], Policy()).facts == ()
    finally:
        admin.delete_aggregate(made)
