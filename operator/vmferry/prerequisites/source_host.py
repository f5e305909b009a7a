"""SourceHost (R10, I12): up for Live and Cold, failed for Evacuate.

A host counts as failed if its service is down, has sent no heartbeat for `hostDownFor`, and the host's death is
attested: by a request of `type: Evacuate` for exactly this host (I38), or by `forced_down`, which is set when the host
is fenced. A host that still sends heartbeats is alive whatever its flags are; Nova itself would evacuate from it.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from vmferry.cloud.model import Host, Part, ResolvedType
from vmferry.prerequisites.check import ON_NO_HOST, PLACE_IT, Finding, Question, failed, passed, seconds, unknown
from vmferry.prerequisites.enums import Name, Reason


def check(question: Question) -> Finding:
    server, source = question.server, question.source
    if server.host is None:
        return failed(
            Name.SOURCE_HOST,
            Reason.STATE_NOT_MIGRATABLE,
            ON_NO_HOST,
            PLACE_IT,
        )
    doubt = question.snapshot.find_doubt(server.host)
    if doubt is not None:
        return unknown(Name.SOURCE_HOST, doubt.problem, doubt.remedy, server.host)
    if source is None:
        return unknown(
            Name.SOURCE_HOST,
            f"the cloud lists no compute service of {server.host}, where the server is",
            "check `openstack compute service list`; the host may have been removed with servers on it",
            server.host,
        )
    if question.type is ResolvedType.EVACUATE:
        return _failed_host(question, source)
    if source.service.up and _lost_libvirt(source):
        return failed(
            Name.SOURCE_HOST,
            Reason.HOST_DOWN,
            f"nova-compute of {source.name} has lost libvirt: {source.service.disabled_reason}",
            f"restart libvirt on {source.name}; Nova enables the host again by itself, and the move goes on",
            source.name,
        )
    if source.service.up:
        return passed(Name.SOURCE_HOST, "its compute service is up", source.name)
    if _lives(question, source):
        return failed(
            Name.SOURCE_HOST,
            Reason.HOST_DOWN,
            f"{source.name} reports, but is marked down by force; {question.type} needs it up",
            f"{_MARK_UP} {source.name} nova-compute`, once it is certain that nobody evacuates from it",
            source.name,
        )
    return failed(
        Name.SOURCE_HOST,
        Reason.HOST_DOWN,
        f"the compute service of {source.name} is down; {question.type} needs it up",
        "bring the host back, or ask for type Evacuate once it is certain that the host is off",
        source.name,
    )


#: incomplete command: the host and the binary follow
_MARK_UP = "`openstack compute service set --up"


def _lost_libvirt(host: Host) -> bool:
    """Whether Nova itself has disabled the host because libvirt is unavailable (`_set_host_enabled` in
    nova/virt/libvirt/driver.py): nothing can be copied from it until libvirt is back."""
    reason = host.service.disabled_reason or ""
    return not host.service.enabled and reason.startswith("AUTO:") and "libvirt" in reason.lower()


def _silent(question: Question, last_seen: datetime) -> timedelta:
    """Time since the service's last heartbeat.

    Neither an outdated snapshot nor a local clock that is ahead may make a living host appear dead.
    """
    read_at = min(question.now, question.snapshot.read_at.get(Part.HOSTS, question.now))
    return (question.snapshot.services_at or read_at) - last_seen


def _lives(question: Question, source: Host) -> bool:
    """Whether the service sends heartbeats although it is forced down, so that the mark was probably forgotten."""
    service = source.service
    seen = service.forced_down and service.last_seen is not None
    return (
        seen and service.last_seen is not None and _silent(question, service.last_seen) < question.policy.host_down_for
    )


def _failed_host(question: Question, source: Host) -> Finding:
    service = source.service
    if question.attested not in (None, source.name):
        return failed(
            Name.SOURCE_HOST,
            Reason.HOST_NOT_FAILED,
            f"the request attests that {question.attested} is dead, and the server is on {source.name}",
            f"make certain that {source.name} is powered off, then create another request",
            source.name,
        )
    if service.up:
        return failed(
            Name.SOURCE_HOST,
            Reason.HOST_NOT_FAILED,
            f"the compute service of {source.name} is up; Evacuate is only for a failed host",
            "ask for type Live or Cold; if the host is dead all the same, wait until Nova shows its service as down",
            source.name,
        )
    if service.last_seen is None:
        return unknown(
            Name.SOURCE_HOST,
            f"the cloud does not report when {source.name} was last seen alive",
            "check the host; its compute service has never reported",
            source.name,
        )
    needed = question.policy.host_down_for
    if _silent(question, service.last_seen) < needed:
        if service.forced_down:
            message = (
                f"{source.name} is marked down by force but still reported less than {seconds(needed)} ago; "
                "it may be alive"
            )
            remedy = (
                f"if it is alive: {_MARK_UP} {source.name} nova-compute`; if it was switched off just now: wait until "
                f"it has sent no heartbeat for {seconds(needed)}"
            )
        else:
            message = f"{source.name} reported less than {seconds(needed)} ago; it may be alive"
            remedy = f"wait until it has sent no heartbeat for {seconds(needed)}"
        return failed(Name.SOURCE_HOST, Reason.HOST_NOT_FAILED, message, remedy, source.name)
    witness = next((fact for fact in source.facts.responding if fact.value), None)
    if witness is not None:
        return failed(
            Name.SOURCE_HOST,
            Reason.HOST_NOT_FAILED,
            f"{source.name} sends no heartbeat to Nova, but another health source reports that it responds: "
            f"{witness.origin}",
            "find out which of them is wrong; a host that may be alive is never evacuated",
            source.name,
        )
    if not (question.attested == source.name or service.forced_down):
        return failed(
            Name.SOURCE_HOST,
            Reason.HOST_NOT_FAILED,
            f"{source.name} sends no heartbeat, but nothing confirms that it is powered off",
            "make certain that the host is powered off, then ask for type Evacuate by name, or force its service down",
            source.name,
        )
    return passed(
        Name.SOURCE_HOST,
        f"failed: its compute service is down and has sent no heartbeat for {seconds(needed)}",
        source.name,
    )
