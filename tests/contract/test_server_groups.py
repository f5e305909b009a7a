"""What Nova's scheduler makes of server groups when a member is moved (R18, R21)."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest

from testbed.tenant import Tenant
from tests.contract.conftest import Boot
from tests.contract.looks import Looks
from vmferry.cloud.actions import LiveMigrate

Group = Callable[[str], str]


@pytest.fixture
def group(admin: Tenant, boot: Boot) -> Iterator[Group]:
    """Makes a server group of a policy, which is gone after the test."""
    made: list[str] = []

    def make(policy: str) -> str:
        made.append(admin.create_group(f"group-{uuid.uuid4().hex[:6]}", policy))
        return made[-1]

    yield make
    for one in made:
        admin.delete_group(one)


def stays(looks: Looks, server: str, target: str) -> None:
    looks.accepted(LiveMigrate(server, target))
    assert looks.newest(server, "error", "completed").status == "error"
    assert looks.idle(server).host == "cmp1"


def test_alone_on_its_host_a_member_of_an_affinity_group_goes_nowhere(group: Group, boot: Boot, looks: Looks) -> None:
    """Nova counts the host that it is on among the group's."""
    stays(looks, boot("cmp1", group=group("affinity")), "cmp2")


def test_once_its_group_is_deleted_it_does(group: Group, boot: Boot, looks: Looks, admin: Tenant) -> None:
    made = admin.create_group(f"group-{uuid.uuid4().hex[:6]}", "affinity")
    server = boot("cmp1", group=made)
    admin.delete_group(made)
    looks.accepted(LiveMigrate(server, "cmp2"))
    assert looks.newest(server, "error", "completed").status == "completed"


def test_members_of_an_anti_affinity_group_do_not_meet(group: Group, boot: Boot, looks: Looks) -> None:
    apart = group("anti-affinity")
    server = boot("cmp1", group=apart)
    boot("cmp2", group=apart)
    stays(looks, server, "cmp2")
