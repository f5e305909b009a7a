"""Two real hypervisor hosts and real guests, without a cloud above them."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.guests.guest import Boot, Guest, Watcher, check_ran_once, longest_gap
from testbed.guests.host import PACKAGES, GuestHost
from testbed.processes import Supervisor, wait_for
from testbed.sandbox import install

pytestmark = [pytest.mark.nova, pytest.mark.long]


class Bed:
    """Hosts n1 and n2, and what their guests boot from."""

    def __init__(self, supervisor: Supervisor, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "store"
        self.store.mkdir()
        self.boot = Boot.make(install(PACKAGES), folder)
        self.hosts = [
            GuestHost(supervisor, folder / f"n{number}", f"n{number}", f"127.0.0.2{number}", self.store)
            for number in (1, 2)
        ]
        for host in self.hosts:
            host.start()

    def start(self, name: str) -> tuple[Guest, Watcher]:
        """On n1; until it counts."""
        disk = self.store / f"{name}.raw"
        disk.write_bytes(bytes(1 << 20))
        guest = Guest(name, self.boot, disk)
        definition = self.folder / f"{name}.xml"
        definition.write_text(guest.domain())
        watcher = Watcher(guest, self.hosts)
        self.hosts[0].virsh("create", definition)
        wait_for(lambda: len(watcher.counts("n1")) > 20, 120, "the guest to count")
        return guest, watcher

    def migrate(self, guest: Guest, source: int = 0) -> float:
        """Until it is over; returns the seconds that it took. InstallError if it fails."""
        began = time.monotonic()
        uri = f"qemu+tcp://{self.hosts[1 - source].address}/system"
        self.hosts[source].virsh("migrate", "--live", "--p2p", guest.name, uri)
        return time.monotonic() - began


@pytest.fixture(scope="module")
def bed() -> Iterator[Bed]:
    # below TMPDIR, which the sandbox removes however it ends
    folder = Path(tempfile.mkdtemp())
    supervisor = Supervisor(folder)
    try:
        yield Bed(supervisor, folder)
    finally:
        supervisor.stop_all()


def test_a_guest_that_moves_there_and_back_never_stops_counting(bed: Bed) -> None:
    guest, watcher = bed.start("traveller")
    there = bed.migrate(guest)
    wait_for(lambda: len(watcher.counts("n2")) > 20, 120, "the guest to count on n2")
    back = bed.migrate(guest, 1)
    here = len(watcher.counts("n1"))
    wait_for(lambda: len(watcher.counts("n1")) > here + 20, 120, "the guest to count on n1 again")
    last = watcher.counts()[-1].number
    wait_for(lambda: guest.written() > last, 120, "its disk to be written")
    bed.hosts[0].virsh("destroy", guest.name)
    counts = watcher.stop()
    check_ran_once(counts)
    assert last < guest.written() <= counts[-1].number
    gap = longest_gap(counts)
    print(f"{guest.boot.accelerator}: moves of {there:.1f} s and {back:.1f} s, no count for at most {gap:.3f} s")
    assert gap < min(there, back), "it did not run while its memory was copied"
