"""The few calls to the Kubernetes API, as plain JSON bodies.

`kubernetes.aio` holds up: imported on top of kopf it costs 5 MiB (its thousand models load lazily), a response of
`CustomObjectsApi` is the JSON itself, and it knows kubeconfigs, exec plugins and in-cluster tokens. Events and Leases
go through the same generic door, for it serves any group. What is set by hand: a timeout on every call, and no
retries, which the work queue does better because it looks again first.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from kubernetes.aio import config as kubernetes_config
from kubernetes.aio.client import (
    ApiClient,
    Configuration,
    CoreV1Api,
    CustomObjectsApi,
    V1DeleteOptions,
    V1Preconditions,
)
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.config import kube_config

from vmferry.resources.base import API_VERSION, GROUP, VERSION
from vmferry.runtime.kinds import Key, Kind
from vmferry.runtime.kubeconfig import BROKEN, hide_credentials, keep_keys_in_memory, unusable
from vmferry.runtime.measures import kubernetes_call
from vmferry.runtime.store import Body

#: seconds for one call, and for one page of a list
CALL_SECONDS = 15.0
LIST_SECONDS = 60.0
PAGE = 500
FIELD_MANAGER = "vmferry"
#: group and version of Leases
COORDINATION = ("coordination.k8s.io", "v1")


class KubeError(Exception):
    """A call failed; the message says which and why, in the server's words."""


class ConflictError(KubeError):
    """The object has changed meanwhile (409)."""


class AlreadyExistsError(ConflictError):
    """There is an object of that name (409)."""


class NotFoundError(KubeError):
    """The object is gone, or its kind is not installed (404)."""


class InvalidError(KubeError):
    """The server refuses the content (422): a repetition would not help."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What kopf needs to log in as the same user."""

    server: str
    ca_path: str | None
    insecure: bool
    token: str | None
    certificate_path: str | None
    private_key_path: str | None


class Kube:
    """The Kubernetes API for the objects that the operator serves. Close it at the end."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._client = ApiClient(configuration)
        self._objects = CustomObjectsApi(self._client)
        self._core = CoreV1Api(self._client)

    @classmethod
    async def connect(cls, kubeconfig: Path | None) -> Kube:
        """By the given kubeconfig, else $KUBECONFIG, else the Pod's ServiceAccount, else the user's kubeconfig."""
        configuration = Configuration()
        path = str(kubeconfig) if kubeconfig else os.environ.get("KUBECONFIG")
        keep_keys_in_memory(kube_config)
        try:
            if path is None and "KUBERNETES_SERVICE_HOST" in os.environ:
                kubernetes_config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
            else:
                await kubernetes_config.load_kube_config(  # type: ignore[no-untyped-call]
                    config_file=path, client_configuration=configuration
                )
        except (kubernetes_config.ConfigException, OSError, *BROKEN) as error:
            raise KubeError(unusable(error, path)) from error
        configuration.retries = None
        hide_credentials(configuration)
        return cls(configuration)

    async def close(self) -> None:
        await self._client.close()  # type: ignore[no-untyped-call]

    async def credentials(self) -> Credentials:
        """As they are now: an in-cluster token is read again once it is old."""
        header = await self._configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        return Credentials(
            server=self._configuration.host,
            ca_path=self._configuration.ssl_ca_cert,
            insecure=not self._configuration.verify_ssl,
            token=header.split(" ", 1)[-1].strip() if header else None,
            certificate_path=self._configuration.cert_file,
            private_key_path=self._configuration.key_file,
        )

    async def get(self, kind: Kind[Any, Any], key: Key) -> Body:
        async with _told(f"get {key}", "get", kind.plural):
            return await self._call("get", kind, key.namespace, key.name)

    async def pages(self, kind: Kind[Any, Any], namespaces: Collection[str]) -> AsyncIterator[tuple[list[Body], int]]:
        """All objects, of all namespaces when none is named, page by page, with the resourceVersion of the list.

        What lies in no namespace is listed once, whichever are named.
        """
        for namespace in (namespaces if kind.namespaced else ()) or (None,):
            page: str | None = None
            while True:
                async with _told(f"list {kind.plural}", "list", kind.plural):
                    answer = await self._call(
                        "list", kind, namespace, limit=PAGE, _continue=page, _request_timeout=LIST_SECONDS
                    )
                items, version, page = _page(answer)
                yield items, version
                if not page:
                    break

    async def create(self, kind: Kind[Any, Any], body: Body) -> Body:
        """Raises AlreadyExistsError where there is an object of that name."""
        metadata = body["metadata"]
        namespace = metadata.get("namespace")
        async with _told(f"create {kind.name} {metadata['name']}", "create", kind.plural):
            return await self._call(
                "create", kind, namespace, body, field_manager=FIELD_MANAGER, field_validation="Strict"
            )

    async def put_status(self, kind: Kind[Any, Any], key: Key, version: str, status: Body) -> Body:
        """Replace the status, if the object is still at that resourceVersion. The server takes nothing else of it."""
        place = {"namespace": key.namespace} if kind.namespaced else {}
        body = {
            "apiVersion": API_VERSION,
            "kind": kind.name,
            "metadata": {**place, "name": key.name, "resourceVersion": version},
            "status": status,
        }
        async with _told(f"write the status of {key}", "update", f"{kind.plural}/status"):
            return await self._call(
                "replace",
                kind,
                key.namespace,
                key.name,
                body,
                part="_status",
                field_manager=FIELD_MANAGER,
                field_validation="Strict",
            )

    async def put_finalizers(self, kind: Kind[Any, Any], key: Key, version: str, finalizers: Sequence[str]) -> Body:
        """Replace the finalizers, if the object is still at that resourceVersion."""
        patch: list[dict[str, Any]] = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": version},
            {"op": "add", "path": "/metadata/finalizers", "value": list(finalizers)},
        ]
        try:
            async with _told(f"write the finalizers of {key}", "patch", kind.plural):
                return await self._call(
                    "patch",
                    kind,
                    key.namespace,
                    key.name,
                    patch,
                    field_manager=FIELD_MANAGER,
                    _content_type="application/json-patch+json",
                )
        except InvalidError as error:  # how the server says that a patch's test has failed
            raise ConflictError(str(error)) from error

    async def delete(self, kind: Kind[Any, Any], key: Key, uid: str, version: str | None = None) -> Body | None:
        """Delete the object, if it is this one and, where one is given, still at that resourceVersion.

        Returns the object while its finalizers keep it, None when it is gone.
        """
        options = V1DeleteOptions(
            preconditions=V1Preconditions(uid=uid, resource_version=version), propagation_policy="Background"
        )
        async with _told(f"delete {key}", "delete", kind.plural):
            answer = await self._call("delete", kind, key.namespace, key.name, body=options)
        return answer if answer.get("kind") == kind.name else None

    async def _call(
        self, verb: str, kind: Kind[Any, Any], namespace: str | None, *rest: Any, part: str = "", **options: Any
    ) -> Body:
        """One call of CustomObjectsApi, which has each twice: for what lies in a namespace, and for what does not."""
        inside = kind.namespaced and namespace is not None
        call = getattr(self._objects, f"{verb}_{'namespaced' if inside else 'cluster'}_custom_object{part}")
        place = (namespace,) if inside else ()
        options.setdefault("_request_timeout", CALL_SECONDS)
        return _body(await call(GROUP, VERSION, *place, kind.plural, *rest, **options))

    async def get_lease(self, namespace: str, name: str) -> Body:
        async with _told(f"get the Lease {name}", "get", "leases"):
            return _body(
                await self._objects.get_namespaced_custom_object(
                    *COORDINATION, namespace, "leases", name, _request_timeout=CALL_SECONDS
                )
            )

    async def put_lease(self, namespace: str, body: Body) -> Body:
        """Create the Lease, or replace it if it is still at the body's resourceVersion."""
        name = body["metadata"]["name"]
        options: dict[str, Any] = {"field_manager": FIELD_MANAGER, "_request_timeout": CALL_SECONDS}
        new = "resourceVersion" not in body["metadata"]
        async with _told(f"write the Lease {name}", "create" if new else "update", "leases"):
            if new:
                created = await self._objects.create_namespaced_custom_object(
                    *COORDINATION, namespace, "leases", body, **options
                )
                return _body(created)
            return _body(
                await self._objects.replace_namespaced_custom_object(
                    *COORDINATION, namespace, "leases", name, body, **options
                )
            )

    async def delete_lease(self, namespace: str, name: str, uid: str, version: str) -> None:
        """Delete the Lease, if it is this one and still at that resourceVersion."""
        options = V1DeleteOptions(preconditions=V1Preconditions(uid=uid, resource_version=version))
        async with _told(f"delete the Lease {name}", "delete", "leases"):
            await self._objects.delete_namespaced_custom_object(
                *COORDINATION, namespace, "leases", name, body=options, _request_timeout=CALL_SECONDS
            )

    async def get_config_map(self, namespace: str, name: str) -> dict[str, str]:
        """Its data."""
        async with _told(f"get the ConfigMap {name}", "get", "configmaps"):
            found = await self._core.read_namespaced_config_map(name, namespace, _request_timeout=CALL_SECONDS)
        return dict(found.data or {})

    async def create_event(self, namespace: str, body: Body) -> None:
        """An Event of events.k8s.io/v1."""
        async with _told("write an event", "create", "events"):
            await self._objects.create_namespaced_custom_object(
                "events.k8s.io", "v1", namespace, "events", body, _request_timeout=CALL_SECONDS
            )


_ERRORS: dict[int, type[KubeError]] = {404: NotFoundError, 409: ConflictError, 422: InvalidError}


@asynccontextmanager
async def _told(what: str, verb: str, resource: str) -> AsyncIterator[None]:
    """Turn what may go wrong in a call into a KubeError that says what was tried; measure it."""
    code: int | None = None
    begun = time.monotonic()
    try:
        yield
        code = 200
    except ApiException as error:
        code = error.status
        told = _status(error)
        wrong = AlreadyExistsError if told.get("reason") == "AlreadyExists" else _ERRORS.get(error.status, KubeError)
        words = str(told.get("message", error.reason))[:1000]
        raise wrong(f"cannot {what}: {error.status} {words}") from error
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise KubeError(f"cannot {what}: {type(error).__name__} {error}".rstrip()) from error
    finally:
        kubernetes_call(verb, resource, code, time.monotonic() - begun)


def _status(error: ApiException) -> Body:
    """The Status object that the server answers with; empty when it is none."""
    try:
        told = json.loads(error.body or "")
    except (TypeError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def _body(answer: object) -> Body:
    """Raises KubeError for what is no JSON object: something in between may answer 200 with a page of its own."""
    if not isinstance(answer, dict):
        raise KubeError(f"the answer is no JSON object: {' '.join(str(answer).split())[:200]}")
    return answer


def _page(answer: Body) -> tuple[list[Body], int, str | None]:
    """Objects, resourceVersion of the list, and how to go on; None at its end. Raises KubeError for what is no list."""
    try:
        return answer["items"], int(answer["metadata"]["resourceVersion"]), answer["metadata"].get("continue")
    except (KeyError, TypeError, ValueError) as error:
        raise KubeError(f"the answer is no list: {type(error).__name__} {error}") from error
