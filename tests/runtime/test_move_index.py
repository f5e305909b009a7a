"""The store tells of moves and turns what a plain scan of all its objects tells, whatever happened before."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from testbed.build import NOW, flavor, ident, server
from vmferry.cloud.model import ResolvedType, Snapshot
from vmferry.planning.limits import next_up, traffic
from vmferry.policy import Limits
from vmferry.prerequisites.check import PlannedMove
from vmferry.prerequisites.moves import EarlierMoves, MoveQueue, Moves
from vmferry.reconcilers.migration.os_upgrade_moves import furthest
from vmferry.reconcilers.rows import KINDS, VM_MIGRATION
from vmferry.resources.vmmigration import VMMigration
from vmferry.runtime.key import Key
from vmferry.runtime.store import Body, Store

assert VM_MIGRATION.moves is not None
KIND, MOVES = VM_MIGRATION.name, VM_MIGRATION.moves
HOSTS = [f"host-{x}" for x in "abcd"]
KEYS = [Key(KIND, "team", f"m{n}") for n in range(12)]
SERVERS = [f"s{n}" for n in range(10)]
NOBODY = Key(KIND, "team", "nobody")
LIMITS = Limits(per_source=2, per_target=3, total=8)
SYSTEMS = ("Ubuntu 22.04", "Ubuntu 24.04", "Ubuntu 26.04")


class Plain:
    """The store's words by going through everything, each time."""

    def __init__(self) -> None:
        self.bodies: dict[Key, Body] = {}
        self.held: dict[Key, PlannedMove] = {}

    def _active(self) -> dict[Key, Any]:
        objects = {key: VMMigration.read(body) for key, body in self.bodies.items()}
        return {key: obj for key, obj in objects.items() if not VM_MIGRATION.finished(obj)}

    def moves_except(self, key: Key, view: Snapshot) -> list[PlannedMove]:
        moves = {other: move for other, move in self.held.items() if other != key}
        for other, obj in self._active().items():
            move = MOVES.move(obj, view)
            if other != key and other not in moves and move is not None:
                moves[other] = move
        return list(moves.values())

    def earlier_than(self, key: Key, view: Snapshot) -> list[PlannedMove]:
        active = self._active()
        if key not in active:
            return []
        own = MOVES.queue_position(active[key])
        waiting = []
        for other, obj in active.items():
            move, turn = MOVES.queued_move(obj, view), MOVES.queue_position(obj)
            if other != key and other not in self.held and move is not None and turn < own:
                waiting.append((turn, move))
        return [move for _, move in sorted(waiting, key=lambda pair: pair[0])]

    def line(self, view: Snapshot) -> list[tuple[Key, PlannedMove]]:
        found = []
        for key, obj in self._active().items():
            move = MOVES.queued_move(obj, view)
            if key not in self.held and move is not None:
                found.append((MOVES.queue_position(obj), key, move))
        return [(key, move) for _, key, move in sorted(found, key=lambda one: one[0])]

    def os_upgrades(self) -> dict[str, Any]:
        found = (MOVES.os_upgrade_move(VMMigration.read(body)) for body in self.bodies.values())
        return furthest(one for one in found if one is not None)


class Pair:
    """Both, and what happens to both."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.store, self.plain = Store(KINDS), Plain()
        self.version = 0
        self.view = Snapshot()
        self.told: list[tuple[Moves, list[PlannedMove]]] = []

    def put(self) -> None:
        key, dice = self.dice.choice(KEYS), self.dice
        self.version += 1
        body = {
            "metadata": {
                "namespace": key.namespace,
                "name": key.name,
                "uid": key.name,
                "resourceVersion": str(self.version),
                "creationTimestamp": f"2026-01-01T00:00:0{dice.randrange(4)}Z",
            },
            "spec": {
                "server": {"id": ident(dice.choice(SERVERS))},
                "priority": dice.choice(["High", "Normal", "Low"]),
                "paused": dice.random() < 0.1,
                **({"target": {"host": dice.choice(HOSTS)}} if dice.random() < 0.5 else {}),
            },
            "status": self._status(),
        }
        self.store.put(KIND, body)
        self.plain.bodies[key] = body

    def _status(self) -> Body:
        dice = self.dice
        status: Body = {
            "phase": dice.choice(["Queued", "Queued", "Migrating", "Blocked", "Pending"]),
            "server": {"id": ident(dice.choice(SERVERS)), "name": "web", "state": "ACTIVE"},
            "type": "Live",
            "sourceHost": dice.choice(HOSTS),
            "targetHost": dice.choice(HOSTS),
            "eligibleTargets": [
                {"host": host, "rank": rank, "message": "empty"}
                for rank, host in enumerate(dice.sample(HOSTS, dice.randrange(4)), 1)
            ],
        }
        if status["phase"] == "Migrating":
            attempt = {
                "number": 1,
                "type": "Live",
                "sourceHost": status["sourceHost"],
                "targetHost": status["targetHost"],
                "state": dice.choice(["running", "completed"]),
                "startedAt": "2026-01-01T12:00:00Z",
            }
            if attempt["state"] == "completed":
                attempt |= {"endedAt": "2026-01-01T12:01:00Z"}
                attempt["crossing"] = {"source": SYSTEMS[0], "target": dice.choice(SYSTEMS[1:])}
            status["attempts"] = [attempt]
        if dice.random() < 0.2:
            status |= {"phase": "Succeeded", "completedAt": "2026-01-01T12:02:00Z"}
        return status

    def remove(self) -> None:
        key = self.dice.choice(KEYS)
        self.version += 1
        self.store.remove(key, self.version)
        self.plain.bodies.pop(key, None)

    def hold(self) -> None:
        key = self.dice.choice(KEYS)
        of = server(name=self.dice.choice(SERVERS), host=self.dice.choice(HOSTS))
        move = PlannedMove(of.id, ResolvedType.LIVE, of.host or "", self.dice.choice(HOSTS), of.needs, NOW)
        self.store.hold_move(key, move)
        self.plain.held[key] = move

    def release(self) -> None:
        key = self.dice.choice(KEYS)
        self.store.release_held(key)
        self.plain.held.pop(key, None)

    def servers_change(self) -> None:
        """Some come, some go, some are of another size, and some are the same in a new view."""
        servers = dict(self.view.servers)
        for name in self.dice.sample(SERVERS, 3):
            size = flavor(vcpus=self.dice.randint(1, 3))
            if self.dice.random() < 0.3:
                servers.pop(ident(name), None)
            else:
                servers[ident(name)] = server(name=name, flavor=size)
        self.view = replace(self.view, servers=servers)

    def look_alike(self) -> None:
        self.view = replace(self.view, servers=dict(self.view.servers))

    def compare(self) -> None:
        moves = tuple(self.plain.moves_except(NOBODY, self.view))
        turns = {repr(move): key for key, move in self.plain.line(self.view)}
        line = EarlierMoves.of([move for _, move in self.plain.line(self.view)])
        expected = [turns[repr(move)] for move in next_up(line, traffic(self.view, moves), LIMITS).moves]
        assert self.store.next_up(self.view, LIMITS) == expected
        for key in KEYS:
            moves = self.store.moves_except(key, self.view)
            assert Counter(map(repr, moves)) == Counter(map(repr, self.plain.moves_except(key, self.view)))
            self.told.append((moves, list(moves)))
            earlier, plainly = self.store.earlier_than(key, self.view), self.plain.earlier_than(key, self.view)
            assert list(earlier) == plainly
            assert len(earlier) == len(plainly) and [earlier[at] for at in range(len(earlier))] == plainly
        furthest_of = [{one: str(u.target) for one, u in s.os_upgrades().items()} for s in (self.store, self.plain)]
        assert furthest_of[0] == furthest_of[1]


@pytest.mark.parametrize("seed", range(6))
def test_the_store_tells_what_a_plain_scan_tells(seed: int) -> None:
    pair = Pair(seed)
    happenings: list[Callable[[], None]] = [
        *[pair.put] * 6,
        pair.remove,
        pair.hold,
        *[pair.release] * 2,
        pair.servers_change,
        pair.look_alike,
    ]
    pair.servers_change()
    for _ in range(40):
        for happens in pair.dice.choices(happenings, k=pair.dice.randint(1, 4)):
            happens()
        pair.compare()
    assert all(list(moves) == before for moves, before in pair.told), "what was told is never changed"


@pytest.mark.parametrize("seed", range(5))
def test_a_line_counts_by_host_what_is_before_a_turn(seed: int) -> None:
    dice = random.Random(seed)
    line, plain = MoveQueue(), dict[tuple[Any, ...], PlannedMove]()
    for number in range(80):
        if plain and dice.random() < 0.4:
            turn = dice.choice(list(plain))
            line = line.remove(turn, plain.pop(turn))
        else:
            turn = (dice.randrange(3), dice.random())
            of = server(name=f"s{number}", host=dice.choice(HOSTS))
            target, elsewhere = dice.choice(HOSTS), dice.choice([None, (), ("host-a", "host-b")])
            plain[turn] = PlannedMove(of.id, ResolvedType.LIVE, of.host or "", target, of.needs, NOW, elsewhere)
            line = line.put(turn, plain[turn])
        mine = (dice.randrange(3), dice.random())
        first = [plain[turn] for turn in sorted(plain) if turn < mine]
        for earlier, expected in ((line.before(mine), first), (line.whole(), [plain[t] for t in sorted(plain)])):
            assert list(earlier) == expected
            assert set(earlier.sources) >= {m.source_host for m in expected}
            for host in HOSTS:
                assert earlier.leaving(host) == sum(m.source_host == host for m in expected)
                bound = [m for m in expected if m.target_host == host and m.elsewhere is None]
                assert earlier.coming(host) == len(bound)
                for turn in [t for t, m in plain.items() if m in expected]:
                    assert earlier.coming(host, turn) == sum(t < turn for t, m in plain.items() if m in bound)
            some = {host: dice.randrange(3) for host in dice.sample(HOSTS, 2)}
            left = [[m for m in expected if m.source_host == host][:most] for host, most in some.items()]
            assert [m for _, m in earlier.first_of(some)] == [m for m in expected if any(m in one for one in left)]


def test_moves_are_the_same_ones_until_something_changes() -> None:
    """So that what others have worked out of them holds for the next look."""
    pair = Pair(1)
    for _ in range(30):
        pair.put()
    free = Key(KIND, "team", "another")
    first = pair.store.moves_except(free, pair.view)
    assert first and pair.store.moves_except(free, pair.view) is first
    pair.look_alike()
    assert pair.store.moves_except(free, pair.view) is first
    moving = next(k for k in KEYS if len(pair.store.moves_except(k, pair.view)) < len(first))
    (own,) = set(map(repr, first)) - set(map(repr, pair.store.moves_except(moving, pair.view)))
    pair.store.hold_move(moving, next(m for m in first if repr(m) == own))
    pair.store.release_held(moving)
    assert pair.store.moves_except(free, pair.view) is first, "a look that changes nothing changes nothing"


def test_the_end_of_a_move_or_of_a_wait_is_told_once() -> None:
    store, view = Store(KINDS), Snapshot()
    free = PlannedMove(ident("s1"), ResolvedType.LIVE, "host-a", "host-b", {}, NOW)
    key = KEYS[0]
    assert not store.freed(view)
    store.hold_move(key, free)
    assert not store.freed(view), "one more move frees nothing"
    store.release_held(key)
    assert store.freed(view)
    assert not store.freed(view)
    pair = Pair(3)
    while not pair.store.next_up(pair.view, LIMITS):
        pair.put()
        pair.servers_change()
    pair.store.freed(pair.view)
    pair.store.remove(pair.store.next_up(pair.view, LIMITS)[0])
    assert pair.store.freed(pair.view)
