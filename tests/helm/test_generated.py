"""What of the chart follows from something else is what that says; and alerts and panels ask for metrics that exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from helm.generate import CHART, comments, leaves
from helm.values import SET_BY_THE_CHART
from vmferry import __version__
from vmferry.resources.words import Phase
from vmferry.runtime.config import Config, parse
from vmferry.runtime.metrics import definitions as metrics

VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
CHART_YAML: dict[str, Any] = yaml.safe_load((CHART / "Chart.yaml").read_text())
#: what a Config cannot hold, since it stands for the namespace of the release
OPEN = {"policy.maintenance.namespace"}


def fields(model: Any, path: str = "") -> Iterator[str]:
    """Each key of the operator's configuration, with its path."""
    for name, field in model.__pydantic_fields__.items():
        if not path and name in SET_BY_THE_CHART:
            continue
        key = f"{path}{field.alias or name}"
        if hasattr(field.annotation, "__pydantic_fields__"):
            yield from fields(field.annotation, f"{key}.")
        else:
            yield key


def test_config_has_each_key_of_the_operators_configuration_and_no_other() -> None:
    found = {path for path, _ in leaves(VALUES["config"])}
    assert found == set(fields(Config)), "change helm/vmferry/values.yaml, then run `make generate`"


def test_config_has_the_operators_own_defaults() -> None:
    def without_open(values: dict[str, Any], path: str = "") -> dict[str, Any]:
        return {
            name: without_open(value, f"{path}{name}.") if isinstance(value, dict) else value
            for name, value in values.items()
            if f"{path}{name}" not in OPEN
        }

    assert parse(without_open(VALUES["config"]), {}) == Config()


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, node in schema.get("properties", {}).items():
        yield f"{path}{name}", node
        yield from nodes(node, f"{path}{name}.")


def test_the_schema_knows_each_value_and_nothing_else() -> None:
    def sections(values: dict[str, Any], path: str = "") -> Iterator[str]:
        for name, value in values.items():
            yield f"{path}{name}"
            if isinstance(value, dict) and dict(nodes(SCHEMA))[f"{path}{name}"].get("properties"):
                yield from sections(value, f"{path}{name}.")

    assert set(sections(VALUES)) == {path for path, _ in nodes(SCHEMA)} - {"global"}


def test_the_schema_is_strict() -> None:
    def objects(schema: Any) -> Iterator[dict[str, Any]]:
        if isinstance(schema, dict):
            if "properties" in schema and schema.get("type") == "object":
                yield schema
            for child in schema.values():
                yield from objects(child)

    found = list(objects(SCHEMA))
    assert len(found) > 20 and all(node["additionalProperties"] is False for node in found)


def test_each_value_is_in_the_table() -> None:
    listed = re.findall(r"^\| `([\w.]+)` \|", (CHART / "README.md").read_text(), re.MULTILINE)
    assert listed == [path for path, _ in leaves(VALUES)]


#: values whose names say all, because Kubernetes' own documentation explains them
PLAIN = {"affinity", "nodeSelector", "podAnnotations", "podLabels", "priorityClassName", "resources", "tolerations"}
PLAIN |= {"image.pullPolicy", "serviceAccount.create", "serviceAccount.annotations"}


def test_each_value_is_explained() -> None:
    told = comments((CHART / "values.yaml").read_text())
    silent = {path for path, _ in leaves(VALUES) if path not in told and path.rpartition(".")[0] not in told}
    assert silent == PLAIN


def test_the_version_of_the_operator_is_the_packages() -> None:
    assert str(CHART_YAML["appVersion"]) == __version__
    assert f"vmferry:{__version__}\n" in CHART_YAML["annotations"]["artifacthub.io/images"]


def test_artifact_hub_is_told_of_each_kind_and_its_example() -> None:
    crds = [yaml.safe_load(path.read_text()) for path in (CHART / "files" / "crds").iterdir()]
    wanted = {(crd["spec"]["names"]["kind"], crd["metadata"]["name"]) for crd in crds}
    told = yaml.safe_load(CHART_YAML["annotations"]["artifacthub.io/crds"])
    assert {(one["kind"], one["name"]) for one in told} == wanted
    examples = yaml.safe_load(CHART_YAML["annotations"]["artifacthub.io/crdsExamples"])
    assert {one["kind"] for one in examples} == {kind for kind, _ in wanted}


def metric_names() -> set[str]:
    """As Prometheus stores them."""
    found: set[str] = {gauge.name for gauge in metrics.scraped()}
    endings = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "info": ["_info"]}
    for metric in metrics.counted():
        for family in metric.describe():
            found |= {family.name + ending for ending in endings.get(family.type, [""])}
    return found


QUERIES = {
    "the alerts": (CHART / "files" / "alerts.yaml").read_text(),
    "the panels": (CHART / "files" / "dashboard.json").read_text(),
}


@pytest.mark.parametrize("where", QUERIES)
def test_they_ask_for_metrics_that_exist(where: str) -> None:
    asked = set(re.findall(r"\bvmferry_\w+", QUERIES[where]))
    assert asked and asked <= metric_names(), asked - metric_names()


@pytest.mark.parametrize("where", QUERIES)
def test_they_ask_for_labels_that_exist(where: str) -> None:
    known = {label for metric in metrics.counted() for label in metric._labelnames}
    known |= {label for gauge in metrics.scraped() for label in gauge.labels}
    asked = set(re.findall(r'[{,]\s*(\w+)=~?\\?"', QUERIES[where]))
    asked |= {name for names in re.findall(r"\bby \(([^)]*)\)", QUERIES[where]) for name in names.split(", ")}
    assert "kind" in asked and asked <= known | {"le", "job", "version"}


def test_the_alerts_ask_for_outcomes_that_exist() -> None:
    asked = set(re.findall(r'outcome="(\w+)"', QUERIES["the alerts"]))
    assert asked == {"Unanswered", "Refused", "NotNow", "Failed"} <= {*metrics.ANSWERS, *metrics.OUTCOMES}
    assert set(re.findall(r'result="(\w+)"', QUERIES["the alerts"])) == {"failed"}
    phases = re.findall(r'phase=~?"([\w|]+)"', QUERIES["the alerts"])
    assert {phase for some in phases for phase in some.split("|")} == {"Queued", "Migrating", "Verifying"} <= set(Phase)


def test_the_panels_have_places_and_queries_of_their_own() -> None:
    panels = json.loads(QUERIES["the panels"])["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(places)) == len(places)
    assert all(target["expr"] for panel in panels if panel["type"] != "row" for target in panel["targets"])


def test_the_dashboard_has_a_panel_for_each_metric() -> None:
    stored = {re.sub(r"_(bucket|sum|count)$", "", name) for name in metric_names()}
    asked = {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"\bvmferry_\w+", QUERIES["the panels"])}
    assert stored <= asked
