"""The CustomResourceDefinitions are generated, structural, bounded and explained."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from vmferry.resources.catalog import CATALOG, VM_MIGRATION, ResourceType
from vmferry.resources.crd import definition, object_schema, render, structural

CRDS = Path(__file__).resolve().parents[2] / "crds"
NODES = [pytest.param(kind, id=kind.name) for kind in CATALOG.values()]


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Each node of a schema with its path, like `.spec.server.id` or `.status.attempts[]`."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from nodes(schema["additionalProperties"], f"{path}.*")


def wrong(kind: ResourceType[Any], rule: Any) -> list[str]:
    return [path for path, node in nodes(object_schema(kind)) if not rule(path, node)]


@pytest.mark.parametrize("kind", NODES)
def test_the_file_is_plain_yaml_without_anchors(kind: ResourceType[Any]) -> None:
    text = render(kind)
    assert "&id" not in text and "*id" not in text, "not every tool that edits manifests keeps YAML's anchors"
    assert yaml.safe_load(text) == definition(kind)


@pytest.mark.parametrize("kind", NODES)
def test_R33_every_field_is_explained(kind: ResourceType[Any]) -> None:
    undescribed = wrong(kind, lambda path, node: path.endswith("[]") or path == ".metadata" or node.get("description"))
    assert not undescribed


@pytest.mark.parametrize("kind", NODES)
def test_R35_every_text_list_and_map_is_bounded(kind: ResourceType[Any]) -> None:
    def bounded(path: str, node: dict[str, Any]) -> bool:
        if path in (".apiVersion", ".kind", ".metadata"):
            return True
        if node["type"] == "string":
            fixed = node.get("pattern") == "^(True|False|Unknown)$" or node.get("format") == "date-time"
            return "enum" in node or "maxLength" in node or fixed
        if node["type"] == "array":
            return "maxItems" in node
        if node["type"] == "object":
            return "properties" in node or "maxProperties" in node
        return True

    assert not wrong(kind, bounded)


@pytest.mark.parametrize("kind", NODES)
def test_nothing_is_left_that_a_structural_schema_cannot_hold(kind: ResourceType[Any]) -> None:
    banned = {"$ref", "$defs", "anyOf", "allOf", "oneOf", "const", "title", "discriminator", "examples"}
    assert not wrong(kind, lambda path, node: "type" in node and not banned & set(node))


@pytest.mark.parametrize("kind", NODES)
def test_every_list_says_how_appliers_merge_it(kind: ResourceType[Any]) -> None:
    def merged(path: str, node: dict[str, Any]) -> bool:
        return node["type"] != "array" or node.get("x-kubernetes-list-type") in ("map", "set", "atomic")

    assert not wrong(kind, merged)


@pytest.mark.parametrize("kind", NODES)
def test_a_refusal_names_a_field_that_exists(kind: ResourceType[Any]) -> None:
    known = {path for path, _ in nodes(object_schema(kind))}
    for path, node in nodes(object_schema(kind)):
        for rule in node.get("x-kubernetes-validations", ()):
            assert path == ".spec.server" or f"{path}{rule['fieldPath']}" in known, rule


@pytest.mark.parametrize("kind", NODES)
def test_no_text_cites_a_rule_by_its_number(kind: ResourceType[Any]) -> None:
    """`kubectl explain` shows these texts to people who do not have the rules at hand."""
    assert not re.findall(r"\b[IR]\d{1,2}\b", render(kind))


@pytest.mark.parametrize("kind", NODES)
def test_the_keys_of_a_map_list_are_required(kind: ResourceType[Any]) -> None:
    def keyed(path: str, node: dict[str, Any]) -> bool:
        keys = node.get("x-kubernetes-list-map-keys", [])
        is_map = node.get("x-kubernetes-list-type") == "map"
        return is_map == bool(keys) and set(keys) <= set(node.get("items", {}).get("required", []))

    assert not wrong(kind, keyed)
    conditions = object_schema(kind)["properties"]["status"]["properties"]["conditions"]
    assert conditions["x-kubernetes-list-map-keys"] == ["type"], "R33: appliers of status own single conditions"


@pytest.mark.parametrize("kind", NODES)
def test_R33_of_a_status_nothing_has_a_default_but_that_nobody_has_looked_yet(kind: ResourceType[Any]) -> None:
    """kstatus, and with it Flux and Helm, takes a new object without a status for one that is done."""
    assert wrong(kind, lambda path, node: "default" not in node or path.startswith(".spec.")) == [".status"]
    assert object_schema(kind)["properties"]["status"]["default"] == {"observedGeneration": -1}


@pytest.mark.parametrize("kind", NODES)
def test_printed_columns_show_fields_that_exist(kind: ResourceType[Any]) -> None:
    known = {path for path, _ in nodes(object_schema(kind))} | {".metadata.creationTimestamp"}
    for column in kind.columns:
        path = column.path
        if "?(" in path:
            list_path, field = path.split("[?(@.type==")[0], path.rsplit("]", 1)[1]
            path = f"{list_path}[]{field}"
        assert path in known, column


def test_the_columns_of_vmm_are_the_documented_ones() -> None:
    names = [column.name for column in VM_MIGRATION.columns if not column.priority]
    assert names == ["Server", "Type", "Source", "Target", "Phase", "Progress", "Age"]


def test_a_choice_of_types_is_refused_when_it_is_generated() -> None:
    with pytest.raises(ValueError, match="cannot hold a choice of types"):
        structural({"anyOf": [{"type": "string"}, {"type": "integer"}]}, {})
