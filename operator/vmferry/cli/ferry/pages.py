"""What is printed of an object: `why`, `targets`, `status NAME`. Pure: from typed objects to lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vmferry.cli.ferry.outcome import Object, Outcome, Standing, outcome
from vmferry.cli.terminal import Paint, columns, plain
from vmferry.cli.verdict import ExitStatus
from vmferry.prerequisites.enums import Name, Result
from vmferry.reconcilers import conditions as c
from vmferry.resources.hostmaintenance import HostMaintenance
from vmferry.resources.vmmigration import PrerequisiteView, VMMigration
from vmferry.resources.words import MoveState

NOTHING = "nothing stands against it"
COLOURS = {
    Standing.DONE: "green",
    Standing.UNDER_WAY: "cyan",
    Standing.BLOCKED: "red",
    Standing.FAILED: "red",
    Standing.CANNOT_TELL: "yellow",
    Standing.UNSEEN: "yellow",
}
#: what each prerequisite asks for, shortly; docs/prerequisites.md has the rest
EXPECTED: dict[str, str] = {
    Name.POWER_STATE: "active or paused for Live, powered off for Cold; active, off or failed for Evacuate",
    Name.SOURCE_HOST: "its host is up for Live and Cold; down, silent and attested dead for Evacuate",
    Name.TARGET_HOST: "a host that is known, up and enabled, and not the one that it is on",
    Name.AVAILABILITY_ZONE: "the same availability zone, and the traits and aggregates that the flavor demands",
    Name.CPU_MODEL: "a host that offers what the guest uses of its CPU",
    Name.OPERATING_SYSTEM: "the same distribution and version on both hosts; newer only with --os-upgrade, never older",
    Name.HYPERVISOR_VERSION: "the same hypervisor and version; newer only with --os-upgrade, never older",
    Name.STORAGE: "volumes, or storage that both hosts share; Live and Cold may copy local disks",
    Name.CAPACITY: "room on the target, by Placement's inventories",
    Name.BANDWIDTH: "the copies on either host's network stay within the configured bandwidth",
    Name.SERVER_GROUP: "affinity and anti-affinity hold, and no other member is being moved",
    Name.SERVER_LOCK: "the server is not locked, and its owner has not opted it out",
    Name.SERVER_TASK: "no task, no resize to confirm, no other migration",
    Name.DEVICES: "nothing is attached that Nova does not move",
}


def title(obj: Object) -> str:
    metadata = obj.metadata
    name = f"{metadata.namespace}/{metadata.name}" if metadata.namespace else metadata.name
    return plain(f"{obj.KIND} {name}")


def verdict_line(obj: Object, found: Outcome, paint: Paint) -> str:
    """`VMMigration a/b: Succeeded: Live from cmp1 to cmp2 is complete`."""
    word = str(obj.status.phase or "Pending") if found.standing is not Standing.UNSEEN else "Pending"
    return f"{title(obj)}: {paint(plain(word), COLOURS[found.standing])}: {plain(found.message)}"


def withdrawal(obj: Object, before: str = "") -> str:
    """How to take a request back, after `before`; empty for one that only checks, of which nothing starts."""
    if obj.spec.preflight_only:
        return ""
    name = plain(obj.metadata.name)
    if isinstance(obj, HostMaintenance):
        return f"{before}Withdraw it: kubectl ferry release {name}"
    return f"{before}Withdraw it: kubectl ferry cancel {name} -n {plain(obj.metadata.namespace)}"


def why(obj: Object, paint: Paint, *, stays: bool = True) -> list[str]:
    """The refusal as a page: what, where, found, expected, remedy; and if the object stays, what becomes of it."""
    found = outcome(obj)
    head = [verdict_line(obj, found, paint), *_facts(obj)]
    leftovers = _leftovers(obj)
    if found.standing is Standing.UNSEEN:
        return [*head, "", "nothing is known before the operator has reconciled it: is it running?"]
    points = _migration_points(obj) if isinstance(obj, VMMigration) else _maintenance_points(obj)
    if not points and found.standing in (Standing.BLOCKED, Standing.CANNOT_TELL, Standing.FAILED):
        points = [[(found.reason, ""), ("found", found.message)]]
    if not points:
        if found.standing is Standing.UNDER_WAY:
            return [*head, "", f"{NOTHING}; it goes on by itself: {plain(found.message)}", *leftovers]
        return [*head, "", NOTHING, *leftovers]
    hosts: list[str] = []
    if isinstance(obj, VMMigration) and obj.status.ineligible_targets:
        where = plain(f"{obj.metadata.name} -n {obj.metadata.namespace}")
        hosts = ["", f"the hosts: kubectl ferry targets --migration {where}"]
    return [*head, *_numbered(points, paint), *hosts, *leftovers, *(_stays(obj, found) if stays else [])]


def _stays(obj: Object, found: Outcome) -> list[str]:
    over = isinstance(obj, VMMigration) and obj.status.completed_at is not None
    if over or found.standing in (Standing.DONE, Standing.FAILED) or obj.spec.preflight_only:
        return []
    return ["", "The request stays, and starts by itself as soon as nothing blocks it any more.", withdrawal(obj)]


def _leftovers(obj: Object) -> list[str]:
    """They block nothing, but Nova keeps the compute service of their host for them."""
    if not isinstance(obj, HostMaintenance):
        return []
    lines: list[str] = []
    for one in obj.status.leftover_records:
        pairs = _pairs([("found", one.message), ("remedy", one.remedy or "")])
        lines += ["", plain(f"leftover migration record {one.migration} of server {one.server}"), *pairs]
    return lines


def stands_against(obj: Object) -> ExitStatus:
    """`why` in a script: a drain under way that leaves some servers behind is blocked, too."""
    blocked = isinstance(obj, HostMaintenance) and bool(_maintenance_points(obj))
    return max(outcome(obj).standing.exit_status, ExitStatus.BLOCKED if blocked else ExitStatus.ALL_OK)


Point = list[tuple[str, str]]


def _facts(obj: Object) -> list[str]:
    if isinstance(obj, HostMaintenance):
        host = obj.status.host or obj.spec.host
        return _pairs([("host", host), ("reason", obj.spec.reason), ("servers", _counts(obj))])
    status, ref = obj.status, obj.spec.server
    asked = ref.id or f"{ref.project}/{ref.name}"
    server = f"{status.server.name} ({status.server.id}), {status.server.state}" if status.server else asked
    target = status.target_host or (obj.spec.target.host if obj.spec.target else "")
    return _pairs(
        [
            ("server", server),
            ("type", str(status.type or obj.spec.type)),
            ("from", status.source_host or ""),
            ("to", target),
        ]
    )


def _counts(obj: HostMaintenance) -> str:
    p = obj.status.progress
    if p is None:
        return ""
    waiting = f"{p.waiting} waiting ({p.limited_by})" if p.limited_by else f"{p.waiting} waiting"
    text = f"{p.moved} of {p.total - p.left} have left, {p.moving} moving, {waiting}, {p.blocked} blocked"
    return f"{text}, {p.left} stay" if p.left else text


def _pairs(pairs: Iterable[tuple[str, str]]) -> list[str]:
    said = [(name, value) for name, value in pairs if value]
    return ["  " + "  ".join(line) for line in columns(said)] if said else []


def against(obj: VMMigration) -> list[PrerequisiteView]:
    """The prerequisites that are not met, failed ones first; an Unknown one may be among them that is tolerated."""
    met = obj.status.condition(c.PREREQUISITES_MET)
    if met is None or met.status == "True" or obj.status.completed_at is not None:
        return []
    views = obj.status.prerequisites
    return [view for result in (Result.FAILED, Result.UNKNOWN) for view in views if view.result == result]


def _migration_points(obj: VMMigration) -> list[Point]:
    points: list[Point] = []
    for view in against(obj):
        word = view.reason or ("not known" if view.result == Result.UNKNOWN else "Failed")
        points.append(
            [
                (f"{view.name}: {word}", ""),
                ("where", view.host or ""),
                ("found", view.message),
                ("expected", EXPECTED.get(view.name, "")),
                ("remedy", view.remedy or ""),
            ]
        )
    succeeded = obj.status.condition(c.SUCCEEDED)
    if succeeded is not None and succeeded.status == "True":
        return points
    return points + [
        [
            (f"attempt {attempt.number}: {attempt.type}, {attempt.state}", ""),
            ("where", f"{attempt.source_host} to {attempt.target_host}"),
            ("found", attempt.message),
            ("request", attempt.request_id or ""),
        ]
        for attempt in obj.status.attempts
        if attempt.message
    ]


def _maintenance_points(obj: HostMaintenance) -> list[Point]:
    status = obj.status
    points: list[Point] = [
        [
            (f"{one.name} ({one.server}): {one.prerequisite}: {one.reason}", ""),
            ("found", one.message),
            ("expected", EXPECTED.get(one.prerequisite, "")),
            ("remedy", one.remedy or ""),
        ]
        for one in status.blockers
    ]
    more = (status.progress.blocked if status.progress else 0) - len(status.blockers)
    if more > 0:
        points.append([(f"and {more} more servers, which the status does not list", "")])
    blocked = {blocker.server for blocker in status.blockers}
    points += [
        [
            (f"{move.name} ({move.server}): its move failed", ""),
            ("where", move.target_host or ""),
            ("found", move.message or "no reason was given"),
            ("migration", move.migration or ""),
        ]
        for move in status.moves
        if move.state is MoveState.FAILED and move.server not in blocked
    ]
    cordoned = status.condition("Cordoned")
    if cordoned is not None and cordoned.reason == "LeftDisabled":
        points.append([("the compute service is left disabled", ""), ("found", cordoned.message)])
    return points


def _numbered(points: Sequence[Point], paint: Paint) -> list[str]:
    lines: list[str] = []
    for number, point in enumerate(points, start=1):
        (head, _), *rest = point
        lines += ["", paint(f"{number}. {plain(head)}", "red")]
        lines += ["  " + line for line in _pairs(rest)]
    return lines


def targets(obj: VMMigration, paint: Paint) -> list[str]:
    """Where the server may go, best first, and why the other hosts will not do."""
    status = obj.status
    found = outcome(obj)
    lines = _facts(obj)
    views = against(obj)
    if status.eligible_targets:
        rows = [(str(one.rank), one.host, one.message) for one in status.eligible_targets]
        lines += ["", *_table([("RANK", "ELIGIBLE", "WHY"), *rows])]
    if status.ineligible_targets:
        groups = [
            (str(one.hosts), one.reason, f"{one.example}: {one.message or ''}".removesuffix(": "))
            for one in status.ineligible_targets
        ]
        lines += ["", *_table([("HOSTS", "INELIGIBLE", "FOR EXAMPLE"), *groups])]
    if views:
        unmet = [(str(view.name), view.reason or str(view.result), view.host or "-", view.message) for view in views]
        lines += ["", *_table([("PREREQUISITE", "REASON", "HOST", "FOUND"), *unmet])]
    return [*lines, "", paint(plain(found.message), COLOURS[found.standing])]


def details(obj: Object, paint: Paint) -> list[str]:
    """`status NAME`: the facts, the moves or attempts, and that there is a `why`."""
    found = outcome(obj)
    lines = [verdict_line(obj, found, paint), *_facts(obj)]
    if isinstance(obj, HostMaintenance):
        moves = [
            (str(one.state), one.name, one.type or "-", one.target_host or "-", one.message or one.migration or "")
            for one in obj.status.moves
        ]
        if moves:
            lines += ["", *_table([("STATE", "SERVER", "TYPE", "TARGET", "SAID"), *moves])]
    elif obj.status.attempts:
        tried = [
            (str(one.number), one.type, one.source_host, one.target_host, one.state, one.message or "")
            for one in obj.status.attempts
        ]
        lines += ["", *_table([("ATTEMPT", "TYPE", "SOURCE", "TARGET", "STATE", "SAID"), *tried])]
    blocked = isinstance(obj, HostMaintenance) and bool(obj.status.blockers)
    if blocked or found.standing in (Standing.BLOCKED, Standing.FAILED, Standing.CANNOT_TELL):
        namespace = f" -n {obj.metadata.namespace}" if obj.metadata.namespace else ""
        lines += ["", plain(f"why: kubectl ferry why {obj.metadata.name}{namespace}")]
    return lines


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    return ["  ".join(line).rstrip() for line in columns(rows)]
