"""The API's view of a server, by microversion and by the caller's roles."""

from __future__ import annotations

from typing import Any

from vmferry.simulator.clock import database, second
from vmferry.simulator.cloud import Cloud
from vmferry.simulator.model import Flavor, Server, host_id
from vmferry.simulator.web import Call

#: what libvirt chose for the guest, which Nova shows among the properties of its image
_CHOSEN = {
    "hw_cdrom_bus": "ide",
    "hw_disk_bus": "virtio",
    "hw_input_bus": "usb",
    "hw_machine_type": "pc",
    "hw_pointer_model": "usbtablet",
    "hw_video_model": "virtio",
    "hw_vif_model": "virtio",
}
_WITH_PROGRESS = {"ACTIVE", "BUILD", "REBUILD", "RESIZE", "VERIFY_RESIZE", "MIGRATING"}


def basic(call: Call, server: Server) -> dict[str, Any]:
    return {"id": server.id, "name": server.name, "links": _links(call, server)}


def full(call: Call, server: Server, *, single: bool) -> dict[str, Any]:
    """The detailed view. `single` is GET of a single server: only that lists its server groups (2.71)."""
    cloud, admin = call.cloud, call.caller.is_admin
    view: dict[str, Any] = {
        "accessIPv4": "",
        "accessIPv6": "",
        "addresses": _addresses(server),
        "created": second(server.created_at),
        "flavor": _flavor(call, server.flavor),
        "hostId": host_id(server.project_id, server.host),
        "id": server.id,
        "image": _image(call, server),
        "links": _links(call, server),
        "metadata": server.metadata,
        "name": server.name,
        "status": server.status,
        "tenant_id": server.project_id,
        "user_id": server.user_id,
        "updated": second(server.updated_at),
        "OS-DCF:diskConfig": "MANUAL",
        "OS-EXT-AZ:availability_zone": cloud.zone_of(server.host) if server.host else "",
        "config_drive": "",
        "key_name": server.key_name,
        "OS-SRV-USG:launched_at": database(server.launched_at),
        "OS-SRV-USG:terminated_at": database(server.deleted_at),
        "OS-EXT-STS:task_state": server.task_state,
        "OS-EXT-STS:vm_state": server.vm_state,
        "OS-EXT-STS:power_state": server.power_state,
        "os-extended-volumes:volumes_attached": _volumes(call, server),
    }
    if view["status"] in ("ERROR", "DELETED") and server.fault is not None:
        view["fault"] = _fault(call, server)
    if view["status"] in _WITH_PROGRESS:
        view["progress"] = _progress(cloud, server)
    if server.addresses:
        view["security_groups"] = [{"name": "default"}]
    if admin:
        view |= _for_administrators(call, server)
    elif call.since(90):
        view["OS-EXT-SRV-ATTR:hostname"] = hostname(server)
    view |= _by_microversion(call, server)
    if single and call.since(71):
        view["server_groups"] = [server.group_id] if server.group_id in cloud.groups else []
    return view


def _for_administrators(call: Call, server: Server) -> dict[str, Any]:
    view: dict[str, Any] = {
        "OS-EXT-SRV-ATTR:host": server.host,
        "OS-EXT-SRV-ATTR:instance_name": f"instance-{server.number:08x}",
        "OS-EXT-SRV-ATTR:hypervisor_hostname": server.host,
    }
    if call.since(3):
        view |= {
            "OS-EXT-SRV-ATTR:hostname": hostname(server),
            "OS-EXT-SRV-ATTR:kernel_id": "",
            "OS-EXT-SRV-ATTR:launch_index": 0,
            "OS-EXT-SRV-ATTR:ramdisk_id": "",
            "OS-EXT-SRV-ATTR:reservation_id": f"r-{server.id[:8]}",
            "OS-EXT-SRV-ATTR:root_device_name": "/dev/vda" if server.host else None,
            "OS-EXT-SRV-ATTR:user_data": None,
        }
    if call.since(16):
        view["host_status"] = _host_status(call.cloud, server)
    return view


def _by_microversion(call: Call, server: Server) -> dict[str, Any]:
    view: dict[str, Any] = {}
    if call.since(9):
        view["locked"] = server.locked_by is not None
    if call.since(19):
        view["description"] = server.description
    if call.since(26):
        view["tags"] = []
    if call.since(63):
        view["trusted_image_certificates"] = None
    if call.since(73):
        view["locked_reason"] = server.locked_reason
    if call.since(96):
        view["pinned_availability_zone"] = server.pinned_zone
    if call.since(100):
        view["scheduler_hints"] = server.hints
    return view


def hostname(server: Server) -> str:
    return "".join(c if c.isalnum() or c in "-." else "-" for c in server.name.lower()).strip("-.") or server.id


def _links(call: Call, server: Server) -> list[dict[str, str]]:
    bookmark = call.base.removesuffix("/v2.1")
    return [
        {"rel": "self", "href": f"{call.base}/servers/{server.id}"},
        {"rel": "bookmark", "href": f"{bookmark}/servers/{server.id}"},
    ]


def _addresses(server: Server) -> dict[str, Any]:
    return {
        network: [
            {
                "version": 4,
                "addr": address,
                "OS-EXT-IPS:type": "fixed",
                "OS-EXT-IPS-MAC:mac_addr": f"fa:16:3e:{server.number >> 16 & 255:02x}:"
                f"{server.number >> 8 & 255:02x}:{server.number & 255:02x}",
            }
        ]
        for network, address in server.addresses.items()
    }


def _flavor(call: Call, flavor: Flavor) -> dict[str, Any]:
    if not call.since(47):
        bookmark = call.base.removesuffix("/v2.1")
        return {"id": flavor.id, "links": [{"rel": "bookmark", "href": f"{bookmark}/flavors/{flavor.id}"}]}
    return {
        "vcpus": flavor.vcpus,
        "ram": flavor.ram_mb,
        "disk": flavor.disk_gb,
        "ephemeral": flavor.ephemeral_gb,
        "swap": flavor.swap_mb,
        "original_name": flavor.name,
        "extra_specs": flavor.extra_specs,
    }


def _image(call: Call, server: Server) -> Any:
    if server.image_id is None:
        return ""
    bookmark = call.base.removesuffix("/v2.1")
    view: dict[str, Any] = {
        "id": server.image_id,
        "links": [{"rel": "bookmark", "href": f"{bookmark}/images/{server.image_id}"}],
    }
    if call.since(98):
        image = call.cloud.images.get(server.image_id)
        view["properties"] = (_CHOSEN if server.host else {}) | (image.properties if image else {})
    return view


def _volumes(call: Call, server: Server) -> list[dict[str, Any]]:
    if not call.since(3):
        return [{"id": volume_id} for volume_id, _ in server.volumes]
    return [{"id": volume_id, "delete_on_termination": delete} for volume_id, delete in server.volumes]


def _fault(call: Call, server: Server) -> dict[str, Any]:
    assert server.fault is not None
    view = {
        "code": server.fault.code,
        "created": second(server.fault.created_at),
        "message": server.fault.message,
    }
    if call.caller.is_admin and server.fault.details:
        view["details"] = server.fault.details
    return view


def _host_status(cloud: Cloud, server: Server) -> str:
    host = cloud.hosts.get(server.host or "")
    if host is None:
        return ""
    if host.forced_down:
        return "DOWN"
    if host.disabled:
        return "MAINTENANCE"
    return "UP" if cloud.is_up(host) else "UNKNOWN"


def _progress(cloud: Cloud, server: Server) -> int:
    if server.task_state == "migrating":
        for migration in reversed(cloud.migrations_of(server.id)):
            if migration.copy is not None and migration.status == "running":
                return round(100 * migration.copy.fraction(cloud.now))
    return 0
