"""The shared view against a client that says what a test wants; against a cloud it is run in tests/contract."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import pytest

from tests.cloud.samples import AGGREGATE, HYPERVISOR, MIGRATION, SERVER, SERVICE
from vmferry.cloud import observer as observers
from vmferry.cloud.actions import Accepted, Action, DisableService, EnableService, Outcome, StopServer, Unanswered
from vmferry.cloud.model import (
    Aggregate,
    HostLook,
    Hypervisor,
    InstanceAction,
    Migration,
    Part,
    Progress,
    Server,
    ServerGroup,
    Service,
    Snapshot,
)
from vmferry.cloud.nova import CellUnreachableError, CloudError, NovaClient, parse
from vmferry.cloud.observer import OVERLAP, Observer, Pace

FAST = Pace(poll=0.02, full=1000, hosts=0.02, resources=0.02, groups=0.02, projects=0.02)
ALWAYS_FULL = replace(FAST, full=0.0)
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def server(number: int = 1, **changes: Any) -> Server:
    return replace(parse.server(SERVER), id=f"s{number}", **changes)


def migration(number: int = 1, **changes: Any) -> Migration:
    return replace(parse.migration(MIGRATION), **{"id": number, "uuid": f"m{number}", "server_id": "s1", **changes})


class FakeClient(NovaClient):
    """A cloud as plain lists. `broken` fails every call, `hidden` servers are missing in lists only."""

    def __init__(self) -> None:
        super().__init__("fake")
        self.all: dict[str, Server] = {"s1": server()}
        self.changed: list[Server] = []
        self.deleted: set[str] = set()
        self.hidden: set[str] = set()
        self.records: list[Migration] = []
        #: UUIDs of migrations missing in the list of all, not in their server's
        self.hidden_records: set[str] = set()
        self.changed_records: list[Migration] = []
        self.compute = parse.service(SERVICE)
        self.room: dict[str, parse.Resources] | None = {}
        self.special_ports: dict[str, tuple[str, ...]] | None = {}
        self.neutron_broken = False
        self.keystone_broken = False
        self.projects_whole = True
        self.broken: str | None = None
        self.connects = 0
        #: clouds.yaml has changed since the last attempt to log in
        self.renewed = False
        self.sinces: list[datetime | None] = []
        self.looked_at: list[str] = []
        self.hypervisors_looked_at: list[str | None] = []
        self.outcome: Outcome = Accepted("req-1")
        #: cleared: complete lists of servers do not answer
        self.lists_answer = threading.Event()
        self.lists_answer.set()
        #: hosts in cells that Nova cannot reach
        self.unreachable: set[str] = set()
        #: called by `servers` before it answers, to let something happen meanwhile
        self.meanwhile: Callable[[], None] = lambda: None

    def _answer(self) -> None:
        if self.broken:
            raise CloudError(self.broken)

    def connect(self) -> None:
        self.connects += 1
        self.renewed = False
        self._answer()

    @property
    def verified(self) -> bool:
        return True

    @property
    def cloud_id(self) -> str | None:
        return "RegionOne@nova.example.org"

    @property
    def rotated(self) -> bool:
        return self.renewed

    @property
    def user_id(self) -> str:
        return "user-1"

    @property
    def tells_time(self) -> bool:
        return True

    def cloud_time(self) -> datetime:
        return NOW

    def servers(self, changes_since: datetime | None = None) -> tuple[list[Server], set[str]]:
        self._answer()
        self.sinces.append(changes_since)
        if changes_since is None:
            found = [one for one in self.all.values() if one.id not in self.hidden], set[str]()
            self.lists_answer.wait(60)
        else:
            found = list(self.changed), set(self.deleted)
        self.meanwhile()
        return found

    def server(self, server_id: str) -> Server | None:
        self._answer()
        found = self.all.get(server_id)
        if found is not None and found.host in self.unreachable:
            raise CellUnreachableError(f"Nova cannot reach the cell of server {server_id}")
        self.looked_at.append(server_id)
        return self.all.get(server_id)

    def migrations(self, changes_since: datetime | None = None) -> list[Migration]:
        self._answer()
        if changes_since is not None:
            return list(self.changed_records)
        return [one for one in self.records if one.uuid not in self.hidden_records]

    def server_migrations(self, server_id: str) -> tuple[Migration, ...]:
        self._answer()
        return tuple(one for one in self.records if one.server_id == server_id)

    def actions(self, server_id: str, request_id: str | None = None) -> tuple[InstanceAction, ...]:
        return (InstanceAction(request_id or "newest", "live-migration", None, None),)

    def progress(self, server_id: str, migration_id: int) -> Progress | None:
        return Progress(100, 10, 0, 0)

    def services_and_unreachable(self) -> tuple[list[Service], frozenset[str]]:
        return self.services(), frozenset(self.unreachable)

    def services(self) -> list[Service]:
        self._answer()
        return [self.compute]

    def hypervisors(self) -> list[Hypervisor]:
        self._answer()
        return [parse.hypervisor(HYPERVISOR)]

    def aggregates(self) -> list[Aggregate]:
        return [parse.aggregate(AGGREGATE)]

    def server_groups(self) -> list[ServerGroup]:
        self._answer()
        return []

    def ports(self) -> dict[str, tuple[str, ...]] | None:
        if self.neutron_broken:
            raise CloudError("GET network /ports: HTTP 503")
        return None if self.special_ports is None else dict(self.special_ports)

    def projects(self) -> tuple[dict[str, str], bool]:
        self._answer()
        if self.keystone_broken:
            raise CloudError("GET /projects: HTTP 500")
        return {"project-1": "shop"}, self.projects_whole

    def resources(self, providers: Any) -> dict[str, parse.Resources] | None:
        self._answer()
        return None if self.room is None else dict(self.room)

    def act(self, action: Action, forbidden: Any = None) -> Outcome:
        if isinstance(action, DisableService | EnableService):
            self.compute = replace(self.compute, enabled=isinstance(action, EnableService))
        return self.outcome

    def host_look(self, host: str, hypervisor: str | None = None) -> tuple[HostLook, list[Server]]:
        self._answer()
        self.hypervisors_looked_at.append(hypervisor)
        records = tuple(one for one in self.records if one.open)
        return HostLook(host, NOW, self.compute, frozenset(self.all), migrations=records), list(self.all.values())


@asynccontextmanager
async def watching(client: FakeClient, pace: Pace = FAST) -> AsyncIterator[Observer]:
    observer = Observer(client, pace)
    await observer.start()
    try:
        yield observer
    finally:
        await observer.stop()


async def until(condition: Callable[[], object], what: str) -> None:
    """Wait until `condition` holds."""
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"not within 5 s: {what}")


def whole(observer: Observer) -> bool:
    return observer.snapshot.age(datetime.now(UTC)) is not None


async def reads(client: FakeClient, count: int = 2) -> None:
    """Wait for so many more reads of the servers, the last of them merged."""
    wanted = len(client.sinces) + count + 1
    await until(lambda: len(client.sinces) >= wanted, f"{count} more reads")


async def test_the_first_view_is_whole() -> None:
    client = FakeClient()
    client.records = [migration()]
    async with watching(client) as observer:
        assert observer.snapshot == Snapshot(projects_whole=False), "start waits for nobody"
        await until(lambda: whole(observer), "a whole view")
        view = observer.snapshot
        assert view.servers == {"s1": server()}
        assert view.servers_by_host == {"cmp1": ("s1",)}
        assert view.migrations_by_server == {"s1": (migration(),)}
        assert view.hosts["cmp1"].hypervisor is not None
        assert view.projects == {"project-1": "shop"}
        assert (view.user_id, view.verified) == ("user-1", True)
        assert view.trouble is None


def hide_cell(client: FakeClient, host: str) -> None:
    """As Nova does with a list that has a limit: nothing of the cell is in it, and nothing says so."""
    client.unreachable = {host}
    client.hidden = {one.id for one in client.all.values() if one.host == host}
    client.hidden_records = {one.uuid for one in client.records if host in (one.source_host, one.target_host)}


async def test_a_cell_that_cannot_be_reached_leaves_the_view_of_the_others_fresh() -> None:
    client = FakeClient()
    client.records = [migration()]
    async with watching(client, replace(FAST, full=0.02)) as observer:
        await until(lambda: whole(observer), "a whole view")
        uuid = observer.snapshot.hosts["cmp1"].hypervisor
        hide_cell(client, "cmp1")
        await until(lambda: "cmp1" in observer.snapshot.doubtful_hosts, "a doubtful host")
        client.looked_at.clear()
        await reads(client, 6)
        view = observer.snapshot
        assert view.trouble is None and "cmp1" not in view.hosts
        assert view.doubtful_hosts["cmp1"].unreachable
        assert uuid is not None and view.find_doubt(uuid.id) is view.doubtful_hosts["cmp1"]
        assert "s1" in view.servers and migration().uuid in view.migrations, "what was known of them stays (I4)"
        assert not client.looked_at, "a cell of thousands of servers is not asked for them one by one"
        with pytest.raises(CellUnreachableError):
            await observer.detail("s1")
        assert observer.snapshot.unreachable_servers == {"s1"}
        client.unreachable, client.hidden, client.hidden_records = set(), set(), set()
        await until(lambda: "cmp1" in observer.snapshot.hosts, "the host again")
        await until(lambda: not observer.snapshot.unreachable_servers, "the server again")
        assert not observer.snapshot.doubtful_hosts


async def test_R19_what_neutron_does_not_tell_is_unknown_and_leaves_the_view_fresh() -> None:
    client = FakeClient()
    client.special_ports = {"s1": ("direct",)}
    async with watching(client) as observer:
        await until(lambda: whole(observer), "a whole view")
        assert (observer.snapshot.ports_of("s1"), observer.snapshot.ports_of("s2")) == (("direct",), ())
        client.neutron_broken = True
        await until(lambda: observer.snapshot.ports is None, "ports that are not told")
        read_at = observer.snapshot.read_at[Part.GROUPS]
        await until(lambda: observer.snapshot.read_at[Part.GROUPS] > read_at, "groups that are read all the same")
        assert observer.snapshot.trouble is None


async def test_a_server_whose_ports_changed_is_told() -> None:
    client, told = FakeClient(), list[frozenset[str]]()
    async with watching(client) as observer:
        await until(lambda: whole(observer), "a whole view")
        observer.subscribe(lambda servers, hosts_changed: told.append(servers))
        client.special_ports = {"s1": ("direct",)}
        await until(lambda: frozenset({"s1"}) in told, "a word of the server")


async def test_polls_ask_for_changes_by_the_clouds_clock_with_an_overlap() -> None:
    client = FakeClient()
    async with watching(client):
        await reads(client)
    assert client.sinces[:2] == [None, NOW - OVERLAP]


async def test_a_poll_without_changes_keeps_everything_but_the_time() -> None:
    client = FakeClient()
    async with watching(client) as observer:
        await until(lambda: whole(observer), "a whole view")
        before = observer.snapshot
        told: list[object] = []
        observer.subscribe(lambda *news: told.append(news))
        client.changed = [server()]
        await reads(client)
        after = observer.snapshot
        assert after.servers is before.servers
        assert after.migrations is before.migrations
        assert after.hosts == before.hosts
        assert after.read_at[Part.SERVERS] > before.read_at[Part.SERVERS]
        assert told == []


async def test_a_change_reaches_view_and_subscribers() -> None:
    client = FakeClient()
    async with watching(client) as observer:
        await until(lambda: whole(observer), "a whole view")
        before = observer.snapshot
        told: list[tuple[frozenset[str], bool]] = []
        observer.subscribe(lambda servers, hosts: told.append((servers, hosts)))
        client.changed = [server(host="cmp2"), server(2)]
        await until(lambda: "s2" in observer.snapshot.servers, "the new server")
        assert told == [(frozenset({"s1", "s2"}), False)]
        assert observer.snapshot.servers_by_host == {"cmp2": ("s1",), "cmp1": ("s2",)}
        assert before.servers == {"s1": server()}, "a view once handed out never changes"
        client.changed_records = [migration()]
        await until(lambda: observer.snapshot.migrations, "the migration")
        assert told[1:] == [(frozenset({"s1"}), False)]
        client.room = {"h1": parse.Resources({}, frozenset())}
        await until(lambda: len(told) > 2, "the host's resources")
        assert told[2:] == [(frozenset(), True)]


async def test_a_running_copy_whose_record_nova_only_touches_is_no_change() -> None:
    """Nova does so every few seconds: hundreds of copies would have all their objects looked at all the time."""
    client = FakeClient()
    client.records = [migration(status="running", updated_at="2026-11-23T12:00:01.000000")]
    async with watching(client) as observer:
        await until(lambda: whole(observer), "a whole view")
        known = observer.snapshot.migrations
        told: list[frozenset[str]] = []
        observer.subscribe(lambda servers, hosts: told.append(servers))
        client.changed_records = [migration(status="running", updated_at="2026-11-23T12:00:06.000000")]
        polls = len(client.sinces)
        await until(lambda: len(client.sinces) > polls + 2, "three polls")
        assert told == []
        assert observer.snapshot.migrations is known
        client.changed_records = [migration(status="completed", updated_at="2026-11-23T12:00:11.000000")]
        await until(lambda: told == [frozenset({"s1"})], "its end")


async def test_a_subscriber_that_fails_stops_nothing() -> None:
    client = FakeClient()
    async with watching(client) as observer:
        observer.subscribe(lambda servers, hosts: 1 / 0)  # type: ignore[arg-type]
        await until(lambda: whole(observer), "a whole view")
        assert observer.snapshot.trouble is None


async def test_a_deleted_server_takes_its_migrations_along() -> None:
    client = FakeClient()
    client.records = [migration()]
    async with watching(client) as observer:
        await until(lambda: whole(observer), "a whole view")
        client.deleted = {"s1", "never known"}
        await until(lambda: not observer.snapshot.servers, "the deletion")
        assert observer.snapshot.migrations == {}
        assert observer.snapshot.migrations_by_server == {}


async def test_an_empty_list_is_not_believed_while_nova_knows_the_servers() -> None:
    """I4."""
    client = FakeClient()
    async with watching(client, ALWAYS_FULL) as observer:
        await until(lambda: whole(observer), "a whole view")
        client.hidden = {"s1"}
        await reads(client, 3)
        assert observer.snapshot.servers == {"s1": server()}
        assert "s1" in client.looked_at
        client.all.clear()
        await until(lambda: not observer.snapshot.servers, "the server that Nova does not know any more")


async def test_a_complete_read_that_takes_long_does_not_make_the_view_stale() -> None:
    """A large cloud needs minutes for the list of all its servers; the polls of changes go on beside it."""
    client = FakeClient()
    async with watching(client, ALWAYS_FULL) as observer:
        await until(lambda: whole(observer), "a whole view")
        client.lists_answer.clear()
        lists = client.sinces.count(None)
        await until(lambda: client.sinces.count(None) > lists, "the next complete read")
        begun = datetime.now(UTC)
        client.changed = [server(2)]
        await until(lambda: "s2" in observer.snapshot.servers, "a change that only a poll shows")
        await until(lambda: observer.snapshot.read_at[Part.SERVERS] > begun, "a view as fresh as its last poll")
        client.changed, client.deleted = [server(2, host="cmp9")], {"s1"}
        await until(lambda: observer.snapshot.servers["s2"].host == "cmp9", "the next change")
        await until(lambda: "s1" not in observer.snapshot.servers, "a deletion that only a poll shows")
        assert client.sinces.count(None) == lists + 1, "one complete read at a time"
        # the list is older than what the polls have shown since: it has s1, and lacks s2
        client.all = {"s2": server(2, host="cmp9")}
        client.deleted, client.changed = set(), []
        client.lists_answer.set()
        await until(lambda: client.sinces.count(None) > lists + 1, "the complete read after it")
        assert observer.snapshot.servers == {"s2": server(2, host="cmp9")}
        assert "s2" not in client.looked_at


async def test_a_complete_read_that_fails_is_tried_again_and_the_view_stays_fresh() -> None:
    client = FakeClient()
    async with watching(client, replace(FAST, full=0.05)) as observer:
        await until(lambda: whole(observer), "a whole view")
        lists = client.sinces.count(None)

        def fail() -> None:
            if client.sinces[-1] is None:
                raise CloudError("GET /servers/detail: HTTP 504")

        client.meanwhile = fail
        await until(lambda: client.sinces.count(None) >= lists + 2, "two complete reads that fail")
        begun = datetime.now(UTC)
        await until(lambda: observer.snapshot.read_at[Part.SERVERS] > begun, "a fresh view")
        assert observer.snapshot.trouble is None
        client.meanwhile = lambda: None
        client.all["s3"] = server(3)
        await until(lambda: "s3" in observer.snapshot.servers, "what only a complete read shows")


async def test_an_open_migration_leaves_the_view_only_if_nova_does_not_know_it() -> None:
    """I4."""
    client = FakeClient()
    client.records = [migration(1), migration(2, status="completed")]
    async with watching(client, ALWAYS_FULL) as observer:
        await until(lambda: whole(observer), "a whole view")
        client.hidden_records = {"m1", "m2"}
        client.records[0] = migration(1, status="post-migrating")
        await until(lambda: len(observer.snapshot.migrations) == 1, "the ended one to be forgotten")
        await until(lambda: observer.snapshot.migrations["m1"].status == "post-migrating", "the open one's news")
        client.records.clear()
        await until(lambda: not observer.snapshot.migrations, "the one that Nova does not know any more")


async def test_an_incremental_poll_forgets_no_migration() -> None:
    client = FakeClient()
    client.records = [migration(1, status="completed")]
    async with watching(client) as observer:
        await until(lambda: whole(observer), "a whole view")
        await reads(client)
        assert observer.snapshot.migrations


@pytest.mark.parametrize(
    ("status", "followed"),
    [
        pytest.param("running", True, id="what moves is followed closely, so that its end is seen soon"),
        pytest.param("completed", False, id="a cloud in which nothing moves is left in peace"),
    ],
)
async def test_R26_how_often_is_polled(monkeypatch: pytest.MonkeyPatch, status: str, followed: bool) -> None:
    monkeypatch.setattr("vmferry.cloud.observer.BUSY", 0.02)
    client = FakeClient()
    client.records = [migration(1, status=status)]
    async with watching(client, replace(FAST, poll=60)) as observer:
        await until(lambda: whole(observer), "a whole view")
        client.changed_records = [migration(1, status="error")]
        later = datetime.now(UTC) + timedelta(seconds=0.2)
        await until(lambda: observer.snapshot.read_at[Part.HOSTS] > later, "some more looks at the hosts")
        if followed:
            await until(lambda: observer.snapshot.migrations["m1"].status == "error", "its end")
        assert observer.snapshot.migrations["m1"].status == ("error" if followed else status)


async def test_a_failing_cloud_keeps_the_view_which_ages_and_recovers_by_itself() -> None:
    client = FakeClient()
    async with watching(client) as observer:
        await until(lambda: whole(observer), "a whole view")
        client.broken = "GET /servers/detail: HTTP 500 boom"
        await until(lambda: observer.snapshot.trouble, "the trouble")
        read_at = observer.snapshot.read_at[Part.SERVERS]
        connects = client.connects
        await until(lambda: client.connects > connects, "a new login")
        assert observer.snapshot.servers == {"s1": server()}
        assert observer.snapshot.read_at[Part.SERVERS] == read_at
        assert observer.snapshot.trouble == "GET /servers/detail: HTTP 500 boom"
        client.broken = None
        await until(lambda: observer.snapshot.trouble is None, "the recovery")
        assert observer.snapshot.read_at[Part.SERVERS] > read_at


async def test_a_cloud_that_is_dead_at_the_start_is_waited_for_with_few_logins() -> None:
    """A wrong password must not lock the account: six parts share one attempt, the pauses grow."""
    client = FakeClient()
    client.broken = "cannot log in: Unauthorized"
    async with watching(client) as observer:
        await until(lambda: client.connects >= 3, "three attempts")
        assert observer.snapshot.trouble == "cannot log in: Unauthorized"
        assert observer.snapshot.age(NOW) is None
        client.broken, failed = None, client.connects
        await until(lambda: whole(observer), "a whole view")
        # On a busy machine a read may exceed its deadline, which is a login more; each part with its own would be six.
        assert client.connects < failed + len(Part), "all parts share one attempt"


async def test_a_renewed_secret_is_used_without_a_restart() -> None:
    client = FakeClient()
    async with watching(client) as observer:
        await until(lambda: whole(observer), "a whole view")
        connects, client.renewed = client.connects, True
        await until(lambda: client.connects == connects + 1, "a new login")
        await until(lambda: observer.snapshot.trouble is None, "a good view")


async def test_a_renewed_secret_that_is_wrong_ends_no_login_that_works() -> None:
    client = FakeClient()
    async with watching(client) as observer:
        await until(lambda: whole(observer), "a whole view")
        connects = client.connects

        def fails() -> None:
            client.connects += 1
            client.renewed = False
            raise CloudError("cannot log in: HTTP 401")

        client.connect = fails  # type: ignore[method-assign]
        client.renewed = True
        await until(lambda: client.connects == connects + 1, "an attempt")
        read_at = observer.snapshot.read_at[Part.SERVERS]
        await until(lambda: observer.snapshot.read_at[Part.SERVERS] > read_at, "a read with the former login")
        assert observer.snapshot.trouble is None


async def test_after_a_wrong_secret_the_right_one_is_not_waited_for() -> None:
    client = FakeClient()
    client.broken = "cannot log in: Unauthorized"
    async with watching(client) as observer:
        await until(lambda: client.connects >= 3, "three attempts")
        client.broken, client.renewed = None, True
        await until(lambda: whole(observer), "a whole view")


async def test_a_fault_of_ours_ends_no_polling() -> None:
    client = FakeClient()
    client.meanwhile = lambda: [][0]
    async with watching(client) as observer:
        await until(lambda: observer.snapshot.trouble, "the trouble")
        assert observer.snapshot.trouble == "reading servers failed: IndexError"
        client.meanwhile = lambda: None
        await until(lambda: whole(observer), "a whole view")


async def test_without_placement_the_view_is_whole_all_the_same() -> None:
    client = FakeClient()
    client.room = None
    async with watching(client) as observer:
        await until(lambda: whole(observer), "a whole view")
        assert observer.snapshot.hosts["cmp1"].inventories is None


async def test_detail_is_fresh_and_flows_into_the_view() -> None:
    client = FakeClient()
    async with watching(client) as observer:
        await until(lambda: whole(observer), "a whole view")
        told: list[frozenset[str]] = []
        observer.subscribe(lambda servers, hosts: told.append(servers))
        long_ago = migration(1, status="completed", updated_at="2026-11-20T00:00:00.000000")
        client.all["s1"] = server(host="cmp2")
        client.records = [long_ago, migration(2)]
        detail = await observer.detail("s1")
        assert detail.server == server(host="cmp2")
        assert detail.migrations == (long_ago, migration(2))
        assert detail.actions is None
        assert observer.snapshot.servers["s1"].host == "cmp2"
        assert observer.snapshot.migrations == {"m2": migration(2)}, "history stays out of the shared view"
        assert told == [frozenset({"s1"})]
        detail = await observer.detail("s1", with_actions=True)
        assert detail.actions is not None
        assert [one.request_id for one in detail.actions] == ["newest"]
        assert (await observer.progress("s1", 2)) == Progress(100, 10, 0, 0)


async def test_detail_of_a_server_that_is_gone() -> None:
    client = FakeClient()
    async with watching(client) as observer:
        await until(lambda: whole(observer), "a whole view")
        client.all.clear()
        detail = await observer.detail("s1")
        assert detail.server is None
        assert observer.snapshot.servers == {}


async def test_a_poll_under_way_does_not_undo_a_fresher_detail() -> None:
    client = FakeClient()
    async with watching(client) as observer:
        await until(lambda: whole(observer), "a whole view")
        reading, answer = threading.Event(), threading.Event()

        def wait() -> None:
            reading.set()
            answer.wait(5)

        client.changed, client.meanwhile = [server(status="stale")], wait
        await asyncio.to_thread(reading.wait, 5)
        # the poll has read its stale answer and is on its way back
        client.changed = []
        client.all["s1"] = server(status="fresh")
        client.meanwhile = lambda: None
        await observer.detail("s1")
        answer.set()
        await reads(client)
        assert observer.snapshot.servers["s1"].status == "fresh"


async def test_acts_go_through_the_client() -> None:
    client = FakeClient()
    async with watching(client) as observer:
        assert await observer.act(StopServer("s1")) == Accepted("req-1")


async def test_the_age_is_that_of_the_oldest_part() -> None:
    client = FakeClient()
    async with watching(client, replace(FAST, resources=1000)) as observer:
        await until(lambda: whole(observer), "a whole view")
        await reads(client)
        oldest = observer.snapshot.read_at[Part.RESOURCES]
        assert observer.snapshot.age(oldest + timedelta(seconds=9)) == timedelta(seconds=9)


#: seconds that a clock is set ahead: how old what was read right before that looks, at least and at most
CLOCKS = {
    "set back by an hour, nothing becomes younger": (-3600, 0, 60),
    "set ahead by an hour, all of it becomes older": (3600, 3600, 3660),
}


@pytest.mark.parametrize("sentence", CLOCKS)
async def test_I13_a_clock_that_is(monkeypatch: pytest.MonkeyPatch, sentence: str) -> None:
    seconds, least, most = CLOCKS[sentence]

    class Other(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(seconds=seconds)

    client = FakeClient()
    async with watching(client, Pace(resources=1000, groups=1000, hosts=1000)) as observer:
        await until(lambda: whole(observer), "a whole view")
        monkeypatch.setattr(observers, "datetime", Other)
        age = observer.snapshot.age(Other.now(UTC))
        assert age is not None and least <= age.total_seconds() <= most


HOST_ACTIONS: dict[str, tuple[Outcome, bool]] = {
    "an accepted one shows at once": (Accepted("req-1"), False),
    "one without an answer is found by the next poll": (Unanswered("reset"), True),
}


@pytest.mark.parametrize("sentence", HOST_ACTIONS)
async def test_what_a_host_action_did(sentence: str) -> None:
    client = FakeClient()
    client.outcome, enabled = HOST_ACTIONS[sentence]
    async with watching(client, replace(FAST, hosts=1000)) as observer:
        await until(lambda: whole(observer), "a whole view")
        told: list[bool] = []
        observer.subscribe(lambda servers, hosts: told.append(hosts))
        assert await observer.act(DisableService("5e7v1ce", "cmp1", "ours")) == client.outcome
        assert observer.snapshot.hosts["cmp1"].service.enabled is enabled
        assert told == ([] if enabled else [True])


async def test_a_host_action_counts_although_the_look_after_it_fails() -> None:
    client = FakeClient()
    async with watching(client) as observer:
        await until(lambda: whole(observer), "a whole view")
        client.broken = "GET /os-services: HTTP 500"
        assert await observer.act(DisableService("5e7v1ce", "cmp1", "ours")) == Accepted("req-1")
        client.broken = None
        await until(lambda: not observer.snapshot.hosts["cmp1"].service.enabled, "the next poll")


async def test_I12_heartbeats_come_with_the_clouds_own_time() -> None:
    async with watching(FakeClient()) as observer:
        await until(lambda: whole(observer), "a whole view")
        assert observer.snapshot.services_at == NOW


async def test_a_poll_of_the_services_under_way_does_not_undo_a_host_action() -> None:
    client = FakeClient()
    async with watching(client) as observer:
        await until(lambda: whole(observer), "a whole view")
        reading, answer = threading.Event(), threading.Event()
        plain = FakeClient.services

        def slow(self: FakeClient) -> list[Service]:
            found = plain(self)
            if not reading.is_set():
                reading.set()
                answer.wait(5)
            return found

        FakeClient.services = slow  # type: ignore[method-assign]
        try:
            await asyncio.to_thread(reading.wait, 5)
            # the poll has read its stale answer and is on its way back
            await observer.act(DisableService("5e7v1ce", "cmp1", "ours"))
            enabled: list[bool] = []
            observer.subscribe(lambda *news: enabled.append(observer.snapshot.hosts["cmp1"].service.enabled))
            before = observer.snapshot.read_at[Part.HOSTS]
            answer.set()
            await until(lambda: observer.snapshot.read_at[Part.HOSTS] > before, "the poll's end")
            assert enabled == []
            assert not observer.snapshot.hosts["cmp1"].service.enabled
        finally:
            FakeClient.services = plain  # type: ignore[method-assign]


async def test_a_look_at_a_host_brings_what_it_met_into_the_view() -> None:
    client = FakeClient()
    async with watching(client) as observer:
        await until(lambda: whole(observer), "a whole view")
        client.all = {"s2": server(2, status="BUILD", host=None)}
        client.records = [migration(), migration(2, status="completed")]
        look = await observer.host_look("cmp1")
        assert look.servers == {"s2"}
        assert client.hypervisors_looked_at == ["h1"]
        assert observer.snapshot.servers["s2"].host is None
        assert "s1" in observer.snapshot.servers, "a look at one host says nothing of servers elsewhere"
        assert set(observer.snapshot.migrations) == {"m1"}
        await observer.host_look("nope")
        assert client.hypervisors_looked_at[-1] is None
        client.broken = "GET /os-migrations: HTTP 500"
        with pytest.raises(CloudError):
            await observer.host_look("cmp1")


async def test_a_build_that_ends_before_it_had_a_host_leaves_the_view() -> None:
    client = FakeClient()
    async with watching(client) as observer:
        await until(lambda: whole(observer), "a whole view")
        build = server(2, status="BUILD", host=None)
        client.all["s2"] = build
        client.changed = [build]
        await until(lambda: "s2" in observer.snapshot.servers, "the build")
        client.changed = []
        await reads(client)
        assert "s2" in observer.snapshot.servers, "Nova knows it still (I4)"
        del client.all["s2"]
        await until(lambda: "s2" not in observer.snapshot.servers, "its end")
        assert "s1" in observer.snapshot.servers


OLD = "2024-11-23T12:00:00Z"


async def test_a_record_that_nobody_ends_is_a_leftover_and_is_not_polled_for() -> None:
    client = FakeClient()
    client.all = {"s1": server(updated=OLD, task_state=None, vm_state="active")}
    client.records = [migration(status="pre-migrating", created_at=OLD, updated_at=OLD)]
    async with watching(client, replace(FAST, poll=60)) as observer:
        await until(lambda: whole(observer), "a whole view")
        (record,) = observer.snapshot.migrations.values()
        assert record.leftover and record.open
        assert observer._rest(Part.MIGRATIONS, 60) == 60
        assert (await observer.host_look("cmp1")).migrations[0].leftover
        assert (await observer.detail("s1")).migrations[0].leftover
        client.all["s1"] = server(updated=NOW.isoformat(), task_state="migrating")
        await observer.detail("s1")
        (record,) = observer.snapshot.migrations.values()
        assert not record.leftover, "Nova is busy with its server again"
        assert observer._rest(Part.MIGRATIONS, 60) < 60


async def test_a_record_becomes_a_leftover_as_time_passes() -> None:
    client = FakeClient()
    times: dict[str, Any] = {"created_at": NOW.isoformat(), "updated_at": NOW.isoformat()}
    client.all = {"s1": server(updated=NOW.isoformat(), task_state=None, vm_state="active")}
    client.records = [migration(status="running", **times)]
    async with watching(client) as observer:
        await until(lambda: whole(observer), "a whole view")
        assert not next(iter(observer.snapshot.migrations.values())).leftover
        client.cloud_time = lambda: NOW + timedelta(minutes=31)  # type: ignore[method-assign]
        await until(lambda: next(iter(observer.snapshot.migrations.values())).leftover, "a leftover")


async def test_a_record_that_is_only_touched_wakes_nobody_and_is_seen_to_be_worked_on() -> None:
    client = FakeClient()
    client.records = [migration(status="running", updated_at="2026-11-23T11:00:00")]
    woken: list[frozenset[str]] = []
    async with watching(client) as observer:
        await until(lambda: whole(observer), "a whole view")
        observer.subscribe(lambda servers, _: woken.append(servers))
        client.changed_records = [replace(client.records[0], updated_at="2026-11-23T11:59:00")]
        await until(
            lambda: next(iter(observer.snapshot.migrations.values())).updated_at.endswith("11:59:00"), "the new time"
        )
    assert not woken
