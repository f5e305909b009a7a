"""Objects as the reconcilers leave them, one for each state that a person can see, and what GitOps tools are to say."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from typing import Any

from testbed.build import ident
from testbed.lifecycle.drains import Drain, a_cloud, add
from testbed.lifecycle.life import KEY, Life
from testbed.lifecycle.little_cloud import SERVER, LittleCloud
from testbed.storm.kubernetes import Api
from tests.reconcilers.maintenance.test_drain import (
    a_second_operator_has_the_lease,
    deleted_in_the_middle,
    everything_moves_and_the_host_is_released,
    powered_off_ones_stay,
    preflight_only,
    refused_while_something_is_blocked,
    servers_of_every_kind,
    switched_off_in_the_middle,
    they_return_but_for_two,
    two_hosts_and_room_for_one_in_the_budget,
)
from tests.reconcilers.migration.test_lives import (
    cloud,
    cold_of_a_powered_off_server,
    cold_with_stop_and_start,
    live_without_target,
    no_target_is_left,
    over_the_deadline_and_aborted,
    retries_are_used_up,
    second_attempt_on_another_target,
)
from tests.reconcilers.test_waits import (
    a_build_without_an_end,
    behind_others,
    limit_of_the_cloud,
    released_with_evacuated_servers,
)
from vmferry.cloud.model import Migration, Part
from vmferry.policy import Policy
from vmferry.reconcilers.kill_switch import KillSwitchState
from vmferry.reconcilers.owned_migrations import Purpose, labels
from vmferry.reconcilers.world import World
from vmferry.resources.base import API_VERSION
from vmferry.runtime.key import Key

Body = dict[str, Any]
MIGRATION, MAINTENANCE = "VMMigration", "HostMaintenance"


@contextmanager
def recorded() -> Iterator[list[Body]]:
    """Every object whose status the reconcilers write meanwhile, as it is then."""
    seen: list[Body] = []
    put_status = Api.put_status

    def put(self: Api, key: Key, version: str, status: Body) -> Body:
        seen.append(body := put_status(self, key, version, status))
        return body

    Api.put_status = put  # type: ignore[method-assign]
    try:
        yield seen
    finally:
        Api.put_status = put_status  # type: ignore[method-assign]


def phase(body: Body) -> str | None:
    found: str | None = body.get("status", {}).get("phase")
    return found


def condition(body: Body, type_: str) -> Body:
    found: Body = next((c for c in body["status"].get("conditions", []) if c["type"] == type_), {})
    return found


@cache
def lived(make: Callable[[], object]) -> tuple[Body, ...]:
    """All that was written in this life, lived through to its end; not to be changed."""
    with recorded() as seen:
        made = make()
        if isinstance(made, Life) and not made.writes:
            made.run()
    return tuple(seen)


def first(life: Callable[[], object], kind: str, reason: str, *, deleting: bool = False) -> Body:
    """The first time that an object of this kind was Ready, or not, for this reason."""
    seen = lived(life)
    for body in seen:
        if body["kind"] == kind and condition(body, "Ready").get("reason") == reason:
            if deleting and "deletionTimestamp" not in body["metadata"]:
                continue
            return copy.deepcopy(body)
    told = sorted({(one["kind"], condition(one, "Ready").get("reason", "")) for one in seen})
    raise AssertionError(f"no {kind} was ever {reason}; what was seen: {told}")


# ---- lives that no golden log tells


def one_look(life: Life, world: World | None = None) -> Life:
    decision = life.look(world)
    life.api.edited(KEY)
    life.api.put_status(KEY, life.body["metadata"]["resourceVersion"], decision.status.to_json())
    life.writes += 1
    return life


def stopped() -> Life:
    life = Life(cloud())
    return one_look(
        life,
        World(life.cloud.snapshot(), kill_switch=KillSwitchState(everywhere=True, message="new moves are stopped")),
    )


def behind_another_move() -> Life:
    made = cloud()
    record = Migration(1, "f-1", "s-1", "live-migration", "running", "cmp1", "cmp3", "somebody")
    made.migrations.append(record)
    made._visible[record.uuid] = made.now
    return one_look(Life(made, policy=Policy(bandwidth=1)))


def without_a_view() -> Life:
    life = Life(cloud())
    fresh = life.cloud.snapshot()
    old = dict.fromkeys(Part, life.cloud.now - timedelta(hours=1))
    return one_look(life, World(replace(fresh, read_at=old, trouble="503 from Nova")))


def on_its_target_already() -> Life:
    life = Life(cloud(), {"target": {"host": "cmp1"}})
    life.run(60)
    return life


def cancelled_while_it_runs() -> Life:
    life = live_without_target()
    for _ in range(3):
        life.one_pass()
        life.cloud.pass_time(timedelta(seconds=2))
    life.delete()
    life.run()
    return life


def host_that_nobody_knows() -> Drain:
    made = Drain(a_cloud("web-1"))
    made.switch("cmp9", host="cmp9")
    made.rest(10)
    return made


def one_is_blocked_while_another_moves() -> Drain:
    made = a_cloud("web-1")
    add(made, "lock-1", locked=True, locked_reason="monthly audit")
    drain = Drain(made)
    drain.switch()
    drain.blocked()
    return drain


def without_its_owner() -> Life:
    life = Life(cloud())
    life.body["metadata"]["labels"] = dict(labels("cmp1", Purpose.DRAIN, 1, 1))
    return one_look(life)


def deleted_with_its_namespace() -> Life:
    life = live_without_target()
    for _ in range(3):
        life.one_pass()
        life.cloud.pass_time(timedelta(seconds=2))
    life.delete()
    life.namespace_terminating = True
    life.run()
    return life


def migrations_are_refused() -> Drain:
    made = Drain(a_cloud("web-1"))
    made.refuses_creates = lambda new: "cannot create: 422 every object needs the label team"
    made.switch()
    made.rest(10)
    return made


def others_claim_to_belong_to_it() -> Drain:
    made = Drain(a_cloud("web-1"))
    made.switch()
    made.migrate("evil-1", ident("web-1"), paused=True)
    made.migrations["evil-1"]["metadata"] |= {
        "labels": dict(labels("cmp1", Purpose.DRAIN, 1, 1)),
        "ownerReferences": [
            {
                "apiVersion": API_VERSION,
                "kind": MAINTENANCE,
                "name": "cmp1",
                "uid": made.maintenances["cmp1"]["metadata"]["uid"],
                "controller": True,
            }
        ],
    }
    made.in_maintenance()
    return made


def switched_off() -> Drain:
    made = Drain(a_cloud("web-1"))
    made.switch(enabled=False)
    made.rest(4)
    return made


def spec_changed_since(body: Body) -> Body:
    """As the API server has it right after a commit, before the operator has looked."""
    body["metadata"]["generation"] += 1
    return body


def new(kind: str, spec: Body) -> Body:
    """Right after it was created: the API server says that nobody has looked."""
    metadata = {"name": "cmp1" if kind == MAINTENANCE else "web-1", "uid": "u1", "generation": 1}
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": metadata,
        "spec": spec,
        "status": {"observedGeneration": -1},
    }


def without_a_status(body: Body) -> Body:
    """Under a definition older than this one."""
    del body["status"]
    return body


# ---- the table


@dataclass(frozen=True)
class State:
    """One state; `argo_cd` and `kstatus` are the words that these tools are to say."""

    kind: str
    make: Callable[[], Body]
    argo_cd: str
    kstatus: str


def vmm(life: Callable[[], object], reason: str, argo_cd: str, kstatus: str, *, deleting: bool = False) -> State:
    return State(MIGRATION, lambda: first(life, MIGRATION, reason, deleting=deleting), argo_cd, kstatus)


def hm(life: Callable[[], object], reason: str, argo_cd: str, kstatus: str, *, deleting: bool = False) -> State:
    return State(MAINTENANCE, lambda: first(life, MAINTENANCE, reason, deleting=deleting), argo_cd, kstatus)


OFF = {"host": "cmp1", "enabled": False}

STATES: dict[str, State] = {
    # VMMigration
    "vmm-new": State(MIGRATION, lambda: new(MIGRATION, {"server": {"id": SERVER}}), "Progressing", "InProgress"),
    "vmm-view-of-the-cloud-stale": vmm(without_a_view, "CloudViewStale", "Progressing", "InProgress"),
    "vmm-queued": vmm(behind_another_move, "Queued", "Progressing", "InProgress"),
    "vmm-migrating": vmm(live_without_target, "Migrating", "Progressing", "InProgress"),
    "vmm-stopping-its-server": vmm(cold_with_stop_and_start, "StoppingServer", "Progressing", "InProgress"),
    "vmm-verifying": vmm(cold_of_a_powered_off_server, "Verifying", "Progressing", "InProgress"),
    "vmm-starting-its-server": vmm(cold_with_stop_and_start, "StartingServer", "Progressing", "InProgress"),
    "vmm-retrying": vmm(second_attempt_on_another_target, "Retrying", "Progressing", "InProgress"),
    "vmm-paused": vmm(lambda: one_look(Life(cloud(), {"paused": True})), "Paused", "Suspended", "InProgress"),
    "vmm-stopped-by-the-kill-switch": vmm(stopped, "Stopped", "Suspended", "InProgress"),
    "vmm-blocked": vmm(lambda: one_look(Life(cloud(locked=True))), "Locked", "Degraded", "Failed"),
    "vmm-server-not-found": vmm(lambda: one_look(Life(LittleCloud())), "ServerNotFound", "Degraded", "Failed"),
    "vmm-no-target-is-left": vmm(no_target_is_left, "CloudRefused", "Degraded", "Failed"),
    "vmm-failed": vmm(retries_are_used_up, "CloudRefused", "Degraded", "Failed"),
    "vmm-timed-out": vmm(over_the_deadline_and_aborted, "TimedOut", "Degraded", "Failed"),
    "vmm-no-progress": vmm(behind_others, "NoProgress", "Degraded", "Failed"),
    "vmm-succeeded": vmm(live_without_target, "MigrationSucceeded", "Healthy", "Current"),
    "vmm-on-its-target-already": vmm(on_its_target_already, "AlreadyOnTarget", "Healthy", "Current"),
    "vmm-preflight-passed": vmm(
        lambda: one_look(Life(cloud(), {"preflightOnly": True})), "PreflightPassed", "Healthy", "Current"
    ),
    "vmm-cancelled-while-it-runs": vmm(
        cancelled_while_it_runs, "Aborting", "Progressing", "Terminating", deleting=True
    ),
    "vmm-without-its-owner": vmm(without_its_owner, "OwnerMissing", "Degraded", "Failed"),
    "vmm-deleted-with-its-namespace": vmm(
        deleted_with_its_namespace, "RunsToCompletion", "Progressing", "Terminating", deleting=True
    ),
    "vmm-done-and-its-spec-changed-since": State(
        MIGRATION,
        lambda: spec_changed_since(first(live_without_target, MIGRATION, "MigrationSucceeded")),
        "Progressing",
        "InProgress",
    ),
    # HostMaintenance
    "hm-new": State(MAINTENANCE, lambda: new(MAINTENANCE, OFF), "Progressing", "InProgress"),
    "hm-off": hm(switched_off, "InService", "Healthy", "Current"),
    "hm-released": hm(everything_moves_and_the_host_is_released, "Released", "Healthy", "Current"),
    "hm-queued": hm(two_hosts_and_room_for_one_in_the_budget, "Queued", "Progressing", "InProgress"),
    "hm-cordoning": hm(everything_moves_and_the_host_is_released, "Cordoning", "Progressing", "InProgress"),
    "hm-draining": hm(everything_moves_and_the_host_is_released, "Draining", "Progressing", "InProgress"),
    "hm-draining-but-for-one": hm(one_is_blocked_while_another_moves, "Draining", "Progressing", "InProgress"),
    "hm-verifying": hm(everything_moves_and_the_host_is_released, "Verifying", "Progressing", "InProgress"),
    "hm-in-maintenance": hm(everything_moves_and_the_host_is_released, "InMaintenance", "Healthy", "Current"),
    "hm-in-maintenance-some-stay": hm(powered_off_ones_stay, "InMaintenance", "Healthy", "Current"),
    "hm-refused": hm(refused_while_something_is_blocked, "Locked", "Degraded", "Failed"),
    "hm-blocked": hm(servers_of_every_kind, "NoEligibleTarget", "Degraded", "Failed"),
    "hm-another-one-has-the-host": hm(a_second_operator_has_the_lease, "Conflict", "Degraded", "Failed"),
    "hm-its-migrations-are-refused": hm(migrations_are_refused, "WriteRefused", "Degraded", "Failed"),
    "hm-in-maintenance-others-claim-to-belong-to-it": hm(
        others_claim_to_belong_to_it, "InMaintenance", "Healthy", "Current"
    ),
    "hm-host-not-found": hm(host_that_nobody_knows, "HostNotFound", "Degraded", "Failed"),
    "hm-preflight-passed": hm(preflight_only, "PreflightPassed", "Healthy", "Current"),
    "hm-no-progress": hm(limit_of_the_cloud, "NoProgress", "Degraded", "Failed"),
    "hm-a-server-in-a-task-for-ever": hm(a_build_without_an_end, "TaskStuck", "Degraded", "Failed"),
    "hm-its-nova-compute-never-comes-back": hm(released_with_evacuated_servers, "HostDown", "Degraded", "Failed"),
    "hm-releasing": hm(switched_off_in_the_middle, "Releasing", "Progressing", "InProgress"),
    "hm-returning-its-servers": hm(they_return_but_for_two, "Returning", "Progressing", "InProgress"),
    "hm-deleted-and-releasing": hm(deleted_in_the_middle, "Releasing", "Progressing", "Terminating", deleting=True),
    "hm-off-and-switched-on-since": State(
        MAINTENANCE,
        lambda: spec_changed_since(first(switched_off, MAINTENANCE, "InService")),
        "Progressing",
        "InProgress",
    ),
    "hm-in-maintenance-and-switched-off-since": State(
        MAINTENANCE,
        lambda: spec_changed_since(first(everything_moves_and_the_host_is_released, MAINTENANCE, "InMaintenance")),
        "Progressing",
        "InProgress",
    ),
}
