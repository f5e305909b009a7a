"""The store remembers which servers went to a newer operating system, though finished objects are kept as JSON."""

from __future__ import annotations

from vmferry.cloud.model import OperatingSystem
from vmferry.reconcilers.rows import KINDS
from vmferry.runtime.key import Key
from vmferry.runtime.store import Body, Store

SERVER = "00000000-0000-4000-8000-000000000001"


def moved(version: int, name: str = "up", state: str = "completed", target: str = "Ubuntu 24.04") -> Body:
    """A finished VMMigration."""
    return {
        "metadata": {"namespace": "team", "name": name, "resourceVersion": str(version), "uid": name},
        "spec": {"server": {"id": SERVER}, "osUpgrade": True},
        "status": {
            "server": {"id": SERVER, "name": "web", "state": "ACTIVE"},
            "completedAt": "2026-01-01T12:02:00Z",
            "attempts": [
                {
                    "number": 1,
                    "type": "Live",
                    "sourceHost": "host-a",
                    "targetHost": "host-b",
                    "state": state,
                    "startedAt": "2026-01-01T12:00:00Z",
                    "endedAt": "2026-01-01T12:01:00Z",
                    "crossing": {"source": "Ubuntu 22.04", "target": target},
                }
            ],
        },
    }


def test_R22_a_finished_crossing_is_known_until_its_object_is_gone() -> None:
    store = Store(KINDS)
    store.put("VMMigration", moved(1))
    crossing = store.os_upgrades()[SERVER]
    assert (crossing.source, crossing.target) == (
        OperatingSystem("Ubuntu", "22.04"),
        OperatingSystem("Ubuntu", "24.04"),
    )
    assert crossing.by == "VMMigration team/up"
    store.remove(Key("VMMigration", "team", "up"))
    assert store.os_upgrades() == {}


def test_a_crossing_that_failed_is_none() -> None:
    store = Store(KINDS)
    store.put("VMMigration", moved(1, state="error"))
    assert store.os_upgrades() == {}


def test_a_later_body_replaces_what_an_earlier_one_said() -> None:
    store = Store(KINDS)
    store.put("VMMigration", moved(1))
    store.put("VMMigration", moved(2, state="error"))
    assert store.os_upgrades() == {}


def test_what_cannot_be_understood_is_no_crossing() -> None:
    store = Store(KINDS)
    store.put("VMMigration", moved(1, target="something newer"))
    assert store.os_upgrades() == {}


def test_of_two_crossings_the_furthest_counts() -> None:
    store = Store(KINDS)
    store.put("VMMigration", moved(1, "later", target="Ubuntu 26.04"))
    store.put("VMMigration", moved(2, "first"))
    assert str(store.os_upgrades()[SERVER].target) == "Ubuntu 26.04"
