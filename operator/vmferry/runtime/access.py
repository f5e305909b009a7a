"""Access to the Kubernetes API for all clients of this process: address, certificates, credentials and proxy.

The operator's calls, its watches, `kubectl ferry` and `vmferry uninstall-check` use the same loader, so that all of
them connect in the same way. It adds to the client library's loader:

- `tokenFile` takes precedence over `token` and is read without its newline, as in client-go;
- an exec plug-in that returns no credentials is an error; the library would continue anonymously;
- the proxy is `proxy-url`, else the environment's, with CIDRs in NO_PROXY as in client-go. In a Pod, the API server of
  its cluster is never reached through a proxy.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kubernetes.client import Configuration
from kubernetes.client.rest import should_bypass_proxies
from kubernetes.config import ConfigException, incluster_config, kube_config

from vmferry.redaction import SECRETS
from vmferry.runtime.kubeconfig import BROKEN, keep_keys_in_memory, unusable

keep_keys_in_memory(kube_config)

IN_CLUSTER = "KUBERNETES_SERVICE_HOST"
#: seconds after which a file that another process renews is read again
READ_AGAIN = 60.0
#: seconds before the expiry at which credentials are renewed, but not in the first half of their lifetime
AHEAD = 60.0
#: seconds between two attempts to renew credentials: an exec plug-in may be slow, or interactive
PAUSE = 5.0


class AccessError(Exception):
    """The Kubernetes API cannot be accessed. The message is one line with the reason and contains no token."""


@dataclass(frozen=True, slots=True)
class Access:
    """Address and credentials of the API server."""

    server: str
    ca_path: str | None = None
    insecure: bool = False
    #: the complete value of the Authorization header
    authorization: str | None = None
    #: expiry of the credentials, if known
    expires: datetime | None = None
    certificate_path: str | None = None
    private_key_path: str | None = None
    #: the host name that the server's certificate must contain, instead of the host in the address
    server_name: str | None = None
    proxy: str | None = None
    #: whether the credentials are in a file that another process renews, so that it must be read periodically
    in_file: bool = False
    #: the kubeconfig's context; None in a cluster
    context: str | None = None
    namespace: str = "default"


class Keeper:
    """Keeps an `Access` valid. Thread-safe.

    It is loaded again before it expires, every minute if another process renews its file, and after the API server has
    refused it. Methods that load may take as long as an exec plug-in.
    """

    def __init__(
        self,
        load: Callable[[str | None], Access],
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`load` gets the kubeconfig context to use, None at the first call, and raises AccessError."""
        self._load = load
        self._clock = clock
        self._now = now
        self._lock = threading.Lock()
        self._tried = float("-inf")
        self._take(load(None))
        SECRETS.follow("token of Kubernetes", lambda: [(self._access.authorization or "").rsplit(" ", 1)[-1]])

    @property
    def access(self) -> Access:
        """The result of the last load."""
        return self._access

    @property
    def due(self) -> bool:
        if self._clock() - self._tried < PAUSE:
            return False
        if self._access.expires is not None:
            return (self._access.expires - self._now()).total_seconds() < min(AHEAD, self._life / 2)
        return self._access.in_file and self._clock() - self._read_at >= READ_AGAIN

    def fresh(self) -> Access:
        """Load again if that is due. If it fails, return the old access: the API server decides whether it is valid."""
        with self._lock:
            if self.due:
                with contextlib.suppress(AccessError):
                    self._read()
            return self._access

    def other_than(self, refused: Access) -> Access | None:
        """New access after the API server has refused `refused`; None if there is none. Raises AccessError."""
        with self._lock:
            if self._access == refused and self._clock() - self._tried >= PAUSE:
                self._read()
            return None if self._access == refused else self._access

    def _read(self) -> None:
        self._tried = self._clock()
        access = self._load(self._access.context)
        if access.server != self._access.server:
            # a running operator must never switch to another cluster because a file was edited
            raise AccessError(f"the kubeconfig names another API server now: restart to use {access.server}")
        self._take(access)

    def _take(self, access: Access) -> None:
        self._read_at = self._clock()
        self._life = max((access.expires - self._now()).total_seconds(), 0.0) if access.expires else 0.0
        self._access = access


def load(kubeconfig: str | None = None, context: str | None = None, *, prefer_pod: bool = True) -> Access:
    """Load the given kubeconfig, else $KUBECONFIG, else the Pod's ServiceAccount, else the user's own kubeconfig.

    Without `prefer_pod` the user's own kubeconfig, if it exists, precedes the ServiceAccount, as for kubectl.
    Raises AccessError.
    """
    path = kubeconfig or os.environ.get("KUBECONFIG") or None
    own = os.path.expanduser("~/.kube/config")  # noqa: PTH111 (Path's raises where the user has no home)
    try:
        in_cluster = path is None and context is None and IN_CLUSTER in os.environ
        if in_cluster and (prefer_pod or not Path(own).exists()):
            return _of_pod()
        return _of_kubeconfig(path or own, context)
    except (ConfigException, OSError, *BROKEN) as error:
        raise AccessError(unusable(error, path)) from error


def _of_pod() -> Access:
    configuration = Configuration()
    incluster_config.load_incluster_config(client_configuration=configuration, try_refresh_token=False)  # type: ignore[no-untyped-call]
    folder = Path(incluster_config.SERVICE_TOKEN_FILENAME).parent
    token = configuration.get_api_key_with_prefix("BearerToken", alias="authorization") or ""
    return Access(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        authorization=f"Bearer {token.split(' ', 1)[-1].strip()}",
        in_file=True,
        namespace=(folder / "namespace").read_text(encoding="utf-8").strip()
        if (folder / "namespace").exists()
        else "default",
    )


def _of_kubeconfig(path: str, context: str | None) -> Access:
    configuration = Configuration()
    try:
        loader: Any = kube_config._get_kube_config_loader(  # type: ignore[no-untyped-call]
            filename=path, active_context=context, persist_config=True
        )
    except ConfigException as error:
        if context is not None and f"Expected object with name {context} in" in str(error):
            raise ConfigException(f"the kubeconfig has no context {context}") from error
        raise
    loader.load_and_set(configuration)
    chosen = loader.current_context
    user = loader._user.value if loader._user is not None else {}
    cluster = loader._cluster.value
    header = (
        configuration.get_api_key_with_prefix("BearerToken", alias="authorization") if configuration.api_key else None
    )
    SECRETS.add(user.get("password"))
    proxy = cluster.get("proxy-url") or proxy_of(configuration.host, os.environ)
    SECRETS.add(urlsplit(proxy).password if proxy else None)
    token_file = user.get("tokenFile")
    if token_file:
        text = (Path(loader._get_base_path(loader._user.path)) / token_file).read_text(encoding="utf-8").strip()
        if not text:
            raise ConfigException("the tokenFile is empty")
        header = f"Bearer {text}"
    if user.get("exec") and not header and not configuration.cert_file:
        raise ConfigException("the exec plug-in of the kubeconfig gave no credentials")
    return Access(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        authorization=header.replace("\n", "").strip() if header else None,
        expires=getattr(loader, "expiry", None),
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        server_name=configuration.tls_server_name,
        proxy=proxy,
        in_file=bool(token_file),
        context=chosen["name"],
        namespace=str(chosen["context"].get("namespace") or "default"),
    )


def proxy_of(server: str, environment: Mapping[str, str]) -> str | None:
    """The environment's proxy for an address, by the rules of Go's clients; None for loopback addresses."""
    place = urlsplit(server)
    names = (f"{place.scheme}_proxy".upper(), f"{place.scheme}_proxy")
    proxy = next((value for name in names if (value := environment.get(name))), None)
    if proxy is None or _is_loopback(place.hostname or ""):
        return None
    exempt = environment.get("NO_PROXY") or environment.get("no_proxy") or ""
    if should_bypass_proxies(server, exempt):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
