"""`Kube` on top of the official Kubernetes client, without any decisions of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import urllib3.exceptions
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from vmferry.cli.ferry.kube import FIELD_MANAGER, Kind, full_name, namespaced, refusal
from vmferry.cli.terminal import plain
from vmferry.resources.catalog import CATALOG
from vmferry.runtime.access import AccessError, Keeper, load
from vmferry.runtime.kube_api import Body, KubeError, NoConnectionError, NotFoundError, object_call, precondition
from vmferry.runtime.socks import SYNCHRONOUS, require

#: timeout of a call in seconds
CALL_SECONDS = 30.0
PAGE = 500


class KubeClient:
    """`Kube` with the same credentials as kubectl."""

    def __init__(self, configuration: Any, namespace: str) -> None:
        self._api = client.ApiClient(configuration)
        self._objects = client.CustomObjectsApi(self._api)
        self._server = configuration.host
        self._namespace = namespace

    @property
    def namespace(self) -> str:
        return self._namespace

    def get(self, kind: Kind, namespace: str, name: str) -> Body:
        metadata = {"namespace": namespace, "name": name} if namespaced(kind) else {"name": name}
        return self._call("get", f"get {full_name(kind.KIND, metadata)}", kind, namespace, name)

    def list(self, kind: Kind, namespace: str | None) -> list[Body]:
        items: list[Body] = []
        page: str | None = None
        while True:
            answer = self._call(
                "list", f"list {CATALOG[kind.KIND].plural} ({kind.KIND})", kind, namespace, limit=PAGE, _continue=page
            )
            items += answer["items"]
            page = answer["metadata"].get("continue")
            if not page:
                return items

    def create(self, body: Body, *, dry_run: bool = False) -> Body:
        what = f"create {full_name(body['kind'], body['metadata'])}"
        return self._call(
            "create", what, _kind(body), _namespace(body), body, field_validation="Strict", **_written(dry_run)
        )

    def apply(self, body: Body, *, dry_run: bool = False, force: bool = False) -> Body:
        return self._call(
            "patch",
            f"apply {full_name(body['kind'], body['metadata'])}",
            _kind(body),
            _namespace(body),
            body["metadata"]["name"],
            body,
            field_validation="Strict",
            force=force,
            _content_type="application/apply-patch+yaml",
            **_written(dry_run),
        )

    def mark(self, body: Body, *, dry_run: bool = False) -> None:
        metadata, written = body["metadata"], _written(dry_run)
        what = f"change {full_name('ConfigMap', metadata)}"
        name, namespace = metadata["name"], metadata["namespace"]
        merge = {"_content_type": "application/merge-patch+json", **written}
        core = client.CoreV1Api(self._api)  # created only here, because the image does not contain this API
        try:
            self._send(what, core.patch_namespaced_config_map, name, namespace, {"data": body["data"]}, **merge)
        except NotFoundError:
            self._send(what, core.create_namespaced_config_map, namespace, body, **written)

    def delete(self, kind: Kind, namespace: str, name: str, uid: str, version: str | None = None) -> None:
        metadata = {"namespace": namespace, "name": name} if namespaced(kind) else {"name": name}
        options = {"preconditions": precondition(uid, version), "propagationPolicy": "Background"}
        self._call("delete", f"delete {full_name(kind.KIND, metadata)}", kind, namespace, name, body=options)

    def _call(self, verb: str, what: str, kind: Kind, namespace: str | None, *rest: Any, **options: Any) -> Body:
        return self._send(what, object_call(self._objects, verb, CATALOG[kind.KIND], namespace), *rest, **options)

    def _send(self, what: str, call: Callable[..., Any], *args: Any, **options: Any) -> Body:
        # not preloaded: the client has no type for a 201 response to a patch, and would drop the object that an apply
        # created
        options |= {"_preload_content": False, "_request_timeout": CALL_SECONDS}
        try:
            answer = json.loads(call(*args, **options).data)
        except ApiException as error:
            if not error.status:  # the client could not interpret the failure of the connection
                raise NoConnectionError(f"cannot {what}: no connection to {self._server}: {error.reason}") from error
            raise refusal(what, error.status, error.body) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise NoConnectionError(f"cannot {what}: no connection to {self._server}: {_cause(error)}") from error
        except ValueError as error:
            raise KubeError(f"cannot {what}: {self._server} does not answer as Kubernetes does") from error
        assert isinstance(answer, dict)
        return answer


def connect(kubeconfig: str | None, context: str | None) -> KubeClient:
    """Connect by --kubeconfig, else $KUBECONFIG, else ~/.kube/config, else the Pod's ServiceAccount. Raises
    KubeError."""
    try:
        # a later change of the current context has no effect on this command
        keeper = Keeper(lambda known: load(kubeconfig, known or context, prefer_pod=False))
        require(keeper.access, SYNCHRONOUS)
        return KubeClient(_configuration(keeper), keeper.access.namespace)
    except (AccessError, OSError, ValueError) as error:  # invalid certificates
        raise KubeError(plain(str(error))) from error


def _configuration(keeper: Keeper) -> Any:
    """The configuration of the generated client, with credentials that are reread before they expire."""
    access = keeper.access
    configuration: Any = client.Configuration(host=access.server)
    configuration.ssl_ca_cert = access.ca_path
    configuration.verify_ssl = not access.insecure
    configuration.cert_file, configuration.key_file = access.certificate_path, access.private_key_path
    configuration.tls_server_name = access.server_name
    # NO_PROXY was already applied
    configuration.proxy, configuration.no_proxy = access.proxy, None
    # no retries: a command makes few calls, and reports each failure at once
    configuration.retries = False
    if access.authorization:

        def renew(configuration: Any) -> None:
            configuration.api_key["BearerToken"] = keeper.fresh().authorization or ""

        configuration.api_key["BearerToken"] = access.authorization
        configuration.refresh_api_key_hook = renew
    return configuration


def _kind(body: Body) -> Kind:
    return CATALOG[body["kind"]].model


def _namespace(body: Body) -> str | None:
    namespace: str | None = body["metadata"].get("namespace")
    return namespace


def _written(dry_run: bool) -> dict[str, Any]:
    return {"field_manager": FIELD_MANAGER, **({"dry_run": "All"} if dry_run else {})}


def _cause(error: BaseException) -> str:
    """The message of the innermost cause: `Connection refused` without the exceptions around it."""
    finders: tuple[Callable[[BaseException], object], ...] = (
        lambda e: getattr(e, "reason", None),
        lambda e: e.__cause__,
        lambda e: e.__context__,
    )
    while True:
        inner = next((cause for find in finders if isinstance(cause := find(error), BaseException)), None)
        if inner is None:
            return getattr(error, "strerror", None) or str(error) or type(error).__name__
        error = inner
