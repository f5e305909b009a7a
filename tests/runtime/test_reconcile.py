"""The order of a pass, with a small plan of its own: every crash and every conflict at every step is survived."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from testbed.build import server
from tests.runtime.fakes import KEY, NOW, SERVER, CrashError, SmallPlan
from tests.runtime.workbench import Bench
from vmferry.cloud.actions import ConfirmResize
from vmferry.cloud.model import ResolvedType, Snapshot
from vmferry.policy import Policy
from vmferry.reconcilers.decision import Decision, Event
from vmferry.reconcilers.reads import AnyRead, ReadServer
from vmferry.reconcilers.world import World
from vmferry.resources.vmmigration import FINALIZER, ServerView, VMMigration, VMMigrationStatus
from vmferry.resources.words import Phase
from vmferry.runtime import logs, reconcile
from vmferry.runtime.key import Key
from vmferry.runtime.kube_api import InvalidError, KubeError

#: the side effects of a move that nothing disturbs
UNDISTURBED = [
    "finalizers 1",
    "status Requested",
    "act LiveMigrate",
    "status Running",
    "event Started",
    "event Asked",
    "status Completed",
    "event Done",
    "finalizers 0",
]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, "OUTCOME_PAUSE", 0.0)


async def test_the_order_of_a_pass() -> None:
    bench = Bench()
    bench.kube.add()
    await bench.finish()
    assert bench.record.steps == UNDISTURBED
    assert bench.status()["attempts"][0]["requestID"] == "req-1"


@pytest.mark.parametrize("at", range(len(UNDISTURBED)), ids=[f"before {step}" for step in UNDISTURBED])
async def test_a_crash_between_any_two_steps_never_moves_a_server_twice(at: int) -> None:
    """I3: the intent is written before the action, and the records tell the next process what became of it."""
    bench = Bench()
    bench.kube.add()
    bench.see()
    bench.record.crash_at = at
    with pytest.raises(CrashError):
        await bench.finish()
    done = list(bench.record.steps)
    assert done == UNDISTURBED[:at]
    if "act LiveMigrate" in done:
        assert "status Requested" in done, "acted without a written intent"
        assert bench.metadata()["finalizers"] or at == len(UNDISTURBED), "in flight without the finalizer"

    bench.record.crash_at = None
    bench.restart()
    await bench.finish()
    assert bench.record.steps.count("act LiveMigrate") == 1
    written = [step for step in bench.record.steps if step.startswith(("status", "act"))]
    assert written.index("status Requested") < written.index("act LiveMigrate")


@pytest.mark.parametrize("step", sorted(set(UNDISTURBED)))
async def test_a_change_by_somebody_else_at_any_step_loses_nothing(step: str) -> None:
    bench = Bench()
    bench.kube.add()
    disturbed: list[str] = []

    def disturb(name: str) -> None:
        if name == step and not disturbed:
            disturbed.append(name)
            bench.kube.change(labels={"by": "somebody"})

    bench.record.hook = disturb
    await bench.finish()
    assert disturbed
    assert len(bench.cloud.acted) == 1
    assert bench.status()["attempts"][-1]["requestID"] == "req-1", "the outcome got lost"
    assert bench.metadata()["labels"] == {"by": "somebody"}


async def test_a_conflict_at_the_intent_does_not_act_and_looks_again() -> None:
    bench = Bench()
    bench.kube.add(finalizers=[FINALIZER])
    bench.see()
    bench.kube.change(labels={"by": "somebody"})
    await bench.look()
    assert bench.cloud.acted == []
    assert bench.queue.poll() == KEY
    assert bench.store.moves_except(Key("VMMigration", "team", "x"), bench.cloud.snapshot) == ()
    obj = bench.store.get(KEY)
    assert obj is not None
    assert obj.metadata.labels == {"by": "somebody"}, "the fresh object was read"  # type: ignore[union-attr]


@pytest.mark.parametrize("error", [InvalidError("the schema says no"), KubeError("no answer")], ids=["422", "500"])
async def test_a_refused_status_means_no_action_and_a_failed_look(error: KubeError) -> None:
    bench = Bench()
    bench.kube.add(finalizers=[FINALIZER])
    bench.see()

    def refuse(name: str) -> None:
        if name.startswith("status"):
            raise error

    bench.record.hook = refuse
    with pytest.raises(KubeError):
        await bench.look()
    assert bench.cloud.acted == []
    assert bench.store.moves_except(Key("VMMigration", "team", "x"), bench.cloud.snapshot) == ()


async def test_an_outcome_that_cannot_be_written_fails_the_look_and_is_found_later() -> None:
    bench = Bench()
    bench.kube.add()
    bench.see()
    broken = True

    def refuse(name: str) -> None:
        if broken and name == "status Running":
            raise KubeError("no answer")

    bench.record.hook = refuse
    with pytest.raises(KubeError, match="could not be written"):
        await bench.look()
    broken = False
    await bench.finish()
    assert len(bench.cloud.acted) == 1


async def test_a_look_that_changes_nothing_writes_nothing() -> None:
    bench = Bench()
    bench.kube.add()
    await bench.finish()
    before = list(bench.record.steps)
    for _ in range(3):
        await bench.look()
    assert bench.record.steps == before


async def test_two_looks_never_plan_for_the_same_room() -> None:
    """From the last plan to the written status nothing is awaited that could let another plan in between."""
    seen: dict[str, int] = {}

    def plan(obj: VMMigration, world: World, now: datetime, policy: Policy) -> Decision[VMMigrationStatus]:
        if world.answer(ReadServer) is None:
            return Decision(obj.status, needs=ReadServer(SERVER))
        seen[obj.metadata.name] = len(world.moves)
        if world.moves:
            return Decision(obj.status, requeue_after=timedelta(seconds=1))
        return SmallPlan(bench.cloud)(obj, world, now, policy)

    bench = Bench(plan)
    for name in ("a", "b", "c"):
        bench.kube.add(Key("VMMigration", "team", name))
    bench.see()
    await asyncio.gather(*(bench.look(Key("VMMigration", "team", name)) for name in ("a", "b", "c")))
    assert sorted(seen.values()) == [0, 1, 1]
    assert len(bench.cloud.acted) == 1


async def test_I32_nothing_is_looked_at_while_another_operator_leads() -> None:
    bench = Bench()
    bench.kube.add()
    bench.see()
    bench.term = None
    await bench.look()
    assert (bench.record.steps, bench.cloud.reads, bench.queue.scheduled) == ([], 0, 0)
    bench.term = 1
    await bench.finish()
    assert bench.record.steps == UNDISTURBED


#: right before this, and what was done until then
LOSSES = {**{step: at for at, step in enumerate(UNDISTURBED)}, "thread": 2}


@pytest.mark.parametrize("term", [None, 2], ids=["another one leads", "it leads again, but another one may have led"])
@pytest.mark.parametrize("step", [step for step in LOSSES if step not in ("act LiveMigrate", "status Completed")])
async def test_I32_a_look_does_nothing_more_once_its_term_is_over(step: str, term: int | None) -> None:
    """`thread`: between the written intent and the request, which a frozen process may be woken in."""
    bench = Bench()
    bench.kube.add()
    lost: list[str] = []

    def lose(name: str) -> None:
        # what is under way itself has its resourceVersion to save it: what comes after must not be begun
        if name == step and not lost:
            lost.append(name)
            bench.term = term

    bench.record.hook = lose
    for _ in range(4):
        bench.see()
        bench.term = 1 if not lost else bench.term
        before = len(bench.record.steps)
        await bench.look()
        if lost:
            break
    assert lost
    after = bench.record.steps[before:]
    if step == "thread":
        assert "act LiveMigrate" not in after, "the request was sent after all"
        assert after[-1] == "status Requested"
    else:
        assert after[-1] == step, "it went on"
    assert not bench.store._moves._held, "the move is held though nobody decides on it any more"
    bench.record.hook = lambda _: None
    bench.term = 3
    bench.restart()
    await bench.finish()
    assert bench.record.steps.count("act LiveMigrate") == 1


SWITCHES: dict[str, dict[str, str] | KubeError] = {
    "it is thrown": {"stop": "true"},
    "it cannot be read": KubeError("no answer"),
    "it is thrown for the zone of hosts that nobody knows": {"zones": "az1"},
}


@pytest.mark.parametrize("thrown", SWITCHES.values(), ids=SWITCHES.keys())
async def test_I31_a_switch_thrown_after_the_intent_stops_the_request(thrown: dict[str, str] | KubeError) -> None:
    """The intent is resolved at once, without a look-up: nobody has to wait for what was not sent."""
    bench = Bench()
    bench.kube.add()
    bench.see()
    bench.record.hook = lambda step: setattr(bench.kube, "switch", thrown) if step == "thread" else None
    await bench.look()
    assert bench.cloud.acted == []
    assert bench.status()["attempts"][-1]["state"] == "NotSent"
    assert bench.record.steps[-3:] == ["status NotSent", "event Started", "event Asked"]


async def test_I31_what_finishes_a_move_is_asked_for_though_the_switch_is_thrown() -> None:
    def plan(obj: VMMigration, world: World, now: datetime, policy: Policy) -> Decision[VMMigrationStatus]:
        decision = SmallPlan(bench.cloud)(obj, world, now, policy)
        return replace(decision, action=decision.action and ConfirmResize(SERVER))

    bench = Bench(plan)
    bench.kube.add()
    bench.kube.switch = {"stop": "true"}
    bench.see()
    await bench.look()
    assert bench.cloud.acted == [ConfirmResize(SERVER)]


async def test_the_finalizer_never_goes_onto_an_object_that_is_being_deleted() -> None:
    bench = Bench()
    bench.kube.add(deletionTimestamp="2026-01-01T11:00:00Z", finalizers=["somebody/else"])
    bench.see()
    await bench.look()
    assert not any(step.startswith("finalizers") for step in bench.record.steps)


async def test_the_finalizer_goes_and_those_of_others_stay() -> None:
    bench = Bench(lambda obj, *_: Decision(obj.status))
    bench.kube.add(finalizers=["somebody/else", FINALIZER])
    bench.see()
    await bench.look()
    assert bench.metadata()["finalizers"] == ["somebody/else"]


async def test_an_object_that_outlived_its_time_is_deleted() -> None:
    bench = Bench(lambda obj, *_: Decision(obj.status, delete=True, requeue_after=timedelta(seconds=1)))
    bench.kube.add()
    bench.see()
    await bench.look()
    assert bench.kube.objects == {}


async def test_an_object_that_is_gone_is_forgotten() -> None:
    bench = Bench()
    bench.kube.add()
    bench.see()
    del bench.kube.objects[KEY]
    await bench.look()
    assert bench.store.get(KEY) is None
    assert bench.cloud.acted == []


async def test_an_unreadable_object_is_told_once_for_each_version(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    body = bench.kube.add()
    bench.kube.objects[KEY]["spec"] = {"server": {"id": "s3cret"}}
    bench.see()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            await bench.look()
    assert [event["reason"] for event in bench.kube.events] == ["Unreadable"]
    assert len(caplog.records) == 1
    assert "s3cret" not in caplog.text + str(bench.kube.events)
    bench.kube.objects[KEY]["spec"] = {"server": {}, "retries": -1}
    bench.kube.change()
    bench.see()
    await bench.look()
    assert len(bench.kube.events) == 2
    assert body["metadata"]["uid"] == bench.kube.events[0]["regarding"]["uid"]


ASKING: dict[str, tuple[Callable[[int], AnyRead], int]] = {
    "the same question again": (lambda _: ReadServer(SERVER), 1),
    "ever new questions": (lambda number: ReadServer(SERVER, events_of=f"req-{number}"), reconcile.MAX_READS),
}


@pytest.mark.parametrize(("question", "reads"), ASKING.values(), ids=ASKING.keys())
async def test_a_plan_that_only_asks_is_put_off(question: Callable[[int], AnyRead], reads: int) -> None:
    bench = Bench(lambda obj, *_: Decision(obj.status, needs=question(bench.cloud.reads)))
    bench.kube.add()
    bench.see()
    await bench.look()
    assert bench.cloud.reads == reads
    assert bench.record.steps == []
    assert bench.queue.scheduled == 1


async def test_a_change_of_the_server_or_of_hosts_wakes_whom_it_is_about() -> None:
    bench = Bench(lambda obj, *_: Decision(obj.status, watches=SERVER, requeue_after=timedelta(hours=1)))
    bench.kube.add()
    bench.see()
    await bench.look()
    bench.triggers.changed({"another"}, False)
    assert bench.queue.poll() is None
    bench.triggers.changed({SERVER}, False)
    assert bench.queue.poll() == KEY
    bench.queue.done(KEY)
    bench.triggers.changed(set(), True)
    assert bench.queue.poll() == KEY
    bench.queue.done(KEY)
    bench.triggers.changed(set(), True)
    assert bench.queue.poll() is None, "hosts wake those that wait only now and then"
    assert bench.queue.scheduled == 1


async def test_an_event_names_the_object_and_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(
        lambda obj, *_: Decision(
            VMMigrationStatus(phase=Phase.BLOCKED), events=(Event("Blocked", "ä" * 3000),), watches=SERVER
        )
    )
    bench.kube.add()
    bench.see()
    await bench.look()
    (event,) = bench.kube.events
    assert event["regarding"]["name"] == "web"
    assert len(event["note"].encode()) <= 1024
    await bench.look()
    assert bench.record.steps.count("event Blocked") == 1, "told again though nothing has changed"


async def test_what_is_told_in_an_event_is_in_the_log_with_the_uid_the_server_and_the_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench()
    bench.kube.add()
    told = logs.Fields()
    caplog.handler.addFilter(told)
    with caplog.at_level(logging.INFO):
        await bench.finish()
    caplog.handler.removeFilter(told)
    lines = {record.getMessage().partition(":")[0]: vars(record) for record in caplog.records}
    for event in ("Started", "Asked", "Done"):
        assert lines[event]["uid"] == bench.metadata()["uid"] and lines[event]["server"] == SERVER
        assert lines[event]["requestId"] == "req-1"


class Waiting:
    """Waits for a host."""

    target, phase = "host-b", Phase.QUEUED

    def __call__(self, obj: VMMigration, world: World, now: datetime, policy: Policy) -> Decision[VMMigrationStatus]:
        status = obj.status.model_copy(deep=True)
        status.server = ServerView(id=SERVER, name="web", state="ACTIVE")
        status.phase, status.type = self.phase, ResolvedType.LIVE
        status.source_host, status.target_host = "host-a", self.target
        return Decision(status, requeue_after=timedelta(seconds=10))


async def test_what_is_no_news_comes_with_the_next_news_or_after_a_while_and_counts_at_once() -> None:
    plan, now, later = Waiting(), NOW, Key(KEY.kind, "team", "later")
    bench = Bench(plan)
    bench.reconciler.now = lambda: now
    bench.cloud.snapshot = Snapshot(servers={SERVER: server(id=SERVER)})
    bench.kube.add()
    bench.kube.add(later, creationTimestamp="2026-01-02T00:00:00Z")
    bench.see()

    async def look(target: str, after: timedelta) -> str:
        nonlocal now
        now += after
        plan.target = target
        await bench.look()
        counted = [move.target_host for move in bench.store.earlier_than(later, bench.cloud.snapshot)]
        assert counted == ([target] if plan.phase is Phase.QUEUED else [])
        return str(bench.status()["targetHost"])

    assert await look("host-b", timedelta()) == "host-b", "the first is news"
    assert await look("host-c", reconcile.QUIET / 2) == "host-b"
    assert await look("host-d", reconcile.QUIET / 2) == "host-d", "not for ever"
    assert await look("host-e", reconcile.QUIET / 2) == "host-d"
    plan.phase = Phase.BLOCKED
    assert await look("host-f", timedelta()) == "host-f", "it comes with what is news"
    assert bench.record.steps == ["status Queued", "status Queued", "status Blocked"]
