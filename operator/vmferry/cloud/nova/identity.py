"""Keystone's names of projects."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

from vmferry.cloud.nova.answers import CloudError, body, reads
from vmferry.cloud.nova.http import Bounds, Http


class IdentityReads(Http):
    """Projects."""

    @reads
    def projects(self) -> tuple[dict[str, str], bool]:
        """Project names by id, and whether these are all. Raises `CloudError` when not even one page can be read.

        Keystone lists them by `limit` and `marker` since 2025.1; before, it ignores both. It may cut the list without
        a word (`max_db_limit`), or say `truncated` without a way to the rest (`list_limit`), or name a next page at an
        address that is wrong. So of `next` only the marker is used, and the list ends with a page that brings nothing
        new.
        """
        names: dict[str, str] = {}
        asked: dict[str, Any] = {"limit": str(self._page)}
        bounds = Bounds("/projects")
        while True:
            try:
                answer = self._get(self._open().identity, "/projects", "GET /projects", asked)
                if answer.status_code == HTTPStatus.FORBIDDEN:
                    return names, False
                raw = body(answer, "GET /projects")
            except CloudError:
                if not names:
                    raise
                return names, False
            page = {project["id"]: project["name"] for project in raw["projects"]}
            marker = _next(raw.get("links"))
            if page.keys() <= names.keys():
                return names, not raw.get("truncated") and marker is None
            names.update(page)
            asked["marker"] = bounds.next(marker or raw["projects"][-1]["id"])


def _next(links: Any) -> str | None:
    """The marker of the next page; empty when there is one and no marker can be found; None: there is none."""
    if isinstance(links, list):
        links = {link.get("rel"): link.get("href") for link in links if isinstance(link, dict)}
    url = links.get("next") if isinstance(links, dict) else None
    if not url:
        return None
    try:
        return parse_qs(urlsplit(str(url)).query).get("marker", [""])[-1]
    except ValueError:
        return ""
