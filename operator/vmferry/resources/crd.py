"""Generates the CustomResourceDefinitions in `crds/` from the models.

A structural schema knows no `$ref`, `anyOf` with null, `const` or `title`: pydantic's JSON schema is rewritten into
what the API server accepts. `make generate` writes the files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from vmferry.resources.base import DURATION_PATTERN, GROUP, NOT_SEEN, VERSION
from vmferry.resources.catalog import Column, ResourceType

#: what pydantic adds and a structural schema refuses or does not need
_DROPPED = ("title", "$defs", "discriminator", "examples")
#: the number of a rule, which docstrings may cite and users do not know
_RULE_NUMBER = re.compile(r" ?\([IR]\d+(?:[-, ]+[IR]?\d+)*\)")


def column(row: Column) -> dict[str, Any]:
    return {
        "name": row.name,
        "type": row.type,
        "jsonPath": row.path,
        "description": row.description,
        **({"priority": row.priority} if row.priority else {}),
    }


def structural(schema: dict[str, Any], defs: dict[str, Any]) -> dict[str, Any]:
    """Rewrite one node, and all below it, of a JSON schema into a structural one."""
    if "$ref" in schema:
        target = defs[schema["$ref"].rsplit("/", 1)[1]]
        schema = {**target, **{k: v for k, v in schema.items() if k != "$ref"}}
    if "anyOf" in schema:
        branches = [b for b in schema["anyOf"] if b.get("type") != "null"]
        if len(branches) != 1:
            raise ValueError(f"a structural schema cannot hold a choice of types: {schema}")
        outer = {k: v for k, v in schema.items() if k != "anyOf"}
        return structural({**branches[0], **outer}, defs)
    if "allOf" in schema and len(schema["allOf"]) == 1:
        return structural({**schema["allOf"][0], **{k: v for k, v in schema.items() if k != "allOf"}}, defs)
    node = {k: v for k, v in schema.items() if k not in _DROPPED and v is not None}
    if "properties" in node:
        node["properties"] = {name: structural(child, defs) for name, child in node["properties"].items()}
    if "items" in node:
        node["items"] = structural(node["items"], defs)
        node.setdefault("x-kubernetes-list-type", "atomic")
    if isinstance(node.get("additionalProperties"), dict):
        node["additionalProperties"] = structural(node["additionalProperties"], defs)
    if isinstance(node.get("description"), str):
        node["description"] = " ".join(_RULE_NUMBER.sub("", node["description"]).split())
    return node


def object_schema(kind: ResourceType[Any]) -> dict[str, Any]:
    # mode "validation": what a user may leave out is not required; "serialization" would require defaults too
    raw = kind.model.model_json_schema(by_alias=True, mode="validation")
    root = structural(raw, raw.get("$defs", {}))
    root["description"] = kind.description
    root["properties"]["metadata"] = {"type": "object"}
    for part in ("spec", "status"):
        _drop_empty_defaults(root["properties"][part], keep_scalars=part == "spec")
    root["properties"]["status"]["default"] = {"observedGeneration": NOT_SEEN}
    _describe_rules(root["properties"]["spec"], kind.immutable)
    root["properties"] = {
        "apiVersion": {"type": "string", "description": "The version of this schema."},
        "kind": {"type": "string", "description": f"Always {kind.name}."},
        **root["properties"],
    }
    root["required"] = ["spec"]
    return root


def _drop_empty_defaults(node: dict[str, Any], *, keep_scalars: bool) -> None:
    """Keep only the defaults that a user may rely on: those of scalars in the spec."""
    if "default" in node and not (keep_scalars and isinstance(node["default"], str | int | bool)):
        del node["default"]
    for child in node.get("properties", {}).values():
        _drop_empty_defaults(child, keep_scalars=keep_scalars)
    if "items" in node:
        _drop_empty_defaults(node["items"], keep_scalars=keep_scalars)


def default_of(node: dict[str, Any]) -> str:
    """What holds if a field of the spec is left out, as a sentence; empty: nothing, or its parts say it."""
    default = node.get("default")
    if isinstance(default, bool):
        return f"Default: {str(default).lower()}."
    return f"Default: {default}." if default not in (None, "") else ""


def bounds_of(node: dict[str, Any]) -> str:
    """What a field of the spec may hold, as a sentence; empty: anything of its type."""
    if node.get("pattern") == DURATION_PATTERN:
        return "Hours, minutes and seconds, like 30m, 1h30m or 90s."
    if "maximum" in node:
        return f"From {node['minimum']} to {node['maximum']}."
    if "minimum" in node:
        return f"{node['minimum']} or more."
    if "maxLength" in node and "enum" not in node:
        return f"At most {node['maxLength']} characters."
    return ""


def _describe_rules(spec: dict[str, Any], fixed: Mapping[str, str]) -> None:
    """Append to the descriptions what the schema says by itself, but `kubectl explain` does not show."""

    def describe(node: dict[str, Any], *rules: str) -> None:
        node["description"] = " ".join(filter(None, (node["description"], *rules)))
        for child in node.get("properties", {}).values():
            describe(child, bounds_of(child), default_of(child))

    for name, node in spec["properties"].items():
        describe(node, bounds_of(node), default_of(node), fixed.get(name, ""))


def definition(kind: ResourceType[Any]) -> dict[str, Any]:
    """The whole CustomResourceDefinition."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": kind.scope,
            "names": {
                "kind": kind.name,
                "listKind": f"{kind.name}List",
                "plural": kind.plural,
                "singular": kind.singular,
                "shortNames": [kind.short_name],
                "categories": ["vmferry"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [column(row) for row in kind.columns],
                    "schema": {"openAPIV3Schema": object_schema(kind)},
                }
            ],
        },
    }


class _Plain(yaml.SafeDumper):
    """Without anchors: not every tool that edits manifests keeps them."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def render(kind: ResourceType[Any]) -> str:
    head = "# Generated from the models in operator/vmferry/resources by `make generate`; do not edit.\n"
    return head + yaml.dump(definition(kind), Dumper=_Plain, sort_keys=False, width=110, allow_unicode=True)
