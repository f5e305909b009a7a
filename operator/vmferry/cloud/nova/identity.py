"""Project names from Keystone."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

from vmferry.cloud.nova.answers import CloudError, body, reads
from vmferry.cloud.nova.http import Bounds, Http


class IdentityReads(Http):
    """Reads of projects."""

    @reads
    def projects(self) -> tuple[dict[str, str], bool]:
        """Project names by id, and whether the list is complete. Raises `CloudError` if no page can be read.

        Keystone pages the list by `limit` and `marker` since 2025.1 and ignored both before. It may silently cut the
        list (`max_db_limit`), report `truncated` without a link to the rest (`list_limit`), or link a next page at a
        wrong address. Therefore only the marker of `next` is used, and the list ends with a page without new projects.
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
    """The marker of the next page; empty if it exists but has no marker; None if there is no next page."""
    if isinstance(links, list):
        links = {link.get("rel"): link.get("href") for link in links if isinstance(link, dict)}
    url = links.get("next") if isinstance(links, dict) else None
    if not url:
        return None
    try:
        return parse_qs(urlsplit(str(url)).query).get("marker", [""])[-1]
    except ValueError:
        return ""
