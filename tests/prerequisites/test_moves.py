"""What is sorted once for all hosts says of each what going through all moves says (R16, R17)."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from testbed.build import NOW, flavor, host, migration, move, question, room, server, snapshot
from vmferry.cloud.model import Host, Inventory, Part
from vmferry.policy import Policy
from vmferry.prerequisites import bandwidth, capacity
from vmferry.prerequisites.check import Question
from vmferry.prerequisites.enums import Result

NAMES = [f"host-{x}" for x in "abcdef"]
LIMIT = 3


def some_question(dice: Random) -> Question:
    """On six hosts, some of which share their disks' room; moves go also to one that the cloud does not list."""
    hosts = [
        host(name, inventories=room(DISK_GB=Inventory(500, 0, shared=dice.choice((None, "nfs", "nfs-2")))))
        for name in NAMES
    ]
    everyone = [
        server(
            name=f"web-{n}",
            host=dice.choice(NAMES),
            image_id=dice.choice((None, "image-1")),
            flavor=flavor(disk_gb=dice.choice((0, 20, 250)), memory_mb=1024 * dice.randint(1, 9)),
        )
        for n in range(12)
    ]
    records = [
        migration(one, n, target_host=dice.choice((None, *NAMES)), status=dice.choice(("running", "completed")))
        for n, one in enumerate(everyone[:5], 1)
    ]
    view = snapshot(everyone, hosts, records)
    view = replace(view, read_at={**view.read_at, Part.RESOURCES: NOW})
    moves = [move(one, dice.choice((*NAMES, "gone"))) for one in everyone if dice.random() < 0.5]
    ahead = [move(one, dice.choice(NAMES)) for one in everyone if dice.random() < 0.3]
    policy = Policy(bandwidth=LIMIT, local_unless_shared=True)
    return question(everyone[0], view=view, policy=policy, moves=tuple(moves), earlier=tuple(ahead))


def room_taken(asked: Question, target: Host, resource: str) -> int:
    """One move after the other, as the rule says it."""
    shared = {n: (h.inventories or {})[resource].shared for n, h in asked.snapshot.hosts.items()}
    return sum(
        one.needs.get(resource, 0)
        for one in asked.moves
        if one.server_id != asked.server.id
        and (one.target_host == target.name or shared[target.name] in {shared.get(one.target_host)} - {None})
    )


def test_R16_the_room_that_moves_take_is_found_on_every_host() -> None:
    for seed in range(60):
        asked = some_question(Random(seed))
        for target in asked.snapshot.hosts.values():
            for resource in target.inventories or {}:
                assert capacity.planned(asked, target, resource) == room_taken(asked, target, resource), seed


def test_R17_a_host_is_asked_about_the_moves_of_this_question_and_of_no_other_one() -> None:
    for seed in range(60):
        asked = some_question(Random(seed))
        full = {name for name in NAMES if bandwidth.check(_to(asked, name)).result is Result.FAILED}
        quiet = replace(asked, moves=(), earlier=(), snapshot=replace(asked.snapshot, migrations={}))
        assert all(bandwidth.check(_to(quiet, name)).result is Result.PASSED for name in NAMES)
        assert full == {name for name in NAMES if bandwidth.check(_to(asked, name)).result is Result.FAILED}, seed


def _to(asked: Question, name: str) -> Question:
    return replace(asked, target=asked.snapshot.hosts[name])
