"""The part of Glance and Cinder that a migration reads: images with their properties, volumes with their types."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from vmferry.simulator.clock import database, second
from vmferry.simulator.cloud import Cloud
from vmferry.simulator.errors import ApiError, NotFoundError, UnauthorizedError
from vmferry.simulator.keystone import TOKENS, unauthorized
from vmferry.simulator.model import Caller, Image, Volume
from vmferry.simulator.web import CLOUD, Reply, base_url

_Handler = Callable[[Cloud, Caller, web.Request], Reply]


def install(app: web.Application) -> None:
    for path in ("/image", "/image/", "/image/versions"):
        app.router.add_get(path, _image_versions)
    for path in ("/volume/v3", "/volume/v3/"):
        app.router.add_get(path, _volume_version)
    routes: list[tuple[str, _Handler]] = [
        ("/image/v2/images", _images),
        ("/image/v2/images/{id}", _image),
        ("/volume/v3/volumes/detail", _volumes),
        ("/volume/v3/volumes/{id}", _volume),
        ("/volume/v3/{project}/volumes/detail", _volumes),
        ("/volume/v3/{project}/volumes/{id}", _volume),
    ]
    for path, handler in routes:
        app.router.add_get(path, _serve(handler))


def _serve(handler: _Handler) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def served(request: web.Request) -> web.Response:
        request_id = f"req-{uuid.uuid4()}"
        cloud = request.app[CLOUD]
        try:
            caller = request.app[TOKENS].caller(request.headers.get("X-Auth-Token"), request_id)
            cloud.clock.run_due()
            reply = handler(cloud, caller, request)
        except UnauthorizedError:
            reply = unauthorized(request)
        except ApiError as error:
            reply = Reply(error.status, {"itemNotFound": {"code": error.status, "message": error.message}})
        return reply.response({"x-openstack-request-id": request_id})

    return served


async def _image_versions(request: web.Request) -> web.Response:
    document = {
        "id": "v2.9",
        "status": "CURRENT",
        "links": [{"rel": "self", "href": f"{base_url(request)}/image/v2/"}],
    }
    return Reply(300, {"versions": [document]}).response({})


def _image_view(image: Image) -> dict[str, Any]:
    """An image in Glance's form, with its properties at the top level."""
    return {
        "id": image.id,
        "name": image.name,
        "status": "active",
        "visibility": "public",
        "container_format": "bare",
        "disk_format": "qcow2",
        "min_disk": image.min_disk_gb,
        "min_ram": image.min_ram_mb,
        "size": image.size,
        "protected": False,
        "tags": [],
        "created_at": second(image.created_at),
        "updated_at": second(image.created_at),
        "self": f"/v2/images/{image.id}",
        "file": f"/v2/images/{image.id}/file",
        "schema": "/v2/schemas/image",
        **image.properties,
    }


def _images(cloud: Cloud, _caller: Caller, request: web.Request) -> Reply:
    name = request.query.get("name")
    images = [_image_view(image) for image in cloud.images.values() if name in (None, image.name)]
    return Reply(200, {"images": images, "first": "/v2/images", "schema": "/v2/schemas/images"})


def _image(cloud: Cloud, _caller: Caller, request: web.Request) -> Reply:
    image = cloud.images.get(request.match_info["id"])
    if image is None:
        raise NotFoundError(f"No image found with ID {request.match_info['id']}")
    return Reply(200, _image_view(image))


async def _volume_version(request: web.Request) -> web.Response:
    document = {
        "id": "v3.0",
        "status": "CURRENT",
        "version": "3.71",
        "min_version": "3.0",
        "links": [{"rel": "self", "href": f"{base_url(request)}/volume/v3/"}],
    }
    return Reply(200, {"versions": [document]}).response({})


def _volume_view(cloud: Cloud, volume: Volume) -> dict[str, Any]:
    server = cloud.servers.get(volume.server_id or "")
    attachments = [{"server_id": server.id, "volume_id": volume.id, "device": "/dev/vda"}] if server else []
    return {
        "id": volume.id,
        "name": volume.name,
        "size": volume.size_gb,
        "volume_type": volume.type,
        "status": "in-use" if server else "available",
        "attachments": attachments,
        "multiattach": volume.multiattach,
        "bootable": "true",
        "metadata": {},
        "created_at": database(volume.created_at),
        "os-vol-tenant-attr:tenant_id": volume.project_id,
        "os-vol-host-attr:host": f"simulator@{volume.type}#{volume.type}",
    }


def _volumes(cloud: Cloud, caller: Caller, request: web.Request) -> Reply:
    everyone = caller.is_admin and "all_tenants" in request.query
    volumes = [v for v in cloud.volumes.values() if everyone or v.project_id == caller.project_id]
    return Reply(200, {"volumes": [_volume_view(cloud, volume) for volume in volumes]})


def _volume(cloud: Cloud, caller: Caller, request: web.Request) -> Reply:
    volume = cloud.volumes.get(request.match_info["id"])
    if volume is None or not (caller.is_admin or volume.project_id == caller.project_id):
        raise NotFoundError(f"Volume {request.match_info['id']} could not be found.")
    return Reply(200, {"volume": _volume_view(cloud, volume)})
