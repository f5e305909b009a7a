"""What the real API server does with VMMigrations (R33, R35, I33): the CRD is tried, not only read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from testbed.build import ident
from testbed.kubernetes.cluster import Cluster, KubectlError

pytestmark = pytest.mark.kubernetes

WEB = {"id": ident("web-1")}
STARTED = {"startedAt": "2026-03-02T12:00:00Z"}


def manifest(name: str, spec: dict[str, Any]) -> str:
    return json.dumps(
        {"apiVersion": "vmferry.dev/v1alpha1", "kind": "VMMigration", "metadata": {"name": name}, "spec": spec}
    )


@dataclass(frozen=True)
class Space:
    """A namespace of its own."""

    cluster: Cluster
    namespace: str

    def kubectl(self, *args: str, input: str | None = None) -> str:
        return self.cluster.kubectl_run("--namespace", self.namespace, *args, input=input)

    def create(self, spec: dict[str, Any], name: str = "") -> str:
        name = name or f"m-{uuid4().hex[:8]}"
        self.kubectl("create", "--filename", "-", input=manifest(name, spec))
        return name

    def patch(self, name: str, change: dict[str, Any], *args: str) -> None:
        self.kubectl("patch", "vmm", name, "--type=merge", f"--patch={json.dumps(change)}", *args)

    def set_status(self, name: str, status: dict[str, Any]) -> None:
        self.patch(name, {"status": status}, "--subresource=status")

    def get(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", "vmm", name, "--output=json"))
        return found


@pytest.fixture(scope="module")
def space(cluster: Cluster) -> Iterator[Space]:
    namespace = f"admission-{uuid4().hex[:8]}"
    cluster.kubectl_run("create", "namespace", namespace)
    yield Space(cluster, namespace)
    cluster.kubectl_run("delete", "namespace", namespace, "--wait=false")


def test_the_definition_is_accepted_and_established_without_a_complaint(cluster: Cluster) -> None:
    found = json.loads(cluster.kubectl_run("get", "crd", "vmmigrations.vmferry.dev", "--output=json"))
    conditions = {c["type"]: c["status"] for c in found["status"]["conditions"]}
    assert conditions["Established"] == "True" and conditions["NamesAccepted"] == "True"
    assert "NonStructuralSchema" not in conditions, "the API server only prunes and defaults a structural schema"


#: English sentence: the spec, and the words that the API server refuses it with
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "both id and name": (
        {"server": {**WEB, "name": "web-1", "project": "shop"}},
        "name the server exactly one way: either id, or name together with project",
    ),
    "both id and project": ({"server": {**WEB, "project": "shop"}}, "name the server exactly one way"),
    "neither id nor name": ({"server": {}}, "name the server exactly one way"),
    "a name without its project": ({"server": {"name": "web-1"}}, "name together with project"),
    "a project without a name": ({"server": {"project": "shop"}}, "name together with project"),
    "no server": ({}, "spec.server: Required value"),
    "a bad UUID": ({"server": {"id": "web-1"}}, "spec.server.id in body should match"),
    "an empty name": ({"server": {"name": "", "project": "shop"}}, "spec.server.name"),
    "an unknown type": ({"server": WEB, "type": "Teleport"}, 'Unsupported value: "Teleport"'),
    "an unknown priority": ({"server": WEB, "priority": "Urgent"}, 'supported values: "Low", "Normal", "High"'),
    "negative retries": ({"server": WEB, "retries": -1}, "should be greater than or equal to 0"),
    "more retries than attempts are kept": ({"server": WEB, "retries": 20}, "should be less than or equal to 19"),
    "a timeout that is no duration": ({"server": WEB, "timeout": "soon"}, "spec.timeout in body should match"),
    "a timeout of no time at all": ({"server": WEB, "timeout": "0h0m0s"}, "spec.timeout: Invalid value"),
    "a timeout beyond all time": ({"server": WEB, "timeout": "9999999999h"}, "spec.timeout in body should match"),
    "a time to live in days": ({"server": WEB, "ttlAfterFinished": "1d"}, "spec.ttlAfterFinished in body should match"),
    "a target without a host": ({"server": WEB, "target": {}}, "spec.target.host: Required value"),
    "a host name with a blank": ({"server": WEB, "target": {"host": "a b"}}, "spec.target.host in body should match"),
    "a graceful stop of a live migration": (
        {"server": WEB, "type": "Live", "stopIfRunning": True},
        "stopIfRunning goes with type Cold or Auto only",
    ),
    "a graceful stop of an evacuation": (
        {"server": WEB, "type": "Evacuate", "stopIfRunning": True},
        "stopIfRunning goes with type Cold or Auto only",
    ),
    "a forced completion of a cold migration": (
        {"server": WEB, "type": "Cold", "onTimeout": "ForceComplete"},
        "onTimeout: ForceComplete goes with type Live or Auto only",
    ),
    "a misspelt field": ({"server": WEB, "tyype": "Live"}, 'unknown field "spec.tyype"'),
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_R35_it_refuses(space: Space, sentence: str) -> None:
    spec, words = REFUSED[sentence]
    with pytest.raises(KubectlError) as refusal:
        space.create(spec)
    assert words in str(refusal.value)


ACCEPTED: dict[str, dict[str, Any]] = {
    "a name with its project": {"server": {"name": "web-1", "project": "shop"}},
    "a graceful stop with Auto": {"server": WEB, "stopIfRunning": True},
    "a forced completion with Auto": {"server": WEB, "onTimeout": "ForceComplete"},
    "the longest duration": {"server": WEB, "timeout": "999999h999999m999999s"},
    "a hypervisor's UUID": {"server": WEB, "target": {"host": ident("hypervisor")}},
}


@pytest.mark.parametrize("sentence", ACCEPTED)
def test_it_accepts(space: Space, sentence: str) -> None:
    space.create(ACCEPTED[sentence])


def test_what_is_left_out_gets_its_default_and_the_status_says_that_nobody_has_looked(space: Space) -> None:
    created = space.get(space.create({"server": WEB}))
    assert created["spec"] == {
        "server": WEB,
        "type": "Auto",
        "stopIfRunning": False,
        "onTimeout": "Abort",
        "retries": 2,
        "preflightOnly": False,
        "paused": False,
        "priority": "Normal",
        "osUpgrade": False,
    }
    assert created["status"] == {"observedGeneration": -1}


FROZEN: dict[str, dict[str, Any]] = {
    "the server": {"server": {"id": ident("web-2")}},
    "the server, named another way": {"server": {"id": None, "name": "web-1", "project": "shop"}},
    "the type": {"type": "Cold"},
    "the target": {"target": {"host": "host-c"}},
    "the target, taken away": {"target": None},
    "the timeout": {"timeout": "1h"},
    "what happens at the timeout": {"onTimeout": "ForceComplete"},
    "the retries": {"retries": 3},
    "whether it only checks": {"preflightOnly": True},
    "whether it may stop the server": {"stopIfRunning": True},
    "whether it may cross versions": {"osUpgrade": True},
}
FREE: dict[str, dict[str, Any]] = {
    "paused": {"paused": True},
    "the priority": {"priority": "High"},
    "the time to live": {"ttlAfterFinished": "24h"},
    "the time to live, taken away": {"ttlAfterFinished": None},
}
TARGETED = {"server": WEB, "target": {"host": "host-b"}}


@pytest.fixture(scope="module")
def started(space: Space) -> str:
    name = space.create(TARGETED)
    space.set_status(name, STARTED)
    return name


@pytest.mark.parametrize("field", FROZEN)
def test_I33_after_the_start_nobody_changes(space: Space, started: str, field: str) -> None:
    with pytest.raises(KubectlError, match="the migration has started: only paused, priority and ttlAfterFinished"):
        space.patch(started, {"spec": FROZEN[field]})


@pytest.mark.parametrize("field", FREE)
def test_I33_after_the_start_one_may_still_change(space: Space, started: str, field: str) -> None:
    space.patch(started, {"spec": FREE[field]})


def test_I33_before_the_start_everything_may_change(space: Space) -> None:
    name = space.create(TARGETED)
    space.set_status(name, {"phase": "Blocked"})
    for change in (*FROZEN.values(), *FREE.values()):
        space.patch(name, {"spec": {"type": "Auto", **change}})  # Auto goes with every other field


def test_R33_spec_and_status_are_written_apart(space: Space) -> None:
    name = space.create({"server": WEB})
    space.patch(name, {"status": {"phase": "Succeeded"}})
    assert "phase" not in space.get(name)["status"], "a user cannot write the status along with the spec"
    space.patch(name, {"status": {"phase": "Queued"}, "spec": {"paused": True}}, "--subresource=status")
    found = space.get(name)
    assert found["status"] == {"phase": "Queued", "observedGeneration": -1}
    assert found["spec"]["paused"] is False, "and the operator never writes the spec along with the status"
    assert found["metadata"]["generation"] == 1


def test_the_columns_tell_where_a_server_goes(space: Space) -> None:
    name = space.create({"server": WEB}, name="columns")
    space.set_status(
        name,
        {
            "phase": "Migrating",
            "type": "Live",
            "server": {**WEB, "name": "web-1", "state": "ACTIVE"},
            "sourceHost": "host-a",
            "targetHost": "host-b",
            "progress": {"percent": 42},
        },
    )
    head, row = space.kubectl("get", "vmm", name).splitlines()
    assert head.split() == ["NAME", "SERVER", "TYPE", "SOURCE", "TARGET", "PHASE", "PROGRESS", "AGE"]
    assert row.split()[:-1] == ["columns", "web-1", "Live", "host-a", "host-b", "Migrating", "42"]
    assert "columns" in space.kubectl("get", "vmferry"), "the category shows all that the operator serves"


def test_explain_knows_the_fields(space: Space) -> None:
    told = space.kubectl("explain", "vmmigration.spec.server")
    assert "The server to move: " in told and "The server's UUID, " in told
