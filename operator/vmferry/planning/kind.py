"""Auto (R7): which kind of migration fits the server's state and its host's state, and why."""

from __future__ import annotations

from dataclasses import dataclass

from vmferry.cloud.model import Host, MigrationKind, Server


@dataclass(frozen=True, slots=True)
class Choice:
    kind: MigrationKind
    #: CamelCase, for a condition
    reason: str
    message: str


def choose_kind(server: Server, source: Host | None) -> Choice:
    """Evacuate when the host's service is down, Cold when the server is powered off, Live otherwise."""
    if source is not None and not source.service.up:
        return Choice(
            MigrationKind.EVACUATE,
            "SourceHostDown",
            f"the compute service of {source.name} is down: Evacuate",
        )
    if server.vm_state in ("stopped", "suspended"):
        return Choice(MigrationKind.COLD, "ServerPoweredOff", f"the server is {server.status}: Cold")
    return Choice(MigrationKind.LIVE, "ServerRunning", f"the server is {server.status}: Live")
