"""What demo and tests may do to a cloud beside its OpenStack API: the same words for Nova and the simulator."""

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
        """Compute service host names; the same on both clouds: cmp1 ..."""

    def kill_compute(self, host: str) -> None:
        """SIGKILL to the host's nova-compute; its service is seen `down` some seconds later."""

    def start_compute(self, host: str) -> None:
        """Start the host's nova-compute again and wait until its service is up."""

    def forget_guest(self, server_id: str) -> None:
        """Take what is left of a deleted server off all hosts, as if those that had failed were installed anew."""

    def knob(self, host: str, **values: float | bool | None) -> None:
        """Set how migrations *from* this host behave, until `reset_knobs`.

        `live_seconds` (how long a live migration copies), `fail_live_at` (0..1: fails after this part of the copy),
        `never_converge` (stays at 90 % until forced or aborted). None removes a value.
        """

    def reset_knobs(self) -> None: ...
