"""What the HostMaintenances claim: who has a host (I16, I26), and which hosts nothing may be moved to (I18)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from vmferry.cloud.model import Snapshot
from vmferry.resources.hostmaintenance import HostMaintenance
from vmferry.resources.words import MaintenancePhase


@dataclass(frozen=True, slots=True)
class Claim:
    """What one HostMaintenance says about a host."""

    name: str
    uid: str
    #: as its spec names it: service host name or hypervisor UUID
    host: str
    created_at: datetime | None
    #: the host is to be in maintenance
    wanted: bool
    #: it was let in: the host is cordoned by it, or about to be, and not released yet
    holds: bool
    #: nothing but its turn keeps it from being let in
    queued: bool = False

    @property
    def turn(self) -> tuple[bool, float, str]:
        """The least one wins: who has the host already, then the older one."""
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
    """Names of the hosts in, entering or queued for maintenance (I18)."""
    hosts = (snapshot.find_host(claim.host) for claim in claims if claim.wanted)
    return frozenset(host.name for host in hosts if host is not None)
