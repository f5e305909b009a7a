"""Actions of other people on the servers of the fleet before and after a request: boot, stop, lock, break, delete."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from testbed.agreement.fleet import FLAVORS, OTHER_ZONE, ZONE, Fleet, Slot
from testbed.agreement.view import LateError, View
from testbed.tenant import Tenant, TenantError
from vmferry.cloud.model import Server

#: by status: the action that leads to it from ACTIVE, and the action that leads back
STATES: Mapping[str, tuple[Mapping[str, object], Mapping[str, object]]] = {
    "SHUTOFF": ({"os-stop": None}, {"os-start": None}),
    "PAUSED": ({"pause": None}, {"unpause": None}),
    "SUSPENDED": ({"suspend": None}, {"resume": None}),
    "RESCUE": ({"rescue": {}}, {"unrescue": None}),
    "ERROR": ({"os-resetState": {"state": "error"}}, {"os-resetState": {"state": "active"}}),
    "VERIFY_RESIZE": ({"resize": {}}, {"revertResize": None}),
}
#: statuses that can be set without a living compute host
WITHOUT_HOST = ("ACTIVE", "ERROR")


@dataclass
class Place:
    """A slot, and its current server."""

    slot: Slot
    server_id: str
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)


class Hands:
    """The actions of another administrator."""

    def __init__(self, view: View, tenant: Tenant, fleet: Fleet) -> None:
        self.view, self.tenant, self.fleet = view, tenant, fleet
        self.groups: dict[str, str] = {}
        self._aggregates: list[int] = []
        self._flavors: list[str] = []
        self._booting = asyncio.Semaphore(8)
        self._all: set[str] = set()
        #: hosts that currently accept no servers
        self.out: set[str] = set()

    async def act(self, server_id: str, body: Mapping[str, object]) -> None:
        await self.view.call(self.tenant.act, server_id, body)

    # -- flavors, zones, groups and aggregates

    def furnish(self) -> None:
        """Create flavors, zones, groups, and the aggregates with facts of hosts. Blocks."""
        known = {flavor["name"] for flavor in self.tenant.call("GET", "/flavors")["flavors"]}
        for name, (vcpus, memory, disk, specs) in FLAVORS.items():
            if name in known:
                continue
            body = {"flavor": {"name": name, "vcpus": vcpus, "ram": memory, "disk": disk}}
            made = self.tenant.call("POST", "/flavors", body)["flavor"]["id"]
            self._flavors.append(made)
            if specs:
                self.tenant.call("POST", f"/flavors/{made}/os-extra_specs", {"extra_specs": specs})
        for policy in sorted({slot.group for slot in self.fleet.slots if slot.group}):
            self.groups[policy] = self.tenant.create_group(f"agreement-{policy}", policy)
        if self.fleet.elsewhere:
            zone = self.tenant.aggregate(ZONE)["id"]
            for host in sorted(self.fleet.elsewhere):
                self.tenant.call("POST", f"/os-aggregates/{zone}/action", {"remove_host": {"host": host}})
            hosts = sorted(self.fleet.elsewhere)
            self._aggregates.append(self.tenant.create_aggregate(OTHER_ZONE, hosts=hosts, availability_zone=OTHER_ZONE))

        for system in sorted(set(self.fleet.systems.values())):
            hosts = sorted(host for host, told in self.fleet.systems.items() if told == system)
            told = {"os_distro": "ubuntu", "os_version": system}
            self._aggregates.append(self.tenant.create_aggregate(f"ubuntu-{system}", hosts=hosts, metadata=told))

        if self.fleet.fast:
            fast = sorted(self.fleet.fast)
            self._aggregates.append(self.tenant.create_aggregate("fast", hosts=fast, metadata={"disk": "ssd"}))

    async def clear(self) -> None:
        """Delete everything that was created."""
        await self.delete(*self._all)
        for group in self.groups.values():
            await self.view.call(self.tenant.delete_group, group)
        for flavor in self._flavors:
            await self.view.call(self.tenant.call, "DELETE", f"/flavors/{flavor}")
        for aggregate in self._aggregates:
            await self.view.call(self.tenant.delete_aggregate, aggregate)

    # -- servers

    async def boot(self, slot: Slot) -> str:
        """Boot the slot's server on its home host or, if Nova refuses that, on any host."""
        failure: Exception | None = None
        for host in (None,) if slot.home in self.out else (slot.home, None):
            try:
                return await self._boot(slot, host)
            except (LateError, TenantError) as error:
                failure = error
        raise LateError(f"{slot.name} does not boot: {failure}")

    async def _boot(self, slot: Slot, host: str | None) -> str:
        def ask() -> str:
            return self.tenant.boot(
                slot.name,
                host,
                flavor=slot.flavor,
                group=self.groups[slot.group] if slot.group else None,
                availability_zone=slot.zone,
                wait=False,
            )

        async with self._booting:
            server_id = await self.view.call(ask)
            self._all.add(server_id)
            try:
                await self.view.until(server_id, lambda s: s.status == "ACTIVE" and s.task_state is None, "ACTIVE")
            except LateError:
                await self.delete(server_id)
                raise
        return server_id

    async def delete(self, *server_ids: str) -> None:
        for server_id in server_ids:
            if self.view.server(server_id) is not None:
                await self.view.call(self._delete, server_id)
        await self.view.until_gone(*server_ids)
        self._all -= set(server_ids)

    def _delete(self, server_id: str) -> None:
        try:
            self.tenant.call("DELETE", f"/servers/{server_id}")
        except TenantError as error:
            if error.status != 404:
                raise

    async def renew(self, place: Place) -> None:
        """Replace a server that is of no further use."""
        await self.delete(place.server_id)
        place.server_id = await self.boot(place.slot)

    async def dress(self, place: Place, status: str | None, locked: bool, *, host_lives: bool = True) -> Server:
        """Bring the server to a status (None: its current one) and lock state, as far as a dead host allows.

        Raises `LateError` and `TenantError`.
        """
        server = await self.view.until(place.server_id, self.view.idle, "idle", from_error=True)
        status = status or server.status
        if host_lives or (server.status in WITHOUT_HOST and status in WITHOUT_HOST):
            if server.status not in (status, "ACTIVE"):
                await self._go(place, server.status, back=True)
            if status not in (server.status, "ACTIVE"):
                await self._go(place, status, back=False)
        if locked != server.locked:
            await self.act(place.server_id, {"lock": {"locked_reason": "an audit"}} if locked else {"unlock": None})
            server = await self.view.until(
                place.server_id, lambda s: s.locked is locked, "locked or not", from_error=True
            )
        return server

    async def _go(self, place: Place, status: str, *, back: bool) -> None:
        body = STATES[status][back]
        if "resize" in body:
            other = "agree.tiny" if place.slot.flavor != "agree.tiny" else "m1.tiny"
            body = {"resize": {"flavorRef": self.tenant.flavor(other)}}
        await self.act(place.server_id, body)
        wanted = "ACTIVE" if back else status
        await self.view.until(
            place.server_id,
            lambda s: s.status == wanted and s.task_state is None,
            wanted,
            from_error=status == "ERROR",
        )
