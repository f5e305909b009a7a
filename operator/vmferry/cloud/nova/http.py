"""Requests to OpenStack services: one GET, one page, all pages of a list."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from keystoneauth1.adapter import Adapter
from keystoneauth1.exceptions import ConnectFailure, UnknownConnectionError

from vmferry.cloud.nova import parse
from vmferry.cloud.nova.answers import FAILURES, CloudError, body, describe, fault_text, line, request_id_of, snippet
from vmferry.cloud.nova.session import Session, login_pause

BASE = "2.84"
#: maximum pages of one list: with a hundred or a thousand entries each, more than any cloud has
PAGES = 2000
#: maximum seconds for all pages of one list
LIST_SECONDS = 900.0


class Http(Session):
    """Reads from any service. Requests that change something are sent in `act.py`."""

    def _get(
        self, adapter: Adapter, path: str, route: str, query: Mapping[str, Any], microversion: str | None = None
    ) -> Any:
        """Send one GET, once more after a broken connection; returns an answer with any status."""
        service = str(adapter.service_type)
        left = self._pauses.left(service, acts=False)
        if left is not None:
            message = f"{route}: not sent, the cloud asked to wait: {left[1]}"
            raise CloudError(message, HTTPStatus.TOO_MANY_REQUESTS, retry_after=left[0])
        for last in (False, True):
            try:
                with self._timed(service, route) as seen:
                    answer = adapter.request(
                        path,
                        "GET",
                        params=dict(query),
                        microversion=microversion,
                        raise_exc=False,
                        timeout=self._timeout,
                    )
                    seen.append(answer.status_code)
            except (ConnectFailure, UnknownConnectionError) as error:
                if last:
                    raise CloudError(f"{route}: {describe(error)}") from None
            except FAILURES as error:
                raise CloudError(f"{route}: {describe(error)}", retry_after=login_pause(error)) from None
            else:
                if answer.status_code >= HTTPStatus.BAD_REQUEST:
                    words = f"HTTP {answer.status_code} {fault_text(answer) or snippet(answer)}"
                    pause = self._pauses.note(service, False, answer, words)
                    if pause is not None:
                        raise CloudError(f"{route}: {words}", answer.status_code, request_id_of(answer), pause)
                return answer
        raise AssertionError("unreachable")

    def _compute(
        self, path: str, query: Mapping[str, str] | None = None, *, route: str, microversion: str = BASE
    ) -> Any:
        """A page from Nova; None if Nova itself answers 404. A 404 from an intermediary is a failure (I4)."""
        route = f"GET {route}"
        answer = self._get(self._open().compute, path, route, query or {}, microversion)
        self._read_clock(answer)
        if answer.status_code == HTTPStatus.NOT_FOUND and fault_text(answer) is not None:
            return None
        return body(answer, route)

    def _must(self, path: str, query: Mapping[str, str] | None = None, *, microversion: str = BASE) -> Any:
        """A page from Nova; raises `CloudError` if it does not exist."""
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
        bounds = Bounds(path)
        while True:
            raw = self._must(path, asked, microversion=microversion)
            entries = raw[member]
            yield from entries
            if not entries or not raw.get(f"{member}_links"):
                return
            asked["marker"] = bounds.next(entries[-1][marker])


class Bounds:
    """Ensures that the reading of one list ends, by its markers, pages and time. Raises `CloudError`."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._markers: set[str] = set()
        self._ends = time.monotonic() + LIST_SECONDS

    def next(self, marker: Any) -> str:
        """The marker of the next page, which must differ from all earlier markers."""
        if not isinstance(marker, str | int) or not str(marker):
            raise CloudError(f"GET {self._path}: the marker of the next page is no text")
        text = str(marker)
        if text in self._markers:
            raise CloudError(f"GET {self._path}: the list does not end: the marker {line(text, 64)} comes again")
        self._markers.add(text)
        if len(self._markers) >= PAGES:
            raise CloudError(f"GET {self._path}: the list does not end: {PAGES} pages were read")
        if time.monotonic() > self._ends:
            raise CloudError(f"GET {self._path}: the list was not read within {LIST_SECONDS:g} s")
        return text
