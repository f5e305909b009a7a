"""What the plug-in shows of one kind: each kind has a `View` in a file of its own, found by `views.view_of`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar, Generic, TypeVar

from vmferry.prerequisites.enums import Name
from vmferry.resources.base import Resource

Obj = TypeVar("Obj", bound=Resource)

#: an empty cell
NONE = "-"
#: a heading with an empty value, then pairs of a name and a value; pairs without a value are not shown
Point = list[tuple[str, str]]

#: what each prerequisite asks for, shortly; docs/prerequisites.md has the rest
EXPECTED: dict[str, str] = {
    Name.POWER_STATE: "active or paused for Live, powered off for Cold; active, off or failed for Evacuate",
    Name.SOURCE_HOST: "its host is up for Live and Cold; down, silent and attested dead for Evacuate",
    Name.TARGET_HOST: "a host that is known, up and enabled, and not the one that it is on",
    Name.AVAILABILITY_ZONE: "the same availability zone, and the traits and aggregates that the flavor demands",
    Name.CPU_MODEL: "a host that offers what the guest uses of its CPU",
    Name.OPERATING_SYSTEM: "the same distribution and version on both hosts; newer only with --os-upgrade, never older",
    Name.HYPERVISOR_VERSION: "the same hypervisor and version; newer only with --os-upgrade, never older",
    Name.STORAGE: "volumes, or storage that both hosts share; Live and Cold may copy local disks",
    Name.CAPACITY: "room on the target, by Placement's inventories",
    Name.BANDWIDTH: "the copies on either host's network stay within the configured bandwidth",
    Name.SERVER_GROUP: "affinity and anti-affinity hold, and no other member is being moved",
    Name.SERVER_LOCK: "the server is not locked, and its owner has not opted it out",
    Name.SERVER_TASK: "no task, no resize to confirm, no other migration",
    Name.DEVICES: "nothing is attached that Nova does not move",
}
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


class View(Generic[Obj]):
    """Facts of one kind as plain data; `page`, `frame` and `overview` lay them out, the same for all kinds."""

    #: the columns of `status` without a name; one of them is PHASE
    columns: ClassVar[tuple[str, ...]]
    #: reasons of Ready whose message only repeats the progress
    shown_by_progress: ClassVar[frozenset[str]] = frozenset()

    def begun(self, obj: Obj) -> bool:
        """Whether a request was sent for it."""
        return False

    def finished(self, obj: Obj) -> bool:
        return False

    def only_unknown(self, obj: Obj) -> bool:
        """Whether nothing but unknown facts blocks it."""
        raise NotImplementedError

    def since(self, obj: Obj) -> datetime | None:
        """When what `--watch` shows began."""
        return obj.metadata.creation_timestamp

    def withdrawal(self, obj: Obj) -> str:
        """The command that takes the request back."""
        raise NotImplementedError

    def row(self, obj: Obj, phase: str, age: str) -> tuple[str, ...]:
        """Its cells below `columns`."""
        raise NotImplementedError

    def facts(self, obj: Obj) -> list[tuple[str, str]]:
        raise NotImplementedError

    def points(self, obj: Obj) -> list[Point]:
        """What blocks it or has failed."""
        raise NotImplementedError

    def leaves_servers(self, obj: Obj) -> bool:
        """Whether some servers are blocked although the object itself goes on."""
        return False

    def leftovers(self, obj: Obj) -> list[Point]:
        """What blocks nothing but should be repaired."""
        return []

    def see_also(self, obj: Obj) -> str:
        """A command that shows more, and what it shows."""
        return ""

    def steps(self, obj: Obj) -> Sequence[tuple[str, ...]]:
        """A table of its moves or attempts, with its heading; empty without any."""
        raise NotImplementedError

    def progress(self, obj: Obj) -> list[str]:
        """How far it is, in a few words each."""
        raise NotImplementedError

    def current_moves(self, obj: Obj) -> list[str]:
        """Lines below a frame: the moves that run, and what is blocked."""
        return []


def size(count: int) -> str:
    """`1.5 GiB`."""
    value, unit = float(count), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.1f} {_UNITS[unit]}" if unit else f"{count} B"
