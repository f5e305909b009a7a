"""What pipelines, policies, backups and other operators do to our objects, by the engines of Kubernetes themselves: the
garbage collector, admission policies, quotas, the namespace controller, an etcd that is set back."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.bed import Bed
from testbed.processes import Supervisor, run_root
from testbed.simulator import SimulatedCloud
from tests.e2e.conftest import PAUSE, Player, install

pytestmark = [pytest.mark.simulator, pytest.mark.kubernetes]

HOST = "cmp1"
NAMESPACE = "pipelines"
Body = dict[str, Any]


@pytest.fixture(scope="module")
def bed() -> Iterator[Bed]:
    """A cluster of its own: policies and an etcd that is set back concern everybody in it."""
    run_dir = Path(tempfile.mkdtemp(prefix="tests-pipelines-", dir=run_root()))
    supervisor = Supervisor(run_dir)
    try:
        made = Bed.start("simulator", supervisor, run_dir)
        made.cluster.kubectl_run("create", "namespace", NAMESPACE)
        install(made, NAMESPACE, namespaces=[NAMESPACE, "team-a"], resync="1h")
        made.start_operator()
        yield made
    finally:
        supervisor.stop_all()
        shutil.rmtree(run_dir)


@pytest.fixture
def player(bed: Bed) -> Iterator[Player]:
    made = Player(bed, NAMESPACE)
    assert isinstance(bed.cloud, SimulatedCloud)
    yield made
    bed.cloud.reset_knobs()
    made.kubectl("delete", "hm", "--all", "--timeout=120s")
    made.kubectl("delete", "vmm", "--all", "--timeout=120s")
    bed.tenant.delete_booted()
    for host in ("cmp1", "cmp2"):
        bed.tenant.enable_host(host)


def apply(player: Player, body: Body) -> None:
    player.kubectl("apply", "-f", "-", input=yaml.safe_dump(body))


def maintenance(player: Player, name: str = HOST, *, labels: Body | None = None, **spec: Any) -> None:
    metadata = {"name": name, **({"labels": labels} if labels else {})}
    body = {"apiVersion": "vmferry.dev/v1alpha1", "kind": "HostMaintenance", "metadata": metadata}
    apply(player, {**body, "spec": {"host": HOST, **spec}})


def get(player: Player, name: str = HOST) -> Body:
    found = player.kubectl("get", "hm", name, "--ignore-not-found", "-o", "json")
    return json.loads(found) if found.strip() else {}


def condition(player: Player, type_: str, name: str = HOST) -> Body:
    conditions = get(player, name).get("status", {}).get("conditions", [])
    return next((one for one in conditions if one["type"] == type_), {})


def wait(player: Player, what: str, met: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not met():
        if time.monotonic() > end:
            state = yaml.safe_dump(get(player)) + player.kubectl("get", "vmm", "-A", "-o", "wide", check=False)
            log = player.bed.supervisor.log_tail("operator", 40)
            raise AssertionError(f"not {what} after {seconds:.0f} s:\n{state}\n{log}")
        time.sleep(PAUSE)


def phase(player: Player, name: str = HOST) -> str | None:
    return get(player, name).get("status", {}).get("phase")  # type: ignore[no-any-return]


def events(player: Player, reason: str) -> list[str]:
    found = json.loads(player.kubectl("get", "events", "-A", "-o", "json"))["items"]
    return [one.get("note") or one.get("message") for one in found if one["reason"] == reason]


def slow(player: Player) -> None:
    assert isinstance(player.bed.cloud, SimulatedCloud)
    player.bed.cloud.knob(HOST, live_seconds=8)


def two_on_their_way(player: Player) -> list[str]:
    """Three servers of cmp1, two of which are being moved by its maintenance."""
    slow(player)
    servers = [player.boot(HOST) for _ in range(3)]
    maintenance(player)
    wait(player, "moving two", lambda: running(player, servers) == 2)
    return servers


def running(player: Player, servers: list[str]) -> int:
    return sum(("live-migration", "running") in player.records(one) for one in servers)


def statuses(player: Player, servers: list[str]) -> list[str]:
    return sorted(status for one in servers for _, status in player.records(one))


@pytest.mark.parametrize("propagation", ["foreground", "background", "orphan"])
def test_I41_a_pruned_maintenance_completes_what_has_begun(player: Player, propagation: str) -> None:
    servers = two_on_their_way(player)
    player.kubectl("delete", "hm", HOST, f"--cascade={propagation}", "--wait=false")
    wait(player, "gone", lambda: not get(player))
    wait(player, "at rest", lambda: running(player, servers) == 0)
    wait(player, "ended", lambda: statuses(player, servers) == ["completed", "completed"])
    assert all((player.tenant.server(one) or {})["status"] == "ACTIVE" for one in servers)
    assert player.tenant.service(HOST)["status"] == "enabled"
    if propagation == "foreground":
        wait(player, "collected", lambda: not player.kubectl("get", "vmm", "-o", "name").strip())
        assert any("runs to completion" in note for note in events(player, "RunsToCompletion"))


def test_records_kept_by_orphan_propagation_do_not_hinder_the_next_maintenance(player: Player) -> None:
    server = player.boot(HOST)
    maintenance(player)
    wait(player, "in maintenance", lambda: phase(player) == "InMaintenance")
    player.kubectl("delete", "hm", HOST, "--cascade=orphan")
    assert player.kubectl("get", "vmm", "-o", "name").strip(), "the record stays"
    player.tenant.live_migrate(server, HOST)
    wait(player, "back", lambda: player.tenant.host_of(server) == HOST)
    player.tenant.wait_for_status(server, "ACTIVE")
    maintenance(player)
    wait(player, "in maintenance again", lambda: phase(player) == "InMaintenance")
    assert player.tenant.host_of(server) != HOST


def test_I41_a_migration_that_goes_with_its_namespace_runs_to_completion(player: Player) -> None:
    slow(player)
    player.kubectl("create", "namespace", "team-a")
    server = player.boot(HOST)
    guest = Player(player.bed, "team-a")
    name = guest.apply(server, type="Live")
    guest.running(name)
    player.kubectl("delete", "namespace", "team-a", "--wait=false")
    wait(player, "gone", lambda: not player.kubectl("get", "namespace", "team-a", "--ignore-not-found").strip())
    assert player.records(server) == [("live-migration", "completed")]


def test_I42_an_owned_migration_that_was_restored_without_its_owner_moves_nothing(player: Player) -> None:
    server = player.boot(HOST)
    maintenance(player)
    wait(player, "in maintenance", lambda: phase(player) == "InMaintenance")
    (backup,) = json.loads(player.kubectl("get", "vmm", "-o", "json"))["items"]
    player.kubectl("delete", "hm", HOST)
    wait(player, "collected", lambda: not player.kubectl("get", "vmm", "-o", "name").strip())
    kept = {key: backup["metadata"][key] for key in ("name", "namespace", "labels")}
    spec = {**backup["spec"], "target": {"host": HOST}}
    before = player.tenant.host_of(server)
    apply(player, {"apiVersion": backup["apiVersion"], "kind": "VMMigration", "metadata": kept, "spec": spec})
    status = player.blocked(kept["name"])
    (stalled,) = [one for one in status["conditions"] if one["type"] == "Stalled"]
    assert stalled["reason"] == "OwnerMissing"
    assert player.tenant.host_of(server) == before


POLICY = """
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: team-label}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
    - {apiGroups: [vmferry.dev], apiVersions: [v1alpha1], operations: [CREATE], resources: [vmmigrations]}
  validations:
  - expression: "has(object.metadata.labels) && 'team' in object.metadata.labels"
    message: every object needs the label team
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: team-label}
spec: {policyName: team-label, validationActions: [Deny]}
"""

QUOTA = f"""
apiVersion: v1
kind: ResourceQuota
metadata: {{name: none, namespace: {NAMESPACE}}}
spec: {{hard: {{count/vmmigrations.vmferry.dev: "0"}}}}
"""


@contextlib.contextmanager
def in_force(player: Player, rules: str) -> Iterator[None]:
    player.kubectl("apply", "-f", "-", input=rules)
    probe = yaml.safe_dump(
        {
            "apiVersion": "vmferry.dev/v1alpha1",
            "kind": "VMMigration",
            "metadata": {"name": "probe", "namespace": NAMESPACE, "finalizers": ["example.org/probe"]},
            "spec": {"server": {"id": "00000000-0000-0000-0000-000000000000"}},
        }
    )

    def refused() -> bool:
        told = player.kubectl("create", "--dry-run=server", "-f", "-", input=probe, check=False)
        return "probe created" not in told

    try:
        wait(player, "in force", refused)
        yield
    finally:
        player.kubectl("delete", "-f", "-", input=rules)


RULES = {
    "an admission policy": (POLICY, "every object needs the label team"),
    "a quota": (QUOTA, "exceeded quota: none"),
}


@pytest.mark.parametrize("case", RULES)
def test_a_host_is_not_touched_where_its_migrations_are_refused(player: Player, case: str) -> None:
    rules, words = RULES[case]
    server = player.boot(HOST)
    with in_force(player, rules):
        maintenance(player)
        wait(player, "stalled", lambda: condition(player, "Stalled"))
        stalled = condition(player, "Stalled")
        assert stalled["reason"] == "WriteRefused"
        assert words in stalled["message"]
        assert player.tenant.service(HOST)["status"] == "enabled", "the host is left as it is"
        assert player.tenant.host_of(server) == HOST
        assert any(words in note for note in events(player, "WriteRefused"))
    wait(player, "in maintenance", lambda: phase(player) == "InMaintenance")


def test_a_migration_whose_finalizer_is_refused_is_not_begun(player: Player) -> None:
    """A policy answers 422, as the API server does to much else; it is not to be tried again and again."""
    server = player.boot(HOST)
    rules = POLICY.replace("[CREATE]", "[CREATE, UPDATE]").replace(
        "has(object", "!has(object.metadata.finalizers) || has(object", 1
    )
    with in_force(player, rules):
        name = player.apply(server)
        stalled = next(one for one in player.blocked(name)["conditions"] if one["type"] == "Stalled")
        assert stalled["reason"] == "WriteRefused"
        assert "every object needs the label team" in stalled["message"]
        assert player.records(server) == []
        _, metrics = player.bed.probe("metrics")
        (tries,) = re.findall(
            r'vmferry_kubernetes_requests_total{code="422",resource="vmmigrations",verb="patch"} (\d+)', metrics
        )
        assert int(tries) < 5, "it is tried again and again"
    wait(player, "moved", lambda: player.tenant.host_of(server) != HOST)


def test_what_a_policy_refuses_midway_and_on_the_way_back_is_reported(player: Player) -> None:
    servers = [player.boot(HOST) for _ in range(2)]
    maintenance(player, returnVMs=True)
    wait(player, "in maintenance", lambda: phase(player) == "InMaintenance")
    with in_force(player, POLICY):
        maintenance(player, returnVMs=True, enabled=False)
        wait(player, "stalled", lambda: condition(player, "Stalled").get("reason") == "WriteRefused")
        assert phase(player) == "Releasing"
        assert player.tenant.service(HOST)["status"] == "enabled"
        version = get(player)["metadata"]["resourceVersion"]
        time.sleep(12)
        assert get(player)["metadata"]["resourceVersion"] == version, "it is not written to and fro"
    wait(player, "released", lambda: phase(player) == "Released")
    assert {player.tenant.host_of(one) for one in servers} == {HOST}


def test_owned_migrations_carry_the_labels_that_a_policy_demands(player: Player) -> None:
    server = player.boot(HOST)
    marks = {"labels": {"team": "compute"}, "annotations": {"example.org/ticket": "OPS-1"}}
    with (
        player.configured(namespaces=[NAMESPACE, "team-a"], policy={"maintenance": {"namespace": NAMESPACE, **marks}}),
        in_force(player, POLICY),
    ):
        maintenance(player)
        wait(player, "in maintenance", lambda: phase(player) == "InMaintenance")
        (child,) = json.loads(player.kubectl("get", "vmm", "-o", "json"))["items"]
        assert child["metadata"]["labels"]["team"] == "compute"
        assert child["metadata"]["annotations"] == {"example.org/ticket": "OPS-1"}
        assert player.tenant.host_of(server) != HOST


def test_a_namespace_that_is_missing_is_reported_before_the_host_is_touched(player: Player) -> None:
    player.boot(HOST)
    with player.configured(namespaces=[], policy={"maintenance": {"namespace": "nowhere"}}):
        maintenance(player)
        wait(player, "stalled", lambda: condition(player, "Stalled").get("reason") == "WriteRefused")
        assert 'namespaces "nowhere" not found' in condition(player, "Stalled")["message"]
        assert player.tenant.service(HOST)["status"] == "enabled"


def test_nobody_holds_up_a_host_from_another_namespace(player: Player) -> None:
    server = player.boot(HOST)
    maintenance(player, enabled=False)
    player.kubectl("create", "namespace", "team-b")
    forged = {
        "apiVersion": "vmferry.dev/v1alpha1",
        "kind": "VMMigration",
        "metadata": {
            "name": "evil-1",
            "namespace": "team-b",
            "finalizers": ["mallory.example.org/hold"],
            "labels": {
                "vmferry.dev/maintenance": HOST,
                "vmferry.dev/purpose": "drain",
                "vmferry.dev/round": "1",
                "vmferry.dev/try": "1",
            },
            "ownerReferences": [
                {
                    "apiVersion": "vmferry.dev/v1alpha1",
                    "kind": "HostMaintenance",
                    "name": HOST,
                    "uid": get(player)["metadata"]["uid"],
                    "controller": True,
                }
            ],
        },
        "spec": {"server": {"id": server}, "paused": True},
    }
    with player.configured(namespaces=[]):
        player.bed.cluster.kubectl_run("apply", "-f", "-", input=yaml.safe_dump(forged))
        maintenance(player, enabled=True)
        # the Lease of an earlier maintenance of the host may have to expire
        wait(player, "in maintenance", lambda: phase(player) == "InMaintenance", 240)
        assert player.tenant.host_of(server) != HOST
        assert "team-b/evil-1" in condition(player, "FalseClaims")["message"]
        evil = json.loads(player.kubectl("get", "vmm", "evil-1", "-n", "team-b", "-o", "json"))
        assert evil["status"]["phase"] in ("Pending", "Blocked"), "paused, whether or not a host could take its server"
        maintenance(player, enabled=False)
        wait(player, "released", lambda: phase(player) == "Released")
        evil = json.loads(player.kubectl("get", "vmm", "evil-1", "-n", "team-b", "-o", "json"))
        assert "deletionTimestamp" not in evil["metadata"], "it is not ours to delete"
        player.kubectl("patch", "vmm", "evil-1", "-n", "team-b", "--type=merge", '-p={"metadata":{"finalizers":[]}}')
        player.kubectl("delete", "vmm", "evil-1", "-n", "team-b")


def test_I44_an_etcd_that_is_set_back_makes_the_operator_read_everything_anew(player: Player) -> None:
    player.boot(HOST)
    maintenance(player)
    wait(player, "in maintenance", lambda: phase(player) == "InMaintenance")
    cluster = player.bed.cluster
    snapshot = player.bed.run_dir / "snapshot"
    cluster.snapshot(snapshot)
    maintenance(player, enabled=False)
    wait(player, "released", lambda: phase(player) == "Released")
    assert player.tenant.service(HOST)["status"] == "enabled"
    for number in range(120):
        player.kubectl("create", "configmap", f"later-{number}")
    # the watch knows a version that the new history reaches only much later
    maintenance(player, enabled=False, reason="later")
    wait(player, "seen", lambda: get(player)["status"]["observedGeneration"] == get(player)["metadata"]["generation"])
    cluster.set_back(snapshot)
    assert get(player)["spec"].get("enabled", True), "the API reports the state of the snapshot again"
    # the definition of an object that is in maintenance: nothing may land on the host
    wait(player, "disabled again", lambda: player.tenant.service(HOST)["status"] == "disabled", 120)
    assert player.bed.supervisor.alive("operator")
    assert "set back in time" in player.bed.supervisor.log("operator").read_text()
    _, metrics = player.bed.probe("metrics")
    assert "vmferry_kubernetes_set_back_total 1.0" in metrics
    wait(player, "the Event", lambda: any("set back in time" in note for note in events(player, "KubernetesSetBack")))
    maintenance(player, enabled=False)
    wait(player, "released", lambda: phase(player) == "Released")


def test_R52_two_operators_of_two_clouds_leave_each_others_objects_alone(player: Player) -> None:
    """Both directions of absence: each one is away while its maintenance is released."""
    bed = player.bed
    run_dir = bed.run_dir / "two"
    run_dir.mkdir()
    supervisor = Supervisor(run_dir)
    fleet = run_dir / "fleet.yaml"
    flavors = [{"name": "m1.small", "vcpus": 1, "ram_mb": 1024, "disk_gb": 10}]
    fleet.write_text(yaml.safe_dump({"hosts": [{"name": name} for name in ("rtwo1", "rtwo2")], "flavors": flavors}))
    try:
        cloud = SimulatedCloud.start(supervisor, run_dir / "cloud", fleet)
        other = Bed(supervisor, run_dir, bed.cluster, cloud)
        player.kubectl("create", "namespace", "two")
        own = {"class": "two", "namespace": "two", "policy": {"maintenance": {"namespace": "two"}}}
        other.install_operator(namespaces=[], leaderElection={"enabled": False}, **own)
        bed.cluster.kubectl_run("apply", "-f", "-", input=ROLE)
        other.start_operator()
        theirs = {"vmferry.dev/class": "two"}
        maintenance(player, "one")
        maintenance(player, "two", labels=theirs, host="rtwo1")
        for name in ("one", "two"):
            wait(player, name, lambda name=name: phase(player, name) == "InMaintenance")  # type: ignore[misc]
        versions = {name: get(player, name)["metadata"]["resourceVersion"] for name in ("one", "two")}
        time.sleep(10)
        assert versions == {name: get(player, name)["metadata"]["resourceVersion"] for name in versions}, "they fight"

        bed.stop_operator()
        maintenance(player, "one", enabled=False)
        time.sleep(10)
        assert get(player, "one")["status"]["cordon"], "nobody else undoes it"
        assert player.tenant.service(HOST)["status"] == "disabled"
        bed.start_operator()
        wait(player, "released", lambda: phase(player, "one") == "Released")
        assert player.tenant.service(HOST)["status"] == "enabled"

        other.stop_operator()
        player.kubectl("delete", "hm", "two", "--wait=false")
        time.sleep(10)
        assert get(player, "two")["status"]["cordon"], "nobody else undoes it"
        assert other.tenant.service("rtwo1")["status"] == "disabled"
        other.start_operator()
        wait(player, "gone", lambda: not get(player, "two"))
        assert other.tenant.service("rtwo1")["status"] == "enabled"
    finally:
        supervisor.stop_all()


#: the ServiceAccount of the test keeps its Leases in another namespace here
ROLE = """
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: vmferry, namespace: two}
rules:
- {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get, create, update, delete]}
- {apiGroups: [""], resources: [configmaps], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: vmferry, namespace: two}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: vmferry}
subjects: [{kind: ServiceAccount, name: vmferry, namespace: vmferry-system}]
"""
