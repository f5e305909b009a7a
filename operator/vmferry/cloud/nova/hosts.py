"""Compute hosts: their services, hypervisors and aggregates, and the reading that shows whether a host is empty."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TypeVar

from vmferry.cloud.contradictions import doubtful_hosts
from vmferry.cloud.model import (
    NOVA_TYPE,
    Aggregate,
    Host,
    HostLook,
    Hypervisor,
    Migration,
    ResolvedType,
    Server,
    Service,
)
from vmferry.cloud.nova import parse
from vmferry.cloud.nova.answers import CellUnreachableError, CloudError, parsed, reads
from vmferry.cloud.nova.parse import policy_missing
from vmferry.cloud.nova.placement import PlacementReads
from vmferry.cloud.nova.servers import ServerReads

T = TypeVar("T")


class HostReads(ServerReads, PlacementReads):
    """Services, hypervisors, aggregates, and the reading of one host."""

    @reads
    def services(self) -> list[Service]:
        """Every nova-compute service in the cells that Nova can reach."""
        return self.services_and_unreachable()[0]

    @reads
    def services_and_unreachable(self) -> tuple[list[Service], frozenset[str]]:
        """Every nova-compute service, and the names of the hosts in cells that Nova cannot reach."""
        raw = self._must("/os-services", {"binary": "nova-compute"})
        services: list[Service] = []
        unreachable: set[str] = set()
        for entry in raw["services"]:
            try:
                services.append(parsed(parse.service, entry))
            except CellUnreachableError:
                unreachable.add(str(entry["host"]))
        return services, frozenset(unreachable)

    @reads
    def hypervisors(self) -> list[Hypervisor]:
        """Every hypervisor. Uses at most 2.87: from 2.88 on, Nova requests each host's uptime for the list."""
        raws = self._pages("/os-hypervisors/detail", "hypervisors", "id", {})
        return [parsed(parse.hypervisor, raw) for raw in raws]

    @reads
    def aggregates(self) -> list[Aggregate]:
        """Every host aggregate."""
        return [parsed(parse.aggregate, raw) for raw in self._must("/os-aggregates")["aggregates"]]

    @reads
    def hosts(self) -> dict[str, Host]:
        """Every compute host by its name."""
        hypervisors = self.hypervisors()
        resources = self.resources([hypervisor.id for hypervisor in hypervisors if hypervisor.has_guests])
        services = self.services()
        doubtful = doubtful_hosts(services, hypervisors)
        return parse.join_hosts(services, hypervisors, self.aggregates(), resources, doubtful)

    @reads
    def host_look(self, host: str, hypervisor: str | None = None) -> tuple[HostLook, list[Server]]:
        """Everything that shows whether the host is empty (I20), and the servers found: those on it and all builds.

        `host` is a service's exact name (I1). `hypervisor` is its UUID; without it, it is read first.

        The order of the reads makes the result safe. A server on its way to the host first holds capacity there, then
        it is a build or a migration, and finally it is on the host: reading in the same order finds it in one of these
        places whatever happens meanwhile.
        """
        hypervisor_id = hypervisor or _unless_forbidden(self._hypervisor_of, host)
        allocated = None if hypervisor_id is None else _unless_forbidden(self.consumers, hypervisor_id)
        on_hypervisor = None if hypervisor_id is None else _unless_forbidden(self.servers_on_hypervisor, hypervisor_id)
        migrations = self.host_migrations(host)
        builds = self.builds()
        servers = [parsed(parse.server, raw) for raw in self._server_pages({"host": host})]
        if any(server.host != host for server in servers):
            raise CloudError(hidden_filter("host"))
        service = self.service(host)
        reading = HostLook(
            host=host,
            read_at=datetime.now(UTC),
            service=service,
            servers=frozenset(server.id for server in servers),
            on_hypervisor=on_hypervisor,
            allocated=allocated,
            migrations=tuple(migration for migration in migrations if migration.open),
            evacuated=frozenset(
                migration.server_id
                for migration in migrations
                if migration.type == NOVA_TYPE[ResolvedType.EVACUATE]
                and migration.status == "done"
                and migration.source_host == host
            ),
        )
        # for a server in both lists, the later reading counts
        return reading, list({server.id: server for server in (*builds, *servers)}.values())

    @reads
    def service(self, host: str) -> Service | None:
        """The nova-compute service with exactly that name, or None.

        Raises `CloudError` if Nova lists several, of which none can be trusted (I36).
        """
        raw = self._must("/os-services", {"binary": "nova-compute", "host": host})
        services = [parsed(parse.service, entry) for entry in raw["services"] if entry.get("host") == host]
        doubt = doubtful_hosts(services, ()).get(host)
        if doubt is not None:
            raise CloudError(doubt.problem)
        return services[0] if services else None

    @reads
    def host_migrations(self, host: str) -> list[Migration]:
        """Every migration from or to the host, newest first, including ended ones.

        The result is not limited to the known open statuses, since an unknown status counts as open (I35).
        """
        return [parsed(parse.migration, raw) for raw in self._migration_pages({"host": host})]

    @reads
    def servers_on_hypervisor(self, hypervisor: str) -> frozenset[str]:
        """The servers in the hypervisor's record, including soft-deleted ones (2.75: also if there are none)."""
        path = f"/os-hypervisors/{hypervisor}"
        raw = self._compute(path, {"with_servers": "true"}, route="/os-hypervisors/{id}")
        if raw is None:
            raise CloudError(f"GET {path}: Nova does not know it", HTTPStatus.NOT_FOUND)
        return parsed(parse.hypervisor_servers, raw)

    def _hypervisor_of(self, host: str) -> str | None:
        """The hypervisor's UUID, or None. Raises `CloudError` if several hypervisors refer to the host."""
        hypervisors = [hypervisor for hypervisor in self.hypervisors() if hypervisor.service_host == host]
        doubt = doubtful_hosts((), hypervisors).get(host)
        if doubt is not None:
            raise CloudError(doubt.problem)
        return hypervisors[0].id if hypervisors else None


def hidden_filter(name: str) -> str:
    """The error text for a filter that Nova silently ignored because the user may not use it."""
    return f"Nova ignores the filter {name}: {policy_missing('os_compute_api:servers:allow_all_filters')}"


def _unless_forbidden(read: Callable[[str], T | None], name: str) -> T | None:
    """The result of `read`, or None if the user lacks the right to it. Raises `CloudError` for any other failure."""
    try:
        return read(name)
    except CloudError as error:
        if error.status == HTTPStatus.FORBIDDEN:
            return None
        raise
