"""The cloud and its credentials, from clouds.yaml, and the checks before anything is sent to it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import openstack

from vmferry.cloud.nova.answers import CloudError, line
from vmferry.cloud.nova.transport import BoundedSession, origin
from vmferry.redaction import SECRETS

#: the services that the client uses
SERVICES = ("identity", "compute", "placement", "network", "resmgr")


@dataclass(frozen=True, slots=True)
class Login:
    """The cloud and the user of a login; contains no secrets."""

    auth_url: str
    region: str | None
    project: str | None
    user: str | None
    #: whether the cloud's certificates are verified; True for a login by http, which has none
    verified: bool

    def __str__(self) -> str:
        return line(
            f"auth URL {self.auth_url}, region {self.region or '(none)'}, project {self.project or '(none)'}, "
            f"user {self.user or '(none)'}",
            500,
        )


def load(cloud: str | None, file: Path | None, *, api_timeout: float, deadline: float) -> Any:
    """The `CloudRegion` of openstacksdk. Raises `CloudError`, and openstacksdk's own exceptions.

    If a file is given, it is the only source: no environment variables, and no clouds.yaml, secure.yaml or
    clouds-public.yaml from the working directory, ~/.config/openstack or /etc/openstack are read.
    """
    session: Any = partial(BoundedSession, deadline=deadline)
    if file is None:
        loader = openstack.config.OpenStackConfig(app_name="vmferry", session_constructor=session)
    elif not file.is_file():
        raise CloudError(f"cannot log in: there is no file {line(str(file), 300)}")
    else:
        loader = openstack.config.OpenStackConfig(
            config_files=[str(file)],
            secure_files=[],
            vendor_files=[],
            load_envvars=False,
            app_name="vmferry",
            session_constructor=session,
        )
        names = sorted(loader.get_cloud_names())
        if cloud is None and len(names) != 1:
            which = line(", ".join(map(str, names)), 300)
            raise CloudError(
                f"cannot log in: {line(str(file), 300)} has {len(names)} clouds, name one of them: {which}"
            )
    for entry in (loader.cloud_config.get("clouds") or {}).values():
        SECRETS.add_auth(entry.get("auth"))
    config = loader.get_one(cloud, api_timeout=api_timeout)
    SECRETS.add_auth(config.config.get("auth"))
    return config


def secure(config: Any) -> None:
    """If the login uses https, allow http only for endpoints that clouds.yaml itself configures."""
    if _auth_url(config).startswith("https:"):
        overrides = filter(None, (config.get_endpoint(service) for service in SERVICES))
        config.get_session().forbid_plain_text({origin(url) for url in overrides})


def settle(config: Any) -> Login:
    """Check the login's catalog. Raises `CloudError` for an ambiguous region, or for http after an https login."""
    session = config.get_session()
    access = session.auth.get_access(session)
    catalog = access.service_catalog
    if not config.get_region_name("compute"):
        interface = config.get_interface("compute")
        regions = sorted(
            {endpoint.region_name for endpoint in _endpoints(catalog, "compute", interface, None)} - {None}
        )
        if len(regions) > 1:
            raise CloudError(
                f"cannot log in: the cloud has the regions {line(', '.join(regions), 300)}; name one of them with "
                "region_name in clouds.yaml"
            )
        config.config["region_name"] = regions[0] if regions else None
    if _auth_url(config).startswith("https:"):
        plain = [service for service in SERVICES if _plain(config, catalog, service)]
        if plain:
            raise CloudError(
                f"cannot log in: the login is by https, but the catalog names http for {', '.join(plain)}: the "
                f"token would be sent in clear. Mend the catalog or set {plain[0]}_endpoint_override in clouds.yaml"
            )
    return Login(
        auth_url=_auth_url(config),
        region=config.get_region_name("compute"),
        project=access.project_name or access.project_id,
        user=access.username or access.user_id,
        verified=config.get_requests_verify_args()[0] is not False or not _auth_url(config).startswith("https:"),
    )


def _plain(config: Any, catalog: Any, service: str) -> bool:
    if config.get_endpoint(service):
        return False
    region, interface = config.get_region_name(service), config.get_interface(service)
    endpoints = _endpoints(catalog, service, interface, region)
    return any(str(endpoint.url).startswith("http:") for endpoint in endpoints)


def _endpoints(catalog: Any, service: str, interface: Any, region: str | None) -> list[Any]:
    by_service = catalog.get_endpoints_data(service_type=service, interface=interface, region_name=region)
    return [endpoint for endpoints in by_service.values() for endpoint in endpoints]


def _auth_url(config: Any) -> str:
    return str((config.config.get("auth") or {}).get("auth_url") or "")
