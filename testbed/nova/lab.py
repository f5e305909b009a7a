"""A real Nova on loopback: the control plane, and a nova-compute per host with a stand-in for libvirt."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from testbed.nova.configuration import Layout, Ports, write_configuration
from testbed.nova.hosts import DEFAULT_HOSTS, Host
from testbed.nova.install import install, progress
from testbed.nova.launch import APIS, FORK_SERVER, Launcher, compute_name
from testbed.nova.seed import connect, seed_cluster, seed_images_and_flavors
from testbed.nova.template import database_template, update_endpoints, write_keystone_keys
from testbed.processes import Supervisor, wait_for

#: Pause between two polls: a response takes processor time from the starting services
ASK_SECONDS = 0.5

#: The newest microversion of nova 33.0
MICROVERSION = "2.103"


class NovaLab:
    """Implements `testbed.cloud.CloudLab`, with an additional knob `disk_used_gb`: space taken from the host's disk."""

    def __init__(self, launcher: Launcher, hosts: tuple[Host, ...]) -> None:
        """Connect to a running lab; `start` creates one."""
        self._launcher = launcher
        self._layout = launcher.layout
        self._hosts = tuple(host.name for host in hosts)

    @classmethod
    def start(
        cls,
        supervisor: Supervisor,
        run_dir: Path,
        *,
        hosts: tuple[Host, ...] = DEFAULT_HOSTS,
        settings: Mapping[str, object] | None = None,
    ) -> NovaLab:
        """Install what is missing, start everything below `run_dir`, and wait until every host accepts servers.

        `settings` override those of the section DEFAULT of nova.conf. Raises InstallError, and ProcessDiedError or
        TimeoutError with the name of the failed program; no process is left then.
        """
        programs = install()
        template = database_template(programs)
        run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        layout = Layout(run_dir.resolve(), Ports.free(), template.password)
        launcher = Launcher(supervisor, programs, layout)
        launcher.clean_run_dir()
        write_configuration(layout, programs, hosts, settings)
        write_keystone_keys(layout)
        shutil.copytree(template.database_dir, layout.database_dir)
        lab = cls(launcher, hosts)
        progress(f"starting {len(hosts)} hosts in {layout.run_dir}")
        try:
            lab._start_all()
        except BaseException:
            lab.stop()
            raise
        progress("ready")
        return lab

    @property
    def name(self) -> str:
        return "nova"

    @property
    def clouds_yaml(self) -> Path:
        return self._layout.clouds_yaml

    @property
    def hosts(self) -> tuple[str, ...]:
        return self._hosts

    def stop(self) -> None:
        """End all processes at once; the files remain."""
        self._launcher.stop(self._hosts, grace=0)

    def kill_compute(self, host: str) -> None:
        self._launcher.supervisor.stop(compute_name(host), grace=0)

    def start_compute(self, host: str) -> None:
        before = self._service(host)["updated_at"]
        self._launcher.nova_compute(host)

        def reports() -> bool:
            time.sleep(ASK_SECONDS)
            service = self._service(host)
            # the last heartbeat before a kill keeps the state `up` for some seconds
            return bool(service["state"] == "up" and service["updated_at"] != before)

        name = compute_name(host)
        wait_for(reports, 120, f"{name} to be up", lambda: self._launcher.supervisor.check(name))

    def forget_guest(self, server_id: str) -> None:
        for file in self._layout.run_dir.glob("state/*/domains/*.json"):
            with contextlib.suppress(FileNotFoundError):  # its nova-compute may delete it concurrently
                if json.loads(file.read_text())["uuid"] == server_id:
                    file.unlink()

    def knob(self, host: str, **values: float | bool | None) -> None:
        if host not in self._hosts:
            raise ValueError(f"no host {host}, only {', '.join(self._hosts)}")
        file = self._knobs_dir / f"{host}.json"
        knobs = json.loads(file.read_text()) if file.exists() else {}
        knobs.update(values)
        unfinished = file.with_suffix(".new")
        unfinished.write_text(json.dumps({name: v for name, v in knobs.items() if v is not None}))
        unfinished.replace(file)

    def reset_knobs(self) -> None:
        for file in self._knobs_dir.glob("*.json"):
            file.unlink()

    @property
    def _knobs_dir(self) -> Path:
        return self._layout.run_dir / "knobs"

    @cached_property
    def _connection(self) -> Any:
        return connect(self.clouds_yaml)

    def _service(self, host: str) -> dict[str, Any]:
        answer = self._connection.compute.get(
            "/os-services", params={"binary": "nova-compute", "host": host}, microversion=MICROVERSION
        )
        service: dict[str, Any] = answer.json()["services"][0]
        return service

    def _start_all(self) -> None:
        launcher, ports = self._launcher, self._layout.ports
        launcher.neutron()
        launcher.mariadb(update_endpoints(self._layout))
        launcher.rabbitmq()
        # the imports take as long as the broker's start, for which they wait
        launcher.nova_services(self._hosts)
        launcher.wait_port("mariadb", ports.mariadb)
        for api in APIS:
            launcher.api(api)
        for api in APIS:
            launcher.wait_port(api, launcher.api_port(api))
        connection = self._connection
        # Send one request through Keystone and Placement before the computes send theirs: several concurrent requests
        # to a fresh Keystone can get a 503, and then that compute waits until its next report.
        connection.placement.get("/resource_providers").raise_for_status()
        seed_images_and_flavors(connection)
        names = (FORK_SERVER, *map(compute_name, self._hosts))
        wait_for(
            lambda: self._takes_servers(connection),
            180,
            "every host to be up, mapped and in Placement",
            lambda: launcher.supervisor.check(FORK_SERVER),
        )
        launcher.supervisor.check(*names)
        seed_cluster(connection, self._hosts)

    def _takes_servers(self, connection: Any) -> bool:
        time.sleep(ASK_SECONDS)
        compute, placement = connection.compute, connection.placement
        services = compute.get("/os-services", params={"binary": "nova-compute"}, microversion=MICROVERSION)
        hypervisors = compute.get("/os-hypervisors", microversion=MICROVERSION)
        candidates = placement.get("/allocation_candidates?resources=VCPU:1,MEMORY_MB:1,DISK_GB:1", microversion="1.36")
        up = [service for service in services.json().get("services", ()) if service["state"] == "up"]
        counts = {
            len(up),
            len(hypervisors.json().get("hypervisors", ())),
            len(candidates.json().get("provider_summaries", ())),
        }
        return counts == {len(self._hosts)}
