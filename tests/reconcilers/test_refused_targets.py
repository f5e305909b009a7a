"""Hosts that Nova's scheduler refuses by rules that it does not show: they use up no try while others are left."""

from __future__ import annotations

from testbed.lifecycle.drains import Drain, a_cloud, where
from testbed.lifecycle.life import Life
from testbed.lifecycle.little_cloud import LittleCloud
from vmferry.resources.words import Phase

HOSTS = ("cmp1", "cmp2", "cmp3", "gpu1", "vip1", "vip2")
REFUSED = {"cmp2", "cmp3", "gpu1", "vip1"}


def a_move(**spec: object) -> Life:
    cloud = LittleCloud()
    for name in HOSTS:
        cloud.add_host(name)
    cloud.add_server("cmp1")
    cloud.refused_targets = set(REFUSED)
    return Life(cloud, {"type": "Live", **spec})


def test_I23_a_move_tries_the_hosts_that_are_left() -> None:
    life = a_move(retries=0)
    assert life.run(seconds=3600).phase == Phase.SUCCEEDED
    tried = [attempt.target_host for attempt in life.status.attempts]
    assert tried[-1] == "vip2" and set(tried[:-1]) == REFUSED and len(tried) == 5, "each once"


def test_I23_it_ends_when_none_is_left() -> None:
    life = a_move(retries=0)
    life.cloud.refused_targets.add("vip2")
    assert life.run(seconds=7200).phase == Phase.FAILED
    assert len(life.status.attempts) == 5


def test_I23_a_host_that_the_request_names_is_tried_once() -> None:
    life = a_move(target={"host": "cmp2"})
    assert life.run(seconds=600).phase == Phase.FAILED and len(life.status.attempts) == 1


def test_a_drain_learns_of_a_host_once_for_all_servers_like_it() -> None:
    cloud = a_cloud("web-1", "web-2", "web-3", hosts=HOSTS)
    cloud.refused_targets = {"gpu1", "vip1", "vip2"}
    d = Drain(cloud)
    d.apply("cmp1", migration={"retries": 0}, maxParallel=1)
    d.in_maintenance(seconds=3600)
    assert set(where(cloud).values()) <= {"cmp2", "cmp3"}
    refused = [m.target_host for m in cloud.migrations if m.status == "error"]
    assert len(refused) <= 3, "not once for each server"
