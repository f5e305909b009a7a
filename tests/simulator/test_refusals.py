"""What Nova refuses, with its codes and its sentences: the rows that were measured on a real one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.simulator.bench import NEWEST, Bench, message


@dataclass(frozen=True)
class Row:
    action: str
    value: Any
    status: int
    text: str | None = None  # {} is the server's id
    version: str = NEWEST
    user: str = "admin"
    server: dict[str, Any] = field(default_factory=dict)
    before: tuple[str, Any] | None = None  # an action on the server first
    dead: str | None = None


def to(host: str | None, **more: Any) -> dict[str, Any]:
    return {"host": host, "block_migration": "auto", **more}


ROWS = {
    "live-migrating a stopped server": Row(
        "os-migrateLive",
        to(None),
        409,
        "Cannot 'os-migrateLive' instance {} while it is in vm_state stopped",
        server={"state": "stopped"},
    ),
    "live-migrating one that already migrates": Row(
        "os-migrateLive",
        to("cmp2"),
        409,
        "Cannot 'os-migrateLive' instance {} while it is in task_state migrating",
        before=("os-migrateLive", to("cmp2")),
    ),
    "live to an unknown host": Row("os-migrateLive", to("nope"), 400, "Compute host nope could not be found."),
    "cold to an unknown host": Row("migrate", {"host": "nope"}, 400, "Compute host nope could not be found."),
    "live to the same host is accepted": Row("os-migrateLive", to("cmp1"), 202),
    "live to a dead host is accepted": Row("os-migrateLive", to("cmp2"), 202, dead="cmp2"),
    "live from a dead host is accepted": Row("os-migrateLive", to("cmp2"), 202, dead="cmp1"),
    "cold from a dead host": Row("migrate", None, 409, "Service is unavailable at this time.", dead="cmp1"),
    "cold to the same host": Row(
        "migrate", {"host": "cmp1"}, 400, "Cannot migrate to the host where the server exists."
    ),
    "cold with a host below 2.56 is accepted": Row("migrate", {"host": "nope"}, 202, version="2.55"),
    "cold with a host above 2.56 and another key": Row(
        "migrate",
        {"host": "cmp2", "force": True},
        400,
        "Invalid input for field/attribute migrate. Value: {{'host': 'cmp2', 'force': True}}. "
        "Additional properties are not allowed ('force' was unexpected)",
    ),
    "force from 2.68": Row(
        "os-migrateLive",
        to("cmp2", force=True),
        400,
        "Invalid input for field/attribute os-migrateLive. Value: {{'host': 'cmp2', 'block_migration': 'auto', "
        "'force': True}}. Additional properties are not allowed ('force' was unexpected)",
        version="2.68",
    ),
    "force without a host": Row(
        "os-migrateLive",
        to(None, force=True),
        400,
        "Can't force to a non-provided destination",
        version="2.67",
    ),
    "auto before 2.25": Row(
        "os-migrateLive",
        {"host": "cmp2", "block_migration": "auto", "disk_over_commit": False},
        400,
        "Invalid input for field/attribute block_migration. Value: auto. 'auto' is not one of [True, 'True', 'TRUE', "
        "'true', '1', 'ON', 'On', 'on', 'YES', 'Yes', 'yes', 'y', 't', False, 'False', 'FALSE', 'false', '0', 'OFF', "
        "'Off', 'off', 'NO', 'No', 'no', 'n', 'f']",
        version="2.24",
    ),
    "confirming when nothing was resized": Row(
        "confirmResize", None, 409, "Cannot 'confirmResize' instance {} while it is in vm_state active"
    ),
    "reverting when nothing was resized": Row(
        "revertResize", None, 409, "Cannot 'revertResize' instance {} while it is in vm_state active"
    ),
    "evacuating while the host is up": Row("evacuate", {}, 400, "Compute service of cmp1 is still in use."),
    "evacuating to the same host": Row(
        "evacuate", {"host": "cmp1"}, 400, "The target host can't be the same one.", dead="cmp1"
    ),
    "evacuating to an unknown host": Row(
        "evacuate", {"host": "nope"}, 404, "Compute host nope not found.", dead="cmp1"
    ),
    "evacuating a suspended server": Row(
        "evacuate",
        {},
        409,
        "Cannot 'evacuate' instance {} while it is in vm_state suspended",
        dead="cmp1",
        server={"state": "suspended"},
    ),
    "a tenant live-migrates": Row(
        "os-migrateLive",
        to(None),
        403,
        "Policy doesn't allow os_compute_api:os-migrate-server:migrate_live to be performed.",
        user="operator",
        server={"project": "tenant"},
    ),
    "a tenant names the host": Row(
        "os-migrateLive",
        to("cmp2"),
        403,
        "Policy doesn't allow os_compute_api:os-migrate-server:migrate_live:host to be performed.",
        user="operator",
        server={"project": "tenant"},
    ),
    "a tenant evacuates": Row(
        "evacuate",
        {},
        403,
        "Policy doesn't allow os_compute_api:os-evacuate to be performed.",
        user="operator",
        server={"project": "tenant"},
    ),
    "a tenant and another project's server": Row(
        "os-stop", None, 404, "Instance {} could not be found.", user="operator"
    ),
    "a tenant stops a locked server": Row(
        "os-stop", None, 409, "Instance {} is locked", user="operator", server={"project": "tenant", "locked": True}
    ),
    "an administrator migrates a locked server": Row("os-migrateLive", to("cmp2"), 202, server={"locked": True}),
    "an administrator migrates a paused server": Row("os-migrateLive", to("cmp2"), 202, server={"state": "paused"}),
    "an unknown action": Row("os-fly", None, 400, "There is no such action: os-fly"),
    "stopping a stopped server": Row(
        "os-stop",
        None,
        409,
        "Cannot 'stop' instance {} while it is in vm_state stopped",
        server={"state": "stopped"},
    ),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
async def test_an_action(bench: Bench, row: Row) -> None:
    server = await bench.server("cmp1", **row.server)
    if row.dead:
        await bench.kill(row.dead)
    if row.before:
        await bench.act(server, *row.before)
    status, body = await bench.act(server, row.action, row.value, version=row.version, user=row.user)
    assert status == row.status, body
    if row.text is not None:
        assert message(body) == row.text.format(server)
    else:
        assert body is None


async def test_an_action_on_an_unknown_server(bench: Bench) -> None:
    status, body = await bench.live("11111111-2222-3333-4444-555555555555")
    assert status == 404
    assert body == {
        "itemNotFound": {"code": 404, "message": "Instance 11111111-2222-3333-4444-555555555555 could not be found."}
    }


async def test_cold_with_a_host_below_2_56_goes_where_the_scheduler_likes(bench: Bench) -> None:
    server = await bench.server("cmp1")
    await bench.act(server, "migrate", {"host": "cmp2"}, version="2.55")
    bench.step(5)
    assert (await bench.show(server))["OS-EXT-SRV-ATTR:host"] == "cmp4"


async def test_a_body_that_is_not_json_is_malformed(bench: Bench) -> None:
    token = await bench.log_in("admin")
    answer = await bench.client.post(
        f"/compute/v2.1/servers/{await bench.server()}/action", data=b"{", headers={"X-Auth-Token": token}
    )
    assert answer.status == 400
    assert await answer.json() == {"badRequest": {"code": 400, "message": "Malformed request body"}}
