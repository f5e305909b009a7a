"""The metrics' names, by the conventions of Prometheus; and their page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client import Counter, Histogram

from vmferry.runtime.metrics import definitions as metrics

ROOT = Path(__file__).resolve().parent.parent.parent

#: name and help of each, by the name of its constant
TOLD = {
    name: (
        metric.describe()[0].name + ("_total" if isinstance(metric, Counter) else ""),
        metric.describe()[0].documentation,
    )
    if not isinstance(metric, metrics.Scraped)
    else (metric.name, metric.help)
    for name, metric in vars(metrics).items()
    if metric in list(metrics.counted()) or metric in list(metrics.scraped())
}

#: words that may stand at the end as a unit, and those that must not
UNITS = ("seconds", "bytes")
NO_UNITS = ("milliseconds", "ms", "minutes", "kilobytes", "mib", "gib", "percent", "age")


@pytest.mark.parametrize("constant", TOLD)
def test_the_name_is_by_the_conventions(constant: str) -> None:
    name, text = TOLD[constant]
    assert re.fullmatch(r"vmferry(_[a-z]+)+", name)
    assert not any(word in NO_UNITS for word in name.split("_"))
    metric = getattr(metrics, constant)
    assert name.endswith("_total") == isinstance(metric, Counter)
    if isinstance(metric, Histogram):
        assert name.endswith("_seconds")
    for unit in UNITS:
        assert unit not in name or name.removesuffix("_total").endswith(unit), "the unit comes last"
    assert text and text[0].isupper() | text[0].isdigit() and not text.endswith("."), text


def test_no_name_is_used_twice() -> None:
    names = [name.removesuffix("_total") for name, _ in TOLD.values()]
    assert len(set(names)) == len(names) > 30


#: what a label may be about; a new one needs a bound of its own
BOUNDED = {"kind", "type", "phase", "outcome", "result", "reason", "state", "part", "check", "action"}
BOUNDED |= {"service", "operation", "code", "verb", "resource", "scope"}


def test_no_label_may_hold_a_name_or_an_id() -> None:
    used = {label for metric in metrics.counted() for label in metric._labelnames}
    used |= {label for gauge in metrics.scraped() for label in gauge.labels}
    assert used == BOUNDED
