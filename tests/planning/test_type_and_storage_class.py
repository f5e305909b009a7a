"""Auto (R7) and the storage class (R2-R4)."""

from __future__ import annotations

import pytest

from testbed.build import STATUS, dead_host, flavor, host, server
from vmferry.cloud.model import Aggregate, ResolvedType
from vmferry.planning.choose_type import choose_type
from vmferry.planning.storage_class import storage_class
from vmferry.policy import Policy, StoragePool
from vmferry.resources.words import StorageClass

LIVE, COLD, EVACUATE = ResolvedType


@pytest.mark.parametrize("state", STATUS)
def test_R7_auto_goes_by_the_servers_state_while_its_host_is_up(state: str) -> None:
    choice = choose_type(server(vm_state=state), host("host-a"))
    assert choice.type is (COLD if state in ("stopped", "suspended") else LIVE)
    assert STATUS[state] in choice.message and choice.type in choice.message, "which, and why"


@pytest.mark.parametrize("state", STATUS)
def test_R7_auto_evacuates_from_a_host_that_is_down(state: str) -> None:
    choice = choose_type(server(vm_state=state), dead_host("host-a"))
    assert (choice.type, choice.reason) == (EVACUATE, "SourceHostDown")
    assert "host-a is down" in choice.message


def test_R7_a_host_that_the_cloud_does_not_list_is_not_called_down() -> None:
    assert choose_type(server(), None).type is LIVE


LOCAL = server(image_id="image-1", flavor=flavor(disk_gb=20))
RACK = Aggregate(1, "rack-1", None, frozenset({"host-a"}))
BY_HOST = StoragePool("nfs", hosts=frozenset({"host-a"}))
BY_RACK = StoragePool("ceph", aggregates=frozenset({"rack-1"}))

CLASSES = {
    "a server on volumes (R2)": (server(), Policy(), StorageClass.VOLUMES_ONLY),
    "volumes with swap on the host are more than volumes": (
        server(flavor=flavor(swap_mb=1)),
        Policy(local_unless_shared=True),
        StorageClass.EPHEMERAL_LOCAL,
    ),
    "a pool that names the host (R3)": (LOCAL, Policy(shared_storage=(BY_HOST,)), StorageClass.EPHEMERAL_SHARED),
    "a pool that names its aggregate (R3)": (LOCAL, Policy(shared_storage=(BY_RACK,)), StorageClass.EPHEMERAL_SHARED),
    "local, because the configuration says so (R4)": (
        LOCAL,
        Policy(local_unless_shared=True),
        StorageClass.EPHEMERAL_LOCAL,
    ),
    "nobody tells (R19)": (LOCAL, Policy(), None),
}


@pytest.mark.parametrize("sentence", CLASSES)
def test_the_storage_class(sentence: str) -> None:
    asked, policy, wanted = CLASSES[sentence]
    assert storage_class(asked, host("host-a", aggregates=(RACK,)), policy) is wanted


def test_R19_the_storage_of_a_server_on_an_unknown_host_is_not_known() -> None:
    assert storage_class(LOCAL, None, Policy(shared_storage=(BY_HOST,))) is None


OTHER = StoragePool("ceph", hosts=frozenset({"host-b", "host-c"}))
BOTH = StoragePool("nfs", hosts=frozenset({"host-a", "host-b"}))
MOVES = {
    "to a host on the same shared storage nothing is copied (R3)": ((BOTH,), "host-b", StorageClass.EPHEMERAL_SHARED),
    "off the shared storage the disks are copied (R5)": ((BOTH,), "host-c", StorageClass.EPHEMERAL_LOCAL),
    "onto another shared storage as well": ((BY_HOST, OTHER), "host-c", StorageClass.EPHEMERAL_LOCAL),
    "a target of which sources contradict each other (R19)": ((BOTH, OTHER), "host-b", None),
    "onto a shared storage from where nobody tells (R19)": ((OTHER,), "host-c", None),
}


@pytest.mark.parametrize("sentence", MOVES)
def test_the_storage_class_of_a_move(sentence: str) -> None:
    pools, target, wanted = MOVES[sentence]
    assert storage_class(LOCAL, host("host-a"), Policy(shared_storage=pools), host(target)) is wanted


def test_R2_volumes_are_never_copied() -> None:
    policy = Policy(shared_storage=(BOTH,))
    assert storage_class(server(), host("host-a"), policy, host("host-c")) is StorageClass.VOLUMES_ONLY
