"""The pages about one object: `why`, `targets`, `status NAME`. Pure: from typed objects to lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vmferry.cli.ferry.outcome import Object, Outcome, Standing, outcome
from vmferry.cli.ferry.views import view_of
from vmferry.cli.ferry.views.migration import unmet
from vmferry.cli.ferry.views.view import Point
from vmferry.cli.terminal import Paint, columns, plain
from vmferry.cli.verdict import ExitStatus
from vmferry.resources.vmmigration import VMMigration

NOTHING = "nothing stands against it"
COLOURS = {
    Standing.DONE: "green",
    Standing.UNDER_WAY: "cyan",
    Standing.BLOCKED: "red",
    Standing.FAILED: "red",
    Standing.CANNOT_TELL: "yellow",
    Standing.UNSEEN: "yellow",
}


def title(obj: Object) -> str:
    metadata = obj.metadata
    name = f"{metadata.namespace}/{metadata.name}" if metadata.namespace else metadata.name
    return plain(f"{obj.KIND} {name}")


def verdict_line(obj: Object, result: Outcome, paint: Paint) -> str:
    """The phase and the message: `VMMigration a/b: Succeeded: Live from cmp1 to cmp2 is complete`."""
    word = str(obj.status.phase or "Pending") if result.standing is not Standing.UNSEEN else "Pending"
    return f"{title(obj)}: {paint(plain(word), COLOURS[result.standing])}: {plain(result.message)}"


def withdrawal(obj: Object, before: str = "") -> str:
    """How to withdraw the request, prefixed with `before`; empty for a preflight, which starts nothing."""
    return (
        "" if obj.spec.preflight_only else f"{before}Withdraw it: kubectl ferry {plain(view_of(obj).withdrawal(obj))}"
    )


def why(obj: Object, paint: Paint, *, stays: bool = True) -> list[str]:
    """Explain what blocks the object: location, finding, expectation, remedy; and, if it stays, what happens next."""
    view, result = view_of(obj), outcome(obj)
    head = [verdict_line(obj, result, paint), *_pairs(view.facts(obj))]
    if result.standing is Standing.UNSEEN:
        return [*head, "", "nothing is known before the operator has reconciled it: is it running?"]
    leftovers = [line for (title, _), *pairs in view.leftovers(obj) for line in ("", plain(title), *_pairs(pairs))]
    points = view.points(obj)
    if not points and result.standing in (Standing.BLOCKED, Standing.CANNOT_TELL, Standing.FAILED):
        points = [[(result.reason, ""), ("found", result.message)]]
    if not points:
        if result.standing is Standing.UNDER_WAY:
            return [*head, "", f"{NOTHING}; it goes on by itself: {plain(result.message)}", *leftovers]
        return [*head, "", NOTHING, *leftovers]
    more = view.see_also(obj)
    hosts = ["", plain(more)] if more else []
    return [*head, *_numbered(points, paint), *hosts, *leftovers, *(_stays(obj, result) if stays else [])]


def _stays(obj: Object, result: Outcome) -> list[str]:
    over = view_of(obj).finished(obj) or result.standing in (Standing.DONE, Standing.FAILED)
    if over or obj.spec.preflight_only:
        return []
    return ["", "The request stays, and starts by itself as soon as nothing blocks it any more.", withdrawal(obj)]


def exit_status_of_why(obj: Object) -> ExitStatus:
    """The exit status of `why`: a drain that proceeds but has blocked servers counts as blocked, too."""
    blocked = ExitStatus.BLOCKED if view_of(obj).leaves_servers(obj) else ExitStatus.ALL_OK
    return max(outcome(obj).standing.exit_status, blocked)


def _pairs(pairs: Iterable[tuple[str, str]]) -> list[str]:
    shown = [(name, value) for name, value in pairs if value]
    return ["  " + "  ".join(line) for line in columns(shown)] if shown else []


def _numbered(points: Sequence[Point], paint: Paint) -> list[str]:
    lines: list[str] = []
    for number, point in enumerate(points, start=1):
        (head, _), *rest = point
        lines += ["", paint(f"{number}. {plain(head)}", "red")]
        lines += ["  " + line for line in _pairs(rest)]
    return lines


def targets(obj: VMMigration, paint: Paint) -> list[str]:
    """List the eligible hosts, best first, and the reasons against the other hosts."""
    status = obj.status
    result = outcome(obj)
    lines = _pairs(view_of(obj).facts(obj))
    views = unmet(obj)
    if status.eligible_targets:
        rows = [(str(target.rank), target.host, target.message) for target in status.eligible_targets]
        lines += ["", *_table([("RANK", "ELIGIBLE", "WHY"), *rows])]
    if status.ineligible_targets:
        groups = [
            (str(group.hosts), group.reason, f"{group.example}: {group.message or ''}".removesuffix(": "))
            for group in status.ineligible_targets
        ]
        lines += ["", *_table([("HOSTS", "INELIGIBLE", "FOR EXAMPLE"), *groups])]
    if views:
        failed = [(str(view.name), view.reason or str(view.result), view.host or "-", view.message) for view in views]
        lines += ["", *_table([("PREREQUISITE", "REASON", "HOST", "FOUND"), *failed])]
    return [*lines, "", paint(plain(result.message), COLOURS[result.standing])]


def details(obj: Object, paint: Paint) -> list[str]:
    """`status NAME`: the facts, the moves or attempts, and a hint at `why`."""
    view, result = view_of(obj), outcome(obj)
    lines = [verdict_line(obj, result, paint), *_pairs(view.facts(obj))]
    if steps := view.steps(obj):
        lines += ["", *_table(steps)]
    if view.leaves_servers(obj) or result.standing in (Standing.BLOCKED, Standing.FAILED, Standing.CANNOT_TELL):
        namespace = f" -n {obj.metadata.namespace}" if obj.metadata.namespace else ""
        lines += ["", plain(f"why: kubectl ferry why {obj.metadata.name}{namespace}")]
    return lines


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    return ["  ".join(line).rstrip() for line in columns(rows)]
