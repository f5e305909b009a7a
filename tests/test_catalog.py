"""Each type of the catalog has all that CONTRIBUTING asks for of a kind; a made-up one shows what is missing."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from vmferry.cli.ferry.views import VIEWS
from vmferry.reconcilers.rows import KINDS
from vmferry.resources.base import GROUP, Model, Resource
from vmferry.resources.catalog import CATALOG, ResourceType

ROOT = Path(__file__).resolve().parents[1]
TYPES = [pytest.param(row, id=row.name) for row in CATALOG.values()]


def documents(*folders: str) -> Iterator[dict[str, Any]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.yaml")):
            yield from (found for found in yaml.safe_load_all(path.read_text()) if isinstance(found, dict))


def granted(row: ResourceType[Any]) -> set[tuple[str, str]]:
    """Resource and verb that the operator's ClusterRoles give it on this type."""
    return {
        (resource, verb)
        for role in documents("manifests/operator")
        if role["kind"] == "ClusterRole"
        for rule in role["rules"]
        if GROUP in rule["apiGroups"]
        for resource in rule["resources"]
        if resource.split("/")[0] == row.plural
        for verb in rule["verbs"]
    }


def has_rights(row: ResourceType[Any]) -> bool:
    wanted = {(row.plural, verb) for verb in ("get", "list", "watch", "patch")} | {(f"{row.plural}/status", "update")}
    return wanted <= granted(row)


def chart_names(row: ResourceType[Any]) -> bool:
    templates = ROOT / "helm/vmferry/templates"
    return all(row.plural in (templates / name).read_text() for name in ("rbac.yaml", "user-roles.yaml"))


def argo_cd_judges(row: ResourceType[Any]) -> bool:
    script = ROOT / "manifests/argo-cd/resource_customizations" / GROUP / row.name / "health.lua"
    return script.is_file() and f"{GROUP}_{row.name}:" in (ROOT / "manifests/argo-cd/argocd-cm.yaml").read_text()


def flux_judges(row: ResourceType[Any]) -> bool:
    return any(
        judged["kind"] == row.name
        for found in documents("manifests/flux")
        for judged in found.get("spec", {}).get("healthCheckExprs", ())
    )


def documented(row: ResourceType[Any]) -> bool:
    page = f"reference/{row.singular}.md"
    return (ROOT / "docs" / page).is_file() and f"({page})" in (ROOT / "docs/README.md").read_text()


def explains_conditions(row: ResourceType[Any]) -> bool:
    kind = KINDS.get(row.name)
    page = (ROOT / "docs/reference/conditions.md").read_text()
    return kind is not None and len(kind.reasons) > 0 and "Ready" in kind.conditions and f"## {row.name}\n" in page


def explains_events(row: ResourceType[Any]) -> bool:
    kind = KINDS.get(row.name)
    return (
        kind is not None and len(kind.events) > 0 and f"## Of a {row.name}\n" in (ROOT / "docs/events.md").read_text()
    )


def has_an_example(row: ResourceType[Any]) -> bool:
    return any(found.get("kind") == row.name for found in documents("manifests/demo", "manifests/kustomize"))


def is_kept_apart(row: ResourceType[Any]) -> bool:
    """Its folder in `reconcilers` is one that import-linter keeps from importing those of other kinds."""
    kind = KINDS.get(row.name)
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (apart,) = (contract["modules"] for contract in contracts if contract["type"] == "independence")
    return kind is not None and kind.plan.__module__.rpartition(".")[0] in apart


ASKED: dict[str, Callable[[ResourceType[Any]], bool]] = {
    "a row in reconcilers/rows.py": lambda row: row.name in KINDS and KINDS[row.name].type is row,
    "reasons of its conditions": explains_conditions,
    "Events": explains_events,
    "a folder of its own": is_kept_apart,
    "a view in the kubectl plug-in": lambda row: row.name in VIEWS,
    "a definition": lambda row: (ROOT / f"crds/{row.plural}.yaml").is_file(),
    "rights": has_rights,
    "rights in the chart": chart_names,
    "health for Argo CD": argo_cd_judges,
    "health for Flux": flux_judges,
    "a page": documented,
    "an example": has_an_example,
}


@pytest.mark.parametrize("row", TYPES)
@pytest.mark.parametrize("sentence", ASKED)
def test_a_type_of_the_catalog_has(row: ResourceType[Any], sentence: str) -> None:
    assert ASKED[sentence](row), f"{row.name} lacks {sentence}: see CONTRIBUTING, Adding a kind"


class Rebalance(Resource):
    KIND = "Rebalance"

    spec: Model
    status: Model


MADE_UP = ResourceType(
    model=Rebalance,
    plural="rebalances",
    short_name="rb",
    namespaced=False,
    finalizer="vmferry.dev/rebalance",
    description="Made up.",
    columns=(),
    immutable={},
)


@pytest.mark.parametrize("sentence", ASKED)
def test_a_type_that_has_nothing_lacks(sentence: str) -> None:
    assert not ASKED[sentence](MADE_UP)


def test_every_path_that_the_recipe_names_exists() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    recipe = text.split("## Adding a kind\n")[1].split("\n## ")[0]
    paths = {found for found in re.findall(r"`([\w./-]+/[\w./<>-]*)`", recipe) if "<" not in found}
    assert len(paths) > 8
    roots = (ROOT, ROOT / "operator/vmferry")
    assert not [path for path in paths if not any((root / path).exists() for root in roots)]


def test_the_kinds_are_those_of_the_catalog() -> None:
    assert list(KINDS) == list(CATALOG) and VIEWS.keys() == CATALOG.keys()
