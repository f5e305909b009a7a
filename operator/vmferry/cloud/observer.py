"""The shared view of the cloud: one poller for all resources, so that the load does not grow with their number.

Each part of the view is read by its own task at its own interval. After a failed read the old data stays, its age
grows, and the read is retried with growing pauses; after `REOPEN_AFTER` failures in a row the client reconnects
(credentials, token, catalog). A read that exceeds its deadline has failed, and the client reconnects at once.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

from vmferry.cloud.actions import Accepted, Action, HostAction, Outcome
from vmferry.cloud.contradictions import doubtful_hosts
from vmferry.cloud.facts import resource_manager
from vmferry.cloud.facts.collect import with_facts
from vmferry.cloud.indexes import reindex_migrations, reindex_servers
from vmferry.cloud.leftovers import marked
from vmferry.cloud.model import (
    Aggregate,
    Detail,
    HostFacts,
    HostLook,
    Hypervisor,
    InstanceAction,
    Migration,
    MigrationStage,
    Part,
    Progress,
    Server,
    Service,
    Snapshot,
    index_groups,
)
from vmferry.cloud.nova import CellUnreachableError, CloudError, NovaClient
from vmferry.cloud.nova.parse import GONE, Resources, join_hosts
from vmferry.cloud.nova.parse import time as parse_time
from vmferry.cloud.nova.servers import RECENT
from vmferry.cloud.threads import Threads
from vmferry.policy import Policy

log = logging.getLogger(__name__)

#: called in the event loop with the ids of servers that changed (themselves or their migrations), and whether hosts,
#: their resources or server groups changed
Callback = Callable[[frozenset[str], bool], None]

#: called by each reading task to show that it is alive: its name, and the maximum seconds until its next call
Beat = Callable[[str, float], None]

#: how far `changes-since` reaches back before the last read: controllers' clocks differ, transactions take time
OVERLAP = timedelta(seconds=30)
#: the same if the cloud reports no time
BLIND_OVERLAP = timedelta(minutes=10)
#: failed reads in a row after which the client reconnects
REOPEN_AFTER = 3
LONGEST_PAUSE = 60.0
#: deadline in seconds of one client call, which may send several requests, each with its own deadline
READ_SECONDS = 300.0
#: the same for a call that lists all servers or migrations of a large cloud
LIST_SECONDS = 1800.0
#: Nova's status of a server being built
BUILD = "BUILD"
#: seconds for which the start time of a read is remembered; no poll takes longer
REMEMBER = 600.0
#: maximum seconds that an action's outcome is delayed until its effect has been read
AFTER_ACTION = 10.0
#: maximum seconds between two polls while a migration is in flight: its end frees capacity for the next one, and until
#: that end is read, the limits are not fully used
BUSY = 2.0
#: difference in seconds from which the wall clock counts as set; smaller differences are its normal error
STEP = 1.0
#: see `Policy.stuck_after`
STUCK_AFTER: timedelta = Policy().stuck_after
#: how many missing servers are requested individually at a time
CHECKS_AT_ONCE = 4

T = TypeVar("T")


class HangingError(CloudError):
    """A read has not finished by its deadline."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between two reads of a part."""

    #: servers and migrations, changes only
    poll: float = 5.0
    #: complete lists of servers and migrations, which find what `changes-since` does not show
    full: float = 300.0
    hosts: float = 10.0
    # all well below `Policy.max_view_age`, to which the age of the oldest part is compared
    resources: float = 20.0
    groups: float = 20.0
    projects: float = 30.0
    #: the resource manager, if there is one; its facts are optional, so they never make the view stale
    facts: float = 20.0


@dataclass(slots=True)
class _FullRead:
    """The latest complete read of a part."""

    #: by the monotonic clock
    begun: float
    #: failed complete reads in a row, including earlier ones
    failures: int
    task: asyncio.Task[None] = field(init=False)


class Observer:
    """Keeps `snapshot` up to date between `start` and `stop`.

    It belongs to one event loop; the client's calls run in its own threads.
    """

    def __init__(
        self,
        client: NovaClient,
        pace: Pace | None = None,
        *,
        threads: int = 12,
        stuck_after: timedelta = STUCK_AFTER,
        beat: Beat = lambda *_: None,
        read_seconds: float = READ_SECONDS,
    ) -> None:
        self.client = client
        self._pace = pace or Pace()
        self._stuck_after = stuck_after
        self._beat = beat
        self._read_seconds = read_seconds
        self._snapshot = Snapshot(projects_whole=False)
        self._threads = Threads(threads)
        self._tasks: list[asyncio.Task[None]] = []
        self._callbacks: list[Callback] = []
        self._connecting = asyncio.Lock()
        self._connected = False
        self._connected_at = float("-inf")
        self._refusal: CloudError | None = None
        self._refusals = 0
        self._troubles: dict[Part, str] = {}
        #: start time of the read from which the view has a server, or its migrations, latest last: reads overlap, and
        #: the result of an older read must not replace that of a newer one
        self._server_read: OrderedDict[str, float] = OrderedDict()
        self._migrations_read: OrderedDict[str, float] = OrderedDict()
        #: servers of the view that are being built
        self._builds: frozenset[str] = frozenset()
        #: start time of the last successful complete read of a part
        self._full_at: dict[Part, float] = {}
        #: complete reads that run beside the polls
        self._full_reads: dict[Part, _FullRead] = {}
        self._seen_at: dict[Part, datetime] = {}
        self._services: list[Service] = []
        #: hosts in cells that Nova cannot reach
        self._unreachable: frozenset[str] = frozenset()
        #: when the services were requested, by the cloud's clock
        self._services_at: datetime | None = None
        #: start time of the last read of the services
        self._services_read = float("-inf")
        #: offset of the wall clock, see `_clock_ahead`
        self._ahead = _clock_ahead()
        self._hypervisors: list[Hypervisor] = []
        self._aggregates: list[Aggregate] = []
        self._resources: Mapping[str, Resources] | None = None
        self._managed: dict[str, HostFacts] = {}
        self._managed_trouble: str | None = None
        self._ports_trouble: str | None = None
        self._projects_trouble: str | None = None

    @property
    def snapshot(self) -> Snapshot:
        """The current view. Its mappings are replaced only when their content changed."""
        self._keep_age()
        return self._snapshot

    def subscribe(self, callback: Callback) -> None:
        """Register `callback`, which is called in the event loop after each change."""
        self._callbacks.append(callback)

    async def start(self) -> None:
        """Start reading and return at once; a cloud that does not answer yet is retried in the background."""
        self._tasks = [
            asyncio.create_task(self._keep_reading(part, seconds, read), name=f"read {part}")
            for part, seconds, read in self._parts()
        ]
        facts = self._keep_reading_facts(self._pace.facts)
        self._tasks.append(asyncio.create_task(facts, name="read facts"))

    async def read_once(self) -> Snapshot:
        """Read everything completely, once, instead of calling `start`. Raises `CloudError`."""
        await self._connect(anew=False)
        await self._read_facts()
        await asyncio.gather(*(read() for _, _, read in self._parts()))
        return self._snapshot

    async def stop(self) -> None:
        """Stop all reading. Calls that are running in threads end by their own timeouts."""
        tasks = [*self._tasks, *(full.task for full in self._full_reads.values())]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks = []
        self._threads.close()

    async def act(self, action: Action, forbidden: Callable[[], str | None] = lambda: None) -> Outcome:
        """Send one request, see `NovaClient.act`. Afterwards, the view includes an accepted host action's effect."""
        # no deadline: abandoning the call would not withdraw the request, and each request has its own timeout
        outcome = await self._call(self.client.act, action, forbidden, seconds=math.inf)
        if isinstance(action, HostAction) and isinstance(outcome, Accepted):
            try:
                async with asyncio.timeout(AFTER_ACTION):
                    await self._read_services()
            except (CloudError, TimeoutError) as error:
                # only the outcome matters here; the next poll reads the services again
                log.warning("the services cannot be read after %s: %s", type(action).__name__, error)
            else:
                self._join_hosts()
        return outcome

    async def detail(self, server_id: str, actions: str | None = None, *, with_actions: bool = False) -> Detail:
        """Read one server and its migrations now, and merge them into the shared view. Raises `CloudError`.

        With `with_actions`, the instance actions are read too, with the events of the newest one; with a request id in
        `actions`, the events of that request's action.
        """
        begun = time.monotonic()
        # The server is read first: a migration that begins or ends between the two reads then appears as a record
        # without its effect, which is rechecked later, and never as an effect without its record.
        try:
            server = await self._call(self.client.server, server_id)
        except CellUnreachableError:
            unreachable = self._snapshot.unreachable_servers | {server_id}
            self._snapshot = replace(self._snapshot, unreachable_servers=unreachable)
            raise
        migrations = await self._call(self.client.server_migrations, server_id)
        found: tuple[InstanceAction, ...] | None = None
        if with_actions or actions is not None:
            found = await self._call(self.client.actions, server_id, actions)
        self._take_in(server_id, server, migrations, begun)
        servers = {} if server is None else {server_id: server}
        return Detail(datetime.now(UTC), server, tuple(self._marked(migrations, servers)), found)

    async def progress(self, server_id: str, migration_id: int) -> Progress | None:
        """Progress of a live migration's copy, see `NovaClient.progress`. Raises `CloudError`."""
        return await self._call(self.client.progress, server_id, migration_id)

    async def host_look(self, host: str) -> HostLook:
        """Read now what shows whether a host is empty; see `NovaClient.host_look`. Raises `CloudError`.

        The servers and migrations found are merged into the shared view, so that it includes builds that hold capacity
        of the host.
        """
        begun = time.monotonic()
        known = self._snapshot.hosts.get(host)
        hypervisor = known.hypervisor.id if known and known.hypervisor else None
        look, servers = await self._call(self.client.host_look, host, hypervisor)
        self._tell(self._merge_servers(servers, (), begun) | self._merge_migrations(look.migrations, (), begun))
        return replace(look, migrations=tuple(self._marked(look.migrations, self._snapshot.servers)))

    # -- reading

    def _parts(self) -> tuple[tuple[Part, float, Callable[[], Awaitable[None]]], ...]:
        """Every part, the seconds between two reads of it, and the function that reads it."""
        pace = self._pace
        return (
            (Part.SERVERS, pace.poll, self._read_servers),
            (Part.MIGRATIONS, pace.poll, self._read_migrations),
            (Part.HOSTS, pace.hosts, self._read_hosts),
            (Part.RESOURCES, pace.resources, self._read_resources),
            (Part.GROUPS, pace.groups, self._read_groups),
            (Part.PROJECTS, pace.projects, self._read_projects),
        )

    async def _call(self, function: Callable[..., T], *args: object, seconds: float | None = None) -> T:
        """Raises `HangingError` if the call has not finished after `seconds` (None: the deadline of a read)."""
        return await _within(seconds or self._read_seconds, self._threads.run(partial(function, *args)))

    async def _keep_reading(self, part: Part, seconds: float, read: Callable[[], Awaitable[None]]) -> None:
        failures = 0
        hung = False
        while True:
            begun, asked_to_wait = time.monotonic(), 0.0
            within = 2 * self._read_seconds if part in self._snapshot.read_at else LIST_SECONDS
            self._live(f"read {part}", within)
            try:
                await self._connect(anew=hung or (failures > 0 and failures % REOPEN_AFTER == 0))
                hung = False
                await _within(within, read())
            except HangingError as error:
                failures, hung = failures + 1, True
                self._report_trouble(part, f"reading {part} hangs ({error}): it begins anew, with a new session")
            except CloudError as error:
                # the client itself waits that long; another login would only add to the requests that are rate-limited
                asked_to_wait = min(error.retry_after or 0.0, LONGEST_PAUSE)
                failures += error.retry_after is None
                self._report_trouble(part, str(error))
            except Exception as error:  # a bug in this operator must not stop the reading
                failures += 1
                log.exception("reading %s failed", part)
                self._report_trouble(part, f"reading {part} failed: {type(error).__name__}")
            else:
                failures = 0
                self._report_trouble(part, None)
            pause = min(seconds * 2**failures, max(LONGEST_PAUSE, seconds)) if failures else self._rest(part, seconds)
            await asyncio.sleep(max(pause - (time.monotonic() - begun), pause / 2, asked_to_wait))

    def _live(self, name: str, within: float) -> None:
        """Report that the task is alive, unless only a new process can help."""
        if not self._threads.exhausted:
            # the task may log in before its read, and it pauses after it
            self._beat(name, within + self._read_seconds + 2 * LONGEST_PAUSE)

    def _rest(self, part: Part, seconds: float) -> float:
        """Seconds to the next read; lists of changes are short, so they may be read often."""
        if part not in (Part.SERVERS, Part.MIGRATIONS):
            return seconds
        migrations = self._snapshot.migrations.values()
        busy = any(migration.stage is MigrationStage.IN_FLIGHT for migration in migrations)
        return min(seconds, BUSY) if busy else seconds

    async def _keep_reading_facts(self, seconds: float) -> None:
        """Read optional facts: after a failure they are missing, and the age of the view does not change."""
        while True:
            self._live("read facts", 2 * self._read_seconds)
            if self._connected:
                await self._read_facts()
                if Part.HOSTS in self._snapshot.read_at:
                    self._join_hosts()
            await asyncio.sleep(seconds if self._connected else min(seconds, self._pace.poll))

    async def _read_facts(self) -> None:
        trouble: str | None
        try:
            self._managed, trouble = await self._call(resource_manager.read, self.client)
        except Exception as error:  # a bug in this operator must not stop the reading
            self._managed, trouble = {}, f"{type(error).__name__}: {error}"
        if trouble and trouble != self._managed_trouble:
            log.warning("the resource manager cannot be read, its facts are missing: %s", trouble)
        self._managed_trouble = trouble

    async def _connect(self, *, anew: bool) -> None:
        """Connect; if already connected, only if `anew` is set and no other task has just done it.

        All parts share one attempt, and the pauses between failed attempts grow, so that a wrong password does not make
        Keystone lock the account.
        """
        async with self._connecting:
            if self.client.rotated:
                await self._log_in_again()
                return
            since = time.monotonic() - self._connected_at
            if self._refusal is not None and since < max(
                min(self._pace.poll * 2**self._refusals, LONGEST_PAUSE), self._refusal.retry_after or 0.0
            ):
                if not self._connected:
                    raise self._refusal
                return
            if self._connected and not (anew and since > self._pace.poll):
                return
            await self._log_in()

    async def _log_in(self) -> None:
        self._connected_at = time.monotonic()
        try:
            await self._call(self.client.connect)
        except CloudError as error:
            self._refusal, self._refusals = error, self._refusals + 1
            raise
        self._connected, self._refusal, self._refusals = True, None, 0
        client, known = self.client, self._snapshot
        if (known.user_id, known.cloud_id, known.verified) != (client.user_id, client.cloud_id, client.verified):
            self._snapshot = replace(known, user_id=client.user_id, cloud_id=client.cloud_id, verified=client.verified)

    async def _log_in_again(self) -> None:
        """Log in with the changed clouds.yaml. If that fails, an existing login stays in use."""
        try:
            await self._log_in()
        except CloudError as error:
            if not self._connected:
                raise
            log.error("clouds.yaml has changed and cannot be used, the former login stays: %s", error)
        else:
            log.info("clouds.yaml has changed: logged in anew")

    def _report_trouble(self, part: Part, text: str | None) -> None:
        if text is None:
            self._troubles.pop(part, None)
        else:
            if self._troubles.pop(part, None) != text:
                log.warning("%s: %s", part, text)
            self._troubles[part] = text
        trouble = next(reversed(self._troubles.values()), None)
        if trouble != self._snapshot.trouble:
            self._snapshot = replace(self._snapshot, trouble=trouble)

    def _read_fully_beside(self, part: Part, read: Callable[[], Awaitable[None]]) -> None:
        """Start a complete read of `part` if one is due; the polls continue meanwhile and keep the view fresh.

        A complete list of a large cloud can take minutes. A failure is logged and retried; it does not age the view,
        since the polls report every change except those that `changes-since` does not show.
        """
        now = time.monotonic()
        running = self._full_reads.get(part)
        if running is not None and not running.task.done():
            return
        failures = running.failures if running is not None else 0
        due = self._full_at[part] + self._pace.full
        if running is not None and failures:
            due = max(due, running.begun + min(self._pace.full, LONGEST_PAUSE * 2 ** (failures - 1)))
        if now < due:
            return

        async def run(full: _FullRead) -> None:
            try:
                await read()
            except CloudError as error:
                full.failures += 1
                log.warning("the complete read of %s failed, the polls of changes go on: %s", part, error)
            except Exception:  # a bug in this operator must not stop the reading
                full.failures += 1
                log.exception("the complete read of %s failed", part)
            else:
                full.failures = 0

        full = _FullRead(now, failures)
        self._full_reads[part] = full
        full.task = asyncio.create_task(run(full), name=f"read all {part}")

    def _cloud_now(self) -> datetime:
        """The cloud's time, minus the overlap for a later `changes-since`."""
        return self.client.cloud_time() - (OVERLAP if self.client.tells_time else BLIND_OVERLAP)

    async def _read_servers(self) -> None:
        if Part.SERVERS not in self._full_at:
            await self._read_all_servers()
            return
        self._read_fully_beside(Part.SERVERS, self._read_all_servers)
        begun, seen_at = time.monotonic(), self._cloud_now()
        found, gone = await self._call(self.client.servers, self._seen_at[Part.SERVERS])
        # every poll lists all builds, but `changes-since` does not report a build that was deleted before it had a host
        gone |= await self._really_gone(self._builds - {server.id for server in found} - gone)
        self._seen_at[Part.SERVERS] = seen_at
        changed = self._merge_servers(found, gone, begun)
        self._mark_read(Part.SERVERS)
        self._tell(changed)

    async def _read_all_servers(self) -> None:
        begun, seen_at = time.monotonic(), self._cloud_now()
        found, _ = await self._call(self.client.servers, None, seconds=LIST_SECONDS)
        missing = self._snapshot.servers.keys() - {server.id for server in found} - self._in_unreachable_cells()
        # the list may miss a server because that server's own read began after the list's
        gone = await self._really_gone({one for one in missing if self._server_read.get(one, begun) <= begun})
        changed = self._merge_servers(found, gone, begun)
        if Part.SERVERS not in self._full_at:
            self._seen_at[Part.SERVERS] = seen_at
            self._mark_read(Part.SERVERS)
        self._full_at[Part.SERVERS] = begun
        self._tell(changed)

    def _in_unreachable_cells(self) -> set[str]:
        """Servers that Nova cannot list now: their last known state stays, and they are not requested singly."""
        by_host = self._snapshot.servers_by_host
        return {server_id for host in self._unreachable for server_id in by_host.get(host, ())}

    async def _really_gone(self, missing: Collection[str]) -> set[str]:
        """Those of the missing servers that an individual request confirms as unknown to Nova (I4).

        A list may lack servers for other reasons: an unreachable cell, a policy, a faulty proxy.
        """
        at_once = asyncio.Semaphore(CHECKS_AT_ONCE)

        async def is_gone(server_id: str) -> bool:
            async with at_once:
                try:
                    server = await self._call(self.client.server, server_id)
                except CloudError as error:
                    log.warning("server %s is missing in the list of all servers: %s", server_id, error)
                    return False
                return server is None or server.status in GONE

        answers = await asyncio.gather(*(is_gone(server_id) for server_id in missing))
        return {server_id for server_id, gone in zip(missing, answers, strict=True) if gone}

    async def _read_migrations(self) -> None:
        if Part.MIGRATIONS not in self._full_at:
            await self._read_all_migrations()
            return
        self._read_fully_beside(Part.MIGRATIONS, self._read_all_migrations)
        begun, seen_at = time.monotonic(), self._cloud_now()
        found = await self._call(self.client.migrations, self._seen_at[Part.MIGRATIONS])
        self._seen_at[Part.MIGRATIONS] = seen_at
        changed = self._merge_migrations(found, (), begun)
        changed |= self._find_leftovers(self._snapshot.migrations.values())
        self._mark_read(Part.MIGRATIONS)
        self._tell(changed)

    async def _read_all_migrations(self) -> None:
        begun, seen_at = time.monotonic(), self._cloud_now()
        found = await self._call(self.client.migrations, None, seconds=LIST_SECONDS)
        found, ended = await self._without_ended(found)
        changed = self._merge_migrations(found, ended, begun)
        if Part.MIGRATIONS not in self._full_at:
            self._seen_at[Part.MIGRATIONS] = seen_at
            self._mark_read(Part.MIGRATIONS)
        self._full_at[Part.MIGRATIONS] = begun
        self._tell(changed)

    async def _without_ended(self, found: list[Migration]) -> tuple[list[Migration], set[str]]:
        """The migrations of a complete read; UUIDs to forget: ended long ago, or open here but unknown to Nova."""
        listed = {migration.uuid for migration in found}
        missing = {
            m.uuid: m
            for m in self._snapshot.migrations.values()
            # Nova lists no migrations of an unreachable cell, ended or not
            if m.uuid not in listed and self._unreachable.isdisjoint((m.source_host, m.target_host))
        }
        forget = set(missing)
        for server_id in {migration.server_id for migration in missing.values() if migration.open}:
            told = await self._call(self.client.server_migrations, server_id)
            still_there = [m for m in told if m.uuid in missing and missing[m.uuid].open]
            found = [*found, *still_there]
            forget -= {m.uuid for m in still_there}
        return found, forget

    async def _read_hosts(self) -> None:
        _, self._hypervisors, self._aggregates = await asyncio.gather(
            self._read_services(), self._call(self.client.hypervisors), self._call(self.client.aggregates)
        )
        self._join_hosts()
        self._mark_read(Part.HOSTS)

    async def _read_services(self) -> None:
        """Read the services; a poll that began before an action must not replace what was read after it."""
        begun, at = time.monotonic(), self.client.cloud_time() if self.client.tells_time else None
        services, unreachable = await self._call(self.client.services_and_unreachable)
        if begun >= self._services_read:
            self._services, self._services_read, self._services_at = services, begun, at
            self._unreachable = unreachable

    async def _read_resources(self) -> None:
        hypervisors = self._hypervisors or await self._call(self.client.hypervisors)
        # a bare-metal node is never a target, so its capacity is not read
        wanted = [hypervisor.id for hypervisor in hypervisors if hypervisor.has_guests]
        self._resources = await self._call(self.client.resources, wanted)
        self._join_hosts()
        self._mark_read(Part.RESOURCES)

    def _join_hosts(self) -> None:
        doubtful = doubtful_hosts(self._services, self._hypervisors, self._unreachable)
        joined = join_hosts(self._services, self._hypervisors, self._aggregates, self._resources, doubtful)
        hosts = with_facts(joined, self._managed, datetime.now(UTC))
        for name in self._unreachable:
            # Nova does not list the hypervisors of its cell either, so the known ones are kept
            before = self._snapshot.doubtful_hosts.get(name)
            host = self._snapshot.hosts.get(name)
            ids = before.hypervisors if before else frozenset({host.hypervisor.id} if host and host.hypervisor else ())
            doubtful[name] = replace(doubtful[name], hypervisors=doubtful[name].hypervisors | ids)
        differs = hosts != self._snapshot.hosts or doubtful != self._snapshot.doubtful_hosts
        known = {one for host in self._snapshot.hosts.values() for one in host.facts.unreadable}
        for unread in {one for host in hosts.values() for one in host.facts.unreadable} - known:
            log.warning("a fact of hosts cannot be understood, it counts for nothing: %s", unread.message)
        for name, doubt in doubtful.items():
            if self._snapshot.doubtful_hosts.get(name) != doubt:
                log.warning("nothing is done on %s: %s", name, doubt.problem)
        # also if they are equal: the heartbeats, which equality ignores, are newer
        self._snapshot = replace(self._snapshot, hosts=hosts, doubtful_hosts=doubtful, services_at=self._services_at)
        self._tell(hosts_changed=differs)

    async def _read_groups(self) -> None:
        found, ports = await asyncio.gather(self._call(self.client.server_groups), self._ports())
        groups, known = tuple(found), self._snapshot.ports
        differs = groups != self._snapshot.server_groups or (ports is None) != (known is None)
        changed = {server_id for server_id, _ in (ports or {}).items() ^ (known or {}).items()}
        if differs or changed:
            of_servers = index_groups(groups)
            self._snapshot = replace(self._snapshot, server_groups=groups, groups_by_server=of_servers, ports=ports)
        self._mark_read(Part.GROUPS)
        self._tell(changed, hosts_changed=differs)

    async def _ports(self) -> dict[str, tuple[str, ...]] | None:
        """The ports, or None if Neutron cannot be read. This does not age the view: Nova could not bind a port at a
        target meanwhile either."""
        trouble: str | None = None
        ports = None
        try:
            ports = await self._call(self.client.ports)
        except CloudError as error:
            trouble = str(error)
        if trouble and trouble != self._ports_trouble:
            log.warning("the ports cannot be read: %s", trouble)
        self._ports_trouble = trouble
        return ports

    async def _read_projects(self) -> None:
        """Read project names. A failure affects only resources that name their server by name, not by id."""
        trouble: str | None = None
        try:
            projects, whole = await self._call(self.client.projects)
        except CloudError as error:
            projects, whole, trouble = dict(self._snapshot.projects), False, str(error)
        else:
            self._mark_read(Part.PROJECTS)
            trouble = None if whole else "Keystone does not list all of them"
        if (projects, whole) != (self._snapshot.projects, self._snapshot.projects_whole):
            self._snapshot = replace(self._snapshot, projects=projects, projects_whole=whole)
        if trouble and trouble != self._projects_trouble:
            log.warning("the projects cannot be read whole, so some servers are only found by id: %s", trouble)
        self._projects_trouble = trouble

    # -- merging; without await, so that each merge is atomic for the other tasks

    def _remembered_since(self, begun: float) -> float:
        """No unfinished read began before this time: only complete reads exceed REMEMBER, and they are known."""
        running = [full.begun for full in self._full_reads.values() if not full.task.done()]
        return min([begun - REMEMBER, *(at - 1 for at in running)])

    def _keep_age(self) -> None:
        """Keep the age of the parts when the wall clock is set back: their read times move back with it (I13).

        A clock set ahead makes them older, which is harmless and ends with the next read.
        """
        ahead = _clock_ahead()
        back = self._ahead - ahead
        if abs(back) <= STEP:
            return
        self._ahead = ahead
        if back > 0:
            read_at = {part: at - timedelta(seconds=back) for part, at in self._snapshot.read_at.items()}
            self._snapshot = replace(self._snapshot, read_at=read_at)

    def _mark_read(self, part: Part) -> None:
        self._keep_age()
        self._snapshot = replace(self._snapshot, read_at={**self._snapshot.read_at, part: datetime.now(UTC)})

    def _tell(self, servers: Collection[str] = (), hosts_changed: bool = False) -> None:
        if not servers and not hosts_changed:
            return
        for callback in self._callbacks:
            try:
                callback(frozenset(servers), hosts_changed)
            except Exception:
                log.exception("a subscriber of the cloud's changes failed")

    def _merge_servers(self, found: Iterable[Server], gone: Iterable[str], begun: float) -> set[str]:
        """Merge servers from a read that began at `begun`; returns the ids of the servers that changed."""
        known, read = self._snapshot.servers, self._server_read
        if self._snapshot.unreachable_servers:
            found = list(found)
            unreachable = self._snapshot.unreachable_servers - {s.id for s in found} - set(gone)
            self._snapshot = replace(self._snapshot, unreachable_servers=unreachable)
        news = {s.id: s for s in found if known.get(s.id) != s and read.get(s.id, begun) <= begun}
        lost = {server_id for server_id in gone if server_id in known and read.get(server_id, begun) <= begun}
        if news or lost:
            # copying what is known costs a hundredth of a millisecond for a thousand servers
            servers = {**known, **news}
            for server_id in lost:
                del servers[server_id]
            by_host = reindex_servers(self._snapshot.servers_by_host, known, news | dict.fromkeys(lost))
            self._snapshot = replace(self._snapshot, servers=servers, servers_by_host=by_host)
            self._builds = (self._builds - news.keys() - lost) | {s.id for s in news.values() if s.status == BUILD}
            _remember(read, news.keys() | lost, begun, self._remembered_since(begun))
            its = self._snapshot.migrations_by_server
            self._find_leftovers([record for server_id in news for record in its.get(server_id, ())])
        # Nova forgets the migrations of a deleted server, and no list of changes reports that
        forgotten = [m for server_id in lost for m in self._snapshot.migrations_by_server.get(server_id, ())]
        if forgotten:
            self._change_migrations({}, forgotten)
        return news.keys() | lost

    def _merge_migrations(self, found: Iterable[Migration], forget: Collection[str], begun: float) -> set[str]:
        """Merge migrations from a read that began at `begun`; returns the ids of servers whose migrations changed."""
        known, read = self._snapshot.migrations, self._migrations_read
        newer = [m for m in self._marked(found, self._snapshot.servers) if read.get(m.server_id, begun) <= begun]
        news = {m.uuid: m for m in newer if known.get(m.uuid) != m}
        lost = [known[uuid] for uuid in forget if uuid in known and read.get(known[uuid].server_id, begun) <= begun]
        changed = {migration.server_id for migration in (*news.values(), *lost)}
        # a record in which only the time changed wakes no reconcile, but the time shows that Nova is working on it
        touched = {m.uuid: m for m in newer if m.uuid not in news and m.open and _minute(m) != _minute(known[m.uuid])}
        if changed or touched:
            self._change_migrations(news | touched, lost)
            _remember(read, changed, begun, self._remembered_since(begun))
        return changed

    def _marked(self, records: Iterable[Migration], servers: Mapping[str, Server]) -> list[Migration]:
        return marked(records, servers, self.client.cloud_time(), self._stuck_after)

    def _find_leftovers(self, records: Iterable[Migration]) -> set[str]:
        """Mark the records of the view that became leftovers; returns the ids of their servers."""
        known = self._snapshot.migrations
        news = {m.uuid: m for m in self._marked(records, self._snapshot.servers) if m is not known.get(m.uuid)}
        if news:
            self._change_migrations(news, ())
        return {m.server_id for m in news.values()}

    def _change_migrations(self, news: Mapping[str, Migration], lost: Collection[Migration]) -> None:
        migrations = {**self._snapshot.migrations, **news}
        for migration in lost:
            del migrations[migration.uuid]
        by_server = reindex_migrations(self._snapshot.migrations_by_server, news.values(), lost)
        self._snapshot = replace(self._snapshot, migrations=migrations, migrations_by_server=by_server)

    def _take_in(self, server_id: str, server: Server | None, migrations: Iterable[Migration], begun: float) -> None:
        """Merge a fresh read of one server into the view, without ended migrations that the view does not keep."""
        if server is None or server.status in GONE:
            changed = self._merge_servers((), {server_id}, begun)
        else:
            known, long_ago = self._snapshot.migrations, self.client.cloud_time() - RECENT
            kept = [m for m in migrations if m.open or m.uuid in known or _ended_after(m, long_ago)]
            changed = self._merge_servers([server], (), begun) | self._merge_migrations(kept, (), begun)
        for read in (self._server_read, self._migrations_read):
            _remember(read, (server_id,), max(begun, read.get(server_id, begun)), self._remembered_since(begun))
        self._tell(changed)


async def _within(seconds: float, waiting: Awaitable[T]) -> T:
    """Await `waiting`. Raises `HangingError` after that many seconds."""
    try:
        async with asyncio.timeout(None if seconds == math.inf else seconds):
            return await waiting
    except TimeoutError:
        raise HangingError(f"no end after {seconds:g} s") from None


def _clock_ahead() -> float:
    """Seconds from the monotonic clock to the wall clock; the difference changes when the wall clock is set."""
    return datetime.now(UTC).timestamp() - time.monotonic()


def _remember(read: OrderedDict[str, float], servers: Iterable[str], begun: float, since: float) -> None:
    """Record `begun` as the read time of the servers, and forget times before `since`."""
    for server_id in servers:
        read[server_id] = begun
        read.move_to_end(server_id)
    while read and next(iter(read.values())) <= since:
        read.popitem(last=False)


def _minute(record: Migration) -> str:
    """When the record was last changed, to the minute."""
    return record.updated_at[:16]


def _ended_after(migration: Migration, moment: datetime) -> bool:
    updated = parse_time(migration.updated_at or migration.created_at)
    return updated is not None and updated > moment
