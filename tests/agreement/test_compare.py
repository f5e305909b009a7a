"""Two runs of one seed, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from testbed.agreement.compare import compare, lines

ONE, OTHER = "8c4f2f3e-4a0e-4c1c-9a80-6f3f1d1b6c11", "0b1f2f3e-4a0e-4c1c-9a80-6f3f1d1b6c22"
SERVER = {"name": "s01", "flavor": "m1.tiny", "host": "cmp1", "status": "ACTIVE", "task": None, "locked": False}
NOVA = {"did": "moved", "host": "cmp2", "status": "ACTIVE", "words": ""}


def case(
    nova: Mapping[str, object] | None = None, server: Mapping[str, object] | None = None, target: str = "cmp2"
) -> dict[str, Any]:
    return {"kind": "Live", "target": target, "server": SERVER | {**(server or {})}, "nova": NOVA | {**(nova or {})}}


@pytest.mark.parametrize(
    ("sentence", "one", "other", "fields"),
    [
        ("the same", case(), case(), ()),
        ("one did not move it", case(), case({"did": "failed"}), ("did",)),
        ("another host and state", case(), case({"host": "cmp3", "status": "ERROR"}), ("status", "host")),
        ("other words", case({"words": "no"}), case({"words": "yes"}), ("words",)),
        ("another server's id", case({"words": f"{ONE} is gone"}), case({"words": f"{OTHER} is gone"}), ()),
        ("another unknown host", case(target=f"unknown-{ONE}"), case(target=f"unknown-{OTHER}"), ()),
        (
            "another conductor",
            case({"words": "cold_migrate on vm: no | conductor_migrate_server on vm: no"}),
            case({"words": "cold_migrate on controller: no | conductor_migrate_server on controller: no"}),
            (),
        ),
        (
            "another compute",
            case({"words": "compute_x on cmp1: no"}),
            case({"words": "compute_x on cmp2: no"}),
            ("words",),
        ),
        ("the server was elsewhere", case(), case(server={"host": "cmp3"}), None),
        ("the server was locked", case(), case(server={"locked": True}), None),
        ("another target", case(), case(target="cmp3"), None),
    ],
)
def test_what_differs(
    sentence: str, one: dict[str, Any], other: dict[str, Any], fields: tuple[str, ...] | None
) -> None:
    found = compare({1: one}, {1: other, 2: one})
    assert [differs.fields for differs in found] == ([] if fields is None else [fields]), sentence


def test_the_shares_are_of_the_steps_that_met_the_same() -> None:
    runs = {1: case(), 2: case(), 3: case()}, {1: case(), 2: case({"did": "failed"}), 3: case(server={"locked": True})}
    told = lines(*runs)
    assert "2 of 3 steps met the same server in the same state" in told
    assert "same did         1 of 2  50.00%" in told
