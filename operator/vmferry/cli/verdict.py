"""What preflight says of one server, and of all of them together: the exit status."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from vmferry.resources.vmmigration import PrerequisiteView, VMMigrationStatus


class Answer(StrEnum):
    """May it be moved?"""

    OK = "OK"
    #: as soon as other moves have ended: the operator would queue it
    WAITS = "Waits"
    BLOCKED = "Blocked"
    #: facts that the cloud does not report are all that stands in the way, or there is no such server
    UNKNOWN = "Unknown"


class ExitStatus(IntEnum):
    """What a pipeline may rely on; `CANNOT_TELL` wins over `BLOCKED`, so `BLOCKED` says that everything was judged.

    A server that only waits for other moves stands in nobody's way: it goes without anybody's doing.
    """

    ALL_OK = 0
    BLOCKED = 1
    CANNOT_TELL = 2
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Verdict:
    """One server, judged. All its texts are one line without control characters."""

    #: the server as it was asked for
    asked: str
    answer: Answer
    #: CamelCase: the first reason, or why it is OK
    reason: str
    message: str
    #: what the status of a VMMigration that asks the same says; `server` is None where there is no such server
    status: VMMigrationStatus
    #: those of the status's prerequisites that block
    against: tuple[PrerequisiteView, ...] = ()

    @property
    def reasons(self) -> tuple[str, ...]:
        """Every reason that blocks, each once."""
        return tuple(dict.fromkeys(view.reason or self.reason for view in self.against)) or (self.reason,)

    @property
    def id(self) -> str:
        return self.status.server.id if self.status.server else ""

    @property
    def name(self) -> str:
        return self.status.server.name if self.status.server else self.asked


@dataclass(slots=True)
class Tally:
    """How many servers got which answer."""

    ok: int = 0
    waits: int = 0
    blocked: int = 0
    unknown: int = 0

    def count(self, answer: Answer) -> None:
        match answer:
            case Answer.OK:
                self.ok += 1
            case Answer.WAITS:
                self.waits += 1
            case Answer.BLOCKED:
                self.blocked += 1
            case Answer.UNKNOWN:
                self.unknown += 1

    @property
    def servers(self) -> int:
        return self.ok + self.waits + self.blocked + self.unknown

    @property
    def exit_status(self) -> ExitStatus:
        if self.unknown:
            return ExitStatus.CANNOT_TELL
        return ExitStatus.BLOCKED if self.blocked else ExitStatus.ALL_OK

    def __str__(self) -> str:
        noun = "server" if self.servers == 1 else "servers"
        waits = f"{self.waits} waiting, " if self.waits else ""
        return f"{self.servers} {noun}: {self.ok} OK, {waits}{self.blocked} blocked, {self.unknown} unknown"
