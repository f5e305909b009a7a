"""Capacity (R16): room on the target as Placement counts it, less what decided moves will take."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from testbed.build import NOW, flavor, host, move, question, room, server, snapshot
from tests.prerequisites.expect import Case, cannot_tell, fails, passes, table
from vmferry.cloud.model import Inventory, Part, Server
from vmferry.policy import Policy
from vmferry.prerequisites import capacity
from vmferry.prerequisites.check import PlannedMove, Question
from vmferry.prerequisites.enums import Name, Reason, Result

GRACE = Policy().record_grace
WEB = server()  # 2 vCPUs, 4096 MiB
PINNED = server(flavor=flavor(extra_specs={"hw:cpu_policy": "dedicated"}))
DISK = server(image_id="image-1", flavor=flavor(disk_gb=20))


def ask(
    of: Server = WEB,
    moves: tuple[PlannedMove, ...] = (),
    read_ago: timedelta | None = timedelta(0),
    **inventories: Inventory,
) -> Question:
    view = snapshot([of], [host("host-a"), host("host-b", inventories=room(**inventories)), host("host-c")])
    read_at = dict(view.read_at)
    del read_at[Part.RESOURCES]
    if read_ago is not None:
        read_at[Part.RESOURCES] = NOW - read_ago
    return question(of, view=replace(view, read_at=read_at), moves=moves)


def without(*missing: str, of: Server = WEB, **inventories: Inventory) -> Question:
    left = {name: inventory for name, inventory in room(**inventories).items() if name not in missing}
    return question(of, view=snapshot([of], [host("host-a"), host("host-b", inventories=left)]))


OTHER = server(name="other", flavor=flavor(memory_mb=60_000))


def shared(other: str) -> Question:
    """20 GiB are needed on host-b; host-b and host-c share 70 GiB, of which a move to `other` takes 60."""
    disks = {
        "host-a": Inventory(500, 0),
        "host-b": Inventory(70, 0, shared="nfs"),
        "host-c": Inventory(70, 0, shared="nfs"),
        "host-d": Inventory(70, 0),
        "host-e": Inventory(70, 0, shared="nfs-2"),
    }
    view = snapshot([DISK], [host(name, inventories=room(DISK_GB=disk)) for name, disk in disks.items()])
    return question(DISK, view=view, moves=(move(OTHER, other, needs={"DISK_GB": 60}),))


CASES: dict[str, Case] = {
    "an empty host has room": passes(ask(), "enough capacity"),
    "the last byte may be taken": passes(ask(MEMORY_MB=Inventory(65_536, 61_440))),
    "one MiB too little is too little": fails(
        ask(MEMORY_MB=Inventory(65_536, 61_441)),
        Reason.INSUFFICIENT_CAPACITY,
        ("host-b", "4096 MiB memory needed", "4095 free"),
        ("another host",),
        "host-b",
    ),
    "an allocation ratio makes room: 4 cores times 16 are 64": passes(ask(VCPU=Inventory(4 * 16, 62))),
    "a host that is overcommitted beyond its ratio has nothing free, not less": fails(
        ask(VCPU=Inventory(32, 40)), Reason.INSUFFICIENT_CAPACITY, ("2 vCPU needed, 0 free",), ()
    ),
    "all that is short is said at once (R20)": fails(
        ask(DISK, VCPU=Inventory(32, 32), MEMORY_MB=Inventory(100, 0), DISK_GB=Inventory(10, 0)),
        Reason.INSUFFICIENT_CAPACITY,
        ("2 vCPU needed, 0 free", "4096 MiB memory needed, 100 free", "20 GiB disk needed, 10 free"),
        ("another host",),
        "host-b",
    ),
    "one server may take at most max_unit, however much is free": fails(
        ask(MEMORY_MB=Inventory(65_536, 0, max_unit=4095)),
        Reason.INSUFFICIENT_CAPACITY,
        ("4096 MiB memory needed", "4095 is the most for one server"),
        (),
        "host-b",
    ),
    "exactly max_unit may be taken": passes(ask(MEMORY_MB=Inventory(65_536, 0, max_unit=4096))),
    "pinned CPUs are counted by themselves, shared ones do not help": fails(
        ask(PINNED, PCPU=Inventory(8, 7)), Reason.INSUFFICIENT_CAPACITY, ("2 PCPU needed, 1 free",), (), "host-b"
    ),
    "pinned CPUs do not take shared ones": passes(ask(PINNED, PCPU=Inventory(8, 6), VCPU=Inventory(32, 32))),
    "whether a host that reports no pinned CPUs has some is unknown (R19)": cannot_tell(
        ask(PINNED), ("host-b reports no PCPU",), ("Placement",), "host-b"
    ),
    "what a flavor asks for by its class counts": fails(
        ask(server(flavor=flavor(extra_specs={"resources:CUSTOM_LICENCE": "2"})), CUSTOM_LICENCE=Inventory(3, 2)),
        Reason.INSUFFICIENT_CAPACITY,
        ("2 CUSTOM_LICENCE needed, 1 free",),
        (),
        "host-b",
    ),
    "what it says it does not need does not": passes(
        ask(server(flavor=flavor(extra_specs={"resources:VCPU": "0"})), VCPU=Inventory(1, 1))
    ),
    "a volume takes no disk of the host": passes(ask(DISK_GB=Inventory(0, 0))),
    "a decided move takes its room (R16)": fails(
        ask(moves=(move(OTHER, "host-b"), move(server(name="third"), "host-b"))),
        Reason.INSUFFICIENT_CAPACITY,
        ("4096 MiB memory needed, 1440 free",),
        (),
    ),
    "a decided move to another host takes nothing here": passes(ask(moves=(move(OTHER, "host-c"),) * 2)),
    "the server's own earlier decision does not count against it": passes(
        ask(moves=(replace(move(OTHER, "host-b", needs={"MEMORY_MB": 65_536}), server_id=WEB.id),))
    ),
    "figures read after Nova's claim contain the move already: it counts once (R16)": passes(
        ask(
            moves=(move(OTHER, "host-b", decided_at=NOW - GRACE),),
            MEMORY_MB=Inventory(65_536, 60_000),
        )
    ),
    "figures read before Nova's claim do not: it is subtracted (R16)": fails(
        ask(
            moves=(move(OTHER, "host-b", decided_at=NOW - GRACE),),
            read_ago=timedelta(seconds=1),
            MEMORY_MB=Inventory(65_536, 4_000),
        ),
        Reason.INSUFFICIENT_CAPACITY,
        ("1536 free",),
        (),
    ),
    "figures of unknown age contain no move": fails(
        ask(
            moves=(move(OTHER, "host-b", decided_at=NOW - timedelta(days=1)),),
            read_ago=None,
            MEMORY_MB=Inventory(65_536, 4_000),
        ),
        Reason.INSUFFICIENT_CAPACITY,
        ("1536 free",),
        (),
    ),
    "room on a shared storage is taken by moves to every host that shares it (R16)": fails(
        shared("host-c"), Reason.INSUFFICIENT_CAPACITY, ("20 GiB disk needed, 10 free",), (), "host-b"
    ),
    "also by those to this host": fails(shared("host-b"), Reason.INSUFFICIENT_CAPACITY, ("10 free",), ()),
    "not by those to a host that has its own": passes(shared("host-d")),
    "nor to one on another shared storage": passes(shared("host-e")),
    "what is not shared stays each host's own": passes(
        ask(moves=(move(OTHER, "host-c", needs={"MEMORY_MB": 65_536}),))
    ),
    "a host of which Placement tells nothing (R19)": cannot_tell(
        question(view=snapshot(hosts=[host("host-a"), host("host-b", inventories=None)])),
        ("host-b",),
        ("Placement",),
        "host-b",
    ),
    "a host that reports no memory (R19)": cannot_tell(
        without("MEMORY_MB"), ("host-b", "MiB memory"), ("inventory of host-b",), "host-b"
    ),
    "a host that reports nothing at all (R19)": cannot_tell(
        without("VCPU", "MEMORY_MB", "DISK_GB"), ("host-b",), ("Placement",), "host-b"
    ),
    "what is missing but not needed does not matter": passes(without("DISK_GB")),
    "what is known to be short is not hidden by what is not known (R19)": fails(
        without("DISK_GB", of=DISK, MEMORY_MB=Inventory(100, 0)),
        Reason.INSUFFICIENT_CAPACITY,
        ("4096 MiB memory needed, 100 free",),
        (),
        "host-b",
    ),
}


test_it_says = table(capacity.check, Name.CAPACITY, CASES)


@pytest.mark.parametrize(
    ("asked", "needs"),
    [
        (WEB, {"VCPU": 2, "MEMORY_MB": 4096}),
        (DISK, {"VCPU": 2, "MEMORY_MB": 4096, "DISK_GB": 20}),
        (server(flavor=flavor(disk_gb=20, ephemeral_gb=5, swap_mb=1)), {"VCPU": 2, "MEMORY_MB": 4096, "DISK_GB": 6}),
        (server(flavor=flavor(swap_mb=1025)), {"VCPU": 2, "MEMORY_MB": 4096, "DISK_GB": 2}),
        (server(image_properties={"hw_cpu_policy": "dedicated"}), {"PCPU": 2, "MEMORY_MB": 4096}),
    ],
    ids=[
        "volumes only",
        "a local root",
        "a volume root with ephemeral space and swap",
        "swap is rounded up",
        "an image that asks for pinned CPUs",
    ],
)
def test_R16_a_server_needs_what_placement_counts(asked: Server, needs: dict[str, int]) -> None:
    assert asked.needs == needs


def test_R19_what_is_not_known_blocks_unless_the_policy_tolerates_it() -> None:
    finding = capacity.check(without("MEMORY_MB"))
    assert finding.result is Result.UNKNOWN
    assert finding.blocks(Policy())
    assert finding.blocks(Policy(tolerate_unknown=frozenset({Name.BANDWIDTH})))
    assert not finding.blocks(Policy(tolerate_unknown=frozenset({Name.CAPACITY})))
