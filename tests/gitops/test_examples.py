"""The example repository and what points to it say what `docs/gitops.md` advises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from vmferry.runtime.config import load

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "manifests"
REPOSITORY = MANIFESTS / "kustomize"
CLUSTERS = sorted((REPOSITORY / "clusters").iterdir())

Document = dict[str, Any]


def documents(folder: Path) -> list[Document]:
    return [one for file in sorted(folder.glob("*.yaml")) for one in yaml.safe_load_all(file.read_text())]


def of_kind(kind: str, *folders: Path) -> list[Document]:
    return [one for folder in folders for one in documents(folder) if one.get("kind") == kind]


@pytest.mark.parametrize("cluster", CLUSTERS, ids=lambda path: path.name)
def test_every_host_has_its_file_and_is_off(cluster: Path) -> None:
    folder = cluster / "maintenances"
    found = of_kind("HostMaintenance", folder)
    assert {one["metadata"]["name"] for one in found} == {one["spec"]["host"] for one in found}
    assert {one["spec"]["enabled"] for one in found} == {False}
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    assert listed == [f"{one['metadata']['name']}.yaml" for one in found]


@pytest.mark.parametrize("cluster", CLUSTERS, ids=lambda path: path.name)
def test_every_request_names_its_target_and_no_time(cluster: Path) -> None:
    found = of_kind("VMMigration", cluster / "migrations")
    assert found
    assert all("target" in one["spec"] and "ttlAfterFinished" not in one["spec"] for one in found)


@pytest.mark.parametrize("cluster", CLUSTERS, ids=lambda path: path.name)
def test_the_operator_takes_its_configuration(cluster: Path) -> None:
    assert load(cluster / "operator/config.yaml", {}).policy.shared_storage


@pytest.mark.parametrize("kind", ["Application", "Kustomization"])
def test_what_points_into_the_repository_points_at_a_folder_with_an_overlay(kind: str) -> None:
    found = of_kind(kind, MANIFESTS / "argo-cd", MANIFESTS / "flux")
    paths = [one["spec"].get("path") or one["spec"]["source"]["path"] for one in found]
    assert {path.rsplit("/", 1)[1] for path in paths} == {"operator", "maintenances", "migrations"}
    assert all((REPOSITORY / path / "kustomization.yaml").is_file() for path in paths)


def test_an_application_set_covers_every_cluster() -> None:
    (found,) = of_kind("ApplicationSet", MANIFESTS / "argo-cd")
    (generator,) = found["spec"]["generators"]
    path = found["spec"]["template"]["spec"]["source"]["path"]
    names = [one["cluster"] for one in generator["list"]["elements"]]
    assert names == [cluster.name for cluster in CLUSTERS]
    assert all((REPOSITORY / path.replace("{{.cluster}}", name)).is_dir() for name in names)


def test_kustomizations_of_flux_depend_on_each_other_and_take_one_source() -> None:
    found = of_kind("Kustomization", MANIFESTS / "flux")
    (source,) = of_kind("GitRepository", MANIFESTS / "flux")
    names = {one["metadata"]["name"] for one in found}
    for one in found:
        spec = one["spec"]
        assert spec["sourceRef"] == {"kind": "GitRepository", "name": source["metadata"]["name"]}
        wanted = [] if one["metadata"]["name"] == "vmferry-operator" else ["vmferry-operator"]
        assert [other["name"] for other in spec.get("dependsOn", [])] == wanted
        assert set(wanted) <= names and spec["wait"] and not spec.get("force")


def test_nobody_heals_or_replaces_a_request() -> None:
    applications = {one["metadata"]["name"]: one["spec"] for one in of_kind("Application", MANIFESTS / "argo-cd")}
    assert applications["vmferry-migrations"]["syncPolicy"]["automated"]["selfHeal"] is False
    for spec in applications.values():
        assert not {"Replace=true", "Force=true"} & set(spec["syncPolicy"].get("syncOptions", []))
