"""Compute hosts: their services, hypervisors and aggregates, and whether one is empty."""

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
    """Services, hypervisors, aggregates, and the look at one host."""

    @reads
    def services(self) -> list[Service]:
        """Every nova-compute service of the cells that Nova can reach."""
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
        """Every hypervisor. Not above 2.87: from 2.88 on Nova asks each host for its uptime meanwhile."""
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
        """Everything that shows whether the host (a service's exact name, I1) is empty (I20), and the servers that
        were seen: those on it and all builds. `hypervisor` is its UUID; without it, it is looked up first.

        The order is what makes it safe. A server on its way to the host holds room there first, then it is a build
        or a migration, and at last it is on the host: reading in the same order meets it in one of these places
        whatever happens meanwhile.
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
        # of one that is in both lists the later word counts
        return reading, list({server.id: server for server in (*builds, *servers)}.values())

    @reads
    def service(self, host: str) -> Service | None:
        """The nova-compute service of exactly that name; None when Nova lists none.

        Raises `CloudError` where Nova lists several: none of them is believed (I36).
        """
        raw = self._must("/os-services", {"binary": "nova-compute", "host": host})
        services = [parsed(parse.service, entry) for entry in raw["services"] if entry.get("host") == host]
        doubt = doubtful_hosts(services, ()).get(host)
        if doubt is not None:
            raise CloudError(doubt.problem)
        return services[0] if services else None

    @reads
    def host_migrations(self, host: str) -> list[Migration]:
        """Every migration from the host or to it, newest first, ended ones too.

        Not only those with a status word that we know to be open: an unknown one counts as open (I35).
        """
        return [parsed(parse.migration, raw) for raw in self._migration_pages({"host": host})]

    @reads
    def servers_on_hypervisor(self, hypervisor: str) -> frozenset[str]:
        """The servers that the hypervisor's record lists, soft-deleted ones too (2.75: also when there are none)."""
        path = f"/os-hypervisors/{hypervisor}"
        raw = self._compute(path, {"with_servers": "true"}, route="/os-hypervisors/{id}")
        if raw is None:
            raise CloudError(f"GET {path}: Nova does not know it", HTTPStatus.NOT_FOUND)
        return parsed(parse.hypervisor_servers, raw)

    def _hypervisor_of(self, host: str) -> str | None:
        """None: there is none. Raises `CloudError` where several hypervisors name the host."""
        hypervisors = [hypervisor for hypervisor in self.hypervisors() if hypervisor.service_host == host]
        doubt = doubtful_hosts((), hypervisors).get(host)
        if doubt is not None:
            raise CloudError(doubt.problem)
        return hypervisors[0].id if hypervisors else None


def hidden_filter(name: str) -> str:
    """Nova drops a filter that the user may not use, without a word, and lists everything."""
    return f"Nova ignores the filter {name}: {policy_missing('os_compute_api:servers:allow_all_filters')}"


def _unless_forbidden(read: Callable[[str], T | None], name: str) -> T | None:
    """What `read` brings; None where we lack the right to read it. Raises `CloudError` for any other failure."""
    try:
        return read(name)
    except CloudError as error:
        if error.status == HTTPStatus.FORBIDDEN:
            return None
        raise
