"""The host claims of HostMaintenances: which owns a host (I16, I26), and which hosts are excluded as targets (I18)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from vmferry.cloud.model import Snapshot
from vmferry.resources.hostmaintenance import HostMaintenance
from vmferry.resources.words import MaintenancePhase


@dataclass(frozen=True, slots=True)
class Claim:
    """The claim of a HostMaintenance on a host."""

    name: str
    uid: str
    #: the host as the spec names it: service host name or hypervisor UUID
    host: str
    created_at: datetime | None
    #: whether the host should be in maintenance
    wanted: bool
    #: whether the maintenance was admitted: it has cordoned the host or is about to, and has not released it
    holds: bool
    #: whether the maintenance waits only for its queue position
    queued: bool = False

    @property
    def turn(self) -> tuple[bool, float, str]:
        """Precedence; the smallest value wins: first the current owner of the host, then the older maintenance."""
        return not self.holds, self.created_at.timestamp() if self.created_at else 0.0, self.uid


def claim_of(obj: HostMaintenance) -> Claim:
    deleting = obj.metadata.deletion_timestamp is not None
    return Claim(
        name=obj.metadata.name,
        uid=obj.metadata.uid,
        host=obj.spec.host,
        created_at=obj.metadata.creation_timestamp,
        wanted=obj.spec.enabled and not obj.spec.preflight_only and not deleting,
        holds=obj.status.admitted_at is not None,
        queued=obj.status.phase is MaintenancePhase.QUEUED,
    )


def in_maintenance(claims: Iterable[Claim], snapshot: Snapshot) -> frozenset[str]:
    """Names of the hosts that are in maintenance, entering it or queued for it (I18)."""
    hosts = (snapshot.find_host(claim.host) for claim in claims if claim.wanted)
    return frozenset(host.name for host in hosts if host is not None)
