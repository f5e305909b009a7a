"""Against the real API server, as the operator's own ServiceAccount: what is written, and what is not."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.parse
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.kubernetes.cluster import Cluster
from tests.runtime.fakes import SERVER, FakeCloud, Record, SmallPlan, child, settle
from vmferry.reconcilers import rows
from vmferry.reconcilers.decision import Event
from vmferry.reconcilers.owned_migrations import owned_migration
from vmferry.resources.base import API_VERSION, GROUP, VERSION
from vmferry.resources.catalog import HOST_MAINTENANCE, VM_MIGRATION
from vmferry.resources.hostmaintenance import HostMaintenance
from vmferry.resources.vmmigration import FINALIZER, VMMigration
from vmferry.runtime.config import Config, Health
from vmferry.runtime.events import Recent, post
from vmferry.runtime.host_lease import DURATION, HostLeases, lease_name
from vmferry.runtime.key import Key
from vmferry.runtime.kube import Kube
from vmferry.runtime.kube_api import AlreadyExistsError, ConflictError, InvalidError, NotFoundError
from vmferry.runtime.operator import Operator
from vmferry.runtime.owned import body_of

pytestmark = pytest.mark.kubernetes

MANIFESTS = Path(__file__).parents[2] / "manifests/operator"
USER = "system:serviceaccount:vmferry-system:vmferry"
KIND = VM_MIGRATION.name
Requests = list[dict[str, Any]]


@pytest.fixture(scope="module")
def account(cluster: Cluster) -> Path:
    """The kubeconfig of the ServiceAccount with the rights of the manifests, and no others."""
    cluster.kubectl_run("apply", "--filename", MANIFESTS / "rbac.yaml")
    return cluster.service_account_kubeconfig("vmferry-system", "vmferry", cluster.run_dir / "vmferry.kubeconfig")


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    name = f"runtime-{uuid.uuid4().hex[:8]}"
    cluster.kubectl_run("create", "namespace", name)
    yield name
    cluster.kubectl_run("delete", "namespace", name, "--wait=false")


@pytest.fixture
async def kube(account: Path) -> AsyncIterator[Kube]:
    made = await Kube.connect(account)
    yield made
    await made.close()


@pytest.fixture
async def admin(cluster: Cluster) -> AsyncIterator[Kube]:
    made = await Kube.connect(cluster.kubeconfig)
    yield made
    await made.close()


async def create(admin: Kube, namespace: str, name: str) -> Key:
    body = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": name},
        "spec": {"server": {"id": SERVER}},
    }
    await admin._objects.create_namespaced_custom_object(GROUP, VERSION, namespace, VM_MIGRATION.plural, body)
    return Key(KIND, namespace, name)


async def until(condition: Callable[[], bool], what: str, seconds: float = 240.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        await asyncio.sleep(0.05)


@asynccontextmanager
async def running(
    account: Path | None, namespace: str, cloud: FakeCloud, resync: str = "10m"
) -> AsyncIterator[Operator]:
    kind = replace(rows.VM_MIGRATION, plan=SmallPlan(cloud), record_outcome=settle)
    config = Config.model_validate(
        {
            "kubeconfig": account,
            "namespaces": [namespace],
            "policy": {"maintenance": {"namespace": namespace}},
            "resync": resync,
            "grace": "5s",
            "leaderElection": {"enabled": False},
        }
    )
    config = config.model_copy(update={"health": Health(port=0)})
    operator = Operator(config, cloud, {KIND: kind})
    stop = asyncio.Event()
    task = asyncio.create_task(operator.run(stop))
    try:
        yield operator
    finally:
        stop.set()
        assert await asyncio.wait_for(task, 240) == 0


class Audit:
    """The requests of the operator since this was made."""

    def __init__(self, cluster: Cluster) -> None:
        self._path = cluster.audit_log
        self._from = self._path.stat().st_size

    def requests(self) -> Requests:
        with self._path.open("rb") as log:
            log.seek(self._from)
            events = [json.loads(line) for line in log.read().splitlines() if line.endswith(b"}")]
        return [event for event in events if event.get("user", {}).get("username") == USER]

    def writes(self) -> list[str]:
        """Verb, resource and answer of each request that changes something."""
        return [
            f"{event['verb']} {'/'.join(filter(None, (ref['resource'], ref.get('subresource'))))}"
            for event in self.requests()
            if event["verb"] not in ("get", "list", "watch") and (ref := event.get("objectRef"))
        ]


async def test_a_move_writes_what_it_must_and_kopf_nothing(
    cluster: Cluster, account: Path, namespace: str, admin: Kube
) -> None:
    audit = Audit(cluster)
    cloud = FakeCloud(Record())
    async with running(account, namespace, cloud) as operator:
        await until(lambda: operator.health._beats.get("worker 0") is not None, "the workers")
        key = await create(admin, namespace, "web")  # the watch has to show it: the list is over

        def over() -> bool:
            status = cluster.kubectl_run("get", "vmm", "web", "-n", namespace, "-o", "jsonpath={.status.phase}")
            return status == "Succeeded"

        await until(over, "the end of the move")
        await until(lambda: len(operator.queue) == operator.queue.processing == 0, "an idle queue")
        assert operator.health.unready() == [] or operator.health.unready()[0].startswith("cloud")
    body = await admin.get(VM_MIGRATION, key)
    assert not body["metadata"].get("finalizers")
    assert body["status"]["attempts"][0]["requestID"] == "req-1"
    assert len(cloud.acted) == 1
    writes = [write for write in audit.writes() if "events" not in write]
    assert writes == [
        "patch vmmigrations",
        "update vmmigrations/status",
        "update vmmigrations/status",
        "update vmmigrations/status",
        "patch vmmigrations",
    ]
    assert audit.writes().count("create events") == 3
    kopf = [event for event in audit.requests() if "kopf" in event["userAgent"].lower()]
    assert kopf, "the watch is kopf's"
    assert {event["verb"] for event in kopf} <= {"get", "list", "watch"}
    refused = [event["requestURI"] for event in audit.requests() if event["responseStatus"]["code"] == 403]
    assert refused == []
    told = json.loads(cluster.kubectl_run("get", "events.v1.events.k8s.io", "-n", namespace, "-o", "json"))
    assert sorted(event["reason"] for event in told["items"]) == ["Asked", "Done", "Started"]
    described = cluster.kubectl_run("describe", "vmm", "web", "-n", namespace)
    assert "the cloud was asked: req-1" in described


async def test_a_deleted_object_in_flight_is_seen_to_its_end(
    cluster: Cluster, account: Path, namespace: str, admin: Kube
) -> None:
    cloud = FakeCloud(Record())
    key = await create(admin, namespace, "web")
    cluster.kubectl_run(
        "patch",
        "vmm",
        "web",
        "-n",
        namespace,
        "--type=merge",
        "-p",
        json.dumps({"metadata": {"finalizers": [FINALIZER]}}),
    )
    cluster.kubectl_run("delete", "vmm", "web", "-n", namespace, "--wait=false")
    async with running(account, namespace, cloud) as operator:
        await until(lambda: bool(cloud.acted), "the move")
        await until(lambda: len(operator.store) == 0, "the end of the object")
    with pytest.raises(NotFoundError):
        await admin.get(VM_MIGRATION, key)


async def test_a_thousand_finished_objects_cost_no_write(
    cluster: Cluster, account: Path, namespace: str, admin: Kube
) -> None:
    status = {"phase": "Succeeded", "completedAt": "2026-01-01T00:00:00Z", "conditions": []}
    limit = asyncio.Semaphore(20)

    async def finished(number: int) -> None:
        async with limit:
            key = await create(admin, namespace, f"done-{number}")
            version = (await admin.get(VM_MIGRATION, key))["metadata"]["resourceVersion"]
            await admin.put_status(VM_MIGRATION, key, version, status)

    await asyncio.gather(*(finished(number) for number in range(1000)))
    audit = Audit(cluster)
    looks = 0
    async with running(account, namespace, FakeCloud(Record()), resync="2s") as operator:

        def lists() -> int:
            uri = f"/namespaces/{namespace}/vmmigrations?"
            return sum(uri in e["requestURI"] and "limit" in e["requestURI"] for e in audit.requests())

        # each list has two pages, and kopf lists too; a third one of ours begins after all looks of the first
        await until(lambda: lists() >= 8, "some lists")
        await until(lambda: len(operator.queue) == operator.queue.processing == 0, "an idle queue")
        looks = len(operator.store)
    assert looks == 1000
    assert audit.writes() == []


async def test_the_answers_of_the_server_are_told_apart(namespace: str, kube: Kube, admin: Kube) -> None:
    key = await create(admin, namespace, "web")
    gone = key._replace(name="gone")
    old = (await kube.get(VM_MIGRATION, key))["metadata"]
    status = {"phase": "Blocked"}

    written = await kube.put_status(VM_MIGRATION, key, old["resourceVersion"], status)
    assert written["status"] == status
    assert written["spec"]["server"] == {"id": SERVER}, "the spec is not touched"
    version = written["metadata"]["resourceVersion"]
    for failing, error in {
        "a stale status": (kube.put_status(VM_MIGRATION, key, old["resourceVersion"], status), ConflictError),
        "a wrong status": (kube.put_status(VM_MIGRATION, key, version, {"phase": "Dancing"}), InvalidError),
        "stale finalizers": (kube.put_finalizers(VM_MIGRATION, key, old["resourceVersion"], ["a/b"]), ConflictError),
        "deletion of another": (kube.delete(VM_MIGRATION, key, str(uuid.uuid4()), version), ConflictError),
        "a stale deletion": (kube.delete(VM_MIGRATION, key, old["uid"], old["resourceVersion"]), ConflictError),
        "a status of nothing": (kube.put_status(VM_MIGRATION, gone, version, status), NotFoundError),
        "finalizers of nothing": (kube.put_finalizers(VM_MIGRATION, gone, version, []), NotFoundError),
        "deletion of nothing": (kube.delete(VM_MIGRATION, gone, old["uid"], version), NotFoundError),
        "reading nothing": (kube.get(VM_MIGRATION, gone), NotFoundError),
    }.values():
        with pytest.raises(error):
            await failing
    assert (await kube.put_finalizers(VM_MIGRATION, key, version, ["a/b"]))["metadata"]["finalizers"] == ["a/b"]
    current = (await kube.get(VM_MIGRATION, key))["metadata"]["resourceVersion"]
    current = (await kube.put_finalizers(VM_MIGRATION, key, current, []))["metadata"]["resourceVersion"]
    await kube.delete(VM_MIGRATION, key, old["uid"], current)
    with pytest.raises(NotFoundError):
        await kube.get(VM_MIGRATION, key)


async def test_a_long_list_comes_in_pages_of_one_version(
    namespace: str, kube: Kube, admin: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmferry.runtime.kube.PAGE", 2)
    for number in range(5):
        await create(admin, namespace, f"web-{number}")
    pages = [page async for page in kube.pages(VM_MIGRATION, [namespace])]
    assert [len(bodies) for bodies, _ in pages] == [2, 2, 1]
    assert len({version for _, version in pages}) == 1
    assert all(int(body["metadata"]["resourceVersion"]) <= pages[0][1] for bodies, _ in pages for body in bodies)


async def test_in_a_pod_the_service_account_is_used(
    cluster: Cluster, account: Path, namespace: str, admin: Kube, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tmp_path / "token"
    token.write_text(cluster.kubectl_run("create", "token", "vmferry", "-n", "vmferry-system").strip())
    url = urllib.parse.urlsplit(cluster.server_url)
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", str(url.hostname))
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(url.port))
    monkeypatch.setattr("kubernetes.config.incluster_config.SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr("kubernetes.config.incluster_config.SERVICE_CERT_FILENAME", str(cluster.ca_file))
    key = await create(admin, namespace, "web")
    cloud = FakeCloud(Record())
    audit = Audit(cluster)
    async with running(None, namespace, cloud) as operator:
        await until(lambda: bool(cloud.acted), "the move")
        await until(lambda: operator.store.get(key) is not None and not len(operator.queue), "an idle queue")

        def kopf_watches() -> bool:
            return any("kopf" in e["userAgent"].lower() and e["verb"] == "watch" for e in audit.requests())

        await until(kopf_watches, "kopf's watch")
    answers = {e["responseStatus"]["code"] for e in audit.requests() if "/configmaps/" not in e["requestURI"]}
    assert answers <= {200, 201}


async def test_what_lies_in_no_namespace_and_leases(
    cluster: Cluster, account: Path, namespace: str, kube: Kube, admin: Kube
) -> None:
    """As the ServiceAccount: a maintenance from its creation to its end, a child of it, and the Lease of its host."""
    audit = Audit(cluster)
    name = f"hm-{namespace}"
    made = {"apiVersion": API_VERSION, "kind": "HostMaintenance", "metadata": {"name": name}, "spec": {"host": name}}
    created = await admin.create(HOST_MAINTENANCE, made)
    with pytest.raises(AlreadyExistsError):
        await admin.create(HOST_MAINTENANCE, made)
    key, uid = Key(HOST_MAINTENANCE.name, "", name), created["metadata"]["uid"]
    assert (await kube.get(HOST_MAINTENANCE, key))["metadata"]["uid"] == uid
    pages = [page async for page, _ in kube.pages(HOST_MAINTENANCE, [namespace, "default"])]
    assert [body["metadata"]["name"] for page in pages for body in page].count(name) == 1

    version = created["metadata"]["resourceVersion"]
    version = (await kube.put_finalizers(HOST_MAINTENANCE, key, version, ["a/b"]))["metadata"]["resourceVersion"]
    written = await kube.put_status(HOST_MAINTENANCE, key, version, {"phase": "Draining"})
    assert written["status"] == {"phase": "Draining"}
    with pytest.raises(ConflictError):
        await kube.put_status(HOST_MAINTENANCE, key, version, {"phase": "Blocked"})
    owner = HostMaintenance.read(written)
    event = Event("Drained", "it is empty")
    await post(kube, Recent(), key, owner.reference(), "1", event, datetime.now(UTC))
    told = json.loads(cluster.kubectl_run("get", "events.v1.events.k8s.io", "-n", "default", "-o", "json"))
    assert [e["reason"] for e in told["items"] if e["regarding"]["name"] == name] == ["Drained"]

    body = body_of(replace(child("one"), namespace=namespace), owner)
    known = await kube.create(VM_MIGRATION, body)
    with pytest.raises(AlreadyExistsError):
        await kube.create(VM_MIGRATION, body)
    read = VMMigration.read(known)
    assert (read.metadata.owner_references[0].uid, owned_migration(read).target_host) == (uid, "host-b")
    one = Key(KIND, namespace, "one")
    with pytest.raises(ConflictError):
        await kube.delete(VM_MIGRATION, one, str(uuid.uuid4()))
    await kube.put_finalizers(VM_MIGRATION, one, known["metadata"]["resourceVersion"], ["a/b"])
    left = await kube.delete(VM_MIGRATION, one, read.metadata.uid)
    assert left is not None
    assert left["metadata"]["deletionTimestamp"]
    await kube.put_finalizers(VM_MIGRATION, one, left["metadata"]["resourceVersion"], [])
    with pytest.raises(NotFoundError):
        await kube.get(VM_MIGRATION, one)
    known = await kube.create(VM_MIGRATION, body)
    assert await kube.delete(VM_MIGRATION, one, known["metadata"]["uid"]) is None

    times = [0.0]
    leases = HostLeases(kube, "vmferry-system", clock=lambda: times[0])
    others = HostLeases(kube, "vmferry-system", clock=lambda: times[0])
    assert (await leases.take(name, "we")).holder is None
    first = (await kube.get_lease("vmferry-system", lease_name(name)))["metadata"]["resourceVersion"]
    assert (await leases.take(name, "we")).holder is None
    assert (await others.take(name, "they")).holder == "we"
    assert (await kube.get_lease("vmferry-system", lease_name(name)))["metadata"]["resourceVersion"] == first
    times[0] = DURATION
    assert (await others.take(name, "they")).holder is None, "it has expired"
    assert (await leases.take(name, "we")).holder == "they"
    await leases.give_back(name, "we")
    assert (await leases.take(name, "we")).holder == "they", "it was not ours"
    await others.give_back(name, "they")
    assert (await leases.take(name, "we")).holder is None
    await leases.give_back(name, "we")
    with pytest.raises(NotFoundError):
        await kube.get_lease("vmferry-system", lease_name(name))

    assert await admin.delete(HOST_MAINTENANCE, key, uid) is not None
    current = (await kube.get(HOST_MAINTENANCE, key))["metadata"]["resourceVersion"]
    await kube.put_finalizers(HOST_MAINTENANCE, key, current, [])
    with pytest.raises(NotFoundError):
        await kube.get(HOST_MAINTENANCE, key)
    refused = [event["requestURI"] for event in audit.requests() if event["responseStatus"]["code"] == 403]
    assert refused == []


async def test_the_manifests_are_accepted(cluster: Cluster, account: Path) -> None:
    for path in sorted(MANIFESTS.glob("*.yaml")):
        cluster.kubectl_run("apply", "--dry-run=server", "--filename", path)


@pytest.mark.parametrize("careless", [False, True])
async def test_the_pod_is_admitted_where_only_restricted_pods_are(
    cluster: Cluster, account: Path, careless: bool
) -> None:
    deployment = yaml.safe_load((MANIFESTS / "deployment.yaml").read_text())
    template = deployment["spec"]["template"]
    if careless:
        del template["spec"]["securityContext"]["seccompProfile"]
    template["metadata"] |= {"name": "vmferry", "namespace": "vmferry-system"}
    pod = {"apiVersion": "v1", "kind": "Pod", **template}
    told = cluster.kubectl_run("create", "--dry-run=server", "--filename", "-", input=json.dumps(pod), check=False)
    assert ("violates PodSecurity" in told) is careless
    assert ("created" in told) is not careless
