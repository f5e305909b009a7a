"""A read of the cloud that fails: a new object reports it in the same pass, all others are tried again."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from tests.runtime.fakes import KEY
from tests.runtime.workbench import Bench
from vmferry.cloud.model import Detail, Progress
from vmferry.cloud.nova import CloudError
from vmferry.policy import Policy
from vmferry.reconcilers.decision import Decision
from vmferry.reconcilers.reads import ReadCopyProgress, ReadServer
from vmferry.reconcilers.world import World
from vmferry.resources.vmmigration import VMMigration, VMMigrationStatus
from vmferry.resources.words import Phase


def reports(obj: VMMigration, world: World, now: datetime, policy: Policy) -> Decision[VMMigrationStatus]:
    """It needs its server; if that cannot be read and nothing was reported yet, it reports this."""
    status = obj.status.model_copy(deep=True)
    if world.unread is not None and status.phase is None:
        status.phase, status.source_host = Phase.PENDING, world.unread
        return Decision(status)
    return Decision(status, needs=ReadServer("s-1"))


class Broken(Bench):
    def __init__(self) -> None:
        super().__init__(plan=reports)

        async def detail(server_id: str, *_: Any, **__: Any) -> Detail:
            raise CloudError("GET /servers/s-1: no route")

        self.cloud.detail = detail  # type: ignore[method-assign]


async def test_a_new_object_reports_what_cannot_be_read() -> None:
    bench = Broken()
    bench.kube.add()
    bench.see()
    await bench.look()
    assert bench.status(KEY)["sourceHost"] == "GET /servers/s-1: no route"


async def test_an_object_that_reported_before_is_tried_again() -> None:
    bench = Broken()
    bench.kube.add(status={"phase": "Pending"})
    bench.see()
    with pytest.raises(CloudError):
        await bench.look()
    assert bench.status(KEY) == {"phase": "Pending"}


async def test_nothing_waits_for_the_progress_of_a_copy() -> None:
    def plan(obj: VMMigration, world: World, now: datetime, policy: Policy) -> Decision[VMMigrationStatus]:
        if world.answer(ReadCopyProgress) is None:
            return Decision(obj.status, needs=ReadCopyProgress("s-1", 7))
        return Decision(obj.status.model_copy(update={"phase": Phase.MIGRATING}))

    async def progress(server_id: str, migration_id: int) -> Progress | None:
        raise CloudError("GET /servers/s-1/migrations/7: no route")

    bench = Bench(plan=plan)
    bench.cloud.progress = progress  # type: ignore[method-assign]
    bench.kube.add(status={"phase": "Pending"})
    bench.see()
    await bench.look()
    assert bench.status(KEY)["phase"] == "Migrating"
