"""Answers as Nova writes them, cut to what is read."""

from __future__ import annotations

from typing import Any

SERVER: dict[str, Any] = {
    "id": "6a4c4a4e-0000-4000-8000-000000000001",
    "name": "web",
    "tenant_id": "project-1",
    "status": "ACTIVE",
    "OS-EXT-STS:vm_state": "active",
    "OS-EXT-STS:task_state": None,
    "OS-EXT-STS:power_state": 1,
    "OS-EXT-SRV-ATTR:host": "cmp1",
    "OS-EXT-AZ:availability_zone": "cluster1",
    "flavor": {
        "original_name": "m1.small",
        "vcpus": 2,
        "ram": 2048,
        "disk": 20,
        "ephemeral": 0,
        "swap": 0,
        "extra_specs": {},
    },
    "image": {"id": "image-1", "links": []},
    "os-extended-volumes:volumes_attached": [],
    "metadata": {},
    "locked": False,
    "locked_reason": None,
    "updated": "2026-11-23T12:00:00Z",
    "pinned_availability_zone": None,
}

MIGRATION: dict[str, Any] = {
    "id": 7,
    "uuid": "7c0ffee0-0000-4000-8000-000000000007",
    "instance_uuid": SERVER["id"],
    "migration_type": "live-migration",
    "status": "running",
    "source_compute": "cmp1",
    "dest_compute": "cmp2",
    "user_id": "user-1",
    "created_at": "2026-11-23T12:00:00.000000",
    "updated_at": "2026-11-23T12:00:01.000000",
    "old_instance_type_id": 1,
    "new_instance_type_id": 1,
}

SERVICE: dict[str, Any] = {
    "id": "5e7v1ce",
    "binary": "nova-compute",
    "host": "cmp1",
    "zone": "cluster1",
    "status": "enabled",
    "state": "up",
    "forced_down": False,
    "disabled_reason": None,
    "updated_at": "2026-11-23T12:00:00.000000",
}

HYPERVISOR: dict[str, Any] = {
    "id": "h1",
    "hypervisor_hostname": "cmp1.example.org",
    "service": {"id": "5e7v1ce", "host": "cmp1", "disabled_reason": None},
    "hypervisor_type": "QEMU",
    "hypervisor_version": 6002000,
    "host_ip": "127.0.0.11",
    "state": "up",
    "status": "enabled",
}

AGGREGATE: dict[str, Any] = {
    "id": 1,
    "name": "cluster1",
    "availability_zone": "cluster1",
    "hosts": ["cmp1"],
    "metadata": {"availability_zone": "cluster1", "os_version": "22.04"},
}
