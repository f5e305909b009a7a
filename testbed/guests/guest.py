"""A guest that counts on its serial console while it runs: its kernel, its first process, its libvirt domain."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
import threading
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from testbed.debian import InstallError
from testbed.guests.host import CONSOLES, GuestHost

HERE = Path(__file__).resolve().parent
#: kernel modules for the guest's disk, in loading order
MODULES = ("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_blk")
_LINE = re.compile(rb"^count (\d+) (\d+\.\d+)\r?$", re.MULTILINE)
#: timeout in seconds for the first count in a trial of KVM
_TRIAL = 15.0
#: seconds between two readings of a console
_READ = 0.005
#: tolerance in seconds for the order in which two consoles are read
_READ_TWICE = 1.0


@dataclass(frozen=True)
class Boot:
    """A kernel and an initial file system with the first process `init`."""

    kernel: Path
    initrd: Path

    @classmethod
    def make(cls, packages: Path, folder: Path) -> Boot:
        """Build it in `folder` from the Debian packages in `packages`. Raises InstallError."""
        (kernel,) = (packages / "boot").glob("vmlinuz-*")
        root = folder / "initrd"
        for name in ("bin", "proc", "dev", "memory", "modules"):
            (root / name).mkdir(parents=True)
        shutil.copy(packages / "usr/bin/busybox", root / "bin/busybox")
        shutil.copy(HERE / "init", root / "init")
        (root / "init").chmod(0o755)
        found = {path.stem: path for path in packages.glob("usr/lib/modules/*/kernel/drivers/**/virtio*.ko")}
        # missing modules are built into the kernel
        for number, name in enumerate(name for name in MODULES if name in found):
            shutil.copy(found[name], root / f"modules/{number}-{name}.ko")
        names = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
        done = subprocess.run(["cpio", "-o", "-H", "newc"], input=names.encode(), cwd=root, capture_output=True)
        if done.returncode != 0:
            raise InstallError(f"cpio: {done.stderr.decode()}")
        (folder / "initrd.gz").write_bytes(gzip.compress(done.stdout))
        return cls(kernel, folder / "initrd.gz")

    @cached_property
    def accelerator(self) -> str:
        """The type of a domain: kvm if it works on this machine, otherwise qemu. /dev/kvm alone does not prove that it
        works."""
        if not Path("/dev/kvm").exists():
            return "qemu"
        command = ["qemu-system-x86_64", "-accel", "kvm", "-m", "256", "-display", "none", "-net", "none"]
        command += ["-kernel", str(self.kernel), "-initrd", str(self.initrd)]
        command += ["-append", "console=ttyS0 quiet", "-serial", "stdio"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as trial:
            ended = threading.Timer(_TRIAL, trial.kill)
            ended.start()
            assert trial.stdout is not None
            counts = any(line.startswith(b"count ") for line in trial.stdout)
            trial.kill()
            ended.cancel()
        return "kvm" if counts else "qemu"


@dataclass(frozen=True)
class Guest:
    """A libvirt domain; `disk` has the same path on all hosts."""

    name: str
    boot: Boot
    disk: Path
    memory_mb: int = 256
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))

    def domain(self) -> str:
        """The domain's libvirt XML."""
        return f"""<domain type='{self.boot.accelerator}'>
  <name>{self.name}</name><uuid>{self.uuid}</uuid><memory unit='MiB'>{self.memory_mb}</memory><vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <kernel>{self.boot.kernel}</kernel><initrd>{self.boot.initrd}</initrd>
    <cmdline>console=ttyS0 quiet</cmdline>
  </os>
  <features><acpi/></features>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw' cache='none'/><source file='{self.disk}'/><target dev='vda' bus='virtio'/>
    </disk>
    <serial type='file'><source path='{CONSOLES}/{self.name}.log' append='on'/></serial>
    <memballoon model='none'/>
  </devices>
</domain>
"""

    def written(self) -> int:
        """The last count on the guest's disk, or 0."""
        return int(self.disk.read_bytes()[:512].split(b"\n")[0].strip(b"\0") or 0)


@dataclass(frozen=True)
class Count:
    """A line of a console."""

    #: when it was read, by this machine's monotonic clock
    seen: float
    host: str
    number: int
    #: by the guest's own clock
    uptime: float


class Watcher:
    """Reads a guest's console on every host, from its creation until `stop`."""

    def __init__(self, guest: Guest, hosts: Iterable[GuestHost]) -> None:
        self._files = {host.name: host.consoles / f"{guest.name}.log" for host in hosts}
        self._counts: list[Count] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def counts(self, host: str | None = None) -> list[Count]:
        """The counts so far, in the order of reading."""
        return [count for count in list(self._counts) if host in (None, count.host)]

    def stop(self) -> list[Count]:
        self._ended.set()
        self._thread.join()
        return self.counts()

    def _read(self) -> None:
        read = dict.fromkeys(self._files, 0)
        while not self._ended.is_set():
            for host, path in self._files.items():
                if not path.exists():
                    continue
                with path.open("rb") as file:
                    file.seek(read[host])
                    text = file.read()
                whole = text[: text.rfind(b"\n") + 1]
                read[host] += len(whole)
                now = time.monotonic()
                self._counts += [Count(now, host, int(n), float(up)) for n, up in _LINE.findall(whole)]
            time.sleep(_READ)


def longest_gap(counts: Iterable[Count]) -> float:
    """The longest time in seconds without a report of the guest."""
    seen = sorted(count.seen for count in counts)
    return max((after - before for before, after in pairwise(seen)), default=0.0)


def check_ran_once(counts: Iterable[Count]) -> None:
    """Raise AssertionError unless each number was counted exactly once: a guest that runs twice counts twice."""
    in_order = sorted(counts, key=lambda count: (count.number, count.seen))
    for before, after in pairwise(in_order):
        assert after.number != before.number, f"counted twice: {before}, {after}"
        assert after.number == before.number + 1, f"nothing between {before} and {after}"
        assert after.uptime >= before.uptime, f"the guest's clock went back: {before}, {after}"
        assert after.seen >= before.seen - _READ_TWICE, f"counted too late: {before}, {after}"
