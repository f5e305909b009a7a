"""Incremental updates of a snapshot's indexes: the cost depends on what changed, not on the size of the cloud."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from vmferry.cloud.model import Migration, Server


def reindex_servers(
    by_host: Mapping[str, tuple[str, ...]], before: Mapping[str, Server], changed: Mapping[str, Server | None]
) -> Mapping[str, tuple[str, ...]]:
    """`by_host`, built from the servers `before`, updated with the changed servers (None: deleted).

    Only hosts that lost or gained servers cost time.
    """
    left: dict[str, set[str]] = {}
    came: dict[str, list[str]] = {}
    for server_id, server in changed.items():
        known = before.get(server_id)
        was, now = known.host if known else None, server.host if server else None
        if was == now:
            continue
        if was:
            left.setdefault(was, set()).add(server_id)
        if now:
            came.setdefault(now, []).append(server_id)
    if not left and not came:
        return by_host
    found = dict(by_host)
    for host in left.keys() | came.keys():
        gone = left.get(host, ())
        ids = (*[one for one in found.get(host, ()) if one not in gone], *came.get(host, ()))
        if ids:
            found[host] = ids
        else:
            del found[host]
    return found


def reindex_migrations(
    by_server: Mapping[str, tuple[Migration, ...]], changed: Iterable[Migration], lost: Iterable[Migration]
) -> dict[str, tuple[Migration, ...]]:
    """`by_server` with new and changed migrations and without lost ones; only their servers cost time."""
    gone = {migration.uuid for migration in lost}
    by_id: dict[str, dict[str, Migration]] = {migration.server_id: {} for migration in lost}
    for migration in changed:
        by_id.setdefault(migration.server_id, {})[migration.uuid] = migration
    found = dict(by_server)
    for server_id, its in by_id.items():
        known = {m.uuid: m for m in found.pop(server_id, ())} | its
        kept = [m for m in known.values() if m.uuid not in gone]
        if kept:
            found[server_id] = tuple(sorted(kept, key=lambda m: m.id, reverse=True))
    return found
