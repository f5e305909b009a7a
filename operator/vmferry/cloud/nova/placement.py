"""Placement's data on hosts: their resources and the consumers of these."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any

from keystoneauth1.adapter import Adapter

from vmferry.cloud.model import Inventory
from vmferry.cloud.nova import parse
from vmferry.cloud.nova.answers import CloudError, body, fault_text, parsed, reads
from vmferry.cloud.nova.http import Http

#: version with provider summaries for all resource classes (1.27) and with root providers (1.29)
PLACEMENT = "1.29"
#: how many hosts without a free MiB are read at a time
PLACEMENT_THREADS = 4


class PlacementReads(Http):
    """Reads of providers' resources and consumers."""

    @reads
    def resources(self, providers: Collection[str]) -> dict[str, parse.Resources] | None:
        """Placement's resources of the providers (hypervisor UUIDs); None if Placement is missing or denies access.

        One request for 1 MiB of memory returns every provider that has it, including disabled ones, with all resources
        of its tree; only full providers are read one by one. Sharing providers (such as the disk space of a shared
        storage) are found by their trait.
        """
        placement = self._open().placement
        if placement is None:
            return None
        try:
            raw = self._placement(placement, "/allocation_candidates", {"resources": "MEMORY_MB:1"})
            if raw is None:
                return None
            resources = parsed(parse.candidate_resources, raw)
            missing = [provider for provider in providers if provider not in resources]
            if missing:
                with ThreadPoolExecutor(PLACEMENT_THREADS) as pool:
                    reported = pool.map(lambda provider: self._provider(placement, provider), missing)
                    resources.update(
                        {p: provider for p, provider in zip(missing, reported, strict=True) if provider is not None}
                    )
            return parse.with_shared(resources, self._sharing(placement))
        except CloudError as error:
            if error.status in (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_ACCEPTABLE):
                return None
            raise

    @reads
    def consumers(self, provider: str) -> frozenset[str] | None:
        """Consumers of a provider (a hypervisor's UUID): servers, and migrations that hold capacity of their source.

        None if there is no Placement, or if Placement itself does not know the provider.
        """
        placement = self._open().placement
        if placement is None:
            return None
        route = "GET placement /resource_providers/{id}/allocations"
        answer = self._get(placement, f"/resource_providers/{provider}/allocations", route, {}, PLACEMENT)
        if answer.status_code == HTTPStatus.NOT_FOUND and fault_text(answer) is not None:
            return None
        return parsed(parse.consumers, body(answer, route))

    def _placement(self, adapter: Adapter, path: str, query: Mapping[str, str], *, route: str = "") -> Any:
        """A page from Placement; None if Placement answers 404."""
        route = f"GET placement {route or path}"
        answer = self._get(adapter, path, route, query, PLACEMENT)
        return None if answer.status_code == HTTPStatus.NOT_FOUND else body(answer, route)

    def _provider(self, adapter: Adapter, provider: str) -> parse.Resources | None:
        """The resources of one provider's tree; None if Placement does not know it."""
        tree = self._placement(adapter, "/resource_providers", {"in_tree": provider})
        ids = [provider["uuid"] for provider in (tree or {}).get("resource_providers", ())]
        traits = self._of_provider(adapter, provider, "traits")
        if provider not in ids or traits is None:
            return None
        parts = [self._inventories(adapter, provider) for provider in ids]
        return parse.provider_resources([part for part in parts if part is not None], traits)

    def _sharing(self, adapter: Adapter) -> list[parse.SharingProvider]:
        """Every sharing provider, with the providers that may use its capacity."""
        raw = self._placement(adapter, "/resource_providers", {"required": "MISC_SHARES_VIA_AGGREGATE"})
        providers = []
        for entry in (raw or {}).get("resource_providers", ()):
            inventories = self._inventories(adapter, entry["uuid"])
            aggregates = (self._of_provider(adapter, entry["uuid"], "aggregates") or {}).get("aggregates")
            if not inventories or not aggregates:
                continue
            members = self._placement(
                adapter, "/resource_providers", {"member_of": f"in:{','.join(sorted(aggregates))}"}
            )
            ids = frozenset(member["uuid"] for member in (members or {}).get("resource_providers", ()))
            providers.append(parse.SharingProvider(entry["uuid"], inventories, ids - {entry["uuid"]}))
        return providers

    def _inventories(self, adapter: Adapter, provider: str) -> dict[str, Inventory] | None:
        """The inventories of one provider alone; None if Placement does not know it."""
        inventories = self._of_provider(adapter, provider, "inventories")
        usages = self._of_provider(adapter, provider, "usages")
        return None if inventories is None or usages is None else parse.provider_inventories(inventories, usages)

    def _of_provider(self, adapter: Adapter, provider: str, page: str) -> Any:
        return self._placement(
            adapter, f"/resource_providers/{provider}/{page}", {}, route=f"/resource_providers/{{id}}/{page}"
        )
