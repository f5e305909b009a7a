"""Compares our drain with common tools to empty a host, one after the other on the same real Nova.

Each empties the same host with the same number of new servers, under the same limits of Nova. The time is from the
first command to the end of the last migration in Nova's records.
"""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml

from testbed.bed import Bed
from testbed.bench.clock import note
from testbed.bench.drains import HOST, PATIENCE, drain, drain_bed
from testbed.cloud import CLOUD_NAME
from testbed.nova.hosts import Host
from testbed.nova.install import install
from testbed.nova.lab import NovaLab
from testbed.processes import cache_dir, run_root
from testbed.tenant import TenantError

SERVERS = 12
#: concurrent migrations from a host, the same in Nova's limit and in ours
AT_ONCE = 4
#: seconds that a copy takes
COPY = 10.0
NOVACLIENT = "18.11.0"


def to_the_loop() -> float:
    """Our time relative to a loop over `openstack server migrate --live-migration --wait`."""
    seconds = _seconds()
    return seconds["vmferry"] / seconds["loop"]


def to_host_evacuate_live() -> float:
    """Our time relative to `nova host-evacuate-live` of python-novaclient."""
    seconds = _seconds()
    return seconds["vmferry"] / seconds["host-evacuate-live"]


@functools.cache
def _seconds() -> Mapping[str, float]:
    """Seconds by tool. A tool that cannot be installed or that fails is missing, with the reason on stderr."""
    folder = Path(tempfile.mkdtemp(prefix="bench-rivals-", dir=run_root()))
    hosts = tuple(Host(name) for name in (HOST, "cmp2", "cmp3"))
    settings = {"max_concurrent_live_migrations": AT_ONCE}
    taken: dict[str, float] = {}
    with drain_bed(
        folder, AT_ONCE, lambda supervisor: NovaLab.start(supervisor, folder / "nova", hosts=hosts, settings=settings)
    ) as bed:
        bed.cloud.knob(HOST, live_seconds=COPY)
        for name, empty in _CONTENDERS.items():
            try:
                taken[name] = _timed(bed, empty)
            except (OSError, subprocess.CalledProcessError, TenantError, TimeoutError) as error:
                note(f"{name}: {error}")
                continue
            note(f"{name}: {SERVERS} servers in {taken[name]:.0f} s")
    return taken


def _timed(bed: Bed, empty: Callable[[Bed], None]) -> float:
    servers = [bed.tenant.boot(f"web-{n}", HOST, wait=False) for n in range(SERVERS)]
    for server in servers:
        bed.tenant.wait_for_status(server, "ACTIVE", timeout=120)
    began = time.monotonic()
    try:
        empty(bed)
        while (left := [one for one in servers if not _arrived(bed, one)]) and time.monotonic() < began + PATIENCE:
            time.sleep(0.5)
        taken = time.monotonic() - began
        if left:
            raise TimeoutError(f"{len(left)} servers did not leave")
        return taken
    finally:
        bed.tenant.delete(*servers)
        bed.tenant.enable_host(HOST)


def _arrived(bed: Bed, server: str) -> bool:
    return [record["status"] for record in bed.tenant.migrations(server)] == ["completed"]


# ---- the compared tools


def _vmferry(bed: Bed) -> None:
    drain(bed, AT_ONCE)


def _loop(bed: Bed) -> None:
    """Migrate one server after the other, as in runbooks; a failure does not end the loop.

    Uses the lab's python-openstackclient.
    """
    openstack = install().script("openstack")
    environment = _clean() | {"OS_CLIENT_CONFIG_FILE": str(bed.cloud.clouds_yaml), "OS_CLOUD": CLOUD_NAME}
    bed.tenant.disable_host(HOST)
    listed = _run(environment, openstack, "server", "list", "--all-projects", "--host", HOST, "-f", "value", "-c", "ID")
    for server in listed.split():
        with contextlib.suppress(subprocess.CalledProcessError):  # the failure was already printed
            _run(environment, openstack, "server", "migrate", "--live-migration", "--wait", server)


def _host_evacuate_live(bed: Bed) -> None:
    """Run a command that requests all migrations and returns; Nova's own queue runs them."""
    nova = _novaclient()
    cloud = yaml.safe_load(bed.cloud.clouds_yaml.read_text())["clouds"][CLOUD_NAME]
    auth = {f"OS_{name.upper()}": str(value) for name, value in cloud["auth"].items()}
    bed.tenant.disable_host(HOST)
    environment = _clean() | auth | {"OS_REGION_NAME": cloud["region_name"], "OS_IDENTITY_API_VERSION": "3"}
    _run(environment, nova, "host-evacuate-live", HOST)


#: ours comes last, because it keeps the host empty while its HostMaintenance exists
_CONTENDERS: dict[str, Callable[[Bed], None]] = {
    "host-evacuate-live": _host_evacuate_live,
    "loop": _loop,
    "vmferry": _vmferry,
}


def _novaclient() -> Path:
    """The `nova` command from PyPI, in a separate environment because later OpenStack releases lack it."""
    folder = cache_dir() / f"novaclient-{NOVACLIENT}"
    ready = folder / ".ready"
    if not ready.exists():
        _run(_clean(), Path(sys.executable), "-m", "venv", str(folder))
        _run(_clean(), folder / "bin/pip", "install", "--quiet", f"python-novaclient=={NOVACLIENT}")
        ready.touch()
    return folder / "bin/nova"


def _clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("OS_", "PYTHON"))}


def _run(environment: Mapping[str, str], command: Path, *args: str) -> str:
    """Run a command and return its output. Raises CalledProcessError after printing the end of its error output."""
    done = subprocess.run([command, *args], env=dict(environment), capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode:
        note(f"{command.name} {' '.join(args)}: {done.stderr[-500:]}")
        done.check_returncode()
    return done.stdout
