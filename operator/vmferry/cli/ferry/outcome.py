"""Where an object stands, and the exit status that says so. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pydantic import ValidationError

from vmferry.cli.ferry.kube import FerryError
from vmferry.cli.ferry.views import view_of
from vmferry.cli.verdict import ExitStatus
from vmferry.prerequisites.enums import Reason
from vmferry.reconcilers import conditions as c
from vmferry.resources.base import Condition
from vmferry.resources.catalog import CATALOG
from vmferry.resources.hostmaintenance import HostMaintenance
from vmferry.resources.vmmigration import VMMigration
from vmferry.runtime.kube_api import Body

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
    #: nothing but what the cloud does not report stands against it
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
        unfounded = ready.reason in _NOT_FOUND and not view_of(obj).begun(obj)
        return Standing.CANNOT_TELL if unfounded else Standing.FAILED
    stalled = obj.status.condition(c.STALLED)
    if stalled is None or stalled.status != "True":
        return Standing.UNDER_WAY
    if ready.reason in _NOT_FOUND:
        return Standing.CANNOT_TELL
    return Standing.CANNOT_TELL if view_of(obj).only_unknown(obj) else Standing.BLOCKED
