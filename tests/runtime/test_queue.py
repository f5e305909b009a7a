"""The work queue."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.examples import examples
from vmferry.runtime.queue import (
    HOLD,
    IN_A_ROW,
    LONGEST_RECONCILE,
    LONGEST_REST,
    REST,
    Lane,
    QueueClosedError,
    WorkQueue,
)

#: keys before a patient one has its turn
MOST = IN_A_ROW[Lane.PATIENT]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def make(**options: Any) -> tuple[WorkQueue[str], Clock]:
    clock = Clock()
    return WorkQueue(clock=clock, jitter=lambda: 1.0, **options), clock


def test_a_key_waits_only_once() -> None:
    queue, _ = make()
    queue.add("a")
    queue.add("a")
    assert [queue.poll(), queue.poll()] == ["a", None]


def test_a_key_added_while_processed_comes_once_more_after() -> None:
    queue, _ = make()
    queue.add("a")
    assert queue.poll() == "a"
    queue.add("a")
    queue.add("a")
    assert queue.poll() is None
    queue.done("a")
    assert queue.poll() == "a"
    queue.done("a")
    assert queue.poll() is None


def test_the_earliest_wish_wins() -> None:
    queue, clock = make()
    queue.add_after("a", 10)
    queue.add_after("a", 5)
    queue.add_after("a", 20)
    clock.now = 4.9
    assert queue.poll() is None
    clock.now = 5
    assert queue.poll() == "a"
    queue.done("a")
    clock.now = 100
    assert queue.poll() is None


def test_a_look_voids_older_wishes() -> None:
    queue, clock = make()
    queue.add_after("a", 5)
    queue.add("a")
    assert queue.poll() == "a"
    queue.add_after("a", 30)
    queue.done("a")
    clock.now = 29
    assert queue.poll() is None
    clock.now = 30
    assert queue.poll() == "a"


def test_failures_double_the_pause_up_to_the_cap_and_success_forgets_them() -> None:
    queue, clock = make(backoff_base=1, backoff_cap=5)
    pauses = []
    queue.add("a")
    assert queue.poll() == "a"
    for _ in range(5):
        queue.done("a", failed=True)
        due = queue._timers[Lane.ROUTINE].next()
        assert due is not None
        pauses.append(due - clock.now)
        clock.now = due
        assert queue.poll() == "a"
    assert pauses == [1, 2, 4, 5, 5]
    queue.done("a")
    assert queue.failures("a") == 0


def test_an_event_during_a_failing_look_does_not_shorten_the_pause() -> None:
    queue, _ = make()
    queue.add("a")
    assert queue.poll() == "a"
    queue.add("a")
    queue.done("a", failed=True)
    assert queue.poll() is None
    assert queue.scheduled == 1


async def test_waiting_workers_get_what_comes_in_and_the_close() -> None:
    queue: WorkQueue[str] = WorkQueue()
    first = asyncio.create_task(queue.get())
    second = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add_after("a", 0.01)
    queue.add("b")
    assert {await first, await second} == {"a", "b"}
    third = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.close()
    with pytest.raises(QueueClosedError):
        await third


async def test_get_gives_up_after_its_timeout() -> None:
    assert await WorkQueue[str]().get(0.01) is None


@given(st.lists(st.floats(min_value=0.1, max_value=100), min_size=1))
def test_of_many_delays_the_shortest_counts(delays: list[float]) -> None:
    queue, clock = make()
    for delay in delays:
        queue.add_after("a", delay)
    clock.now = min(delays)
    assert queue.poll() == "a"


class Machine(RuleBasedStateMachine):
    """Against a model: what was wished since a key's last look began must lead to another look."""

    def __init__(self) -> None:
        super().__init__()
        self.queue, self.clock = make()
        self.wished: set[str] = set()
        self.timers: dict[str, float] = {}
        self.held: set[str] = set()

    @rule(key=st.sampled_from("abc"))
    def add(self, key: str) -> None:
        self.queue.add(key)
        self.wished.add(key)

    @rule(key=st.sampled_from("abc"), delay=st.integers(1, 20))
    def add_after(self, key: str, delay: int) -> None:
        self.queue.add_after(key, delay)
        self.timers[key] = min(self.timers.get(key, 1e9), self.clock.now + delay)

    @rule(seconds=st.integers(1, 15))
    def pass_time(self, seconds: int) -> None:
        self.clock.now += seconds

    @rule()
    def poll(self) -> None:
        due = {key for key, at in self.timers.items() if at <= self.clock.now}
        expected = (self.wished | due) - self.held
        key = self.queue.poll()
        # a timer that fires for a key in hand is a wish for later
        for late in due & self.held:
            self.wished.add(late)
            del self.timers[late]
        if key is None:
            assert not expected
            return
        assert key in expected
        for fired in due - {key}:
            if fired in self.timers:
                self.wished.add(fired)
                del self.timers[fired]
        self.wished.discard(key)
        self.timers.pop(key, None)
        self.held.add(key)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.held)))
        self.queue.done(key)
        self.held.discard(key)

    @invariant()
    def nobody_holds_what_waits(self) -> None:
        assert self.queue._processing.keys() == self.held
        lanes = [set(waiting) for waiting in self.queue._lanes.values()]
        assert len(set().union(*lanes)) == sum(map(len, lanes)), "in one lane at most"
        assert len(self.queue) + len(self.held) <= len("abc")


TestMachine = Machine.TestCase
TestMachine.settings = examples(60, stateful_step_count=40)


def test_what_has_changed_goes_before_what_is_only_looked_at_again() -> None:
    queue, clock = make()
    for key in "ab":
        queue.add(key, Lane.PATIENT)
    queue.add("c")
    assert queue.poll() == "c"
    assert queue.poll() is None, "nothing else while news is being looked at"
    clock.now += HOLD
    assert queue.poll() == "a", "which waits for an answer, it seems"
    queue.add("d")
    assert queue.poll() == "d"
    assert queue.poll() is None, "one patient key at a time"
    assert (len(queue), queue.scheduled) == (0, 1)


def test_after_a_patient_look_there_is_a_rest_that_grows_with_it_to_a_limit() -> None:
    queue, clock = make()
    for key in "abc":
        queue.add(key, Lane.PATIENT)
    for key, took, rest in (("a", 0.1, 0.1 * REST), ("b", 60.0, LONGEST_REST)):
        assert queue.poll() == key
        clock.now += took
        queue.done(key)
        clock.now += rest * 0.9
        assert queue.poll() is None, key
        clock.now += rest * 0.2
    assert queue.poll() == "c"


def test_a_patient_key_has_its_turn_however_much_else_there_is() -> None:
    queue, _ = make()
    queue.add("patient", Lane.PATIENT)
    given = []
    for number in range(3 * MOST):
        queue.add(f"n{number}")
        queue.add(f"m{number}")
        key = queue.poll()
        assert key is not None
        given.append(key)
        queue.done(key)
    assert given.index("patient") == MOST


def test_a_change_takes_a_patient_key_out_of_its_lane() -> None:
    queue, _ = make()
    queue.add("a", Lane.PATIENT)
    queue.add("b", Lane.PATIENT)
    queue.add("b")
    assert queue.poll() == "b"
    queue.done("b")
    assert queue.poll() == "a"
    queue.done("a")
    assert queue.poll() is None, "b was looked at"


def test_a_patient_wish_during_a_look_is_kept_unless_the_look_fails() -> None:
    for failed in (False, True):
        queue, _ = make()
        queue.add("a")
        assert queue.poll() == "a"
        queue.add("a", Lane.PATIENT)
        assert queue.poll() is None, "it is in somebody's hands"
        queue.done("a", failed=failed)
        assert queue.poll() == (None if failed else "a")


LANES = {"news": Lane.URGENT, "routine": Lane.ROUTINE, "patient": Lane.PATIENT}
STEPS = st.tuples(st.sampled_from([*LANES, "soon", "later", "poll", "done"]), st.integers(0, 5))


@examples(300)
@given(st.lists(STEPS, max_size=80), st.sampled_from([1, 2, 100]), st.sampled_from([1, 2, MOST]))
def test_no_wish_is_lost(steps: list[tuple[str, int]], most_routine: int, in_a_row: int) -> None:
    """Whatever was wished for is looked at after the wish, and by one worker at a time, whichever lane has its turn."""
    with mock.patch.dict(IN_A_ROW, {Lane.PATIENT: in_a_row, Lane.ROUTINE: in_a_row}):
        _follow(steps, most_routine)


def _follow(steps: list[tuple[str, int]], most_routine: int) -> None:
    queue, clock = make(most_routine=most_routine)
    wished: set[str] = set()
    held: list[str] = []
    for step, number in steps:
        key = f"k{number}"
        if step == "poll":
            if (got := queue.poll()) is not None:
                assert got not in held
                held.append(got)
                wished.discard(got)
        elif step == "done":
            if held:
                queue.done(held.pop(number % len(held)))
        elif step in LANES:
            queue.add(key, LANES[step])
            wished.add(key)
        else:
            queue.add_after(key, number + 1, Lane.PATIENT if step == "later" else Lane.ROUTINE)
            if key not in held:  # a look voids what was wished for before it began
                wished.add(key)
        clock.now += 0.1
    for _ in range(200):
        while held:
            queue.done(held.pop())
        if (got := queue.poll()) is not None:
            held.append(got)
            wished.discard(got)
        clock.now += 0.5
    assert not wished
    assert len(queue) == queue.scheduled == 0


async def test_a_worker_wakes_when_the_rest_is_over() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a", Lane.PATIENT)
    queue.add("b", Lane.PATIENT)
    assert await queue.get(1) == "a"
    waiting = asyncio.create_task(queue.get(60))
    await asyncio.sleep(0.05)
    queue.done("a")
    async with asyncio.timeout(240):
        assert await waiting == "b"


def test_R30_a_patient_look_that_waits_for_an_answer_does_not_keep_its_lane() -> None:
    queue, clock = make()
    for key in ("a", "b", "c"):
        queue.add(key, Lane.PATIENT)
    assert queue.poll() == "a"
    clock.now += LONGEST_RECONCILE / 2
    assert queue.poll() is None
    clock.now += LONGEST_RECONCILE / 2
    assert [queue.poll(), queue.poll()] == ["b", None]
    queue.done("a")
    assert queue.poll() is None, "whose turn it is now is b"
    queue.done("b")
    clock.now += LONGEST_REST
    assert queue.poll() == "c"


async def test_a_worker_wakes_for_the_patient_lane_while_a_look_in_it_waits() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a", Lane.PATIENT)
    assert await queue.get() == "a"
    queue.add("b", Lane.PATIENT)
    async with asyncio.timeout(240):
        assert await queue.get() == "b"


def test_a_patient_key_that_becomes_urgent_is_given_to_one_worker_only() -> None:
    queue, _ = make()
    queue.add("k", Lane.PATIENT)
    for number in range(MOST):  # after so many it is the patient lane's turn
        queue.add(f"other-{number}")
        taken = queue.poll()
        assert taken == f"other-{number}"
        queue.done(taken)
    queue.add("k")
    queue.add("z")
    assert [queue.poll(), queue.poll(), queue.poll()] == ["k", "z", None]
    queue.done("k")
    queue.done("z")
    assert queue.poll() is None


def test_routine_waits_for_news_but_not_for_ever() -> None:
    queue, _ = make()
    for number in range(6):
        queue.add(f"routine-{number}", Lane.ROUTINE)
    for number in range(6):
        queue.add(f"news-{number}")
    given = []
    while (key := queue.poll()) is not None:
        given.append(key)
        queue.done(key)
    most = IN_A_ROW[Lane.ROUTINE]
    assert given[: most + 2] == [*(f"news-{number}" for number in range(most)), "routine-0", f"news-{most}"]
    assert len(given) == 12


def test_routine_leaves_workers_to_news() -> None:
    queue, _ = make(most_routine=2)
    for key in "abc":
        queue.add(key, Lane.ROUTINE)
    assert [queue.poll(), queue.poll(), queue.poll()] == ["a", "b", None]
    queue.add("news")
    assert queue.poll() == "news"
    queue.done("news")
    assert queue.poll() is None, "news has come and gone, two are in hand still"
    queue.done("a")
    assert queue.poll() == "c"


async def test_a_worker_wakes_when_routine_has_a_hand_free() -> None:
    queue: WorkQueue[str] = WorkQueue(most_routine=1)
    queue.add("a", Lane.ROUTINE)
    queue.add("b", Lane.ROUTINE)
    assert await queue.get(1) == "a"
    waiting = asyncio.create_task(queue.get(60))
    await asyncio.sleep(0)
    queue.done("a")
    async with asyncio.timeout(240):
        assert await waiting == "b"


def test_what_waits_is_looked_at_sooner_once_it_is_news_and_no_later_for_being_routine_too() -> None:
    queue, _ = make()
    queue.add("a", Lane.ROUTINE)
    queue.add("b", Lane.ROUTINE)
    queue.add("b")
    queue.add("b", Lane.ROUTINE)
    queue.add("b", Lane.PATIENT)
    assert queue.poll() == "b"
    queue.done("b")
    assert [queue.poll(), queue.poll()] == ["a", None]
    queue.done("a")
    assert queue.poll() is None


def test_while_news_is_being_looked_at_nothing_else_is_begun_but_not_for_long() -> None:
    for lane in (Lane.ROUTINE, Lane.PATIENT):
        queue, clock = make()
        queue.add("news")
        queue.add("other", lane)
        assert [queue.poll(), queue.poll()] == ["news", None]
        clock.now += HOLD
        assert queue.poll() == "other", "a look that waits for an answer holds up nothing"


async def test_a_worker_wakes_when_news_holds_up_nothing_any_more() -> None:
    for end in (True, False):
        queue: WorkQueue[str] = WorkQueue()
        queue.add("news")
        queue.add("other", Lane.ROUTINE)
        assert await queue.get(1) == "news"
        waiting = asyncio.create_task(queue.get(60))
        await asyncio.sleep(0)
        if end:
            queue.done("news")
        async with asyncio.timeout(240):
            assert await waiting == "other"
