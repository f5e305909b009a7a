"""A cloud of plain data for tests of planning and reconcilers: without HTTP, and with a clock that the test moves.

It follows Nova's sequence: an action is recorded before the response, the record of a migration may appear later, a
cold migration waits for its confirmation, and an evacuated server ends powered off.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from testbed.build import STATUS, index_migrations, index_servers
from vmferry.cloud.actions import (
    AbortMigration,
    Accepted,
    Action,
    ColdMigrate,
    ConfirmResize,
    DisableService,
    EnableService,
    Evacuate,
    ForceComplete,
    LiveMigrate,
    Outcome,
    Refused,
    StartServer,
    StopServer,
    Unanswered,
)
from vmferry.cloud.contradictions import doubtful_hosts
from vmferry.cloud.leftovers import marked
from vmferry.cloud.model import (
    CPU,
    ActionEvent,
    Detail,
    Fact,
    Flavor,
    Host,
    HostFacts,
    HostLook,
    Hypervisor,
    InstanceAction,
    Inventory,
    Migration,
    OperatingSystem,
    Part,
    Progress,
    Server,
    ServerGroup,
    Service,
    Snapshot,
)
from vmferry.policy import Policy

START = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
US = "user-of-the-operator"
SERVER = "00000000-0000-0000-0000-000000000001"


@dataclass
class LittleCloud:
    now: datetime = START
    servers: dict[str, Server] = field(default_factory=dict)
    hosts: dict[str, Host] = field(default_factory=dict)
    migrations: list[Migration] = field(default_factory=list)
    actions: list[InstanceAction] = field(default_factory=list)
    groups: list[ServerGroup] = field(default_factory=list)
    #: host by server id, of servers that have an allocation on a host but no `host` yet
    claimed: dict[str, str] = field(default_factory=dict)
    #: every move that took effect: (server, type, target)
    moved: list[tuple[str, str, str]] = field(default_factory=list)
    #: duration of a migration, a stop or a start, in seconds
    seconds: float = 10
    #: targets for which Nova's pre-check fails
    bad_targets: set[str] = field(default_factory=set)
    #: source hosts whose live and cold migrations fail and leave the server in ERROR
    breaking: set[str] = field(default_factory=set)
    #: seconds between the failure of such a migration and the server's ERROR
    late_error: float = 0
    #: targets that Nova's scheduler refuses by rules that the operator cannot see
    refused_targets: set[str] = field(default_factory=set)
    #: outcomes to return instead of acting, first in first out; None means to act normally
    answers: list[Outcome | None] = field(default_factory=list)
    #: number of actions that take effect but whose response is lost
    lose_answers: int = 0
    #: seconds until the record of a new migration becomes visible
    late_record: float = 0
    #: seconds that a live migration is queued in Nova before it runs
    queued: float = 0
    never_ends: bool = False
    stopping_works: bool = True
    #: outdated services in snapshots, by host; `look` returns current services
    old_view: dict[str, Service] = field(default_factory=dict)
    #: additional records of compute services, by the host name that they share
    stray_services: dict[str, Service] = field(default_factory=dict)
    #: hosts in cells that do not respond
    unreachable: set[str] = field(default_factory=set)
    #: whether an evacuated server is started afterwards
    start_after: bool = False
    #: an open record of an idle server that did not change for so long is a leftover
    stuck_after: timedelta = Policy().stuck_after
    _due: dict[str, datetime] = field(default_factory=dict)
    _turning: dict[str, datetime] = field(default_factory=dict)
    #: server id by the request id of an action
    _about: dict[str, str] = field(default_factory=dict)
    _visible: dict[str, datetime] = field(default_factory=dict)

    # -- building

    def add_host(
        self,
        name: str,
        *,
        up: bool = True,
        silent: float = 0,
        version: int = 6002000,
        system: str = "22.04",
        **service: object,
    ) -> None:
        fields: dict[str, object] = {
            "id": f"s-{name}",
            "host": name,
            "zone": "cluster1",
            "enabled": True,
            "up": up,
            "forced_down": False,
            "disabled_reason": None,
            "last_seen": self.now - timedelta(seconds=silent),
        }
        room = {"VCPU": 64, "MEMORY_MB": 262144, "DISK_GB": 1000}
        self.hosts[name] = Host(
            name,
            Service(**{**fields, **service}),  # type: ignore[arg-type]
            Hypervisor(f"h-{name}", name, name, "QEMU", version),
            {resource: Inventory(capacity, 0) for resource, capacity in room.items()},
            facts=HostFacts(
                operating_system=(Fact(OperatingSystem("Ubuntu", system), "resource manager"),),
                cpu=(Fact(CPU("Intel", "x86_64", "Skylake-Server", frozenset({"fpu", "sse2"})), "Nova"),),
            ),
        )

    def add_server(self, host: str, *, vm_state: str = "active", **over: object) -> Server:
        status = STATUS.get(vm_state, vm_state)
        fields: dict[str, object] = {
            "id": SERVER,
            "name": "web-1",
            "project_id": "p1",
            "status": status,
            "vm_state": vm_state,
            "task_state": None,
            "power_state": {"active": 1, "paused": 3}.get(vm_state, 4),
            "host": host,
            "availability_zone": "cluster1",
            "flavor": Flavor("m1.small", 1, 1024, 10),
            "image_id": None,
        }
        server = Server(**{**fields, **over})  # type: ignore[arg-type]
        self.servers[server.id] = server
        return server

    # -- readings

    def snapshot(self) -> Snapshot:
        shown = [m for m in self.migrations if self._visible.get(m.uuid, self.now) <= self.now]
        seen = {m.uuid: m for m in marked(shown, self.servers, self.now, self.stuck_after)}
        services = [*(host.service for host in self.hosts.values()), *self.stray_services.values()]
        doubtful = doubtful_hosts(services, (), self.unreachable)
        return Snapshot(
            ports={},
            servers=dict(self.servers),
            hosts={
                name: self._with_room(self._as_shown(host)) for name, host in self.hosts.items() if name not in doubtful
            },
            doubtful_hosts=doubtful,
            server_groups=tuple(self.groups),
            migrations=seen,
            projects={"p1": "shop"},
            user_id=US,
            read_at=dict.fromkeys(Part, self.now),
            servers_by_host=index_servers(self.servers),
            migrations_by_server=index_migrations(seen),
        )

    def _as_shown(self, host: Host) -> Host:
        return replace(host, service=self.old_view.get(host.name, host.service))

    def _with_room(self, host: Host) -> Host:
        """The host with the resources used by its servers and by incoming migrations, which Nova claims at once."""
        coming = {m.server_id for m in self.migrations if m.open and m.target_host == host.name}
        used: dict[str, int] = {}
        for server in self.servers.values():
            if server.host == host.name or server.id in coming:
                for resource, amount in server.needs.items():
                    used[resource] = used.get(resource, 0) + amount
        inventories = host.inventories or {}
        return replace(host, inventories={r: replace(i, used=used.get(r, 0)) for r, i in inventories.items()})

    def look(self, host: str) -> HostLook:
        found = self.hosts.get(host)
        here = frozenset(s.id for s in self.servers.values() if s.host == host)
        seen = tuple(m for m in self.migrations if m.open and host in (m.source_host, m.target_host))
        return HostLook(
            host=host,
            read_at=self.now,
            service=found.service if found else None,
            servers=here,
            on_hypervisor=here,
            allocated=here | {server for server, on in self.claimed.items() if on == host},
            migrations=tuple(marked(seen, self.servers, self.now, self.stuck_after)),
            evacuated=frozenset(m.server_id for m in self.migrations if m.status == "done" and m.source_host == host),
        )

    def detail(self, server_id: str, *, actions: bool = False) -> Detail:
        snapshot = self.snapshot()
        found = self.servers.get(server_id)
        assert found is None or found.host not in self.unreachable, "Nova does not show that server"
        return Detail(
            read_at=self.now,
            server=self.servers.get(server_id),
            migrations=snapshot.migrations_by_server.get(server_id, ()),
            actions=tuple(a for a in reversed(self.actions) if self._about[a.request_id] == server_id)
            if actions
            else None,
        )

    def progress(self) -> Progress:
        return Progress(1000, 500, 0, 0)

    # -- actions

    def act(self, action: Action) -> Outcome:
        if self.answers:
            answer = self.answers.pop(0)
            if answer is not None:
                return answer
        outcome = self._do(action)
        if self.lose_answers and isinstance(outcome, Accepted):
            self.lose_answers -= 1
            return Unanswered("connection reset")
        return outcome

    def _do(self, action: Action) -> Outcome:
        if isinstance(action, DisableService | EnableService):
            host = self.hosts[action.host]
            reason = action.reason if isinstance(action, DisableService) else None
            self.set_service(host.name, enabled=reason is None, disabled_reason=reason)
            return Accepted("req-service")
        server = self.servers.get(action.server_id)
        if server is None:
            return Refused(404, f"Instance {action.server_id} could not be found.", "req-404")
        request = f"req-{len(self.actions) + 1}"
        match action:
            case LiveMigrate():
                return self._migrate(
                    server, "live-migration", "live-migration", action.target_host, ("active", "paused")
                )
            case ColdMigrate():
                return self._migrate(server, "migrate", "migration", action.target_host, ("active", "stopped"))
            case Evacuate():
                if server.host and self.hosts[server.host].service.up:
                    return Refused(400, f"Compute service of {server.host} is still in use.", request)
                self.start_after = action.start
                return self._migrate(
                    server, "evacuate", "evacuation", action.target_host, ("active", "stopped", "error")
                )
            case StopServer():
                return self._task(server, "stop", "active", "powering-off")
            case StartServer():
                return self._task(server, "start", "stopped", "powering-on")
            case ConfirmResize():
                if server.vm_state != "resized":
                    return Refused(409, f"while it is in vm_state {server.vm_state}", request)
                record = next(m for m in reversed(self.migrations) if m.server_id == server.id)
                old = "stopped" if server.power_state == 4 else "active"
                status = "SHUTOFF" if old == "stopped" else "ACTIVE"
                self.servers[server.id] = replace(server, vm_state=old, status=status)
                self._set(record, status="confirmed")
                return Accepted(request)
            case AbortMigration() | ForceComplete():
                record = next(m for m in self.migrations if m.id == action.migration_id)
                if not record.open:
                    return Refused(409, "the migration has ended", request)
                if isinstance(action, ForceComplete):
                    self.never_ends = False
                    self._due[record.uuid] = self.now
                else:
                    self._set(record, status="cancelled")
                    self.servers[server.id] = replace(server, task_state=None)
                return Accepted(request)

    def _task(self, server: Server, action: str, wanted: str, task: str) -> Outcome:
        if server.vm_state != wanted or server.task_state:
            return Refused(409, f"Cannot '{action}' instance while it is in vm_state {server.vm_state}", "req-409")
        request = self._record_action(action, server)
        if self.stopping_works:
            self.servers[server.id] = replace(server, task_state=task)
            self._due[server.id] = self.now + timedelta(seconds=self.seconds)
        return Accepted(request)

    def _record_action(self, action: str, server: Server) -> str:
        request = f"req-{len(self.actions) + 1}"
        self._about[request] = server.id
        self.actions.append(InstanceAction(request, action, None, US, started_at=self.now))
        return request

    def _migrate(self, server: Server, action: str, type_: str, target: str, states: tuple[str, ...]) -> Outcome:
        if server.vm_state not in states or server.task_state:
            return Refused(409, f"while it is in vm_state {server.vm_state}, task_state {server.task_state}", "req-409")
        request = self._record_action(action, server)
        number = len(self.migrations) + 1
        record = Migration(
            id=number,
            uuid=f"m-{number}",
            server_id=server.id,
            type=type_,
            status="accepted",
            source_host=server.host,
            target_host=target,
            user_id=US,
            created_at=self.now.isoformat(),
            old_flavor_id=1,
            new_flavor_id=1,
        )
        self.migrations.append(record)
        self._visible[record.uuid] = self.now + timedelta(seconds=self.late_record)
        self._due[record.uuid] = self.now + timedelta(seconds=self.seconds)
        if target in self.refused_targets:
            self._set(record, status="error", target_host=None)
            top = ActionEvent(
                "conductor_live_migrate_instance", "Error", None, "No valid host was found. There are not enough"
            )
            self.actions[-1] = replace(self.actions[-1], message="Error", events=(top,))
        elif target in self.bad_targets:
            self._set(record, status="error", target_host=None)
            event = ActionEvent(
                "compute_check_can_live_migrate_destination",
                "Error",
                target,
                "Migration pre-check error: Unacceptable CPU info",
            )
            top = ActionEvent("conductor_live_migrate_instance", "Error", None, "No valid host was found.")
            self.actions[-1] = replace(self.actions[-1], message="Error", events=(top, event))
        else:
            self.servers[server.id] = replace(server, task_state="migrating")
        return Accepted(request)

    def _set(self, record: Migration, **change: object) -> None:
        at = next(n for n, m in enumerate(self.migrations) if m.uuid == record.uuid)
        self.migrations[at] = replace(self.migrations[at], **change)  # type: ignore[arg-type]

    def set_service(self, host: str, **change: object) -> None:
        """Change a host's compute service, as another administrator or the host itself would."""
        found = self.hosts[host]
        self.hosts[host] = replace(found, service=replace(found.service, **change))  # type: ignore[arg-type]
        if change.get("up"):  # a starting nova-compute completes the evacuations from its host
            for record in [one for one in self.migrations if one.status == "done" and one.source_host == host]:
                self._set(record, status="completed")

    # -- changes over time

    def pass_time(self, span: timedelta) -> None:
        self.now += span
        for host in list(self.hosts.values()):
            if host.service.up:
                alive = replace(host.service, last_seen=self.now)
                self.hosts[host.name] = replace(host, service=alive)
        for record in list(self.migrations):
            if record.open and record.status != "finished":
                self._advance(record)
        for server_id in [one for one, due in self._turning.items() if self.now >= due]:
            del self._turning[server_id]
            self.servers[server_id] = replace(self.servers[server_id], vm_state="error", status="ERROR")
        for server in list(self.servers.values()):
            due = self._due.get(server.id)
            if server.task_state in ("powering-off", "powering-on") and due and self.now >= due:
                off = server.task_state == "powering-off"
                self.servers[server.id] = replace(
                    server,
                    task_state=None,
                    vm_state="stopped" if off else "active",
                    status="SHUTOFF" if off else "ACTIVE",
                    power_state=4 if off else 1,
                )

    def _break(self, record: Migration, server: Server) -> None:
        """Fail a migration as Nova does when its compute hosts cannot reach each other: the guest runs, the server is
        in ERROR."""
        self._set(record, status="error")
        event = ActionEvent("compute_live_migration", "Error", record.source_host, f"{server.id}: ssh: cannot connect")
        at = next(n for n, a in reversed(list(enumerate(self.actions))) if self._about[a.request_id] == server.id)
        self.actions[at] = replace(self.actions[at], message="Error", events=(event,))
        self.servers[server.id] = replace(server, task_state=None)
        self._turning[server.id] = self.now + timedelta(seconds=self.late_error)

    def _advance(self, record: Migration) -> None:
        if record.type == "live-migration" and (waits := self.queued) and record.status in ("accepted", "queued"):
            begun = datetime.fromisoformat(record.created_at) + timedelta(seconds=waits)
            if self.now < begun:
                self._set(record, status="queued")
                return
            self._due[record.uuid] = begun + timedelta(seconds=self.seconds)
        source = self.hosts.get(record.source_host or "")
        stuck = self.never_ends or (record.type != "evacuation" and source is not None and not source.service.up)
        if self.now < self._due[record.uuid] or stuck:
            self._set(record, status="running" if record.type == "live-migration" else "migrating")
            return
        server = self.servers.get(record.server_id)
        if server is None:
            self._set(record, status="error")
            return
        if record.source_host in self.breaking and record.type != "evacuation":
            self._break(record, server)
            return
        target = record.target_host
        self.moved.append((server.id, record.type, target or ""))
        match record.type:
            case "live-migration":
                self._set(record, status="completed")
                self.servers[server.id] = replace(server, host=target, task_state=None)
            case "migration":
                self._set(record, status="finished")
                self.servers[server.id] = replace(
                    server, host=target, task_state=None, vm_state="resized", status="VERIFY_RESIZE"
                )
            case _:
                self._set(record, status="done")
                state, status, power = ("active", "ACTIVE", 1) if self.start_after else ("stopped", "SHUTOFF", 4)
                self.servers[server.id] = replace(
                    server, host=target, task_state=None, vm_state=state, status=status, power_state=power
                )
