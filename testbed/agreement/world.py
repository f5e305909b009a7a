"""The fleet on a lab: hosts that fail and recover, and the preparation and cleanup around each request."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass

from testbed.agreement.classes import Did
from testbed.agreement.fleet import Fleet, Slot
from testbed.agreement.hands import Hands, Place
from testbed.agreement.tempo import Tempo
from testbed.agreement.trial import Case, Request, Verdict, carried_out, judged
from testbed.agreement.view import LateError, View
from testbed.cloud import CloudLab
from testbed.tenant import Tenant, TenantError
from vmferry.cloud.actions import ConfirmResize, NotNow, Refused
from vmferry.cloud.model import Part, ResolvedType
from vmferry.policy import Policy

#: number of servers on the host that is killed, and on the host that is forced down
VICTIMS = (9, 5)


@dataclass(frozen=True)
class Wish:
    """A request that is not yet assigned to a server."""

    step: int
    kind: ResolvedType
    #: the status to bring the server to; None leaves it as it is
    status: str | None = None
    locked: bool = False
    #: whether another administrator is migrating the server at the same time
    busy: bool = False
    target: str | None = None
    local_unless_shared: bool = True
    stop_if_running: bool = False
    os_upgrade: bool = False


class World:
    """The world of a run; call `start` first and `stop` last."""

    def __init__(self, lab: CloudLab, fleet: Fleet, tempo: Tempo) -> None:
        self.lab, self.fleet, self.tempo = lab, fleet, tempo
        self.view = View(lab, tempo)
        self.tenant = Tenant(lab.clouds_yaml)
        self.hands = Hands(self.view, self.tenant, fleet)
        self.places: list[Place] = []
        #: servers on failed hosts
        self.victims: list[Place] = []
        self.killed: str | None = None
        self.forced: str | None = None
        self.disabled: str | None = None
        self._tight = asyncio.Lock()
        self._groups = {group: asyncio.Lock() for group in {slot.group for slot in fleet.slots if slot.group}}

    async def start(self) -> None:
        await self.view.start()
        async with asyncio.timeout(self.tempo.patience):
            await self.view.whole()
        print(f"cloud: {self.view.client.login}", flush=True)
        await self.view.call(self.hands.furnish)
        ballast = [
            Slot(f"ballast-{host}-{n}", flavor, host)
            for host, (flavor, count) in self.fleet.ballast.items()
            for n in range(count)
        ]
        await asyncio.gather(*map(self.placed, ballast))
        alone = asyncio.gather(*(self.placed(slot) for slot in self.fleet.slots if not slot.group))
        grouped = asyncio.gather(*map(self._placed_group, self._groups))
        self.places = [*await alone, *(place for places in await grouped for place in places)]
        self.places.sort(key=lambda place: place.slot.name)
        await self.view.refresh()

    async def stop(self, *, clear: bool = False) -> None:
        """Stop reading the cloud; with `clear`, first delete everything that was created in the lab."""
        try:
            if clear:
                await self.heal()
                await self.hands.clear()
        finally:
            await self.view.stop()

    async def placed(self, slot: Slot) -> Place:
        return Place(slot, await self.hands.boot(slot))

    async def _placed_group(self, group: str) -> list[Place]:
        """Place the servers of a group one by one: the first server's host decides where the others may go."""
        return [await self.placed(slot) for slot in self.fleet.slots if slot.group == group]

    # -- hosts that fail

    async def heal(self) -> None:
        """Delete the victims, and bring all hosts up and enable them."""
        await asyncio.gather(*(self._drop(place) for place in list(self.victims)))
        if self.disabled:
            await self.view.call(self.tenant.enable_host, self.disabled)
        if self.forced:
            await self.view.call(self.tenant.force_down, self.forced, False)
            await self.view.call(self.tenant.wait_for_service, self.forced, "up", self.tempo.patience)
        if self.killed:
            await self.view.call(self.lab.start_compute, self.killed)
        self.killed = self.forced = self.disabled = None
        self.hands.out = set()
        await self.view.refresh()

    async def fail_hosts(self, rng: random.Random, victims: tuple[int, int] = VICTIMS) -> None:
        """Kill a host, force down another, and disable a third; the first two have servers on them."""
        await self.heal()
        killed, forced = rng.sample(self.fleet.may_fail, 2)
        disabled = rng.choice([host for host in self.fleet.may_be_disabled if host not in (killed, forced)])
        slots = [
            Slot(f"v{n:02}-{host}", rng.choice(("m1.tiny", "m1.tiny", "m1.tiny", "m1.small")), host)
            for host, count in zip((killed, forced), victims, strict=True)
            for n in range(count)
        ]
        states = [rng.choice(("ACTIVE",) * 5 + ("SHUTOFF",) * 3 + ("PAUSED", "SUSPENDED")) for _ in slots]

        async def prepared(slot: Slot, status: str) -> Place:
            place = await self.placed(slot)
            await self.hands.dress(place, status, False)
            return place

        self.victims = await asyncio.gather(*map(prepared, slots, states))
        await self.break_hosts(killed=killed, forced=forced, disabled=disabled)

    async def break_hosts(
        self, *, killed: str | None = None, forced: str | None = None, disabled: str | None = None
    ) -> None:
        """Break hosts until the next `heal`. Returns once the killed host counts as failed."""
        self.killed, self.forced, self.disabled = killed, forced, disabled
        self.hands.out = {host for host in (killed, forced, disabled) if host}
        if disabled:
            await self.view.call(self.tenant.disable_host, disabled)
        if forced:
            await self.view.call(self.tenant.force_down, forced)
        if killed:
            await self.view.call(self.lab.kill_compute, killed)
            await self._until_silent(killed)
        await self.view.refresh()

    async def _until_silent(self, host: str) -> None:
        async with asyncio.timeout(self.tempo.patience):
            while True:
                await self.view.refresh()
                service = self.view.snapshot.hosts[host].service
                seen, read_at = service.last_seen, self.view.snapshot.read_at[Part.HOSTS]
                if not service.up and seen is not None and read_at - seen > self.tempo.down_for:
                    return
                await asyncio.sleep(self.tempo.look)

    # -- a request

    async def carry_out(self, wish: Wish, place: Place) -> Case:
        """Bring the server to the required state, assess, send the request to Nova, compare, and restore the world.

        Raises `LateError`, `TenantError` and `LookupError` when the lab itself fails.
        """
        group = self._groups[place.slot.group] if place.slot.group else contextlib.nullcontext()
        async with place.busy, group:
            await self._dress(place, wish)
            if wish.busy:
                await self._keep_busy(place)
            if place.slot.group:
                await self.view.refresh()
            base = Policy(local_unless_shared=wish.local_unless_shared, host_down_for=self.tempo.down_for)
            request = Request(
                wish.step,
                place.server_id,
                wish.kind,
                wish.target,
                self.fleet.policy(base),
                wish.stop_if_running,
                wish.os_upgrade,
            )
            verdict = await judged(self.view, request)
            if not self._concerns_tight(request, verdict, place):
                case = await carried_out(self.view, self.tenant, request, verdict)
                await self._restore(place, case)
            else:
                async with self._tight:
                    await self.view.refresh()
                    case = await carried_out(self.view, self.tenant, request, await judged(self.view, request))
                    await self._restore(place, case)
            if wish.busy and place.slot.group:
                # two members of a group never move at once by the operator; this rule is ours and does not bind other
                # people
                await self.view.until(place.server_id, self.view.idle, "idle", from_error=True)
            return case

    async def _dress(self, place: Place, wish: Wish) -> None:
        server = self.view.server(place.server_id)
        if server is None:
            raise LookupError(f"{place.slot.name} is gone")
        lives = server.host not in (self.killed, self.forced)
        # a resize may go to any host
        async with self._only_one_on_tight("VERIFY_RESIZE" in (wish.status, server.status)):
            await self.hands.dress(place, wish.status, wish.locked, host_lives=lives)

    async def _keep_busy(self, place: Place) -> None:
        """Start another administrator's live migration of the server that is still copying while we assess."""
        server = self.view.server(place.server_id)
        hosts = [host for host in self.fleet.alike if host not in self.hands.out]
        if server is None or server.status != "ACTIVE" or server.host not in hosts:
            return
        target = next((host for host in hosts if host != server.host), None)
        if target is None:  # all other equal hosts are out of service in this part of the run
            return
        last = max((record.id for record in self.view.records(place.server_id)), default=0)
        self.lab.knob(server.host, live_seconds=self.tempo.busy)
        try:
            await self.view.call(self.tenant.live_migrate, place.server_id, target)
            async with asyncio.timeout(self.tempo.patience):
                await self.view.until_copying(place.server_id, last)
        finally:
            self.lab.knob(server.host, live_seconds=None)

    @contextlib.asynccontextmanager
    async def _only_one_on_tight(self, needed: bool) -> AsyncIterator[None]:
        if not needed:
            yield
            return
        async with self._tight:
            yield

    def _concerns_tight(self, request: Request, verdict: Verdict, place: Place) -> bool:
        """Whether the capacity of a small host, which others use too, may decide."""
        hosts = {verdict.question.server.host, verdict.assessment.target or request.target, place.slot.home}
        return bool(hosts & self.fleet.tight)

    async def _restore(self, place: Place, case: Case) -> None:
        server = self.view.server(place.server_id)
        if case.happened.did is Did.MOVED and case.request.kind is ResolvedType.COLD:
            answer = await self.view.act(ConfirmResize(place.server_id))
            if isinstance(answer, Refused | NotNow):
                raise LateError(f"{place.slot.name} cannot be confirmed: {answer.message}")
            await self.view.until(
                place.server_id,
                lambda s: s.status != "VERIFY_RESIZE" and s.task_state is None,
                "confirmed",
                from_error=True,
            )
            return
        evacuated = case.happened.did is Did.MOVED and case.request.kind is ResolvedType.EVACUATE
        broken = case.happened.status == "ERROR" and case.server.status != "ERROR"
        if evacuated or broken or case.happened.did is Did.UNCLEAR or server is None:
            await self.lose(place)

    async def lose(self, place: Place) -> None:
        """Delete a victim for good; recreate any other server."""
        if place in self.victims:
            await self._drop(place)
            return
        await self.hands.delete(place.server_id)
        await self.view.call(self.lab.forget_guest, place.server_id)
        place.server_id = await self.hands.boot(place.slot)

    async def _drop(self, place: Place) -> None:
        self.victims.remove(place)
        await self.hands.delete(place.server_id)
        await self.view.call(self.lab.forget_guest, place.server_id)


#: exceptions that indicate a failure of the lab itself
TROUBLE = (LateError, TenantError, LookupError, TimeoutError)
