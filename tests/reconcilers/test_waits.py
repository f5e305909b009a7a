"""Every wait of a resource: after long enough it is Stalled, or its reason is one that may last, by docs/waiting.md."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from testbed.build import ident
from testbed.lifecycle.control_plane import POLICY
from testbed.lifecycle.drains import Drain, add
from testbed.lifecycle.little_cloud import LittleCloud
from vmferry.cloud.actions import Accepted, Action, Outcome, Refused, Unanswered
from vmferry.cloud.model import Migration, Part, Server, ServerGroup, Snapshot
from vmferry.policy import Limits
from vmferry.reconcilers.kill_switch import KillSwitchState
from vmferry.runtime.key import Key
from vmferry.runtime.store import Body

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "waiting.md").read_text(encoding="utf-8")
MIGRATION, MAINTENANCE = "VMMigration", "HostMaintenance"
MINUTE = timedelta(minutes=1)
HASTY = replace(
    POLICY,
    stuck_after=2 * MINUTE,
    timeout_base=MINUTE,
    timeout_per_gib=timedelta(seconds=1),
    stop_timeout=MINUTE,
    limits=Limits(per_source=2, per_target=2, total=10),
)
#: all that lasts for a while is over by then
LONG = 12 * 60.0


@dataclass
class Frozen(LittleCloud):
    """A cloud that accepts what is asked of it, and then does not do some of it."""

    #: names of actions without an effect
    deaf: set[str] = field(default_factory=set)
    #: a server that is stopped or started stays in that task
    hangs: bool = False
    #: why it cannot be read
    down: str | None = None

    def _do(self, action: Action) -> Outcome:
        if type(action).__name__ in self.deaf:
            return Accepted("req-deaf")
        return super()._do(action)

    def snapshot(self) -> Snapshot:
        found = super().snapshot()
        if self.down is None:
            return found
        return replace(found, read_at=dict.fromkeys(Part, self.now - timedelta(hours=1)), trouble=self.down)

    def pass_time(self, span: timedelta) -> None:
        if self.hangs:
            for server in self.servers.values():
                self._due[server.id] = self.now + timedelta(days=1)
        super().pass_time(span)

    def _advance(self, record: Migration) -> None:
        if record.user_id != "somebody":
            super()._advance(record)


class Waits(Drain):
    """What is written is kept: the kind, the reason of Ready, and whether it was Stalled."""

    def __init__(self, cloud: Frozen, **rules: Any) -> None:
        super().__init__(cloud, replace(HASTY, **rules))
        self.frozen = cloud
        self.seen: set[tuple[str, str]] = set()

    def on_status(self, key: Key, before: Body, status: Body) -> None:
        super().on_status(key, before, status)
        self.seen.add((key.kind, of({"status": status})[0]))


def of(body: Body) -> tuple[str, bool]:
    """The reason of Ready, and whether it is Stalled."""
    conditions = {one["type"]: one for one in body.get("status", {}).get("conditions", [])}
    return conditions.get("Ready", {}).get("reason", ""), "Stalled" in conditions


def cloud(*servers: str, **fields: Any) -> Frozen:
    made = Frozen(seconds=8, stuck_after=HASTY.stuck_after, **fields)
    for host in ("cmp1", "cmp2", "cmp3"):
        made.add_host(host)
    for words in servers:
        name, _, state = words.partition(" ")
        add(made, name, vm_state=state or "active")
    return made


def foreign(made: Frozen, name: str, source: str, target: str, **server: Any) -> None:
    """A migration of somebody's that Nova never ends; its server has a task."""
    moved: Server = made.servers[
        add(made, name, source, task_state="migrating", updated=made.now.isoformat(), **server)
    ]
    number = len(made.migrations) + 1
    at = made.now.isoformat()
    made.migrations.append(
        Migration(number, f"f-{number}", moved.id, "live-migration", "running", source, target, "somebody", at, at)
    )


def drain(made: Frozen, seconds: float = LONG, **spec: Any) -> Waits:
    d = Waits(made)
    d.apply("cmp1", **spec)
    d.rest(seconds)
    return d


def single(made: Frozen, seconds: float = LONG, rules: dict[str, Any] | None = None, **spec: Any) -> Waits:
    d = Waits(made, **(rules or {}))
    d.migrate("one", ident("web-1"), **spec)
    d.rest(seconds)
    return d


# ---- maintenances


def cloud_is_down() -> Waits:
    return drain(cloud("web-1", down="503 from Nova"))


def host_is_not_there() -> Waits:
    d = Waits(cloud("web-1"))
    d.apply("cmp1", host="cmp9")
    d.rest(LONG)
    return d


def another_one_has_the_host() -> Waits:
    d = Waits(cloud("web-1"))
    d.apply("aaa", host="cmp1")
    d.rest(20)
    d.apply("cmp1")
    d.rest(LONG)
    return d


def behind_another_host() -> Waits:
    made = cloud("web-1")
    add(made, "other", "cmp2")
    d = Waits(made)
    d.apply("cmp2")
    d.in_maintenance("cmp2")
    d.apply("cmp1")
    d.rest(LONG)
    return d


def under_the_kill_switch(before: bool) -> Waits:
    d = Waits(cloud("web-1", "web-2", "web-3"))
    if before:
        d.stop = KillSwitchState(everywhere=True, message="stopped")
    d.apply("cmp1", maxParallel=1)
    d.rest(6)
    d.stop = KillSwitchState(everywhere=True, message="stopped")
    d.rest(LONG)
    return d


def cordon(*answers: Outcome, deaf: bool = False) -> Waits:
    return drain(cloud("web-1", answers=list(answers), deaf={"DisableService"} if deaf else set()))


def limit_of_the_source() -> Waits:
    made = cloud("web-1")
    foreign(made, "f-1", "cmp1", "cmp2")
    foreign(made, "f-2", "cmp1", "cmp3")
    return drain(made)


def limit_of_the_cloud() -> Waits:
    made = cloud("web-1")
    for host in ("cmp4", "cmp5"):
        made.add_host(host, enabled=False)
    foreign(made, "f-1", "cmp4", "cmp5")
    d = Waits(made, limits=Limits(2, 2, 1))
    d.apply("cmp1")
    d.rest(LONG)
    return d


def its_child_is_paused() -> Waits:
    d = Waits(cloud("web-1"))
    d.admission = lambda body: body["spec"].update(paused=True)
    d.apply("cmp1")
    d.rest(LONG)
    return d


def a_build_without_an_end() -> Waits:
    made = cloud()
    add(made, "new-1", vm_state="building", task_state="spawning", updated=made.now.isoformat())
    return drain(made)


def a_build_holds_room() -> Waits:
    made = cloud("web-1")
    server = add(made, "new-1", vm_state="building", task_state="scheduling")
    made.servers[server] = replace(made.servers[server], host=None)
    made.claimed[server] = "cmp1"
    return drain(made)


def something_comes_for_ever() -> Waits:
    made = cloud()
    foreign(made, "f-1", "cmp2", "cmp1")
    return drain(made)


def released(made: Frozen, spoil: Callable[[Waits], None], **spec: Any) -> Waits:
    d = Waits(made)
    d.apply("cmp1", **spec)
    d.in_maintenance()
    spoil(d)
    d.apply("cmp1", enabled=False)
    d.rest(LONG)
    return d


def deaf_to(action: str) -> Callable[[Waits], None]:
    return lambda d: d.frozen.deaf.add(action)


def refuses(d: Waits) -> None:
    d.frozen.answers = [Refused(403, "Policy doesn't allow it", "req-x")] * 999


def full_of_others(d: Waits) -> None:
    foreign(d.frozen, "f-1", "cmp2", "cmp1")
    foreign(d.frozen, "f-2", "cmp3", "cmp1")


def released_in_the_middle(made: Frozen) -> Waits:
    made.never_ends = True
    d = Waits(made)
    d.apply("cmp1")
    d.run(lambda: bool(made.migrations))
    d.rest(4)
    d.apply("cmp1", enabled=False)
    d.rest(LONG)
    return d


def released_with_evacuated_servers() -> Waits:
    made = cloud("web-1")
    made.set_service("cmp1", up=False, forced_down=True)
    d = Waits(made)
    d.apply("cmp1")
    d.in_maintenance()
    assert made.migrations[-1].status == "done"
    d.apply("cmp1", enabled=False)
    d.rest(LONG)
    return d


# ---- single migrations


def behind_others() -> Waits:
    made = cloud("web-1")
    foreign(made, "f-1", "cmp1", "cmp2")
    foreign(made, "f-2", "cmp1", "cmp3")
    return single(made)


def behind_a_copy() -> Waits:
    made = cloud("web-1")
    foreign(made, "f-1", "cmp1", "cmp3")
    return single(made, rules={"bandwidth": 1})


def behind_its_group() -> Waits:
    made = cloud("web-1")
    foreign(made, "f-1", "cmp2", "cmp3")
    made.groups.append(ServerGroup("g", "ring", "anti-affinity", frozenset({ident("web-1"), ident("f-1")})))
    return single(made)


def deleted_while_it_moves() -> Waits:
    made = cloud("web-1 stopped", never_ends=True)
    d = Waits(made)
    d.migrate("one", ident("web-1"), type="Cold")
    d.rest(10)
    d.delete_migration("one")
    d.rest(LONG)
    return d


def stays_at_its_source() -> Waits:
    made = cloud("web-1", never_ends=True)
    d = Waits(made)
    d.migrate("one", ident("web-1"))
    d.run(lambda: bool(made.migrations))
    made._set(made.migrations[-1], status="completed")
    d.rest(LONG)
    return d


def stopped_by_the_kill_switch() -> Waits:
    d = Waits(cloud("web-1"))
    d.stop = KillSwitchState(everywhere=True, message="stopped")
    d.migrate("one", ident("web-1"))
    d.rest(LONG)
    return d


def every_attempt_fails() -> Waits:
    return single(cloud("web-1", bad_targets={"cmp2", "cmp3"}), retries=1)


def is_not_started_again() -> Waits:
    made = cloud("web-1")
    d = Waits(made)
    d.migrate("one", ident("web-1"), type="Cold", stopIfRunning=True)
    d.run(lambda: made.servers[ident("web-1")].vm_state == "resized")
    made.hangs = True
    d.rest(LONG)
    return d


#: how it waits: what is made of it, of which kind the object is, and its reason after a long time
WAITS: dict[str, tuple[Callable[[], Waits], str, str]] = {
    "the cloud cannot be read": (cloud_is_down, MAINTENANCE, "CloudViewStale"),
    "its host is not there": (host_is_not_there, MAINTENANCE, "HostNotFound"),
    "another one has its host": (another_one_has_the_host, MAINTENANCE, "Conflict"),
    "another host is in maintenance": (behind_another_host, MAINTENANCE, "Queued"),
    "the kill switch, before it begins": (lambda: under_the_kill_switch(True), MAINTENANCE, "Stopped"),
    "the kill switch, while it drains": (lambda: under_the_kill_switch(False), MAINTENANCE, "Stopped"),
    "the cordon is accepted and never happens": (lambda: cordon(deaf=True), MAINTENANCE, "NoProgress"),
    "the cordon is never answered": (lambda: cordon(*[Unanswered("reset")] * 999), MAINTENANCE, "NoProgress"),
    "the cordon is refused": (lambda: cordon(*[Refused(403, "no", "req")] * 999), MAINTENANCE, "CloudRefused"),
    "others use up the limit of its host": (limit_of_the_source, MAINTENANCE, "NoProgress"),
    "others use up the limit of the cloud": (limit_of_the_cloud, MAINTENANCE, "NoProgress"),
    "a person paused its VMMigration": (its_child_is_paused, MAINTENANCE, "Paused"),
    "a build does not end": (a_build_without_an_end, MAINTENANCE, "TaskStuck"),
    "a build holds room of the empty host": (a_build_holds_room, MAINTENANCE, "NoProgress"),
    "a migration to the empty host does not end": (something_comes_for_ever, MAINTENANCE, "NoProgress"),
    "a live migration of it does not end": (
        lambda: drain(cloud("web-1", never_ends=True, deaf={"AbortMigration"})),
        MAINTENANCE,
        "NoProgress",
    ),
    "a cold migration of it does not end": (
        lambda: drain(cloud("web-1 stopped", never_ends=True)),
        MAINTENANCE,
        "NoProgress",
    ),
    "a graceful stop of it does not end": (
        lambda: drain(cloud("web-1", hangs=True), running="ColdMigrate"),
        MAINTENANCE,
        "NoProgress",
    ),
    "the uncordon is accepted and never happens": (
        lambda: released(cloud("web-1"), deaf_to("EnableService")),
        MAINTENANCE,
        "NoProgress",
    ),
    "the uncordon is refused": (lambda: released(cloud("web-1"), refuses), MAINTENANCE, "CloudRefused"),
    "released, and a live migration does not end": (
        lambda: released_in_the_middle(cloud("web-1", deaf={"AbortMigration"})),
        MAINTENANCE,
        "NoProgress",
    ),
    "released, and a cold migration does not end": (
        lambda: released_in_the_middle(cloud("web-1 stopped")),
        MAINTENANCE,
        "NoProgress",
    ),
    "released, and its nova-compute never comes back": (released_with_evacuated_servers, MAINTENANCE, "HostDown"),
    "released, and nothing can return": (
        lambda: released(cloud("web-1"), full_of_others, returnVMs=True),
        MAINTENANCE,
        "NoProgress",
    ),
    "single: the cloud cannot be read": (lambda: single(cloud("web-1", down="503")), MIGRATION, "CloudViewStale"),
    "single: paused": (lambda: single(cloud("web-1"), paused=True), MIGRATION, "Paused"),
    "single: its server is not there": (lambda: single(cloud()), MIGRATION, "ServerNotFound"),
    "single: others use up its limit": (behind_others, MIGRATION, "NoProgress"),
    "single: others use up the bandwidth": (behind_a_copy, MIGRATION, "NoProgress"),
    "single: a member of its group is moved": (behind_its_group, MIGRATION, "NoProgress"),
    "single: its record never shows": (lambda: single(cloud("web-1", late_record=1e9)), MIGRATION, "FactUnknown"),
    "single: a live migration does not end": (
        lambda: single(cloud("web-1", never_ends=True, deaf={"AbortMigration"})),
        MIGRATION,
        "NoProgress",
    ),
    "single: a cold migration does not end": (
        lambda: single(cloud("web-1 stopped", never_ends=True), type="Cold"),
        MIGRATION,
        "NoProgress",
    ),
    "single: deleted, and it does not end": (deleted_while_it_moves, MIGRATION, "NoProgress"),
    "single: its confirmation never happens": (
        lambda: single(cloud("web-1 stopped", deaf={"ConfirmResize"}), type="Cold"),
        MIGRATION,
        "NoProgress",
    ),
    "single: completed, and it stays where it was": (stays_at_its_source, MIGRATION, "FactUnknown"),
    "single: the kill switch": (stopped_by_the_kill_switch, MIGRATION, "Stopped"),
    "single: every attempt fails": (every_attempt_fails, MIGRATION, "CloudRefused"),
    "single: the start after its move does not end": (is_not_started_again, MIGRATION, "NoProgress"),
    "single: its graceful stop does not end": (
        lambda: single(cloud("web-1", hangs=True), type="Cold", stopIfRunning=True),
        MIGRATION,
        "NoProgress",
    ),
}


@cache
def lived(how: str) -> Waits:
    return WAITS[how][0]()


def table(title: str) -> Iterator[tuple[str, str]]:
    """Reasons and kinds of one table of the page."""
    for reasons, kinds in re.findall(
        r"^\| (`.+?) \| (\w+) \|", PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0], re.M
    ):
        for reason in re.findall(r"`(\w+)`", reasons):
            for kind in (MIGRATION, MAINTENANCE) if kinds == "both" else (kinds,):
                yield kind, reason


MAY_LAST = set(table("Waits without a time limit"))


@pytest.mark.parametrize("how", WAITS)
def test_after_a_long_time_it_is_stalled_or_its_reason_may_last(how: str) -> None:
    _, kind, expected = WAITS[how]
    d = lived(how)
    body = d.maintenances["cmp1"] if kind == MAINTENANCE else next(iter(d.migrations.values()))
    reason, stalled = of(body)
    assert reason == expected, d.told(f"{reason}: {body['status']['conditions']}")
    assert stalled or (kind, reason) in MAY_LAST, d.told(f"{how}: {reason} for ever")
    assert not (stalled and "nothing stands against" in str(body["status"]))


def test_every_wait_of_the_page_is_walked() -> None:
    seen = {one for how in WAITS for one in lived(how).seen}
    assert {*MAY_LAST, *table("Waits with a time limit")} - seen == set()
