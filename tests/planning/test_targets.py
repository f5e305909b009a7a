"""Which host is picked, which are out and why (R8, R16, R19, R20)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from testbed.build import NOW, dead_host, host, ident, migration, move, question, room, server, snapshot
from vmferry.cloud.model import Host, Inventory, Migration, ResolvedType, Server, ServerGroup
from vmferry.planning.targets import Assessment, assess, blocked
from vmferry.policy import Policy
from vmferry.prerequisites.chains import TABLE
from vmferry.prerequisites.check import Finding, PlannedMove, Question
from vmferry.prerequisites.enums import Name, Reason, Result

WEB = server()
A, B, C = host("host-a"), host("host-b"), host("host-c")


def ask(
    *hosts: Host,
    of: Server = WEB,
    migrations: tuple[Migration, ...] = (),
    with_friends: tuple[str, ...] = (),
    **over: Any,
) -> Question:
    """`with_friends`: the policy of the server's group, and the host of each other member."""
    policy, *where = with_friends or ("",)
    friends = [server(name=f"friend-{n}", host=one) for n, one in enumerate(where)]
    group = ServerGroup("g-1", "shop", policy, frozenset({of.id, *(friend.id for friend in friends)}))
    view = snapshot([of, *friends], hosts, migrations, server_groups=[group] if policy else [])
    return question(of, view=view, target=None, **over)


def filled(name: str, memory_mb: int, **over: Any) -> Host:
    return host(name, inventories=room(MEMORY_MB=Inventory(65_536, memory_mb)), **over)


def hosts_of(found: Assessment) -> list[str]:
    return [ranked.host for ranked in found.eligible]


def finding(found: Assessment, name: Name) -> Finding:
    return next(f for f in found.findings if f.name is name)


RANKING: dict[str, tuple[Question, list[str]]] = {
    "the emptiest memory comes first": (
        ask(A, filled("host-b", 30_000), filled("host-c", 10_000), filled("host-d", 20_000)),
        ["host-c", "host-d", "host-b"],
    ),
    "equal hosts come by name, whatever the cloud's order": (ask(C, B, A), ["host-b", "host-c"]),
    "a difference below one percent is none": (
        ask(A, filled("host-b", 1000), filled("host-c", 900)),
        ["host-b", "host-c"],
    ),
    "fewer migrations on their way come before emptier memory": (
        ask(A, B, filled("host-c", 40_000), migrations=(migration(server(name="x"), target_host="host-b"),)),
        ["host-c", "host-b"],
    ),
    "decided moves are on their way too": (
        ask(A, B, C, moves=(move(server(name="x"), "host-b"),)),
        ["host-c", "host-b"],
    ),
    "soft-affinity goes to its friends, though they are crowded": (
        ask(A, B, filled("host-c", 40_000), with_friends=("soft-affinity", "host-c")),
        ["host-c", "host-b"],
    ),
    "the more friends the better": (
        ask(A, B, C, with_friends=("soft-affinity", "host-b", "host-c", "host-c")),
        ["host-c", "host-b"],
    ),
    "soft-anti-affinity goes where its friends are not": (
        ask(A, B, filled("host-c", 40_000), with_friends=("soft-anti-affinity", "host-b")),
        ["host-c", "host-b"],
    ),
    "it goes to them where there is no other host": (
        ask(A, B, with_friends=("soft-anti-affinity", "host-b")),
        ["host-b"],
    ),
    "the source is never a target (I18)": (ask(A), []),
}


@pytest.mark.parametrize("sentence", RANKING)
def test_R8_the_best_host_is_picked(sentence: str) -> None:
    asked, wanted = RANKING[sentence]
    found = assess(asked, None)
    assert hosts_of(found) == wanted
    assert found.target == (wanted[0] if wanted else None)


def test_R8_the_rank_says_why() -> None:
    assert assess(ask(A, filled("host-b", 28_672)), None).eligible[0].message == (
        "50% of its memory taken after the move, 0 migrations on their way there"
    )


def test_R18_the_rank_says_what_a_soft_group_wished() -> None:
    found = assess(ask(A, B, with_friends=("soft-affinity", "host-b")), None)
    assert found.eligible[0].message.endswith("on their way there, 1 others of its soft-affinity group shop there")


def line(*ways: str, **over: Any) -> tuple[PlannedMove, ...]:
    """Those that wait and go first, each from a host to a host: `x-b`."""
    return tuple(
        move(server(name=f"before-{n}", host=f"host-{way[0]}"), f"host-{way[2]}", **over) for n, way in enumerate(ways)
    )


BOTH_TAKE_B = line("x-b", "y-b", elsewhere=())
OUT_OF_X = tuple(migration(server(name=f"x{n}", host="host-x"), n, target_host=f"host-{n}") for n in range(2))
CHOICES: dict[str, tuple[Question, str]] = {
    "to the best host if those before it leave it room": (ask(A, B, C, earlier=line("x-b", elsewhere=())), "host-b"),
    "to the next host rather than wait behind those that go to the best one": (
        ask(A, B, C, earlier=BOTH_TAKE_B),
        "host-c",
    ),
    "to the next host rather than wait for those that named the best one": (
        ask(A, B, C, earlier=line("x-b", "y-b")),
        "host-c",
    ),
    "to the best host if those before it cannot leave theirs yet": (
        ask(A, B, C, earlier=line("x-b", "x-b", elsewhere=("host-c",)), migrations=OUT_OF_X),
        "host-b",
    ),
    "to the best host if it would wait for any": (ask(A, B, earlier=BOTH_TAKE_B), "host-b"),
    "to the best host if it cannot leave its own yet": (
        ask(A, B, C, earlier=(*BOTH_TAKE_B, *line("a-d", "a-d", elsewhere=()))),
        "host-b",
    ),
    "to no host that a prerequisite is against": (
        ask(A, B, host("host-c", zone="west"), host("host-d"), earlier=BOTH_TAKE_B),
        "host-d",
    ),
    "to the host that its soft group wishes for, even if it waits": (
        ask(A, B, C, with_friends=("soft-affinity", "host-b"), earlier=BOTH_TAKE_B),
        "host-b",
    ),
    "to another host that its strict group allows": (
        ask(A, B, C, host("host-d"), with_friends=("anti-affinity", "host-c"), earlier=BOTH_TAKE_B),
        "host-d",
    ),
}


@pytest.mark.parametrize("sentence", CHOICES)
def test_I24_with_others_before_it_it_goes(sentence: str) -> None:
    asked, target = CHOICES[sentence]
    found = assess(asked, None)
    assert found.target == target
    assert {f.host for f in found.findings if f.host and f.name is Name.CAPACITY} == {target}, "it is what is told of"
    assert found.eligible == assess(replace(asked, earlier=()), None).eligible, "the rank is as it was"


def test_I24_a_target_that_is_named_is_waited_for() -> None:
    assert assess(ask(A, B, C, earlier=BOTH_TAKE_B), "host-b").target == "host-b"


class TestOtherMovesInTheWay:
    """What ends by itself is waited for: it is no refusal (R17, I25)."""

    LIMIT = Policy(bandwidth=1)

    def busy(self, *hosts: str) -> tuple[Migration, ...]:
        return tuple(
            migration(server(name=f"x-{name}", host="host-z"), n, target_host=name) for n, name in enumerate(hosts)
        )

    def test_a_host_that_is_free_is_taken(self) -> None:
        found = assess(ask(A, B, C, migrations=self.busy("host-b"), policy=self.LIMIT), None)
        assert (found.target, found.waits_for) == ("host-c", None)

    def test_when_all_are_busy_the_best_of_them_is_waited_for(self) -> None:
        hosts = (A, filled("host-b", 9000), C, host("host-d", enabled=False))
        found = assess(ask(*hosts, migrations=self.busy("host-b", "host-c"), policy=self.LIMIT), None)
        assert (found.target, found.waits_for) == (None, "host-c")
        assert {f.reason for f in found.against} == {Reason.NO_ELIGIBLE_TARGET}

    def test_a_named_host_is_waited_for(self) -> None:
        found = assess(ask(A, B, C, migrations=self.busy("host-b"), policy=self.LIMIT), "host-b")
        assert (found.target, found.waits_for) == (None, "host-b")
        assert [f.reason for f in found.against] == [Reason.BANDWIDTH_EXCEEDED]

    def test_nothing_is_waited_for_if_something_else_is_against_the_host(self) -> None:
        asked = ask(A, host("host-b", zone="west"), migrations=self.busy("host-b"), policy=self.LIMIT)
        assert assess(asked, "host-b").waits_for is None

    def test_nor_if_something_is_against_the_server(self) -> None:
        asked = ask(A, B, of=server(locked=True), migrations=self.busy("host-b"), policy=self.LIMIT)
        assert assess(asked, "host-b").waits_for is None

    def test_nor_for_a_host_that_was_tried_and_failed(self) -> None:
        asked = ask(A, B, C, migrations=self.busy("host-b"), policy=self.LIMIT)
        assert assess(asked, "host-b", avoid=frozenset({"host-b"})).waits_for is None

    def test_I25_a_group_that_moves_one_by_one_is_waited_for(self) -> None:
        friend = server(name="friend-0", host="host-d")
        asked = ask(A, B, with_friends=("anti-affinity", "host-d"), moves=(move(friend, "host-c"),))
        assert assess(asked, None).waits_for == "host-b"


def test_I24_what_is_on_its_way_is_counted_over_everybody_and_once() -> None:
    x, y, z = (server(name=name) for name in "xyz")
    records = (migration(x, 1, user_id="a stranger"), migration(y, 2, target_host="host-c"))
    found = assess(ask(A, B, migrations=records, moves=(move(x, "host-b"), move(z, "host-b"))), None)
    assert found.eligible[0].message.endswith("2 migrations on their way there")


def test_R19_memory_that_nobody_tells_is_ranked_last_and_not_called_full() -> None:
    silent = host("host-b", inventories=None)
    found = assess(ask(A, silent, C, policy=Policy(tolerate_unknown=frozenset({Name.CAPACITY}))), None)
    assert hosts_of(found) == ["host-c", "host-b"]
    assert "unknown" in found.eligible[1].message and "100%" not in found.eligible[1].message


class TestNamedTarget:
    def test_R8_it_is_judged_alone(self) -> None:
        found = assess(ask(A, filled("host-b", 40_000), C), "host-b")
        assert (found.target, hosts_of(found), found.ineligible, found.against) == ("host-b", ["host-b"], (), ())

    def test_I1_a_hypervisors_uuid_names_its_host(self) -> None:
        assert assess(ask(A, B, C), ident("hypervisor-host-c")).target == "host-c"

    @pytest.mark.parametrize("name", ["host", "HOST-B", "host-b.example.org", ""])
    def test_I1_nothing_but_the_exact_name_does(self, name: str) -> None:
        found = assess(ask(A, B), name)
        assert found.target is None and finding(found, Name.TARGET_HOST).reason is Reason.HOST_NOT_FOUND

    def test_R8_it_is_never_forced_and_the_remedy_names_others(self) -> None:
        full = host("host-b", inventories=room(MEMORY_MB=Inventory(1000, 0)))
        found = assess(ask(A, full, C, filled("host-d", 9000)), "host-b")
        assert found.target is None and not found.eligible
        capacity = finding(found, Name.CAPACITY)
        assert capacity.reason is Reason.INSUFFICIENT_CAPACITY and capacity.host == "host-b"
        assert (capacity.remedy or "").endswith("eligible: host-c, host-d")

    def test_R20_three_alternatives_are_enough(self) -> None:
        down = host("host-b", up=False)
        found = assess(ask(A, down, *(host(f"host-{n}") for n in range(9))), "host-b")
        assert (finding(found, Name.TARGET_HOST).remedy or "").endswith("eligible: host-0, host-1, host-2")

    def test_R20_it_says_so_when_no_other_host_would_do_either(self) -> None:
        found = assess(ask(A, host("host-b", up=False), host("host-c", enabled=False)), "host-b")
        assert "no other host is eligible" in (finding(found, Name.TARGET_HOST).remedy or "")

    def test_the_source_itself_is_refused_without_alternatives(self) -> None:
        found = assess(ask(A, B), "host-a")
        assert found.target is None
        assert finding(found, Name.TARGET_HOST).reason is Reason.SAME_HOST
        assert "eligible" not in (finding(found, Name.TARGET_HOST).remedy or "")

    def test_R20_all_that_stands_against_it_is_said_at_once(self) -> None:
        wrong = host("host-b", zone="west", version=1, enabled=False, inventories=room(VCPU=Inventory(1, 1)))
        found = assess(ask(A, wrong, of=server(locked=True, task_state="rebooting")), "host-b")
        assert [f.name for f in found.against] == [
            Name.SERVER_LOCK,
            Name.SERVER_TASK,
            Name.TARGET_HOST,
            Name.AVAILABILITY_ZONE,
            Name.HYPERVISOR_VERSION,
            Name.CAPACITY,
        ]

    def test_an_unknown_host_is_not_found_and_the_rest_is_not_asked(self) -> None:
        found = assess(ask(A, B), "host-z")
        missing = finding(found, Name.TARGET_HOST)
        assert (missing.reason, missing.host) == (Reason.HOST_NOT_FOUND, "host-z")
        assert "host-z" in missing.message and "openstack compute service list" in (missing.remedy or "")
        for name in (Name.AVAILABILITY_ZONE, Name.HYPERVISOR_VERSION, Name.STORAGE, Name.CAPACITY):
            assert finding(found, name).result is Result.NOT_APPLICABLE

    def test_one_that_failed_before_is_not_asked_again_and_nothing_else_is_against_it(self) -> None:
        found = assess(ask(A, B, C), "host-b", avoid=frozenset({"host-b"}))
        assert (found.target, found.against) == (None, ())


class TestNobodyNamed:
    def test_what_is_against_the_server_blocks_though_hosts_are_eligible(self) -> None:
        found = assess(ask(A, B, of=server(locked=True)), None)
        assert found.target is None and hosts_of(found) == ["host-b"]
        assert [f.reason for f in found.against] == [Reason.LOCKED]

    def test_the_findings_are_those_on_the_picked_host(self) -> None:
        found = assess(ask(A, host("host-b", up=False), C), None)
        assert {f.host for f in found.findings if f.result is Result.PASSED and f.host} == {"host-a", "host-c"}

    def test_R20_the_others_are_counted_by_their_first_reason_most_common_first(self) -> None:
        found = assess(
            ask(A, B, dead_host("host-d"), host("host-f", enabled=False), host("host-e", enabled=False, zone="west")),
            None,
        )
        assert [(g.reason, g.hosts, g.example, g.message) for g in found.ineligible] == [
            (Reason.HOST_DISABLED, 2, "host-e", "host-e is disabled"),
            (Reason.HOST_DOWN, 1, "host-d", "the compute service of host-d is down"),
        ]

    def test_R20_none_eligible_says_what_stands_against_all(self) -> None:
        hosts = [host(f"host-{n}", inventories=room(VCPU=Inventory(1, 0))) for n in range(3)]
        found = assess(ask(A, *hosts, host("host-x", enabled=False)), None)
        assert found.target is None and not found.eligible
        target = finding(found, Name.TARGET_HOST)
        assert target.reason is Reason.NO_ELIGIBLE_TARGET
        for words in ("none of 4 other hosts", "3 InsufficientCapacity (host-0", "1 HostDisabled (host-x"):
            assert words in target.message
        assert finding(found, Name.CAPACITY).message == "1 of 4 other hosts pass"
        assert Name.TARGET_HOST in {f.name for f in found.against}

    def test_R20_what_stands_against_every_host_is_named_with_an_example(self) -> None:
        found = assess(ask(A, host("host-b", zone="west"), host("host-c", zone="west")), None)
        zone = finding(found, Name.AVAILABILITY_ZONE)
        assert (zone.result, zone.reason) == (Result.FAILED, Reason.OUTSIDE_ZONE)
        assert zone.message.startswith("on all 2 other hosts, like host-b is in west") and zone.remedy

    def test_R19_an_unknown_on_all_hosts_stays_unknown(self) -> None:
        found = assess(ask(A, host("host-b", inventories=None), host("host-c", inventories=None)), None)
        assert finding(found, Name.CAPACITY).result is Result.UNKNOWN

    def test_R19_a_tolerated_unknown_on_all_hosts_is_not_called_passed(self) -> None:
        hosts = [host(f"host-{x}", inventories=None, enabled=False) for x in "bc"]
        found = assess(ask(A, *hosts, policy=Policy(tolerate_unknown=frozenset({Name.CAPACITY}))), None)
        assert finding(found, Name.CAPACITY).result is Result.UNKNOWN
        assert finding(found, Name.TARGET_HOST).result is Result.FAILED

    def test_R19_a_tolerated_unknown_is_still_said(self) -> None:
        asked = ask(A, host("host-b", inventories=None), policy=Policy(tolerate_unknown=frozenset({Name.CAPACITY})))
        found = assess(asked, None)
        assert found.target == "host-b" and finding(found, Name.CAPACITY).result is Result.UNKNOWN

    def test_a_cloud_of_one_host(self) -> None:
        found = assess(ask(A), None)
        assert found.target is None
        assert finding(found, Name.TARGET_HOST).message == "the cloud has no other host"
        assert finding(found, Name.CAPACITY).result is Result.UNKNOWN

    def test_hosts_that_failed_before_are_out(self) -> None:
        found = assess(ask(A, B, C), None, avoid=frozenset({"host-b"}))
        assert found.target == "host-c"
        assert [(g.reason, g.example) for g in found.ineligible] == [(Reason.CLOUD_REFUSED, "host-b")]

    def test_when_only_hosts_that_failed_before_are_left_there_is_none(self) -> None:
        found = assess(ask(A, B), None, avoid=frozenset({"host-b"}))
        assert found.target is None
        assert "tried and failed before" in finding(found, Name.TARGET_HOST).message


@pytest.mark.parametrize("kind", ResolvedType)
@pytest.mark.parametrize("target", [None, "host-b", "host-a", "host-z"])
def test_every_prerequisite_is_answered_exactly_once_in_one_order(kind: ResolvedType, target: str | None) -> None:
    found = assess(question(WEB, kind, target=None), target)
    assert [f.name for f in found.findings] == [prerequisite.name for prerequisite, _ in TABLE]


def test_the_line_of_a_condition_names_each_prerequisite_that_is_not_met() -> None:
    found = assess(ask(A, host("host-b", up=False), of=server(locked=True), now=NOW), "host-b")
    assert blocked(found.findings) == (
        "ServerLock: the server is locked; TargetHost: the compute service of host-b is down"
    )
