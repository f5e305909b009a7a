"""Devices (R18, R19, R21): what Nova does not move is refused, what nobody tells is unknown."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.build import flavor, question, server, snapshot
from tests.prerequisites.expect import Case, cannot_tell, fails, passes, table
from vmferry.cloud.model import ResolvedType
from vmferry.prerequisites import devices
from vmferry.prerequisites.check import Question
from vmferry.prerequisites.enums import Name, Reason, Result

LIVE, COLD, EVACUATE = ResolvedType
VTPM = {"hw:tpm_version": "2.0", "hw:tpm_model": "tpm-crb"}
OF_THE_HOST = {**VTPM, "hw:tpm_secret_security": "host"}
SEV = {"hw:mem_encryption": "True"}
PCI = {"pci_passthrough:alias": "gpu:1"}
FPGA = {"accel:device_profile": "fpga-1"}
VGPU = {"resources:VGPU": "1"}


def ask(
    specs: dict[str, str], kind: ResolvedType, ports: tuple[str, ...] | None = (), *, hidden: bool = False, **over: Any
) -> Question:
    asked = server(flavor=flavor(extra_specs=specs, extra_specs_told=not hidden), **over)
    told = None if ports is None else {asked.id: ports}
    return question(asked, kind, snapshot([asked], ports=told), target=None)


def imaged(kind: ResolvedType, properties: dict[str, str], **over: Any) -> Question:
    """A server whose flavor asks for nothing and whose image has these properties."""
    return ask({}, kind, image_id="image-1", image_properties=properties, **over)


def refused(specs: dict[str, str], kind: ResolvedType, *says: str, remedy: str = "", **over: Any) -> Case:
    return fails(ask(specs, kind, **over), Reason.DEVICE_ATTACHED, says, (remedy,), "host-a")


def untold(specs: dict[str, str], kind: ResolvedType, *says: str) -> Case:
    return cannot_tell(ask(specs, kind), ("does not report", *says), ("tolerateUnknown: [Devices]",), "host-a")


CASES: dict[str, Case] = {
    "an ordinary flavor, and what is not looked at": passes(
        ask({}, LIVE), "nothing reported about it asks for a device", "its image and file shares"
    ),
    "specs that attach nothing": passes(
        ask({"quota:vif_inbound_average": "1", "trait:HW_CPU_X86_AVX2": "required", "hw:cpu_policy": "shared"}, COLD)
    ),
    # vTPM
    "a vTPM moves live only with a secret of the host's": refused(
        VTPM, LIVE, "vTPM", "hw:tpm_secret_security=host", remedy="Cold"
    ),
    "not with one of the deployment's either": refused({**VTPM, "hw:tpm_secret_security": "deployment"}, LIVE, "vTPM"),
    "with one of the host's it does": passes(ask(OF_THE_HOST, LIVE), "vTPM"),
    "a vTPM moves cold while the server is off": passes(ask(VTPM, COLD, vm_state="stopped"), "vTPM"),
    "but nobody else than its owner could start it again": refused(
        VTPM, COLD, "its owner's", remedy="let its owner", vm_state="active"
    ),
    "unless the secret is not the owner's": passes(ask(OF_THE_HOST, COLD, vm_state="active")),
    "a vTPM is never evacuated, whose secret it may be": refused(OF_THE_HOST, EVACUATE, "vTPM", remedy="repair"),
    # encrypted memory
    "encrypted memory does not move live": refused(SEV, LIVE, "encrypted", remedy="Cold"),
    "which host takes encrypted memory is not told": untold(SEV, COLD, "encrypted memory"),
    "memory that is not encrypted": passes(ask({"hw:mem_encryption": "false"}, LIVE)),
    # accelerators
    "an accelerator is not moved live": refused(FPGA, LIVE, "fpga-1", "Nova refuses Live", remedy="resize"),
    "nor cold": refused(FPGA, COLD, "fpga-1"),
    "Nova evacuates it, to where nobody tells": untold(FPGA, EVACUATE, "accelerator"),
    # PCI devices, vGPUs, persistent memory
    "whether a PCI device can move live depends on its alias": untold(PCI, LIVE, "gpu:1", "live_migratable"),
    "which host has PCI devices free is not told": untold(PCI, COLD, "gpu:1 free"),
    "a vGPU that moves live": untold(VGPU, LIVE, "vGPU", "live-migrate"),
    "a vGPU in a group of its own": untold({"resources1:VGPU": "1"}, COLD, "vGPU"),
    "no vGPU at all": passes(ask({"resources:VGPU": "0"}, LIVE)),
    "persistent memory": untold({"hw:pmem": "6GB,12GB"}, EVACUATE, "6GB,12GB"),
    # NUMA
    "pinned CPUs": untold({"hw:cpu_policy": "dedicated"}, LIVE, "NUMA", "hw:cpu_policy=dedicated"),
    "huge pages on two nodes": untold(
        {"hw:numa_nodes": "2", "hw:mem_page_size": "1GB"}, COLD, "hw:numa_nodes=2", "hw:mem_page_size=1GB"
    ),
    # what an image asks for
    "an image that asks for nothing": passes(
        imaged(LIVE, {"hw_disk_bus": "virtio", "hw_cpu_policy": "shared"}), "nothing reported about it", "file shares"
    ),
    "a vTPM of the image's is one": fails(
        imaged(LIVE, {"hw_tpm_version": "2.0", "hw_tpm_model": "tpm-crb"}),
        Reason.DEVICE_ATTACHED,
        ("vTPM",),
        ("Cold",),
    ),
    "whose secret is its owner's too": fails(
        imaged(COLD, {"hw_tpm_version": "1.2"}), Reason.DEVICE_ATTACHED, ("its owner's",), ("let its owner",)
    ),
    "a model alone makes no vTPM, as in Nova": passes(imaged(LIVE, {"hw_tpm_model": "tpm-tis"})),
    "an image that asks for encrypted memory": fails(
        imaged(LIVE, {"hw_mem_encryption": "True"}), Reason.DEVICE_ATTACHED, ("encrypted",), ("Cold",)
    ),
    "even if the flavor says no: Nova let neither through, or they changed": fails(
        ask({"hw:mem_encryption": "false"}, LIVE, image_properties={"hw_mem_encryption": "true"}),
        Reason.DEVICE_ATTACHED,
        ("encrypted",),
        (),
    ),
    "an image with a NUMA topology": cannot_tell(
        imaged(LIVE, {"hw_numa_nodes": "2", "hw_cpu_policy": "dedicated"}),
        ("hw:cpu_policy=dedicated", "hw:numa_nodes=2"),
        (),
    ),
    "a flavor outvotes its image's policy, as in Nova": passes(
        ask({"hw:cpu_policy": "shared"}, LIVE, image_properties={"hw_cpu_policy": "dedicated"})
    ),
    "what the image of a volume asks for is not told, and that is said (R19)": passes(
        ask({}, LIVE, image_id=None), "the properties of its image and file shares are not reported"
    ),
    # ports
    "a port with a device of its host": cannot_tell(
        ask({}, COLD, ("direct", "vdpa")), ("a device for its ports of type direct, vdpa free",), ("by hand",)
    ),
    "which live also has to be taken over while it runs": cannot_tell(
        ask({}, LIVE, ("macvtap",)), ("macvtap free and can take it over from a running server",), ()
    ),
    "a port with an accelerator is not moved live": fails(
        ask({}, LIVE, ("accelerator-direct",)),
        Reason.DEVICE_ATTACHED,
        ("port with an accelerator (accelerator-direct)", "Nova refuses Live"),
        ("build the server anew",),
    ),
    "nor moved cold": fails(
        ask({}, COLD, ("accelerator-direct-physical",)), Reason.DEVICE_ATTACHED, ("refuses Cold",), ()
    ),
    "nor evacuated, unlike the accelerator of a flavor": fails(
        ask({}, EVACUATE, ("accelerator-direct", "direct")), Reason.DEVICE_ATTACHED, ("refuses Evacuate",), ()
    ),
    # what the cloud has and does not show
    "ports that Neutron does not tell (R19)": cannot_tell(
        ask({}, LIVE, None), ("does not report which ports",), ("Neutron",)
    ),
    "a flavor whose extra specs are hidden is not one that has none (R19)": cannot_tell(
        ask({}, COLD, hidden=True), ("extra specs are hidden",), ("os-flavor-extra-specs:index",)
    ),
    "what is refused is not hidden by what is not told (R19)": fails(
        ask({}, LIVE, None, hidden=True, image_properties={"hw_tpm_version": "2.0"}),
        Reason.DEVICE_ATTACHED,
        ("vTPM",),
        (),
    ),
    # several
    "all that Nova refuses is said at once (R20)": refused(
        {**VTPM, **SEV, **FPGA, **PCI}, LIVE, "vTPM", "encrypted", "fpga-1", remedy="Cold"
    ),
    "all that is not told is said at once": untold({**PCI, **VGPU}, COLD, "gpu:1", "; nor which host has a vGPU"),
}


test_it_says = table(devices.check, Name.DEVICES, CASES)


@pytest.mark.parametrize("kind", ResolvedType)
@pytest.mark.parametrize("specs", [VTPM, SEV, PCI, FPGA, VGPU], ids=["vtpm", "sev", "pci", "fpga", "vgpu"])
def test_R19_a_device_is_never_passed_over(specs: dict[str, str], kind: ResolvedType) -> None:
    finding = devices.check(ask(specs, kind, vm_state="stopped" if kind is COLD else "active"))
    assert finding.result is not Result.PASSED or "vTPM" in finding.message
