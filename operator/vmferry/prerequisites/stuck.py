"""Detection of work that Nova should have finished long ago: a server's task, or a migration record.

Both look like work in progress, but waiting for them would never end.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from vmferry.cloud.leftovers import last_change
from vmferry.cloud.model import Migration, MigrationStage, Server, moment
from vmferry.prerequisites.enums import Reason

#: tasks of a server that Nova is deleting
DELETING = ("deleting", "soft-deleting")
#: the statuses in which Nova can abort a live migration
_ABORTABLE = ("queued", "preparing", "running")
_DATABASE = (
    "make certain that Nova does nothing with it, then set it to `error` in the cell's database: "
    "UPDATE migrations SET status='error' WHERE uuid='{uuid}'; Nova's API ends no record of an idle server"
)
_WHERE = "check first where its guest runs (`virsh list` on both hosts)"


@dataclass(frozen=True, slots=True)
class Stuck:
    """Work that does not end, and the remedy."""

    reason: Reason
    message: str
    remedy: str


def stuck(server: Server, records: Iterable[Migration], now: datetime, after: timedelta) -> Stuck | None:
    """The server's task or record that has not changed for `after`, or None. `now` is the cloud's time."""
    records = tuple(records)
    leftover = next((m for m in records if m.stage is MigrationStage.LEFTOVER), None)
    if leftover is not None:
        return left_over(leftover)
    running = next((m for m in records if m.stage is MigrationStage.IN_FLIGHT), None)
    if running is None and server.task_state is None and server.vm_state != "building":
        return None
    since = unchanged_since(server, running, now, after)
    if since is None:
        return None
    what, remedy = _task(server, running)
    return Stuck(Reason.TASK_STUCK, f"{what}, unchanged since {since:%Y-%m-%dT%H:%M:%SZ}", remedy)


def unchanged_since(
    server: Server | None, record: Migration | None, now: datetime, after: timedelta
) -> datetime | None:
    """When Nova last changed the server or the record, if at least `after` ago; None: more recently, or unknown."""
    times = [moment(server.updated)] if server is not None else []
    times += [last_change(record)] if record is not None else []
    known = [one for one in times if one is not None]
    if not known or len(known) < len(times):
        return None
    return max(known) if now - max(known) >= after else None


def left_over(record: Migration) -> Stuck:
    changed = last_change(record)
    since = f" since {changed:%Y-%m-%dT%H:%M:%SZ}" if changed else ""
    return Stuck(
        Reason.LEFTOVER_RECORD,
        f"{record.type} {record.uuid} from {record.source_host} to {record.target_host} is {record.status}, unchanged"
        f"{since}, and Nova is busy with nothing: the record is a leftover",
        _DATABASE.format(uuid=record.uuid),
    )


def _task(server: Server, record: Migration | None) -> tuple[str, str]:
    on = f"nova-compute on {server.host}" if server.host else "nova-compute"
    if server.task_state in DELETING:
        return (
            f"it is being deleted ({server.task_state})",
            f"`openstack server delete --force {server.id}`; if that does not help, restart {on}: it goes on deleting "
            "when it starts",
        )
    if record is not None:
        what = f"{record.type} {record.uuid} moves it and is {record.status}"
        if record.type != "live-migration":
            return what, f"check nova-compute's log on {record.source_host} and {record.target_host}; {_WHERE}"
        if record.status in _ABORTABLE and server.task_state == "migrating":
            return what, f"`openstack server migration abort {server.id} {record.id}`"
        return (
            what,
            f"{_WHERE}; if it is on {record.source_host}, restart nova-compute there: it resets the server when it "
            f"starts. Then {_DATABASE.format(uuid=record.uuid)}",
        )
    if server.vm_state == "building":
        task = f" ({server.task_state})" if server.task_state else ""
        return f"it is being built{task}", f"`openstack server delete {server.id}`, and create it anew"
    return (
        f"Nova is busy with it: {server.task_state}",
        f"check the log of {on}; if it does nothing with the server, `openstack server set --state active "
        f"{server.id}` resets its task (`--state error` if it does not run)",
    )
