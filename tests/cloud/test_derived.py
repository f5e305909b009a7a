"""What is computed from a snapshot is computed once, and belongs to that snapshot alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from testbed.build import host, server, snapshot
from vmferry.cloud.model import Host, Snapshot

COUNTED = 0


def count(hosts: Mapping[str, Host]) -> int:
    global COUNTED
    COUNTED += 1
    return len(hosts)


def same(view: Snapshot) -> Snapshot:
    return view


#: sentence: the second view, and how often both together compute
CASES: dict[str, tuple[Callable[[Snapshot], Snapshot], int]] = {
    "the same snapshot computes once": (same, 1),
    "a variant with other servers shares what does not rest on them": (lambda view: view.variant(servers={}), 1),
    "a variant with other hosts computes anew": (lambda view: view.variant(hosts=dict(view.hosts)), 2),
    "another reading of the cloud computes anew": (replace, 2),
    "an equal mapping is not the same one": (lambda _: snapshot([server()], [host("host-a")]), 2),
}


@pytest.mark.parametrize("sentence", CASES)
def test_what_is_derived(sentence: str) -> None:
    global COUNTED
    another, times = CASES[sentence]
    COUNTED, first = 0, snapshot([server()], [host("host-a")])
    for view in (first, another(first)):
        assert view.derived.once(count, view.hosts) == 1
        assert view.derived.once(count, view.hosts) == 1
    assert times == COUNTED


def test_only_the_last_few_inputs_are_kept() -> None:
    global COUNTED
    COUNTED, view = 0, snapshot()
    many = [dict(view.hosts) for _ in range(6)]
    for hosts in many:
        view.derived.once(count, hosts)
    view.derived.once(count, many[-1])
    assert COUNTED == 6
    view.derived.once(count, many[0])
    assert COUNTED == 7
