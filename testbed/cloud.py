"""What the demo and the tests do to a cloud besides its OpenStack API, in one interface for Nova and the simulator."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

#: the entry of every clouds.yaml that the testbed writes (an administrator)
CLOUD_NAME = "vmferry"


class CloudLab(Protocol):
    """A running cloud on loopback with a handful of hosts, reached by `clouds_yaml` (entry `CLOUD_NAME`)."""

    @property
    def name(self) -> str:
        """`simulator` or `nova`."""

    @property
    def clouds_yaml(self) -> Path: ...

    @property
    def hosts(self) -> tuple[str, ...]:
        """Service host names, the same on both clouds: cmp1, cmp2, …"""

    def kill_compute(self, host: str) -> None:
        """Kill the host's nova-compute with SIGKILL; its service becomes `down` some seconds later."""

    def start_compute(self, host: str) -> None:
        """Start the host's nova-compute again and wait until its service is up."""

    def forget_guest(self, server_id: str) -> None:
        """Remove the remains of a deleted server from all hosts, as if failed hosts had been reinstalled."""

    def knob(self, host: str, **values: float | bool | None) -> None:
        """Set how migrations *from* this host behave, until `reset_knobs`.

        `live_seconds`: duration of a live copy. `fail_live_at` (0 to 1): the copy fails at this fraction.
        `never_converge`: the copy stops at 90 % until it is forced or aborted. None removes a value.
        """

    def reset_knobs(self) -> None: ...
