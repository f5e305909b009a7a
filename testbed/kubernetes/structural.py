"""Validation of values by a structural schema as the API server does it, and generation of values that it admits."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

CRDS = Path(__file__).resolve().parents[2] / "crds"
_DATE_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})")
_TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "boolean": bool,
}

Schema = dict[str, Any]
#: returns a strategy for a path like `spec.server.id` and its schema; None for whatever the schema admits
Words = Callable[[str, Schema], st.SearchStrategy[Any] | None]


def schema(plural: str) -> Schema:
    """The schema of a kind from its CRD in `crds/`."""
    document = yaml.safe_load((CRDS / f"{plural}.yaml").read_text(encoding="utf-8"))
    found: Schema = document["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


def violations(value: Any, node: Schema, path: str = "") -> Iterator[str]:
    """Yield a message for each rule that the value violates. CEL rules are not checked."""
    kind = node["type"]
    if not isinstance(value, _TYPES[kind]) or (kind == "integer" and isinstance(value, bool)):
        yield f"{path} is no {kind}: {value!r}"
    elif kind == "object":
        known = node.get("properties", {})
        yield from (f"{path}.{name} is missing" for name in node.get("required", ()) if name not in value)
        for name, inner in value.items():
            if name in known:
                yield from violations(inner, known[name], f"{path}.{name}")
            elif known:
                yield f"{path}.{name} is unknown"
    elif kind == "array":
        if len(value) > node.get("maxItems", len(value)):
            yield f"{path} has {len(value)} items"
        keys = node.get("x-kubernetes-list-map-keys", ())
        seen = [tuple(item.get(key) for key in keys) for item in value] if keys else []
        if len(set(seen)) != len(seen):
            yield f"{path} has an item twice: {seen}"
        for n, inner in enumerate(value):
            yield from violations(inner, node["items"], f"{path}[{n}]")
    elif kind == "string":
        yield from _text_violations(value, node, path)
    elif kind == "integer" and not node.get("minimum", value) <= value <= node.get("maximum", value):
        yield f"{path} is {value}"
    elif kind == "integer" and not -(2**63) <= value < 2**63:
        yield f"{path} has more than 64 bits: {value}"


def _text_violations(value: str, node: Schema, path: str) -> Iterator[str]:
    if not node.get("minLength", 0) <= len(value) <= node.get("maxLength", len(value)):
        yield f"{path} has {len(value)} characters"
    if "enum" in node and value not in node["enum"]:
        yield f"{path} is {value!r}"
    if "pattern" in node and not re.search(node["pattern"].replace("$", r"\Z"), value):
        yield f"{path} is {value!r}, which is not {node['pattern']}"
    if node.get("format") == "date-time" and not _DATE_TIME.fullmatch(value):
        yield f"{path} is no time: {value!r}"
    if any(0xD800 <= ord(character) <= 0xDFFF for character in value):
        yield f"{path} is not Unicode: {value!r}"


def admitted(node: Schema, words: Words, path: str = "") -> st.SearchStrategy[Any]:
    """A strategy for values that the schema admits, with any subset of the optional fields."""
    special = words(path, node)
    if special is not None:
        return special.filter(lambda value: not any(violations(value, node)))
    kind = node["type"]
    if kind == "object":
        known = {name: admitted(inner, words, f"{path}.{name}") for name, inner in node.get("properties", {}).items()}
        must = {name: known[name] for name in node.get("required", ())}
        return st.fixed_dictionaries(must, optional={name: s for name, s in known.items() if name not in must})
    if kind == "array":
        keys = node.get("x-kubernetes-list-map-keys", ())
        return st.lists(
            admitted(node["items"], words, f"{path}[]"),
            max_size=min(3, node.get("maxItems", 3)),
            unique_by=(lambda item: tuple(item[key] for key in keys)) if keys else None,
        )
    if kind == "boolean":
        return st.booleans()
    if kind == "integer":
        low, high = node.get("minimum", -(2**31)), node.get("maximum", 2**62)
        return st.sampled_from([low, high]) | st.integers(low, min(high, low + 5))
    if "enum" in node:
        return st.sampled_from(node["enum"])
    if "pattern" in node:
        text = st.from_regex(re.compile(node["pattern"].replace("$", r"\Z")))
    else:
        text = st.text(min_size=node.get("minLength", 0), max_size=min(node.get("maxLength", 30), 30))
    return text.filter(lambda value: not any(violations(value, node)))
