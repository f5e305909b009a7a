"""A hypervisor host: a separate libvirtd in a mount and UTS namespace, with its own address on loopback."""

from __future__ import annotations

import json
import shutil
import uuid
from functools import cached_property
from pathlib import Path

from testbed.debian import InstallError
from testbed.processes import Supervisor, wait_for
from testbed.sandbox import quiet

PACKAGES = (
    "qemu-system-x86",
    "qemu-utils",
    "libvirt-daemon",
    "libvirt-daemon-driver-qemu",
    "libvirt-clients",
    "seabios",
    "ipxe-qemu",
    "bindfs",
    "iproute2",
    "busybox-static",
    "cpio",
    "linux-image-cloud-amd64",
)
#: the folder of the guests' consoles, as the host sees it
CONSOLES = Path("/var/log/libvirt/consoles")
#: the folders that each host has for itself, below its own folder
_OWN = {"run": "/run/libvirt", "lib": "/var/lib/libvirt", "etc": "/etc/libvirt", "log": "/var/log/libvirt"}


class GuestHost:
    """A host that `start` starts inside a sandbox. It ends with its supervisor or with the sandbox.

    `store` is the folder that all hosts share. It is mounted at the same path on all hosts, with a file system type
    that libvirt accepts as shared, because libvirt refuses to migrate guests with disks on other file systems.
    """

    def __init__(self, supervisor: Supervisor, folder: Path, name: str, address: str, store: Path) -> None:
        self.supervisor = supervisor
        self.folder = folder
        self.name = name
        self.address = address
        self.store = store

    @property
    def consoles(self) -> Path:
        """`CONSOLES` as seen from outside."""
        return self.folder / "log" / "consoles"

    @property
    def program(self) -> str:
        """Its name for the supervisor."""
        return f"libvirtd-{self.name}"

    def start(self) -> None:
        """Start libvirt and wait until it responds."""
        _add_user()
        for name, path in _OWN.items():
            Path(path).mkdir(parents=True, exist_ok=True)
            (self.folder / name).mkdir(parents=True)
        shutil.copytree("/etc/libvirt", self.folder / "etc", dirs_exist_ok=True)
        (self.folder / "log" / "qemu").mkdir()
        self.consoles.mkdir()
        (self.folder / "etc" / "libvirtd.conf").write_text(_settings(self._libvirtd()))
        (self.folder / "etc" / "qemu.conf").write_text(_settings(self._qemu()))
        lines = ["set -e", f"hostname {self.name}"]
        lines += [f"mount --bind {self.folder / name} {path}" for name, path in _OWN.items()]
        lines += [
            f"bindfs -o subtype=glusterfs {self.store} {self.store}",
            "exec libvirtd --listen --pid-file=/run/libvirt/libvirtd.pid",
        ]
        self.supervisor.start(self.program, ["unshare", "--mount", "--uts", "sh", "-c", "\n".join(lines)])
        wait_for(self._answers, 60, f"{self.program} to answer", lambda: self.supervisor.check(self.program))

    def _answers(self) -> bool:
        try:
            return bool(self.virsh("version"))
        except InstallError:
            return False

    def virsh(self, *arguments: str | Path) -> str:
        """Run a virsh command and return its output. Raises InstallError with its error output."""
        return quiet(*self._within, "virsh", "--quiet", "--connect=qemu:///system", *arguments)

    def _libvirtd(self) -> dict[str, object]:
        return {
            "listen_tls": 0,
            "listen_tcp": 1,
            "listen_addr": self.address,
            "auth_tcp": "none",
            "auth_unix_rw": "none",
            "auth_unix_ro": "none",
            "unix_sock_dir": "/run/libvirt",
            # libvirt refuses to migrate to a host with the same UUID
            "host_uuid": str(uuid.uuid4()),
        }

    def _qemu(self) -> dict[str, object]:
        return {
            "user": "root",
            "group": "root",
            "security_driver": "none",
            "cgroup_controllers": [],
            "namespaces": [],
            "stdio_handler": "file",
            "remember_owner": 0,
            "migration_host": self.address,
            "migration_address": self.address,
        }

    @cached_property
    def _within(self) -> tuple[str, ...]:
        return ("nsenter", "--mount", "--uts", f"--target={self.supervisor.pid(self.program)}")


def _add_user() -> None:
    """Add the user that libvirt looks up even though it is configured to use another; only within the sandbox."""
    for name, line in {"passwd": "x:64055:64055::/nonexistent:/bin/false", "group": "x:64055:"}.items():
        path = Path("/etc") / name
        if "libvirt-qemu:" not in path.read_text():
            with path.open("a") as file:
                file.write(f"libvirt-qemu:{line}\n")


def _settings(values: dict[str, object]) -> str:
    """Format settings in libvirt's syntax, a superset of JSON strings, numbers and lists."""
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
