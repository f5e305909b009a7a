"""What lies in a repository is not deleted for its age: it would come back, and its server would move once more."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from testbed.lifecycle.life import Life
from testbed.lifecycle.little_cloud import LittleCloud
from vmferry.policy import Policy

APPLIED = {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}}
MARKS: dict[str, tuple[dict[str, Any], str]] = {
    "Argo CD, by annotation": ({"annotations": {"argocd.argoproj.io/tracking-id": "moves:vmferry.dev/…"}}, "Argo CD"),
    "Argo CD, by a label of its own": ({"labels": {"argocd.argoproj.io/instance": "moves"}}, "Argo CD"),
    "Argo CD or Helm, by the common label": ({"labels": {"app.kubernetes.io/instance": "moves"}}, "Argo CD or Helm"),
    "a Kustomization of Flux": ({"labels": {"kustomize.toolkit.fluxcd.io/name": "moves"}}, "Flux"),
    "a HelmRelease of Flux": ({"labels": {"helm.toolkit.fluxcd.io/name": "moves"}}, "Flux"),
    "a release of Helm": ({"annotations": {"meta.helm.sh/release-name": "moves"}}, "Helm"),
    "an apply set": ({"labels": {"applyset.kubernetes.io/part-of": "applyset-x-v1"}}, "kubectl apply --applyset"),
    "kapp": ({"labels": {"kapp.k14s.io/app": "1"}}, "kapp"),
    "Config Sync": ({"annotations": {"configmanagement.gke.io/managed": "enabled"}}, "Config Sync"),
}


def finished(metadata: dict[str, Any], spec: dict[str, Any] | None = None, *, policy: Policy | None = None) -> Life:
    """A migration that ended two hours ago."""
    cloud = LittleCloud()
    for host in ("cmp1", "cmp2"):
        cloud.add_host(host)
    cloud.add_server("cmp1")
    life = Life(cloud, spec, policy)
    life.body["metadata"].update(metadata)
    assert life.run().phase == "Succeeded"
    life.cloud.now += timedelta(hours=2)
    return life


@pytest.mark.parametrize("mark", MARKS.values(), ids=MARKS.keys())
def test_what_would_be_created_again_stays_and_says_so(mark: tuple[dict[str, Any], str]) -> None:
    metadata, who = mark
    life = finished(metadata, {"ttlAfterFinished": "1h"})
    decision = life.one_pass()
    assert not decision.delete and decision.requeue_after is None
    ready, succeeded = life.status.condition("Ready"), life.status.condition("Succeeded")
    assert ready and succeeded and ready.status == "True"
    assert f"not deleted after its ttlAfterFinished: {who} would create it again" in ready.message
    assert "ttlAfterFinished" not in succeeded.message
    writes = life.writes
    life.one_pass()
    assert life.writes == writes, "it is said once"


def test_what_is_taken_out_of_the_repository_without_being_deleted_goes_after_its_time() -> None:
    life = finished(MARKS["a Kustomization of Flux"][0], {"ttlAfterFinished": "1h"})
    del life.body["metadata"]["labels"]
    assert life.one_pass().delete
    ready = life.status.condition("Ready")
    assert ready is not None and "ttlAfterFinished" not in ready.message


AGED = Policy(ttl_after_finished=timedelta(hours=1))
LIVES: dict[str, tuple[dict[str, Any], dict[str, Any], Policy | None, bool]] = {
    "created, with a time of its own": ({}, {"ttlAfterFinished": "1h"}, None, True),
    "created, with the operator's time": ({}, {}, AGED, True),
    "created, with no time at all": ({}, {}, None, False),
    "applied, with a time of its own": (APPLIED, {"ttlAfterFinished": "1h"}, None, True),
    "applied, with the operator's time: a pipeline may apply it again": (APPLIED, {}, AGED, False),
    "applied by Flux, with the operator's time": (MARKS["a Kustomization of Flux"][0], {}, AGED, False),
}


@pytest.mark.parametrize("life", LIVES.values(), ids=LIVES.keys())
def test_what_is_deleted_for_its_age(life: tuple[dict[str, Any], dict[str, Any], Policy | None, bool]) -> None:
    metadata, spec, policy, goes = life
    assert finished(metadata, spec, policy=policy).look().delete is goes
