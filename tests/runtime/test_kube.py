"""Which call of the Kubernetes client each of ours becomes, for what lies in a namespace and for what does not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from kubernetes.aio.client.exceptions import ApiException

from vmferry.resources.catalog import HOST_MAINTENANCE, VM_MIGRATION, ResourceType
from vmferry.runtime.access import Access, Keeper
from vmferry.runtime.connection import Connection
from vmferry.runtime.key import Key
from vmferry.runtime.kube import Kube
from vmferry.runtime.kube_api import KubeError
from vmferry.runtime.metrics import definitions as metrics


class Calls:
    """Stands for CustomObjectsApi."""

    def __init__(self) -> None:
        self.made: list[tuple[str, tuple[Any, ...]]] = []

    def __getattr__(self, name: str) -> Any:
        async def call(group: str, version: str, *rest: Any, **options: Any) -> Any:
            self.made.append((name, tuple(one for one in rest if isinstance(one, str))))
            assert options["_request_timeout"]
            self.bodies = [one for one in (*rest, options.get("body")) if isinstance(one, dict)]
            return {"items": [], "metadata": {"resourceVersion": "1"}}

        return call


@pytest.fixture
async def calls(monkeypatch: pytest.MonkeyPatch) -> Any:
    kube = Kube(Connection(Keeper(lambda _: Access("http://127.0.0.1:1"))))
    calls = Calls()
    monkeypatch.setattr(kube, "_objects", calls)
    yield kube, calls
    await kube.close()


LISTS: dict[str, tuple[ResourceType[Any], list[str], list[tuple[str, tuple[str, ...]]]]] = {
    "of a kind in namespaces, in all of them": (
        VM_MIGRATION,
        [],
        [("list_cluster_custom_object", ("vmmigrations",))],
    ),
    "of a kind in namespaces, in two of them": (
        VM_MIGRATION,
        ["a", "b"],
        [("list_namespaced_custom_object", (n, "vmmigrations")) for n in ("a", "b")],
    ),
    "of a cluster-scoped kind": (HOST_MAINTENANCE, [], [("list_cluster_custom_object", ("hostmaintenances",))]),
    "of a cluster-scoped kind, though two namespaces are named": (
        HOST_MAINTENANCE,
        ["a", "b"],
        [("list_cluster_custom_object", ("hostmaintenances",))],
    ),
}


@pytest.mark.parametrize(("kind", "namespaces", "made"), LISTS.values(), ids=LISTS.keys())
async def test_a_list(calls: Any, kind: ResourceType[Any], namespaces: list[str], made: list[Any]) -> None:
    kube, api = calls
    async for _ in kube.pages(kind, namespaces):
        pass
    assert api.made == made


async def test_a_call_for_a_cluster_scoped_object_names_no_namespace(calls: Any) -> None:
    kube, api = calls
    key = Key(HOST_MAINTENANCE.name, "", "host-a")
    await kube.get(HOST_MAINTENANCE, key)
    await kube.put_status(HOST_MAINTENANCE, key, "1", {})
    assert api.bodies[0]["metadata"] == {"name": "host-a", "resourceVersion": "1"}
    await kube.put_finalizers(HOST_MAINTENANCE, key, "1", [])
    await kube.delete(HOST_MAINTENANCE, key, "uid")
    await kube.create(HOST_MAINTENANCE, {"metadata": {"name": "host-a"}})
    verbs = ("get", "replace", "patch", "delete", "create")
    assert [name.split("_")[0] for name, _ in api.made] == list(verbs)
    assert {name.split("_")[1] for name, _ in api.made} == {"cluster"}
    assert {rest for _, rest in api.made[:-1]} == {("hostmaintenances", "host-a")}


async def test_a_call_for_an_object_in_a_namespace_names_it(calls: Any) -> None:
    kube, api = calls
    key = Key(VM_MIGRATION.name, "team", "web")
    await kube.put_status(VM_MIGRATION, key, "1", {})
    assert api.bodies[0]["metadata"]["namespace"] == "team"
    await kube.delete(VM_MIGRATION, key, "uid", "1")
    await kube.create(VM_MIGRATION, {"metadata": {"namespace": "team", "name": "web"}})
    assert [rest[:2] for _, rest in api.made] == [("team", "vmmigrations")] * 3


@pytest.mark.parametrize("answer", ["<html>Welcome</html>", None, [], {}, {"items": [], "metadata": {}}])
async def test_a_list_that_is_none_is_an_error_that_its_callers_expect(
    calls: Any, monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    """Anything else would end the re-list, and with it the operator."""
    kube, api = calls

    async def answered(*_: Any, **__: Any) -> Any:
        return answer

    monkeypatch.setattr(api, "list_cluster_custom_object", answered, raising=False)
    with pytest.raises(KubeError, match="the answer is no"):
        async for _ in kube.pages(HOST_MAINTENANCE, []):
            pass


async def test_a_lease_that_is_none_is_an_error_that_the_election_expects(
    calls: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kube, api = calls

    async def answered(*_: Any, **__: Any) -> Any:
        return "<html>Welcome</html>"

    monkeypatch.setattr(api, "get_namespaced_custom_object", answered, raising=False)
    with pytest.raises(KubeError, match="no JSON object: <html>Welcome"):
        await kube.get_lease("vmferry-system", "vmferry")


#: verb, resource, status and words of an answer; whether it counts as a refused write, and as which
REFUSALS: dict[str, tuple[str, str, int, str, str | None]] = {
    "a policy": ("create", "vmmigrations", 422, "denied request", "create"),
    "a quota, in a dry run": ("dry-run", "vmmigrations", 403, "exceeded quota", "create"),
    "a namespace that is missing": ("create", "leases", 404, "namespaces x not found", "create"),
    "a webhook that does not answer": ("update", "vmmigrations/status", 500, "failed calling webhook", "update"),
    "a right to read": ("list", "vmmigrations", 403, "forbidden", None),
    "an object that is gone": ("patch", "vmmigrations", 404, "not found", None),
    "somebody was faster": ("update", "vmmigrations/status", 409, "modified", None),
    "an expired token": ("create", "events", 401, "Unauthorized", None),
    "a server in trouble": ("create", "events", 500, "leader changed", None),
}


@pytest.mark.parametrize("case", REFUSALS)
async def test_refused_writes_are_counted(calls: Any, case: str) -> None:
    verb, resource, status, words, counted = REFUSALS[case]
    kube, _ = calls

    def count() -> float:
        samples = [sample for metric in metrics.REFUSED_WRITES.collect() for sample in metric.samples]
        return sum(sample.value for sample in samples if sample.name.endswith("_total"))

    before = count()
    failure = ApiException(status=status, reason="no")
    failure.body = json.dumps({"message": words})
    with pytest.raises(KubeError):
        async with kube._api_call("write", verb, resource):
            raise failure
    named = metrics.REFUSED_WRITES.labels(counted or "none", resource)._value.get()
    assert (count() > before) == (counted is not None) == (named > 0)
