"""The Kubernetes API by way of the official client: the thin edge, everything that decides is elsewhere."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import urllib3.exceptions
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.config import kube_config

from vmferry.cli.ferry.kube import (
    FIELD_MANAGER,
    Body,
    FerryError,
    Kind,
    NoConnectionError,
    full_name,
    namespaced,
    refusal,
)
from vmferry.resources.base import GROUP, VERSION
from vmferry.resources.hostmaintenance import HostMaintenance
from vmferry.resources.vmmigration import VMMigration
from vmferry.runtime.kubeconfig import BROKEN, hide_credentials, keep_keys_in_memory, unusable

#: seconds for one call
CALL_SECONDS = 30.0
PAGE = 500
_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_KINDS: dict[str, Kind] = {kind.KIND: kind for kind in (VMMigration, HostMaintenance)}


class RealKube:
    """`Kube`, as the user whom kubectl would be."""

    def __init__(self, configuration: Any, namespace: str) -> None:
        self._objects = client.CustomObjectsApi(client.ApiClient(configuration))
        self._server = configuration.host
        self._namespace = namespace

    @property
    def namespace(self) -> str:
        return self._namespace

    def get(self, kind: Kind, namespace: str, name: str) -> Body:
        metadata = {"namespace": namespace, "name": name} if namespaced(kind) else {"name": name}
        return self._call("get", f"get {full_name(kind.KIND, metadata)}", kind, namespace, name)

    def list(self, kind: Kind, namespace: str | None) -> list[Body]:
        found: list[Body] = []
        page: str | None = None
        while True:
            answer = self._call(
                "list", f"list {kind.PLURAL} ({kind.KIND})", kind, namespace, limit=PAGE, _continue=page
            )
            found += answer["items"]
            page = answer["metadata"].get("continue")
            if not page:
                return found

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

    def delete(self, kind: Kind, namespace: str, name: str, uid: str) -> None:
        metadata = {"namespace": namespace, "name": name} if namespaced(kind) else {"name": name}
        options = client.V1DeleteOptions(preconditions=client.V1Preconditions(uid=uid), propagation_policy="Background")
        self._call("delete", f"delete {full_name(kind.KIND, metadata)}", kind, namespace, name, body=options)

    def _call(self, verb: str, what: str, kind: Kind, namespace: str | None, *rest: Any, **options: Any) -> Body:
        """One call of CustomObjectsApi, which has each twice: for what lies in a namespace, and for what does not."""
        inside = namespaced(kind) and namespace is not None
        call = getattr(self._objects, f"{verb}_{'namespaced' if inside else 'cluster'}_custom_object")
        place = (namespace,) if inside else ()
        # not preloaded: the client knows no 201 of a patch, and would drop the object that an apply has created
        options |= {"_preload_content": False, "_request_timeout": CALL_SECONDS}
        try:
            answer = json.loads(call(GROUP, VERSION, *place, kind.PLURAL, *rest, **options).data)
        except ApiException as error:
            if not error.status:  # the client could not make sense of the connection
                raise NoConnectionError(f"cannot {what}: no connection to {self._server}: {error.reason}") from error
            raise refusal(what, error.status, error.body) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise NoConnectionError(f"cannot {what}: no connection to {self._server}: {_cause(error)}") from error
        except ValueError as error:
            raise FerryError(f"cannot {what}: {self._server} does not answer as Kubernetes does") from error
        assert isinstance(answer, dict)
        return answer


def connect(kubeconfig: str | None, context: str | None) -> RealKube:
    """By --kubeconfig, else $KUBECONFIG, else ~/.kube/config, else the Pod's ServiceAccount. Raises FerryError."""
    configuration = client.Configuration()
    path = kubeconfig or os.environ.get("KUBECONFIG") or None
    keep_keys_in_memory(kube_config)
    default = Path(config.KUBE_CONFIG_DEFAULT_LOCATION).expanduser()
    try:
        if path is None and context is None and "KUBERNETES_SERVICE_HOST" in os.environ and not default.exists():
            config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
            namespace = _POD_NAMESPACE.read_text(encoding="utf-8").strip()
        else:
            namespace = _namespace_of(path, context)
            config.load_kube_config(  # type: ignore[no-untyped-call]
                config_file=path, context=context, client_configuration=configuration
            )
    except (config.ConfigException, OSError, *BROKEN) as error:
        raise FerryError(unusable(error, path)) from error
    # ours are few, and each is told at once
    configuration.retries = False
    hide_credentials(configuration)
    return RealKube(configuration, namespace)


def _namespace_of(path: str | None, context: str | None) -> str:
    contexts, active = config.list_kube_config_contexts(config_file=path)  # type: ignore[no-untyped-call]
    chosen = next((one for one in contexts if one["name"] == context), None) if context else active
    if chosen is None:
        raise FerryError(f"the kubeconfig has no context {context}")
    return str(chosen["context"].get("namespace") or "default")


def _kind(body: Body) -> Kind:
    return _KINDS[body["kind"]]


def _namespace(body: Body) -> str | None:
    namespace: str | None = body["metadata"].get("namespace")
    return namespace


def _written(dry_run: bool) -> dict[str, Any]:
    return {"field_manager": FIELD_MANAGER, **({"dry_run": "All"} if dry_run else {})}


def _cause(error: BaseException) -> str:
    """The innermost words: `Connection refused` instead of three layers of objects around it."""
    finders: tuple[Callable[[BaseException], object], ...] = (
        lambda e: getattr(e, "reason", None),
        lambda e: e.__cause__,
        lambda e: e.__context__,
    )
    while True:
        inner = next((found for find in finders if isinstance(found := find(error), BaseException)), None)
        if inner is None:
            return getattr(error, "strerror", None) or str(error) or type(error).__name__
        error = inner
