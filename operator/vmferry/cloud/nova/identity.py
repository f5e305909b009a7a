"""Keystone's names of projects."""

from __future__ import annotations

from http import HTTPStatus

from vmferry.cloud.nova.answers import body, reads
from vmferry.cloud.nova.http import Http


class IdentityReads(Http):
    """Projects."""

    @reads
    def projects(self) -> dict[str, str]:
        """Project names by id; empty where we may not list them."""
        found: dict[str, str] = {}
        path: str | None = "/projects"
        while path:
            answer = self._get(self._open().identity, path, "GET /projects", {})
            if answer.status_code == HTTPStatus.FORBIDDEN:
                return {}
            raw = body(answer, "GET /projects")
            found.update((project["id"], project["name"]) for project in raw["projects"])
            path = (raw.get("links") or {}).get("next")
        return found
