"""Another user of the cloud: boots and deletes servers, locks them, and moves them without the operator.

Tests, the demo and the end-to-end runs access both clouds (`testbed.cloud.CloudLab`) only through this module. It
shares no code with the operator, so that it cannot hide a bug of the operator's client.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import openstack

from testbed.cloud import CLOUD_NAME

#: 2.74 allows an administrator to name the host of a new server; 2.84 is the operator's own minimum
MICROVERSION = "2.84"
#: timeout in seconds for the slowest step (boot, delete) on a busy machine
PATIENCE = 180.0
#: seconds between two polls; each costs a real Nova a large part of a second of processor time
PAUSE = 0.5


class TenantError(Exception):
    """The cloud responded with 4xx or 5xx, or did not reach an expected state in time."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Tenant:
    """A user of the cloud: an administrator unless `cloud` names another entry of `clouds_yaml`."""

    def __init__(self, clouds_yaml: Path, *, cloud: str = CLOUD_NAME) -> None:
        config = openstack.config.OpenStackConfig(
            config_files=[str(clouds_yaml)], secure_files=[], vendor_files=[], load_envvars=False
        )
        self.connection = openstack.connection.Connection(config=config.get_one(cloud=cloud, api_timeout=60))
        self._flavors: dict[str, str] = {}
        self._images: dict[str, str] = {}
        self._booted: list[str] = []

    def call(self, method: str, path: str, body: object = None, *, service: str = "compute", ok: bool = True) -> Any:
        """Send a request and return the parsed response, None if it is empty. With `ok`, raises TenantError from status
        400 on."""
        adapter = getattr(self.connection, service)
        microversion = MICROVERSION if service == "compute" else None
        answer = adapter.request(path, method, json=body, microversion=microversion, raise_exc=False)
        if ok and answer.status_code >= 400:
            raise TenantError(f"{method} {path}: {answer.status_code} {answer.text[:500]}", answer.status_code)
        return answer.json() if answer.content else None

    # -- servers

    def boot(
        self,
        name: str,
        host: str | None = None,
        *,
        flavor: str = "m1.tiny",
        image: str = "cirros",
        availability_zone: str | None = None,
        metadata: Mapping[str, str] | None = None,
        group: str | None = None,
        volume_gb: int | None = None,
        wait: bool = True,
    ) -> str:
        """Boot a server from an image, on `host` if given, and wait until it is ACTIVE. Returns its id.

        With `volume_gb`, the image is copied to a new volume of that size; the cloud must support volumes.
        """
        server: dict[str, object] = {
            "name": name,
            "flavorRef": self.flavor(flavor),
            "imageRef": self.image(image),
            "networks": "none",
            "metadata": dict(metadata or {}),
        }
        if host:
            server["host"] = host
        if availability_zone:
            server["availability_zone"] = availability_zone
        if volume_gb is not None:
            server["imageRef"] = ""
            server["block_device_mapping_v2"] = [
                {
                    "boot_index": 0,
                    "source_type": "image",
                    "uuid": self.image(image),
                    "destination_type": "volume",
                    "volume_size": volume_gb,
                    "delete_on_termination": True,
                }
            ]
        body: dict[str, object] = {"server": server}
        if group:
            body["os:scheduler_hints"] = {"group": group}
        found: str = self.call("POST", "/servers", body)["server"]["id"]
        self._booted.append(found)
        if wait:
            self.wait_for_status(found, "ACTIVE")
        return found

    def flavor(self, name: str) -> str:
        """The id of the flavor of that name."""
        if not self._flavors:
            self._flavors = {f["name"]: f["id"] for f in self.call("GET", "/flavors")["flavors"]}
        return self._flavors[name]

    def image(self, name: str) -> str:
        """The id of the image of that name."""
        if not self._images:
            listed = self.call("GET", "/images", service="image")
            self._images = {image["name"]: image["id"] for image in listed["images"]}
        return self._images[name]

    def server(self, server_id: str) -> dict[str, Any] | None:
        """Nova's view of the server; None if it does not exist."""
        try:
            found: dict[str, Any] = self.call("GET", f"/servers/{server_id}")["server"]
        except TenantError as error:
            if error.status == 404:
                return None
            raise
        return found

    def host_of(self, server_id: str) -> str | None:
        """The host of the server; None if it has none or does not exist."""
        server = self.server(server_id)
        return server["OS-EXT-SRV-ATTR:host"] if server else None

    def wait_for(
        self,
        server_id: str,
        condition: Callable[[dict[str, Any]], bool],
        what: str,
        timeout: float = PATIENCE,
    ) -> dict[str, Any]:
        """Wait until the server meets `condition`. Raises TenantError, also if it ends in ERROR."""
        deadline = time.monotonic() + timeout
        while True:
            server = self.server(server_id)
            if server is None:
                raise TenantError(f"server {server_id} vanished while waiting for it to be {what}")
            if condition(server):
                return server
            seen = f"{server['status']}, task {server['OS-EXT-STS:task_state']}"
            if server["status"] == "ERROR" and server["OS-EXT-STS:task_state"] is None:
                raise TenantError(f"server {server_id} is in ERROR, wanted {what}: {server.get('fault')}")
            if time.monotonic() > deadline:
                raise TenantError(f"server {server_id} is {seen} after {timeout:.0f} s, wanted {what}")
            time.sleep(PAUSE)

    def wait_for_status(self, server_id: str, status: str, timeout: float = PATIENCE) -> dict[str, Any]:
        """Wait until the server has this status and no task."""
        return self.wait_for(
            server_id,
            lambda server: server["status"] == status and server["OS-EXT-STS:task_state"] is None,
            status,
            timeout,
        )

    def wait_idle(self, server_id: str, timeout: float = PATIENCE) -> dict[str, Any]:
        """Wait until the server has no task and no migration in progress."""
        self.wait_for(server_id, lambda s: s["OS-EXT-STS:task_state"] is None, "idle", timeout)
        ended = ("completed", "confirmed", "done", "failed", "error", "cancelled", "reverted", "finished")
        deadline = time.monotonic() + timeout
        while any(record["status"] not in ended for record in self.migrations(server_id)):
            if time.monotonic() > deadline:
                raise TenantError(f"a migration of {server_id} is still open after {timeout:.0f} s")
            time.sleep(PAUSE)
        return self.wait_for(server_id, lambda s: s["OS-EXT-STS:task_state"] is None, "idle", timeout)

    def delete(self, *server_ids: str, timeout: float = PATIENCE) -> None:
        """Delete servers and wait until they are gone; servers that do not exist are ignored."""
        for server_id in server_ids:
            try:
                self.call("DELETE", f"/servers/{server_id}")
            except TenantError as error:
                if error.status != 404:
                    raise
        deadline = time.monotonic() + timeout
        for server_id in server_ids:
            while (server := self.server(server_id)) is not None:
                if time.monotonic() > deadline:
                    raise TenantError(f"server {server_id} is still there after {timeout:.0f} s, {server['status']}")
                time.sleep(PAUSE)
        self._booted = [booted for booted in self._booted if booted not in server_ids]

    def delete_booted(self) -> None:
        """Delete every server that this object booted."""
        self.delete(*self._booted)

    def act(self, server_id: str, body: Mapping[str, object]) -> Any:
        """Send a server action by its raw body, such as `{"pause": None}`."""
        return self.call("POST", f"/servers/{server_id}/action", body)

    def lock(self, server_id: str, reason: str | None = None) -> None:
        self.act(server_id, {"lock": {"locked_reason": reason} if reason else None})

    def unlock(self, server_id: str) -> None:
        self.act(server_id, {"unlock": None})

    def stop(self, server_id: str, *, wait: bool = True) -> None:
        self.act(server_id, {"os-stop": None})
        if wait:
            self.wait_for_status(server_id, "SHUTOFF")

    def start(self, server_id: str, *, wait: bool = True) -> None:
        self.act(server_id, {"os-start": None})
        if wait:
            self.wait_for_status(server_id, "ACTIVE")

    def pause(self, server_id: str) -> None:
        self.act(server_id, {"pause": None})
        self.wait_for_status(server_id, "PAUSED")

    def resize(self, server_id: str, flavor: str) -> None:
        """Resize the server as a user would; it remains in VERIFY_RESIZE."""
        self.act(server_id, {"resize": {"flavorRef": self.flavor(flavor)}})
        self.wait_for_status(server_id, "VERIFY_RESIZE")

    def live_migrate(self, server_id: str, host: str | None = None) -> None:
        """Start a live migration as another administrator would; does not wait."""
        self.act(server_id, {"os-migrateLive": {"host": host, "block_migration": "auto"}})

    def cold_migrate(self, server_id: str, host: str | None = None) -> None:
        """Start a cold migration as another administrator would; does not wait or confirm."""
        self.act(server_id, {"migrate": {"host": host} if host else None})

    def set_metadata(self, server_id: str, metadata: Mapping[str, str]) -> None:
        self.call("POST", f"/servers/{server_id}/metadata", {"metadata": dict(metadata)})

    def migrations(self, server_id: str) -> list[dict[str, Any]]:
        """Every migration record of the server, newest first."""
        found: list[dict[str, Any]] = self.call("GET", f"/os-migrations?instance_uuid={server_id}")["migrations"]
        return found

    # -- hosts

    def service(self, host: str) -> dict[str, Any]:
        """Nova's view of the host's nova-compute service."""
        found = self.call("GET", f"/os-services?binary=nova-compute&host={host}")["services"]
        if not found:
            raise TenantError(f"no nova-compute service on {host}")
        service: dict[str, Any] = found[0]
        return service

    def wait_for_service(self, host: str, state: str, timeout: float = PATIENCE) -> None:
        """Wait until the host's service is `up` or `down`."""
        deadline = time.monotonic() + timeout
        while self.service(host)["state"] != state:
            if time.monotonic() > deadline:
                raise TenantError(f"the service of {host} is not {state} after {timeout:.0f} s")
            time.sleep(PAUSE)

    def disable_host(self, host: str, reason: str = "disabled by an administrator") -> None:
        self._put_service(host, {"status": "disabled", "disabled_reason": reason})

    def enable_host(self, host: str) -> None:
        self._put_service(host, {"status": "enabled"})

    def force_down(self, host: str, forced_down: bool = True) -> None:
        self._put_service(host, {"forced_down": forced_down})

    def _put_service(self, host: str, body: Mapping[str, object]) -> None:
        self.call("PUT", f"/os-services/{self.service(host)['id']}", body)

    # -- aggregates and groups

    def create_aggregate(
        self,
        name: str,
        *,
        hosts: Iterable[str] = (),
        availability_zone: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> int:
        """Create a host aggregate with hosts and metadata. Returns its id."""
        body = {"aggregate": {"name": name, "availability_zone": availability_zone}}
        found: int = self.call("POST", "/os-aggregates", body)["aggregate"]["id"]
        for host in hosts:
            self.call("POST", f"/os-aggregates/{found}/action", {"add_host": {"host": host}})
        if metadata:
            self.set_aggregate_metadata(found, metadata)
        return found

    def set_aggregate_metadata(self, aggregate_id: int, metadata: Mapping[str, str | None]) -> None:
        """Set metadata; a None value removes the key."""
        body = {"set_metadata": {"metadata": dict(metadata)}}
        self.call("POST", f"/os-aggregates/{aggregate_id}/action", body)

    def aggregate(self, name: str) -> dict[str, Any]:
        listed = self.call("GET", "/os-aggregates")["aggregates"]
        found: dict[str, Any] = next(one for one in listed if one["name"] == name)
        return found

    def delete_aggregate(self, aggregate_id: int) -> None:
        """Remove its hosts and delete it."""
        for host in self.call("GET", f"/os-aggregates/{aggregate_id}")["aggregate"]["hosts"]:
            self.call("POST", f"/os-aggregates/{aggregate_id}/action", {"remove_host": {"host": host}})
        self.call("DELETE", f"/os-aggregates/{aggregate_id}")

    def create_group(self, name: str, policy: str = "anti-affinity") -> str:
        """Create a server group. Returns its id."""
        body = {"server_group": {"name": name, "policy": policy}}
        found: str = self.call("POST", "/os-server-groups", body)["server_group"]["id"]
        return found

    def delete_group(self, group_id: str) -> None:
        self.call("DELETE", f"/os-server-groups/{group_id}")
