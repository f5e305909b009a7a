"""What the hosts of a lab are like: what Nova's driver asks libvirt, and compares before a migration."""

from __future__ import annotations

from dataclasses import dataclass

Version = tuple[int, int, int]


@dataclass(frozen=True)
class Host:
    """One hypervisor. `name` is its compute service's host and its hypervisor hostname."""

    name: str
    cpu_model: str = "Skylake-Server-IBRS"  # one of inside/cpu_models.py
    cpu_features: tuple[str, ...] = ("md-clear", "pku")  # on top of the model's
    cpu_vendor: str = "Intel"
    libvirt: Version = (8, 0, 0)
    qemu: Version = (6, 2, 0)
    numa_cells: int = 2
    cores_per_cell: int = 8
    threads_per_core: int = 2
    memory_gb: int = 256
    disk_gb: int = 400
    #: "local": its instances folder is its own; any other word names the shared storage where the folder lies
    store: str = "shared"


#: cmp1 and cmp2 are alike; live migration to cmp3 fails for its CPU, from cmp4 for its newer hypervisor
DEFAULT_HOSTS = (
    Host("cmp1"),
    Host("cmp2"),
    Host("cmp3", cpu_model="IvyBridge-IBRS", cpu_features=("md-clear",)),
    Host("cmp4", libvirt=(10, 0, 0), qemu=(8, 2, 2)),
)
