"""Answers that mean "not now" (I40): rate limits, a service that starts, a busy server, a token that has ended."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from testbed.stub import Answer, Stub
from tests.cloud.nova.test_client import ACTION, SERVERS, fault
from tests.cloud.samples import SERVER
from tests.cloud.test_observer import FakeClient
from vmferry.cloud.actions import Accepted, LiveMigrate, NotNow, Refused, Unanswered
from vmferry.cloud.nova import CloudError, NovaClient, not_now
from vmferry.cloud.observer import Observer, Pace

MOVE = LiveMigrate("s1", "cmp2")
#: of a rate limiter of OpenStack's own
OVER = {"overLimit": {"code": 429, "message": "Too many requests"}}
BUSY = "Cannot 'os-migrateLive' instance s1 while it is in task_state {}"


def dated(seconds: float) -> dict[str, str]:
    """A pause that ends at a date, by the server's own clock."""
    now = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    ends = now + timedelta(seconds=seconds)
    return {"Date": format_datetime(now, usegmt=True), "Retry-After": format_datetime(ends, usegmt=True)}


#: what an action is answered with, and how long it is to wait; None: it is no "not now"
ACTIONS: dict[str, tuple[Answer, Any]] = {
    "429 with a pause": (Answer(429, OVER, {"Retry-After": "30"}), 30),
    "429 without one": (Answer(429, OVER), not_now.PAUSE),
    "429 of a proxy": (Answer(429, "<html>slow down</html>", {"Retry-After": "7"}), 7),
    "429 with a date": (Answer(429, OVER, dated(90)), 90),
    "429 with a date that has passed": (Answer(429, OVER, dated(-90)), 1),
    "429 with a pause without an end": (Answer(429, OVER, {"Retry-After": "9" * 40}), not_now.LONGEST),
    "429 with a negative pause": (Answer(429, OVER, {"Retry-After": "-5"}), not_now.PAUSE),
    "429 with nonsense": (Answer(429, OVER, {"Retry-After": "soon"}), not_now.PAUSE),
    "413 with a pause": (Answer(413, {"overLimit": {"code": 413, "message": "x"}}, {"Retry-After": "30"}), 30),
    "413 without one is a refusal": (fault(413, "too large", "overLimit"), Refused(413, "too large", "req-1")),
    "503 with a pause may have lost it": (Answer(503, "x", {"Retry-After": "30"}), Unanswered("HTTP 503: x")),
    "409 of a busy server": (fault(409, BUSY.format("image_uploading")), not_now.PAUSE),
    "409 of a server in no task is a refusal": (
        fault(409, BUSY.format("None")),
        Refused(409, BUSY.format("None"), "req-1"),
    ),
    "409 of a locked server is a refusal": (
        fault(409, "Instance s1 is locked"),
        Refused(409, "Instance s1 is locked", "req-1"),
    ),
    "401 that no new token cures": (Answer(401, {"error": {"code": 401, "message": "no"}}), not_now.PAUSE),
}


@pytest.mark.parametrize("sentence", ACTIONS)
def test_an_action(sentence: str, cloud: Stub, client: NovaClient) -> None:
    answer, expected = ACTIONS[sentence]
    cloud.answers[ACTION] = answer
    outcome = client.act(MOVE)
    if isinstance(expected, Refused | Unanswered):
        assert outcome == expected
    else:
        assert isinstance(outcome, NotNow)
        assert outcome.retry_after == expected
    assert len(cloud.requests) == (2 if answer.status == 401 else 1)


def test_a_401_that_a_new_token_cures_is_no_outcome_at_all(cloud: Stub, client: NovaClient) -> None:
    cloud.answers[ACTION] = [Answer(401, {"error": {"code": 401}}), Answer(202)]
    assert client.act(MOVE) == Accepted(None)
    assert cloud.logins == 2


def test_during_the_pause_no_action_is_sent_and_reads_go_on(cloud: Stub, client: NovaClient) -> None:
    cloud.answers[ACTION] = Answer(429, OVER, {"Retry-After": "30"})
    cloud.answers[SERVERS] = Answer(body={"servers": [SERVER]})
    first = client.act(MOVE)
    cloud.requests.clear()
    second = client.act(MOVE)
    assert isinstance(first, NotNow)
    assert isinstance(second, NotNow)
    assert second.message == first.message, "the cloud's own words, as long as it lasts"
    assert 0 < second.retry_after <= 30
    assert cloud.requests == []
    assert client.servers()


def test_after_the_pause_it_is_sent(cloud: Stub, client: NovaClient) -> None:
    cloud.answers[ACTION] = [Answer(429, OVER, {"Retry-After": "1"}), Answer(202)]
    assert isinstance(client.act(MOVE), NotNow)
    ends = time.monotonic() + 180
    while isinstance(outcome := client.act(MOVE), NotNow):
        assert time.monotonic() < ends
        time.sleep(0.05)
    assert outcome == Accepted(None)


READS: dict[str, tuple[Answer, float | None]] = {
    "429 with a pause": (Answer(429, OVER, {"Retry-After": "30"}), 30),
    "429 without one": (Answer(429, OVER), not_now.PAUSE),
    "503 with a pause": (Answer(503, "maintenance", {"Retry-After": "60"}), 60),
    "503 without one": (Answer(503, "no backend"), None),
    "413 with a pause": (Answer(413, "x", {"Retry-After": "5"}), 5),
    "500 with a pause": (Answer(500, "x", {"Retry-After": "5"}), None),
}


@pytest.mark.parametrize("sentence", READS)
def test_a_read(sentence: str, cloud: Stub, client: NovaClient) -> None:
    answer, expected = READS[sentence]
    cloud.answers[SERVERS] = answer
    with pytest.raises(CloudError, match=f"HTTP {answer.status}") as caught:
        client.servers()
    assert caught.value.retry_after == expected
    cloud.requests.clear()
    with pytest.raises(CloudError, match=f"HTTP {answer.status}"):
        client.server_groups() if expected else client.servers()
    assert bool(cloud.requests) == (expected is None), "no part of the view is read during the pause"


def test_a_login_that_is_limited_names_the_pause(cloud: Stub, tmp_path: Path) -> None:
    cloud.login = Answer(429, OVER)
    made = NovaClient("stub", clouds_yaml=cloud.clouds_yaml(tmp_path), timeout=(1, 1))
    with pytest.raises(CloudError, match="cannot log in") as caught:
        made.connect()
    assert caught.value.retry_after == not_now.PAUSE


async def test_the_polls_keep_the_pause_and_do_not_log_in_anew() -> None:
    """The first reads of all parts are limited; none comes back earlier, and when it is over all is well."""
    client = FakeClient()
    reads: list[float] = []
    limited = True

    def servers(changes_since: datetime | None = None) -> Any:
        reads.append(time.monotonic())
        if limited:
            raise CloudError("HTTP 429", 429, retry_after=0.5)
        return [], set()

    client.servers = servers  # type: ignore[method-assign]
    observer = Observer(client, Pace(poll=0.01, hosts=0.01, resources=0.01, groups=0.01, projects=0.01))
    await observer.start()
    try:
        async with asyncio.timeout(240):
            while len(reads) < 5:  # noqa: ASYNC110 - the view is polled itself
                await asyncio.sleep(0.01)
        gaps = [later - earlier for earlier, later in pairwise(reads)]
        assert min(gaps) >= 0.49
        assert client.connects == 1
        limited = False
        async with asyncio.timeout(240):
            while observer.snapshot.trouble is not None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    finally:
        await observer.stop()
