"""Storage (R15, I14): what a move costs, and whether the data survives an evacuation."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from testbed.build import dead_host, facts, flavor, host, question, server, snapshot
from tests.prerequisites.expect import Case, cannot_tell, fails, passes, table
from vmferry.cloud.model import Aggregate, Fact, ResolvedType, Server
from vmferry.policy import Policy, StoragePool
from vmferry.prerequisites import storage
from vmferry.prerequisites.check import Question
from vmferry.prerequisites.enums import Name, Reason, Result

LIVE, COLD, EVACUATE = ResolvedType

VOLUME = server()
LOCAL = server(image_id="image-1", flavor=flavor(disk_gb=20), volumes=())
NOWHERE = server(vm_state="shelved_offloaded", host=None, image_id="image-1", volumes=())
NFS = StoragePool("nfs-1", hosts=frozenset({"host-a", "host-b"}))
CEPH = StoragePool("ceph", aggregates=frozenset({"rack-1"}))
RACK = Aggregate(1, "rack-1", None, frozenset({"host-a", "host-b"}))


def ask(of: Server, kind: ResolvedType, target: str = "host-b", **policy: Any) -> Question:
    source = dead_host("host-a") if kind is EVACUATE else host("host-a")
    view = snapshot([of], [source, host("host-b"), host("host-c")])
    return question(of, kind, view, target=target, policy=Policy(**policy))


def in_rack(kind: ResolvedType) -> Question:
    hosts = [host("host-a", aggregates=(RACK,)), host("host-b", aggregates=(RACK,))]
    return question(LOCAL, kind, snapshot([LOCAL], hosts), policy=Policy(shared_storage=(CEPH,)))


def marked(kind: ResolvedType, *pools: str, **policy: Any) -> Question:
    """host-a is on the first of the pools, host-b on all of them, as the cloud tells."""
    hosts = [
        host(name, facts=facts(storage_pool=tuple(Fact(pool, f"aggregate {pool}, shared_storage") for pool in on)))
        for name, on in (("host-a", pools[:1]), ("host-b", pools))
    ]
    return question(LOCAL, kind, snapshot([LOCAL], hosts), policy=Policy(**policy))


#: what lies on the host's own disk, and what does not
DISKS = {
    "a volume as root disk": (VOLUME, False),
    "a volume as root disk, though the flavor has a disk": (server(flavor=flavor(disk_gb=20)), False),
    "a local root disk": (LOCAL, True),
    "a local root disk of the image's own size": (server(image_id="image-1", volumes=()), True),
    "a volume and ephemeral space": (server(flavor=flavor(ephemeral_gb=10)), True),
    "a volume and swap": (server(flavor=flavor(swap_mb=512)), True),
}


@pytest.mark.parametrize("disk", DISKS)
@pytest.mark.parametrize("shared", ["known to be shared", "known to be local", "not known"])
def test_I14_R6_evacuation_never_rebuilds_what_is_on_a_local_disk(disk: str, shared: str) -> None:
    asked, on_host = DISKS[disk]
    pools = (NFS,) if shared == "known to be shared" else ()
    finding = storage.check(
        ask(asked, EVACUATE, shared_storage=pools, local_unless_shared=shared == "known to be local")
    )
    wanted = Result.PASSED
    if on_host and shared == "known to be local":
        wanted = Result.FAILED
    elif on_host and shared == "not known":
        wanted = Result.UNKNOWN
    assert finding.result is wanted, finding
    assert finding.blocks(Policy()) == (wanted is not Result.PASSED), "R19: the default blocks what is not known"


@pytest.mark.parametrize(("kind", "local"), list(product([LIVE, EVACUATE], [True, False])))
def test_I14_off_the_shared_storage_a_shared_disk_stays_behind(kind: ResolvedType, local: bool) -> None:
    asked = ask(LOCAL, kind, "host-c", shared_storage=(NFS,), local_unless_shared=local)
    finding = storage.check(asked)
    assert (finding.result, finding.reason) == (Result.FAILED, Reason.STORAGE_NOT_SHARED)


CASES: dict[str, Case] = {
    "volumes only: nothing is copied (R2)": passes(ask(VOLUME, LIVE), "nothing to copy"),
    "both hosts on the same shared storage (R3)": passes(ask(LOCAL, LIVE, shared_storage=(NFS,)), "share nfs-1"),
    "a pool may be named by its aggregate (R3)": passes(in_rack(LIVE), "share ceph"),
    "an aggregate's metadata counts like the configuration (R3)": passes(marked(LIVE, "nfs-1"), "share nfs-1"),
    "both may say the same": passes(marked(EVACUATE, "nfs-1", shared_storage=(NFS,)), "share nfs-1"),
    "sources that contradict each other, both are said (R19)": cannot_tell(
        marked(LIVE, "nfs-1", "nfs-2"),
        ("which shared storage host-b is on", "nfs-1 (aggregate nfs-1", "nfs-2 (aggregate nfs-2"),
        ("correct",),
        "host-b",
    ),
    "the configuration does not outvote the cloud (R19, I14)": cannot_tell(
        marked(EVACUATE, "nfs-2", shared_storage=(NFS,)),
        ("host-a", "nfs-2 (aggregate nfs-2", "nfs-1 (the operator's configuration)"),
        (),
        "host-a",
    ),
    "a target that is not on the source's shared storage (R3)": fails(
        ask(LOCAL, LIVE, "host-c", shared_storage=(NFS,)),
        Reason.STORAGE_NOT_SHARED,
        ("nfs-1", "host-c is not on it"),
        ("nfs-1",),
        "host-c",
    ),
    "two shared storages are not the same one (R3)": fails(
        ask(
            LOCAL,
            LIVE,
            "host-c",
            shared_storage=(NFS, StoragePool("nfs-2", hosts=frozenset({"host-c"}))),
        ),
        Reason.STORAGE_NOT_SHARED,
        ("nfs-1", "host-c"),
        ("nfs-1",),
        "host-c",
    ),
    "a local disk is copied live, and its size is said (R4)": passes(
        ask(LOCAL, LIVE, local_unless_shared=True), "local disk", "20 GiB", "copied"
    ),
    "a cold migration copies disks off a shared storage too, as Nova does (R5, R21)": passes(
        ask(LOCAL, COLD, "host-c", shared_storage=(NFS,)), "20 GiB", "copied off shared storage nfs-1", "host-c"
    ),
    "a local disk is copied cold (R5)": passes(ask(LOCAL, COLD, local_unless_shared=True), "20 GiB", "copied"),
    "what nobody knows is treated as local, and that is said (R19)": passes(
        ask(LOCAL, LIVE), "not known to be shared", "20 GiB"
    ),
    "a disk that a dead host took along (R6, I14)": fails(
        ask(LOCAL, EVACUATE, local_unless_shared=True),
        Reason.LOCAL_DISK,
        ("host-a", "local", "lose the data"),
        ("repair host-a", "backup"),
        "host-a",
    ),
    "nobody says whether a dead host's disks are shared (R19, I14)": cannot_tell(
        ask(LOCAL, EVACUATE), ("host-a", "lose the data"), ("sharedStorage", "vmferry:shared_storage"), "host-a"
    ),
    "the disks of a server on no host are nowhere yet (R19)": cannot_tell(
        question(NOWHERE, EVACUATE, snapshot([NOWHERE])), ("on no host",), ("unshelve",)
    ),
    "evacuation of volumes needs no shared storage (R6)": passes(ask(VOLUME, EVACUATE), "volumes only"),
}


test_it_says = table(storage.check, Name.STORAGE, CASES)
