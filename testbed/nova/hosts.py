"""The properties of a lab's hosts that Nova's driver reads from libvirt and compares before a migration."""

from __future__ import annotations

from dataclasses import dataclass

Version = tuple[int, int, int]


@dataclass(frozen=True)
class Host:
    """A hypervisor. `name` is the host of its compute service and its hypervisor hostname."""

    name: str
    cpu_model: str = "Skylake-Server-IBRS"  # a key of `MODELS` in inside/cpu_models.py
    cpu_features: tuple[str, ...] = ("md-clear", "pku")  # in addition to the features of the model
    cpu_vendor: str = "Intel"
    libvirt: Version = (8, 0, 0)
    qemu: Version = (6, 2, 0)
    numa_cells: int = 2
    cores_per_cell: int = 8
    threads_per_core: int = 2
    memory_gb: int = 256
    disk_gb: int = 400
    #: "local" for an instances folder of its own; any other value names the shared storage of the folder
    store: str = "shared"


#: cmp1 and cmp2 are equal; live migration fails to cmp3 because of its CPU, and from cmp4 because of its newer
#: hypervisor
DEFAULT_HOSTS = (
    Host("cmp1"),
    Host("cmp2"),
    Host("cmp3", cpu_model="IvyBridge-IBRS", cpu_features=("md-clear",)),
    Host("cmp4", libvirt=(10, 0, 0), qemu=(8, 2, 2)),
)
