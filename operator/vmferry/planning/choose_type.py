"""Auto (R7): which type of migration fits the server's state and its host's state, and why."""

from __future__ import annotations

from dataclasses import dataclass

from vmferry.cloud.model import Host, ResolvedType, Server


@dataclass(frozen=True, slots=True)
class Choice:
    type: ResolvedType
    #: CamelCase, for a condition
    reason: str
    message: str


def choose_type(server: Server, source: Host | None) -> Choice:
    """Evacuate when the host's service is down, Cold when the server is powered off, Live otherwise."""
    if source is not None and not source.service.up:
        return Choice(
            ResolvedType.EVACUATE,
            "SourceHostDown",
            f"the compute service of {source.name} is down: Evacuate",
        )
    if server.vm_state in ("stopped", "suspended"):
        return Choice(ResolvedType.COLD, "ServerPoweredOff", f"the server is {server.status}: Cold")
    return Choice(ResolvedType.LIVE, "ServerRunning", f"the server is {server.status}: Live")
