"""That the view of the cloud is too old is said once, and that it is fresh again."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from vmferry.cloud.model import Part, Snapshot
from vmferry.runtime.view_age import ViewAge

START = datetime(2026, 1, 1, tzinfo=UTC)


def test_the_age_is_told_when_it_changes_what_may_be_decided(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    now, snapshot = [START], [Snapshot()]
    age = ViewAge(lambda: snapshot[0], timedelta(seconds=60), lambda: now[0])

    def told(seconds: float, read: float | None, trouble: str | None = None) -> list[str]:
        now[0] = START + timedelta(seconds=seconds)
        if read is not None:
            snapshot[0] = replace(snapshot[0], read_at=dict.fromkeys(Part, START + timedelta(seconds=read)))
        snapshot[0] = replace(snapshot[0], trouble=trouble)
        caplog.clear()
        age.check()
        return [f"{one.levelname} {one.getMessage()}" for one in caplog.records]

    assert told(1, None) == [], "it has only begun"
    (line,) = told(61, None, "cannot log in")
    assert line.startswith("WARNING the view of the cloud was never read whole") and line.endswith(": cannot log in")
    assert told(200, None) == [], "once"
    assert told(210, 209) == ["INFO the view of the cloud is fresh again after 149 s"]
    assert told(269, 209) == [], "not yet"
    (line,) = told(305, 209)
    assert line.startswith("WARNING the view of the cloud is 96 s old")
    assert told(306, 209) == []
    assert told(307, 306) == ["INFO the view of the cloud is fresh again after 2 s"]
