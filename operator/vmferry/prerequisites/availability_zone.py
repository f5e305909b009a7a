"""AvailabilityZone (R11): source and target are in the same availability zone.

The demands of the server's flavor and image on its hosts count as well, see `flavor_demands`.

A PCD cluster is a host aggregate whose availability zone has the cluster's name, and Nova reports the zone of each
service. Hosts without such an aggregate share the cloud's default zone.
"""

from __future__ import annotations

from vmferry.prerequisites import aggregate_rules, flavor_demands
from vmferry.prerequisites.check import ON_NO_HOST, PLACE_IT, Finding, Question, failed, passed, unknown
from vmferry.prerequisites.enums import Name, Reason


def _to_zone(question: Question, zone: str) -> str:
    """The remedy for a server that is bound to this zone; a zone without hosts was probably renamed."""
    if any(host.zone == zone for host in question.snapshot.hosts.values()):
        return f"choose a host of {zone}"
    return (
        f"no host is in zone {zone}: give the zone its name back (`openstack aggregate set --zone {zone} AGGREGATE`), "
        f"or shelve the server and `openstack server unshelve --availability-zone ZONE {question.server.id}`"
    )


def check(question: Question) -> Finding:
    source, target = question.source, question.target
    assert target is not None
    if question.server.host is None:
        return unknown(Name.AVAILABILITY_ZONE, ON_NO_HOST, PLACE_IT)
    if source is None:
        return unknown(
            Name.AVAILABILITY_ZONE,
            f"the availability zone of {question.server.host} is not known",
            "check `openstack compute service list`",
            question.server.host,
        )
    for host in (source, target):
        zones = sorted({one.availability_zone for one in host.aggregates if one.availability_zone})
        if len(zones) > 1:
            return unknown(
                Name.AVAILABILITY_ZONE,
                f"{host.name} is in aggregates of several zones ({', '.join(zones)}); which one counts is unknown",
                f"leave {host.name} in the aggregates of one zone only",
                host.name,
            )
    if source.zone != target.zone:
        return failed(
            Name.AVAILABILITY_ZONE,
            Reason.OUTSIDE_ZONE,
            f"{target.name} is in {target.zone}, the server's host {source.name} in {source.zone}",
            f"choose a host of {source.zone}",
            target.name,
        )
    pinned = question.server.pinned_availability_zone
    if pinned is not None and pinned != target.zone:
        return failed(
            Name.AVAILABILITY_ZONE,
            Reason.OUTSIDE_ZONE,
            f"the server was created for zone {pinned}; {target.name} is in {target.zone}",
            _to_zone(question, pinned),
            target.name,
        )
    demanded = flavor_demands.check(question.server, source, target)
    if demanded is not None:
        return demanded
    rule = aggregate_rules.may_refuse(question)
    note = f"; {rule}: Nova refuses the server if it is set up to ask for that" if rule else ""
    return passed(Name.AVAILABILITY_ZONE, f"both in {target.zone}{note}", target.name)
