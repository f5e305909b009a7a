"""ServerGroup (R18, I25): the rules of Nova's server groups hold before, during and after the move."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from testbed.build import dead_host, host, ident, migration, move, question, server, snapshot
from tests.prerequisites.expect import Case, fails, passes, table
from vmferry.cloud.model import Host, Migration, ResolvedType, Server, ServerGroup
from vmferry.prerequisites import server_group
from vmferry.prerequisites.check import Question
from vmferry.prerequisites.enums import Name, Reason, Result

LIVE, COLD, EVACUATE = ResolvedType
WEB = server()
HOSTS = [host(f"host-{x}") for x in "abc"]


def member(name: str, on: str | None) -> Server:
    return server(name=name, host=on)


def ask(
    policy: str,
    *others: Server,
    kind: ResolvedType = LIVE,
    records: tuple[Migration, ...] = (),
    hosts: list[Host] | None = None,
    most: int = 1,
    **over: Any,
) -> Question:
    """May web-1, which is on host-a in one group with `others`, go to host-b?"""
    group = ServerGroup("g-1", "shop", policy, frozenset({WEB.id, *(one.id for one in others)}), most)
    bystander = server(name="bystander", host="host-b")
    view = snapshot([WEB, bystander, *others], hosts or HOSTS, records, server_groups=[group])
    return question(WEB, kind, view, **over)


DB = member("db", "host-b")
FAR = member("far", "host-c")
NEAR = member("near", "host-a")
LEFT_COLD = migration(FAR, type="migration", status="finished", source_host="host-b", target_host="host-c")
FAR_RESIZED = replace(FAR, vm_state="resized", status="VERIFY_RESIZE")

CASES: dict[str, Case] = {
    "a server in no group goes where it likes": passes(question(), "no server group"),
    # anti-affinity
    "apart: a host without members": passes(ask("anti-affinity", FAR), "holds on host-b"),
    "apart: a host with one": fails(
        ask("anti-affinity", DB),
        Reason.AFFINITY_CONFLICT,
        ("host-b has 1 other members", "anti-affinity group shop (db)", "1 may be on one host"),
        ("without members of shop",),
        "host-b",
    ),
    "apart: evacuation asks the same": fails(
        ask("anti-affinity", DB, kind=EVACUATE), Reason.AFFINITY_CONFLICT, ("db",), ("choose",), "host-b"
    ),
    "apart: max_server_per_host leaves room for one more": passes(ask("anti-affinity", DB, most=2)),
    "apart: but not for two more": fails(
        ask("anti-affinity", DB, member("db-2", "host-b"), most=2),
        Reason.AFFINITY_CONFLICT,
        ("has 2 other members", "(db, db-2)", "2 may be"),
        (),
        "host-b",
    ),
    "apart: a rule that is broken where the server is forbids no move that mends it": passes(
        ask("anti-affinity", NEAR)
    ),
    "apart: a member that came cold and waits for its confirmation counts where it is": fails(
        ask("anti-affinity", DB, records=(migration(DB, type="migration", status="finished", source_host="host-c"),)),
        Reason.AFFINITY_CONFLICT,
        ("has 1 other members",),
        (),
        "host-b",
    ),
    "apart: a member that left cold and may still be reverted counts where it was, as in Nova": fails(
        ask(
            "anti-affinity",
            FAR_RESIZED,
            records=(
                migration(FAR_RESIZED, type="migration", status="finished", source_host="host-b", target_host="host-c"),
            ),
        ),
        Reason.AFFINITY_CONFLICT,
        ("far",),
        (),
        "host-b",
    ),
    "apart: a record that nothing will come of does not": passes(
        ask(
            "anti-affinity",
            FAR,
            records=(migration(FAR, type="migration", status="finished", source_host="host-b", target_host="host-c"),),
        )
    ),
    "apart: once it is confirmed it does not": passes(
        ask(
            "anti-affinity",
            FAR,
            records=(migration(FAR, type="migration", status="confirmed", source_host="host-b", target_host="host-c"),),
        )
    ),
    "apart: a shelved member is nowhere": passes(ask("anti-affinity", member("shelved", None))),
    # affinity
    "together: a host with another member": passes(ask("affinity", DB), "holds other members"),
    "together: away from the others": fails(
        ask("affinity", NEAR),
        Reason.AFFINITY_CONFLICT,
        ("host-b holds no other member of the affinity group shop",),
        ("openstack server group delete g-1",),
        "host-b",
    ),
    "together: to an empty host, where the others are elsewhere": fails(
        ask("affinity", FAR), Reason.AFFINITY_CONFLICT, ("no other member",), ("choose host-c",), "host-b"
    ),
    "together: alone on its host, because Nova counts that one only (R21)": fails(
        ask("affinity"), Reason.AFFINITY_CONFLICT, ("Nova moves its members to no other",), ("group delete",), "host-b"
    ),
    "together: evacuation asks the same": fails(
        ask("affinity", NEAR, kind=EVACUATE), Reason.AFFINITY_CONFLICT, ("no other member",), (), "host-b"
    ),
    "together: a group that is torn already may be joined": passes(ask("affinity", DB, FAR)),
    "together: but is not torn further": fails(
        ask("affinity", NEAR, member("near-2", "host-a"), DB),
        Reason.AFFINITY_CONFLICT,
        ("fewer of the affinity group shop than host-a",),
        ("host-b to host-a",),
        "host-b",
    ),
    # the soft ones
    "a soft rule forbids nothing": passes(ask("soft-anti-affinity", DB), "soft-anti-affinity", "counts in the rank"),
    "nor does the other one": passes(ask("soft-affinity", NEAR), "soft-affinity", "counts in the rank"),
    "soft groups may be in flight together": passes(ask("soft-affinity", NEAR, records=(migration(NEAR),))),
    "a policy that nobody knows forbids nothing": passes(ask("lucky", DB), "lucky"),
    # in flight together (I25)
    "another member is on its way elsewhere, by somebody's hand": fails(
        ask("anti-affinity", FAR, records=(migration(FAR, target_host="host-d"),)),
        Reason.AFFINITY_CONFLICT,
        ("far of the same anti-affinity group shop is on its way", "one after another"),
        ("it continues when",),
        "host-b",
    ),
    "another member's move was decided just now": fails(
        ask("affinity", DB, moves=(move(DB, "host-c"),)),
        Reason.AFFINITY_CONFLICT,
        ("db of the same affinity group",),
        ("wait",),
    ),
    "a stranger's migration does not matter": passes(
        ask("anti-affinity", FAR, records=(migration(server(name="bystander")),), moves=(move(server(name="x"), "h"),))
    ),
    "its own record does not": passes(ask("anti-affinity", FAR, records=(migration(WEB),))),
    "what a dead host was doing has ended with it": passes(
        ask(
            "anti-affinity",
            FAR,
            records=(migration(FAR, target_host="host-d"),),
            hosts=[*HOSTS[:2], dead_host("host-c")],
        )
    ),
    "but its evacuation is on its way": fails(
        ask(
            "anti-affinity",
            FAR,
            records=(migration(FAR, type="evacuation", target_host="host-d"),),
            hosts=[*HOSTS[:2], dead_host("host-c")],
        ),
        Reason.AFFINITY_CONFLICT,
        ("on its way",),
        ("wait",),
    ),
}


test_it_says = table(server_group.check, Name.SERVER_GROUP, CASES)


def test_I25_only_what_ends_by_itself_is_waited_for() -> None:
    waiting = {s for s, case in CASES.items() if server_group.check(case.question).waits}
    assert waiting == {
        s for s, case in CASES.items() if case.result is Result.FAILED and "on its way" in str(case.says)
    } | {"another member's move was decided just now"}


def test_a_member_that_the_view_does_not_have_is_named_by_its_id() -> None:
    asked = ask("anti-affinity", moves=(move(server(name="unseen"), "host-c"),))
    group = ServerGroup("g-1", "shop", "anti-affinity", frozenset({WEB.id, ident("unseen")}))
    finding = server_group.check(question(WEB, view=snapshot([WEB], HOSTS, server_groups=[group]), moves=asked.moves))
    assert finding.message.startswith(ident("unseen"))
