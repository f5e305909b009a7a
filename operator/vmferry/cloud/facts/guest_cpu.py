"""Parsing of the guest CPU from the values `mode` and `model` as Nova, PCD and people write them. Pure."""

from __future__ import annotations

from vmferry.cloud.model import GuestCPU, GuestCPUMode

_MODES = {
    "hostmodel": GuestCPUMode.HOST_MODEL,
    "hostpassthrough": GuestCPUMode.HOST_PASSTHROUGH,
    "custom": GuestCPUMode.CUSTOM,
}


def guest_cpu(mode: str, model: str = "") -> GuestCPU | None:
    """None: the mode is not `host-model`, `host-passthrough` or `custom`, or it is custom without a model."""
    found = _MODES.get(mode.lower().replace("-", "").replace("_", ""))
    if found is None or (found is GuestCPUMode.CUSTOM and not model):
        return None
    return GuestCPU(found, model if found is GuestCPUMode.CUSTOM else "")
