"""The interface of a view: each kind has a `View` in a module of its own, which `views.view_of` finds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar, Generic, TypeVar

from vmferry.prerequisites.enums import Name
from vmferry.resources.base import Resource

Obj = TypeVar("Obj", bound=Resource)

#: an empty cell
NONE = "-"
#: a heading with an empty value, then pairs of name and value; pairs without a value are not shown
Point = list[tuple[str, str]]

#: the expectation of each prerequisite in short; docs/prerequisites.md has the details
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
    """The facts of a kind as plain data; `page`, `frame` and `overview` lay them out in the same way for all kinds."""

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
        """The start time of the age that `--watch` shows."""
        return obj.metadata.creation_timestamp

    def withdrawal(self, obj: Obj) -> str:
        """The command that withdraws the request."""
        raise NotImplementedError

    def row(self, obj: Obj, phase: str, age: str) -> tuple[str, ...]:
        """The cells of its row, in the order of `columns`."""
        raise NotImplementedError

    def facts(self, obj: Obj) -> list[tuple[str, str]]:
        raise NotImplementedError

    def points(self, obj: Obj) -> list[Point]:
        """What blocks it, and what has failed."""
        raise NotImplementedError

    def leaves_servers(self, obj: Obj) -> bool:
        """Whether some servers are blocked although the object itself proceeds."""
        return False

    def leftovers(self, obj: Obj) -> list[Point]:
        """Findings that block nothing but should be repaired."""
        return []

    def see_also(self, obj: Obj) -> str:
        """A command that shows more, with a description; empty without one."""
        return ""

    def steps(self, obj: Obj) -> Sequence[tuple[str, ...]]:
        """A table of its moves or attempts, with its heading; empty without any."""
        raise NotImplementedError

    def progress(self, obj: Obj) -> list[str]:
        """The progress in a few words per entry."""
        raise NotImplementedError

    def current_moves(self, obj: Obj) -> list[str]:
        """Lines below a frame: the running moves, and what is blocked."""
        return []


def size(count: int) -> str:
    """Format a number of bytes: `1.5 GiB`."""
    value, unit = float(count), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.1f} {_UNITS[unit]}" if unit else f"{count} B"
