"""Checks for harm: compares the records of the cloud and of the API server with the requests. Pure.

The operator's statuses are not a source of facts; they are themselves compared with the records.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from testbed.proxy.journal import Passed
from vmferry.resources.vmmigration import attempt_state

Body = Mapping[str, Any]


class Harm(StrEnum):
    #: a server moved more often than requested, was requested to move again, or had two open migrations at once
    MOVED_TWICE = "moved twice"
    #: a server is on no living host, in the middle of a migration, in another state than before, or in ERROR without a
    #: reason
    LOST = "lost"
    #: an object does not finish or cannot be deleted, or a host is not released
    STUCK = "stuck"
    #: a status contradicts the cloud's records
    UNTRUE = "untrue"
    #: a traceback, or endless requests or writes
    NOISY = "noisy"


@dataclass(frozen=True, slots=True)
class Found:
    harm: Harm
    what: str

    def __str__(self) -> str:
        return f"{self.harm}: {self.what}"


@dataclass(frozen=True, slots=True)
class ServerFact:
    id: str
    name: str
    #: ACTIVE or SHUTOFF, before the schedule
    before: str
    #: the final status; empty if it does not exist any more
    status: str
    task: str | None
    host: str | None
    #: whether a person deleted it
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """A migration record of the cloud."""

    id: int
    uuid: str
    server: str
    type: str
    status: str
    source: str | None
    destination: str | None

    @property
    def open(self) -> bool:
        return self.status not in ENDED

    @property
    def good(self) -> bool:
        return self.status in GOOD


GOOD = ("completed", "confirmed", "done")
ENDED = (*GOOD, "failed", "error", "cancelled", "reverted")
#: the status of a resize or cold migration that waits for its confirmation
FINISHED = "finished"


@dataclass
class Facts:
    """All facts at the end of a schedule."""

    servers: Sequence[ServerFact] = ()
    records: Sequence[Record] = ()
    #: (up, enabled) of the compute service by host
    hosts: Mapping[str, tuple[bool, bool]] = field(default_factory=dict)
    #: the moves that reached the cloud
    sent: Sequence[Passed] = ()
    #: the last body of each object, including deleted ones, by uid
    objects: Mapping[str, Body] = field(default_factory=dict)
    #: by uid: the number of writes, and the lifetime in seconds
    writes: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    #: uids of the objects that still exist
    left: Sequence[str] = ()
    #: (server, migrations) that were open at once during the schedule
    overlaps: Sequence[tuple[str, tuple[int, ...]]] = ()
    #: claims of statuses that were false at that time
    lies: Sequence[str] = ()
    #: what did not finish in time
    late: Sequence[str] = ()
    log: str = ""
    #: requests per second by service: at rest, and over the whole schedule
    quiet: Mapping[str, float] = field(default_factory=dict)
    busy: Mapping[str, float] = field(default_factory=dict)


#: Maximum requests per second by service. At rest the observer polls (`testbed.bed.QUICK`) and Leases are renewed; a
#: loop without a pause is far above these.
QUIET = 20.0
BUSY = 40.0
#: maximum writes per second of an object, averaged over its lifetime, after its first writes
WRITES = 3.0
FIRST_WRITES = 30


def judge(facts: Facts) -> list[Found]:
    return [*_moved_twice(facts), *_lost(facts), *_stuck(facts), *_untrue(facts), *_noisy(facts)]


def is_settled(body: Body, servers: Mapping[str, ServerFact]) -> bool:
    """Whether a VMMigration has finished, or is blocked by a condition that does not resolve by itself."""
    status = body.get("status", {})
    if "completedAt" in status:
        return True
    if status.get("phase") != "Blocked":
        return False
    reasons = [one["reason"] for one in status.get("conditions", ()) if one["type"] == "Ready"]
    server = servers.get(body["spec"]["server"].get("id", ""))
    match reasons[0] if reasons else None:
        case "StateNotMigratable":
            return server is not None and _does_not_fit(server, body["spec"])
        case "HostNotFailed":
            return bool(body["spec"].get("type") == "Evacuate")
        case "ServerNotFound":
            return server is None or server.deleted
        case "SameHost":
            wanted = body["spec"].get("target", {}).get("host")
            return server is not None and wanted == server.host
    return False


def _does_not_fit(server: ServerFact, spec: Body) -> bool:
    kind = spec.get("type", "Auto")
    if server.status == "ERROR":
        return True
    return (kind == "Live" and server.status != "ACTIVE") or (
        kind == "Cold" and server.status == "ACTIVE" and not spec.get("stopIfRunning")
    )


# ---- harms


def _moves_of(facts: Facts) -> dict[str, list[Body]]:
    """The VMMigrations by server id."""
    found: dict[str, list[Body]] = {}
    for body in facts.objects.values():
        if body["kind"] == "VMMigration":
            found.setdefault(body["spec"]["server"].get("id", ""), []).append(body)
    return found


def _attempts(bodies: Sequence[Body]) -> list[Body]:
    return [attempt for body in bodies for attempt in body.get("status", {}).get("attempts", ())]


def _moved_twice(facts: Facts) -> list[Found]:
    wrongs = [f"{server} had the open migrations {ids} at once" for server, ids in facts.overlaps]
    moves = _moves_of(facts)
    names = {server.id: server.name for server in facts.servers}
    for server, name in names.items():
        mine = moves.get(server, [])
        good = [record for record in facts.records if record.server == server and record.good]
        if len(good) > len(mine):
            wrongs.append(f"{name} moved {len(good)} times ({[r.id for r in good]}) for {len(mine)} requests")
        attempts = _attempts(mine)
        sent = [one for one in facts.sent if one.server == server]
        if len(sent) > len(attempts):
            told = [f"{one.action} {one.status} {one.fault}".rstrip() for one in sent]
            wrongs.append(f"{name} was asked to move {len(sent)} times for {len(attempts)} attempts: {told}")
    for body in facts.objects.values():
        if body["kind"] == "VMMigration":
            uuids = {attempt.get("migrationID") for attempt in _attempts([body])}
            twice = [record.id for record in facts.records if record.uuid in uuids and record.good]
            if len(twice) > 1:
                wrongs.append(f"{_name(body)} moved its server {len(twice)} times: {twice}")
    return [Found(Harm.MOVED_TWICE, wrong) for wrong in wrongs]


def _lost(facts: Facts) -> list[Found]:
    wrongs = []
    for server in facts.servers:
        if server.deleted:
            continue
        told = f"{server.name} is {server.status or 'gone'} on {server.host}, task {server.task}"
        mine = [record for record in facts.records if record.server == server.id]
        failed = [record for record in mine if record.status in ("failed", "error", "cancelled")]
        if not facts.hosts.get(server.host or "", (False, False))[0]:
            wrongs.append(f"{told}: no living host")
        elif server.task is not None:
            wrongs.append(f"{told}: half-way")
        elif server.status == "ERROR" and not failed:
            wrongs.append(f"{told}, and no migration of it failed or was aborted")
        elif server.status not in (server.before, "ERROR"):
            wrongs.append(f"{told}; before it was {server.before}")
    wrongs += [
        f"migration {record.id} of {record.server} is still {record.status}"
        for record in facts.records
        if record.open and not any(s.id == record.server and s.deleted for s in facts.servers)
    ]
    return [Found(Harm.LOST, wrong) for wrong in wrongs]


def _stuck(facts: Facts) -> list[Found]:
    wrongs = [*facts.late]
    wrongs += [f"{_name(facts.objects[uid])} cannot go: {facts.objects[uid]['metadata']}" for uid in facts.left]
    wrongs += [f"{host} is left {'' if up else 'down '}{'' if on else 'disabled'}".rstrip()
               for host, (up, on) in facts.hosts.items() if not (up and on)]  # fmt: skip
    return [Found(Harm.STUCK, wrong) for wrong in wrongs]


def _untrue(facts: Facts) -> list[Found]:
    wrongs = [*facts.lies]
    records = {record.uuid: record for record in facts.records}
    deleted = {server.id for server in facts.servers if server.deleted}
    ours: Counter[str] = Counter()
    for server, bodies in _moves_of(facts).items():
        if server in deleted:
            continue  # Nova deletes the migrations of a deleted server
        for body in bodies:
            wrongs += [f"{_name(body)}: {wrong}" for wrong in _wrong_of(body, records, ours)]
    wrongs += [
        f"migration {record.id} ({record.type}, {record.status}) of {record.server} is in no status"
        for record in facts.records
        if not ours[record.uuid] and record.server not in deleted
    ]
    wrongs += [f"migration {records[uuid].id} is claimed {n} times" for uuid, n in ours.items() if n > 1]
    return [Found(Harm.UNTRUE, wrong) for wrong in wrongs]


def _wrong_of(body: Body, records: Mapping[str, Record], ours: Counter[str]) -> list[str]:
    status = body.get("status", {})
    wrongs = []
    last: Record | None = None
    for attempt in status.get("attempts", ()):
        uuid, number = attempt.get("migrationID"), attempt["number"]
        last = records.get(uuid) if uuid else None
        if uuid is None:
            continue
        if last is None:
            wrongs.append(f"attempt {number} names migration {uuid}, which the cloud does not have")
            continue
        ours[uuid] += 1
        theirs = attempt_state(last.status)
        same = attempt["state"] == theirs or {attempt["state"], theirs} <= {"Done", "Completed"}
        if "endedAt" in attempt and not same:
            wrongs.append(f"attempt {number} ended {attempt['state']}, migration {last.id} is {last.status}")
        if last.destination and attempt["targetHost"] != last.destination:
            wrongs.append(
                f"attempt {number} went to {attempt['targetHost']}, migration {last.id} to {last.destination}"
            )
    phase = status.get("phase")
    moved = last is not None and last.good
    if phase == "Succeeded" and status.get("attempts") and not moved:
        wrongs.append(f"Succeeded, and its last migration is {last.status if last else 'none'}")
    if phase in ("Failed", "Cancelled") and moved:
        assert last is not None
        wrongs.append(f"{phase}, and its last migration {last.id} is {last.status}")
    return wrongs


def _noisy(facts: Facts) -> list[Found]:
    wrongs = []
    if "Traceback (most recent call last)" in facts.log:
        at = facts.log.index("Traceback (most recent call last)")
        wrongs.append(f"a traceback in the log: {facts.log[max(0, at - 300) : at + 3000]}")
    for told, rates, most in (("at rest", facts.quiet, QUIET), ("on the average", facts.busy, BUSY)):
        wrongs += [f"{rate:.0f} requests a second to {name} {told}" for name, rate in rates.items() if rate > most]
    wrongs += [
        f"{_name(facts.objects[uid])} was written {times} times in {seconds:.0f} s"
        for uid, (times, seconds) in facts.writes.items()
        if times > FIRST_WRITES + WRITES * seconds
    ]
    return [Found(Harm.NOISY, wrong) for wrong in wrongs]


def _name(body: Body) -> str:
    return f"{body['kind']} {body['metadata']['name']}"
