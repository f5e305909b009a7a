"""Preflight says what the operator says, for one server or for a fleet."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.build import NOW, host, migration, room, server, snapshot
from tests.examples import examples
from tests.planning.test_random_fleets import NAMES, questions
from vmferry.cli.assess import assess_server, assess_servers, not_found
from vmferry.cli.verdict import Answer, ExitStatus, Tally, Verdict
from vmferry.cloud.model import Detail, Host, Inventory, ResolvedType, Server
from vmferry.planning import host_assessments
from vmferry.planning.request import Request
from vmferry.policy import Policy
from vmferry.prerequisites.chains import CHAINS
from vmferry.prerequisites.check import About, Finding, Prerequisite, Question
from vmferry.prerequisites.enums import NEVER_TOLERATED, Name
from vmferry.reconcilers.migration.plan import plan
from vmferry.reconcilers.reads import ReadServer
from vmferry.reconcilers.world import World
from vmferry.resources.base import Metadata
from vmferry.resources.vmmigration import ServerRef, TargetRef, VMMigration, VMMigrationSpec
from vmferry.resources.words import MigrationType

#: what these tests are not about
TOLERANT = Policy(tolerate_unknown=frozenset({Name.OPERATING_SYSTEM, Name.CPU_MODEL}))

requests = st.builds(
    Request,
    type=st.sampled_from(MigrationType),
    target=st.none() | st.none() | st.sampled_from([*NAMES, "nobody"]),
    stop_if_running=st.booleans(),
    os_upgrade=st.booleans(),
)


@examples(60)
@given(questions(), requests)
def test_a_fleet_is_judged_as_each_of_its_servers_alone(fleet: Question, request: Request) -> None:
    view, policy = fleet.snapshot, fleet.policy
    together = list(assess_servers(view.servers.values(), request, view, policy, NOW))
    alone = [assess_server(view.servers[verdict.asked], request, view, policy, NOW) for verdict in together]
    assert together == alone
    assert {verdict.asked for verdict in together} == set(view.servers)


@examples(60)
@given(questions(), requests)
def test_preflight_and_operator_agree(fleet: Question, request: Request) -> None:
    view, policy = fleet.snapshot, fleet.policy
    for asked in view.servers.values():
        verdict = assess_server(asked, request, view, policy, NOW)
        spec = VMMigrationSpec(
            server=ServerRef(id=asked.id),
            type=request.type,
            target=TargetRef(host=request.target) if request.target else None,
            stop_if_running=request.stop_if_running,
            os_upgrade=request.os_upgrade,
            # what only waits is queued by a real one, and told by one that only looks as if it were blocked
            preflight_only=verdict.answer is not Answer.WAITS,
        )
        detail = Detail(NOW, asked, view.migrations_by_server.get(asked.id, ()))
        decision = plan(
            VMMigration(metadata=Metadata(name="move"), spec=spec),
            World(view).with_answer(ReadServer("s"), detail),
            NOW,
            policy,
        )
        said, operator = verdict.status, decision.status
        for field in ("type", "server", "storage", "source_host", "prerequisites"):
            assert getattr(said, field) == getattr(operator, field), field
        assert said.eligible_targets == operator.eligible_targets
        assert said.ineligible_targets == operator.ineligible_targets
        met, theirs = said.condition("PrerequisitesMet"), operator.condition("PrerequisitesMet")
        assert met is not None and theirs is not None
        if verdict.reason != "AlreadyOnTarget":
            assert (met.status, met.reason, met.message) == (theirs.status, theirs.reason, theirs.message)
            assert said.target_host == operator.target_host


@examples(60)
@given(questions(), requests)
def test_unknown_means_that_the_server_could_go_if_all_that_is_not_told_were_well(
    fleet: Question, request: Request
) -> None:
    generous = replace(fleet.policy, tolerate_unknown=frozenset(Name) - NEVER_TOLERATED.keys())
    for asked in fleet.snapshot.servers.values():
        strict = assess_server(asked, request, fleet.snapshot, fleet.policy, NOW)
        if strict.answer is Answer.OK:
            continue
        hopeful = assess_server(asked, request, fleet.snapshot, generous, NOW)
        # what stays unknown whatever is tolerated: whether a host is alive
        assert (strict.answer is Answer.UNKNOWN) == (hopeful.answer in (Answer.OK, Answer.UNKNOWN))


NO_ROOM = room(MEMORY_MB=Inventory(capacity=1024, used=0))


@pytest.mark.parametrize(
    ("asked", "hosts", "request_", "answer", "reasons"),
    [
        pytest.param(
            server(), [host("host-b")], Request(attested=None), Answer.OK, ("AllPassed",), id="another host has room"
        ),
        pytest.param(
            server(),
            [host("host-b")],
            Request(target="host-a", attested=None),
            Answer.OK,
            ("AlreadyOnTarget",),
            id="it is there",
        ),
        pytest.param(
            server(locked=True),
            [host("host-b")],
            Request(attested=None),
            Answer.BLOCKED,
            ("Locked",),
            id="the server is locked",
        ),
        pytest.param(
            server(),
            [host("host-b", inventories=None)],
            Request(attested=None),
            Answer.UNKNOWN,
            ("NoEligibleTarget", "FactUnknown"),
            id="nobody tells how much room the only other host has",
        ),
        pytest.param(
            server(locked=True),
            [host("host-b", inventories=None)],
            Request(attested=None),
            Answer.BLOCKED,
            ("Locked", "NoEligibleTarget", "FactUnknown"),
            id="locked, whatever room there may be",
        ),
        pytest.param(
            server(),
            [host("host-b", inventories=None, enabled=False)],
            Request(attested=None),
            Answer.BLOCKED,
            ("NoEligibleTarget", "FactUnknown"),
            id="disabled, whatever room it may have",
        ),
        pytest.param(
            server(),
            [host("host-b", inventories=NO_ROOM), host("host-c", inventories=None)],
            Request(attested=None),
            Answer.UNKNOWN,
            ("NoEligibleTarget", "InsufficientCapacity"),
            id="one host is full, of the other one nobody knows",
        ),
        pytest.param(
            server(),
            [],
            Request(target="host-x", attested=None),
            Answer.BLOCKED,
            ("HostNotFound",),
            id="no such target",
        ),
    ],
)
def test_answers(asked: Server, hosts: list[Host], request_: Request, answer: Answer, reasons: tuple[str, ...]) -> None:
    verdict = assess_server(asked, request_, snapshot([asked], [host("host-a"), *hosts]), TOLERANT, NOW)
    assert (verdict.answer, verdict.reasons) == (answer, reasons), verdict.message


@pytest.mark.parametrize(
    ("answers", "status"),
    [
        pytest.param([], ExitStatus.ALL_OK, id="no server at all"),
        pytest.param([Answer.OK, Answer.OK], ExitStatus.ALL_OK, id="all OK"),
        pytest.param([Answer.OK, Answer.WAITS], ExitStatus.ALL_OK, id="one waits for other moves"),
        pytest.param([Answer.WAITS, Answer.BLOCKED], ExitStatus.BLOCKED, id="one waits, one is blocked"),
        pytest.param([Answer.OK, Answer.BLOCKED], ExitStatus.BLOCKED, id="one is blocked"),
        pytest.param([Answer.OK, Answer.UNKNOWN], ExitStatus.CANNOT_TELL, id="of one nobody can tell"),
        pytest.param([Answer.BLOCKED, Answer.UNKNOWN], ExitStatus.CANNOT_TELL, id="blocked and unknown: unknown wins"),
    ],
)
def test_exit_status(answers: list[Answer], status: ExitStatus) -> None:
    tally = Tally()
    for answer in answers:
        tally.count(answer)
    assert tally.exit_status is status


def test_a_server_that_is_not_there_is_unknown() -> None:
    verdict: Verdict = not_found("web\x1b-1", "no server is named web\x1b-1")
    assert (verdict.answer, verdict.name, verdict.id) == (Answer.UNKNOWN, "web -1", "")


def test_what_only_waits_for_other_moves_is_not_blocked() -> None:
    busy = migration(server(name="other", host="host-z"), target_host="host-b")
    view = snapshot([server()], [host("host-a"), host("host-b")], [busy])
    limited = replace(TOLERANT, bandwidth=1)
    verdict = assess_server(server(), Request(attested=None), view, limited, NOW)
    assert (verdict.answer, verdict.status.target_host) == (Answer.WAITS, "host-b")
    assert "1 of 1 are taken by other moves" in verdict.message
    locked = assess_server(server(locked=True), Request(attested=None), view, limited, NOW)
    assert (locked.answer, locked.status.target_host) == (Answer.BLOCKED, None)


def test_a_fleet_is_judged_without_asking_every_host_for_every_server(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0

    def counting(prerequisite: Prerequisite) -> Prerequisite:
        def check(question: Question) -> Finding:
            nonlocal asked
            asked += 1
            return prerequisite.check(question)

        return replace(prerequisite, check=check)

    chains = {kind: tuple(counting(p) for p in chain) for kind, chain in CHAINS.items()}
    monkeypatch.setattr(host_assessments, "CHAINS", chains)
    view = snapshot([server(name=f"web-{n}") for n in range(100)], [host(f"host-{x}") for x in "abc"])
    assert len(list(assess_servers(view.servers.values(), Request(attested=None), view, TOLERANT, NOW))) == 100
    assert asked == 2 * sum(p.about is About.TARGET for p in CHAINS[ResolvedType.LIVE])
