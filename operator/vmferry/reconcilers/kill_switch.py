"""The kill switch (I31): which actions it prevents, and which continue.

Actions that start or force something wait. Actions that finish something continue, so that no server is left half
moved: confirming a move, starting a server that was shut down for its move, aborting, and enabling a host.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vmferry.cloud.actions import (
    Action,
    ColdMigrate,
    DisableService,
    EnableService,
    Evacuate,
    ForceComplete,
    LiveMigrate,
    StopServer,
)
from vmferry.cloud.model import ResolvedType, Snapshot
from vmferry.resources.base import clip

#: the actions that the kill switch prevents; all others finish something that has begun
STARTS = (LiveMigrate, ColdMigrate, Evacuate, StopServer, ForceComplete, DisableService)


#: the actions that a breaker holds, with their type of migration: a shutdown is the first step of a cold migration
_HELD: Mapping[type[Action], ResolvedType] = {
    LiveMigrate: ResolvedType.LIVE,
    ColdMigrate: ResolvedType.COLD,
    StopServer: ResolvedType.COLD,
}


def breaker_kind(action: Action) -> ResolvedType | None:
    """The type of migration that the action begins; None if no breaker holds the action."""
    return _HELD.get(type(action))


@dataclass(frozen=True, slots=True)
class KillSwitchState:
    """Where the kill switch is on. The default is off everywhere."""

    everywhere: bool = False
    #: availability zones
    zones: frozenset[str] = frozenset()
    #: message for users: that the switch is on, and why
    message: str = ""

    def against(self, snapshot: Snapshot, *hosts: str | None) -> str | None:
        """Why nothing may start on these hosts; None: it may. A host in an unknown zone counts as in a stopped zone."""
        if self.everywhere:
            return self.message
        if not self.zones:
            return None
        known = [snapshot.hosts.get(host or "") for host in hosts]
        stopped = any(host is None or not host.zone or host.zone in self.zones for host in known)
        return self.message if stopped else None

    def against_action(self, action: Action, snapshot: Snapshot) -> str | None:
        """Why the request must not be sent now; None if it may be sent."""
        if not isinstance(action, STARTS):
            return None
        return self.against(snapshot, *_hosts(action, snapshot))


def _hosts(action: Action, snapshot: Snapshot) -> tuple[str | None, ...]:
    if isinstance(action, DisableService | EnableService):
        return (action.host,)
    server = snapshot.servers.get(action.server_id)
    source = server.host if server else None
    return (source, action.target_host) if isinstance(action, LiveMigrate | ColdMigrate | Evacuate) else (source,)


def parse(data: Mapping[str, str], source: str) -> KillSwitchState:
    """Parse the data of the ConfigMap `source`: `stop: "true"` or `zones: "az1,az2"`, and a `reason` for users.

    Data that cannot be parsed stops everything, because the user intended to set the kill switch.
    """
    unknown = sorted(data.keys() - {"stop", "zones", "reason"})
    word = data.get("stop", "").strip().lower()
    zones = frozenset(filter(None, (zone.strip() for zone in data.get("zones", "").split(","))))
    reason = f": {clip(data['reason'].strip(), 200)}" if data.get("reason", "").strip() else ""
    told = f"new moves are stopped by {source}"
    if unknown:
        return KillSwitchState(everywhere=True, message=f"{told}, which has an unknown key {clip(unknown[0], 100)}")
    if word == "true":
        return KillSwitchState(everywhere=True, message=f"{told}{reason}")
    if word not in ("", "false"):
        return KillSwitchState(everywhere=True, message=f"{told}: stop is neither true nor false")
    if zones:
        return KillSwitchState(zones=zones, message=f"{told} in {clip(', '.join(sorted(zones)), 200)}{reason}")
    return KillSwitchState()
