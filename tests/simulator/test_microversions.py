"""Microversions: how one is chosen, and what it changes in the answers."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.simulator.bench import Bench, message


@dataclass(frozen=True)
class Choice:
    headers: dict[str, str]
    status: int
    answered: str | None = None
    text: str | None = None


CHOICES = {
    "without a header it is the oldest": Choice({}, 200, "2.1"),
    "the header names it": Choice({"OpenStack-API-Version": "compute 2.53"}, 200, "2.53"),
    "the older header names it too": Choice({"X-OpenStack-Nova-API-Version": "2.42"}, 200, "2.42"),
    "the newer header goes before the older": Choice(
        {"OpenStack-API-Version": "compute 2.53", "X-OpenStack-Nova-API-Version": "2.42"}, 200, "2.53"
    ),
    "another service's version is not Nova's": Choice({"OpenStack-API-Version": "placement 1.36"}, 200, "2.1"),
    "latest is the newest there is": Choice({"OpenStack-API-Version": "compute latest"}, 200, "2.100"),
    "one above the newest is not acceptable": Choice(
        {"OpenStack-API-Version": "compute 2.101"},
        406,
        "2.101",
        "Version 2.101 is not supported by the API. Minimum is 2.1 and maximum is 2.100.",
    ),
    "one below the oldest is not acceptable": Choice(
        {"OpenStack-API-Version": "compute 2.0"},
        406,
        "2.0",
        "Version 2.0 is not supported by the API. Minimum is 2.1 and maximum is 2.100.",
    ),
    "a word is malformed": Choice(
        {"OpenStack-API-Version": "compute banana"},
        400,
        None,
        "API Version String banana is of invalid format. Must be of format MajorNum.MinorNum.",
    ),
    "a leading zero is malformed": Choice(
        {"OpenStack-API-Version": "compute 2.053"},
        400,
        None,
        "API Version String 2.053 is of invalid format. Must be of format MajorNum.MinorNum.",
    ),
}


@pytest.mark.parametrize("choice", CHOICES.values(), ids=CHOICES.keys())
async def test_choosing_a_microversion(bench: Bench, choice: Choice) -> None:
    answer = await bench.raw("GET", "/compute/v2.1/flavors", headers=choice.headers)
    assert answer.status == choice.status
    if choice.answered:
        assert answer.headers["OpenStack-API-Version"] == f"compute {choice.answered}"
        assert answer.headers["X-OpenStack-Nova-API-Version"] == choice.answered
    if choice.text:
        assert message(await answer.json()) == choice.text


async def test_the_newest_one_is_what_the_version_document_says() -> None:
    bench = await Bench.open(settings={"nova": {"max_microversion": "2.95"}})
    try:
        document = await (await bench.client.get("/compute/v2.1/")).json()
        assert (document["version"]["min_version"], document["version"]["version"]) == ("2.1", "2.95")
        assert (await bench.nova("GET", "/flavors", version="2.96"))[0] == 406
        assert (await bench.nova("GET", "/flavors", version="2.95"))[0] == 200
    finally:
        await bench.close()


@dataclass(frozen=True)
class Field:
    path: str  # {} is the server
    where: str  # dotted way to the object that has it
    name: str
    first: int = 1
    last: int | None = None


FIELDS = {
    "a server's root device": Field("/servers/{}", "server", "OS-EXT-SRV-ATTR:root_device_name", 3),
    "whether a server is locked": Field("/servers/{}", "server", "locked", 9),
    "the state of a server's host": Field("/servers/{}", "server", "host_status", 16),
    "a server's description": Field("/servers/{}", "server", "description", 19),
    "a server's tags": Field("/servers/{}", "server", "tags", 26),
    "a server's flavor by reference": Field("/servers/{}", "server.flavor", "id", 1, 46),
    "a server's flavor in full": Field("/servers/{}", "server.flavor", "original_name", 47),
    "a server's trusted certificates": Field("/servers/{}", "server", "trusted_image_certificates", 63),
    "a server's groups": Field("/servers/{}", "server", "server_groups", 71),
    "why a server is locked": Field("/servers/{}", "server", "locked_reason", 73),
    "a server's pinned zone": Field("/servers/{}", "server", "pinned_availability_zone", 96),
    "the properties of a server's image": Field("/servers/{}", "server.image", "properties", 98),
    "a server's scheduler hints": Field("/servers/{}", "server", "scheduler_hints", 100),
    "a service forced down": Field("/os-services?binary=nova-compute", "services.0", "forced_down", 11),
    "a hypervisor's processor": Field("/os-hypervisors/detail", "hypervisors.0", "cpu_info", 1, 87),
    "a hypervisor's memory": Field("/os-hypervisors/detail", "hypervisors.0", "memory_mb", 1, 87),
    "a hypervisor's uptime": Field("/os-hypervisors/detail", "hypervisors.0", "uptime", 88),
    "a hypervisor's servers, even if none": Field(
        "/os-hypervisors?hypervisor_hostname_pattern=cmp2&with_servers=true", "hypervisors.0", "servers", 75
    ),
    "a migration's type": Field("/os-migrations", "migrations.0", "migration_type", 23),
    "a migration's uuid": Field("/os-migrations", "migrations.0", "uuid", 59),
    "a migration's project": Field("/os-migrations", "migrations.0", "project_id", 80),
    "when an action was last updated": Field("/servers/{}/os-instance-actions", "instanceActions.0", "updated_at", 58),
    "an aggregate's uuid": Field("/os-aggregates", "aggregates.0", "uuid", 41),
    "a flavor's description": Field("/flavors/detail", "flavors.0", "description", 55),
    "a flavor's extra specs": Field("/flavors/detail", "flavors.0", "extra_specs", 61),
    "a group's policies": Field("/os-server-groups", "server_groups.0", "policies", 1, 63),
    "a group's policy": Field("/os-server-groups", "server_groups.0", "policy", 64),
    "a group's project": Field("/os-server-groups", "server_groups.0", "project_id", 13),
}


@pytest.mark.parametrize("field", FIELDS.values(), ids=FIELDS.keys())
async def test_a_field_is_there_from_its_first_to_its_last_microversion(bench: Bench, field: Field) -> None:
    server = await bench.server("cmp1")
    await bench.nova("POST", "/os-server-groups", {"server_group": {"name": "g", "policy": "affinity"}})
    await bench.live(server, "cmp3")  # refused, which leaves a migration and an action
    bench.step(1)
    for minor in {field.first - 1, field.first, field.last or 100, (field.last or 100) + 1} & set(range(1, 101)):
        body = await bench.get(field.path.format(server), version=f"2.{minor}")
        for step in field.where.split("."):
            body = body[int(step)] if step.isdigit() else body[step]
        expected = field.first <= minor <= (field.last or 100)
        assert (field.name in body) is expected, f"{field.name} at 2.{minor}"


@dataclass(frozen=True)
class Method:
    method: str
    path: str
    first: int
    status: int


METHODS = {
    "a server's migrations": Method("GET", "/servers/{}/migrations", 23, 200),
    "aborting a migration": Method("DELETE", "/servers/{}/migrations/1", 24, 409),
    "forcing a migration to complete": Method("POST", "/servers/{}/migrations/1/action", 22, 409),
}


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
async def test_a_method_is_unknown_before_its_first_microversion(bench: Bench, method: Method) -> None:
    path = method.path.format(await bench.server())
    body = {"force_complete": None} if method.method == "POST" else None
    status, answer = await bench.nova(method.method, path, body, version=f"2.{method.first - 1}")
    assert (status, message(answer)) == (404, "The resource could not be found.")
    status, _ = await bench.nova(method.method, path, body, version=f"2.{method.first}")
    assert status == method.status


async def test_services_and_hypervisors_have_numbers_before_2_53_and_uuids_from_there(bench: Bench) -> None:
    for path, kind in (("/os-services?binary=nova-compute", "services"), ("/os-hypervisors", "hypervisors")):
        assert isinstance((await bench.get(path, version="2.52"))[kind][0]["id"], int)
        assert len((await bench.get(path, version="2.53"))[kind][0]["id"]) == 36


async def test_every_answer_carries_its_request_id(bench: Bench) -> None:
    for path in ("/compute/v2.1/servers", "/compute/v2.1/servers/nope", "/placement/resource_providers"):
        answer = await bench.raw("GET", path)
        assert answer.headers["x-openstack-request-id"].startswith("req-")
    answer = await bench.raw("GET", "/compute/v2.1/servers/nope")
    assert answer.headers["x-compute-request-id"] == answer.headers["x-openstack-request-id"]
