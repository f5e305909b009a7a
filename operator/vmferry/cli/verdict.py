"""The verdict of preflight on a server, and the exit status that follows from all verdicts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from vmferry.resources.vmmigration import PrerequisiteView, VMMigrationStatus


class Answer(StrEnum):
    """Whether the server can be moved."""

    OK = "OK"
    #: it can move as soon as other moves have finished; the operator would queue it
    WAITS = "Waits"
    BLOCKED = "Blocked"
    #: the server does not exist, or only facts that the cloud does not report block it
    UNKNOWN = "Unknown"


class ExitStatus(IntEnum):
    """Exit statuses that a pipeline can rely on.

    `CANNOT_TELL` takes precedence over `BLOCKED`, so `BLOCKED` means that every server was assessed. A server that only
    waits for other moves counts as OK, because it needs no action.
    """

    ALL_OK = 0
    BLOCKED = 1
    CANNOT_TELL = 2
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict on one server. All texts are single lines without control characters."""

    #: the server as the command line names it
    asked: str
    answer: Answer
    #: CamelCase: the first blocking reason, or why it is OK
    reason: str
    message: str
    #: the status that a VMMigration with the same request would have; `server` is None if there is no such server
    status: VMMigrationStatus
    #: the prerequisites of the status that block
    against: tuple[PrerequisiteView, ...] = ()

    @property
    def reasons(self) -> tuple[str, ...]:
        """All blocking reasons without duplicates."""
        return tuple(dict.fromkeys(view.reason or self.reason for view in self.against)) or (self.reason,)

    @property
    def id(self) -> str:
        return self.status.server.id if self.status.server else ""

    @property
    def name(self) -> str:
        return self.status.server.name if self.status.server else self.asked


@dataclass(slots=True)
class Tally:
    """The number of servers by answer."""

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
