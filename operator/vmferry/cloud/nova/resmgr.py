"""The resource manager of Platform9's Private Cloud Director (PCD)."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from vmferry.cloud.nova.answers import CloudError, json_of, reads, snippet
from vmferry.cloud.nova.http import Http


class ResourceManagerReads(Http):
    """Reads of raw answers from the resource manager."""

    @reads
    def resource_manager(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """The JSON at a path of PCD's resource manager, such as `/v2/hosts`; None if the catalog does not list it."""
        adapter = self._open().resource_manager
        if adapter is None:
            return None
        answer = self._get(adapter, path, f"GET resmgr {path}", query or {})
        if answer.status_code != HTTPStatus.OK:
            raise CloudError(f"GET resmgr {path}: HTTP {answer.status_code} {snippet(answer)}", answer.status_code)
        try:
            return json_of(answer)
        except ValueError:
            raise CloudError(f"GET resmgr {path}: the answer is no JSON: {snippet(answer)}") from None
