"""PowerState (R9): the server's state fits the kind of migration.

Nova live-migrates active and paused servers, cold-migrates active and stopped ones, and evacuates active, stopped
and failed ones; anything else is a 409. Cold migration of a running server is refused here although Nova would
do it (R5): it would power the server off without being asked.
"""

from __future__ import annotations

from vmferry.cloud.model import MigrationKind
from vmferry.prerequisites.frame import Finding, Question, failed, passed
from vmferry.prerequisites.words import Name, Reason

_ALLOWED = {
    MigrationKind.LIVE: ("active", "paused"),
    MigrationKind.COLD: ("stopped",),
    MigrationKind.EVACUATE: ("active", "stopped", "error"),
}

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
    wanted = " or ".join(_ALLOWED[kind])
    fault = f"; its fault: {server.fault}" if server.vm_state == "error" and server.fault else ""
    return failed(
        Name.POWER_STATE,
        Reason.STATE_NOT_MIGRATABLE,
        f"the server is {server.status} ({server.vm_state}); {kind} needs it {wanted}{fault}",
        _remedy(question, wanted),
        server.host,
    )


def _remedy(question: Question, wanted: str) -> str:
    server, source = question.server, question.source
    if question.kind is MigrationKind.EVACUATE and source is not None and not source.service.up:
        return f"bring {source.name} back: while it is down nothing can make the server {wanted}"
    return _REMEDY.get(server.vm_state, f"bring it to the state {wanted}")
