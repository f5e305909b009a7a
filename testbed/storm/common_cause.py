"""A common cause of many failures: for a while every move from one host, or from all, leaves its server in ERROR.

It also checks the rule of the breaker (I37, R46): the operator makes only a few such attempts, not one per server.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from testbed.storm.happening import MIGRATIONS, Happening
from vmferry.cloud.model import ResolvedType
from vmferry.resources.base import format_time
from vmferry.runtime.key import Key
from vmferry.runtime.store import Body
from vmferry.simulator.fleet import Fleet

if TYPE_CHECKING:
    from testbed.storm.world import World

HOST = "cmp1"
#: `policy.breaker.pause` in seconds
PAUSE = 120.0
#: `policy.breaker` in the configuration of every storm
BREAKER = {"attempts": 2, "hosts": 2, "window": "10m", "pause": f"{PAUSE:.0f}s"}
#: seconds after which an operator must consider a failure that it has written
KNOWS = 20.0
#: states of attempts that are not failures of Nova: they did not start in Nova, or their server was deleted
NOT_OF_NOVA = ("NotSent", "NotNow", "Refused", "ServerGone")
#: knobs of a host on which every copy fails soon
BROKEN = {"fail_live_at": 0.4, "live_seconds": 4, "fail_cold": True, "cold_seconds": 4}


def draw_common_cause(dice: Random, fleet: Fleet) -> tuple[Fleet, list[Happening]]:
    """Draw the cause for some storms. It has its own random numbers, so that other storms do not change."""
    if dice.random() < 0.85:
        return fleet, []
    more = [
        {"name": f"many-{n}", "host": HOST, "flavor": "small", "volume": "new", "state": "active"}
        for n in range(dice.randint(4, 7))
    ]
    body = fleet.model_dump(exclude_unset=True)
    grown = Fleet.model_validate({**body, "servers": [*body["servers"], *more]})
    return grown, _happenings(dice, [str(one["name"]) for one in more])


def _happenings(dice: Random, names: list[str]) -> list[Happening]:
    at = dice.uniform(5, 100)
    everywhere = dice.random() < 0.3
    repaired = at + dice.choice([30.0, 90.0, 150.0])
    drained, running = dice.random() < 0.6, dice.choice(["LiveMigrate", "ColdMigrate"])
    said = dice.choice([None, HOST, "cloud"])

    def breaks(world: World) -> str:
        cloud = world.site.cloud
        cloud.settings.nova.copy_failure = "error"
        for host in cloud.hosts.values():
            if everywhere or host.name == HOST:
                host.knobs = dict(BROKEN)
        return f"every move from {'every host' if everywhere else HOST} leaves its server in ERROR"

    def asks(world: World) -> str:
        if drained:
            spec: dict[str, Any] = {"host": HOST, "enabled": True, "running": running, "maxParallel": 4}
            world.api.create("HostMaintenance", {"metadata": {"name": "many"}, "spec": spec})
            return f"many: {spec}"
        cold = {"type": "Cold", "stopIfRunning": True} if running == "ColdMigrate" else {"type": "Live"}
        for server in world.site.cloud.servers.values():
            if server.name in names and server.deleted_at is None:
                body = {
                    "metadata": {"namespace": MIGRATIONS, "name": server.name},
                    "spec": {"server": {"id": server.id}, **cold},
                }
                world.api.create("VMMigration", body)
        return f"{len(names)} VMMigrations: {cold}"

    def repairs(world: World) -> str:
        for host in world.site.cloud.hosts.values():
            if host.knobs == BROKEN:
                host.knobs = {}
        if said is not None:
            world.api.marks = {said: format_time(world.moment())}
        return f"it is repaired; resumed: {said}"

    return [Happening(at, breaks), Happening(at + 1, asks), Happening(repaired, repairs)]


@dataclass(frozen=True, slots=True)
class _End:
    """The end of an attempt, as an operator wrote it, and the state of its server at that time."""

    at: float
    #: when the end was first written: the breaker's pause begins then; the server may get into ERROR later
    ended: float
    by: str
    source: str
    good: bool
    #: whether the server was in ERROR
    broke: bool
    people: bool


class CommonCause:
    """Checks that few attempts from one host leave servers in ERROR (I37)."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._ends: dict[tuple[Key, str, int], _End] = {}
        #: times of the requested moves, by source host
        self._asked: dict[str, list[float]] = {}
        #: whether an operator's clock was ever wrong; then its pauses cannot be checked
        self._skewed = False

    def status_written(self, by: str, key: Key, body: Body) -> None:
        server = self._world.site.cloud.servers.get(body["status"].get("server", {}).get("id", ""))
        for attempt in body["status"].get("attempts", []):
            known = (key, body["metadata"]["uid"], attempt["number"])
            evacuated = attempt["type"] == ResolvedType.EVACUATE
            if "endedAt" not in attempt or evacuated or attempt["state"] in NOT_OF_NOVA:
                continue
            before = self._ends.get(known)
            good = attempt["state"] in ("Completed", "Confirmed")
            broke = not good and server is not None and server.vm_state == "error"
            if before is None or (broke and not before.broke):
                people = attempt["state"] in ("Cancelled", "Reverted")
                ended = self._now if before is None else before.ended
                self._ends[known] = _End(self._now, ended, by, attempt["sourceHost"], good, broke, people)

    def gone(self, key: Key) -> None:
        self._ends = {known: end for known, end in self._ends.items() if known[0] != key}

    def see(self) -> None:
        self._skewed |= any(process.skew for process in self._world.processes)

    def asked(self, by: str, source: str | None) -> str | None:
        """Check a request for a live or cold migration, or for the shutdown before it. Returns the violation."""
        if source is None:
            return None
        asked = self._asked.setdefault(source, [])
        asked.append(self._now)
        row = self._row(source)
        needed = int(BREAKER["attempts"])  # type: ignore[call-overload]
        known = [end for end in row if end.by == by and self._now - end.at > KNOWS]
        if self._skewed or len(known) < needed:
            return None
        opened = known[needed - 1].at + KNOWS
        since = sum(at > opened for at in asked)
        # a cold migration makes two requests: for the shutdown, and for the move
        allowed = 2 * int((self._now - known[needed - 1].ended + 5) / PAUSE)
        if since <= allowed:
            return None
        return f"I37: {since} moves from {source} are begun after {len(known)} servers were left in ERROR"

    def _row(self, source: str) -> list[_End]:
        """Attempts from the host that left their servers in ERROR since the last success; none after a resume mark."""
        marks = self._world.api.marks
        if source in marks or "cloud" in marks:
            return []
        row: list[_End] = []
        for end in sorted(self._ends.values(), key=lambda one: one.at):
            if end.source == source and end.good:
                row = []
            elif end.source == source and end.broke and not end.people:
                row.append(end)
        return row

    @property
    def _now(self) -> float:
        return self._world.site.cloud.now
