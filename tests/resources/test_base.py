"""Durations, times and texts as custom resources carry them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.build import NOW
from vmferry.resources.base import DURATION_PATTERN, clip, format_duration, format_time, parse_duration

SPANS = st.timedeltas(timedelta(0), timedelta(hours=999_999)).map(
    lambda span: timedelta(seconds=span // timedelta(seconds=1))
)

DURATIONS = {
    "30m": timedelta(minutes=30),
    "1h30m": timedelta(minutes=90),
    "90s": timedelta(seconds=90),
    "24h": timedelta(days=1),
    "1h5s": timedelta(seconds=3605),
    "0s": timedelta(0),
    "090m": timedelta(minutes=90),
    "999999h999999m999999s": timedelta(hours=999_999, minutes=999_999, seconds=999_999),
}


@pytest.mark.parametrize("text", DURATIONS)
def test_a_duration_is_read(text: str) -> None:
    assert parse_duration(text) == DURATIONS[text]
    assert re.search(DURATION_PATTERN, text), "the API server accepts it too"


NO_DURATION: list[object] = [
    "",
    "s",
    "30",
    "30 m",
    " 30m",
    "30m\n",
    "-5m",
    "1.5h",
    "5m1h",
    "1d",
    "1H",
    "1h1h",
    "P1D",
    "٣m",
    "1000000s",
    "9999999999999999999h",
    None,
    30,
    True,
    ["30m"],
    {},
]


@pytest.mark.parametrize("text", NO_DURATION, ids=repr)
def test_R35_what_is_no_duration_is_refused_with_a_sentence(text: object) -> None:
    with pytest.raises(
        ValueError, match="is not a duration: write hours, minutes and seconds like 30m, 1h30m or 90s"
    ) as error:
        parse_duration(text)
    found = "a list" if isinstance(text, list) else "a mapping" if isinstance(text, dict) else repr(text)
    assert str(error.value).startswith(f"{found} is not"), "R20: what was found"
    if isinstance(text, str) and not text.endswith("\n"):  # Python's $ also matches before a last newline
        assert not re.search(DURATION_PATTERN, text), "the API server refuses it too"


@given(SPANS)
def test_a_duration_comes_back_as_it_was(span: timedelta) -> None:
    text = format_duration(span)
    assert parse_duration(text) == span
    assert re.search(DURATION_PATTERN, text) or span >= timedelta(hours=1_000_000)


@given(st.text(max_size=24))
def test_R35_no_text_crashes_and_both_doors_agree(text: str) -> None:
    try:
        span = parse_duration(text)
    except ValueError:
        span = None
    accepted = re.search(DURATION_PATTERN, text) is not None and not text.endswith("\n")
    assert (span is not None) == accepted


@given(st.from_regex(r"([0-9]{1,21}h)?([0-9]{1,21}m)?([0-9]{1,21}s)?", fullmatch=True))
def test_R35_a_deadline_can_be_counted_from_now_for_whatever_is_accepted(text: str) -> None:
    try:
        span = parse_duration(text)
    except ValueError:
        return
    assert re.search(DURATION_PATTERN, text) and NOW + span > NOW - timedelta(seconds=1)


def test_a_timedelta_stays_one() -> None:
    assert parse_duration(timedelta(minutes=3)) == timedelta(minutes=3)


def test_times_are_written_as_kubernetes_writes_them() -> None:
    moment = datetime(2026, 3, 2, 14, 0, 5, 999_999, tzinfo=timezone(timedelta(hours=2)))
    assert format_time(moment) == "2026-03-02T12:00:05Z"


CLIPPED = {
    "a short line stays": ("No valid host", 20, "No valid host"),
    "as long as allowed stays": ("12345", 5, "12345"),
    "longer is cut and says so": ("123456", 5, "1234…"),
    "several lines become one": ("a\r\n\tb\n\nc", 20, "a b c"),
    "control characters go": ("a\x00\x1b[31mb\x7f", 20, "a [31mb"),
    "lone halves of a surrogate pair, which no JSON may hold, go": ("a\ud800b", 20, "a b"),
    "nothing stays nothing": (" \n ", 5, ""),
    "other alphabets stay": ("Привет, 世界", 20, "Привет, 世界"),
}


@pytest.mark.parametrize("sentence", CLIPPED)
def test_R20_a_text_of_the_cloud_fits_into_a_status(sentence: str) -> None:
    text, length, wanted = CLIPPED[sentence]
    assert clip(text, length) == wanted


@given(st.text(), st.integers(1, 50))
def test_a_clipped_text_is_one_printable_line_within_its_bound(text: str, length: int) -> None:
    clipped = clip(text, length)
    assert len(clipped) <= length
    assert clipped.isprintable() and clip(clipped, length) == clipped
    clipped.encode()


@pytest.mark.parametrize("text", ["999999h999999m999999s", "999999m999999s", "1h90m", "0s"])
def test_a_duration_is_written_so_that_it_can_be_read_again(text: str) -> None:
    span = parse_duration(text)
    assert parse_duration(format_duration(span)) == span


def test_an_early_time_is_written_with_four_digits_of_its_year() -> None:
    assert format_time(datetime(1, 1, 1, tzinfo=UTC)) == "0001-01-01T00:00:00Z"
