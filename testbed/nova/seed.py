"""The initial content of a lab, created through OpenStack's APIs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import openstack
from openstack.config import OpenStackConfig

from testbed.cloud import CLOUD_NAME
from testbed.nova.configuration import REGION, TENANT_PROJECT, TENANT_USER, Layout

#: vCPUs, MiB of memory, GiB of root disk by name
FLAVORS = {"m1.tiny": (1, 256, 1), "m1.small": (1, 1024, 10), "m1.large": (4, 8192, 40)}
IMAGE = "cirros"
#: Name of an aggregate with all hosts, and of its availability zone
CLUSTER = "cluster1"

SERVICE_USERS = ("nova", "placement", "glance", "neutron")


def connect(clouds_yaml: Path, cloud: str = CLOUD_NAME) -> Any:
    """A connection of openstacksdk that ignores the caller's environment."""
    config = OpenStackConfig(config_files=[str(clouds_yaml)], load_envvars=False)
    return openstack.connection.Connection(config=config.get_one(cloud))


def seed_identity(connection: Any, layout: Layout) -> None:
    """Create the users of services and tenant, and the service catalog, after `keystone-manage bootstrap`."""
    identity, password = connection.identity, layout.password
    roles = {role.name: role.id for role in identity.roles()}

    def user(name: str, project_id: str, *role_names: str) -> None:
        created = identity.create_user(name=name, password=password, domain_id="default")
        for role in role_names:
            identity.assign_project_role_to_user(project_id, created.id, roles[role])

    service_project = identity.create_project(name="service", domain_id="default")
    for name in SERVICE_USERS:
        user(name, service_project.id, "admin", "service")
    tenant = identity.create_project(name=TENANT_PROJECT, domain_id="default")
    user(TENANT_USER, tenant.id, "member", "reader")
    for service_type in ("placement", "image", "compute", "network"):
        service = identity.create_service(type=service_type, name=service_type)
        for interface in ("public", "internal"):
            url = layout.ports.url(service_type)
            identity.create_endpoint(service_id=service.id, interface=interface, url=url, region_id=REGION)


def seed_images_and_flavors(connection: Any) -> None:
    for name, (vcpus, memory, disk) in FLAVORS.items():
        connection.compute.create_flavor(name=name, vcpus=vcpus, ram=memory, disk=disk)
    connection.image.create_image(
        name=IMAGE, disk_format="raw", container_format="bare", visibility="public", data=bytes(1024)
    )


def seed_cluster(connection: Any, hosts: Iterable[str]) -> None:
    aggregate = connection.compute.create_aggregate(name=CLUSTER, availability_zone=CLUSTER)
    for host in hosts:
        connection.compute.add_host_to_aggregate(aggregate, host)
