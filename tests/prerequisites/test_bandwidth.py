"""Bandwidth (R17): what is copied at once over a host's management network stays within the configured units."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.build import flavor, host, migration, move, question, server, snapshot
from tests.prerequisites.expect import Case, fails, passes, table
from vmferry.cloud.model import Migration, ResolvedType, Server
from vmferry.policy import Policy, StoragePool
from vmferry.prerequisites import bandwidth
from vmferry.prerequisites.check import PlannedMove, Question
from vmferry.prerequisites.enums import Name, Reason

LIVE, COLD, EVACUATE = ResolvedType
#: 250 GiB of local disk: one unit and three more
BIG = {"image_id": "image-1", "flavor": flavor(disk_gb=250)}
NFS = StoragePool("nfs", hosts=frozenset({"host-a", "host-b"}))
ALONE = StoragePool("alone", hosts=frozenset({"host-a"}))


def ask(
    limit: int | None,
    *records: Migration,
    of: Server | None = None,
    servers: tuple[Server, ...] = (),
    moves: tuple[PlannedMove, ...] = (),
    earlier: tuple[PlannedMove, ...] = (),
    **policy: Any,
) -> Question:
    """May `of` go from host-a to host-b with `limit` units for each host?"""
    asked = of or server()
    view = snapshot([asked, *servers], [host(f"host-{x}") for x in "abc"], records)
    return question(asked, LIVE, view, policy=Policy(bandwidth=limit, **policy), moves=moves, earlier=earlier)


def small(name: str, on: str = "host-a") -> Server:
    return server(name=name, host=on)


def big(name: str, on: str = "host-a") -> Server:
    return server(name=name, host=on, **BIG)


FULL = (("units needed", "of 2 are taken"), ("it continues when", "policy.bandwidth"))

CASES: dict[str, Case] = {
    "nothing is counted where no limit is configured": passes(ask(None, migration(small("x"))), "no limit"),
    "the first one": passes(ask(2), "1 of 2 units"),
    "one leaves the source already": passes(ask(2, migration(small("x"), target_host="host-c"))),
    "two do": fails(
        ask(2, migration(small("x"), 1, target_host="host-c"), migration(small("y"), 2, target_host="host-c")),
        Reason.BANDWIDTH_EXCEEDED,
        *FULL,
        host="host-a",
    ),
    "what comes to the source takes of its network as well": fails(
        ask(1, migration(small("x", "host-c"), target_host="host-a")),
        Reason.BANDWIDTH_EXCEEDED,
        ("host-a: 1 units needed, 1 of 1",),
        (),
        "host-a",
    ),
    "the target's network is full": fails(
        ask(1, migration(small("x", "host-c"))), Reason.BANDWIDTH_EXCEEDED, ("host-b:",), (), "host-b"
    ),
    "moves between other hosts do not matter": passes(
        ask(1, migration(small("x", "host-c"), target_host="host-d"), moves=(move(small("y", "host-c"), "host-d"),))
    ),
    "one that has ended does not": passes(ask(1, migration(small("x"), status="completed"))),
    "one that waits for its confirmation copies nothing any more": passes(
        ask(1, migration(small("x"), status="finished"))
    ),
    "one of a status that nobody knows counts (I35)": fails(
        ask(1, migration(small("x"), status="teleporting")), Reason.BANDWIDTH_EXCEEDED, (), ("wait",), "host-a"
    ),
    "an evacuation copies nothing": passes(
        ask(
            1,
            migration(small("x", "host-c"), type="evacuation"),
            moves=(move(small("y", "host-c"), "host-b", type=EVACUATE),),
        )
    ),
    "a decided move counts": fails(
        ask(1, moves=(move(small("x"), "host-c"),)), Reason.BANDWIDTH_EXCEEDED, (), (), "host-a"
    ),
    "a decided move that Nova has a record of counts once": passes(
        ask(2, migration(small("x")), moves=(move(small("x"), "host-b"),))
    ),
    "Nova names the target of a cold migration late: until then the decided one counts": fails(
        ask(
            1,
            migration(small("x", "host-c"), type="migration", target_host=None),
            moves=(move(small("x", "host-c"), "host-b", type=COLD),),
        ),
        Reason.BANDWIDTH_EXCEEDED,
        (),
        (),
        "host-b",
    ),
    "one whose turn is before this one's holds its place, or a big one would wait for ever": fails(
        ask(1, earlier=(move(small("x"), "host-c"),)), Reason.BANDWIDTH_EXCEEDED, (), (), "host-a"
    ),
    "its own move does not count": passes(ask(1, migration(server()), moves=(move(server(), "host-b"),))),
    "local disks weigh more, a unit for each 100 GiB begun": fails(
        ask(4, migration(small("x")), of=big("web-1")), Reason.BANDWIDTH_EXCEEDED, ("4 units needed, 1 of 4",), ()
    ),
    "on shared storage they do not": passes(ask(2, of=big("web-1"), shared_storage=(NFS,)), "1 of 2"),
    "off shared storage they are copied": fails(
        ask(4, migration(small("x")), of=big("web-1"), shared_storage=(ALONE,)),
        Reason.BANDWIDTH_EXCEEDED,
        ("4 units needed, 1 of 4",),
        (),
    ),
    "others' disks that leave their shared storage weigh more, too": fails(
        ask(4, migration(big("x"), target_host="host-c"), servers=(big("x"),), shared_storage=(NFS,)),
        Reason.BANDWIDTH_EXCEEDED,
        ("4 of 4 are taken",),
        (),
    ),
    "so do those of a decided move": fails(
        ask(4, moves=(move(big("x"), "host-c", type=COLD),), servers=(big("x"),), shared_storage=(NFS,)),
        Reason.BANDWIDTH_EXCEEDED,
        ("4 of 4 are taken",),
        (),
    ),
    "others' local disks weigh more, too": fails(
        ask(4, migration(big("x")), servers=(big("x"),)), Reason.BANDWIDTH_EXCEEDED, ("4 of 4 are taken",), ()
    ),
    "what is heavier than the limit runs alone": passes(ask(2, of=big("web-1")), "2 of 2"),
    "and nothing beside it": fails(
        ask(2, migration(big("x")), servers=(big("x"),)), Reason.BANDWIDTH_EXCEEDED, ("2 of 2 are taken",), ()
    ),
    "nothing leaves a host that is none": passes(ask(1, of=server(host=None)), "on no host"),
}


test_it_says = table(bandwidth.check, Name.BANDWIDTH, CASES)


@pytest.mark.parametrize("sentence", CASES)
def test_only_a_limit_that_others_use_up_is_waited_for(sentence: str) -> None:
    case = CASES[sentence]
    finding = bandwidth.check(case.question)
    assert finding.waits == (case.reason is Reason.BANDWIDTH_EXCEEDED), "it is no refusal for ever"
