"""Aggregate rules by which Nova may refuse a server that passes all other checks.

Nova's scheduler evaluates these metadata keys of an aggregate only if its configuration enables it, and none is enabled
by default (`enabled_filters` and `[scheduler]` in nova/conf/scheduler.py). No API reports which are enabled, so none of
them makes a host ineligible here: such a host ranks behind the hosts without a matching rule.

- `filter_tenant_id` and keys with this prefix: AggregateMultiTenancyIsolation admits only these projects; with
  `limit_tenants_to_placement_aggregate`, a project that has such an aggregate is confined to it.
- `trait:X` = required: with `enable_isolated_aggregate_filtering`, only servers whose flavor or image requires X.
- `instance_type`: AggregateTypeAffinityFilter admits only these flavors.
- `max_instances_per_host`: AggregateNumInstancesFilter.
- any other key that is also a property of the server's image: AggregateImagePropertiesIsolation.

If the server's current host breaks the same rule, the rule cannot be in force and is ignored. `max_io_ops_per_host`
(AggregateIoOpsFilter) depends on counts that change every second and is left to Nova. The flavor's extra specs are
checked in `flavor_demands`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from vmferry.cloud.model import Aggregate, Host
from vmferry.prerequisites.check import Question

_TENANT = "filter_tenant_id"
_TRAIT = "trait:"
_TYPE = "instance_type"
_MOST = "max_instances_per_host"


def may_refuse(question: Question) -> str | None:
    """The rule of one of the target's aggregates by which Nova may refuse the server, or None."""
    target, source = question.target, question.source
    assert target is not None
    # the fields read here become part of the cache key in `HostAssessments`, so no field is read needlessly
    if not any(_has_rules(one) for host in (target, source) if host is not None for one in host.aggregates):
        return None
    return next(_rules(question, target, source), None)


def ruled(source: Host | None, hosts: Iterable[Host]) -> tuple[Host, ...]:
    """The hosts for which `may_refuse` may find a rule: all, if the source's aggregates are reserved for projects."""
    found = tuple(hosts)
    if _values(source, _TENANT, prefix=True):
        return found
    return tuple(host for host in found if any(_has_rules(aggregate) for aggregate in host.aggregates))


def _has_rules(aggregate: Aggregate) -> bool:
    return any(key != "availability_zone" and not key.startswith("vmferry:") for key in aggregate.metadata)


def _rules(question: Question, target: Host, source: Host | None) -> Iterator[str]:
    here = source if source is not None and source.aggregates else None
    projects = _values(target, _TENANT, prefix=True)
    if projects or (here is not None and _values(here, _TENANT, prefix=True)):
        project = question.server.project_id
        if projects and project not in projects:
            own = _values(here, _TENANT, prefix=True)
            if not own or project in own:
                yield f"an aggregate of {target.name} is for other projects ({_TENANT})"
        elif project not in projects and here is not None and _dedicated(here, project):
            yield f"the server's project has an aggregate of its own ({_TENANT}), and {target.name} is not in it"
    for trait in sorted(_traits(target) - _traits(here)):
        if question.server.flavor.extra_specs.get(trait) != "required":
            yield f"an aggregate of {target.name} is for servers that require {trait.removeprefix(_TRAIT)}"
    flavors = _values(target, _TYPE)
    if flavors and question.server.flavor.name not in flavors:
        own = _values(here, _TYPE)
        if not own or question.server.flavor.name in own:
            yield f"an aggregate of {target.name} is for other flavors ({_TYPE})"
    most = _most(target)
    if most is not None:
        count = len(question.snapshot.servers_by_host.get(target.name, ()))
        if count >= most:
            yield f"an aggregate of {target.name} allows {most} servers on a host ({_MOST}), it has {count}"
    if any(_has_rules(one) for one in target.aggregates) and (properties := question.server.image_properties):
        yield from _image(properties, target, here)


def _image(properties: Mapping[str, str], target: Host, here: Host | None) -> Iterator[str]:
    for key in sorted({key for one in target.aggregates for key in one.metadata} & properties.keys()):
        wanted, allowed, own = properties[key], _values(target, key), _values(here, key)
        if wanted and wanted not in allowed and not (own and wanted not in own):
            yield f"an aggregate of {target.name} is for images with another {key}"


def _values(host: Host | None, key: str, *, prefix: bool = False) -> frozenset[str]:
    """The comma-separated values of a key in the host's aggregates; with `prefix`, of all keys that begin with it."""
    found: set[str] = set()
    for aggregate in host.aggregates if host is not None else ():
        for name, text in aggregate.metadata.items():
            if name == key or (prefix and name.startswith(key)):
                found.update(part.strip() for part in text.split(","))
    return frozenset(found)


def _dedicated(host: Host, project: str) -> bool:
    """Compares as Nova does: the whole value is the project's id."""
    return any(
        name.startswith(_TENANT) and text == project
        for aggregate in host.aggregates
        for name, text in aggregate.metadata.items()
    )


def _traits(host: Host | None) -> frozenset[str]:
    return frozenset(
        name
        for aggregate in (host.aggregates if host is not None else ())
        for name, text in aggregate.metadata.items()
        if name.startswith(_TRAIT) and text == "required"
    )


def _most(host: Host) -> int | None:
    """The smallest number, as in Nova; values that are not numbers are ignored."""
    numbers = [int(text) for text in _values(host, _MOST) if text.isdecimal()]
    return min(numbers, default=None)
