"""What the client makes of answers, good and bad. What a real Nova answers is in tests/contract."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from testbed.stub import PASSWORD, USER_ID, Answer, Stub
from tests.cloud.samples import AGGREGATE, HYPERVISOR, MIGRATION, SERVER, SERVICE
from vmferry.cloud.actions import (
    AbortMigration,
    Accepted,
    Action,
    ColdMigrate,
    ConfirmResize,
    DisableService,
    EnableService,
    Evacuate,
    ForceComplete,
    LiveMigrate,
    NotNow,
    NotSent,
    Refused,
    StartServer,
    StopServer,
    Unanswered,
)
from vmferry.cloud.model import Inventory
from vmferry.cloud.nova import CellUnreachableError, CloudError, NovaClient
from vmferry.reconcilers.nova_explanation import nova_words

COMPUTE = "/compute/v2.1"
ACTION = f"POST {COMPUTE}/servers/s1/action"
SERVERS = f"GET {COMPUTE}/servers/detail"
MIGRATIONS = f"GET {COMPUTE}/os-migrations"
CANDIDATES = "GET /placement/allocation_candidates"


def fault(status: int, text: str, name: str = "conflictingRequest") -> Answer:
    return Answer(status, {name: {"code": status, "message": text}}, {"x-openstack-request-id": "req-1"})


OUTCOMES: dict[str, tuple[Answer, Any]] = {
    "202 is taken": (Answer(202, None, {"x-openstack-request-id": "req-1"}), Accepted("req-1")),
    "an older Nova's request id is found too": (
        Answer(202, None, {"x-compute-request-id": "req-1"}),
        Accepted("req-1"),
    ),
    "a refusal carries Nova's own text": (fault(409, "Cannot do it"), Refused(409, "Cannot do it", "req-1")),
    "an unknown server is a refusal": (fault(404, "none", "itemNotFound"), Refused(404, "none", "req-1")),
    "a policy is a refusal": (fault(403, "Policy", "forbidden"), Refused(403, "Policy", "req-1")),
    "a 404 of a proxy says nothing": (
        Answer(404, "<html>default backend - 404</html>"),
        Unanswered("HTTP 404: <html>default backend - 404</html>"),
    ),
    "a 500 says nothing": (fault(500, "boom", "computeFault"), Unanswered("HTTP 500: boom", "req-1")),
    "a 503 says nothing": (Answer(503, "no backend"), Unanswered("HTTP 503: no backend")),
    "a 504 of a proxy says nothing": (Answer(504, ""), Unanswered("HTTP 504: (empty)")),
    "what a proxy echoes is redacted (I33)": (
        Answer(502, "upstream failed: X-Auth-Token: s3cret"),
        Unanswered("HTTP 502: upstream failed: X-Auth-Token: [redacted]"),
    ),
    "what Nova echoes is redacted (I33)": (
        fault(409, "no: password=s3cret"),
        Refused(409, "no: password=[redacted]", "req-1"),
    ),
    "a closed connection says nothing": (Answer(reset=True), Unanswered),
    "silence says nothing": (Answer(hang=True), Unanswered),
}


@pytest.mark.parametrize("sentence", OUTCOMES)
def test_outcome(sentence: str, cloud: Stub, client: NovaClient) -> None:
    """I4: only an answer of Nova's own is a refusal."""
    answer, expected = OUTCOMES[sentence]
    cloud.answers[ACTION] = answer
    outcome = client.act(LiveMigrate("s1", "cmp2"))
    if isinstance(expected, type):
        assert isinstance(outcome, expected)
    else:
        assert outcome == expected
    assert len(cloud.requests) == 1, "what acts is sent once, whatever comes back (I3)"


REQUESTS: dict[str, tuple[Action, str, Any, str]] = {
    "live migration leaves the checks to the scheduler (I19)": (
        LiveMigrate("s1", "cmp2"),
        "POST /servers/s1/action",
        {"os-migrateLive": {"host": "cmp2", "block_migration": "auto"}},
        "2.84",
    ),
    "cold migration": (
        ColdMigrate("s1", "cmp2"),
        "POST /servers/s1/action",
        {"migrate": {"host": "cmp2"}},
        "2.84",
    ),
    "an evacuated server stays stopped where Nova can": (
        Evacuate("s1", "cmp2"),
        "POST /servers/s1/action",
        {"evacuate": {"host": "cmp2"}},
        "2.95",
    ),
    "stop": (StopServer("s1"), "POST /servers/s1/action", {"os-stop": None}, "2.84"),
    "start": (StartServer("s1"), "POST /servers/s1/action", {"os-start": None}, "2.84"),
    "confirm": (ConfirmResize("s1"), "POST /servers/s1/action", {"confirmResize": None}, "2.84"),
    "abort": (AbortMigration("s1", 7), "DELETE /servers/s1/migrations/7", None, "2.84"),
    "force complete": (
        ForceComplete("s1", 7),
        "POST /servers/s1/migrations/7/action",
        {"force_complete": None},
        "2.84",
    ),
    "a cordon carries its reason (I8)": (
        DisableService("5e7v1ce", "cmp1", "vmferry/uid-1"),
        "PUT /os-services/5e7v1ce",
        {"status": "disabled", "disabled_reason": "vmferry/uid-1"},
        "2.84",
    ),
    "the end of a cordon leaves a forced-down mark alone (I8, I11)": (
        EnableService("5e7v1ce", "cmp1"),
        "PUT /os-services/5e7v1ce",
        {"status": "enabled"},
        "2.84",
    ),
}


@pytest.mark.parametrize("sentence", REQUESTS)
def test_request(sentence: str, cloud: Stub, client: NovaClient) -> None:
    action, request, body, microversion = REQUESTS[sentence]
    method, path = request.split()
    cloud.answers[f"{method} {COMPUTE}{path}"] = Answer(202)
    assert isinstance(client.act(action), Accepted)
    assert cloud.bodies[-1] == body
    assert cloud.microversions[-1] == f"compute {microversion}"


@pytest.mark.parametrize("sentence", OUTCOMES)
def test_outcome_of_a_host_action(sentence: str, cloud: Stub, client: NovaClient) -> None:
    answer, expected = OUTCOMES[sentence]
    cloud.answers[f"PUT {COMPUTE}/os-services/5e7v1ce"] = answer
    outcome = client.act(EnableService("5e7v1ce", "cmp1"))
    assert isinstance(outcome, expected) if isinstance(expected, type) else outcome == expected
    assert len(cloud.requests) == 1


@pytest.mark.parametrize("why", [None, "the switch is thrown"])
def test_the_last_word_is_asked_for_right_before_each_sending(why: str | None, cloud: Stub, client: NovaClient) -> None:
    """Also of the second one, after a 401: the login in between may take long."""
    cloud.answers[ACTION] = [Answer(401, {"error": {"code": 401}}), Answer(202)]
    seen: list[int] = []

    def forbidden() -> str | None:
        seen.append(len(cloud.requests))
        return why if len(seen) == 2 else None

    outcome = client.act(LiveMigrate("s1", "cmp2"), forbidden)
    assert outcome == (NotSent(why) if why else Accepted(None))
    sent = [request for request in cloud.requests if "/action" in request]
    assert len(seen) == 2
    assert len(sent) == (1 if why else 2)


def test_what_is_forbidden_reaches_nobody(cloud: Stub, client: NovaClient) -> None:
    assert client.act(LiveMigrate("s1", "cmp2"), lambda: "no leader") == NotSent("no leader")
    assert cloud.requests == []


def test_below_2_95_evacuation_asks_for_what_there_is(cloud: Stub, tmp_path: Path) -> None:
    cloud.maximum = "2.90"
    client = NovaClient("stub", clouds_yaml=cloud.clouds_yaml(tmp_path))
    client.connect()
    assert not client.evacuated_stay_stopped
    client.act(Evacuate("s1", "cmp2"))
    assert cloud.microversions[-1] == "compute 2.84"


def test_a_nova_that_is_too_old_is_named(cloud: Stub, tmp_path: Path) -> None:
    """I35."""
    cloud.maximum = "2.79"
    with pytest.raises(CloudError, match=r"Nova speaks microversions 2\.1 to 2\.79, 2\.84 is needed"):
        NovaClient("stub", clouds_yaml=cloud.clouds_yaml(tmp_path)).connect()


def test_connect_knows_the_user_and_the_microversions(client: NovaClient) -> None:
    assert client.user_id == USER_ID
    assert client.maximum == (2, 100)


def test_no_error_tells_the_password(cloud: Stub, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """I33."""
    caplog.set_level(logging.DEBUG)
    told = f"no user with password {PASSWORD}"
    cloud.login = Answer(401, {"error": {"code": 401, "title": "Unauthorized", "message": told}})
    with pytest.raises(CloudError, match="cannot log in") as caught:
        NovaClient("stub", clouds_yaml=cloud.clouds_yaml(tmp_path)).connect()
    assert PASSWORD not in str(caught.value)
    assert caught.value.__cause__ is None
    assert all(PASSWORD not in str(record.args) for record in caplog.records if record.name.startswith("vmferry"))


def test_before_connect_reads_fail_and_acts_reach_nobody() -> None:
    client = NovaClient("nowhere")
    with pytest.raises(CloudError, match="not connected"):
        client.servers()
    assert isinstance(client.act(StopServer("s1")), NotNow)


def test_an_expired_token_is_renewed(cloud: Stub, client: NovaClient) -> None:
    cloud.answers[SERVERS] = [Answer(401, {"error": {"code": 401}}), Answer(body={"servers": [SERVER]})]
    assert [server.id for server in client.servers()[0]] == [SERVER["id"]]
    assert cloud.logins == 2


def test_pages_follow_the_marker(cloud: Stub, client: NovaClient) -> None:
    first = {
        "servers": [{**SERVER, "id": "a"}, {**SERVER, "id": "b"}],
        "servers_links": [{"rel": "next", "href": "x"}],
    }
    cloud.answers[SERVERS] = [Answer(body=first), Answer(body={"servers": [{**SERVER, "id": "c"}]})]
    assert [server.id for server in client.servers()[0]] == ["a", "b", "c"]
    assert cloud.requests[-1].endswith("?all_tenants=1&limit=2&marker=b")


def test_changes_since_is_asked_in_utc_and_brings_deleted_ids(cloud: Stub, client: NovaClient) -> None:
    gone = [{**SERVER, "id": "d", "status": "DELETED"}, {**SERVER, "id": "e", "status": "SOFT_DELETED"}]
    cloud.answers[SERVERS] = Answer(body={"servers": [SERVER, *gone]})
    found, deleted = client.servers(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert [server.id for server in found] == [SERVER["id"]]
    assert deleted == {"d", "e"}
    assert "changes-since=2026-01-02T03%3A04%3A05Z" in cloud.requests[-1]


UNREACHABLE = {"id": "a", "status": "UNKNOWN", "tenant_id": "p"}


def test_a_server_of_an_unreachable_cell_is_neither_there_nor_gone_and_the_others_are_read(
    cloud: Stub, client: NovaClient
) -> None:
    """I4, I35."""
    cloud.answers[SERVERS] = Answer(body={"servers": [UNREACHABLE, {**SERVER, "id": "b"}]})
    found, gone = client.servers()
    assert [one.id for one in found] == ["b"] and not gone
    cloud.answers["GET /compute/v2.1/servers/a"] = Answer(body={"server": UNREACHABLE})
    with pytest.raises(CellUnreachableError, match="cannot reach the cell of server a"):
        client.server("a")


def test_a_host_of_an_unreachable_cell_is_named_and_the_others_are_read(cloud: Stub, client: NovaClient) -> None:
    hidden = {"binary": "nova-compute", "host": "cmp9", "status": "UNKNOWN"}
    cloud.answers["GET /compute/v2.1/os-services"] = Answer(body={"services": [hidden, SERVICE]})
    found, unreachable = client.services_and_unreachable()
    assert [one.host for one in found] == [SERVICE["host"]] and unreachable == {"cmp9"}
    with pytest.raises(CellUnreachableError, match="cmp9"):
        client.service("cmp9")


def without(raw: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in raw.items() if key not in keys}


#: what Nova or Neutron hides, and the policy that the error names
HIDDEN: dict[str, tuple[str, dict[str, Any], Callable[[NovaClient], object], str]] = {
    "the host of a server in a list": (
        "/compute/v2.1/servers/detail",
        {"servers": [without(SERVER, "OS-EXT-SRV-ATTR:host")]},
        lambda client: client.servers(),
        "os_compute_api:os-extended-server-attributes",
    ),
    "the host of one server": (
        "/compute/v2.1/servers/a",
        {"server": without(SERVER, "OS-EXT-SRV-ATTR:host")},
        lambda client: client.server("a"),
        "os_compute_api:os-extended-server-attributes",
    ),
    "the hosts of migrations": (
        "/compute/v2.1/os-migrations",
        {"migrations": [{**MIGRATION, "source_compute": None, "dest_compute": None, "source_node": None}]},
        lambda client: client.server_migrations("a"),
        "os_compute_api:os-migrations:index:host",
    ),
}


@pytest.mark.parametrize("sentence", HIDDEN)
def test_R20_what_a_policy_hides_is_named_by_its_policy(sentence: str, cloud: Stub, client: NovaClient) -> None:
    path, body, read, policy = HIDDEN[sentence]
    cloud.answers[f"GET {path}"] = Answer(body=body)
    with pytest.raises(CloudError) as caught:
        read(client)
    assert policy in str(caught.value) and "KeyError" not in str(caught.value)


def test_R20_the_reason_of_a_failed_step_that_a_policy_hides(cloud: Stub, client: NovaClient) -> None:
    action = {"request_id": "req-1", "action": "live-migration", "message": "Error", "user_id": "u", "start_time": None}
    path = "GET /compute/v2.1/servers/a/os-instance-actions"
    cloud.answers[path] = Answer(body={"instanceActions": [action]})
    for events, policy in (
        ([{"event": "conductor_live_migrate_instance", "result": "Error", "host": None}], "events:details"),
        (None, "os-instance-actions:events"),
    ):
        told = action if events is None else {**action, "events": events}
        cloud.answers[f"{path}/req-1"] = Answer(body={"instanceAction": told})
        assert policy in nova_words(client.actions("a", "req-1"), "req-1", None)


def test_I20_a_filter_that_nova_drops_makes_no_host_empty(host: Stub, client: NovaClient) -> None:
    """Without `servers:allow_all_filters` Nova lists the servers of all hosts."""
    other = {**SERVER, "id": "elsewhere", "OS-EXT-SRV-ATTR:host": "cmp7"}
    host.answers["GET /compute/v2.1/servers/detail"] = Answer(body={"servers": [other]})
    with pytest.raises(CloudError, match="os_compute_api:servers:allow_all_filters"):
        client.host_look("cmp1", "h1")


def test_bare_metal_nodes_cost_no_requests_to_placement(cloud: Stub, client: NovaClient) -> None:
    nodes = [{**HYPERVISOR, "id": f"node-{n}", "hypervisor_type": "ironic", "vcpus": 0} for n in range(40)]
    for node in nodes:
        node["service"] = {"host": "ctl-ironic", "id": "s", "disabled_reason": None}
    cloud.answers["GET /compute/v2.1/os-hypervisors/detail"] = Answer(body={"hypervisors": [*nodes, HYPERVISOR]})
    services = [{**SERVICE, "host": name, "id": name} for name in ("ctl-ironic", "cmp1")]
    cloud.answers["GET /compute/v2.1/os-services"] = Answer(body={"services": services})
    cloud.answers["GET /compute/v2.1/os-aggregates"] = Answer(body={"aggregates": []})
    cloud.answers["GET /placement/allocation_candidates"] = Answer(body={"provider_summaries": {}})
    found = client.hosts()
    assert set(found) == {"ctl-ironic", "cmp1"} and found["ctl-ironic"].inventories is None
    assert not [one for one in cloud.requests if "node-" in one]
    assert sum("/placement/" in one for one in cloud.requests) < 8


def test_one_server_is_missing_only_if_nova_says_so(cloud: Stub, client: NovaClient) -> None:
    """I4."""
    path = f"GET {COMPUTE}/servers/s1"
    cloud.answers[path] = Answer(404, {"itemNotFound": {"code": 404, "message": "Instance s1 could not be found."}})
    assert client.server("s1") is None
    cloud.answers[path] = Answer(404, "404 page not found")
    with pytest.raises(CloudError, match="HTTP 404 404 page not found"):
        client.server("s1")


GARBAGE: dict[str, tuple[Answer, str]] = {
    "no JSON": (Answer(body="<html>"), "no JSON"),
    "JSON, but no object": (Answer(body=[1]), "no JSON object"),
    "a server without its state": (
        Answer(body={"servers": [{"id": "a", "name": "b", "status": "c"}]}),
        "read a server",
    ),
    "an error of Nova": (Answer(500, {"computeFault": {"code": 500, "message": "boom"}}), "HTTP 500 boom"),
    "an error that echoes what it was sent (I33)": (Answer(502, "X-Auth-Token: s3cret"), r"Token: \[redacted\]$"),
    "silence": (Answer(hang=True), "GET /servers/detail: ConnectTimeout"),
}


@pytest.mark.parametrize("sentence", GARBAGE)
def test_a_read_that_makes_no_sense_fails(sentence: str, cloud: Stub, client: NovaClient) -> None:
    cloud.answers[SERVERS], text = GARBAGE[sentence]
    with pytest.raises(CloudError, match=text):
        client.servers()


def test_a_read_that_fails_carries_the_request_id_beside_its_words(cloud: Stub, client: NovaClient) -> None:
    cloud.answers[f"GET {COMPUTE}/os-services"] = fault(500, "boom", "computeFault")
    with pytest.raises(CloudError, match=r"^GET /os-services: HTTP 500 boom$") as failed:
        client.services()
    assert failed.value.request_id == "req-1"


def test_each_request_is_told_of_by_its_route_and_answer(cloud: Stub, tmp_path: Path) -> None:
    told: list[tuple[str, str, int | None]] = []

    def tell(service: str, operation: str, code: int | None, seconds: float) -> None:
        assert 0 <= seconds < 60
        told.append((service, operation, code))

    client = NovaClient("stub", clouds_yaml=cloud.clouds_yaml(tmp_path), timeout=(1, 1), on_request=tell)
    cloud.answers[f"GET {COMPUTE}/servers/s1"] = fault(404, "none", "itemNotFound")
    cloud.answers[f"GET {COMPUTE}/os-services"] = Answer(503, "no backend")
    cloud.answers[CANDIDATES] = Answer(reset=True)
    cloud.answers[ACTION] = Answer(202, None)
    client.connect()
    client.server("s1")
    for read in (client.services, lambda: client.resources(["p"])):
        with pytest.raises(CloudError):
            read()
    client.act(LiveMigrate("s1", "host-b"))
    client.act(LiveMigrate("s1", "host-b"), lambda: "the switch")
    cloud.login = Answer(401)
    with pytest.raises(CloudError):
        client.connect()
    assert told == [
        ("identity", "log in", 200),
        ("compute", "GET /servers/{id}", 404),
        ("compute", "GET /os-services", 503),
        ("placement", "GET /allocation_candidates", None),
        ("placement", "GET /allocation_candidates", None),
        ("compute", "POST /servers/{id}/action os-migrateLive", 202),
        ("identity", "log in", None),
    ], "and what was not sent is no request"


def test_a_read_is_repeated_once_after_a_broken_connection(cloud: Stub, client: NovaClient) -> None:
    cloud.answers[SERVERS] = [Answer(reset=True), Answer(body={"servers": []})]
    assert client.servers() == ([], set())
    cloud.answers[SERVERS] = Answer(reset=True)
    cloud.requests.clear()
    with pytest.raises(CloudError):
        client.servers()
    assert len(cloud.requests) == 2
    assert client.calls["GET /servers/detail"] == 4


def test_every_poll_brings_the_builds_whose_record_nova_never_touched(cloud: Stub, client: NovaClient) -> None:
    """No list of changes has them; what it says of a build it does have is newer."""
    builds = [{**SERVER, "id": one, "status": "BUILD", "OS-EXT-SRV-ATTR:host": None} for one in ("new", "done", "gone")]
    changed = [{**SERVER, "id": "done"}, {**SERVER, "id": "gone", "status": "DELETED"}]
    cloud.answers[SERVERS] = [Answer(body={"servers": builds}), Answer(body={"servers": changed})]
    found, gone = client.servers(datetime(2026, 1, 1, tzinfo=UTC))
    assert [(one.id, one.status, one.host) for one in found] == [("new", "BUILD", None), ("done", "ACTIVE", "cmp1")]
    assert gone == {"gone"}
    assert "status=BUILD" in cloud.requests[0]


def test_migrations_changed_since_include_those_never_updated(cloud: Stub, client: NovaClient) -> None:
    """Nova's `changes-since` looks at `updated_at`, which is null until the first change."""
    since = datetime(2026, 1, 1, tzinfo=UTC)
    newest = [
        {**MIGRATION, "uuid": "new", "updated_at": None, "created_at": "2026-01-01T00:00:01.000000"},
        {**MIGRATION, "uuid": "old", "created_at": "2025-12-31T23:59:59.000000"},
    ]
    cloud.answers[MIGRATIONS] = [
        Answer(body={"migrations": [{**MIGRATION, "uuid": "changed"}]}),
        Answer(body={"migrations": newest}),
    ]
    assert {migration.uuid for migration in client.migrations(since)} == {"changed", "new"}


def test_without_changes_since_every_open_status_is_asked_for(cloud: Stub, client: NovaClient) -> None:
    cloud.answers[MIGRATIONS] = Answer(body={"migrations": []})
    client.migrations()
    asked = {status for request in cloud.requests for status in parse_qs(urlsplit(request).query).get("status", ())}
    assert {"accepted", "queued", "running", "finished", "running (post-copy)", "confirming"} <= asked
    assert not asked & {"completed", "error", "done"}


def test_progress_is_none_after_any_404(cloud: Stub, client: NovaClient) -> None:
    assert client.progress("s1", 7) is None
    cloud.answers[f"GET {COMPUTE}/servers/s1/migrations/7"] = Answer(404, "gone")
    assert client.progress("s1", 7) is None


def summary(provider: str, **more: Any) -> dict[str, Any]:
    resources = {"MEMORY_MB": {"capacity": 100, "used": 10}, "VCPU": {"capacity": 8, "used": 1}}
    root = {"traits": ["COMPUTE_NODE"], "parent_provider_uuid": None, "root_provider_uuid": provider}
    return {"resources": resources, **root, **more}


def test_placement_is_asked_once_for_all_and_singly_for_full_hosts(cloud: Stub, client: NovaClient) -> None:
    summaries = {"h1": summary("h1"), "child": summary("child", root_provider_uuid="h1")}
    cloud.answers[CANDIDATES] = Answer(body={"allocation_requests": [], "provider_summaries": summaries})
    inventory = {"total": 110, "reserved": 10, "allocation_ratio": 1.5, "max_unit": 110}
    for page, body in {
        "inventories": {"inventories": {"MEMORY_MB": inventory}},
        "usages": {"usages": {"MEMORY_MB": 150}},
        "traits": {"traits": ["HW_CPU_X86_AVX"]},
    }.items():
        cloud.answers[f"GET /placement/resource_providers/h2/{page}"] = Answer(body=body)
    cloud.answers["GET /placement/resource_providers?in_tree=h2"] = providers("h2")
    found = client.resources(["h1", "h2", "never-registered"])
    assert found is not None
    assert found.keys() == {"h1", "h2"}
    assert found["h1"].inventories["MEMORY_MB"].free == 180, "90 of its own, and as much of its child"
    assert (found["h2"].inventories["MEMORY_MB"].capacity, found["h2"].inventories["MEMORY_MB"].free) == (150, 0)
    assert found["h2"].inventories["MEMORY_MB"].max_unit == 110
    assert found["h2"].traits == {"HW_CPU_X86_AVX"}


def inventory(total: int, **over: Any) -> dict[str, Any]:
    return {"total": total, "reserved": 0, "allocation_ratio": 1.0, "max_unit": total, **over}


def providers(*ids: str) -> Answer:
    return Answer(body={"resource_providers": [{"uuid": one} for one in ids]})


def tell_provider(cloud: Stub, name: str, used: dict[str, int], **inventories: Any) -> None:
    """What Placement says of one provider; one of the name `x` is in the Placement aggregate `x-aggregate`."""
    for page, body in {
        "inventories": {"inventories": inventories},
        "usages": {"usages": used},
        "traits": {"traits": []},
        "aggregates": {"aggregates": [f"{name}-aggregate"]},
    }.items():
        cloud.answers[f"GET /placement/resource_providers/{name}/{page}"] = Answer(body=body)


def candidates(**resources: Any) -> Answer:
    """Provider summaries; `h1_numa0` is a child of `h1`."""
    summaries = {
        name: {
            "resources": {what: {"capacity": capacity, "used": used} for what, (capacity, used) in told.items()},
            "traits": [f"CUSTOM_OF_{name.upper()}"],
            "root_provider_uuid": name.partition("_")[0],
        }
        for name, told in resources.items()
    }
    return Answer(body={"allocation_requests": [], "provider_summaries": summaries})


def test_R16_the_room_of_a_host_is_that_of_its_whole_tree_and_one_server_fits_one_provider(
    cloud: Stub, client: NovaClient
) -> None:
    cloud.answers[CANDIDATES] = candidates(
        h1={"DISK_GB": (500, 100)},
        h1_numa0={"MEMORY_MB": (40, 10), "VCPU": (8, 8)},
        h1_numa1={"MEMORY_MB": (40, 20), "VCPU": (8, 2)},
        h1_gpu={"VGPU": (4, 1)},
    )
    found = client.resources(["h1"])
    assert found is not None
    assert found.keys() == {"h1"}
    assert found["h1"].inventories == {
        "DISK_GB": Inventory(500, 100),
        "MEMORY_MB": Inventory(80, 30, max_unit=30),
        "VCPU": Inventory(16, 10, max_unit=6),
        "VGPU": Inventory(4, 1),
    }
    assert found["h1"].traits == {"CUSTOM_OF_H1"}, "a child's traits are its devices' matter"


def test_R16_a_full_host_is_told_with_its_children(cloud: Stub, client: NovaClient) -> None:
    cloud.answers[CANDIDATES] = candidates()
    cloud.answers["GET /placement/resource_providers?in_tree=h1"] = providers("h1", "n0", "n1")
    tell_provider(cloud, "h1", {"DISK_GB": 3}, DISK_GB=inventory(10))
    tell_provider(cloud, "n0", {"MEMORY_MB": 40}, MEMORY_MB=inventory(40))
    tell_provider(cloud, "n1", {"MEMORY_MB": 40}, MEMORY_MB=inventory(40))
    found = client.resources(["h1"])
    assert found is not None
    assert found["h1"].inventories == {
        "DISK_GB": Inventory(10, 3, max_unit=10),
        "MEMORY_MB": Inventory(80, 80, max_unit=0),
    }


def test_R16_what_a_sharing_provider_holds_counts_for_every_host_in_its_aggregate(
    cloud: Stub, client: NovaClient
) -> None:
    cloud.answers[CANDIDATES] = candidates(
        h1={"MEMORY_MB": (64, 0)}, h2={"MEMORY_MB": (64, 0), "DISK_GB": (5, 0)}, h3={"MEMORY_MB": (64, 0)}
    )
    cloud.answers["GET /placement/resource_providers?required=MISC_SHARES_VIA_AGGREGATE"] = providers("nfs", "old")
    cloud.answers["GET /placement/resource_providers?member_of=in%3Anfs-aggregate"] = providers("nfs", "h1", "h2")
    cloud.answers["GET /placement/resource_providers?member_of=in%3Aold-aggregate"] = providers("old", "h1")
    tell_provider(cloud, "nfs", {"DISK_GB": 100}, DISK_GB=inventory(1000, reserved=100, max_unit=600))
    tell_provider(cloud, "old", {"DISK_GB": 90}, DISK_GB=inventory(100))
    found = client.resources(["h1", "h2", "h3"])
    assert found is not None
    assert found["h1"].inventories["DISK_GB"] == Inventory(900, 100, max_unit=600, shared="nfs"), "the roomier of two"
    assert found["h2"].inventories["DISK_GB"] == Inventory(5, 0), "what a host has itself counts alone"
    assert "DISK_GB" not in found["h3"].inventories


@pytest.fixture
def networked(cloud: Stub, client: NovaClient) -> NovaClient:
    cloud.network = True
    client.connect()
    return client


PORTS = "GET /network/v2.0/ports"


def port(number: int, server: str, kind: str | None) -> dict[str, Any]:
    return {"id": f"p{number}", "device_id": server} | ({"binding:vnic_type": kind} if kind else {})


def test_R19_ports_whose_types_a_policy_hides_are_not_ordinary_ones(cloud: Stub, networked: NovaClient) -> None:
    cloud.answers[PORTS] = Answer(body={"ports": [port(1, "s1", None), port(2, "s2", None)]})
    with pytest.raises(CloudError, match="get_port:binding:vnic_type"):
        networked.ports()


def test_R18_ports_are_read_page_by_page_and_ordinary_ones_left_out(cloud: Stub, networked: NovaClient) -> None:
    more = [{"rel": "next", "href": "http://elsewhere/v2.0/ports?marker=p2"}]
    cloud.answers[PORTS] = [
        Answer(body={"ports": [port(1, "s1", "vdpa"), port(2, "s2", "normal")], "ports_links": more}),
        Answer(body={"ports": [port(3, "s1", "direct"), port(4, "", "direct"), port(5, "s3", None)]}),
    ]
    assert networked.ports() == {"s1": ("direct", "vdpa")}
    first, second = (parse_qs(urlsplit(request).query) for request in cloud.requests)
    assert first["fields"] == ["id", "device_id", "binding:vnic_type"]
    assert {"direct", "direct-physical", "vdpa"} <= set(first["binding:vnic_type"])
    assert (first.get("marker"), second["marker"]) == (None, ["p2"])


def test_R19_ports_that_we_may_not_list_are_not_told(cloud: Stub, networked: NovaClient) -> None:
    cloud.answers[PORTS] = Answer(403, {"NeutronError": {"type": "Forbidden", "message": "no", "detail": ""}})
    assert networked.ports() is None


def test_a_neutron_that_fails_is_an_error(cloud: Stub, networked: NovaClient) -> None:
    cloud.answers[PORTS] = Answer(503, "no backend")
    with pytest.raises(CloudError, match="GET network /ports: HTTP 503"):
        networked.ports()


def test_without_a_network_service_nothing_is_asked(cloud: Stub, client: NovaClient) -> None:
    assert client.ports() == {}
    assert cloud.requests == []


def test_without_placement_the_hosts_are_known_without_their_room(cloud: Stub, tmp_path: Path) -> None:
    cloud.placement = False
    client = NovaClient("stub", clouds_yaml=cloud.clouds_yaml(tmp_path), timeout=(1, 1))
    client.connect()
    cloud.answers[f"GET {COMPUTE}/os-services"] = Answer(body={"services": [SERVICE]})
    cloud.answers[f"GET {COMPUTE}/os-hypervisors/detail"] = Answer(body={"hypervisors": [HYPERVISOR]})
    cloud.answers[f"GET {COMPUTE}/os-aggregates"] = Answer(body={"aggregates": [AGGREGATE]})
    host = client.hosts()["cmp1"]
    assert host.inventories is None
    assert host.hypervisor is not None


def test_what_we_may_not_read_of_placement_and_keystone_is_unknown_not_fatal(cloud: Stub, client: NovaClient) -> None:
    cloud.answers[CANDIDATES] = Answer(403, {"errors": [{"detail": "no"}]})
    cloud.answers["GET /identity/v3/projects"] = Answer(403, {"error": {"code": 403, "message": "no"}})
    assert client.resources(["h1"]) is None
    assert client.projects() == ({}, False)


def test_server_groups_are_read_to_an_empty_page(cloud: Stub, client: NovaClient) -> None:
    group = {"id": "g", "name": "n", "policy": "anti-affinity", "members": ["s1"], "rules": {"max_server_per_host": 2}}
    pages = [[group], [{**group, "id": "h", "rules": {}}], []]
    cloud.answers[f"GET {COMPUTE}/os-server-groups"] = [Answer(body={"server_groups": page}) for page in pages]
    found = client.server_groups()
    assert [(one.id, one.max_server_per_host) for one in found] == [("g", 2), ("h", 1)]


def test_the_clouds_own_clock_counts(cloud: Stub, client: NovaClient) -> None:
    theirs = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=5)
    cloud.answers[SERVERS] = Answer(body={"servers": []}, headers={"Date": format_datetime(theirs, usegmt=True)})
    client.servers()
    assert timedelta(0) <= client.cloud_time() - theirs < timedelta(minutes=1)


ALLOCATIONS = "GET /placement/resource_providers/h1/allocations"
ON_HYPERVISOR = f"GET {COMPUTE}/os-hypervisors/h1"
SERVICES = f"GET {COMPUTE}/os-services"
#: what is on cmp1, and what has room of it besides
HERE = frozenset({SERVER["id"]})
CLAIMED = HERE | {"build"}
NO_RIGHT = Answer(403, {"forbidden": {"code": 403, "message": "Policy doesn't allow it"}})


@pytest.fixture
def host(cloud: Stub) -> Stub:
    """cmp1 with one server, a consumer more than that, and a migration whose status nobody knows."""
    cloud.answers |= {
        ALLOCATIONS: Answer(body={"allocations": {SERVER["id"]: {}, "build": {}}, "resource_provider_generation": 1}),
        ON_HYPERVISOR: Answer(body={"hypervisor": {**HYPERVISOR, "servers": [{"uuid": SERVER["id"], "name": "i-1"}]}}),
        MIGRATIONS: Answer(
            body={
                "migrations": [
                    {**MIGRATION, "uuid": "odd", "status": "levitating"},
                    {**MIGRATION, "uuid": "over", "status": "completed"},
                ]
            }
        ),
        SERVERS: [
            Answer(body={"servers": [{**SERVER, "id": "build", "status": "BUILD", "OS-EXT-SRV-ATTR:host": None}]}),
            Answer(body={"servers": [SERVER]}),
        ],
        SERVICES: Answer(body={"services": [{**SERVICE, "host": "CMP1"}, SERVICE]}),
    }
    return cloud


def test_a_look_at_a_host_reads_in_the_order_in_which_a_server_comes(host: Stub, client: NovaClient) -> None:
    """I20: a build that gets its host meanwhile is seen in one of the places."""
    look, servers = client.host_look("cmp1", "h1")
    assert look.service is not None
    assert (look.host, look.service.host) == ("cmp1", "cmp1")
    assert look.servers == look.on_hypervisor == HERE
    assert look.allocated == CLAIMED
    assert [one.uuid for one in look.migrations] == ["odd"], "an unknown status counts as open, an ended one does not"
    assert {one.id for one in servers} == CLAIMED
    paths = [urlsplit(request.removeprefix("GET ")) for request in host.requests]
    assert [path.path.removeprefix(COMPUTE) for path in paths] == [
        "/placement/resource_providers/h1/allocations",
        "/os-hypervisors/h1",
        "/os-migrations",
        "/servers/detail",
        "/servers/detail",
        "/os-services",
    ]
    asked = [parse_qs(path.query) for path in paths]
    assert asked[1]["with_servers"] == ["true"]
    assert (asked[2]["host"], asked[4]["host"], asked[4]["all_tenants"]) == (["cmp1"], ["cmp1"], ["1"])
    assert (asked[5]["host"], asked[5]["binary"]) == (["cmp1"], ["nova-compute"])


def test_a_look_finds_the_hypervisor_by_itself(host: Stub, client: NovaClient) -> None:
    others = [HYPERVISOR, {**HYPERVISOR, "id": "h2", "service": {**HYPERVISOR["service"], "host": "cmp2"}}]
    host.answers[f"GET {COMPUTE}/os-hypervisors/detail"] = Answer(body={"hypervisors": others})
    assert client.host_look("cmp1")[0].on_hypervisor == HERE


def test_a_look_at_a_host_that_nova_does_not_list(host: Stub, client: NovaClient) -> None:
    host.answers[f"GET {COMPUTE}/os-hypervisors/detail"] = Answer(body={"hypervisors": []})
    host.answers[SERVICES] = Answer(body={"services": []})
    host.answers[SERVERS] = Answer(body={"servers": []})
    look, _ = client.host_look("nope")
    assert (look.service, look.servers, look.on_hypervisor, look.allocated) == (None, frozenset(), None, None)


#: what one page of a look answers -> (on_hypervisor, allocated); a text is that of the `CloudError`
WITNESSES: dict[str, tuple[str, Answer, tuple[object, object] | str]] = {
    "no right to read Placement": (
        ALLOCATIONS,
        Answer(403, {"errors": [{"detail": "no"}]}),
        (HERE, None),
    ),
    "a provider that Placement does not know": (
        ALLOCATIONS,
        Answer(404, {"errors": [{"detail": "No resource provider"}]}),
        (HERE, None),
    ),
    "no right to read the hypervisor": (ON_HYPERVISOR, NO_RIGHT, (None, CLAIMED)),
    "a 404 of a proxy before Placement": (ALLOCATIONS, Answer(404, "<html>"), "allocations: HTTP 404 <html>"),
    "a Placement that fails": (ALLOCATIONS, Answer(500, "boom"), "allocations: HTTP 500 boom"),
    "a Placement that makes no sense": (ALLOCATIONS, Answer(body={}), "cannot read a consumers"),
    "a hypervisor that fails": (ON_HYPERVISOR, Answer(500, "boom"), "HTTP 500 boom"),
    "a hypervisor that Nova does not know any more": (ON_HYPERVISOR, fault(404, "none"), "Nova does not know it"),
    "a hypervisor without its servers": (
        ON_HYPERVISOR,
        Answer(body={"hypervisor": HYPERVISOR}),
        "cannot read a hypervisor_servers",
    ),
    "no right to read the migrations": (MIGRATIONS, NO_RIGHT, "HTTP 403"),
    "no right to read the servers": (SERVERS, NO_RIGHT, "HTTP 403"),
    "a service in a cell that Nova cannot reach": (
        SERVICES,
        Answer(body={"services": [{"binary": "nova-compute", "host": "cmp1", "status": "UNKNOWN"}]}),
        "cannot reach the cell of host cmp1",
    ),
}


@pytest.mark.parametrize("sentence", WITNESSES)
def test_a_witness_that_may_not_be_heard_is_none_and_any_other_failure_an_error(
    sentence: str, host: Stub, client: NovaClient
) -> None:
    """I4: nothing that could not be read looks like an empty host."""
    page, answer, expected = WITNESSES[sentence]
    host.answers[page] = answer
    if isinstance(expected, str):
        with pytest.raises(CloudError, match=expected):
            client.host_look("cmp1", "h1")
    else:
        look, _ = client.host_look("cmp1", "h1")
        assert (look.on_hypervisor, look.allocated) == expected


def test_a_look_without_placement_in_the_catalog(host: Stub, tmp_path: Path) -> None:
    host.placement = False
    client = NovaClient("stub", clouds_yaml=host.clouds_yaml(tmp_path), timeout=(1, 1))
    client.connect()
    look, _ = client.host_look("cmp1", "h1")
    assert (look.on_hypervisor, look.allocated) == (HERE, None)
