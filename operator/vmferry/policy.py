"""What the operator's configuration decides, as plain data; every field has a safe default."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from vmferry.cloud.model import GuestCPU, OperatingSystem


@dataclass(frozen=True, slots=True)
class StoragePool:
    """Hosts whose ephemeral disks (Nova's instances folder) lie on one shared storage (R3)."""

    name: str
    hosts: frozenset[str] = frozenset()
    #: names of host aggregates whose hosts all belong to it
    aggregates: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class SystemOf:
    """Hosts that run an operating system (R13)."""

    system: OperatingSystem
    hosts: frozenset[str] = frozenset()
    aggregates: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class GuestCPUOf:
    """Hosts whose guests see a CPU (R12)."""

    cpu: GuestCPU
    hosts: frozenset[str] = frozenset()
    aggregates: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Limits:
    """How many migrations may run at once, counted over everybody's, not only ours (I24)."""

    per_source: int = 2
    per_target: int = 2
    total: int = 10


@dataclass(frozen=True, slots=True)
class Maintenance:
    """The rules of draining hosts."""

    #: hosts in maintenance at once in one cluster, which is an availability zone (I26)
    max_hosts_per_cluster: int = 1
    #: percent of the memory of a cluster's other enabled hosts that must stay free when a host is drained (I22)
    headroom_percent: int = 0
    #: between the two looks that must both find a host empty (I20)
    settle: timedelta = timedelta(seconds=30)
    #: how often a host in maintenance is looked at again (I27)
    verify_every: timedelta = timedelta(seconds=60)
    #: the namespace that its VMMigrations are created in
    namespace: str = "vmferry-system"
    #: that these VMMigrations carry besides our own, as the rules of a cluster may demand
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Breaker:
    """When nothing more is started because attempts fail by a common cause (I37)."""

    #: failures in a row from one host that open its breaker; one more, over `hosts`, opens the cloud's
    attempts: int = 2
    #: hosts that the failures must be from to open the cloud's
    hosts: int = 2
    #: within which these failures must lie
    window: timedelta = timedelta(hours=1)
    #: before the first trial move, doubled with each one that fails: each may cost a server
    pause: timedelta = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules in force."""

    shared_storage: tuple[StoragePool, ...] = ()
    #: hosts in no pool: True says that their ephemeral disks are local, False that nobody knows (R19)
    local_unless_shared: bool = False
    limits: Limits = field(default_factory=Limits)
    breaker: Breaker = field(default_factory=Breaker)
    maintenance: Maintenance = field(default_factory=Maintenance)
    #: units of copying on one host's management network, see `prerequisites.bandwidth` (R17); None: no limit
    bandwidth: int | None = None
    #: prerequisites whose `Unknown` does not block; empty is the safe default (R19)
    tolerate_unknown: frozenset[str] = frozenset()
    #: a shared view older than this decides nothing
    max_view_age: timedelta = timedelta(seconds=60)
    #: a host counts as failed only after its service was silent for this long (I12)
    host_down_for: timedelta = timedelta(seconds=60)
    #: an attempt's deadline where the resource names none: `timeout_base` + `timeout_per_gib` * GiB to copy
    timeout_base: timedelta = timedelta(minutes=10)
    timeout_per_gib: timedelta = timedelta(seconds=60)
    #: how long a graceful stop may take before the request fails; and how long a server that was stopped for its move
    #: may wait for it before it is started again
    stop_timeout: timedelta = timedelta(minutes=5)
    #: how often a blocked request is looked at again when nothing else wakes it
    recheck: timedelta = timedelta(seconds=30)
    #: pause before the next attempt, doubled with each one
    retry_backoff: timedelta = timedelta(seconds=15)
    #: what has not changed for this long counts as stuck: an open migration record of an idle server, a server in one
    #: task, a drain in which nothing moves, a migration past its deadline
    stuck_after: timedelta = timedelta(minutes=30)
    #: how often the bytes of a running live migration are read, while no more than ten a second are due
    progress_every: timedelta = timedelta(seconds=10)
    #: how long a record of a request may be missing in Nova before other witnesses are heard (I4)
    record_grace: timedelta = timedelta(seconds=20)
    #: finished resources are deleted after this long where they name no time themselves; None: never. What was applied
    #: stays (`reconcilers.gitops_owned`)
    ttl_after_finished: timedelta | None = None
    #: a request that has not started this long after it was made ends as Expired; 0: it waits without an end
    expire_after: timedelta = timedelta(hours=24)
    #: what the cloud does not tell of its hosts
    operating_systems: tuple[SystemOf, ...] = ()
    guest_cpu: tuple[GuestCPUOf, ...] = ()
