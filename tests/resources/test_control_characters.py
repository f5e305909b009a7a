"""No text that a user writes into `spec` may steer the terminal of whoever lists the object."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from testbed.kubernetes.structural import schema, violations
from vmferry.resources.catalog import CATALOG
from vmferry.resources.vmmigration import VMMigration

CONTROL = ["\x00", "\x07", "\x08", "\x1b", "\x7f", "\x80", "\x9b", "\x9f"]


def texts(node: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if node["type"] == "string":
        yield path, node
    for name, inner in node.get("properties", {}).items():
        yield from texts(inner, f"{path}.{name}")
    if isinstance(node.get("additionalProperties"), dict):
        yield from texts(node["additionalProperties"], f"{path}[]")
    if "items" in node:
        yield from texts(node["items"], f"{path}[]")


FIELDS = {
    f"{kind.plural} {path}": node
    for kind in CATALOG.values()
    for path, node in texts(schema(kind.plural)["properties"]["spec"], "spec")
}


@pytest.mark.parametrize("node", FIELDS.values(), ids=FIELDS.keys())
def test_a_control_character_is_refused_by_the_schema(node: dict[str, Any]) -> None:
    for one in CONTROL:
        for text in (one, f"a{one}", f"{one}a", f"a{one}b"):
            assert list(violations(text, node)), f"{text!r} is admitted"


def test_every_text_of_the_spec_was_found() -> None:
    assert {name.partition(" ")[2] for name in FIELDS} >= {
        "spec.server.id",
        "spec.server.name",
        "spec.server.project",
        "spec.target.host",
        "spec.host",
        "spec.reason",
    }


@pytest.mark.parametrize("field", ["name", "project"])
def test_the_operator_refuses_it_too(field: str) -> None:
    """An object may be older than the schema."""
    spec = {"server": {"name": "a", "project": "b"}}
    VMMigration.model_validate({"metadata": {"name": "x"}, "spec": spec})
    spec["server"][field] = "a\x1b[31m"
    with pytest.raises(ValueError, match="pattern"):
        VMMigration.model_validate({"metadata": {"name": "x"}, "spec": spec})
