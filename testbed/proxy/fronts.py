"""Proxies in front of a whole cloud and of a Kubernetes API, with configuration that directs clients to them."""

from __future__ import annotations

import json
import os
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import openstack
import yaml

from testbed.cloud import CLOUD_NAME
from testbed.kubernetes.cluster import Cluster
from testbed.proxy.proxy import Proxy
from testbed.proxy.thread import Proxies

KUBERNETES = "kubernetes"


def front_of_cloud(proxies: Proxies, clouds_yaml: Path, ours: Path, *, seed: int = 1) -> Mapping[str, Proxy]:
    """Start a proxy for each service of the catalog and return them by service type.

    `ours` is the path of a clouds.yaml to write, which leads to the proxies. In all responses, the addresses of
    services are replaced by those of their proxies, starting with the catalog.
    """
    config = openstack.config.OpenStackConfig(config_files=[str(clouds_yaml)], load_envvars=False)
    connection = openstack.connection.Connection(config=config.get_one(cloud=CLOUD_NAME))
    access: Any = connection.session.auth
    catalog = access.get_access(connection.session).service_catalog.normalize_catalog()
    connection.close()
    found = {service["type"]: _root(service["endpoints"][0]["url"]) for service in catalog if service["endpoints"]}
    made = {
        kind: proxies.start(Proxy(kind, _origin(root), seed=seed * 100 + number))
        for number, (kind, root) in enumerate(sorted(found.items()))
    }
    # longest first, because on a cloud with a single port they share a prefix
    roots = sorted(found.items(), key=lambda item: -len(item[1]))
    addresses = {root: made[kind].url + root.removeprefix(_origin(root)) for kind, root in roots}
    for proxy in made.values():
        proxy.addresses = addresses
    text = clouds_yaml.read_text()
    for address, instead in addresses.items():
        text = text.replace(address, instead)
    _write_private(ours, text)
    return made


def _origin(url: str) -> str:
    return "/".join(url.split("/")[:3])


def _root(url: str) -> str:
    """The URL without its version, where the service lists its versions."""
    return re.sub(r"/v\d+(\.\d+)?(/.*)?$", "", url.rstrip("/"))


def front_of_kubernetes(proxies: Proxies, cluster: Cluster, kubeconfig: Path, ours: Path, *, seed: int = 1) -> Proxy:
    """Start a proxy of the API server with its certificate, and write `ours`, a kubeconfig that leads to it."""
    serve_as = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serve_as.load_cert_chain(cluster.run_dir / "tls.crt", cluster.run_dir / "tls.key")
    trust = ssl.create_default_context(cafile=cluster.ca_file)
    proxy = proxies.start(Proxy(KUBERNETES, cluster.server_url, seed=seed, trust=trust, serve_as=serve_as))
    lead_to(proxy, kubeconfig, ours)
    return proxy


def lead_to(proxy: Proxy, kubeconfig: Path, ours: Path) -> None:
    """Write the kubeconfig `ours`, a copy of `kubeconfig` with the proxy's address."""
    read = yaml.safe_load(kubeconfig.read_text())
    for one in read["clusters"]:
        one["cluster"]["server"] = proxy.url
    _write_private(ours, json.dumps(read))


def _write_private(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
