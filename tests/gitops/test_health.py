"""What Argo CD, Flux and kstatus make of the objects, by their own engines: they agree, in every state (R33).

The examples of `manifests/argo-cd` are written from here: VMFERRY_WRITE_GOLDEN=1, and read the difference.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.gitops.engines import Answer, EngineError, Question, ask
from tests.gitops.states import MAINTENANCE, MIGRATION, STATES, Body, lived, new, phase, without_a_status
from tests.reconcilers.maintenance.test_drain import DRAINS
from tests.reconcilers.migration.test_lives import LIVES
from vmferry.resources.words import MaintenancePhase, Phase

#: the engines are built with the API server
pytestmark = pytest.mark.kubernetes

MANIFESTS = Path(__file__).resolve().parents[2] / "manifests"
CUSTOMIZATIONS = MANIFESTS / "argo-cd/resource_customizations/vmferry.dev"
KINDS = (MIGRATION, MAINTENANCE)
SCRIPTS = {kind: (CUSTOMIZATIONS / kind / "health.lua").read_text() for kind in KINDS}
#: what each health of Argo CD means in Flux's words
MEANS = {"Healthy": "Current", "Degraded": "Failed", "Progressing": "InProgress", "Suspended": "InProgress"}


def expressions() -> dict[str, dict[str, str]]:
    """By kind: the healthCheckExprs that the Kustomizations ship."""
    found = {}
    for file in sorted((MANIFESTS / "flux").glob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text()):
            for one in document["spec"].get("healthCheckExprs", []):
                assert one["apiVersion"] == "vmferry.dev/v1alpha1"
                found[one["kind"]] = one
    return found


@dataclass(frozen=True)
class Verdict:
    argo_cd: Answer
    flux: Answer
    kstatus: Answer


def judge(bodies: list[Body]) -> list[Verdict]:
    """What the three say of each."""
    cel = expressions()
    questions = []
    for body in bodies:
        kind = body["kind"]
        questions += [Question.argo_cd(SCRIPTS[kind], body), Question.flux(cel[kind], body), Question.kstatus(body)]
    answers = iter(ask(questions))
    return [Verdict(*three) for three in zip(answers, answers, answers, strict=True)]


@pytest.fixture(scope="module")
def bodies() -> dict[str, Body]:
    return {name: state.make() for name, state in STATES.items()}


@pytest.fixture(scope="module")
def verdicts(bodies: dict[str, Body]) -> dict[str, Verdict]:
    return dict(zip(bodies, judge(list(bodies.values())), strict=True))


@pytest.mark.parametrize("name", STATES)
def test_R33_each_state_is_what_it_is_in_the_words_of_each_tool(name: str, verdicts: Mapping[str, Verdict]) -> None:
    state, found = STATES[name], verdicts[name]
    assert (found.argo_cd.status, found.kstatus.status) == (state.argo_cd, state.kstatus)
    # Flux asks its expressions, not kstatus, of what is being deleted
    assert found.flux.status == ("InProgress" if state.kstatus == "Terminating" else state.kstatus)
    assert found.argo_cd.message, "a person has to see why"


def test_every_phase_of_each_kind_is_in_the_table(bodies: Mapping[str, Body]) -> None:
    seen = {(body["kind"], phase(body)) for body in bodies.values()}
    # what the reconcilers never leave an object in, or only one that is gone
    never = {Phase.CHECKING, Phase.CANCELLED}
    assert {(MIGRATION, one) for one in Phase if one not in never} <= seen
    assert {(MAINTENANCE, one) for one in MaintenancePhase if one is not MaintenancePhase.CHECKING} <= seen


def what_counts(body: Body) -> str:
    """All that a verdict may depend on; progress and times change much more often."""
    metadata, status = body["metadata"], body["status"]
    conditions = sorted((one["type"], one["status"], one["reason"]) for one in status["conditions"])
    seen = metadata["generation"] == status["observedGeneration"]
    return repr((body["kind"], seen, "deletionTimestamp" in metadata, conditions))


def agreed(found: Verdict) -> bool:
    if found.kstatus.status == "Terminating":
        # Argo CD says Progressing of what is being deleted before it asks the script
        return found.flux.status == "InProgress"
    return MEANS[found.argo_cd.status] == found.flux.status == found.kstatus.status


def test_R33_the_three_agree_about_every_status_of_every_life() -> None:
    every = [body for make in (*LIVES, *DRAINS) for body in lived(make)]
    assert len(every) > 500
    seen = list({what_counts(body): body for body in every}.values())
    wrong = [(body, found) for body, found in zip(seen, judge(seen), strict=True) if not agreed(found)]
    assert not wrong, "\n".join(f"{found}\n{yaml.safe_dump(body['status'])}" for body, found in wrong[:3])


def test_a_new_object_is_not_taken_for_one_that_is_done() -> None:
    """Under a definition that gives it no status kstatus says Current; the health scripts do not depend on that."""
    found = [new(kind, {}) for kind in KINDS]
    assert {(one.argo_cd.status, one.flux.status, one.kstatus.status) for one in judge(found)} == {
        ("Progressing", "InProgress", "InProgress")
    }
    bare = [without_a_status(new(kind, {})) for kind in KINDS]
    scripted = ask([Question.argo_cd(SCRIPTS[body["kind"]], body) for body in bare])
    assert [one.status for one in scripted] == ["Progressing", "Progressing"]
    assert [one.status for one in ask([Question.kstatus(body) for body in bare])] == ["Current", "Current"]


ODD: dict[str, Body] = {
    "no conditions yet": {"observedGeneration": 1},
    "an empty list": {"observedGeneration": 1, "conditions": []},
    "a type that nobody knows": {"observedGeneration": 1, "conditions": [{"type": "New", "status": "True"}]},
    "Ready is Unknown": {"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "Unknown"}]},
}


@pytest.mark.parametrize("sentence", ODD)
@pytest.mark.parametrize("kind", KINDS)
def test_of_what_says_little_nothing_is_concluded(kind: str, sentence: str) -> None:
    (found,) = judge([{**new(kind, {}), "status": ODD[sentence]}])
    assert (found.argo_cd.status, found.flux.status) == ("Progressing", "InProgress")


def test_a_wrong_script_and_a_wrong_expression_are_told() -> None:
    body = new(MIGRATION, {})
    for question, words in (
        (Question.argo_cd("return obj.nothing.there", body), "attempt to index"),
        (Question.argo_cd("return 7", body), "not a table"),
        (Question.argo_cd("return {status = 'Fine'}", body), "none of Argo CD's"),
        (Question.argo_cd("while true do end", body), "deadline exceeded"),
        (Question.flux({"current": "status.conditions.exists("}, body), "current|Current"),
    ):
        with pytest.raises(EngineError, match=words):
            ask([question])


# ---- the files in Argo CD's own layout


def written(path: Path, text: str) -> bool:
    """Whether the committed file is this text; written first if that is wished."""
    if os.environ.get("VMFERRY_WRITE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return path.is_file() and path.read_text() == text


def dumped(value: Any) -> str:
    return yaml.dump(value, Dumper=_Readable, sort_keys=False, width=110, allow_unicode=True)


class _Readable(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Readable.add_representer(str, _text)


def of_kind(kind: str) -> Iterator[str]:
    """Names of the states that Argo CD asks a script about: not of what is being deleted."""
    return (name for name, state in STATES.items() if state.kind == kind and state.kstatus != "Terminating")


def brief(body: Body) -> Body:
    """Without what no health depends on: it is long, and changes."""
    kept = ("observedGeneration", "phase", "conditions")
    return {**body, "status": {name: body["status"][name] for name in kept if name in body["status"]}}


@pytest.mark.parametrize("kind", KINDS)
def test_the_examples_are_objects_of_the_reconcilers(
    kind: str, bodies: Mapping[str, Body], verdicts: Mapping[str, Verdict]
) -> None:
    folder = CUSTOMIZATIONS / kind
    tests = []
    for name in of_kind(kind):
        file = f"testdata/{name.partition('-')[2]}.yaml"
        assert written(folder / file, dumped(brief(bodies[name]))), file
        health = verdicts[name].argo_cd
        tests.append({"healthStatus": {"status": health.status, "message": health.message}, "inputPath": file})
    assert written(folder / "health_test.yaml", dumped({"tests": tests}))
    assert {file.name for file in (folder / "testdata").iterdir()} == {
        str(one["inputPath"]).removeprefix("testdata/") for one in tests
    }


def test_the_snippet_of_argocd_cm_is_the_scripts() -> None:
    head = "# For the ConfigMap argocd-cm: `kubectl patch configmap argocd-cm -n argocd --patch-file argocd-cm.yaml`.\n"
    head += "# Written from resource_customizations/ by tests/gitops/test_health.py; do not edit.\n"
    data = {f"resource.customizations.health.vmferry.dev_{kind}": SCRIPTS[kind] for kind in KINDS}
    assert written(MANIFESTS / "argo-cd/argocd-cm.yaml", head + dumped({"data": data}))
