"""In front of real servers: a cloud, whose catalog leads through the proxies, and a Kubernetes API with its watches."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from testbed.cloud import CLOUD_NAME
from testbed.kubernetes.cluster import Cluster
from testbed.processes import wait_for
from testbed.proxy.fronts import front_of_cloud, front_of_kubernetes
from testbed.proxy.thread import Proxies
from testbed.proxy.watch import WatchFault
from testbed.simulator import SimulatedCloud
from testbed.tenant import Tenant
from vmferry.cloud.actions import Accepted, LiveMigrate, Unanswered
from vmferry.cloud.nova import CloudError, NovaClient
from vmferry.simulator.faults import Fault


@pytest.fixture
def proxies() -> Iterator[Proxies]:
    with Proxies() as made:
        yield made


@pytest.mark.simulator
def test_the_client_finds_every_service_through_the_proxies_and_meets_their_faults(
    simulated_cloud: SimulatedCloud, proxies: Proxies, tmp_path: Path
) -> None:
    fronts = front_of_cloud(proxies, simulated_cloud.clouds_yaml, tmp_path / "clouds.yaml")
    told = yaml.safe_load((tmp_path / "clouds.yaml").read_text())["clouds"][CLOUD_NAME]
    assert told["auth"]["auth_url"].startswith(fronts["identity"].url)
    tenant = Tenant(simulated_cloud.clouds_yaml)
    servers = [tenant.boot(f"proxied-{n}", "cmp1") for n in range(2)]
    try:
        client = NovaClient(CLOUD_NAME, clouds_yaml=tmp_path / "clouds.yaml", timeout=(5, 20))
        client.connect()
        assert set(servers) <= {server.id for server in client.servers()[0]}
        assert client.projects()[1]
        hypervisor = client.hypervisors()[0]
        assert (client.resources([hypervisor.id]) or {}).get(hypervisor.id)
        for kind in ("identity", "compute", "placement"):
            assert fronts[kind].journal.counts, f"{kind} was reached past its proxy"
        assert simulated_cloud.url not in json.dumps(client.actions(servers[0]), default=str)

        proxies.order(fronts["compute"], Fault(method="POST", path="/action$", drop="after", times=1))
        lost = client.act(LiveMigrate(servers[0], "cmp2"), lambda: None)
        assert isinstance(lost, Unanswered)
        assert isinstance(client.act(LiveMigrate(servers[1], "cmp2"), lambda: None), Accepted)
        sent = [(one.server, one.status, one.answered) for one in fronts["compute"].journal.moves]
        assert sent == [(servers[0], 202, False), (servers[1], 202, True)], "once, and never again blindly"
        for server in servers:
            tenant.wait_idle(server)
            assert len(tenant.migrations(server)) == 1

        proxies.order(fronts["compute"], Fault(path="/os-services", truncate=True))
        with pytest.raises(CloudError):
            client.services()
        proxies.shut(fronts["placement"])
        with pytest.raises(CloudError):
            client.resources([hypervisor.id])
        proxies.clear()
        assert client.services()
        assert (client.resources([hypervisor.id]) or {}).get(hypervisor.id)
    finally:
        tenant.delete_booted()


@pytest.mark.kubernetes
def test_kubectl_works_through_the_proxy_and_a_watch_misses_what_it_shall_miss(
    cluster: Cluster, proxies: Proxies, tmp_path: Path
) -> None:
    ours = tmp_path / "kubeconfig"
    proxy = front_of_kubernetes(proxies, cluster, cluster.kubeconfig, ours)
    namespace, names = "proxied", ("a", "b", "c")
    direct = ("--namespace", namespace)
    cluster.kubectl_run("create", "namespace", namespace)
    watch = [cluster.kubectl, "--kubeconfig", ours, *direct, "get", "configmaps", "--watch", "--output-watch-events"]

    def watched(fault: WatchFault | None, until: str) -> list[list[str]]:
        """(event, name) of what a watch shows of three objects that are made and deleted."""
        proxies.order_watch(proxy, fault)
        log = tmp_path / "watch"
        with (
            log.open("wb") as out,
            subprocess.Popen([*map(str, watch), "--no-headers"], stdout=out, stderr=subprocess.STDOUT) as process,
        ):
            try:
                wait_for(lambda: "kube-root-ca.crt" in log.read_text(), 240, "the watch to begin")
                for name in names:
                    cluster.kubectl_run(*direct, "create", "configmap", name)
                cluster.kubectl_run(*direct, "delete", "configmap", *names)
                wait_for(lambda: until in " ".join(log.read_text().split()), 240, until)
            finally:
                process.kill()
        lines = [line.split()[:2] for line in log.read_text().splitlines()]
        return [line for line in lines if line[1] in names]

    every = [["ADDED", name] for name in names], [["DELETED", name] for name in names]
    assert watched(None, "DELETED c") == every[0] + every[1]
    missing = watched(WatchFault(path="/configmaps", events=("ADDED",), missing=1), "DELETED c")
    assert missing == every[1]
    again = watched(WatchFault(path="/configmaps", events=("DELETED",), duplicate=1), "DELETED c")
    assert len([one for one in again if one[0] == "DELETED"]) >= 5
    cluster.kubectl_run("delete", "namespace", namespace, "--wait=false")
