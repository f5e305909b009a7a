"""Generates the parts of docs/ that follow from the code; `make generate` writes them.

vmferry.resources         -> reference/vmmigration.md, reference/hostmaintenance.md
vmferry.runtime.config    -> reference/configuration.md
the enums of the reasons  -> reference/conditions.md
citations in the code     -> design/rules.md, its last two columns
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from docs import conditions
from docs.rules import PAGE, page
from vmferry.resources.base import DURATION_PATTERN, format_duration
from vmferry.resources.catalog import CATALOG, ResourceType
from vmferry.resources.crd import bounds_of, default_of, object_schema, structural
from vmferry.runtime.config import ENVIRONMENT, Config

REFERENCE = Path(__file__).resolve().parent / "reference"
_HEAD = "<!-- Generated from {source} by `make generate`; do not edit. -->\n\n"

_SCOPES = {"Namespaced": "It is namespaced", "Cluster": "It is cluster-scoped"}

Node = dict[str, Any]


def fields(node: Node, path: str = "") -> Iterator[tuple[str, Node, bool]]:
    """Each field below a node: its path like `attempts[].state`, its schema, and whether it is required."""
    if "items" in node:
        yield from fields(node["items"], f"{path}[]")
        return
    for name, child in node.get("properties", {}).items():
        inner = f"{path}.{name}" if path else name
        yield inner, child, name in node.get("required", ())
        yield from fields(child, inner)


def type_of(node: Node) -> str:
    """The type in words: enumerated values, `duration`, `time`, `list of …`, or JSON's own type."""
    if "enum" in node:
        return " \\| ".join(f"`{word}`" for word in node["enum"])
    if node.get("pattern") == DURATION_PATTERN:
        return "duration"
    if node.get("format") == "date-time":
        return "time"
    if node["type"] == "array":
        return f"list of {type_of(node['items'])}"
    return str(node["type"])


def table(node: Node, *, columns: bool) -> str:
    """A table with a row per field; `columns` adds the defaults of fields that people write."""
    head = ["field", "type", "default", "meaning"] if columns else ["field", "type", "meaning"]
    rows = [head, ["---"] * len(head)]
    for path, child, required in fields(node):
        default = default_of(child)
        # the default has its own column here
        meaning = child["description"].replace(f" {default}", "") if default else child.get("description", "")
        cells = [f"`{path}`", type_of(child), meaning]
        if columns:
            default = f"`{default[len('Default: ') : -1]}`" if default else ""
            cells.insert(2, "**required**" if required else default)
        rows.append(cells)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def rules(kind: ResourceType[Any]) -> Iterator[str]:
    """The messages of the API server's validation rules."""
    schema = object_schema(kind)
    nodes = [schema, *(child for _, child, _ in fields(schema))]
    for node in nodes:
        yield from (rule["message"] for rule in node.get("x-kubernetes-validations", ()))


def of_kind(kind: ResourceType[Any]) -> str:
    schema = object_schema(kind)
    short = kind.short_name
    columns = ["| column | what it shows | |", "|---|---|---|"]
    for column in kind.columns:
        wide = "with `-o wide`" if column.priority else ""
        columns.append(f"| {column.name.upper()} | {column.description} (`{column.path}`) | {wide} |")
    refused = dict.fromkeys(rules(kind))
    return "\n".join(
        [
            _HEAD.format(source="operator/vmferry/resources") + f"# {kind.name}",
            "",
            f"{kind.description} {_SCOPES[kind.scope]}. `kubectl explain {short}.spec` shows the same.",
            "",
            "## spec",
            "",
            table(schema["properties"]["spec"], columns=True),
            "",
            "In addition to types and bounds, the API server enforces these rules:",
            "",
            *(f"- {message}" for message in refused),
            "",
            "## status",
            "",
            f"Written by the operator only. Meaning of the conditions: [conditions](conditions.md#{kind.singular}).",
            "",
            table(schema["properties"]["status"], columns=False),
            "",
            f"## kubectl get {short}",
            "",
            *columns,
            "",
        ]
    )


def configuration_schema() -> Node:
    """The configuration's JSON schema in the form of a resource's schema."""
    raw = Config.model_json_schema(by_alias=True)
    return structural(raw, raw.get("$defs", {}))


def _default(node: Node, kind: str) -> str:
    """The default of a key; empty for a section, and where there is no default."""
    nested = node.get("properties") or node.get("items", {}).get("properties")
    default = node.get("default")
    if nested or default is None:
        return ""
    if kind == "duration":
        return f"`{format_duration(TypeAdapter(timedelta).validate_python(default))}`"
    return f"`{json.dumps(default)}`"


def configuration() -> str:
    rows = [["key", "type", "default", "meaning"], ["---"] * 4]
    for path, node, required in fields(configuration_schema()):
        kind = type_of(node)
        meaning = " ".join(filter(None, (node["description"], bounds_of(node) if kind != "duration" else "")))
        rows.append([f"`{path}`", kind, "**required**" if required else _default(node, kind), meaning])
    variables = [f"| `{name}` | `{'.'.join(path)}` |" for name, path in ENVIRONMENT.items()]
    return "\n".join(
        [
            _HEAD.format(source="operator/vmferry/runtime/config/schema.py and policy.py") + "# Configuration",
            "",
            "One YAML file: `vmferry operator --config FILE`, or `config` in [the chart's",
            "values](../../helm/vmferry/README.md). Every key is optional. An unknown one, or a wrong value,",
            "stops the operator at its start with an error that names it. The file is read once: restart the",
            "operator after a change (the chart does). A duration is hours, minutes and seconds: `30m`, `1h30m`,",
            "`90s`.",
            "",
            *(f"| {' | '.join(row)} |" for row in rows),
            "",
            "## Environment",
            "",
            "These take precedence over the file.",
            "",
            "| variable | key |",
            "|---|---|",
            *variables,
            "",
        ]
    )


def files() -> dict[Path, str]:
    """The required content of each generated page."""
    made = {REFERENCE / f"{kind.singular}.md": of_kind(kind) for kind in CATALOG.values()}
    made[REFERENCE / "configuration.md"] = configuration()
    made[REFERENCE / "conditions.md"] = conditions.page(_HEAD.format(source="the enums of the reasons"))
    made[PAGE] = page()
    return made
