"""What the random requests and the generated fleet promise."""

from __future__ import annotations

from collections import Counter

import pytest

from testbed.agreement.draw import draw
from testbed.agreement.fleet import GROUPS, generate
from vmferry.cloud.model import ResolvedType
from vmferry.policy import Policy

HOSTS = [f"cmp{number}" for number in range(1, 9)]


def test_a_step_of_a_seed_is_the_same_request_every_time() -> None:
    assert [draw(7, step, HOSTS, HOSTS[:2]) for step in range(50)] == [
        draw(7, step, HOSTS, HOSTS[:2]) for step in range(50)
    ]
    assert [draw(7, step, HOSTS, HOSTS[:2]) for step in range(50)] != [
        draw(8, step, HOSTS, HOSTS[:2]) for step in range(50)
    ]


def test_every_kind_is_asked_for_with_and_without_a_target() -> None:
    wishes = [draw(7, step, HOSTS, HOSTS[:2])[0] for step in range(1000)]
    assert {wish.kind for wish in wishes} == set(ResolvedType)
    count = Counter((wish.kind, wish.target is None) for wish in wishes)
    assert min(count.values()) > 50
    assert set(HOSTS) <= {wish.target for wish in wishes}


@pytest.mark.parametrize("seed", range(20))
def test_a_fleet_has_all_that_verdicts_look_at(seed: int) -> None:
    fleet = generate(seed)
    assert 6 <= len(fleet.hosts) <= 8
    assert len({(host.cpu_model, host.cpu_features) for host in fleet.hosts}) >= 2
    assert len({host.qemu for host in fleet.hosts}) == 2
    assert {host.store for host in fleet.hosts} == {"shared", "second", "local"}
    assert {slot.group for slot in fleet.slots} == {None, *GROUPS}
    assert {slot.zone for slot in fleet.slots} == {None, "cluster1", "cluster2"}
    names = {host.name for host in fleet.hosts}
    assert {slot.home for slot in fleet.slots} | fleet.elsewhere | fleet.tight | set(fleet.may_fail) <= names
    pools = fleet.policy(Policy()).shared_storage
    assert {pool.name for pool in pools} == {"shared", "second"}
    assert sum(len(pool.hosts) for pool in pools) == sum(host.store != "local" for host in fleet.hosts)
