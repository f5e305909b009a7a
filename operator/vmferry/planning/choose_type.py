"""Resolution of the type Auto (R7): Evacuate, Cold or Live, by the states of the server and its host."""

from __future__ import annotations

from dataclasses import dataclass

from vmferry.cloud.model import Host, ResolvedType, Server
from vmferry.resources.documented import Documented


class TypeReason(Documented):
    """Why a migration is of its type."""

    REQUESTED = "Requested", "the spec names the type"
    SERVER_RUNNING = "ServerRunning", "Auto chose Live"
    SERVER_POWERED_OFF = "ServerPoweredOff", "Auto chose Cold"
    SOURCE_HOST_DOWN = "SourceHostDown", "Auto chose Evacuate"
    SERVER_STOPPED = "ServerStopped", "Cold: the server was shut down for this migration"


@dataclass(frozen=True, slots=True)
class Choice:
    type: ResolvedType
    reason: TypeReason
    message: str


def choose_type(server: Server, source: Host | None) -> Choice:
    """Evacuate if the host's service is down, Cold if the server is powered off, else Live."""
    if source is not None and not source.service.up:
        return Choice(
            ResolvedType.EVACUATE,
            TypeReason.SOURCE_HOST_DOWN,
            f"the compute service of {source.name} is down: Evacuate",
        )
    if server.vm_state in ("stopped", "suspended"):
        return Choice(ResolvedType.COLD, TypeReason.SERVER_POWERED_OFF, f"the server is {server.status}: Cold")
    return Choice(ResolvedType.LIVE, TypeReason.SERVER_RUNNING, f"the server is {server.status}: Live")
