"""The OpenStack client and a cloud that lies: nothing goes to a stranger, nothing is sent twice, every answer ends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from email.utils import formatdate
from pathlib import Path
from typing import Any, TypeVar

import pytest

from testbed.stub import Answer
from tests.cloud.samples import SERVER
from tests.security.lying_cloud import (
    Lie,
    LyingCloud,
    answer,
    bomb,
    deep,
    drip,
    endless_body,
    endless_pages,
    lying_cloud,
    many,
    passed_on_then,
    redirect,
)
from vmferry.cloud.actions import Accepted, EnableService, LiveMigrate, NotNow, Refused, Unanswered
from vmferry.cloud.nova import CloudError, NovaClient, http
from vmferry.cloud.nova import answers as answers_module

T = TypeVar("T")

COMPUTE = "/compute/v2.1"
ACTION = f"{COMPUTE}/servers/.*/action"
TOKENS = "/identity/v3/auth/tokens"
#: seconds for a whole answer in these tests
DEADLINE = 1.0
MOVE = LiveMigrate("s1", "cmp2")


@pytest.fixture
def cloud() -> Iterator[LyingCloud]:
    with lying_cloud() as made:
        made.stub.answers[f"GET {COMPUTE}/servers/detail"] = Answer(body={"servers": [SERVER]})
        made.stub.answers[f"POST {COMPUTE}/servers/s1/action"] = Answer(
            202, headers={"x-openstack-request-id": "req-1"}
        )
        yield made


def unconnected(cloud: LyingCloud, folder: Path) -> NovaClient:
    return NovaClient("stub", clouds_yaml=cloud.clouds_yaml(folder), timeout=(1, 1), page=1, deadline=DEADLINE)


@pytest.fixture
def client(cloud: LyingCloud, tmp_path: Path) -> NovaClient:
    made = unconnected(cloud, tmp_path)
    made.connect()
    return made


def ends(call: Callable[[], T]) -> T:
    """What comes of it; fails when nothing does within a minute."""
    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(call).result(timeout=300)
    finally:
        pool.shutdown(wait=False)


# ---- any answer, to any request

#: what any request may be answered with, and a word of what is said about it
ENDLESS: dict[str, tuple[Callable[[LyingCloud], Lie], str]] = {
    "a redirect to a stranger, 301": (lambda cloud: redirect(f"{cloud.stranger.url}/x", 301), "HTTP 301"),
    "a redirect to a stranger, 302": (lambda cloud: redirect(f"{cloud.stranger.url}/x", 302), "HTTP 302"),
    "a redirect to a stranger, 303": (lambda cloud: redirect(f"{cloud.stranger.url}/x", 303), "HTTP 303"),
    "a redirect to a stranger, 307": (lambda cloud: redirect(f"{cloud.stranger.url}/x", 307), "HTTP 307"),
    "a redirect to a stranger, 308": (lambda cloud: redirect(f"{cloud.stranger.url}/x", 308), "HTTP 308"),
    "a redirect to a stranger without a scheme": (
        lambda cloud: redirect(f"//{cloud.stranger.url.partition('//')[2]}/x", 307),
        "HTTP 307",
    ),
    "a redirect to another port": (lambda cloud: redirect(f"{cloud.stranger.other_port}/x", 307), "HTTP 307"),
    "a redirect to another scheme": (lambda cloud: redirect(cloud.url.replace("http", "https"), 307), "HTTP 307"),
    "a redirect to no URL": (lambda _: redirect("http://[:99999999", 307), "HTTP 307"),
    "300 MiB in 300 KiB": (lambda _: bomb(), "larger than 64 MiB|no whole answer"),
    "a body that never ends": (lambda _: endless_body(), "larger than 64 MiB|no whole answer"),
    "chunks that drip": (lambda _: drip(0.3), "no whole answer within 1 s"),
    "a body that drips": (lambda _: drip(0.3, "body"), "no whole answer within 1 s"),
    "a head that drips": (lambda _: drip(0.3, "head"), "no whole answer within 1 s"),
    "an error page that drips": (lambda _: drip(0.3, status=502), "no whole answer within 1 s"),
    "JSON that is nested too deeply": (lambda _: deep(), "no JSON|nested|RecursionError"),
    "JSON with millions of values": (lambda _: many(), "more than 2,000,000 values"),
}


@pytest.mark.parametrize("sentence", ENDLESS)
def test_a_read_ends_as_a_failed_read(sentence: str, cloud: LyingCloud, client: NovaClient) -> None:
    lie, words = ENDLESS[sentence]
    cloud.lie(lie(cloud), path=f"{COMPUTE}/servers/detail")
    with pytest.raises(CloudError, match=words):
        ends(client.servers)
    assert cloud.stranger.requests == []
    cloud.behave()
    assert [one.id for one in client.servers()[0]] == [SERVER["id"]], "it recovers by itself"


@pytest.mark.parametrize("sentence", ENDLESS)
@pytest.mark.parametrize("action", [MOVE, EnableService("7", "cmp1")], ids=["a move", "the end of a cordon"])
def test_an_action_is_sent_once_and_unanswered(
    action: Any, sentence: str, cloud: LyingCloud, client: NovaClient
) -> None:
    lie, words = ENDLESS[sentence]
    cloud.requests.clear()
    cloud.lie(passed_on_then(cloud, lie(cloud)), method="POST|PUT")
    outcome = ends(lambda: client.act(action))
    if "JSON" in sentence and "nested" in sentence:
        assert outcome == Accepted(None), "a 2xx is Nova's word; its body says nothing more"
    else:
        assert isinstance(outcome, Unanswered), outcome
        assert any(word in outcome.message for word in words.split("|"))
    assert len(cloud.requests) == 1, "sent once (I3)"
    assert cloud.stranger.requests == []


@pytest.mark.parametrize("sentence", ENDLESS)
def test_a_login_ends_and_gives_the_password_to_nobody(sentence: str, cloud: LyingCloud, tmp_path: Path) -> None:
    lie, _ = ENDLESS[sentence]
    cloud.lie(lie(cloud), method="POST", path=TOKENS)
    with pytest.raises(CloudError, match="cannot log in"):
        ends(unconnected(cloud, tmp_path).connect)
    assert len(cloud.seen("POST", TOKENS)) == 1
    assert cloud.stranger.requests == []


@pytest.mark.parametrize("path", ["/identity.*", "/compute.*", "/placement.*"])
@pytest.mark.parametrize("sentence", ["a redirect to a stranger, 302", "chunks that drip", "300 MiB in 300 KiB"])
def test_a_version_lookup_is_bounded_too(sentence: str, path: str, cloud: LyingCloud, tmp_path: Path) -> None:
    lie, _ = ENDLESS[sentence]
    cloud.lie(lie(cloud), method="GET", path=path)
    with suppress(CloudError):  # one of Placement is no reason not to work
        ends(unconnected(cloud, tmp_path).connect)
    assert cloud.stranger.requests == []


def test_a_read_may_be_redirected_where_it_was_sent(cloud: LyingCloud, client: NovaClient) -> None:
    """Nova does so with `/v2.1`."""
    cloud.lie(redirect(f"{COMPUTE}/servers/detail"), path=f"{COMPUTE}/servers/detail", times=1)
    assert [one.id for one in client.servers()[0]] == [SERVER["id"]]


def test_redirects_in_a_circle_end(cloud: LyingCloud, client: NovaClient) -> None:
    cloud.lie(redirect(f"{cloud.url}{COMPUTE}/servers/detail"), path=f"{COMPUTE}/servers/detail")
    with pytest.raises(CloudError, match="HTTP 307"):
        client.servers()
    assert len(cloud.seen("GET", f"{COMPUTE}/servers/detail")) == 4


def test_a_bomb_takes_little_memory(cloud: LyingCloud, tmp_path: Path) -> None:
    """Of a process of its own, whose peak counts for nobody else; the chart allows the operator 512 MiB."""
    cloud.lie(bomb(), path=f"{COMPUTE}/servers/detail")
    script = (
        "import resource, sys; from pathlib import Path; from vmferry.cloud.nova import NovaClient, CloudError\n"
        "client = NovaClient('stub', clouds_yaml=Path(sys.argv[1])); client.connect()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: client.servers()\n"
        "except CloudError: print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(cloud.clouds_yaml(tmp_path))], capture_output=True, text=True, timeout=300
    )
    assert int(done.stdout) < 200, done


# ---- lists without an end

PAGES: dict[str, tuple[Lie, str]] = {
    "the same page again and again": (endless_pages("servers", SERVER), "comes again"),
    "always another page": (endless_pages("servers", SERVER, moving=True), "pages were read"),
    "a marker that is no text": (
        answer(200, {"servers": [{**SERVER, "id": {"a": 1}}], "servers_links": [{"rel": "next"}]}),
        "no text|cannot read",
    ),
}


@pytest.mark.parametrize("sentence", PAGES)
def test_a_list_ends(sentence: str, cloud: LyingCloud, client: NovaClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "PAGES", 20)
    lie, words = PAGES[sentence]
    cloud.lie(lie, path=f"{COMPUTE}/servers/detail")
    with pytest.raises(CloudError, match=words):
        ends(client.servers)
    assert len(cloud.seen("GET", f"{COMPUTE}/servers/detail")) <= 20


def test_server_groups_end(cloud: LyingCloud, client: NovaClient) -> None:
    """Nova pages them by offset: it is the same page for ever that never ends."""
    group = {
        "id": "g",
        "name": "g",
        "policy": "affinity",
        "members": [],
        "rules": {},
        "user_id": "u",
        "project_id": "p",
    }
    cloud.lie(answer(200, {"server_groups": [group]}), path=".*/os-server-groups")
    with pytest.raises(CloudError, match="comes again"):
        ends(client.server_groups)


# ---- headers and error pages

REQUEST_IDS: dict[str, tuple[str, str | None]] = {
    "an ordinary one": ("req-6a4c4a4e-0000-4000-8000-000000000001", "req-6a4c4a4e-0000-4000-8000-000000000001"),
    "one that steers a terminal": ("req-\x1b]0;pwn\x07\x1b[31mX", None),
    "one of five thousand characters": ("r" * 5000, None),
    "one with blanks": ("req 1", None),
    "an empty one": ("", None),
}


@pytest.mark.parametrize("sentence", REQUEST_IDS)
def test_a_request_id_is_one_or_none(sentence: str, cloud: LyingCloud, client: NovaClient) -> None:
    given, expected = REQUEST_IDS[sentence]
    cloud.lie(answer(202, None, {"X-OpenStack-Request-Id": given}), method="POST", path=ACTION)
    assert client.act(MOVE) == Accepted(expected)
    cloud.lie(
        answer(409, {"conflictingRequest": {"code": 409, "message": "no"}}, {"X-OpenStack-Request-Id": given}),
        method="POST",
        path=ACTION,
    )
    assert client.act(MOVE) == Refused(409, "no", expected)


DATES = (
    "Mon, 01 Jan 99999 00:00:00 GMT",
    "Mon, 01 Jan 9999 00:00:00 GMT",
    "Mon, 01 Jan 0001 00:00:00 GMT",
    "Mon, 01 Jan 2026 00:00:00 +9999999999",
    "Mon, 01 Jan 2026 00:00:00 -99999",
    "Sat, 01 Jan 2000 00:00:00 GMT",
    "nonsense",
    "\x1b[31m",
)


@pytest.mark.parametrize("date", DATES)
def test_an_absurd_date_is_no_clock(date: str, cloud: LyingCloud, client: NovaClient) -> None:
    client.servers()
    before = client.cloud_time()
    cloud.lie(answer(202, None, {"Date": date}), method="POST", path=ACTION)
    assert client.act(MOVE) == Accepted(None)
    cloud.lie(answer(200, {"servers": []}, {"Date": date}), path=f"{COMPUTE}/servers/detail")
    client.servers()
    assert 0 <= (client.cloud_time() - before).total_seconds() < 60


def test_an_error_page_is_cut_before_any_work_is_done_on_it(
    cloud: LyingCloud, client: NovaClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2 MB of `eyJ-` took ten seconds, in which no other thread ran."""
    lengths: list[int] = []

    def redact(text: str) -> str:
        lengths.append(len(text))
        return text

    monkeypatch.setattr(answers_module, "redact", redact)
    page = b"eyJ-" * 500_000
    faults = ({"conflictingRequest": {"code": 409, "message": "eyJ-" * 10_000}}, page)
    for body in faults:
        cloud.lie(answer(409, body), path=f"({ACTION}|.*/detail)")
        client.act(MOVE)
        with pytest.raises(CloudError):
            client.servers()
    assert lengths
    assert max(lengths) <= answers_module.LOOKED_AT


def test_words_of_the_cloud_are_one_printable_line(cloud: LyingCloud, client: NovaClient) -> None:
    text = "no\n2026-11-27 INFO vmferry.runtime.elector: leading \x1b[31mred\u2028\u202e"
    cloud.lie(answer(409, {"conflictingRequest": {"code": 409, "message": text}}), path=f"({ACTION}|.*/detail)")
    outcome = client.act(MOVE)
    assert isinstance(outcome, Refused)
    assert outcome.message.isprintable()
    with pytest.raises(CloudError) as caught:
        client.servers()
    assert str(caught.value).isprintable()


# ---- whatever fails after the request was sent


def test_a_fault_of_ours_after_the_request_is_an_outcome(
    cloud: LyingCloud, client: NovaClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error in (RecursionError("deep"), OverflowError("large"), MemoryError(), KeyError("x"), AssertionError()):

        def broken(*_: object, error: Exception = error) -> Any:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(client, "_read_clock", broken)
            outcome = client.act(MOVE)
        assert isinstance(outcome, Unanswered)
        assert type(error).__name__ in outcome.message


def test_a_login_that_fails_before_the_request_is_no_doubt_about_it(cloud: LyingCloud, client: NovaClient) -> None:
    """The token has expired, and Keystone is away: Nova was not asked."""
    cloud.lie(answer(401, {"error": {"code": 401, "message": "expired"}}), method="POST", path=ACTION)
    cloud.lie(answer(500), method="POST", path=TOKENS)
    cloud.requests.clear()
    assert isinstance(client.act(MOVE), NotNow)
    assert len(cloud.seen("POST", ACTION)) == 1


def test_the_date_of_an_honest_cloud_counts(cloud: LyingCloud, client: NovaClient) -> None:
    cloud.lie(answer(200, {"servers": []}, {"Date": formatdate(usegmt=True)}), path=f"{COMPUTE}/servers/detail")
    client.servers()
    assert client.tells_time
