"""The events of a schedule, drawn from a seed: the same seed yields the same schedule. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Any

from testbed.proxy.watch import WatchFault
from vmferry.simulator.faults import Fault


class Do(StrEnum):
    """The actions of a schedule: by people, or on hosts and the operator."""

    MIGRATE = "migrate"
    #: delete a VMMigration
    CANCEL = "cancel"
    DRAIN = "drain"
    RELEASE = "release"
    #: delete a HostMaintenance
    UNDRAIN = "undrain"
    DELETE_SERVER = "delete server"
    KILL_HOST = "kill host"
    #: mark a killed host as dead
    ATTEST = "attest"
    START_HOST = "start host"
    KNOBS = "knobs"
    SWITCH_ON = "switch on"
    SWITCH_OFF = "switch off"
    REVOKE_TOKENS = "revoke tokens"
    KILL_OPERATOR = "kill operator"
    #: right after the operator's next change of a service took effect, before the operator gets the response
    KILL_AT_CHANGE = "kill at change"
    START_OPERATOR = "start operator"
    #: suspends the operator for a while, so that its clocks jump
    FREEZE_OPERATOR = "freeze operator"
    THAW_OPERATOR = "thaw operator"


@dataclass(frozen=True, slots=True)
class Deed:
    at: float
    do: Do
    on: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.at:5.1f} {self.do} {self.on} {dict(self.more) if self.more else ''}".rstrip()


@dataclass(frozen=True, slots=True)
class Trouble:
    """A fault at a proxy, for some time."""

    at: float
    seconds: float
    service: str
    #: None means an outage of the whole service
    fault: Fault | WatchFault | None

    def __str__(self) -> str:
        told = "outage" if self.fault is None else str(self.fault.model_dump(exclude_defaults=True))
        return f"{self.at:5.1f} {self.service} for {self.seconds:.1f} s: {told}"


@dataclass(frozen=True, slots=True)
class Vm:
    name: str
    host: str
    stopped: bool


@dataclass(frozen=True, slots=True)
class Schedule:
    seed: int
    servers: tuple[Vm, ...]
    #: the operator's configuration, which overrides the bed's own
    config: Mapping[str, Any]
    #: the simulator's setting `copy_failure`
    copy_failure: str
    deeds: tuple[Deed, ...]
    troubles: tuple[Trouble, ...]

    def __str__(self) -> str:
        fleet = ", ".join(f"{vm.name} on {vm.host}{' stopped' if vm.stopped else ''}" for vm in self.servers)
        both: list[Deed | Trouble] = [*self.deeds, *self.troubles]
        steps = sorted(both, key=lambda step: step.at)
        head = [f"schedule of seed {self.seed}: {fleet}", f"  {dict(self.config)}, a failed copy: {self.copy_failure}"]
        return "\n".join([*head, *(f"  {step}" for step in steps)])


def draw(seed: int, hosts: Sequence[str], seconds: float = 25.0) -> Schedule:
    """Draw a schedule for equal `hosts` that takes `seconds`, plus the time to come to rest."""
    random = Random(seed)
    servers = tuple(
        Vm(f"vm{number}", random.choice(hosts), random.random() < 0.25) for number in range(random.randint(4, 8))
    )
    limits = {"perSource": random.randint(1, 3), "perTarget": random.randint(1, 3), "total": random.randint(2, 8)}
    config = {
        "limits": limits,
        "maintenance": {"maxHostsPerCluster": random.randint(1, 2)},
    }
    return Schedule(
        seed,
        servers,
        config,
        random.choice(("rollback", "error")),
        tuple(sorted(_deeds(random, servers, hosts, seconds), key=lambda deed: deed.at)),
        tuple(sorted(_troubles(random, seconds), key=lambda trouble: trouble.at)),
    )


#: paths to which the operator writes statuses
STATUS = "/(vmmigrations|hostmaintenances)/[^/]+/status"


# ---- actions


def _deeds(random: Random, servers: Sequence[Vm], hosts: Sequence[str], seconds: float) -> list[Deed]:
    deeds: list[Deed] = []
    for number in range(random.randint(4, 12)):
        at, name = _moment(random, seconds * 0.8), f"m{number}"
        deeds.append(Deed(at, Do.MIGRATE, name, _migration(random, servers, hosts)))
        if random.random() < 0.25:
            deeds.append(Deed(at + random.uniform(0.2, 8), Do.CANCEL, name))
    for host in random.sample(hosts, random.choice((0, 1, 1, 2))):
        deeds += _maintenance(random, host, seconds)
    if random.random() < 0.35:
        deeds += _failure(random, random.choice(hosts), seconds)
    for _ in range(random.randint(0, 3)):
        knob = random.choice(
            (
                {"live_seconds": random.uniform(0.2, 6)},
                {"live_seconds": random.uniform(0.2, 6)},
                {"never_converge": True},
                {"fail_live_at": random.uniform(0.1, 0.9)},
            )
        )
        deeds.append(Deed(_moment(random, seconds / 2), Do.KNOBS, random.choice(hosts), knob))
    if random.random() < 0.15:
        deeds.append(Deed(_moment(random, seconds), Do.DELETE_SERVER, random.choice(servers).name))
    for chance, begin, end, longest in (
        (0.5, Do.KILL_OPERATOR, Do.START_OPERATOR, 6.0),
        (0.4, Do.FREEZE_OPERATOR, Do.THAW_OPERATOR, 9.0),
        (0.3, Do.SWITCH_ON, Do.SWITCH_OFF, 8.0),
    ):
        if random.random() < chance:
            at = _moment(random, seconds)
            deeds += [Deed(at, begin), Deed(at + random.uniform(0.1, longest), end)]
    if random.random() < 0.4:
        deeds.append(Deed(_moment(random, seconds), Do.REVOKE_TOKENS))
    if random.random() < 0.5:
        at = _moment(random, seconds * 0.8)
        service, path = random.choice((("compute", "/action$"), ("compute", "."), ("kubernetes", STATUS)))
        deeds.append(Deed(at, Do.KILL_AT_CHANGE, service, {"path": path}))
        deeds += [Deed(at + pause, Do.START_OPERATOR) for pause in (random.uniform(1, 4), random.uniform(4, 9))]
    return deeds


def _moment(random: Random, until: float) -> float:
    return random.uniform(0, until)


def _migration(random: Random, servers: Sequence[Vm], hosts: Sequence[str]) -> dict[str, Any]:
    kind = random.choice(("Live", "Live", "Cold", "Auto", "Auto", "Evacuate"))
    spec: dict[str, Any] = {
        "server": random.choice(servers).name,
        "type": kind,
        "retries": random.randint(0, 2),
        "timeout": f"{random.randint(4, 40)}s",
    }
    if random.random() < 0.5:
        spec["target"] = {"host": random.choice(hosts)}
    if kind in ("Cold", "Auto"):
        spec["stopIfRunning"] = random.random() < 0.7
    if kind in ("Live", "Auto"):
        spec["onTimeout"] = random.choice(("Abort", "ForceComplete"))
    return spec


def _maintenance(random: Random, host: str, seconds: float) -> list[Deed]:
    spec: dict[str, Any] = {
        "maxParallel": random.randint(1, 3),
        "returnVMs": random.random() < 0.4,
        "running": random.choice(("LiveMigrate", "LiveMigrate", "ColdMigrate", "Leave")),
        "poweredOff": random.choice(("ColdMigrate", "ColdMigrate", "Leave")),
        "onBlockers": random.choice(("Proceed", "Proceed", "Refuse")),
        "migration": {"retries": random.randint(0, 2), "timeout": f"{random.randint(5, 40)}s"},
    }
    at = _moment(random, seconds / 2)
    deeds = [Deed(at, Do.DRAIN, host, spec)]
    while random.random() < 0.5:
        at += random.uniform(0.5, 8)
        deeds.append(Deed(at, random.choice((Do.RELEASE, Do.DRAIN, Do.UNDRAIN)), host, spec))
    return [deed for deed in deeds if deed.at < seconds + 5]


def _failure(random: Random, host: str, seconds: float) -> list[Deed]:
    at = _moment(random, seconds / 2)
    deeds = [Deed(at, Do.KILL_HOST, host)]
    if random.random() < 0.7:
        deeds.append(Deed(at + random.uniform(0.5, 6), Do.ATTEST, host))
    deeds.append(Deed(max(at + random.uniform(6, 15), seconds * 0.7), Do.START_HOST, host))
    return deeds


# ---- faults

WRITES = "^(POST|PUT|PATCH|DELETE)$"
#: shorter than `recordGrace`, the time for which a record may be missing: a cloud with older responses than that cannot
#: be checked
STALE_SECONDS = 4.0


def _chance(random: Random) -> float:
    return random.choice((0.1, 0.3, 0.6, 1.0))


def _compute(random: Random) -> Fault:
    return random.choice(_COMPUTE)(random)


_COMPUTE: tuple[Callable[[Random], Fault], ...] = (
    lambda r: Fault(method="POST", path="/action$", drop="after", probability=_chance(r)),
    lambda r: Fault(method="POST", path="/action$", drop="before", probability=_chance(r)),
    lambda r: Fault(method=WRITES, drop="after", lag=r.uniform(0, 3), probability=_chance(r)),
    lambda r: Fault(method="POST", path="/action$", truncate=True, probability=_chance(r)),
    lambda r: Fault(method="POST", path="/action$", status=r.choice((500, 503, 504)), probability=_chance(r)),
    lambda r: Fault(drop=r.choice(("before", "after")), probability=_chance(r)),
    lambda r: Fault(status=r.choice((500, 502, 503)), probability=_chance(r)),
    lambda r: Fault(status=429, headers={"Retry-After": str(r.randint(0, 3))}, probability=_chance(r)),
    lambda r: Fault(method="GET", truncate=True, probability=_chance(r)),
    lambda r: Fault(delay=r.uniform(0.2, 3), probability=_chance(r)),
    lambda r: Fault(lag=r.uniform(0.2, 3), probability=_chance(r)),
    lambda r: Fault(delay=r.uniform(6, 12), drop="before", probability=0.1),
    lambda r: Fault(method="GET", stale=True, probability=_chance(r)),
    lambda r: Fault(status=401, probability=_chance(r)),
    lambda r: Fault(method=WRITES, redirect=True, probability=_chance(r)),
    lambda r: Fault(redirect=True, probability=_chance(r)),
    lambda r: Fault(drip=r.uniform(3, 12), probability=_chance(r)),
)

_KUBERNETES: tuple[Callable[[Random], Fault | WatchFault], ...] = (
    lambda r: Fault(method=WRITES, path=STATUS, status=409, probability=_chance(r)),
    lambda r: Fault(method=WRITES, path=STATUS, status=422, probability=_chance(r)),
    lambda r: Fault(method=WRITES, path=STATUS, drop="after", probability=_chance(r)),
    lambda r: Fault(method=WRITES, drop=r.choice(("before", "after")), probability=_chance(r)),
    lambda r: Fault(status=r.choice((500, 503)), probability=_chance(r)),
    lambda r: Fault(status=429, headers={"Retry-After": "1"}, probability=_chance(r)),
    lambda r: Fault(method="GET", truncate=True, probability=_chance(r)),
    lambda r: Fault(method="GET", stale=True, probability=_chance(r)),
    lambda r: Fault(lag=r.uniform(0.2, 2), probability=_chance(r)),
    lambda r: WatchFault(missing=_chance(r)),
    lambda r: WatchFault(events=("DELETED",), missing=1),
    lambda r: WatchFault(duplicate=_chance(r)),
    lambda r: WatchFault(ends_after=r.randint(1, 5)),
)


def _troubles(random: Random, seconds: float) -> list[Trouble]:
    troubles = []
    for _ in range(random.randint(4, 10)):
        service = random.choice(("compute", "compute", "compute", "identity", "placement", "kubernetes", "kubernetes"))
        at, lasts = _moment(random, seconds), random.uniform(1, 9)
        fault: Fault | WatchFault | None
        if random.random() < 0.25:
            fault = None
        elif service == "kubernetes":
            fault = random.choice(_KUBERNETES)(random)
        else:
            fault = _compute(random)
        if isinstance(fault, Fault) and fault.stale:
            lasts = min(lasts, STALE_SECONDS)
        troubles.append(Trouble(at, lasts, service, fault))
    return troubles
