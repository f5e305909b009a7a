"""Resume marks (I37): what a person or GitOps writes to close breakers, and what of it is used."""

from __future__ import annotations

from datetime import timedelta

import pytest

from testbed.build import NOW
from tests.runtime.fakes import FakeKube, Record
from vmferry.reconcilers.breaker_resume import Marks, parse
from vmferry.runtime.resume_marks import ResumeMarks

CLOSES_NOTHING = "closes nothing"

#: text: the minutes before now from which on failures count, or None
TEXTS: dict[str, tuple[str, int | None]] = {
    "a time": ("2026-03-02T11:50:00Z", 10),
    "with an offset": ("2026-03-02T12:50:00+01:00", 10),
    "with spaces around": (" 2026-03-02T11:50:00Z\n", 10),
    "of a clock that is a little ahead": ("2026-03-02T12:04:00Z", -4),
    "in the future": ("2099-01-01T00:00:00Z", None),
    "without a zone": ("2026-03-02T11:50:00", None),
    "a date": ("2026-03-02", None),
    "a word": ("now", None),
    "nothing": ("", None),
    "a long word": ("x" * 5000, None),
}


@pytest.mark.parametrize("case", TEXTS)
def test_what_counts_as_a_mark(case: str) -> None:
    text, minutes = TEXTS[case]
    found = parse({"cmp1": text}, "ConfigMap home/vmferry-resume", NOW)
    if minutes is None:
        assert found.since("cmp1") is None
        assert CLOSES_NOTHING in found.unusable["cmp1"] and len(found.unusable["cmp1"]) < 250
    else:
        assert found.since("cmp1") == NOW - timedelta(minutes=minutes) and not found.unusable


def test_a_mark_of_the_cloud_is_for_every_host_and_the_later_one_counts() -> None:
    found = parse({"cmp1": "2026-03-02T11:00:00Z", "cloud": "2026-03-02T11:30:00Z"}, "it", NOW)
    assert [found.since(host) for host in ("cmp1", "cmp2")] == [NOW - timedelta(minutes=30)] * 2


async def test_changes_are_handed_on_once() -> None:
    kube = FakeKube(Record())
    seen: list[Marks] = []
    marks = ResumeMarks(kube, "home", "vmferry-resume", seen.append, lambda: NOW)
    await marks.read()
    assert seen == []
    kube.marks = {"cmp1": "2026-03-02T11:50:00Z"}
    await marks.read()
    await marks.read()
    assert seen == [Marks({"cmp1": NOW - timedelta(minutes=10)})]
    kube.marks = {}
    await marks.read()
    assert seen[1:] == [Marks()]
