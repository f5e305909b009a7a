"""`-o yaml|json|name`, as kubectl prints objects. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum

import yaml

from vmferry.cli.terminal import plain
from vmferry.resources.base import GROUP
from vmferry.runtime.kube_api import Body


class Output(StrEnum):
    TEXT = "text"
    WIDE = "wide"
    NAME = "name"
    YAML = "yaml"
    JSON = "json"

    @property
    def data(self) -> bool:
        """Whether the output is for programs, so that nothing else may be printed to the same stream."""
        return self in (Output.NAME, Output.YAML, Output.JSON)


def short(body: Body) -> str:
    """The type and name as kubectl prints them: `vmmigration.vmferry.dev/web-1`."""
    return plain(f"{body['kind'].lower()}.{GROUP}/{body['metadata']['name']}")


def printed(bodies: Sequence[Body], output: Output, *, as_list: bool = False) -> str:
    """Print one object as itself, several (or with `as_list`) as a List; without managedFields, as in kubectl."""
    if output is Output.NAME:
        return "".join(f"{short(body)}\n" for body in bodies)
    clean = [
        {**body, "metadata": {key: value for key, value in body["metadata"].items() if key != "managedFields"}}
        for body in bodies
    ]
    whole = clean[0] if len(clean) == 1 and not as_list else {"apiVersion": "v1", "kind": "List", "items": clean}
    if output is Output.JSON:
        text = json.dumps(whole, indent=2, ensure_ascii=False)
        # these characters occur only in JSON strings
        return (text if _clean(text) else json.dumps(whole, indent=2).replace("\x7f", "\\u007f")) + "\n"
    text = yaml.safe_dump(whole, sort_keys=False, allow_unicode=True, width=110)
    return text if _clean(text) else yaml.safe_dump(whole, sort_keys=False, width=110)


def _clean(text: str) -> bool:
    """Whether the text has no unprintable characters: neither format escapes bidirectional overrides, and JSON does not
    escape all control characters that terminals interpret."""
    return text.replace("\n", "").isprintable()
