"""The kill switch (I31): which new moves are stopped, and what goes on nevertheless.

What starts or forces something waits. What finishes something goes on, or a server would be left half-way: confirming
a move, starting what was stopped for its move, aborting, enabling a host.
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

#: what is stopped; all other actions finish what has begun
STARTS = (LiveMigrate, ColdMigrate, Evacuate, StopServer, ForceComplete, DisableService)


#: what a breaker holds, and as which type of migration: the stop is the first step of a cold one
_HELD: Mapping[type[Action], ResolvedType] = {
    LiveMigrate: ResolvedType.LIVE,
    ColdMigrate: ResolvedType.COLD,
    StopServer: ResolvedType.COLD,
}


def breaker_kind(action: Action) -> ResolvedType | None:
    """The type of migration that the action begins, None: no breaker holds it."""
    return _HELD.get(type(action))


@dataclass(frozen=True, slots=True)
class KillSwitchState:
    """Where the switch is on. By default it is off everywhere."""

    everywhere: bool = False
    #: availability zones
    zones: frozenset[str] = frozenset()
    #: for people: that it is on, and why
    message: str = ""

    def against(self, snapshot: Snapshot, *hosts: str | None) -> str | None:
        """Why nothing new may begin on these hosts; None: it may. A host of unknown zone counts as stopped."""
        if self.everywhere:
            return self.message
        if not self.zones:
            return None
        known = [snapshot.hosts.get(host or "") for host in hosts]
        stopped = any(host is None or not host.zone or host.zone in self.zones for host in known)
        return self.message if stopped else None

    def against_action(self, action: Action, snapshot: Snapshot) -> str | None:
        """Why the request must not be sent now; None: it may be sent."""
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
    """The data of the ConfigMap called `source`: `stop: "true"` or `zones: "az1,az2"`, and a `reason` for people.

    What cannot be understood stops everything: somebody wanted something of a kill switch.
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
