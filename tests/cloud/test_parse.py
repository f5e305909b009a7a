"""Raw JSON to the model."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.cloud.samples import AGGREGATE, HYPERVISOR, MIGRATION, SERVER, SERVICE
from vmferry.cloud.model import Inventory, Server
from vmferry.cloud.nova import parse

SERVERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a plain server": ({}, {"name": "web", "host": "cmp1", "image_id": "image-1", "local_disk_gb": 20, "fault": None}),
    "booted from a volume": (
        {"image": "", "os-extended-volumes:volumes_attached": [{"id": "v1"}, {"id": "v2"}]},
        {"image_id": None, "volumes": ("v1", "v2"), "local_disk_gb": 0},
    ),
    "on no host": ({"OS-EXT-SRV-ATTR:host": None, "OS-EXT-AZ:availability_zone": ""}, {"host": None}),
    "failed": ({"fault": {"code": 500, "message": "No valid host", "created": "x"}}, {"fault": "No valid host"}),
    "failed, and it told a secret (I33)": (
        {"fault": {"code": 500, "message": "no login: password=s3cret", "created": "x"}},
        {"fault": "no login: password=[redacted]"},
    ),
    "locked": ({"locked": True, "locked_reason": "mine"}, {"locked": True, "locked_reason": "mine"}),
    "of a Nova that tells no zone it was asked for": (
        {"pinned_availability_zone": None},
        {"pinned_availability_zone": None},
    ),
    "with the properties of its image (2.98)": (
        {"image": {"id": "image-1", "links": [], "properties": {"hw_tpm_version": "2.0"}}},
        {"image_properties": {"hw_tpm_version": "2.0"}},
    ),
    "of a Nova that does not tell them (R19)": ({}, {"image_properties": None}),
    "on a volume, whose image Nova does not tell (R19)": ({"image": ""}, {"image_properties": None}),
    "still building": ({"OS-EXT-STS:power_state": None}, {"power_state": 0}),
}


@pytest.mark.parametrize("sentence", SERVERS)
def test_server(sentence: str) -> None:
    given, expected = SERVERS[sentence]
    found = parse.server({**SERVER, **given})
    assert {name: getattr(found, name) for name in expected} == expected


def test_servers_of_one_flavor_share_it() -> None:
    first, second = parse.server(SERVER), parse.server({**SERVER, "id": "other"})
    assert first.flavor is second.flavor
    extra = parse.server({**SERVER, "flavor": {**SERVER["flavor"], "extra_specs": {"hw:cpu_policy": "dedicated"}}})
    assert extra.flavor.extra_specs == {"hw:cpu_policy": "dedicated"}


def test_R19_hidden_extra_specs_are_not_the_same_as_none() -> None:
    flavor = {key: value for key, value in SERVER["flavor"].items() if key != "extra_specs"}
    assert parse.server(SERVER).flavor.extra_specs_told
    assert not parse.server({**SERVER, "flavor": flavor}).flavor.extra_specs_told


def test_servers_of_one_image_share_its_properties() -> None:
    image = {"id": "image-1", "links": [], "properties": {"hw_disk_bus": "virtio"}}
    first, second = (parse.server({**SERVER, "id": one, "image": image}) for one in "ab")
    assert first.image_properties is second.image_properties


@pytest.mark.parametrize("parser", [parse.server, parse.service])
def test_what_lies_in_an_unreachable_cell_is_not_guessed(parser: Any) -> None:
    with pytest.raises(parse.PartialAnswerError):
        parser({"id": "a", "host": "cmp1", "binary": "nova-compute", "status": "UNKNOWN"})


def test_migration() -> None:
    found = parse.migration({**MIGRATION, "updated_at": None, "dest_compute": None})
    assert (found.id, found.source_host, found.target_host) == (7, "cmp1", None)
    assert (found.open, found.updated_at, found.user_id) == (True, "", "user-1")


def test_action_with_its_events() -> None:
    event = {"event": "compute_pre_live_migration", "result": "Error", "host": "cmp2", "details": "why"}
    raw = {"request_id": "req-1", "action": "live-migration", "message": None, "user_id": "u", "events": [event]}
    found = parse.action({**raw, "start_time": "2026-11-23T12:00:00.000000"})
    assert found.events[0].details == "why"
    assert found.started_at == datetime(2026, 11, 23, 12, tzinfo=UTC)
    assert parse.action({**raw, "events": None}).events == ()


def test_I33_what_an_action_tells_of_an_exception_is_redacted() -> None:
    event = {"event": "compute_pre_live_migration", "details": "no iSCSI: {'auth_password': 's3cret', 'x': 1}"}
    raw = {"request_id": "req-1", "action": "live-migration", "message": "token=s3cret", "events": [event]}
    assert "s3cret" not in str(parse.action(raw))


def test_progress_before_the_first_byte() -> None:
    nulls = dict.fromkeys(("memory_total_bytes", "memory_remaining_bytes", "disk_total_bytes", "disk_remaining_bytes"))
    assert parse.progress(nulls).percent == 0


TIMES: dict[str, tuple[str | None, datetime | None]] = {
    "with Z": ("2026-11-23T12:00:00Z", datetime(2026, 11, 23, 12, tzinfo=UTC)),
    "without a zone it is UTC": ("2026-11-23T12:00:00.500000", datetime(2026, 11, 23, 12, 0, 0, 500000, UTC)),
    "with another zone": ("2026-11-23T13:00:00+01:00", datetime(2026, 11, 23, 12, tzinfo=UTC)),
    "none": (None, None),
}


@pytest.mark.parametrize("sentence", TIMES)
def test_time(sentence: str) -> None:
    text, expected = TIMES[sentence]
    assert parse.time(text) == expected


def test_hosts_are_joined_by_the_exact_host_name() -> None:
    """I1: cmp1 is not cmp10, and a service without a hypervisor is a host all the same."""
    services = [parse.service({**SERVICE, "host": host}) for host in ("cmp1", "cmp10")]
    resources = {"h1": parse.Resources({}, frozenset({"COMPUTE_NODE"}))}
    hosts = parse.join_hosts(services, [parse.hypervisor(HYPERVISOR)], [parse.aggregate(AGGREGATE)], resources, {})
    assert hosts["cmp1"].hypervisor == parse.hypervisor(HYPERVISOR)
    assert hosts["cmp1"].traits == {"COMPUTE_NODE"}
    assert [one.name for one in hosts["cmp1"].aggregates] == ["cluster1"]
    assert hosts["cmp10"].hypervisor is None
    assert hosts["cmp10"].inventories is None
    assert hosts["cmp10"].aggregates == ()


def test_R16_no_server_takes_more_of_a_host_than_there_is_whatever_the_ratio() -> None:
    """Placement's candidates do not tell `max_unit`; what the hypervisor has in all is just that."""
    whole = parse.hypervisor({**HYPERVISOR, "vcpus": 8, "memory_mb": 16384, "local_gb": 0})
    resources = {
        "h1": parse.Resources({"VCPU": Inventory(128, 3), "MEMORY_MB": Inventory(16384, 0, 4096)}, frozenset())
    }
    joined = parse.join_hosts([parse.service({**SERVICE, "host": "cmp1"})], [whole], [], resources, {})
    found = joined["cmp1"].inventories
    assert found == {"VCPU": Inventory(128, 3, 8), "MEMORY_MB": Inventory(16384, 0, 4096)}


def test_an_answer_is_immutable_data() -> None:
    found: Server = parse.server(SERVER)
    with pytest.raises(AttributeError):
        found.host = "cmp2"  # type: ignore[misc]
