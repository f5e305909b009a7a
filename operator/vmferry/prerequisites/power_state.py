"""PowerState (R9; R1, R5, R6): the server's state fits the type of migration.

Nova live-migrates active and paused servers, cold-migrates active and stopped servers, and evacuates active, stopped
and failed servers; it answers 409 otherwise. Cold migration of a running server is refused here although Nova accepts
it (R5), because it would power the server off without being requested to.
"""

from __future__ import annotations

from vmferry.cloud.model import ResolvedType
from vmferry.prerequisites.check import BrokenServer, Finding, Question, failed, passed
from vmferry.prerequisites.enums import Name, Reason

_ALLOWED = {
    ResolvedType.LIVE: ("active", "paused"),
    ResolvedType.COLD: ("stopped",),
    ResolvedType.EVACUATE: ("active", "stopped", "error"),
}

#: covers a guest that still runs while Nova shows its server in ERROR
RUNBOOK = "docs/runbooks/server-in-error-after-an-abort.md"

_REMEDY = {
    "active": "stop it, set stopIfRunning: true, or ask for type Live",
    "stopped": "ask for type Cold, or start the server",
    "paused": "unpause it, or ask for type Live",
    "suspended": "resume it first",
    "resized": "confirm or revert the resize first",
    "rescued": "unrescue it first",
    "error": "find out what broke it (see its fault) and repair it first",
    "shelved": "unshelve it first",
    "shelved_offloaded": "unshelve it: it is on no host, and will be placed anew",
    "building": "wait until it is built",
    "soft-delete": "restore it first",
}


#: the guest's state as the hypervisor last reported it, by Nova's numbers (`nova/compute/power_state.py`)
_GUEST = {0: "in no state", 1: "running", 3: "paused", 4: "shut down", 6: "crashed", 7: "suspended"}
_RUNS = (1, 3)


def check(question: Question) -> Finding:
    server, type_ = question.server, question.type
    if server.vm_state in _ALLOWED[type_]:
        return _guest(question) or passed(Name.POWER_STATE, f"{server.status} fits {type_}")
    if type_ is ResolvedType.COLD and server.vm_state == "active" and question.stop_if_running:
        return passed(Name.POWER_STATE, "ACTIVE: it will be stopped gracefully first and started afterwards")
    if server.vm_state == "error" and question.broken is not None:
        return _broken_by_us(question, question.broken)
    wanted = " or ".join(_ALLOWED[type_])
    fault = f"; its fault: {server.fault}" if server.vm_state == "error" and server.fault else ""
    return failed(
        Name.POWER_STATE,
        Reason.STATE_NOT_MIGRATABLE,
        f"the server is {server.status} ({server.vm_state}); {type_} needs it {wanted}{fault}",
        _remedy(question, wanted),
        server.host,
    )


def _broken_by_us(question: Question, broken: BrokenServer) -> Finding:
    """The guest may still run: a failed move leaves Nova's record in ERROR more often than the guest itself."""
    said = f": {broken.message}" if broken.message else ""
    return failed(
        Name.POWER_STATE,
        Reason.STATE_NOT_MIGRATABLE,
        f"the server is ERROR: attempt {broken.attempt} of {broken.by} ({broken.type} from {broken.source} to "
        f"{broken.target}) left it so at {broken.at:%Y-%m-%dT%H:%M:%SZ}{said}",
        f"the guest may still run: check it and reset the server's state as {RUNBOOK} describes",
        question.server.host,
    )


def _guest(question: Question) -> Finding | None:
    """A finding if the guest's state, as the hypervisor reports it, excludes the type although Nova's state allows it.

    Nova's conductor live-migrates only running and paused guests (`_check_instance_is_active`). A cold migration powers
    off whatever runs, so it would stop a guest that runs although Nova shows its server as stopped (R5).
    """
    server, type_ = question.server, question.type
    guest = f"{_GUEST.get(server.power_state, 'unknown')} (power_state {server.power_state})"
    if type_ is ResolvedType.LIVE and server.power_state not in _RUNS:
        return failed(
            Name.POWER_STATE,
            Reason.STATE_NOT_MIGRATABLE,
            f"the server is {server.status}, but its guest is {guest}; Nova live-migrates running and paused ones only",
            f"start its guest (`openstack server reboot --hard {server.id}`), or stop it and ask for type Cold",
            server.host,
        )
    if type_ is ResolvedType.COLD and server.power_state in _RUNS:
        return failed(
            Name.POWER_STATE,
            Reason.STATE_NOT_MIGRATABLE,
            f"the server is {server.status}, but its guest is {guest}; a cold migration would power it off",
            f"`openstack server start {server.id}`, then ask for type Live; or shut the guest down and wait until Nova "
            "has seen it",
            server.host,
        )
    return None


def _remedy(question: Question, wanted: str) -> str:
    server, source = question.server, question.source
    if question.type is ResolvedType.EVACUATE and source is not None and not source.service.up:
        return f"bring {source.name} back: while it is down nothing can make the server {wanted}"
    return _REMEDY.get(server.vm_state, f"bring it to the state {wanted}")
