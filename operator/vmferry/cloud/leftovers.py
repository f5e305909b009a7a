"""Leftover migration records: open records that Nova stopped working on long ago.

A killed nova-compute or a lost message leaves a migration record open for years. During a move, Nova sets the server's
task state and keeps changing the record or the server. A record is therefore a leftover if its server has no task and
neither the server nor the record has changed for `after`. It moves nothing, so it uses up no limit and does not keep a
host from being empty; but Nova still counts it as open when its server is to be moved.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from vmferry.cloud.model import Migration, MigrationStage, Server, moment

#: states in which Nova may work on a server that has no task
_BUSY = ("building", "resized")


def last_change(record: Migration) -> datetime | None:
    """When Nova last changed the record; None if its time cannot be parsed."""
    return moment(record.updated_at or record.created_at)


def marked(
    records: Iterable[Migration], servers: Mapping[str, Server], now: datetime, after: timedelta
) -> list[Migration]:
    """The records, each marked as a leftover exactly if it is one. `now` is the cloud's time."""
    return [_marked(record, servers.get(record.server_id), now, after) for record in records]


def _marked(record: Migration, server: Server | None, now: datetime, after: timedelta) -> Migration:
    plain = replace(record, leftover=False) if record.leftover else record
    found = plain.stage in (MigrationStage.IN_FLIGHT, MigrationStage.UNKNOWN) and _is_idle(plain, server, now - after)
    return record if found == record.leftover else replace(record, leftover=found)


def _is_idle(record: Migration, server: Server | None, since: datetime) -> bool:
    changed = last_change(record)
    if changed is None or changed > since:
        return False
    if server is None:
        return True
    updated = moment(server.updated)
    quiet = updated is not None and updated <= since
    return quiet and server.task_state is None and server.vm_state not in _BUSY
