"""Where an object stands, and the exit status that says so. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pydantic import ValidationError

from vmferry.cli.ferry.kube import Body, FerryError
from vmferry.cli.verdict import ExitStatus
from vmferry.prerequisites.enums import Reason, Result
from vmferry.reconcilers import conditions as c
from vmferry.reconcilers.migration.os_upgrade_moves import crossing_of
from vmferry.resources.base import Condition
from vmferry.resources.catalog import CATALOG
from vmferry.resources.hostmaintenance import HostMaintenance
from vmferry.resources.vmmigration import VMMigration
from vmferry.resources.words import Phase

Object = VMMigration | HostMaintenance
#: nothing can be judged of what is not there, as in preflight
_NOT_FOUND = (Reason.SERVER_NOT_FOUND, Reason.HOST_NOT_FOUND)


class Standing(StrEnum):
    #: the operator has not looked at this spec yet
    UNSEEN = "Unseen"
    #: it goes on by itself
    UNDER_WAY = "UnderWay"
    DONE = "Done"
    #: it goes on once what stands against it is gone
    BLOCKED = "Blocked"
    #: nothing but what the cloud does not tell stands against it
    CANNOT_TELL = "CannotTell"
    FAILED = "Failed"

    @property
    def final(self) -> bool:
        """It will not change before somebody does something."""
        return self not in (Standing.UNSEEN, Standing.UNDER_WAY)

    @property
    def exit_status(self) -> ExitStatus:
        """A look at what is under way is good news."""
        if self in (Standing.BLOCKED, Standing.FAILED):
            return ExitStatus.BLOCKED
        return ExitStatus.CANNOT_TELL if self in (Standing.CANNOT_TELL, Standing.UNSEEN) else ExitStatus.ALL_OK


@dataclass(frozen=True, slots=True)
class Outcome:
    standing: Standing
    #: CamelCase, or empty
    reason: str = ""
    #: the operator's sentence, of any origin
    message: str = ""


def read(body: Body) -> Object:
    """The typed object. Raises FerryError when it is of a version that this program does not know."""
    try:
        obj: Object = CATALOG[body["kind"]].model.read(body)
        return obj
    except ValidationError as error:
        field = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise FerryError(
            f"{body['kind']} {body['metadata'].get('name')} has a field {field} that this program does not understand: "
            "take the kubectl-ferry of the operator's version"
        ) from error


def outcome(obj: Object) -> Outcome:
    """By the conditions: the phase is for eyes only."""
    ready = obj.status.condition(c.READY)
    if ready is None or (obj.status.observed_generation or 0) < obj.metadata.generation:
        return Outcome(Standing.UNSEEN, message="the operator has not looked at it yet")
    return Outcome(_standing(obj, ready), ready.reason, ready.message)


def _standing(obj: Object, ready: Condition) -> Standing:
    if ready.status == "True":
        return Standing.DONE
    succeeded = obj.status.condition(c.SUCCEEDED)
    if succeeded is not None and succeeded.status == "False":
        begun = isinstance(obj, VMMigration) and obj.status.started_at is not None
        return Standing.CANNOT_TELL if ready.reason in _NOT_FOUND and not begun else Standing.FAILED
    stalled = obj.status.condition(c.STALLED)
    if stalled is None or stalled.status != "True":
        return Standing.UNDER_WAY
    if ready.reason in _NOT_FOUND:
        return Standing.CANNOT_TELL
    if isinstance(obj, VMMigration):
        results = {view.result for view in obj.status.prerequisites}
        undecided = Result.UNKNOWN in results and Result.FAILED not in results
    else:
        blockers = obj.status.blockers
        undecided = bool(blockers) and all(one.reason == Reason.FACT_UNKNOWN for one in blockers)
    return Standing.CANNOT_TELL if undecided else Standing.BLOCKED


def cancelling(obj: VMMigration) -> str:
    """What deleting it now means, as a sentence; the operator's rules are in docs/migrations.md."""
    status = obj.status
    if crossing_of(obj) is not None:
        return (
            "it is over; but it is what remembers that its server went to a newer operating system and cannot return: "
            "deleting it loses that"
        )
    if status.completed_at is not None or status.phase in (Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELLED):
        return "it is over: only this record of it goes away"
    running = status.open_attempt
    if running is None:
        if status.graceful_stop is not None:
            return "its server was stopped for the move: it is started again, then the request is gone"
        return "nothing has begun: it is gone at once, and the server stays where it is"
    if running.type == "Live":
        return (
            f"the live migration to {running.target_host} is aborted, then it is gone; from Nova 33 on the server may "
            "be marked ERROR although it runs on where it was"
        )
    word = "a cold migration" if running.type == "Cold" else "an evacuation"
    return f"{word} cannot be stopped: the one to {running.target_host} is seen to its end, then it is gone"
