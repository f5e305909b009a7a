"""The standing of an object, and its exit status. Pure."""

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
#: as in preflight, there is no verdict on an object that does not exist
_NOT_FOUND = (Reason.SERVER_NOT_FOUND, Reason.HOST_NOT_FOUND)


class Standing(StrEnum):
    #: the operator has not reconciled this spec yet
    UNSEEN = "Unseen"
    #: it proceeds without intervention
    UNDER_WAY = "UnderWay"
    DONE = "Done"
    #: it proceeds once what blocks it is resolved
    BLOCKED = "Blocked"
    #: only facts that the cloud does not report block it
    CANNOT_TELL = "CannotTell"
    FAILED = "Failed"

    @property
    def final(self) -> bool:
        """Whether it changes only after an intervention."""
        return self not in (Standing.UNSEEN, Standing.UNDER_WAY)

    @property
    def exit_status(self) -> ExitStatus:
        """The exit status; work under way counts as success."""
        if self in (Standing.BLOCKED, Standing.FAILED):
            return ExitStatus.BLOCKED
        return ExitStatus.CANNOT_TELL if self in (Standing.CANNOT_TELL, Standing.UNSEEN) else ExitStatus.ALL_OK


@dataclass(frozen=True, slots=True)
class Outcome:
    standing: Standing
    #: CamelCase, or empty
    reason: str = ""
    #: the operator's message, as untrusted text
    message: str = ""


def read(body: Body) -> Object:
    """Convert to the typed object. Raises FerryError if this program does not know its version."""
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
    """Derive the outcome from the conditions; the phase is only for display."""
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
