"""The clouds of the harness: how to start each with the generated hosts, and its tempo."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml

from testbed.agreement.tempo import Tempo
from testbed.cloud import CloudLab
from testbed.nova.hosts import Host, Version
from testbed.nova.lab import NovaLab
from testbed.processes import Supervisor
from testbed.simulator import SimulatedCloud
from vmferry.simulator.__main__ import LAB

Hosts = tuple[Host, ...]


@dataclass(frozen=True)
class Kind:
    """A type of cloud: how to start it below a folder, and its tempo."""

    start: Callable[[Supervisor, Path, Hosts], CloudLab]
    tempo: Tempo = field(default_factory=Tempo)


#: settings of a real Nova on a busy machine; facts of hosts do not change here, so they are updated rarely
NOVA_SETTINGS = {
    "report_interval": 4,
    "service_down_time": 24,
    "rpc_response_timeout": 90,
    "long_rpc_timeout": 240,
    "update_resources_interval": 300,
}

#: Overrides of the simulator's lab settings. Its clock runs at normal speed, because the operator measures missing
#: heartbeats by real time, so its operations are shortened instead.
SIMULATOR_SETTINGS: Mapping[str, Mapping[str, object]] = {
    "nova": {"report_interval": 0.5, "service_down_time": 2},
    "durations": {
        "boot": 0.05,
        "delete": 0.02,
        "power": 0.02,
        "migration_row": 0.02,
        "live_precheck": 0.02,
        "live_prepare": 0.02,
        "live_copy": 0.1,
        "live_post": 0.02,
        "cold_prepare": 0.02,
        "cold_move": 0.05,
        "cold_finish": 0.02,
        "confirm": 0.02,
        "confirm_post": 0.02,
        "revert": 0.04,
        "evacuate": 0.05,
        "host_start": 0.1,
    },
}


def fleet_file(hosts: Hosts, settings: Mapping[str, Mapping[str, object]] | None = None) -> dict[str, Any]:
    """The fleet file of the simulator's lab (flavors, images, zone, overcommitment) with these hosts."""
    lab: dict[str, Any] = yaml.safe_load(LAB.read_text())
    common = lab["hosts"][0]
    told = {**lab["settings"]}
    for part, changes in (settings or {}).items():
        told[part] = {**told.get(part, {}), **changes}
    entries = [common | _entry(host) for host in hosts]
    cluster = [aggregate | {"hosts": [host.name for host in hosts]} for aggregate in lab["aggregates"]]
    return lab | {"settings": told, "hosts": entries, "aggregates": cluster}


def _entry(host: Host) -> dict[str, Any]:
    return {
        "name": host.name,
        "cpu": {"model": host.cpu_model, "vendor": host.cpu_vendor, "features": list(host.cpu_features)},
        "hypervisor": _text(host.qemu),
        "libvirt": _text(host.libvirt),
        "sockets": host.numa_cells,
        "vcpus": host.numa_cells * host.cores_per_cell * host.threads_per_core,
        "memory_gb": host.memory_gb,
        "disk_gb": host.disk_gb,
        "store": host.store,
    }


def _text(version: Version) -> str:
    return ".".join(map(str, version))


def _start_nova(supervisor: Supervisor, folder: Path, hosts: Hosts) -> CloudLab:
    return NovaLab.start(supervisor, folder, hosts=hosts, settings=NOVA_SETTINGS)


def _start_simulator(supervisor: Supervisor, folder: Path, hosts: Hosts) -> CloudLab:
    file = folder / "fleet.yaml"
    file.write_text(yaml.safe_dump(fleet_file(hosts, SIMULATOR_SETTINGS), sort_keys=False))
    return SimulatedCloud.start(supervisor, folder, file)


SIMULATED = Tempo(
    pace=replace(Tempo().pace, poll=0.3),
    down_for=timedelta(seconds=3),
    look=0.5,
    busy=3.0,
    patience=20.0,
)

CLOUDS: Mapping[str, Kind] = {
    "nova": Kind(_start_nova),
    "simulator": Kind(_start_simulator, SIMULATED),
}
