"""Devices (R18): attached devices that cannot be moved, or not to every host.

Moves that Nova refuses because of a device are refused here first (R21; by the rules of Nova 33, whose API also refuses
in older releases). Nova does not report whether a host has a fitting free device or capacity on one NUMA node, so that
is Unknown (R19).

| fact | reported by | if not reported |
|---|---|---|
| extra specs of the flavor | the server in Nova (2.47) | hidden by a policy: Unknown |
| properties of the image | the server in Nova (2.98) | below 2.98, for servers on volumes; always for image traits |
| types of the ports | Neutron's list of ports | Neutron does not answer an administrator: Unknown |
| file shares | each server by itself (2.97), so they are not read | always |

Properties that only an image can set do not block the move if they are not reported: that would block every server of
an older cloud and every server on volumes, and Nova refuses such a request before anything moves. The message mentions
it instead. Flavors and ports are reported by every cloud that permits it, so their absence is Unknown.
"""

from __future__ import annotations

from vmferry.cloud.model import ResolvedType, Server
from vmferry.prerequisites.check import Finding, Question, failed, passed, unknown
from vmferry.prerequisites.enums import Name, Reason

_NAME = Name.DEVICES
_LIVE, _COLD, _EVACUATE = ResolvedType

TRUE = frozenset({"1", "t", "true", "on", "y", "yes"})
_ASK_FOR_COLD = "power the server off and ask for type Cold"
_BY_HAND = (
    "make certain by hand that the target fits, and allow it in the operator's configuration "
    "(tolerateUnknown: [Devices])"
)
#: ports with a device that Nova can neither move, nor evacuate, nor detach
_ACCELERATORS = frozenset({"accelerator-direct", "accelerator-direct-physical"})


def asked_for(server: Server, what: str) -> str | None:
    """The value that the flavor (`hw:WHAT`) or else the image (`hw_WHAT`) requests; `os:KEY` uses `os:` and `os_`."""
    space, _, key = what.rpartition(":")
    space = space or "hw"
    wish = server.flavor.extra_specs.get(f"{space}:{key}")
    return (server.image_properties or {}).get(f"{space}_{key}") if wish is None else wish


def has_vtpm(server: Server) -> bool:
    return asked_for(server, "tpm_version") is not None


def is_encrypted(server: Server) -> bool:
    return any(
        wish.strip().lower() in TRUE
        for wish in (
            server.flavor.extra_specs.get("hw:mem_encryption", ""),
            (server.image_properties or {}).get("hw_mem_encryption", ""),
        )
    )


def check(question: Question) -> Finding:
    type_, host = question.type, question.server.host
    refused = _refused(question)
    if refused:
        return failed(
            _NAME,
            Reason.DEVICE_ATTACHED,
            "; ".join(why for why, _ in refused),
            "; ".join(dict.fromkeys(remedy for _, remedy in refused)),
            host,
        )
    untold = _untold(question)
    if untold:
        return unknown(
            _NAME,
            f"{type_}: the cloud does not report {'; nor '.join(what for what, _ in untold)}",
            "; ".join(dict.fromkeys(remedy for _, remedy in untold)),
            host,
        )
    unseen = "file shares are not reported"
    if question.server.image_properties is None:
        unseen = f"the properties of its image and {unseen}"
    if has_vtpm(question.server):
        return passed(_NAME, f"{type_} takes its vTPM along; {unseen}", host)
    return passed(_NAME, f"nothing reported about it asks for a device; {unseen}", host)


def _refused(question: Question) -> list[tuple[str, str]]:
    """What Nova certainly refuses, with remedies."""
    type_, server = question.type, question.server
    specs = server.flavor.extra_specs
    found: list[tuple[str, str]] = []
    if "accel:device_profile" in specs and type_ is not _EVACUATE:
        profile = specs["accel:device_profile"]
        found.append(
            (
                f"the accelerator {profile} (accel:device_profile) cannot be moved: Nova refuses {type_} with it",
                "resize the server to a flavor without it, or build it anew elsewhere",
            )
        )
    if accelerators := sorted(_ACCELERATORS.intersection(question.ports or ())):
        found.append(
            (
                f"it has a port with an accelerator ({', '.join(accelerators)}): Nova refuses {type_} with it",
                "build the server anew elsewhere",
            )
        )
    if has_vtpm(server):
        security = specs.get("hw:tpm_secret_security", "user")
        # Nova 33 moves the secret along only if it belongs to the host; older releases move none
        if type_ is _LIVE and security != "host":
            found.append(("Nova live-migrates a vTPM only with hw:tpm_secret_security=host", _ASK_FOR_COLD))
        if type_ is _EVACUATE:
            found.append(
                (
                    "Nova does not evacuate a server with a vTPM: its state is on the failed host",
                    "repair the host, or restore the server from a backup",
                )
            )
        if type_ is _COLD and server.vm_state == "active" and security == "user":
            found.append(
                (
                    "the secret of its vTPM is its owner's: nobody else can start the server again after the move",
                    "let its owner stop it, move it, and let its owner start it",
                )
            )
    if is_encrypted(server) and type_ is _LIVE:
        found.append(("its memory is encrypted (hw:mem_encryption): Nova does not live-migrate it", _ASK_FOR_COLD))
    return found


def _untold(question: Question) -> list[tuple[str, str]]:
    """Decisive facts that are not reported, each to complete `the cloud does not report ...`, with remedies."""
    type_, server = question.type, question.server
    specs = server.flavor.extra_specs
    live = type_ is _LIVE
    found: list[str] = []
    if alias := specs.get("pci_passthrough:alias"):
        if live:
            found.append(f"whether the PCI alias {alias} is marked live_migratable; Nova refuses Live if it is not")
        else:
            found.append(f"which host has PCI devices of {alias} free")
    if "accel:device_profile" in specs:
        found.append("which host has such an accelerator free")
    if _asks_for_vgpu(server):
        also = " and can live-migrate it" if live else ""
        found.append(f"which host has a vGPU of that type free{also}")
    if "hw:pmem" in specs:
        found.append(f"which host has persistent memory of {specs['hw:pmem']} free")
    if is_encrypted(server):
        found.append("which host has a slot for encrypted memory free")
    if numa := _numa(server):
        found.append(f"which host has room on its NUMA nodes for {', '.join(numa)}")
    if question.ports:
        also = " and can take it over from a running server" if live else ""
        found.append(f"which host has a device for its ports of type {', '.join(question.ports)} free{also}")
    missing = [(what, _BY_HAND) for what in found]
    if not server.flavor.extra_specs_told:
        allow = "give the operator's user Nova's policy os_compute_api:os-flavor-extra-specs:index"
        missing.append(("what its flavor asks for: the extra specs are hidden", allow))
    if question.ports is None:
        missing.append(
            ("which ports it has", "let the operator's user list all ports in Neutron, and check that it answers")
        )
    return missing


def _asks_for_vgpu(server: Server) -> bool:
    """Whether the flavor requests a vGPU, also in a numbered group (`resources1:VGPU`)."""
    keys = (key.partition(":") for key, amount in server.flavor.extra_specs.items() if amount != "0")
    return any(prefix.startswith("resources") and name == "VGPU" for prefix, _, name in keys)


def _numa(server: Server) -> list[str]:
    """The requests that give the server a NUMA topology."""
    wishes = {key: asked_for(server, key) for key in ("cpu_policy", "numa_nodes", "mem_page_size")}
    if wishes["cpu_policy"] == "shared":
        del wishes["cpu_policy"]
    return [f"hw:{key}={wish}" for key, wish in wishes.items() if wish is not None]
