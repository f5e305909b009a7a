"""ServerLock (R18, I10): a locked server is not moved. Nova would do it for an administrator."""

from __future__ import annotations

from vmferry.prerequisites.frame import Finding, Question, failed, passed
from vmferry.prerequisites.words import Name, Reason


def check(question: Question) -> Finding:
    server = question.server
    if not server.locked:
        return passed(Name.SERVER_LOCK, "not locked")
    why = f": {server.locked_reason}" if server.locked_reason else ""
    return failed(
        Name.SERVER_LOCK,
        Reason.LOCKED,
        f"the server is locked{why}",
        f"ask its owner, then `openstack server unlock {server.id}`",
        server.host,
    )
