"""The list of projects serves names only: it is read whole, and where it cannot be, a name is unknown, never denied."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from testbed.lifecycle.life import Life
from testbed.lifecycle.little_cloud import LittleCloud
from testbed.stub import Answer, Stub, stub
from tests.cloud.test_observer import FakeClient
from vmferry.cli.select import Selection, select
from vmferry.cloud.model import Part
from vmferry.cloud.nova import CloudError, NovaClient
from vmferry.cloud.observer import Observer, Pace
from vmferry.reconcilers.world import World

ALL = {f"p{number}": f"name-{number}" for number in range(5)}
PAGE = 2


class Keystone(Stub):
    """One that lists `ALL`; `next_link` is what it says of the next page."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        #: heeds `limit` and `marker`
        self.pages = True
        #: what it lists at most in one page, whatever the limit; its `max_db_limit`
        self.cap = 100
        self.next_link: Callable[[str], Any] = lambda marker: {"next": f"{url}/identity/v3/projects?marker={marker}"}
        self.truncated = False
        self.fails_from = 100
        self.asked: list[str] = []

    def change(self, **change: Any) -> None:
        vars(self).update(change)

    def answer(self, method: str, target: str) -> Answer:
        if not target.startswith("/identity/v3/projects"):
            return super().answer(method, target)
        self.asked.append(target)
        if len(self.asked) > self.fails_from:
            return Answer(500, {"error": {"code": 500, "message": "database"}})
        query = parse_qs(urlsplit(target).query)
        limit = int(query.get("limit", ["100"])[0]) if self.pages else 100
        after = query.get("marker", [""])[0] if self.pages else ""
        rest = [{"id": one, "name": name} for one, name in ALL.items() if one > after]
        page = rest[: min(limit, self.cap)]
        more = self.pages and len(page) < len(rest)
        links: Any = self.next_link(page[-1]["id"]) if more else {"next": None}
        return Answer(body={"projects": page, "links": links, **({"truncated": True} if self.truncated else {})})


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Keystone]:
    monkeypatch.setattr("testbed.stub.Stub", Keystone)
    with stub() as made:
        assert isinstance(made, Keystone)
        yield made


@pytest.fixture
def client(cloud: Keystone, tmp_path: Path) -> NovaClient:
    made = NovaClient("stub", clouds_yaml=cloud.clouds_yaml(tmp_path), timeout=(1, 1), page=PAGE)
    made.connect()
    return made


WHOLE: dict[str, Callable[[Keystone], Any]] = {
    "page by page": lambda _: None,
    "an older Keystone that heeds neither limit nor marker": lambda k: setattr(k, "pages", False),
    "a next link with its prefix twice": lambda k: setattr(
        k, "next_link", lambda m: {"next": f"{k.url}/identity/v3/identity/v3/projects?limit=2&marker={m}"}
    ),
    "a next link at an inside address": lambda k: setattr(
        k, "next_link", lambda m: {"next": f"http://127.0.0.1:1/v3/projects?marker={m}"}
    ),
    "a next link without a marker": lambda k: setattr(k, "next_link", lambda m: {"next": f"{k.url}/x"}),
    "a next link that is no URL": lambda k: setattr(k, "next_link", lambda m: {"next": "http://[::1"}),
    "a next link that is no text": lambda k: setattr(k, "next_link", lambda m: {"next": {"a": 1}}),
    "links as a list": lambda k: setattr(
        k, "next_link", lambda m: [{"rel": "self"}, {"rel": "next", "href": f"?marker={m}"}]
    ),
    "links as nonsense": lambda k: setattr(k, "next_link", lambda m: "next"),
    "no links at all": lambda k: setattr(k, "next_link", lambda m: None),
    "cut below the limit without a word": lambda k: k.change(cap=1, next_link=lambda m: None),
}


@pytest.mark.parametrize("sentence", WHOLE)
def test_it_is_read_whole(sentence: str, cloud: Keystone, client: NovaClient) -> None:
    WHOLE[sentence](cloud)
    assert client.projects() == (ALL, True)
    assert len(cloud.asked) <= 7


def cut_off(keystone: Keystone) -> None:
    """`list_limit` of a Keystone that has no pages."""
    keystone.pages, keystone.truncated = False, True
    keystone.cap = 3


CUT: dict[str, tuple[Callable[[Keystone], Any], int]] = {
    "truncated, without pages": (cut_off, 3),
    "the second page fails": (lambda k: setattr(k, "fails_from", 1), 2),
}


@pytest.mark.parametrize("sentence", CUT)
def test_a_list_that_is_cut_says_so(sentence: str, cloud: Keystone, client: NovaClient) -> None:
    change, known = CUT[sentence]
    change(cloud)
    assert client.projects() == (dict(list(ALL.items())[:known]), False)


def test_without_a_page_it_is_a_failed_read(cloud: Keystone, client: NovaClient) -> None:
    cloud.fails_from = 0
    with pytest.raises(CloudError, match="HTTP 500"):
        client.projects()


# ---- what is made of it


async def until(observer: Observer, *, whole: bool) -> None:
    async with asyncio.timeout(240):
        while observer.snapshot.projects_whole != whole:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_the_view_is_complete_without_projects() -> None:
    """A Keystone that cannot list them was enough to stop everything at the next start."""
    client = FakeClient()
    client.keystone_broken = True
    observer = Observer(client, Pace(poll=0.01, hosts=0.01, resources=0.01, groups=0.01, projects=0.01))
    await observer.start()
    try:
        async with asyncio.timeout(240):
            while observer.snapshot.age(datetime.now(UTC)) is None:  # noqa: ASYNC110 - the view is polled itself
                await asyncio.sleep(0.01)
        assert observer.snapshot.trouble is None
        assert not observer.snapshot.projects_whole
        assert "not known" in observer.snapshot.not_found("web", "shop")
        client.keystone_broken = False
        await until(observer, whole=True)
        assert observer.snapshot.not_found("web", "shop") == "no server is named web in project shop"
        client.keystone_broken = True
        await until(observer, whole=False)
        assert observer.snapshot.projects == {"project-1": "shop"}, "what was read stays known"
        assert client.connects == 1
    finally:
        await observer.stop()


async def test_preflight_reads_a_cloud_without_projects() -> None:
    client = FakeClient()
    client.keystone_broken = True
    observer = Observer(client)
    try:
        snapshot = await observer.read_once()
    finally:
        await observer.stop()
    assert "s1" in snapshot.servers
    _, missing = select(Selection(("web",), "another"), snapshot)
    assert "not known" in missing["web"]


def cloud_without_names() -> Life:
    cloud = LittleCloud()
    for host in ("cmp1", "cmp2"):
        cloud.add_host(host)
    server = cloud.add_server("cmp1")
    return Life(cloud, {"server": {"name": server.name, "project": "shop"}})


def test_a_name_that_is_not_found_in_a_cut_list_is_unknown_not_denied() -> None:
    life = cloud_without_names()
    whole = life.cloud.snapshot()
    cut = replace(whole, projects={}, projects_whole=False)
    decision = life.look(World(cut))
    assert decision.status.phase == "Blocked"
    ready = decision.status.condition("Ready")
    assert ready is not None
    assert ready.reason == "FactUnknown"
    assert "not known" in ready.message
    assert life.condition("Stalled") != ("True", "ServerNotFound")
    decision = life.look(World(replace(whole, projects={}, projects_whole=True)))
    ready = decision.status.condition("Ready")
    assert ready is not None
    assert ready.reason == "ServerNotFound"


def test_a_move_by_id_needs_no_projects() -> None:
    cloud = LittleCloud()
    for host in ("cmp1", "cmp2"):
        cloud.add_host(host)
    cloud.add_server("cmp1")
    life = Life(cloud)
    view = cloud.snapshot()
    read_at: Mapping[Part, datetime] = {part: at for part, at in view.read_at.items() if part is not Part.PROJECTS}
    assert life.look(World(replace(view, projects={}, projects_whole=False, read_at=read_at))).action is not None
