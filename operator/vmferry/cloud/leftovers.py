"""Leftover migration records: open ones that Nova stopped working on long ago.

A nova-compute that was killed, or a message that was lost, leaves a migration record open for years. Nova gives every
server that it moves a task, and it changes the record or the server as the move goes on. A record is a leftover when
its server has no task, and neither the server nor the record has changed for `after`. It moves nothing, so it uses up
no limit and keeps no host from being empty; but Nova counts it as open, and so does whoever wants to move its server.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from vmferry.cloud.model import Migration, MigrationStage, Server, moment

#: states in which Nova may work on a server that has no task
_BUSY = ("building", "resized")


def last_change(record: Migration) -> datetime | None:
    """When Nova last changed the record; None: it does not tell."""
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
