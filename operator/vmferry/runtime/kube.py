"""The few calls to the Kubernetes API that the operator needs, with plain JSON bodies.

`kubernetes.aio` is used because it is cheap: imported on top of kopf it costs 5 MiB (its thousand models load lazily),
and a response of `CustomObjectsApi` is the JSON itself. Events and Leases use the same generic client, which serves any
API group. Every call has a timeout and is not retried by the client: the work queue retries better, because it
reconciles first. `connection` handles addresses and credentials.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration, CustomObjectsApi
from kubernetes.aio.client.exceptions import ApiException

from vmferry.resources.base import API_VERSION
from vmferry.resources.catalog import ResourceType
from vmferry.runtime import trouble
from vmferry.runtime.access import AccessError, Keeper, load
from vmferry.runtime.connection import Connection
from vmferry.runtime.key import Key
from vmferry.runtime.kube_api import (
    Body,
    KubeError,
    NoConnectionError,
    NotFoundError,
    error_type,
    object_call,
    precondition,
    status_object,
)
from vmferry.runtime.metrics import definitions as metrics
from vmferry.runtime.metrics.requests import kubernetes_call
from vmferry.runtime.streaks import Streaks

#: timeout in seconds of one call, and of one page of a list
CALL_SECONDS = 15.0
LIST_SECONDS = 60.0
PAGE = 500
FIELD_MANAGER = "vmferry"
#: seconds for which writes may be refused before that makes the operator unready, and seconds without another attempt
#: after which the refusals are forgotten
WRITES_PATIENCE = 60.0
WRITES_SILENCE = 600.0
#: group and version of Leases
COORDINATION = ("coordination.k8s.io", "v1")


class Kube:
    """The Kubernetes API for the operator's objects. Call `close` at the end."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        #: writes that fail repeatedly; conflicts and lost Events do not count
        self.writes = Streaks(WRITES_PATIENCE, failures=3, silence=WRITES_SILENCE)
        configuration = Configuration(host=connection.access.server)
        configuration.retries = None
        self._client = ApiClient(configuration)
        self._session = connection.session()
        rest: Any = self._client.rest_client
        rest.pool_manager = self._session
        self._objects = CustomObjectsApi(self._client)

    @classmethod
    async def connect(cls, kubeconfig: Path | None) -> Kube:
        """Connect with the given kubeconfig, else $KUBECONFIG, else the Pod's ServiceAccount, else the user's own file.

        Raises KubeError if the credentials cannot be used.
        """
        path = str(kubeconfig) if kubeconfig else None
        try:
            # in a thread, because an exec plug-in may be slow
            return cls(Connection(await asyncio.to_thread(Keeper, lambda context: load(path, context))))
        except AccessError as error:
            raise KubeError(str(error)) from error

    async def close(self) -> None:
        await self._client.close()  # type: ignore[no-untyped-call]

    async def get(self, kind: ResourceType[Any], key: Key) -> Body:
        async with self._api_call(f"get {key}", "get", kind.plural):
            return await self._call("get", kind, key.namespace, key.name)

    async def pages(
        self, kind: ResourceType[Any], namespaces: Collection[str], selector: str = ""
    ) -> AsyncIterator[tuple[list[Body], int]]:
        """All objects that match the label selector, page by page, each with the resourceVersion of the list.

        Lists all namespaces if `namespaces` is empty. Cluster-scoped kinds are listed once, whatever it contains.
        """
        for namespace in (namespaces if kind.namespaced else ()) or (None,):
            page: str | None = None
            while True:
                async with self._api_call(f"list {kind.plural}", "list", kind.plural):
                    answer = await self._call(
                        "list",
                        kind,
                        namespace,
                        limit=PAGE,
                        _continue=page,
                        _request_timeout=LIST_SECONDS,
                        **({"label_selector": selector} if selector else {}),
                    )
                items, version, page = _page(answer)
                yield items, version
                if not page:
                    break

    async def create(self, kind: ResourceType[Any], body: Body) -> Body:
        """Create the object. Raises AlreadyExistsError if an object of that name exists."""
        metadata = body["metadata"]
        namespace = metadata.get("namespace")
        async with self._api_call(f"create {kind.name} {metadata['name']}", "create", kind.plural):
            return await self._call(
                "create", kind, namespace, body, field_manager=FIELD_MANAGER, field_validation="Strict"
            )

    async def create_dry_run(self, kind: ResourceType[Any], body: Body) -> None:
        """Raise what `create` would raise, without creating anything (a dry run)."""
        metadata = body["metadata"]
        namespace = metadata.get("namespace")
        async with self._api_call(f"create {kind.name} {metadata['name']}", "dry-run", kind.plural):
            await self._call(
                "create", kind, namespace, body, dry_run="All", field_manager=FIELD_MANAGER, field_validation="Strict"
            )

    async def is_terminating(self, namespace: str) -> bool:
        """Whether the namespace is being deleted, or is gone."""
        try:
            async with self._api_call(f"get the namespace {namespace}", "get", "namespaces"):
                namespace_body = await self._read(f"/api/v1/namespaces/{namespace}")
        except NotFoundError:
            return True
        return namespace_body.get("metadata", {}).get("deletionTimestamp") is not None

    async def put_status(self, kind: ResourceType[Any], key: Key, version: str, status: Body) -> Body:
        """Replace the status, if the object is still at that resourceVersion. The server ignores all other fields."""
        place = {"namespace": key.namespace} if kind.namespaced else {}
        body = {
            "apiVersion": API_VERSION,
            "kind": kind.name,
            "metadata": {**place, "name": key.name, "resourceVersion": version},
            "status": status,
        }
        async with self._api_call(f"write the status of {key}", "update", f"{kind.plural}/status"):
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

    async def put_finalizers(self, kind: ResourceType[Any], key: Key, version: str, finalizers: Sequence[str]) -> Body:
        """Replace the finalizers, if the object is still at that resourceVersion."""
        patch = {"metadata": {"resourceVersion": version, "finalizers": list(finalizers)}}
        async with self._api_call(f"write the finalizers of {key}", "patch", kind.plural):
            return await self._call(
                "patch",
                kind,
                key.namespace,
                key.name,
                patch,
                field_manager=FIELD_MANAGER,
                _content_type="application/merge-patch+json",
            )

    async def delete(self, kind: ResourceType[Any], key: Key, uid: str, version: str | None = None) -> Body | None:
        """Delete the object if it still has this uid and, if `version` is given, this resourceVersion.

        Returns the object while its finalizers keep it, None if it is gone. Raises ConflictError if the uid or version
        differs.
        """
        options = {"preconditions": precondition(uid, version), "propagationPolicy": "Background"}
        async with self._api_call(f"delete {key}", "delete", kind.plural):
            answer = await self._call("delete", kind, key.namespace, key.name, body=options)
        return answer if answer.get("kind") == kind.name else None

    async def _call(
        self, verb: str, kind: ResourceType[Any], namespace: str | None, *rest: Any, part: str = "", **options: Any
    ) -> Body:
        options.setdefault("_request_timeout", CALL_SECONDS)
        return _body(await object_call(self._objects, verb, kind, namespace, part)(*rest, **options))

    async def get_lease(self, namespace: str, name: str) -> Body:
        async with self._api_call(f"get the Lease {name}", "get", "leases"):
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
        async with self._api_call(f"write the Lease {name}", "create" if new else "update", "leases"):
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
        """Delete the Lease if it still has this uid and this resourceVersion."""
        options: Any = {"preconditions": precondition(uid, version)}
        async with self._api_call(f"delete the Lease {name}", "delete", "leases"):
            await self._objects.delete_namespaced_custom_object(
                *COORDINATION, namespace, "leases", name, body=options, _request_timeout=CALL_SECONDS
            )

    async def get_config_map(self, namespace: str, name: str) -> dict[str, str]:
        """The `data` of the ConfigMap."""
        async with self._api_call(f"get the ConfigMap {name}", "get", "configmaps"):
            body = await self._read(f"/api/v1/namespaces/{namespace}/configmaps/{name}")
        return dict(body.get("data") or {})

    async def document(self, path: str) -> Body:
        """The JSON document that the API server serves at this path, such as /openapi/v3."""
        async with self._api_call(f"get {path}", "get", path.split("/")[1]):
            return await self._read(path)

    async def _read(self, path: str) -> Body:
        """GET a path without the generated client, which would need a class for each group and kind."""
        answer = await self._session.request(
            "GET",
            f"{self.connection.access.server}{path}",
            headers={"Accept": "application/json"},
            timeout=aiohttp.ClientTimeout(CALL_SECONDS),
        )
        async with answer:
            text = await answer.text()
        if answer.status != HTTPStatus.OK:
            raise ApiException(status=answer.status, reason=answer.reason, body=text)
        try:
            return _body(json.loads(text))
        except ValueError as error:
            raise KubeError(f"cannot get {path}: the answer is no JSON") from error

    async def create_event(self, namespace: str, body: Body) -> None:
        """Create an Event (events.k8s.io/v1)."""
        async with self._api_call("write an event", "create", "events"):
            await self._objects.create_namespaced_custom_object(
                "events.k8s.io", "v1", namespace, "events", body, _request_timeout=CALL_SECONDS
            )

    @asynccontextmanager
    async def _api_call(self, what: str, verb: str, resource: str) -> AsyncIterator[None]:
        """Convert errors of a call into a KubeError that names the operation, and record the call in the metrics."""
        code: int | None = None
        begun = time.monotonic()
        try:
            yield
            code = 200
        except ApiException as error:
            code = int(error.status)
            status = status_object(error.body)
            words = str(status.get("message", error.reason))[:1000]
            failed = error_type(code, status)(f"cannot {what}: {code} {words}", trouble.of_status(code), code)
            if failed.refused and _writes(verb, code):
                # a refused dry run counts as a refused create: the real write would be refused as well
                metrics.REFUSED_WRITES.labels("create" if verb == "dry-run" else verb, resource).inc()
            raise failed from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise NoConnectionError(
                f"cannot {what}: {type(error).__name__} {error}".rstrip(), trouble.of_error(error)
            ) from error
        finally:
            kubernetes_call(verb, resource, code, time.monotonic() - begun)
            self._remember(verb, resource, code)

    def _remember(self, verb: str, resource: str, code: int | None) -> None:
        if verb in ("get", "list", "dry-run") or resource == "events":
            return
        if code in _REFUSED or (code == HTTPStatus.NOT_FOUND and verb == "create"):
            self.writes.bad(f"{verb} {resource}", trouble.of_status(code))
        elif code is not None and code < HTTPStatus.INTERNAL_SERVER_ERROR:
            self.writes.good(f"{verb} {resource}")


#: status codes that a retry does not cure
_REFUSED = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)


def _writes(verb: str, code: int) -> bool:
    """Whether an error is a refused write. A 404 is one only for a creation: it means that the namespace is missing."""
    return verb not in ("get", "list") and (code != HTTPStatus.NOT_FOUND or verb in ("create", "dry-run"))


def _body(answer: object) -> Body:
    """Raises KubeError unless the response is a JSON object: a proxy may respond with 200 and an HTML page."""
    if not isinstance(answer, dict):
        raise KubeError(f"the answer is no JSON object: {' '.join(str(answer).split())[:200]}")
    return answer


def _page(answer: Body) -> tuple[list[Body], int, str | None]:
    """The objects, the list's resourceVersion, and the continue token (None or "" on the last page).

    Raises KubeError if the response is not a list.
    """
    try:
        return answer["items"], int(answer["metadata"]["resourceVersion"]), answer["metadata"].get("continue")
    except (KeyError, TypeError, ValueError) as error:
        raise KubeError(f"the answer is no list: {type(error).__name__} {error}") from error
