"""docs/reference/ is what the models say, and `kubectl explain` says as much."""

from __future__ import annotations

import time
from typing import Any

import pytest

from docs.generate import configuration_schema, fields
from testbed.kubernetes.cluster import Cluster, KubectlError
from vmferry.resources.catalog import CATALOG, ResourceType
from vmferry.resources.crd import bounds_of, default_of, object_schema

OF_KINDS = [pytest.param(kind, id=kind.name) for kind in CATALOG.values()]


@pytest.mark.parametrize("kind", OF_KINDS)
def test_every_field_says_in_a_sentence_what_it_is(kind: ResourceType[Any]) -> None:
    thin = [
        path
        for path, node, _ in fields(object_schema(kind))
        if path != "metadata" and not (node.get("description", "").endswith(".") and " " in node["description"])
    ]
    assert not thin, "kubectl explain would tell nothing of these"


@pytest.mark.parametrize("kind", OF_KINDS)
def test_a_field_of_the_spec_tells_its_default_and_its_bounds(kind: ResourceType[Any]) -> None:
    told = {path: node for path, node, _ in fields(object_schema(kind)["properties"]["spec"])}
    silent = [
        path
        for path, node in told.items()
        if not all(sentence in node["description"] for sentence in (default_of(node), bounds_of(node)))
    ]
    assert len(told) > 10 and not silent, "kubectl explain shows descriptions, but neither defaults nor bounds"


def test_every_key_of_the_configuration_says_in_a_sentence_what_it_is() -> None:
    told = {path: node.get("description", "") for path, node, _ in fields(configuration_schema())}
    thin = [path for path, text in told.items() if not (text.endswith(".") and " " in text)]
    assert len(told) > 50 and not thin, "vmferry.runtime.config describes each key with doc()"


def explain(cluster: Cluster, *args: str) -> str:
    """What kubectl says; right after the definitions came it may still know nothing of them."""
    deadline = time.monotonic() + 240
    while True:
        try:
            return cluster.kubectl_run("explain", *args)
        except KubectlError:
            assert time.monotonic() < deadline
            time.sleep(0.5)
            cluster.kubectl_run("api-resources", "--api-group=vmferry.dev")  # looks anew


@pytest.mark.kubernetes
@pytest.mark.parametrize("kind", OF_KINDS)
@pytest.mark.parametrize("part", ["spec", "status"])
def test_kubectl_explain_shows_every_field_and_what_it_means(
    cluster: Cluster, kind: ResourceType[Any], part: str
) -> None:
    short = kind.short_name
    tree = explain(cluster, f"{short}.{part}", "--recursive")
    schema = object_schema(kind)["properties"][part]
    names = {path.rsplit(".", 1)[-1].removesuffix("[]") for path, _, _ in fields(schema)}
    assert names <= set(tree.replace("\t", " ").split()), "not shown"

    page = " ".join(explain(cluster, f"{short}.{part}").split())
    for name, node in schema["properties"].items():
        assert name in page and node["description"] in page
