"""TargetHost (R10, I18): known, not the server's own host, up, enabled, and not in or entering maintenance."""

from __future__ import annotations

from vmferry.cloud.model import DoubtfulHost, Host
from vmferry.prerequisites.check import Finding, Question, failed, passed, unknown
from vmferry.prerequisites.enums import Name, Reason


def check(question: Question) -> Finding:
    target = question.target
    assert target is not None
    if target.name == question.server.host:
        return _failed(target, Reason.SAME_HOST, f"the server is on {target.name} already", "name another host")
    if target.service.forced_down:
        return _failed(
            target,
            Reason.HOST_DOWN,
            f"{target.name} is marked down by force",
            f"`openstack compute service set --up {target.name} nova-compute` once it is well, or choose another one",
        )
    if not target.service.up:
        return _failed(
            target,
            Reason.HOST_DOWN,
            f"the compute service of {target.name} is down",
            "bring the host back, or choose another one",
        )
    if target.name in question.in_maintenance:
        return _failed(
            target,
            Reason.HOST_IN_MAINTENANCE,
            f"{target.name} is in maintenance, or about to be",
            "wait for its release, or choose another host",
        )
    if not target.service.enabled:
        why = f": {target.service.disabled_reason}" if target.service.disabled_reason else ""
        return _failed(
            target,
            Reason.HOST_DISABLED,
            f"{target.name} is disabled{why}",
            "enable its compute service, or choose another host",
        )
    if target.hypervisor is None:
        return _failed(
            target,
            Reason.HOST_DOWN,
            f"{target.name} has registered no hypervisor",
            "check its nova-compute, or choose another host",
        )
    return passed(Name.TARGET_HOST, "up and enabled", target.name)


def in_doubt(target: DoubtfulHost) -> Finding:
    """The finding for a named target whose records contradict each other or cannot be read (I36)."""
    return unknown(Name.TARGET_HOST, target.problem, target.remedy, target.name)


def _failed(target: Host, reason: Reason, message: str, remedy: str) -> Finding:
    return failed(Name.TARGET_HOST, reason, message, remedy, target.name)
