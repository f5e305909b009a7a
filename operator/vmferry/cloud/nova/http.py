"""Requests to OpenStack's services: one GET, a page, all pages of a list."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from keystoneauth1.adapter import Adapter
from keystoneauth1.exceptions import ConnectFailure, UnknownConnectionError

from vmferry.cloud.nova import parse
from vmferry.cloud.nova.answers import FAILURES, CloudError, body, describe, fault_text
from vmferry.cloud.nova.session import Session

BASE = "2.84"


class Http(Session):
    """Reads of any service. What changes something is sent in `act.py`."""

    def _get(
        self, adapter: Adapter, path: str, route: str, query: Mapping[str, Any], microversion: str | None = None
    ) -> Any:
        """One GET, once more after a broken connection; any answer."""
        for last in (False, True):
            try:
                with self._timed(str(adapter.service_type), route) as seen:
                    answer = adapter.request(
                        path,
                        "GET",
                        params=dict(query),
                        microversion=microversion,
                        raise_exc=False,
                        timeout=self._timeout,
                    )
                    seen.append(answer.status_code)
                    return answer
            except (ConnectFailure, UnknownConnectionError) as error:
                if last:
                    raise CloudError(f"{route}: {describe(error)}") from None
            except FAILURES as error:
                raise CloudError(f"{route}: {describe(error)}") from None
        raise AssertionError("unreachable")

    def _compute(
        self, path: str, query: Mapping[str, str] | None = None, *, route: str, microversion: str = BASE
    ) -> Any:
        """A page of Nova; None when Nova itself says 404. A 404 of anything in between is a failure (I4)."""
        route = f"GET {route}"
        answer = self._get(self._open().compute, path, route, query or {}, microversion)
        self._read_clock(answer)
        if answer.status_code == HTTPStatus.NOT_FOUND and fault_text(answer) is not None:
            return None
        return body(answer, route)

    def _must(self, path: str, query: Mapping[str, str] | None = None, *, microversion: str = BASE) -> Any:
        """A page of Nova that has to be there."""
        raw = self._compute(path, query, route=path, microversion=microversion)
        if raw is None:
            raise CloudError(f"GET {path}: Nova does not know it", HTTPStatus.NOT_FOUND)
        return raw

    def _pages(
        self,
        path: str,
        member: str,
        marker: str,
        query: Mapping[str, str],
        *,
        page: int | None = None,
        microversion: str = BASE,
    ) -> Iterator[parse.Json]:
        """All entries of a list, page by page."""
        asked = {**query, "limit": str(page or self._page)}
        while True:
            raw = self._must(path, asked, microversion=microversion)
            entries = raw[member]
            yield from entries
            if not entries or not raw.get(f"{member}_links"):
                return
            asked["marker"] = entries[-1][marker]
