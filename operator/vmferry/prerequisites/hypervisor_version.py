"""HypervisorVersion (R14): the same hypervisor in the same version, and never an older one.

Nova refuses a live migration to an older hypervisor only after accepting it, and checks nothing for cold migration and
evacuation. A server cannot return from a newer version, so that is allowed only with `osUpgrade: true` (R22).
"""

from __future__ import annotations

from vmferry.prerequisites.check import ON_NO_HOST, PLACE_IT, Finding, Question, failed, passed, unknown
from vmferry.prerequisites.enums import Name, Reason

_NAME = Name.HYPERVISOR_VERSION


def check(question: Question) -> Finding:
    target = question.target
    assert target is not None
    if question.server.host is None:
        return unknown(_NAME, ON_NO_HOST, PLACE_IT)
    old = question.source.hypervisor if question.source else None
    new = target.hypervisor
    if old is None or new is None:
        silent = target.name if new is None else question.server.host
        return unknown(
            _NAME,
            f"{silent} reports no hypervisor version",
            f"check nova-compute on {silent}: it has registered no hypervisor",
            silent,
        )
    if old.type != new.type:
        return failed(
            _NAME,
            Reason.HYPERVISOR_MISMATCH,
            f"{target.name} runs {new.type}, {old.service_host} runs {old.type}",
            f"choose a host with {old.type}",
            target.name,
        )
    versions = f"{target.name} has {new.version_text}, {old.service_host} has {old.version_text}"
    if new.version < old.version:
        return failed(
            _NAME,
            Reason.HYPERVISOR_TOO_OLD,
            f"{versions}: a server never goes to an older hypervisor",
            f"choose a host with {old.version_text}, or upgrade {target.name}",
            target.name,
        )
    if new.version > old.version and not question.os_upgrade:
        return failed(
            _NAME,
            Reason.HYPERVISOR_MISMATCH,
            f"{versions}: the server could not come back",
            f"choose a host with {old.version_text}, or plan the one-way move with osUpgrade: true",
            target.name,
        )
    return passed(_NAME, f"{old.type} {old.version_text} to {new.version_text}", target.name)
