"""Whatever the objects and the cloud hold, a look ends in a status that the API server takes, and in no hot loop.

Objects are drawn from the committed schemas: every field that may be missing may be missing, statuses are those of any
older or newer operator, texts are hostile. Clouds are broken in every way that their types admit.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from testbed.build import NOW, flavor, host, hypervisor, ident, move, room, server, service, snapshot
from testbed.kubernetes.structural import Schema, admitted, schema, violations
from tests.examples import examples
from vmferry.cloud.actions import (
    AbortMigration,
    Accepted,
    Action,
    ColdMigrate,
    DisableService,
    EnableService,
    Evacuate,
    ForceComplete,
    LiveMigrate,
    NotSent,
    Outcome,
    Refused,
    Unanswered,
)
from vmferry.cloud.model import (
    ActionEvent,
    Detail,
    Host,
    HostLook,
    InstanceAction,
    Inventory,
    Migration,
    Part,
    Progress,
    Server,
    ServerGroup,
    Snapshot,
)
from vmferry.policy import Policy
from vmferry.reconcilers.decision import Decision
from vmferry.reconcilers.host_claims import Claim
from vmferry.reconcilers.maintenance import outcome as maintenance_outcome
from vmferry.reconcilers.maintenance import plan as hostmaintenance
from vmferry.reconcilers.migration import outcome as migration_outcome
from vmferry.reconcilers.migration import plan as vmmigration
from vmferry.reconcilers.owned import Deletion
from vmferry.reconcilers.owned_migrations import MAINTENANCE, PURPOSE, ROUND, TRY, OwnedMigration, owned_migration
from vmferry.reconcilers.reads import (
    AnyRead,
    CopyProgress,
    HostLease,
    ReadCopyProgress,
    ReadDeletion,
    ReadHost,
    ReadServer,
    TakeHostLease,
    TryCreate,
)
from vmferry.reconcilers.world import World
from vmferry.resources.base import API_VERSION, format_time
from vmferry.resources.hostmaintenance import HostMaintenance
from vmferry.resources.vmmigration import VMMigration
from vmferry.resources.words import MaintenancePhase

Status = TypeVar("Status")

VMMIGRATION, HOSTMAINTENANCE = schema("vmmigrations"), schema("hostmaintenances")
POLICY = Policy(local_unless_shared=True, host_down_for=timedelta(seconds=30))

HOSTILE = [
    "{{ .Values.secret }}", "${HOME}", "$(id)", "%s%n%(x)s", "{0.__class__}", "\x00\x1b[31m\r\n\x07", "‮gnp.exe",
    "🐋" * 300, "a" * 255, " ", "", "-", "../../etc/passwd", "None", "<script>", "'; drop table", "𝒽ℴ𝓈𝓉", "\u2028",
]  # fmt: skip
LONG = "h" * 255
HOSTS = ["h0", "h1", "h2", "{{host}}", LONG]
NAMES = ["web-1", "{{ name }}", "🐋" * 255, "web\n2"]
#: of these the ones that a request can give: the schema refuses control characters
ADMITTED = [name for name in NAMES if name.isprintable()]
IDS = [ident(name) for name in ("a", "b", "c")]
#: the last one is on no cloud
ALL_IDS = [*IDS, ident("nobody")]
TEXT = st.sampled_from(HOSTILE) | st.text(max_size=20)
#: seconds from the present, up to years away in both directions
AWAY = st.sampled_from([0, -1, 1, -5, -30, -59, -61, -300, -3600, 30, 3600, -(10**8), 10**8])
MOMENT = AWAY.map(lambda seconds: NOW + timedelta(seconds=seconds))
TIME = MOMENT.map(format_time) | st.sampled_from(
    ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-03-02T14:00:00.5+02:00"]
)
USUALLY = st.sampled_from([True, True, True, False])


def hosts_word(draw_from: list[str] = HOSTS) -> st.SearchStrategy[str]:
    return st.sampled_from([*draw_from, "gone", f"hypervisor-{HOSTS[0]}"])


def words(path: str, node: Schema) -> st.SearchStrategy[Any] | None:
    """What is drawn for the fields that mean something."""
    last = path.rsplit(".", 1)[-1].removesuffix("[]")
    if node.get("format") == "date-time":
        return TIME
    if node["type"] != "string" or "enum" in node:
        return None
    if last in ("host", "sourceHost", "targetHost", "example"):
        return hosts_word()
    if path.endswith(("server.id", "blockers[].server", "moves[].server")):
        return st.sampled_from(ALL_IDS)
    if path == "status.conditions[].type":
        return st.sampled_from(
            [
                "Ready",
                "Reconciling",
                "Stalled",
                "PrerequisitesMet",
                "Succeeded",
                "TypeResolved",
                "Cordoned",
                "Drained",
                "X",
            ]
        )
    if path == "status.conditions[].status":
        return st.sampled_from(["True", "False", "Unknown"])
    if path == "status.conditions[].reason":
        return st.sampled_from(["Released", "Uncordoning", "Cordoning", "CloudRefused", "Conflict", "Queued", "A1"])
    if last == "state":
        return st.sampled_from(
            ["Requested", "Refused", "NotSent", "completed", "done", "running", "error", "ServerGone", "w"]
        )
    if last in ("migrationID", "requestID"):
        return st.sampled_from(["m-1", "m-2", "req-1", "never"])
    if last == "stopReason":
        return st.sampled_from(["Deleted", "TimedOut", "x"])
    if last in ("timeout", "ttlAfterFinished"):
        return st.sampled_from(["0s", "1s", "30m", "999999h999999m999999s"])
    if last in ("source", "target"):
        return st.sampled_from(["Ubuntu 22.04", "Ubuntu 24.04", "Plan 9", ""])
    return TEXT if "pattern" not in node else None


def a_spec(node: Schema) -> st.SearchStrategy[dict[str, Any]]:
    spec: st.SearchStrategy[dict[str, Any]] = admitted(node["properties"]["spec"], words, "spec")
    return spec


def a_status(node: Schema) -> st.SearchStrategy[dict[str, Any]]:
    """Any subset of fields, and often none."""
    status: st.SearchStrategy[dict[str, Any]] = admitted(node["properties"]["status"], words, "status")
    return st.just({}) | status


@st.composite
def a_migration_spec(draw: st.DrawFn) -> dict[str, Any]:
    """The server is named one way; the CEL rule sees to that."""
    spec = draw(a_spec(VMMIGRATION))
    by_id = draw(USUALLY)
    spec["server"] = {"id": draw(st.sampled_from(ALL_IDS))} if by_id else {
        "name": draw(st.sampled_from([*ADMITTED, "nobody"])),
        "project": draw(st.sampled_from(["p-shop", "shop", "{{p}}"])),
    }  # fmt: skip
    return spec


@st.composite
def metadata(draw: st.DrawFn, name: str = "x") -> dict[str, Any]:
    more: dict[str, Any] = {}
    if not draw(USUALLY):
        more |= {"deletionTimestamp": format_time(NOW)}
    if draw(st.booleans()):
        more |= {"finalizers": ["vmferry.dev/migration"]}
    if draw(st.booleans()):
        more |= {"creationTimestamp": format_time(draw(MOMENT))}
    return {"name": name, "namespace": "n", "uid": f"uid-{name}", "generation": draw(st.integers(1, 3)), **more}


@st.composite
def migrations(draw: st.DrawFn) -> VMMigration:
    body = {"metadata": draw(metadata("m")), "spec": draw(a_migration_spec()), "status": draw(a_status(VMMIGRATION))}
    return VMMigration.read(body)


@st.composite
def maintenances(draw: st.DrawFn) -> HostMaintenance:
    name = draw(st.sampled_from(["hm", "a" * 253, "cmp1.example.org"]))
    spec, status = draw(a_spec(HOSTMAINTENANCE)), draw(a_status(HOSTMAINTENANCE))
    return HostMaintenance.read({"metadata": draw(metadata(name)), "spec": spec, "status": status})


# ---- clouds


@st.composite
def hosts(draw: st.DrawFn, name: str) -> Host:
    amounts = st.sampled_from([0, -1, 1, 2**40])
    inventories: Any = room()
    if not draw(USUALLY):
        some = st.builds(Inventory, amounts, amounts, st.none() | amounts)
        inventories = draw(st.none() | st.dictionaries(st.sampled_from(["VCPU", "MEMORY_MB", "CUSTOM_X"]), some))
    return host(
        name,
        up=draw(USUALLY),
        enabled=draw(USUALLY),
        forced_down=not draw(USUALLY),
        disabled_reason=draw(st.none() | TEXT),
        zone=draw(st.sampled_from(["nova", "", "{{z}}"])),
        last_seen=draw(st.none() | MOMENT),
        hypervisor=hypervisor(name, version=draw(st.sampled_from([0, -1, 6_002_000, 10**12])))
        if draw(USUALLY)
        else None,
        inventories=inventories,
        traits=frozenset(draw(st.sets(TEXT, max_size=2))),
    )


@st.composite
def servers(draw: st.DrawFn, id_: str) -> Server:
    state = draw(
        st.sampled_from(
            ["active", "active", "stopped", "paused", "suspended", "error", "building", "resized", "zombie", ""]
        )
    )
    size = st.sampled_from([0, 1, -1, 2**40])
    return server(
        id=id_,
        name=draw(st.sampled_from([*NAMES, ""])),
        vm_state=state,
        status=draw(st.sampled_from(["ACTIVE", "SHUTOFF", "UNKNOWN", "🐋" * 99, ""])),
        task_state=draw(st.sampled_from([None, None, "migrating", "powering-off", "deleting", "dreaming"])),
        host=draw(st.sampled_from([*HOSTS, "gone", None, ""])),
        power_state=draw(st.integers(-1, 8)),
        locked=not draw(USUALLY),
        locked_reason=draw(st.none() | TEXT),
        fault=draw(st.none() | TEXT),
        metadata=draw(st.dictionaries(st.sampled_from(["migration-priority", "{{x}}"]), TEXT, max_size=1)),
        image_id=draw(st.sampled_from([None, "image-1"])),
        flavor=flavor() if draw(USUALLY) else flavor(vcpus=draw(size), memory_mb=draw(size), disk_gb=draw(size), swap_mb=draw(size)),  # noqa: E501
        pinned_availability_zone=draw(st.sampled_from([None, None, "elsewhere"])),
    )  # fmt: skip


@st.composite
def records(draw: st.DrawFn) -> tuple[Migration, ...]:
    made = []
    for number in range(1, draw(st.integers(0, 3)) + 1):
        made.append(  # noqa: PERF401
            Migration(
                id=draw(st.sampled_from([number, 0, -1, 2**31])),
                uuid=f"m-{number}",
                server_id=draw(st.sampled_from(ALL_IDS)),
                type=draw(st.sampled_from(["live-migration", "migration", "resize", "evacuation", "teleport"])),
                status=draw(st.sampled_from(["accepted", "running", "finished", "completed", "done", "error", "cancelled", "x" * 99])),  # noqa: E501
                source_host=draw(st.none() | st.sampled_from([*HOSTS, "gone"])),
                target_host=draw(st.none() | st.sampled_from([*HOSTS, "gone", ""])),
                user_id=draw(st.sampled_from(["vmferry", "somebody", None])),
                created_at=draw(st.sampled_from(["", "yesterday", "2026-03-02T11:59:59", "9999-12-31T23:59:59+00:00"])),
                old_flavor_id=1,
                new_flavor_id=draw(st.sampled_from([1, 2, None])),
            )
        )  # fmt: skip
    return tuple(made)


@st.composite
def clouds(draw: st.DrawFn) -> Snapshot:
    fleet = [draw(hosts(name)) for name in HOSTS if draw(USUALLY)]
    everyone = [draw(servers(one)) for one in IDS if draw(USUALLY)]
    policy = draw(st.sampled_from(["anti-affinity", "affinity", "soft-affinity", "feng-shui"]))
    group = ServerGroup(
        "g", "{{g}}", policy, frozenset(draw(st.sets(st.sampled_from(ALL_IDS)))), draw(st.integers(0, 2))
    )
    read_at: Any = dict.fromkeys(Part, NOW - timedelta(seconds=draw(st.sampled_from([0, 0, 0, 0, 61, -61]))))
    if not draw(st.sampled_from([True] * 9 + [False])):
        read_at.pop(Part.HOSTS)
    return snapshot(
        everyone,
        fleet,
        draw(records()),
        server_groups=[group],
        read_at=read_at,
        trouble=draw(st.none() | TEXT),
        ports=draw(st.sampled_from([None, {}, {IDS[0]: ("direct", "{{vnic}}")}])),
        user_id=draw(st.sampled_from(["vmferry", None])),
    )  # fmt: skip


@st.composite
def actions(draw: st.DrawFn) -> tuple[InstanceAction, ...]:
    event = st.builds(ActionEvent, TEXT, st.none() | TEXT, st.none() | TEXT, st.none() | TEXT)
    return tuple(
        InstanceAction(
            draw(st.sampled_from(["req-1", "req-2", "🐋" * 99])),
            draw(st.sampled_from(["live-migration", "migrate", "evacuate", "stop", "dance"])),
            draw(st.none() | TEXT),
            draw(st.sampled_from([None, "vmferry", "somebody"])),
            draw(st.none() | MOMENT),
            tuple(draw(st.lists(event, max_size=1))),
        )
        for _ in range(draw(st.integers(0, 2)))
    )


def read(draw: Any, world: World, needs: AnyRead) -> World:
    """What is read afresh may be another cloud than the shared view's: things go on meanwhile."""
    view = world.snapshot
    match needs:
        case ReadServer():
            seen = view.servers.get(needs.server_id)
            if not draw(USUALLY):
                seen = draw(st.none() | servers(needs.server_id))
            history = view.migrations_by_server.get(needs.server_id, ())
            return world.with_answer(needs, Detail(NOW, seen, history, draw(actions()) if needs.actions else None))
        case ReadCopyProgress():
            size = st.sampled_from([0, -1, 1, 2**62, 2**70])
            progress = draw(st.none() | st.builds(Progress, size, size, size, size))
            return world.with_answer(needs, CopyProgress(progress))
        case ReadHost():
            found, name = view.hosts.get(needs.host), needs.host
            of = found.service if found and draw(USUALLY) else draw(st.sampled_from([None, service(name)]))
            ids = st.frozensets(st.sampled_from(ALL_IDS), max_size=2)
            here = frozenset(view.servers_by_host.get(name, ()))
            moving = tuple(m for m in view.migrations.values() if m.open and name in (m.source_host, m.target_host))
            on_it = here if draw(USUALLY) else draw(ids)
            look = HostLook(name, NOW, of, on_it, draw(st.none() | ids), draw(st.none() | ids), moving)
            return world.with_answer(needs, look)
        case TakeHostLease():
            holder = draw(st.sampled_from([None, None, None, "{{other}}"]))
            return world.with_answer(needs, HostLease(needs.host, holder))
        case TryCreate():
            return world.with_answer(needs, needs.new.name)
        case ReadDeletion():
            return world.with_answer(needs, Deletion())


OUTCOMES: st.SearchStrategy[Outcome] = st.one_of(
    st.builds(Accepted, st.none() | st.sampled_from(["req-9", "r" * 36])),
    st.builds(Refused, st.sampled_from([400, 403, 404, 409, 503, 0]), TEXT, st.none() | st.just("req-9")),
    st.builds(Unanswered, TEXT),
    st.builds(NotSent, TEXT),
)


# ---- what must hold


def takes(status: Any, node: Schema) -> None:
    """The API server would take the status."""
    wrong = list(violations(status.to_json(), node["properties"]["status"], "status"))
    assert not wrong, wrong


def decided(draw: Any, world: World, plan: Callable[[World], Decision[Status]]) -> Decision[Status]:
    """The decision once all that it needs was read."""
    decision = plan(world)
    for _ in range(4):
        if decision.needs is None:
            break
        sensible_wait(decision, ended=False)
        world = read(draw, world, decision.needs)
        decision = plan(world)
    assert decision.needs is None, f"never enough: {decision.needs}"
    return decision


def sensible_wait(decision: Decision[Any], ended: bool) -> None:
    wait = decision.requeue_after
    if wait is None:
        assert ended, "nobody looks at it again, and it is not over"
    else:
        assert wait >= timedelta(seconds=1), f"a hot loop: {wait}"


def look_at_migration(draw: Any, obj: VMMigration, view: Snapshot) -> None:
    world = World(
        view,
        moves=tuple(move(one, draw(hosts_word())) for one in view.servers.values() if not draw(USUALLY)),
        in_maintenance=frozenset(draw(st.sets(hosts_word(), max_size=1))),
    )
    decision = decided(draw, world, lambda world: vmmigration.plan(obj, world, NOW, POLICY))
    takes(decision.status, VMMIGRATION)
    sensible_wait(decision, ended=decision.status.completed_at is not None)
    assert all(0 < len(event.message) <= 1024 and event.reason for event in decision.events)
    if decision.action is None:
        return
    known = obj.status.server.id if obj.status.started_at and obj.status.server else obj.spec.server.id
    named = view.find_servers(obj.spec.server.name or "", obj.spec.server.project or "")
    check_server_action(decision.action, known or named[0].id, obj, view)
    settled, events = migration_outcome.record_outcome(
        obj.model_copy(update={"status": decision.status}), decision.action, draw(OUTCOMES), NOW
    )
    takes(settled, VMMIGRATION)
    assert all(len(event.message) <= 1024 for event in events)


def check_server_action(action: Action, server_id: str, obj: VMMigration, view: Snapshot) -> None:
    assert not isinstance(action, DisableService | EnableService)
    assert action.server_id == server_id, "another server than the object's"
    if isinstance(action, AbortMigration | ForceComplete):
        own = [m for m in view.migrations.values() if m.id == action.migration_id]
        assert any(m.server_id == server_id for m in own), "another server's migration"
    if isinstance(action, LiveMigrate | ColdMigrate | Evacuate):
        target = view.hosts[action.target_host]
        wanted = obj.spec.target
        assert wanted is None or target.answers_to(wanted.host), "another host than the one that is asked for"
        assert target.service.up and target.service.enabled and not target.service.forced_down
        still = [m for m in view.migrations_by_server.get(server_id, ()) if m.open]
        assert not still, f"a move is asked for while one is open: {still}"


@st.composite
def children(draw: st.DrawFn) -> tuple[OwnedMigration, ...]:
    made = []
    for n in range(draw(st.integers(0, 3))):
        obj = draw(migrations())
        obj.spec.server.id = draw(st.sampled_from(ALL_IDS))
        obj.metadata.name = obj.metadata.uid = f"child-{n}"
        obj.metadata.labels = {
            MAINTENANCE: "hm",
            PURPOSE: draw(st.sampled_from(["drain", "return", "party"])),
            ROUND: draw(st.sampled_from(["0", "1", "2", "999", "-1", "x"])),
            TRY: draw(st.sampled_from(["1", "2", "99", "{{n}}"])),
        }
        owner = {"apiVersion": API_VERSION, "kind": "HostMaintenance", "name": "hm", "uid": "u", "controller": True}
        obj = VMMigration.read(obj.model_dump(mode="json", by_alias=True, exclude_none=True) | {
            "metadata": {**obj.metadata.to_json(), "ownerReferences": [owner]}
        })  # fmt: skip
        made.append(owned_migration(obj))
    return tuple(made)


CLAIM = st.builds(
    Claim,
    st.sampled_from(["other", "{{ x }}"]),
    st.sampled_from(["uid-a", "uid-z"]),
    hosts_word(),
    st.none() | MOMENT,
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
DNS = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")


def look_at_maintenance(draw: Any, obj: HostMaintenance, view: Snapshot) -> None:
    world = World(
        view,
        owned=draw(children()),
        claims=tuple(draw(st.lists(CLAIM, max_size=1))),
        in_maintenance=frozenset(draw(st.sets(hosts_word(), max_size=1))),
    )
    decision = decided(draw, world, lambda world: hostmaintenance.plan(obj, world, NOW, POLICY))
    takes(decision.status, HOSTMAINTENANCE)
    over = (MaintenancePhase.RELEASED, MaintenancePhase.IN_SERVICE)
    sensible_wait(decision, ended=decision.status.phase in over)
    assert all(0 < len(event.message) <= 1024 and event.reason for event in decision.events)
    p = decision.status.progress
    if p is not None and p != obj.status.progress:
        assert p.total == p.moved + p.moving + p.waiting + p.blocked + p.staying
    for new in decision.creates:
        assert len(new.name) <= 253 and DNS.fullmatch(new.name), new.name
        assert all(len(value) <= 63 and LABEL.fullmatch(value) for _, value in new.labels), new.labels
        assert new.spec.server.id in view.servers and new.spec.target.host in view.hosts
    names = {child.name for child in world.owned}
    assert all(child.name in names for child in decision.deletes)
    if decision.action is None:
        return
    action = decision.action
    assert isinstance(action, DisableService | EnableService)
    word = obj.status.host if obj.status.admitted_at and obj.status.host else obj.spec.host
    assert view.hosts[action.host].answers_to(word), "another host than the object's"
    look = world.answer(ReadHost)
    of = {view.hosts[action.host].service.id, look.service.id if look and look.service else None}
    assert action.service_id in of, "another service than its host's"
    if isinstance(action, DisableService):
        assert len(action.reason) <= 255 and action.reason.isprintable()
    settled, events = maintenance_outcome.record_outcome(
        obj.model_copy(update={"status": decision.status}), action, draw(OUTCOMES), NOW
    )
    takes(settled, HOSTMAINTENANCE)
    assert all(len(event.message) <= 1024 for event in events)


SETTINGS = examples(
    80,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@SETTINGS
@given(st.data())
def test_whatever_a_migration_holds_a_look_at_it_ends_well(data: st.DataObject) -> None:
    look_at_migration(data.draw, data.draw(migrations()), data.draw(clouds()))


@SETTINGS
@given(st.data())
def test_whatever_a_maintenance_holds_a_look_at_it_ends_well(data: st.DataObject) -> None:
    look_at_maintenance(data.draw, data.draw(maintenances()), data.draw(clouds()))
