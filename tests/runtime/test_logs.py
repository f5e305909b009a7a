"""Every line of a move can be found by the object's uid and, once there is one, by Nova's request id."""

from __future__ import annotations

import io
import json
import logging
import queue
import re
from collections.abc import Iterator

import pytest

from tests.runtime.fakes import KEY, SERVER
from tests.runtime.test_workers import work_through
from tests.runtime.workbench import Bench
from vmferry.cloud.nova import CloudError
from vmferry.reconcilers.rows import VM_MIGRATION
from vmferry.resources.vmmigration import VMMigration
from vmferry.runtime.config import LogFormat
from vmferry.runtime.key import Key
from vmferry.runtime.logs import Fields, about, formatter
from vmferry.runtime.queue import WorkQueue
from vmferry.runtime.workers import Reconcile


@pytest.fixture(params=LogFormat)
def written(request: pytest.FixtureRequest) -> Iterator[tuple[LogFormat, io.StringIO]]:
    """What the operator writes, as `set_up` has it written."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(Fields())
    handler.setFormatter(formatter(request.param))
    logger = logging.getLogger("vmferry")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel("INFO")
    try:
        yield request.param, stream
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def lines(format_: LogFormat, stream: io.StringIO) -> list[dict[str, str]]:
    """Each line's fields, and what it says as `message`."""
    found = []
    for line in stream.getvalue().splitlines():
        if format_ is LogFormat.JSON:
            found.append(json.loads(line))
        else:
            match = re.fullmatch(r".*? (?:INFO|WARNING) [\w.]+: (.*?)(?: \[([^\]]*)\])?", line)
            assert match, line
            fields = dict(one.split("=", 1) for one in (match[2] or "").split())
            found.append({"message": match[1], **fields})
    return found


async def once(look: Reconcile) -> None:
    queue: WorkQueue[Key] = WorkQueue()
    queue.add(KEY)
    await work_through(queue, look)


async def test_a_move_can_be_followed(written: tuple[LogFormat, io.StringIO]) -> None:
    bench = Bench()
    uid = bench.kube.add()["metadata"]["uid"]
    for _ in range(3):
        bench.see()
        await once(bench.look)
    told = lines(*written)
    assert len(told) >= 4
    for line in told:
        assert (line["object"], line["uid"]) == (str(KEY), uid), line
    asked = next(
        number
        for number, line in enumerate(told)
        if line["message"].startswith("sending LiveMigrate target_host=host-b")
    )
    assert told[asked]["attempt"] == "1" and told[asked]["server"] == SERVER and "requestId" not in told[asked]
    assert not [line for line in told[asked + 1 :] if "Accepted(" in line["message"]], "one line a request"
    for line in told[asked + 1 :]:
        assert line["requestId"] == "req-1", line


async def test_each_decision_is_a_line_at_debug(written: tuple[LogFormat, io.StringIO]) -> None:
    logging.getLogger("vmferry").setLevel("DEBUG")
    bench = Bench()
    bench.kube.add()
    bench.see()
    await once(bench.look)
    first = written[1].getvalue().splitlines()[0]
    assert "DEBUG" in first and "decided: LiveMigrate target_host=host-b; again in " in first


async def test_each_line_has_its_time_as_rfc_3339_writes_it(written: tuple[LogFormat, io.StringIO]) -> None:
    bench = Bench()
    bench.kube.add()
    bench.see()
    await once(bench.look)
    format_, stream = written
    for line in stream.getvalue().splitlines():
        moment = json.loads(line)["time"] if format_ is LogFormat.JSON else line.split()[0]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", moment), line


def test_a_name_cannot_pass_for_other_fields() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(Fields())
    handler.setFormatter(formatter(LogFormat.TEXT))
    with about({"serverName": "web uid=other]", "server": "1"}):
        handler.handle(logging.makeLogRecord({"msg": "moved", "levelname": "INFO", "name": "vmferry"}))
    assert stream.getvalue().endswith('moved [serverName="web uid=other]" server=1]\n')


async def test_an_error_of_the_cloud_has_its_request_id(written: tuple[LogFormat, io.StringIO]) -> None:
    async def look(key: Key) -> None:
        raise CloudError("GET /os-services: HTTP 500 boom", 500, "req-9")

    await once(look)
    (line,) = lines(*written)
    assert "HTTP 500 boom" in line["message"]
    assert (line["object"], line["requestId"]) == (str(KEY), "req-9")


def test_the_record_of_nova_is_named_once_it_is_known() -> None:
    attempt = {
        "number": 2,
        "type": "Live",
        "sourceHost": "a",
        "targetHost": "b",
        "state": "running",
        "startedAt": "2026-01-01T00:00:00Z",
        "requestID": "req-1",
        "migrationID": "m-1",
    }
    metadata = {"name": "web", "namespace": "team", "uid": "u", "resourceVersion": "1"}
    obj = VMMigration.read(
        {"metadata": metadata, "spec": {"server": {"id": SERVER}}, "status": {"attempts": [attempt]}}
    )
    found = VM_MIGRATION.describe(obj)
    assert found == {"server": SERVER, "attempt": "2", "requestId": "req-1", "migration": "m-1"}


def test_whatever_a_library_hands_along_the_line_is_json() -> None:
    record = logging.makeLogRecord({"msg": "seen", "settings": queue.SimpleQueue(), "odd": queue.SimpleQueue()})
    line = json.loads(formatter(LogFormat.JSON).format(record))
    assert line["message"] == "seen"
    assert "SimpleQueue" in line["odd"]
    assert "settings" not in line
