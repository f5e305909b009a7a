"""Neutron's ports, to find devices of the host that servers use."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from vmferry.cloud.nova import parse
from vmferry.cloud.nova.answers import body, parsed, reads
from vmferry.cloud.nova.http import Bounds, Http

#: port types (`binding:vnic_type`) that use a device of the host
SPECIAL_PORTS = (
    "accelerator-direct",
    "accelerator-direct-physical",
    "baremetal",
    "direct",
    "direct-physical",
    "macvtap",
    "remote-managed",
    "smart-nic",
    "vdpa",
    "virtio-forwarder",
)


class NetworkReads(Http):
    """Reads of ports."""

    @reads
    def ports(self) -> dict[str, tuple[str, ...]] | None:
        """The types of each server's ports other than `normal`, sorted, by server id; None if Neutron denies access.

        Empty if the catalog has no network service. Neutron lists all ports only to an administrator. Some Neutron
        releases ignore the filter, so the result is filtered again.
        """
        network = self._open().network
        if network is None:
            return {}
        ports: dict[str, set[str]] = {}
        asked: dict[str, Any] = {
            "fields": ["id", "device_id", "binding:vnic_type"],
            "binding:vnic_type": list(SPECIAL_PORTS),
            "limit": str(self._page),
        }
        bounds = Bounds("network /ports")
        while True:
            answer = self._get(network, "/v2.0/ports", "GET network /ports", asked)
            if answer.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
                return None
            raw = body(answer, "GET network /ports")
            for server_id, kind in parsed(parse.ports, raw):
                if server_id and kind in SPECIAL_PORTS:
                    ports.setdefault(server_id, set()).add(kind)
            if not raw["ports"] or not any(link.get("rel") == "next" for link in raw.get("ports_links") or ()):
                return {server_id: tuple(sorted(kinds)) for server_id, kinds in ports.items()}
            asked["marker"] = bounds.next(raw["ports"][-1]["id"])
