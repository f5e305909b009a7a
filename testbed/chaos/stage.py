"""Plays a schedule: a real operator behind proxies, the actions of people, and the collection of facts afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from testbed.agreement.clouds import SIMULATOR_SETTINGS, fleet_file
from testbed.bed import CRDS, OPERATOR, OPERATOR_NAMESPACE, Bed, merge
from testbed.chaos.chronicle import KINDS, Api, Chronicle
from testbed.chaos.draw import Deed, Do, Schedule, Trouble
from testbed.chaos.judge import Facts, Record, ServerFact, is_settled
from testbed.cloud import CloudLab
from testbed.kubernetes.cluster import Cluster
from testbed.nova.hosts import Host
from testbed.processes import ProcessDiedError, Supervisor, wait_for
from testbed.proxy.fronts import KUBERNETES, front_of_cloud, front_of_kubernetes
from testbed.proxy.journal import Passed
from testbed.proxy.proxy import Proxy
from testbed.proxy.thread import Proxies
from testbed.proxy.watch import WatchFault
from testbed.simulator import SimulatedCloud
from testbed.tenant import Tenant, TenantError
from vmferry.simulator.faults import Fault

NAMESPACE = "chaos"
HOSTS = tuple(Host(f"cmp{number}") for number in range(1, 6))
SWITCH = "vmferry-stop"
#: settings of a real Nova under which hosts do not seem dead while the machine is merely busy
NOVA_SETTINGS = {"report_interval": 5, "service_down_time": 40, "rpc_response_timeout": 90, "long_rpc_timeout": 240}
#: seconds between two checks for migrations that are open at once
LOOK = 0.4
#: maximum time in seconds to come to rest after all faults are removed, on a busy machine
REST = {"simulator": 120.0, "nova": 300.0}
#: how long in seconds the requests at rest are counted
QUIET_SECONDS = 2.0

CONFIG: dict[str, Any] = {
    "namespaces": [NAMESPACE],
    "policy": {
        "operatingSystems": [{"system": "Ubuntu 22.04", "aggregates": ["cluster1"]}],
        "maintenance": {"namespace": NAMESPACE},
        # an abort is repeated after a minute, also one whose request was lost
        "timeoutBase": "30s",
        "stopTimeout": "30s",
    },
    # objects that a watch has missed are found by the next list
    "resync": "8s",
}


def start_cloud(kind: str, supervisor: Supervisor, folder: Path) -> CloudLab:
    """Start a cloud with equal hosts on shared storage."""
    if kind == "nova":
        # imported here, because the other cloud does not need these modules and their dependencies
        from testbed.nova.lab import NovaLab

        return NovaLab.start(supervisor, folder / "nova", hosts=HOSTS[:4], settings=NOVA_SETTINGS)
    # heartbeats are fast, but operations take as long as in a real cloud, so that faults hit migrations in progress
    settings = {"nova": SIMULATOR_SETTINGS["nova"], "durations": {}}
    file = folder / "fleet.yaml"
    file.write_text(yaml.safe_dump(fleet_file(HOSTS, settings), sort_keys=False))
    return SimulatedCloud.start(supervisor, folder, file)


class Stage:
    """A bed that plays schedules, one after the other."""

    def __init__(self, bed: Bed, proxies: Proxies) -> None:
        self.bed = bed
        self.proxies = proxies
        self.cloud = bed.cloud
        self.tenant = bed.tenant
        #: requests that people made, and faults that were applied, in all schedules
        self.requests = 0
        self.faults: Counter[str] = Counter()
        folder = bed.run_dir
        bed.cluster.kubectl_run("create", "namespace", NAMESPACE, check=False)
        bed.install_operator()
        self.kubernetes = front_of_kubernetes(
            proxies, bed.cluster, bed.operator_kubeconfig, folder / "proxied.kubeconfig"
        )
        self.services = front_of_cloud(proxies, bed.cloud.clouds_yaml, folder / "proxied-clouds.yaml")
        self.fronts: dict[str, Proxy] = {**self.services, KUBERNETES: self.kubernetes}
        cluster = bed.cluster
        self.chronicle = Chronicle(cluster.kubeconfig, cluster.ca_file, NAMESPACE)
        self._plain = yaml.safe_load(bed.config_file.read_text())

    @classmethod
    def start(cls, kind: str, supervisor: Supervisor, folder: Path, proxies: Proxies) -> Stage:
        cluster = Cluster.start(supervisor, folder / "kubernetes", CRDS)
        return cls(Bed(supervisor, folder, cluster, start_cloud(kind, supervisor, folder)), proxies)

    def play(self, schedule: Schedule) -> Facts:
        """Play a schedule, from booting its servers to collecting the facts; afterwards nothing of it remains."""
        play = _Play(self, schedule)
        try:
            play.prepare()
            play.perform()
            play.come_to_rest()
            return play.facts()
        finally:
            play.end()

    def configure(self, config: Mapping[str, Any]) -> None:
        places = {
            "cloud": {"cloudsFile": str(self.bed.run_dir / "proxied-clouds.yaml")},
            "kubeconfig": str(self.bed.run_dir / "proxied.kubeconfig"),
            "policy": config,
        }
        grace = {"policy": {"recordGrace": "20s"}} if self.cloud.name == "nova" else {}
        self.bed.config_file.write_text(yaml.safe_dump(merge(merge(merge(self._plain, CONFIG), places), grace)))


class _Play:
    """The state of one schedule."""

    def __init__(self, stage: Stage, schedule: Schedule) -> None:
        self.stage, self.schedule = stage, schedule
        self.bed, self.cloud, self.tenant = stage.bed, stage.cloud, stage.tenant
        cluster = self.bed.cluster
        self.api = Api(cluster.kubeconfig, cluster.ca_file, NAMESPACE)
        self.chronicle = stage.chronicle
        self.chronicle.begin()
        self.ids: dict[str, str] = {}
        self.before: dict[str, str] = {}
        self.deleted: set[str] = set()
        self.killed: set[str] = set()
        self.late: list[str] = []
        self.lies: list[str] = []
        self.overlaps: set[tuple[str, tuple[int, ...]]] = set()
        self.quiet: dict[str, float] = {}
        self.busy: dict[str, float] = {}
        self._over = threading.Event()
        self._looker = threading.Thread(target=self._look, daemon=True)
        log = self.bed.supervisor.log(OPERATOR)
        self._log_from = log.stat().st_size if log.exists() else 0
        self._counts = self._count()
        self._met = {name: Counter(proxy.met) for name, proxy in stage.fronts.items()}
        self._sent_from = len(stage.services["compute"].journal.moves)
        self._began = time.monotonic()

    # -- before

    def prepare(self) -> None:
        if isinstance(self.cloud, SimulatedCloud):
            self.cloud.settings(nova={"copy_failure": self.schedule.copy_failure})
        for vm in self.schedule.servers:
            self.ids[vm.name] = self.tenant.boot(vm.name, vm.host, wait=False)
        for vm in self.schedule.servers:
            self.tenant.wait_for_status(self.ids[vm.name], "ACTIVE", 120)
            self.before[vm.name] = "SHUTOFF" if vm.stopped else "ACTIVE"
        for vm in self.schedule.servers:
            if vm.stopped:
                self.tenant.stop(self.ids[vm.name], wait=False)
        for vm in self.schedule.servers:
            self.tenant.wait_for_status(self.ids[vm.name], self.before[vm.name], 120)
        self.stage.configure(self.schedule.config)
        self.bed.start_operator()
        self._looker.start()
        self._began, self._counts = time.monotonic(), self._count()

    def _count(self) -> dict[str, int]:
        return {name: proxy.journal.counts.total() for name, proxy in self.stage.fronts.items()}

    def _look(self) -> None:
        """Record migrations of the same server that are open at once."""
        tenant = Tenant(self.cloud.clouds_yaml)
        while not self._over.wait(LOOK):
            open_ones: dict[str, list[int]] = {}
            for record in _records(tenant):
                if record.open:
                    open_ones.setdefault(record.server, []).append(record.id)
            self.overlaps |= {(server, tuple(sorted(ids))) for server, ids in open_ones.items() if len(ids) > 1}

    # -- the schedule

    def perform(self) -> None:
        """Carry out deeds and troubles in the order of their times."""
        steps: list[tuple[float, Callable[[], object]]] = []
        steps += [(deed.at, partial(self._do, deed)) for deed in self.schedule.deeds]
        for trouble in self.schedule.troubles:
            steps += self._of(trouble)
        began = time.monotonic()
        for at, step in sorted(steps, key=lambda step: step[0]):
            time.sleep(max(0.0, began + at - time.monotonic()))
            step()

    def _of(self, trouble: Trouble) -> list[tuple[float, Callable[[], object]]]:
        proxies, proxy, fault = self.stage.proxies, self.stage.fronts[trouble.service], trouble.fault
        until = trouble.at + trouble.seconds
        if fault is None:
            self.stage.faults["outage"] += 1
            return [(trouble.at, lambda: proxies.shut(proxy)), (until, lambda: proxies.open(proxy))]
        if isinstance(fault, WatchFault):
            watch = fault
            return [
                (trouble.at, lambda: proxies.order_watch(proxy, watch)),
                (until, lambda: proxies.order_watch(proxy, None)),
            ]
        ordered: list[int] = []
        return [
            (trouble.at, lambda: ordered.append(proxies.order(proxy, fault.model_copy()))),
            (until, lambda: proxies.revoke(proxy, ordered[0])),
        ]

    def _do(self, deed: Deed) -> None:
        on, more, api = deed.on, dict(deed.more), self.api
        match deed.do:
            case Do.MIGRATE:
                self.stage.requests += 1
                more["server"] = {"id": self.ids[more["server"]]}
                body = {**_body("VMMigration", on, more), "metadata": {"name": on, "namespace": NAMESPACE}}
                api.call("POST", api.path("vmmigrations"), body)
            case Do.CANCEL:
                api.call("DELETE", api.path("vmmigrations", on), fine=(404,))
            case Do.DRAIN:
                self.stage.requests += 1
                self._drain(on, {"host": on, "enabled": True, **more})
            case Do.RELEASE:
                api.call("PATCH", api.path("hostmaintenances", on), {"spec": {"enabled": False}}, fine=(404,))
            case Do.UNDRAIN:
                api.call("DELETE", api.path("hostmaintenances", on), fine=(404,))
            case Do.DELETE_SERVER:
                self.deleted.add(on)
                self.tenant.call("DELETE", f"/servers/{self.ids[on]}")
            case Do.KNOBS:
                self.cloud.knob(on, **more)
            case Do.SWITCH_ON | Do.SWITCH_OFF:
                self._switch(deed.do is Do.SWITCH_ON)
            case Do.KILL_AT_CHANGE:
                self._kill_at_change(self.stage.fronts[on], more["path"])
            case Do.REVOKE_TOKENS:
                self._revoke_tokens()
            case Do.KILL_HOST:
                self.killed.add(on)
                self.cloud.kill_compute(on)
            case Do.ATTEST:
                self.tenant.force_down(on)
            case Do.START_HOST:
                self._start_host(on)
            case _:
                self._of_operator(deed.do)
        if deed.do not in (Do.MIGRATE, Do.CANCEL, Do.DRAIN, Do.RELEASE, Do.UNDRAIN):
            self.stage.faults[str(deed.do)] += 1

    def _drain(self, host: str, spec: dict[str, Any]) -> None:
        api = self.api
        made = api.call("POST", api.path("hostmaintenances"), _body("HostMaintenance", host, spec), fine=(409,))
        if made.get("reason") == "AlreadyExists":
            # 404: it was deleted in the meantime
            api.call("PATCH", api.path("hostmaintenances", host), {"spec": spec}, fine=(404,))

    def _switch(self, on: bool) -> None:
        path = f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/configmaps"
        if on:
            body = {"metadata": {"name": SWITCH}, "data": {"stop": "true", "reason": "chaos"}}
            self.api.call("POST", path, body, fine=(409,))
        else:
            self.api.call("DELETE", f"{path}/{SWITCH}", fine=(404,))

    def _revoke_tokens(self) -> None:
        if isinstance(self.cloud, SimulatedCloud):
            self.cloud.control("DELETE", "/tokens")
            self.tenant.connection.session.invalidate()
        else:
            for proxy in self.stage.services.values():
                self.stage.proxies.order(proxy, Fault(status=401, path="^/(?!v3)", times=2))

    def _start_host(self, host: str) -> None:
        """Start the host's nova-compute and unset `forced_down` as soon as Nova allows it.

        Nova requires a start of nova-compute after each evacuation from the host, so an evacuation that finished only
        after the start requires another start.
        """
        if host not in self.killed:
            return
        end = time.monotonic() + REST[self.cloud.name]
        while True:
            # it becomes `up` only after `forced_down` was unset
            starter = threading.Thread(target=self._start_compute, args=(host,), daemon=True)
            starter.start()
            for _ in range(10):
                with contextlib.suppress(TenantError):
                    self.tenant.force_down(host, False)
                    starter.join(REST[self.cloud.name])
                    self.tenant.wait_for_service(host, "up")
                    self.killed.discard(host)
                    return
                time.sleep(1)
            if time.monotonic() > end:
                raise TimeoutError(f"{host} does not come back")
            self.cloud.kill_compute(host)

    def _start_compute(self, host: str) -> None:
        with contextlib.suppress(TimeoutError, ProcessDiedError):  # it was killed again, or is still forced down
            self.cloud.start_compute(host)

    def _of_operator(self, do: Do) -> None:
        pid = self.bed.supervisor.pid(OPERATOR)
        if do is Do.START_OPERATOR:
            if pid is None:
                self.bed.start_operator(ready=False)
        elif pid is None:
            return
        elif do is Do.KILL_OPERATOR:
            self.bed.kill_operator()
        else:
            os.kill(pid, signal.SIGSTOP if do is Do.FREEZE_OPERATOR else signal.SIGCONT)

    def _kill_at_change(self, proxy: Proxy, path: str) -> None:
        def kill(passed: Passed) -> None:
            if pid is not None and re.search(path, passed.path):
                proxy.on_effect = None
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

        if (pid := self.bed.supervisor.pid(OPERATOR)) is not None:
            proxy.on_effect = kill

    # -- afterwards

    def come_to_rest(self) -> None:
        """Remove all faults, and wait until everything has finished and was released and deleted."""
        self._no_trouble()
        self._switch(False)
        self._of_operator(Do.THAW_OPERATOR)
        self._of_operator(Do.START_OPERATOR)
        for host in list(self.killed):
            self._start_host(host)
        self.cloud.reset_knobs()
        if self._wait("to be said of the hosts", self._maintained):
            self.lies = self._not_empty()
        for body in self.chronicle.living("HostMaintenance"):
            name = body["metadata"]["name"]
            self.api.call("PATCH", self.api.path("hostmaintenances", name), {"spec": {"enabled": False}}, fine=(404,))
        self._wait("to be released", self._released)
        self._wait("to come to an end", self._settled)
        self.busy = self._rates(self._counts, self._began)
        counts, began = self._count(), time.monotonic()
        time.sleep(QUIET_SECONDS)
        self.quiet = self._rates(counts, began)
        for plural, kind in (("vmmigrations", "VMMigration"), ("hostmaintenances", "HostMaintenance")):
            for body in self.chronicle.living(kind):
                self.api.call("DELETE", self.api.path(plural, body["metadata"]["name"]), fine=(404,))
        self._wait("to go", lambda: [*self.chronicle.living("VMMigration"), *self.chronicle.living("HostMaintenance")])

    def _no_trouble(self) -> None:
        self.stage.proxies.clear()
        for proxy in self.stage.fronts.values():
            proxy.on_effect = None

    def _wait(self, what: str, still: Callable[[], list[dict[str, Any]]]) -> bool:
        """Wait until `still` returns nothing. Objects that remain at the end count as late."""
        end = time.monotonic() + REST[self.cloud.name]
        while left := still():
            if time.monotonic() > end:
                self.late += [
                    f"{body['kind']} {body['metadata']['name']} was waited for in vain {what}: "
                    f"{json.dumps(body['spec'])} {json.dumps(body.get('status', {}))}"
                    for body in left
                ]
                return False
            time.sleep(0.3)
        return True

    def _maintained(self) -> list[dict[str, Any]]:
        """Maintenances that report neither an end nor a reason to wait."""
        told = ("InMaintenance", "Released", "Queued", "Blocked", "Checked", "InService")

        def waits(body: dict[str, Any]) -> bool:
            status = body.get("status", {})
            progress = status.get("progress", {})
            at_work = progress.get("waiting", 0) + progress.get("moving", 0) > 0
            # servers that cannot move may delay it indefinitely
            return status.get("phase") in told or (bool(progress.get("blocked")) and not at_work)

        return [body for body in self.chronicle.living("HostMaintenance") if not waits(body)]

    def _not_empty(self) -> list[str]:
        """Hosts that are reported as drained but are not empty (I20)."""
        servers = self._servers()
        lies = []
        for body in self.chronicle.living("HostMaintenance"):
            status, host = body.get("status", {}), body["spec"]["host"]
            drained = any(one["type"] == "Drained" and one["status"] == "True" for one in status.get("conditions", ()))
            there = [server.name for server in servers if server.host == host and not server.deleted]
            if drained and there and not status["progress"].get("staying"):
                lies.append(f"{host} is said to be drained, and {there} are there: {json.dumps(status)}")
        return lies

    def _released(self) -> list[dict[str, Any]]:
        living = self.chronicle.living("HostMaintenance")
        return [body for body in living if body.get("status", {}).get("phase") not in ("Released", "InService")]

    def _settled(self) -> list[dict[str, Any]]:
        servers = {server.id: server for server in self._servers()}
        return [body for body in self.chronicle.living("VMMigration") if not is_settled(body, servers)]

    def _rates(self, since: Mapping[str, int], began: float) -> dict[str, float]:
        seconds = max(time.monotonic() - began, 1.0)
        return {name: (count - since[name]) / seconds for name, count in self._count().items()}

    def _servers(self) -> list[ServerFact]:
        found = []
        for name, server_id in self.ids.items():
            server = self.tenant.server(server_id)
            status, task, host = (
                (server["status"], server["OS-EXT-STS:task_state"], server["OS-EXT-SRV-ATTR:host"])
                if server
                else ("", None, None)
            )
            found.append(ServerFact(server_id, name, self.before[name], status, task, host, name in self.deleted))
        return found

    def facts(self) -> Facts:
        ids = set(self.ids.values())
        services = {host: self.tenant.service(host) for host in self.cloud.hosts}
        chronicle = self.chronicle
        log = self.bed.supervisor.log(OPERATOR).read_bytes()[self._log_from :].decode(errors="replace")
        sent = self.stage.services["compute"].journal.moves[self._sent_from :]
        return Facts(
            servers=self._servers(),
            records=[record for record in _records(self.tenant) if record.server in ids],
            hosts={name: (one["state"] == "up", one["status"] == "enabled") for name, one in services.items()},
            sent=sent,
            objects=dict(chronicle.objects),
            writes=chronicle.writes(),
            left=[uid for uid in chronicle.objects if uid not in chronicle.gone],
            overlaps=sorted(self.overlaps),
            lies=self.lies,
            late=[*self.late, *chronicle.trouble],
            log=log,
            quiet=self.quiet,
            busy=self.busy,
        )

    def _all_gone(self) -> bool:
        return not any(self.chronicle.living(kind) for kind in ("VMMigration", "HostMaintenance"))

    def end(self) -> None:
        """Restore the bed to its state before the schedule."""
        self._over.set()
        self._no_trouble()
        for name, proxy in self.stage.fronts.items():
            self.stage.faults.update(proxy.met - self._met[name])
        self._of_operator(Do.THAW_OPERATOR)
        self.bed.supervisor.stop(OPERATOR, grace=0)
        for plural in KINDS:
            # the operator is stopped, so the finalizers are removed here
            for body in self.api.call("GET", self.api.path(plural))["items"]:
                path = self.api.path(plural, body["metadata"]["name"])
                self.api.call("PATCH", path, {"metadata": {"finalizers": None}}, fine=(404,))
                self.api.call("DELETE", path, fine=(404,))
        wait_for(self._all_gone, 60, "the objects to be gone")
        self._switch(False)
        for host in list(self.killed):
            self._start_host(host)
        self.cloud.reset_knobs()
        for host in self.cloud.hosts:
            if self.tenant.service(host)["status"] != "enabled":
                self.tenant.enable_host(host)
        self.tenant.delete_booted()
        if self._looker.ident is not None:
            self._looker.join(30)


def _body(kind: str, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "vmferry.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": dict(spec)}


def _records(tenant: Tenant) -> list[Record]:
    return [
        Record(
            one["id"],
            one["uuid"],
            one["instance_uuid"],
            one["migration_type"],
            one["status"],
            one["source_compute"],
            one["dest_compute"],
        )
        for one in tenant.call("GET", "/os-migrations")["migrations"]
    ]
