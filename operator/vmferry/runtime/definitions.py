"""Checks that the installed CustomResourceDefinitions contain every field that this operator writes.

Helm does not upgrade definitions, and an Argo CD application may apply them later than the image. Then every status
write is refused without an obvious reason. The check reads the API server's OpenAPI document, because any
ServiceAccount may read it, unlike the definitions.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from vmferry.resources.base import GROUP, VERSION
from vmferry.resources.catalog import CATALOG
from vmferry.resources.crd import object_schema
from vmferry.runtime.kube_api import KubeError

#: the OpenAPI document of our API group
PATH = f"/openapi/v3/apis/{GROUP}/{VERSION}"
#: seconds between two reads while the definitions are too old or writes are refused, and otherwise
SOON, LATER = 10.0, 600.0
#: seconds after which the document is read again before missing fields are reported
CONFIRM = 3.0
COMMAND = "kubectl apply --server-side -f crds/"

logger = logging.getLogger(__name__)


def lacking(document: Mapping[str, Any]) -> list[str]:
    """Paths of the fields that the installed definitions lack, such as `VMMigration.status.phase`.

    A kind that the document does not contain is skipped: it is not installed or not published yet.
    """
    installed = {
        gvk["kind"]: schema
        for schema in document.get("components", {}).get("schemas", {}).values()
        for gvk in schema.get("x-kubernetes-group-version-kind", ())
        if gvk.get("group") == GROUP and gvk.get("version") == VERSION
    }
    return [
        missing
        for kind in CATALOG.values()
        if kind.name in installed
        for part in ("spec", "status")
        for missing in _lacking(
            object_schema(kind)["properties"][part],
            installed[kind.name].get("properties", {}).get(part, {}),
            f"{kind.name}.{part}",
        )
    ]


def _lacking(ours: Mapping[str, Any], theirs: Mapping[str, Any], path: str) -> Iterator[str]:
    if theirs.get("x-kubernetes-preserve-unknown-fields"):
        return
    for name, schema in ours.get("properties", {}).items():
        known = theirs.get("properties", {}).get(name)
        if known is None:
            yield f"{path}.{name}"
        else:
            yield from _lacking(schema, known, f"{path}.{name}")
    if "items" in ours:
        yield from _lacking(ours["items"], theirs.get("items", {}), f"{path}[]")
    if unknown := set(ours.get("enum", ())) - set(theirs.get("enum", ours.get("enum", ()))):
        yield f"{path}: {min(map(str, unknown))}"


class Definitions:
    """Reads the document periodically. `trouble` is why the operator cannot work with the installed definitions."""

    def __init__(self, read: Callable[[str], Awaitable[Mapping[str, Any]]], doubtful: Callable[[], bool]) -> None:
        """`read` raises KubeError. `doubtful` returns whether writes fail; then the document is read more often."""
        self._read = read
        self._doubtful = doubtful
        self.trouble: str | None = None

    async def refresh(self) -> None:
        try:
            found = lacking(await self._read(PATH))
            if found and self.trouble is None:
                # a definition that was just applied may not be published yet
                await asyncio.sleep(CONFIRM)
                found = lacking(await self._read(PATH))
        except KubeError as error:
            logger.debug("cannot read the installed definitions: %s", error)
            return
        if not found:
            if self.trouble is not None:
                logger.info("the installed definitions fit this operator now")
            self.trouble = None
            return
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        trouble = f"the installed definitions are older than this operator: {found[0]} is unknown{more}: {COMMAND}"
        if trouble != self.trouble:
            logger.error("%s", trouble)
        self.trouble = trouble

    async def run(self) -> None:
        """Check forever."""
        while True:
            await self.refresh()
            rest = 0.0
            while rest < (SOON if self.trouble or self._doubtful() else LATER):
                await asyncio.sleep(SOON)
                rest += SOON
