"""Invariants, checked against the true state of the world at each request, each write and each second.

The operator's view is some seconds old, and others act at the same time, so it is not blamed for what it cannot know
yet. The time spans below define how long it may be unaware of a change.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from testbed.storm.common_cause import CommonCause
from testbed.storm.maintenance_rules import Maintenances
from vmferry.cloud.model import _STAGES, MigrationStage
from vmferry.prerequisites.enums import Reason
from vmferry.reconcilers.migration.reasons import MigrationReason
from vmferry.reconcilers.rows import KINDS
from vmferry.resources.words import MaintenancePhase, Phase
from vmferry.runtime.key import Key
from vmferry.runtime.store import Body
from vmferry.simulator.model import Host, Migration, Server

if TYPE_CHECKING:
    from testbed.storm.process import Process
    from testbed.storm.world import World

#: maximum seconds from a direct read of a server to the request that follows it, including a stale response
FRESH = 25.0
#: maximum age in seconds of the operator's knowledge about hosts: `Policy.max_view_age`, and the time of a reconcile
VIEW = 90.0
#: additional seconds if all calls are slow: the response, a finalizer, a status, the request
SLOW = 60.0
#: maximum age in seconds of the shared view when a request arrives that was decided with it
OLD = 60.0 + SLOW
#: seconds between two heartbeats of a host
HEARTBEAT = 2.0
#: maximum number of reconciles of one object per minute
LOOKS = 100

#: conditions' reasons that may last without a report, by docs/waiting.md
MAY_LAST = {
    ("HostMaintenance", "CloudViewStale"),
    ("HostMaintenance", "Stopped"),
    ("HostMaintenance", "Queued"),
    ("VMMigration", "CloudViewStale"),
    ("VMMigration", "Stopped"),
    ("VMMigration", "Paused"),
    ("VMMigration", "Queued"),
}

MOVES = {"os-migrateLive": "live-migration", "migrate": "migration", "evacuate": "evacuation"}
ACTIONS = {*MOVES, "os-stop", "os-start", "confirmResize"}
#: states of a server that Nova would evacuate; a person must handle servers in other states
EVACUATED = ("active", "stopped", "error")
#: paths that only the poll of the shared view reads
VIEWED = ("/os-hypervisors/detail", "/os-server-groups")


class Judge:
    """Checks the invariants. It knows the true state of the world, and who did what."""

    def __init__(self, world: World) -> None:
        self._world = world
        #: etcd was restored from a snapshot, so violations of most rules are forgiven
        self.forgives = False
        self.cloud = world.site.cloud
        self.us = world.site.caller("vmferry").user_id
        #: since when a host is not allowed as a target, and why
        self.bad: dict[str, tuple[float, str]] = {}
        #: since when a host is alive; infinity if it is dead
        self.alive: dict[str, float] = dict.fromkeys(self.cloud.hosts, float("-inf"))
        #: disabled reasons that the operator has requested
        self.ours: defaultdict[str, set[str]] = defaultdict(set)
        #: when another user last changed a service
        self.changed: dict[str, float] = {}
        #: servers that the operator shut down and must start again, with the object for which it did that
        self.stopped: dict[str, Key] = {}
        #: servers that another user has changed
        self.touched: set[str] = set()
        #: UUIDs of the operator's migrations that another user aborted
        self.aborted: set[str] = set()
        #: UUIDs of migrations that the operator has asked Nova to abort or to force
        self.abandoned: set[str] = set()
        #: when an operator last read a path, by the operator's name and the path
        self.reads: dict[tuple[str, str], float] = {}
        #: each server's vm_state, whether it is locked, and since when
        self.states: dict[str, tuple[tuple[str, bool], float]] = {}
        #: since when Nova lists a host twice
        self.doubled: dict[str, float] = {}
        #: UUIDs of open records on which Nova no longer works, and since when they exist
        self.leftovers: dict[str, float] = {}
        #: when a host was last forced down
        self.marked: dict[str, float] = {}
        #: by uid of a VMMigration of type Evacuate: the host of its server when it was created, and when that was
        self.attested: dict[str, tuple[str, float]] = {}
        #: when an operator's clock was last wrong, by the operator's name
        self.wrong_clocks: dict[str, float] = {}
        #: servers that the operator evacuated while they were active
        self.evacuated: set[str] = set()
        self.maintenances = Maintenances(world)
        self.common_cause = CommonCause(world)
        #: by uid of a VMMigration: UUIDs of the Nova records in its status
        self.records: defaultdict[str, set[str]] = defaultdict(set)
        #: number of moves that the operator has requested
        self.moves_asked = 0
        #: the data of the kill switch, and since when
        self.thrown: tuple[dict[str, str] | None, float] = (None, 0.0)

    # -- requests to the cloud

    def sent(self, process: Process, key: Key | None, method: str, path: str, body: Any) -> None:
        """Check a request that changes the cloud, right before it is executed."""
        self._world.say(f"{process.name} {key}: {method} {path} {body}")
        self._leads(process, f"{method} {path}")
        parts = path.strip("/").split("/")
        if parts[0] == "os-services" and method == "PUT":
            self._service(key, parts[1], body)
        elif method == "DELETE" and parts[2:3] == ["migrations"]:
            self._only_ours(parts[3], "an abort")
            self._is_a_wish(key)
        elif method == "POST" and parts[2:3] == ["migrations"]:
            self._only_ours(parts[3], "a forced completion")
            self._not_stopped("force_complete", self.cloud.servers[parts[1]].host)
        elif method == "POST" and parts[2:] == ["action"]:
            (action,) = body
            server = self.cloud.servers.get(parts[1])
            if action not in ACTIONS:
                self._wrong(f"I11: {action} is asked for")
            elif server is not None and server.deleted_at is None:
                self._action(process, key, action, server, body[action])
        else:
            self._wrong(f"I11: {method} {path}")

    def _is_a_wish(self, key: Key | None) -> None:
        """The deletion by the garbage collector alone must not abort a move (I41); an exceeded deadline may."""
        body = self._world.api.objects.get(key) if key else None
        attempts = body.get("status", {}).get("attempts", []) if body else []
        stopped = attempts and attempts[-1].get("stopReason") == "Deleted"
        if body and stopped and body["metadata"]["uid"] in self._world.api.collected:
            self._wrong(f"I41: {key} is aborted, and nobody wished that: it was deleted with its owner")

    def read(self, process: Process, path: str) -> None:
        self.reads[process.name, path] = self._now

    def _action(self, process: Process, key: Key | None, action: str, server: Server, body: Any) -> None:
        asked = self._world.api.objects.get(key) if key else None
        meant = asked and asked.get("status", {}).get("server", {}).get("id", server.id)
        if asked and (meant != server.id or asked["spec"]["server"].get("id", meant) != meant):
            self._wrong(f"I1: {key} is about {meant}, and {action} is asked of {server.id}")
        if action in MOVES or action == "os-stop":
            self._in_time(process, key, action, server, asked)
        if action in MOVES:
            self._sees(process, action, server)
            self._not_stopped(action, server.host, body.get("host"))
            if not body.get("host") or body.get("force"):
                self._wrong(f"I19: {server.name} is moved by {body}")
            if action != "evacuate" and (wrong := self.common_cause.asked(process.name, server.host)) is not None:
                self._wrong(wrong)
            self._move(key, MOVES[action], server, body["host"])
        elif action == "confirmResize":
            newest = self._records(server)[-1:]
            if not newest or newest[0].user_id != self.us or newest[0].flavor != newest[0].old_flavor:
                self._wrong(f"I7: a resize of others is confirmed, of {server.name}")
        elif action == "os-stop":
            self._not_stopped(action, server.host)
            if (wrong := self.common_cause.asked(process.name, server.host)) is not None:
                self._wrong(wrong)
            if asked and not asked["spec"].get("stopIfRunning"):
                self._wrong(f"I21: {server.name} is stopped, and {key} does not allow it")
            if server.vm_state == "active" and server.task_state is None and key is not None:
                self.stopped[server.id] = key

    def _in_time(self, process: Process, key: Key | None, action: str, server: Server, asked: Body | None) -> None:
        until = asked["spec"].get("startBefore") if asked else None
        wrong_clock = self._now - self.wrong_clocks.get(process.name, float("-inf")) <= SLOW
        if until is None or server.id in self.stopped or wrong_clock:
            return
        late = self._now - datetime.fromisoformat(until).timestamp()
        if late > SLOW:
            self._wrong(f"I39: {key} does {action} of {server.name} {late:.0f} s after its time")

    def _move(self, key: Key | None, type_: str, server: Server, target: str) -> None:
        self.moves_asked += 1
        now, name = self._now, server.name
        source = self.cloud.hosts.get(server.host or "")
        for record in self._records(server):
            if not is_open(record):
                continue
            if record.user_id == self.us:
                self._wrong(f"I3: moved twice: {name} is asked to move while our {record.uuid} is {record.status}")
            elif type_ == "evacuation" and record.type != "evacuation":
                pass  # it has ended with its host, whatever the status of its record
            elif now - self.leftovers.get(record.uuid, record.created_at) > FRESH:
                self._wrong(f"I3: {name} is asked to move while {record.uuid} of others is {record.status}")
        body = self._world.api.objects.get(key) if key else None
        if body is not None:
            for uuid in self.records[body["metadata"]["uid"]]:
                done = next((m for m in self.cloud.migrations.values() if m.uuid == uuid), None)
                if done is not None and stage(done) is MigrationStage.GOOD:
                    self._wrong(f"I3: moved twice: {key} has moved {name} already, by {uuid}")
        (_, locked), since = self.states.get(server.id, (("", False), now))
        if locked and now - since > FRESH:
            self._wrong(f"I10: {name} is asked to move, which is locked")
        if body is not None and (against := (self.records[body["metadata"]["uid"]] & self.aborted) - self.abandoned):
            self._wrong(f"I9: somebody has aborted {min(against)}, and {key} moves {name} again")
        if server.host is not None and self.is_doubled(server.host):
            self._wrong(f"I36: {name} is asked to move from {server.host}, which is listed twice")
        if self.is_doubled(target):
            self._wrong(f"I36: {name} is asked to move to {target}, which is listed twice")
        if type_ == "evacuation" and source is not None:
            self._evacuation(body, server, source, target)
        self._target(server, source, target)
        self._limits(server, target)
        self._group(server, target)

    def _sees(self, process: Process, action: str, server: Server) -> None:
        """The server was read right before the request (I2), and the shared view is fresh (I13)."""
        age = self._now - self.reads.get((process.name, f"/servers/{server.id}"), float("-inf"))
        if age > SLOW:
            self._wrong(f"I2: {action} of {server.name}, which was read {age:.0f} s ago")
        age = self._now - min(self.reads.get((process.name, path), float("-inf")) for path in VIEWED)
        if age > OLD:
            self._wrong(f"I13: {action} of {server.name}, and the view is {age:.0f} s old")

    def _evacuation(self, asked: Body | None, server: Server, source: Host, target: str) -> None:
        (state, _), since = self.states.get(server.id, (("", False), self._now))
        if state not in ("", *EVACUATED) and self._now - since > FRESH:
            self._wrong(f"I15: {server.name} is evacuated, which is {state}")
        if server.vm_state == "active":
            self.evacuated.add(server.id)
        if source.alive and self._now - self.alive[source.name] > VIEW:
            self._wrong(f"I12: {server.name} is evacuated from {source.name}, which lives")
        silent = self._now - source.last_seen + HEARTBEAT
        if not source.alive and silent < self._world.config.policy.host_down_for.total_seconds():
            self._wrong(f"I12: {server.name} is evacuated from {source.name}, which died {silent:.0f} s ago")
        by_name = asked is not None and asked["spec"].get("type") == "Evacuate"
        if by_name and asked is not None:
            self._attested(asked, server, source)
        if not by_name and self._now - self.marked.get(source.name, float("-inf")) > VIEW:
            self._wrong(f"I12: {server.name} is evacuated from {source.name}, and nobody says that it is dead")
        to = self.cloud.hosts.get(target)
        shared = source.store is not None and to is not None and source.store == to.store
        if server.local_disk_gb and not shared:
            self._wrong(f"I14: {server.name} is evacuated from {source.name}, and its local disk is lost")

    def _attested(self, asked: Body, server: Server, source: Host) -> None:
        """An Evacuate is valid only for the host of its server when it was created, which must have been dead then."""
        host, at = self.attested.get(asked["metadata"]["uid"], (source.name, self._now))
        if host != source.name:
            self._wrong(f"I38: {server.name} is evacuated from {source.name}, and the request was made about {host}")
        died = source.last_seen
        if died - at > VIEW:
            self._wrong(f"I38: {server.name} is evacuated from {source.name}, which died {died - at:.0f} s later")

    def _target(self, server: Server, source: Host | None, target: str) -> None:
        to = self.cloud.hosts.get(target)
        if to is None:
            return self._wrong(f"I18: {server.name} goes to {target}, which there is not")
        since, why = self.bad.get(target, (self._now, ""))
        if self._now - since > VIEW:
            self._wrong(f"I18: {server.name} goes to {target}, which is {why} for {self._now - since:.0f} s")
        if source is not None and to.hypervisor_version < source.hypervisor_version:
            self._wrong(f"I18: {server.name} goes to {target}, which is older")
        return None

    def _limits(self, server: Server, target: str) -> None:
        limits = self._world.config.policy.limits
        known = [
            m
            for m in self.cloud.migrations.values()
            if stage(m) is MigrationStage.IN_FLIGHT
            and m.uuid not in self.leftovers
            and self.cloud.servers[m.server_id].deleted_at is None
            and (m.user_id == self.us or self._now - m.created_at > VIEW)
        ]
        counts = (
            ("leave " + str(server.host), sum(m.source == server.host for m in known), limits.per_source),
            ("go to " + target, sum(m.destination == target for m in known), limits.per_target),
            ("go", len(known), limits.total),
        )
        for what, count, limit in counts:
            if count + 1 > limit:
                self._wrong(f"I24: {count + 1} {what}, the limit is {limit}")

    def _group(self, server: Server, target: str) -> None:
        group = self.cloud.groups.get(server.group_id or "")
        if group is None or group.policy.startswith("soft"):
            return
        for member in group.members:
            other = self.cloud.servers[member]
            if other is server or other.deleted_at is not None:
                continue
            if any(
                m.user_id == self.us and stage(m) is MigrationStage.IN_FLIGHT and m.created_at < self._now
                for m in self._records(other)
            ):
                self._wrong(f"I25: {server.name} and {other.name} of {group.name} are in flight together")

    def _service(self, key: Key | None, service_id: str, body: Any) -> None:
        stray = next((one for one in self.cloud.stray_services if one.id == service_id), None)
        if stray is not None:
            self._wrong(f"I36: the stray service of {stray.host} is changed: {body}")
            return
        host = next((h for h in self.cloud.hosts.values() if h.service_uuid == service_id), None)
        if host is not None and self.is_doubled(host.name):
            self._wrong(f"I36: {host.name} is {body['status']}, which is listed twice")
        if "forced_down" in body or host is None:
            self._wrong(f"I11: a service is changed: {body}")
            return
        self.maintenances.acts(key, host, body)
        if body["status"] == "disabled":
            self._not_stopped("disable", host.name)
            self.ours[host.name].add(body["disabled_reason"])
            return
        theirs = host.disabled and host.disabled_reason not in self.ours[host.name]
        if theirs and self._now - self.changed.get(host.name, float("-inf")) > FRESH:
            self._wrong(f"I8: {host.name} is enabled, which others disabled: {host.disabled_reason}")

    def _only_ours(self, number: str, what: str) -> None:
        record = self.cloud.migrations.get(int(number))
        if record is not None:
            self.abandoned.add(record.uuid)
            if record.user_id != self.us:
                self._wrong(f"I9: {what} of {record.uuid}, which is of others")

    def _leads(self, process: Process, what: str) -> None:
        if not process.alive:
            self._wrong(f"the dead act: {process.name} does {what}")
        holder = self._world.leader()
        if holder not in (None, process.name):
            self._wrong(f"I32: {process.name} does {what}, and {holder} leads")

    def _not_stopped(self, action: str, *hosts: str | None) -> None:
        said, since = self.thrown
        if said is None or self._now - since <= 1:
            return
        zones = {self.cloud.zone_of(host) for host in hosts}
        if "stop" in said or said.get("zones") in zones:
            self._wrong(f"I31: {action} is asked for, and the kill switch says {said}")

    # -- status writes

    def writes(self, process: Process) -> None:
        if not process.alive:
            self._wrong(f"the dead act: {process.name} writes a status")

    def status_written(self, key: Key, before: Body, body: Body) -> None:
        status = body["status"]
        uid = body["metadata"]["uid"]
        ready = next((c for c in status.get("conditions", []) if c["type"] == "Ready"), None)
        if status.get("phase") != before.get("phase"):
            self._world.say(f"{key}: {before.get('phase')} -> {status.get('phase')}: {ready and ready['message']}")
        if ready is None or not ready["reason"] or not ready["message"]:
            self._wrong(f"R20: {key}: the status says nothing of why: {status.get('phase')} {ready}")
        if key.kind != "VMMigration":
            self.maintenances.status_written(key, before, body)
            return
        for attempt in status.get("attempts", []):
            if "migrationID" in attempt:
                self.records[uid].add(attempt["migrationID"])
                self._ended(key, attempt)
        if status.get("phase") == Phase.FAILED and ready and ready["reason"] == Reason.SERVER_NOT_FOUND:
            server = self.cloud.servers.get(status.get("server", {}).get("id", ""))
            if server is not None and server.deleted_at is None:
                self._wrong(f"I4: {key} says that {server.name} is gone, which is there")
        # an attempt to a host of the operator's choice that the scheduler refuses does not count as a try
        free = "target" not in body["spec"]
        tries = sum(
            attempt["state"] != "NotSent" and not (free and "No valid host was found" in attempt.get("message", ""))
            for attempt in status.get("attempts", [])
        )
        if tries > body["spec"].get("retries", 2) + 1:
            self._wrong(f"I23: {key} has tried {tries} times")
        if status.get("phase") == Phase.SUCCEEDED and before.get("phase") != Phase.SUCCEEDED:
            self._success(key, status)

    def _ended(self, key: Key, attempt: Body) -> None:
        """An attempt that has ended in the status must have ended in Nova (I6)."""
        if "endedAt" not in attempt:
            return
        record = next((m for m in self.cloud.migrations.values() if m.uuid == attempt["migrationID"]), None)
        if record is not None and is_open(record) and self.cloud.servers[record.server_id].deleted_at is None:
            self._wrong(f"I6: {key} has closed {record.uuid} as {attempt['state']}, which is {record.status}")

    def created(self, body: Body) -> None:
        """Check an object that an operator has created."""
        self.maintenances.created(body)

    def _success(self, key: Key, status: Body) -> None:
        attempts = status.get("attempts", [])
        if not attempts:
            return None
        last = attempts[-1]
        record = next((m for m in self.cloud.migrations.values() if m.uuid == last.get("migrationID")), None)
        if record is None or stage(record) is not MigrationStage.GOOD:
            return self._wrong(f"I5: {key} has succeeded, and its record is {record and record.status}")
        server = self.cloud.servers[record.server_id]
        elsewhere = server.host != record.destination and server.id not in self.touched
        if elsewhere and self._records(server)[-1] is record:
            self._wrong(f"I5: {key} has succeeded, and {server.name} is on {server.host}")
        return None

    def gone(self, key: Key, body: Body) -> None:
        """Check that a deleted object leaves no migration in flight (I9, I34)."""
        self._world.say(f"{key}: gone")
        if key.kind != "VMMigration":
            return
        self.common_cause.gone(key)
        for uuid in self.records[body["metadata"]["uid"]]:
            record = next((m for m in self.cloud.migrations.values() if m.uuid == uuid), None)
            if record is not None and is_open(record) and self.cloud.servers[record.server_id].deleted_at is None:
                self._wrong(f"I9: {key} is gone, and its {uuid} is {record.status}")

    def looked(self, key: Key, in_a_minute: int) -> None:
        if in_a_minute > LOOKS:
            self._wrong(f"a hot loop: {in_a_minute} looks at {key} within a minute")

    # -- checks of the state, each second

    def see(self) -> None:
        for host in self.cloud.hosts.values():
            why = self._why_bad(host)
            if why is None:
                self.bad.pop(host.name, None)
            elif self.bad.get(host.name, (0.0, ""))[1] != why:
                self.bad[host.name] = (self.bad[host.name][0] if host.name in self.bad else self._now, why)
            if not host.alive:
                self.alive[host.name] = float("inf")
            elif self.alive[host.name] == float("inf"):
                self.alive[host.name] = self._now
            if host.forced_down:
                self.marked[host.name] = self._now
        for server in self.cloud.servers.values():
            state = server.vm_state, server.locked_by is not None
            if self.states.get(server.id, (None, 0.0))[0] != state:
                self.states[server.id] = state, self._now
        self._see_attestations()
        self.wrong_clocks |= {one.name: self._now for one in self._world.processes if one.skew}
        if self.thrown[0] != self._world.api.switch:
            self.thrown = self._world.api.switch, self._now
        twice = {one.host for one in self.cloud.stray_services}
        self.doubled = {host: self.doubled.get(host, self._now) for host in twice}
        self.maintenances.see()
        self.common_cause.see()
        self._groups()

    def is_doubled(self, host: str) -> bool:
        """Whether Nova has listed the host twice for so long that the operator must know it."""
        still = any(one.host == host for one in self.cloud.stray_services)
        return still and self._now - self.doubled.get(host, float("inf")) > VIEW

    def _see_attestations(self) -> None:
        for key, body in self._world.api.objects.items():
            uid, ref = body["metadata"]["uid"], body["spec"].get("server", {})
            if key.kind != "VMMigration" or body["spec"].get("type") != "Evacuate" or uid in self.attested:
                continue
            server = self.cloud.servers.get(ref.get("id", ""))
            if server is not None and server.host is not None:
                self.attested[uid] = server.host, self._now

    def _why_bad(self, host: Host) -> str | None:
        if host.forced_down:
            return "forced down"
        if not self.cloud.is_up(host):
            return "down"
        if host.disabled:
            return "disabled"
        for key, body in self._world.api.objects.items():
            if key.kind == "HostMaintenance" and body["spec"]["host"] in (host.name, host.uuid) and _wanted(body):
                return "in maintenance"
        return None

    def _groups(self) -> None:
        for group in self.cloud.groups.values():
            if group.policy != "anti-affinity":
                continue
            places: Counter[str] = Counter()
            for member in group.members:
                server = self.cloud.servers[member]
                if server.deleted_at is None and server.host and member not in self.touched:
                    places[server.host] += 1
            for host, count in places.items():
                if count > group.max_server_per_host and group.id not in self._world.broken_groups:
                    self._wrong(f"I25: {count} members of {group.name} are on {host}")
                    self._world.broken_groups.add(group.id)

    # -- checks at the end

    def at_the_end(self) -> Iterator[str]:
        """The violations that remain after the storm and a time without faults."""
        for key, body in self._world.api.objects.items():
            if (what := self._stuck(key, body)) is not None:
                yield f"stuck: {key}: {what}"
            if (what := self._unreported(key, body)) is not None:
                yield f"R47: {key}: no progress, and nothing reports it: {what}"
        yield from self._other_histories()
        yield from self.maintenances.at_the_end()
        for server_id in self.evacuated - self.touched:
            if (server := self.cloud.servers[server_id]).vm_state == "stopped" and server.deleted_at is None:
                yield f"I15: {server.name} ran before its evacuation, and does not any more"
        claimed: Counter[str] = Counter(uuid for uuids in self.records.values() for uuid in uuids)
        for record in self.cloud.migrations.values():
            if record.user_id != self.us:
                continue
            if claimed[record.uuid] > 1:
                yield f"I3: {record.uuid} is said to be the move of {claimed[record.uuid]} VMMigrations"
            if not claimed[record.uuid] and self.cloud.servers[record.server_id].deleted_at is None:
                yield f"lost: nobody knows of our {record.uuid} of {self.cloud.servers[record.server_id].name}"
        for server_id, key in self.stopped.items():
            server = self.cloud.servers[server_id]
            left = server.vm_state == "stopped" and server.deleted_at is None and server_id not in self.touched
            if left and not self._tells(key):
                yield f"lost: {server.name} was stopped for {key} and is not started again"

    def _other_histories(self) -> Iterator[str]:
        """The operators' stores must contain the same objects and versions as Kubernetes (I44)."""
        there = {key: int(body["metadata"]["resourceVersion"]) for key, body in self._world.api.objects.items()}
        for process in self._world.alive():
            store = process.operator.store
            known = {key: store.version(key) for kind in KINDS for key in store.keys(kind)}
            for key in there.keys() | known.keys():
                if known.get(key) != there.get(key):
                    yield f"I44: {process.name} knows {key} of version {known.get(key)}, it is of {there.get(key)}"

    def _tells(self, key: Key) -> bool:
        """Whether the object exists and its status reports a graceful shutdown.

        A pause does not justify that the server stays off, unless its host is dead.
        """
        body = self._world.api.objects.get(key)
        if body is None or "gracefulStop" not in body.get("status", {}):
            return False
        reason = next((c["reason"] for c in body["status"].get("conditions", []) if c["type"] == "Ready"), None)
        return reason != Reason.PAUSED or self.waits_for_a_dead_host(body)

    def _unreported(self, key: Key, body: Body) -> str | None:
        """Describe an object that is unfinished after a time without changes, but reports no reason for people.

        Allowed are the condition Stalled, the reasons in `MAY_LAST`, and queueing behind a reported object.
        """
        status = body.get("status", {})
        conditions = {c["type"]: c for c in status.get("conditions", [])}
        ready = conditions.get("Ready", {})
        reason = ready.get("reason")
        if "completedAt" in status or ready.get("status") == "True" or "Stalled" in conditions:
            return None
        if (key.kind, reason) in MAY_LAST and (key.kind == "HostMaintenance" or reason != "Queued"):
            return None
        if reason == "Queued" and self._another_is_reported(key):
            return None
        return f"{status.get('phase')}: {reason}: {ready.get('message')}"

    def _another_is_reported(self, key: Key) -> bool:
        """Whether another unfinished object of the kind is paused or Stalled, so that the queue may wait for it."""
        others = [body for other, body in self._world.api.objects.items() if other != key and other.kind == key.kind]
        return any(
            body["spec"].get("paused")
            or any(c["type"] == "Stalled" for c in body.get("status", {}).get("conditions", []))
            for body in others
            if "completedAt" not in body.get("status", {})
        )

    def _stuck(self, key: Key, body: Body) -> str | None:
        status, metadata = body.get("status", {}), body["metadata"]
        conditions = {c["type"]: c for c in status.get("conditions", [])}
        phase, ready = status.get("phase"), conditions.get("Ready", {})
        told = f"{phase}: {ready.get('reason')}: {ready.get('message')}"
        waits_for_nova = self._open_of(metadata["uid"])
        if waits_for_nova or self.waits_for_a_dead_host(body) or "Stalled" in conditions:
            return None
        children = [
            b
            for b in self._world.api.objects.values()
            if any(o["uid"] == metadata["uid"] for o in b["metadata"].get("ownerReferences", []))
            if "completedAt" not in b.get("status", {})
        ]
        if any(self._open_of(b["metadata"]["uid"]) or self.waits_for_a_dead_host(b) for b in children):
            return None
        if "deletionTimestamp" in metadata:
            return f"it is being deleted for ever: {told}"
        if key.kind == "VMMigration":
            if "completedAt" in status:
                return f"a finalizer is left: {told}" if metadata.get("finalizers") else None
            if ready.get("reason") in ("Paused", "PreflightPassed", MigrationReason.BREAKER_OPEN):
                return None
            return None if phase == Phase.QUEUED and self._others_hold_it_up() else told
        wanted = body["spec"].get("enabled", True)
        preflight = body["spec"].get("preflightOnly", False)
        if not wanted:
            idle = phase in (MaintenancePhase.RELEASED, MaintenancePhase.IN_SERVICE)
            over = idle and not metadata.get("finalizers")
            return None if over else told
        if preflight or phase in (MaintenancePhase.IN_MAINTENANCE, MaintenancePhase.QUEUED, MaintenancePhase.BLOCKED):
            return None
        host = status.get("host")
        others = [m for m in self.cloud.migrations.values() if is_open(m) and host in (m.source, m.destination)]
        return None if others else told

    def _others_hold_it_up(self) -> bool:
        """Whether a migration that never ends, or a move interrupted by a host's death, occupies a slot forever."""
        objects = list(self._world.api.objects.values())
        if any(map(self.waits_for_a_dead_host, objects)):
            return True
        return any(stage(m) is MigrationStage.IN_FLIGHT for m in self.cloud.migrations.values())

    def waits_for_a_dead_host(self, body: Body) -> bool:
        """Whether the object's server was shut down for its move and is now on a dead host."""
        status = body.get("status", {})
        server = self.cloud.servers.get(status.get("server", {}).get("id", ""))
        host = self.cloud.hosts.get(server.host or "") if server is not None else None
        return "gracefulStop" in status and host is not None and not host.alive

    def _open_of(self, uid: str) -> bool:
        return any(is_open(m) for m in self.cloud.migrations.values() if m.uuid in self.records[uid])

    # -- helpers

    @property
    def _now(self) -> float:
        return self.cloud.now

    def _records(self, server: Server) -> list[Migration]:
        return self.cloud.migrations_of(server.id)

    def _wrong(self, what: str) -> None:
        self._world.wrong(what)


def _wanted(body: Body) -> bool:
    """Whether the HostMaintenance is in effect or should be."""
    spec, metadata = body["spec"], body["metadata"]
    return spec.get("enabled", True) and not spec.get("preflightOnly") and "deletionTimestamp" not in metadata


def stage(record: Migration) -> MigrationStage:
    return _STAGES.get(record.status, MigrationStage.UNKNOWN)


def is_open(record: Migration) -> bool:
    return stage(record) not in (MigrationStage.GOOD, MigrationStage.BAD)
