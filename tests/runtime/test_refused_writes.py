"""Writes that Kubernetes refuses, as the runtime meets them."""

from __future__ import annotations

import pytest

from testbed.lifecycle.little_cloud import LittleCloud
from tests.runtime.fakes import KEY, SERVER
from tests.runtime.workbench import Bench
from vmferry.reconcilers.migration.plan import plan
from vmferry.runtime.kube_api import REFUSALS, ConflictError, InvalidError, KubeError, NotFoundError


def failed(code: int | None, words: str = "no") -> KubeError:
    error = KubeError(words)
    error.code = code
    return error


ERRORS: dict[str, tuple[KubeError, bool]] = {
    "no answer": (failed(None), False),
    "a policy": (InvalidError("denied request: every object needs the label team"), True),
    "a quota or missing rights": (failed(403), True),
    "a namespace that is missing": (NotFoundError("namespaces x not found"), True),
    "a webhook that does not answer": (failed(500, "failed calling webhook x: no endpoints available"), True),
    "a server in trouble": (failed(500, "etcdserver: leader changed"), False),
    "too many requests": (failed(429), False),
    "somebody was faster": (ConflictError("has changed"), False),
    "an expired token": (failed(401), False),
}


@pytest.mark.parametrize("case", ERRORS)
def test_what_counts_as_refused(case: str) -> None:
    error, refused = ERRORS[case]
    assert error.refused == refused


async def test_a_refused_finalizer_is_in_the_status_and_nothing_is_begun() -> None:
    cloud = LittleCloud()
    for host in ("cmp1", "cmp2"):
        cloud.add_host(host)
    cloud.add_server("cmp1", id=SERVER)
    bench = Bench(plan)
    bench.kube.add(KEY)
    bench.see()
    bench.cloud.snapshot = cloud.snapshot()
    bench.reconciler.now = lambda: cloud.now

    async def detail(*_: object, **__: object) -> object:
        return cloud.detail(SERVER)

    bench.cloud.detail = detail  # type: ignore[method-assign, assignment]

    def refuse(step: str) -> None:
        if step.startswith("finalizers"):
            raise failed(403, "vmmigrations is forbidden: password=hunter2")

    bench.record.hook = refuse
    for _ in range(3):
        await bench.look()
    assert bench.cloud.acted == []
    (stalled,) = [one for one in bench.status()["conditions"] if one["type"] == "Stalled"]
    assert stalled["reason"] == "WriteRefused"
    assert "vmmigrations is forbidden" in stalled["message"]
    assert "hunter2" not in stalled["message"]
    assert bench.record.steps.count("event WriteRefused") == 1
    writes = [step for step in bench.record.steps if step.startswith("status")]
    assert len(writes) == 1, "it is not written to and fro"
    bench.record.hook = lambda _: None
    cloud.pass_time(bench.reconciler.policy.recheck)
    bench.cloud.snapshot = cloud.snapshot()
    await bench.look()
    assert len(bench.cloud.acted) == 1, "it goes on by itself"


async def test_a_refused_status_is_in_an_event() -> None:
    bench = Bench()
    bench.kube.add(KEY)
    bench.see()

    def refuse(step: str) -> None:
        if step.startswith("status"):
            raise InvalidError("strict decoding error: unknown field")

    bench.record.hook = refuse
    for _ in range(3):
        with pytest.raises(KubeError):
            await bench.look()
    assert bench.cloud.acted == []
    assert [event["reason"] for event in bench.kube.events] == ["WriteRefused"]
    assert "unknown field" in bench.kube.events[0]["note"]


def test_each_refusal_is_one_of_the_clients_faults() -> None:
    assert all(400 <= code < 500 for code in REFUSALS)
