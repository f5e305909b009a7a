"""What a flavor demands of the hosts it may be on: traits of Placement, and properties of their aggregates.

Part of Cluster (R11, R21). Nova's scheduler asks for the same at every move: `trait:X` is Placement's,
`aggregate_instance_extra_specs:key` that of AggregateInstanceExtraSpecsFilter, whose rules are followed here (its
wish must be met by one of the comma-separated values of one aggregate). A cloud may run without that filter; the
wish of whoever made the flavor counts all the same.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping

from vmferry.cloud.model import Host, Server
from vmferry.prerequisites.frame import Finding, failed, unknown
from vmferry.prerequisites.words import Name, Reason

_TRAIT = "trait:"
_PROPERTY = "aggregate_instance_extra_specs:"

_NUMBERS: Mapping[str, Callable[[float, float], bool]] = {
    "=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
}
_TEXTS: Mapping[str, Callable[[str, str], bool]] = {
    "s==": operator.eq,
    "s!=": operator.ne,
    "s<": operator.lt,
    "s<=": operator.le,
    "s>": operator.gt,
    "s>=": operator.ge,
    "<in>": operator.contains,
}


def check(server: Server, target: Host) -> Finding | None:
    """What of the flavor's demands the host does not meet; None: it meets them all."""
    for key, wish in sorted(server.flavor.extra_specs.items()):
        if key.startswith(_TRAIT):
            found = _trait(server, target, key.removeprefix(_TRAIT), wish)
        elif key.startswith(_PROPERTY):
            found = _property(server, target, key.removeprefix(_PROPERTY), wish)
        else:
            continue
        if found is not None:
            return found
    return None


def _trait(server: Server, target: Host, trait: str, wish: str) -> Finding | None:
    flavor = server.flavor
    if target.inventories is None:
        return unknown(
            Name.CLUSTER,
            f"the flavor {flavor.name} has {_TRAIT}{trait}={wish}, and the cloud does not tell the traits of "
            f"{target.name}",
            "give the operator's user access to Placement",
            target.name,
        )
    if (trait in target.traits) is (wish == "required"):
        return None
    if wish == "required" and any(key.startswith("resources") for key in flavor.extra_specs):
        return unknown(
            Name.CLUSTER,
            f"{target.name} itself has no trait {trait}, which the flavor {flavor.name} requires; whether one of its "
            "devices has it is not told",
            f"check `openstack resource provider list --required {trait}`",
            target.name,
        )
    what = f"no trait {trait}" if wish == "required" else f"the trait {trait}"
    return failed(
        Name.CLUSTER,
        Reason.OUTSIDE_CLUSTER,
        f"{target.name} has {what}; the flavor {flavor.name} has {_TRAIT}{trait}={wish}",
        f"choose a host {'with' if wish == 'required' else 'without'} {trait}",
        target.name,
    )


def _property(server: Server, target: Host, key: str, wish: str) -> Finding | None:
    values = sorted(
        value.strip()
        for aggregate in target.aggregates
        if key in aggregate.metadata
        for value in aggregate.metadata[key].split(",")
    )
    if any(meets(value, wish) for value in values):
        return None
    return failed(
        Name.CLUSTER,
        Reason.OUTSIDE_CLUSTER,
        f"the flavor {server.flavor.name} needs a host in an aggregate with {key} {wish}; those of {target.name} "
        f"say {', '.join(values) if values else 'nothing of it'}",
        f"choose a host in an aggregate with {key} {wish}",
        target.name,
    )


def meets(value: str, wish: str) -> bool:
    """Whether a property's value meets a flavor's wish: an operator and its operands, or just the same text.

    What Nova cannot compare (a number that is none) is not met.
    """
    first, *operands = wish.split() or [""]
    if first == "<or>":
        return value in operands[::2]
    if first == "<all-in>":
        return bool(operands) and all(operand in value for operand in operands)
    if first in _TEXTS:
        return bool(operands) and _TEXTS[first](value, operands[0])
    if first in _NUMBERS:
        try:
            return bool(operands) and _NUMBERS[first](float(value), float(operands[0]))
        except ValueError:
            return False
    return value == wish
