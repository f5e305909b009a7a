"""The kill switch (I31): what it says, and what is made of it when it cannot be read."""

from __future__ import annotations

import asyncio

import pytest

from testbed.lifecycle.little_cloud import SERVER, LittleCloud
from tests.runtime.fakes import FakeKube, Record
from vmferry.cloud.actions import LiveMigrate, StartServer
from vmferry.runtime.kill_switch import KillSwitch
from vmferry.runtime.kube_api import KubeError, NotFoundError

THROWN = "new moves are stopped by ConfigMap home/vmferry-stop"
LOST = "new moves are stopped: ConfigMap home/vmferry-stop cannot be read"


def switch(changes: list[str] | None = None) -> tuple[KillSwitch, FakeKube]:
    kube = FakeKube(Record())
    told = changes if changes is not None else []
    return KillSwitch(kube, "home", "vmferry-stop", lambda: told.append("changed")), kube


READS: dict[str, tuple[dict[str, str] | KubeError, str]] = {
    "there is none": (NotFoundError("none"), ""),
    "it is empty": ({}, ""),
    "it says false": ({"stop": "false"}, ""),
    "it says true": ({"stop": "true"}, THROWN),
    "it says TRUE": ({"stop": " TRUE\n"}, THROWN),
    "it says why": ({"stop": "true", "reason": "storage fire"}, f"{THROWN}: storage fire"),
    "it names zones": ({"zones": "az2, az1,"}, f"{THROWN} in az1, az2"),
    "it says something else": ({"stop": "yes"}, f"{THROWN}: stop is neither true nor false"),
    "its key is misspelt": ({"Stop": "true"}, f"{THROWN}, which has an unknown key Stop"),
    "Kubernetes does not answer": (KubeError("no answer"), LOST),
}


@pytest.mark.parametrize("sentence", READS)
async def test_what_it_says(sentence: str) -> None:
    data, message = READS[sentence]
    made, kube = switch()
    kube.switch = data
    assert (await made.read()).message == message


def cloud() -> LittleCloud:
    made = LittleCloud()
    for host in ("cmp1", "cmp2"):
        made.add_host(host)
    made.add_server("cmp1")
    return made


ASKED: dict[str, tuple[dict[str, str] | KubeError, bool]] = {
    "nothing is stopped": ({}, False),
    "all is stopped": ({"stop": "true"}, True),
    "it cannot be read": (KubeError("no answer"), True),
    "another zone is stopped": ({"zones": "elsewhere"}, False),
    "its zone is stopped": ({"zones": "cluster1"}, True),
}


@pytest.mark.parametrize("sentence", ASKED)
async def test_it_is_read_for_each_request_by_the_thread_that_sends(sentence: str) -> None:
    data, stopped = ASKED[sentence]
    made, kube = switch()
    snapshot = cloud().snapshot()
    ask = made.against(LiveMigrate(SERVER, "cmp2"), lambda: snapshot)
    assert await asyncio.to_thread(ask) is None
    kube.switch = data
    assert bool(await asyncio.to_thread(ask)) is stopped
    finish = made.against(StartServer(SERVER), lambda: snapshot)
    assert await asyncio.to_thread(finish) is None


async def test_before_the_first_poll_nothing_may_begin() -> None:
    made, _ = switch()
    assert made.seen.everywhere
    assert "until ConfigMap home/vmferry-stop was read" in made.seen.message


async def test_a_turn_of_it_is_told_and_one_failed_poll_is_no_news() -> None:
    told: list[str] = []
    made, kube = switch(told)
    await made.refresh()
    await made.refresh()
    assert (made.seen.message, len(told)) == ("", 1)
    kube.switch = KubeError("no answer")
    await made.refresh()
    assert (made.seen.message, len(told)) == ("", 1)
    await made.refresh()
    assert (made.seen.message, len(told)) == (LOST, 2)
    kube.switch = {"stop": "true"}
    await made.refresh()
    assert (made.seen.message, len(told)) == (THROWN, 3)
