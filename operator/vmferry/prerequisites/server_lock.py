"""ServerLock (R18, R32, I10): a server that is locked, or opted out by its owner, is not moved. Nova would move it."""

from __future__ import annotations

from vmferry.prerequisites.check import Finding, Question, failed, passed
from vmferry.prerequisites.enums import Name, Reason

#: server metadata in which the owner sets the server's migration priority; `never` opts out
PRIORITY_KEY = "migration-priority"
NEVER = "never"


def check(question: Question) -> Finding:
    server = question.server
    opted_out = server.metadata.get(PRIORITY_KEY) == NEVER
    message = "its metadata says " + f"{PRIORITY_KEY}: {NEVER}"
    remedy = f"it is its owner's decision: `openstack server unset --property {PRIORITY_KEY} {server.id}`"
    if server.locked:
        why = f": {server.locked_reason}" if server.locked_reason else ""
        return failed(
            Name.SERVER_LOCK,
            Reason.LOCKED,
            f"the server is locked{why}" + (f"; and {message}" if opted_out else ""),
            f"ask its owner, then `openstack server unlock {server.id}`" + (f"; {remedy}" if opted_out else ""),
            server.host,
        )
    if opted_out:
        return failed(
            Name.SERVER_LOCK, Reason.OPTED_OUT, f"its owner wants it left where it is: {message}", remedy, server.host
        )
    return passed(Name.SERVER_LOCK, "not locked")
