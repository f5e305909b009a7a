"""AvailabilityZone (R11): both hosts in one zone, and in the one that the server was made for."""

from __future__ import annotations

from testbed.build import host, question, server, snapshot
from tests.prerequisites.expect import Case, cannot_tell, fails, passes, table
from vmferry.cloud.model import Aggregate
from vmferry.prerequisites import availability_zone
from vmferry.prerequisites.check import Question
from vmferry.prerequisites.enums import Name, Reason

EAST_AND_WEST = [host("host-a", zone="east"), host("host-b", zone="east"), host("host-c", zone="west")]
GONE = server(host="host-z")
NOWHERE = server(vm_state="shelved_offloaded", host=None)


def ask(target: str, pinned: str | None = None) -> Question:
    asked = server(pinned_availability_zone=pinned)
    return question(asked, view=snapshot([asked], EAST_AND_WEST), target=target)


CASES: dict[str, Case] = {
    "hosts of one zone": passes(ask("host-b"), "both in east"),
    "hosts of the cloud's default zone": passes(question(), "both in nova"),
    "a server made for this zone stays in it": passes(ask("host-b", "east")),
    "another zone": fails(
        ask("host-c"),
        Reason.OUTSIDE_ZONE,
        ("host-c is in west", "host-a in east"),
        ("a host of east",),
        "host-c",
    ),
    "a server that was made for another zone cannot stay: Nova would find no host (R21)": fails(
        ask("host-b", "west"), Reason.OUTSIDE_ZONE, ("for zone west", "host-b is in east"), ("west",), "host-b"
    ),
    "a zone that was renamed under its servers": fails(
        ask("host-b", "old"),
        Reason.OUTSIDE_ZONE,
        ("for zone old", "host-b is in east"),
        ("no host is in zone old", "aggregate set --zone old", "unshelve --availability-zone"),
        "host-b",
    ),
    "a host in aggregates of two zones (I36)": cannot_tell(
        question(
            view=snapshot(
                hosts=[
                    host("host-a"),
                    host(
                        "host-b",
                        aggregates=tuple(
                            Aggregate(n, zone, zone, frozenset({"host-b"})) for n, zone in enumerate(("east", "west"))
                        ),
                    ),
                ]
            )
        ),
        ("host-b", "east, west"),
        ("one zone only",),
        "host-b",
    ),
    "the zone of a host that the cloud does not list is unknown (R19)": cannot_tell(
        question(GONE), ("host-z",), ("openstack compute service list",), "host-z"
    ),
    "a server on no host is in no zone yet (R19)": cannot_tell(
        question(NOWHERE, view=snapshot([NOWHERE])), ("on no host",), ("unshelve",)
    ),
}


test_it_says = table(availability_zone.check, Name.AVAILABILITY_ZONE, CASES)
