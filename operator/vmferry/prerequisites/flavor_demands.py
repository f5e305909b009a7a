"""Demands of a server on its hosts: Placement traits, and properties of their aggregates.

Part of AvailabilityZone (R11, R21). Nova's scheduler applies the same demands to every move:

- Placement checks `trait:X` of the flavor, and the traits for a vTPM and for secure boot, which the flavor or (2.98)
  the image requests. Nova does not report the traits that an image itself requires.
- `aggregate_instance_extra_specs:key` belongs to AggregateInstanceExtraSpecsFilter, whose rules are followed here: one
  of the comma-separated values of one aggregate must match. A cloud may not enable that filter; the demand counts all
  the same, since the flavor's author stated it.
- That filter also checks a key without any scope, but the key has no meaning in a cloud that does not enable the filter
  (Nova's default), and no API reports whether it is enabled. If neither the server's own host nor the target is in an
  aggregate with that key, the filter cannot be in force, since it would have excluded the server's host: the key is
  ignored. If one of them is and the target does not match, the result is Unknown (R19).

A flavor whose extra specs are hidden is Unknown as well.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping

from vmferry.cloud.model import Host, Server
from vmferry.prerequisites.check import Finding, failed, unknown
from vmferry.prerequisites.devices import asked_for, has_vtpm
from vmferry.prerequisites.enums import Name, Reason, Result

_TRAIT = "trait:"
_PROPERTY = "aggregate_instance_extra_specs:"
_TPM_MODELS = {"tpm-tis": "COMPUTE_SECURITY_TPM_TIS", "tpm-crb": "COMPUTE_SECURITY_TPM_CRB"}

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


def check(server: Server, source: Host, target: Host) -> Finding | None:
    """A finding about a demand that the target does not meet, or None if it meets them all."""
    doubts: list[Finding] = []
    if not server.flavor.extra_specs_told:
        doubts.append(
            unknown(
                Name.AVAILABILITY_ZONE,
                f"the extra specs of the flavor {server.flavor.name}, which say what hosts it demands, are hidden",
                "give the operator's user Nova's policy os_compute_api:os-flavor-extra-specs:index",
                target.name,
            )
        )
    for found in _findings(server, source, target):
        if found.result is Result.FAILED:
            return found
        doubts.append(found)
    return doubts[0] if doubts else None


def _findings(server: Server, source: Host, target: Host) -> Iterator[Finding]:
    for key, wish in sorted(server.flavor.extra_specs.items()):
        found = None
        if key.startswith(_TRAIT):
            by = f"the flavor {server.flavor.name} has {key}={wish}"
            found = _trait(server, target, key.removeprefix(_TRAIT), wish, by)
        elif key.startswith(_PROPERTY):
            found = _property(server, target, key.removeprefix(_PROPERTY), wish)
        elif ":" not in key:
            found = _unscoped(server, source, target, key, wish)
        if found is not None:
            yield found
    for trait, by in _implied(server, target):
        found = _trait(server, target, trait, "required", by)
        if found is not None:
            yield found


def _implied(server: Server, target: Host) -> Iterator[tuple[str, str]]:
    """The traits that Nova requires because of the flavor or the image, each with its cause.

    Older Nova releases report no vTPM models and require none. Encrypted memory is left to Devices: its trait may be on
    a child of the host's resource provider.
    """
    if has_vtpm(server):
        version, model = asked_for(server, "tpm_version"), asked_for(server, "tpm_model")
        yield f"COMPUTE_SECURITY_TPM_{'2_0' if version == '2.0' else '1_2'}", f"the server has a vTPM {version}"
        if not target.traits.isdisjoint(_TPM_MODELS.values()):
            yield _TPM_MODELS.get(model or "", _TPM_MODELS["tpm-tis"]), f"the server has a vTPM {model or 'tpm-tis'}"
    if asked_for(server, "os:secure_boot") == "required":
        yield "COMPUTE_SECURITY_UEFI_SECURE_BOOT", "the server requires secure boot"


def _trait(server: Server, target: Host, trait: str, wish: str, by: str) -> Finding | None:
    if target.inventories is None:
        return unknown(
            Name.AVAILABILITY_ZONE,
            f"{by}, and the cloud does not report the traits of {target.name}",
            "give the operator's user access to Placement",
            target.name,
        )
    if (trait in target.traits) is (wish == "required"):
        return None
    if wish == "required" and any(key.startswith("resources") for key in server.flavor.extra_specs):
        return unknown(
            Name.AVAILABILITY_ZONE,
            f"{target.name} itself has no trait {trait}, which is required: {by}; whether one of its devices has it is "
            "unknown",
            f"check `openstack resource provider list --required {trait}`",
            target.name,
        )
    what = f"no trait {trait}" if wish == "required" else f"the trait {trait}"
    return failed(
        Name.AVAILABILITY_ZONE,
        Reason.OUTSIDE_ZONE,
        f"{target.name} has {what}; {by}",
        f"choose a host {'with' if wish == 'required' else 'without'} {trait}",
        target.name,
    )


def _property(server: Server, target: Host, key: str, wish: str) -> Finding | None:
    values = _values(target, key)
    if any(meets(value, wish) for value in values):
        return None
    return failed(
        Name.AVAILABILITY_ZONE,
        Reason.OUTSIDE_ZONE,
        f"the flavor {server.flavor.name} needs a host in an aggregate with {key} {wish}; those of {target.name} "
        f"say {', '.join(values) if values else 'nothing of it'}",
        f"choose a host in an aggregate with {key} {wish}",
        target.name,
    )


def _unscoped(server: Server, source: Host, target: Host, key: str, wish: str) -> Finding | None:
    values = _values(target, key)
    if any(meets(value, wish) for value in values) or not (values or _values(source, key)):
        return None
    return unknown(
        Name.AVAILABILITY_ZONE,
        f"the flavor {server.flavor.name} has {key}={wish}, and the aggregates of {target.name} say "
        f"{', '.join(values) if values else 'nothing of it'}; whether Nova asks for it "
        "(AggregateInstanceExtraSpecsFilter) is unknown",
        f"choose a host in an aggregate with {key} {wish}; write the key as {_PROPERTY}{key} where it is meant so, "
        "and remove it where it is not",
        target.name,
    )


def _values(host: Host, key: str) -> list[str]:
    """The comma-separated values of a property in the host's aggregates."""
    return sorted(
        value.strip()
        for aggregate in host.aggregates
        if key in aggregate.metadata
        for value in aggregate.metadata[key].split(",")
    )


def meets(value: str, wish: str) -> bool:
    """Whether a property's value matches a flavor's demand: an operator with operands, or the same text.

    A comparison that Nova cannot make (a text that is not a number) does not match.
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
