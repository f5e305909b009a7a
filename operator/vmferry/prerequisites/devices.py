"""Devices (R18): what is attached to the server and does not move, or not everywhere.

Told are the flavor's extra specs. What Nova refuses for them is refused here before (R21; the rules of Nova 33, whose
API also refuses in older releases). Whether a host has a fitting device free, or room on one NUMA node, Nova tells
nobody: that is Unknown (R19).

Not told by any list of Nova, so not looked at: ports (SR-IOV, vDPA), file shares, and the properties of images.
"""

from __future__ import annotations

from collections.abc import Mapping

from vmferry.cloud.model import MigrationKind
from vmferry.prerequisites.frame import Finding, Question, failed, passed, unknown
from vmferry.prerequisites.words import Name, Reason

_NAME = Name.DEVICES
_LIVE, _COLD, _EVACUATE = MigrationKind

_TRUE = frozenset({"1", "t", "true", "on", "y", "yes"})
_ASK_FOR_COLD = "power the server off and ask for type Cold"


def check(question: Question) -> Finding:
    specs, kind, host = question.server.flavor.extra_specs, question.kind, question.server.host
    refused = _refused(question, specs)
    if refused:
        return failed(
            _NAME,
            Reason.DEVICE_ATTACHED,
            "; ".join(why for why, _ in refused),
            "; ".join(dict.fromkeys(remedy for _, remedy in refused)),
            host,
        )
    untold = _untold(kind, specs)
    if untold:
        return unknown(
            _NAME,
            f"{kind}: the cloud does not tell {'; nor '.join(untold)}",
            "make certain by hand that the target fits, and allow it in the operator's configuration "
            "(tolerateUnknown: [Devices])",
            host,
        )
    if _vtpm(specs):
        return passed(_NAME, f"{kind} takes its vTPM along; ports, shares and image properties are not told", host)
    return passed(_NAME, "its flavor asks for no device; ports, shares and image properties are not told", host)


def _refused(question: Question, specs: Mapping[str, str]) -> list[tuple[str, str]]:
    """What Nova refuses for certain, and what to do."""
    kind = question.kind
    found: list[tuple[str, str]] = []
    if "accel:device_profile" in specs and kind is not _EVACUATE:
        profile = specs["accel:device_profile"]
        found.append(
            (
                f"the accelerator {profile} (accel:device_profile) cannot be moved: Nova refuses {kind} with it",
                "resize the server to a flavor without it, or build it anew elsewhere",
            )
        )
    if _vtpm(specs):
        # Nova 33 moves the secret along only where it belongs to the host; older ones move none
        if kind is _LIVE and specs.get("hw:tpm_secret_security", "user") != "host":
            found.append(("Nova live-migrates a vTPM only with hw:tpm_secret_security=host", _ASK_FOR_COLD))
        if kind is _EVACUATE:
            found.append(
                (
                    "Nova does not evacuate a server with a vTPM: its state is on the failed host",
                    "repair the host, or restore the server from a backup",
                )
            )
        if (
            kind is _COLD
            and question.server.vm_state == "active"
            and specs.get("hw:tpm_secret_security", "user") == "user"
        ):
            found.append(
                (
                    "the secret of its vTPM is its owner's: nobody else can start the server again after the move",
                    "let its owner stop it, move it, and let its owner start it",
                )
            )
    if _encrypted(specs) and kind is _LIVE:
        found.append(("its memory is encrypted (hw:mem_encryption): Nova does not live-migrate it", _ASK_FOR_COLD))
    return found


def _untold(kind: MigrationKind, specs: Mapping[str, str]) -> list[str]:
    """What decides and nobody tells, each completing `the cloud does not tell ...`."""
    found: list[str] = []
    if alias := specs.get("pci_passthrough:alias"):
        if kind is _LIVE:
            found.append(f"whether the PCI alias {alias} is marked live_migratable; Nova refuses Live if it is not")
        else:
            found.append(f"which host has PCI devices of {alias} free")
    if "accel:device_profile" in specs:
        found.append("which host has such an accelerator free")
    if _asks_for_vgpu(specs):
        also = " and can live-migrate it" if kind is _LIVE else ""
        found.append(f"which host has a vGPU of that type free{also}")
    if "hw:pmem" in specs:
        found.append(f"which host has persistent memory of {specs['hw:pmem']} free")
    if _encrypted(specs):
        found.append("which host has a slot for encrypted memory free")
    if numa := _numa(specs):
        found.append(f"which host has room on its NUMA nodes for {', '.join(numa)}")
    return found


def _vtpm(specs: Mapping[str, str]) -> bool:
    return "hw:tpm_version" in specs


def _encrypted(specs: Mapping[str, str]) -> bool:
    return specs.get("hw:mem_encryption", "").strip().lower() in _TRUE


def _asks_for_vgpu(specs: Mapping[str, str]) -> bool:
    """Amounts in a numbered group (`resources1:VGPU`) as well."""
    keys = (key.partition(":") for key, amount in specs.items() if amount != "0")
    return any(prefix.startswith("resources") and name == "VGPU" for prefix, _, name in keys)


def _numa(specs: Mapping[str, str]) -> list[str]:
    """The extra specs that give the server a NUMA topology of its own."""
    pinned = specs.get("hw:cpu_policy", "shared") != "shared"
    keys = ["hw:cpu_policy"] if pinned else []
    return [f"{key}={specs[key]}" for key in (*keys, "hw:numa_nodes", "hw:mem_page_size") if key in specs]
