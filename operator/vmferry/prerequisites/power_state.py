"""PowerState (R9): the server's state fits the kind of migration.

Nova live-migrates active and paused servers, cold-migrates active and stopped ones, and evacuates active, stopped
and failed ones; anything else is a 409. Cold migration of a running server is refused here although Nova would
do it (R5): it would power the server off without being asked.
"""

from __future__ import annotations

from vmferry.cloud.model import MigrationKind
from vmferry.prerequisites.frame import BrokenServer, Finding, Question, failed, passed
from vmferry.prerequisites.words import Name, Reason

_ALLOWED = {
    MigrationKind.LIVE: ("active", "paused"),
    MigrationKind.COLD: ("stopped",),
    MigrationKind.EVACUATE: ("active", "stopped", "error"),
}

#: of a guest that runs on while Nova shows its server in ERROR
RUNBOOK = "docs/runbooks/server-in-error-after-an-abort.md"

_REMEDY = {
    "active": "stop it, set stopIfRunning: true, or ask for type Live",
    "stopped": "ask for type Cold, or start the server",
    "paused": "unpause it, or ask for type Live",
    "suspended": "resume it first",
    "resized": "confirm or revert the resize first",
    "rescued": "unrescue it first",
    "error": "find out what broke it (its fault says more) and repair it first",
    "shelved": "unshelve it first",
    "shelved_offloaded": "unshelve it: it is on no host, and will be placed anew",
    "building": "wait until it is built",
    "soft-delete": "restore it first",
}


def check(question: Question) -> Finding:
    server, kind = question.server, question.kind
    if server.vm_state in _ALLOWED[kind]:
        return passed(Name.POWER_STATE, f"{server.status} fits {kind}")
    if kind is MigrationKind.COLD and server.vm_state == "active" and question.stop_if_running:
        return passed(Name.POWER_STATE, "ACTIVE: it will be stopped gracefully first and started afterwards")
    if server.vm_state == "error" and question.broken is not None:
        return _broken_by_us(question, question.broken)
    wanted = " or ".join(_ALLOWED[kind])
    fault = f"; its fault: {server.fault}" if server.vm_state == "error" and server.fault else ""
    return failed(
        Name.POWER_STATE,
        Reason.STATE_NOT_MIGRATABLE,
        f"the server is {server.status} ({server.vm_state}); {kind} needs it {wanted}{fault}",
        _remedy(question, wanted),
        server.host,
    )


def _broken_by_us(question: Question, broken: BrokenServer) -> Finding:
    """The guest may run on: a move that fails leaves Nova's record in ERROR more often than the guest."""
    said = f": {broken.message}" if broken.message else ""
    return failed(
        Name.POWER_STATE,
        Reason.STATE_NOT_MIGRATABLE,
        f"the server is ERROR: attempt {broken.attempt} of {broken.by} ({broken.kind} from {broken.source} to "
        f"{broken.target}) left it so at {broken.at:%Y-%m-%dT%H:%M:%SZ}{said}",
        f"the guest may still run: check it and reset the server's state as {RUNBOOK} describes",
        question.server.host,
    )


def _remedy(question: Question, wanted: str) -> str:
    server, source = question.server, question.source
    if question.kind is MigrationKind.EVACUATE and source is not None and not source.service.up:
        return f"bring {source.name} back: while it is down nothing can make the server {wanted}"
    return _REMEDY.get(server.vm_state, f"bring it to the state {wanted}")
