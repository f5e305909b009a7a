"""A schedule can be played again from its seed, and in the long run everything happens."""

from __future__ import annotations

from testbed.chaos.draw import STALE_SECONDS, Do, draw
from testbed.proxy.watch import WatchFault
from vmferry.simulator.faults import Fault

HOSTS = ("cmp1", "cmp2", "cmp3")


def test_a_seed_is_a_schedule_and_another_seed_another_one() -> None:
    assert draw(7, HOSTS) == draw(7, HOSTS)
    assert str(draw(7, HOSTS)) == str(draw(7, HOSTS)) != str(draw(8, HOSTS))


def test_every_deed_and_every_kind_of_fault_is_drawn() -> None:
    schedules = [draw(seed, HOSTS) for seed in range(300)]
    assert {deed.do for schedule in schedules for deed in schedule.deeds} == set(Do)
    troubles = [trouble for schedule in schedules for trouble in schedule.troubles]
    assert {trouble.service for trouble in troubles if trouble.fault is None} == {
        "compute",
        "identity",
        "placement",
        "kubernetes",
    }
    faults = [trouble.fault for trouble in troubles]
    met = {name for fault in faults if fault for name in fault.model_dump(exclude_defaults=True)}
    assert met >= {"status", "headers", "delay", "lag", "drop", "truncate", "stale", "missing", "duplicate", "events"}
    assert {fault.status for fault in faults if isinstance(fault, Fault)} >= {401, 409, 422, 429, 500, 503}
    assert any(isinstance(fault, WatchFault) and fault.ends_after for fault in faults)


def test_no_cloud_shows_the_past_for_longer_than_a_record_may_be_missing() -> None:
    for seed in range(300):
        for trouble in draw(seed, HOSTS).troubles:
            if isinstance(trouble.fault, Fault) and trouble.fault.stale:
                assert trouble.seconds <= STALE_SECONDS


def test_what_is_taken_away_comes_back() -> None:
    """A killed operator is started, a frozen one thawed, a switch lifted, within the schedule itself."""
    pairs = (
        (Do.KILL_OPERATOR, Do.START_OPERATOR),
        (Do.FREEZE_OPERATOR, Do.THAW_OPERATOR),
        (Do.SWITCH_ON, Do.SWITCH_OFF),
        (Do.KILL_HOST, Do.START_HOST),
    )
    for seed in range(300):
        deeds = draw(seed, HOSTS).deeds
        for begin, end in pairs:
            begun = [deed.at for deed in deeds if deed.do is begin]
            assert all(any(deed.do is end and deed.at > at for deed in deeds) for at in begun)
