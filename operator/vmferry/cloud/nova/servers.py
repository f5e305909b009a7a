"""Servers, their migrations, and the actions requested on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

from vmferry.cloud.model import OPEN_STATUSES, InstanceAction, Migration, Progress, Server, ServerGroup
from vmferry.cloud.nova import parse
from vmferry.cloud.nova.answers import CellUnreachableError, CloudError, dotted, parsed, reads
from vmferry.cloud.nova.http import Bounds, Http

#: shows a server's requested availability zone (2.96) and its image's properties (2.98)
SERVER_VIEW = (2, 98)
#: size of the page of newest migrations: one that Nova has not changed since its creation has no `updated_at`, so
#: `changes-since` does not return it
NEWEST = 20
#: age up to which ended migrations are read
RECENT = timedelta(hours=1)


class ServerReads(Http):
    """Reads of servers, builds, migrations, instance actions and server groups."""

    @reads
    def servers(self, changes_since: datetime | None = None) -> tuple[list[Server], set[str]]:
        """All servers of all projects, or those changed since then and every build; and the ids of deleted servers.

        `changes-since` does not return a server whose record Nova has not changed since its creation, such as a build
        that waits for its host, so builds are read separately. Nor does it return a server that was deleted before it
        had a host. Servers of an unreachable cell are missing in any case.
        """
        # builds first, so that the list of changes, which is read later, replaces them
        servers = {} if changes_since is None else {server.id: server for server in self.builds()}
        gone: set[str] = set()
        for raw in self._server_pages(changed_since(changes_since)):
            if raw["status"] in parse.GONE:
                gone.add(raw["id"])
                continue
            try:
                servers[raw["id"]] = parsed(parse.server, raw)
            except CellUnreachableError:
                continue  # lists with a filter or a limit leave such a server out as well
        return [server for server in servers.values() if server.id not in gone], gone

    @reads
    def builds(self) -> list[Server]:
        """Every server being built, of all projects; it has no host until the scheduler has placed it."""
        raws = self._server_pages({"status": "BUILD"})
        return [parsed(parse.server, raw) for raw in raws if raw["status"] not in parse.GONE]

    @reads
    def server(self, server_id: str) -> Server | None:
        """One server now; None if Nova itself answers that it does not exist."""
        raw = self._compute(f"/servers/{server_id}", route="/servers/{id}", microversion=self._of_servers)
        return None if raw is None else parsed(parse.server, raw["server"])

    @reads
    def migrations(self, changes_since: datetime | None = None) -> list[Migration]:
        """All migrations changed since then; with None, all open migrations and those of the last hour.

        Nova forgets the migrations of a deleted server.
        """
        migrations: dict[str, Migration] = {}
        since = changes_since or self.cloud_time() - RECENT
        for raw in self._migration_pages(changed_since(since)):
            migrations[raw["uuid"]] = parsed(parse.migration, raw)
        for raw in self._migration_pages({}, page=NEWEST):
            if (parse.time(raw["created_at"]) or since) < since:
                break
            migrations[raw["uuid"]] = parsed(parse.migration, raw)
        if changes_since is None:
            for status in OPEN_STATUSES:
                for raw in self._migration_pages({"status": status}):
                    migrations[raw["uuid"]] = parsed(parse.migration, raw)
        return list(migrations.values())

    @reads
    def server_migrations(self, server_id: str) -> tuple[Migration, ...]:
        """Every migration of the server, newest first; empty for a server that is unknown or deleted."""
        raws = self._migration_pages({"instance_uuid": server_id})
        return tuple(sorted((parsed(parse.migration, raw) for raw in raws), key=lambda m: m.id, reverse=True))

    @reads
    def actions(self, server_id: str, request_id: str | None = None) -> tuple[InstanceAction, ...]:
        """The instance actions of the server, newest first; empty if the server is unknown.

        The action of `request_id`, or else the newest action, includes its events.
        """
        path = f"/servers/{server_id}/os-instance-actions"
        raw = self._compute(path, route="/servers/{id}/os-instance-actions")
        if raw is None:
            return ()
        actions = [parsed(parse.action, entry) for entry in raw["instanceActions"]]
        wanted = request_id or (actions[0].request_id if actions else None)
        if any(action.request_id == wanted for action in actions):
            answer = self._compute(f"{path}/{wanted}", route="/servers/{id}/os-instance-actions/{request}")
            if answer is not None:
                full = parsed(parse.action, parse.with_hidden_events(answer["instanceAction"]))
                actions = [full if action.request_id == wanted else action for action in actions]
        return tuple(actions)

    @reads
    def progress(self, server_id: str, migration_id: int) -> Progress | None:
        """Progress of a live migration's copy; None before it is queued, after it ended, and for other types."""
        try:
            raw = self._compute(
                f"/servers/{server_id}/migrations/{migration_id}", route="/servers/{id}/migrations/{migration}"
            )
        except CloudError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise
        return None if raw is None else parsed(parse.progress, raw["migration"])

    @reads
    def server_groups(self) -> list[ServerGroup]:
        """The server groups of all projects. Nova pages them by offset; only an empty page marks the end."""
        groups: dict[str, ServerGroup] = {}
        offset, bounds = 0, Bounds("/os-server-groups")
        while True:
            query = {"all_projects": "1", "limit": str(self._page), "offset": str(offset)}
            raws = self._must("/os-server-groups", query)["server_groups"]
            if not raws:
                return list(groups.values())
            bounds.next(raws[0]["id"])
            groups.update((group.id, group) for group in (parsed(parse.server_group, raw) for raw in raws))
            offset += len(raws)

    @property
    def _of_servers(self) -> str:
        """The microversion of all requests that return servers."""
        return dotted(min(self.maximum, SERVER_VIEW))

    def _server_pages(self, query: Mapping[str, str]) -> Iterator[parse.Json]:
        asked = {"all_tenants": "1", **query}
        return self._pages("/servers/detail", "servers", "id", asked, microversion=self._of_servers)

    def _migration_pages(self, query: Mapping[str, str], *, page: int | None = None) -> Iterator[parse.Json]:
        return self._pages("/os-migrations", "migrations", "uuid", query, page=page)


def changed_since(moment: datetime | None) -> dict[str, str]:
    return {} if moment is None else {"changes-since": moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
