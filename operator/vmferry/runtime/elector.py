"""Leader election among several operators (I32), with a Lease in client-go's format, so `kubectl` shows the leader.

Only clocks of the own process are used. The leader's term ends `renew_deadline` after it *began* its last successful
renewal, by a clock that also counts while the process or the machine is suspended: a process that resumes later no
longer leads, even before it makes a request. Others take the Lease only when its record has not changed for `duration`,
which is longer.

Each period in which this process leads has its own number, the term. Work that began in one term must not be finished
in a later one, because another operator may have led in between. The docstring of `host_lease` explains why
`kubernetes.aio.leaderelection` is not used.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime

from vmferry.runtime.config import JITTER
from vmferry.runtime.kube_api import ConflictError, KubeError, NotFoundError
from vmferry.runtime.lease_record import KIND, LeaseClient, Seen, written
from vmferry.runtime.metrics import definitions as metrics
from vmferry.runtime.store import Body

logger = logging.getLogger(__name__)


def clock() -> float:
    """Seconds, including the time for which the machine was suspended if the system has such a clock (Linux)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def identity() -> str:
    """The host name, which is the Pod's name, and a random UUID, so that a restarted container has a new identity."""
    return f"{socket.gethostname()}_{uuid.uuid4()}"


class Elector:
    """One candidate of the election. `term` is thread-safe; everything else belongs to one event loop.

    Durations are in seconds; `duration` > `renew_deadline` > `retry_period` * 1.2. `began` is called when a term
    begins.
    """

    def __init__(
        self,
        client: LeaseClient,
        namespace: str,
        name: str,
        me: str,
        *,
        duration: float,
        renew_deadline: float,
        retry_period: float,
        began: Callable[[], None],
        clock: Callable[[], float] = clock,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._me = me
        self._duration = duration
        self._renew_deadline = renew_deadline
        self._retry_period = retry_period
        self._began = began
        self._clock = clock
        self._now = now
        self._seen = Seen(clock)
        #: the Lease as we wrote it last; None if it may have changed since
        self._ours: Body | None = None
        self._number = 0
        #: when the term ends unless the Lease is renewed
        self._until = float("-inf")
        self._told = False
        #: identity of the leader, as far as known
        self.holder: str | None = None

    def term(self) -> int | None:
        """The number of the current term, or None while this operator does not lead."""
        return self._number if self._clock() < self._until else None

    def standby(self) -> str | None:
        """A text that names the leader, or None if this operator leads."""
        return None if self.term() is not None else f"standby, {self.holder or 'nobody'} leads"

    async def run(self, beat: Callable[[str], None] = lambda _: None) -> None:
        """Repeat `step` forever. A step that hangs is cancelled early enough for another one within the deadline."""
        while True:
            beat("leader election")
            try:
                async with asyncio.timeout(self._renew_deadline / 2):
                    await self.step()
            except (KubeError, TimeoutError) as error:
                # the write may have been applied nevertheless: read before the next write
                self._ours = None
                logger.warning("the Lease %s cannot be kept: %s", self._name, str(error) or "no answer in time")
            self._tell()
            spread = 0.0 if self.term() is not None else JITTER * random.random()  # noqa: S311 - no secret
            await asyncio.sleep(self._retry_period * (1 + spread))

    async def step(self) -> None:
        """Renew the Lease, or take it if it is free or has expired. Raises KubeError."""
        begun = self._clock()
        lease = self._ours if self.term() is not None and self._ours is not None else await self._read()
        record: Body = lease.get("spec") or {}
        holder = record.get("holderIdentity") or None
        if holder not in (None, self._me):
            self.holder = holder
            self._end()
            if self._seen.unchanged(self._name, record) < (record.get("leaseDurationSeconds") or self._duration):
                return
            logger.warning("the Lease %s has expired in the hands of %s", self._name, holder)
            begun = self._clock()
        try:
            self._ours = await self._write(lease, self._me, self._duration)
        except ConflictError as error:
            self._ours = None
            self._end()  # another operator has written the Lease
            logger.info("somebody was faster: %s", error)
            return
        except NotFoundError as error:
            self._ours = None
            raise KubeError(f"is the namespace {self._namespace} there? {error}") from error
        self._keep(begun + self._renew_deadline)

    async def release(self) -> None:
        """Stop leading and release the Lease, so that another operator can lead at once. Raises KubeError."""
        self._end()
        while True:
            lease = await self._read()
            if (lease.get("spec") or {}).get("holderIdentity") != self._me:
                break
            try:
                await self._write(lease, "", 1)
            except ConflictError:
                continue  # a renewal that was cancelled has been applied nevertheless
            break
        self._tell()

    def _keep(self, until: float) -> None:
        now = self._clock()
        lapsed = now >= self._until
        if lapsed:
            self._number += 1  # before `_until`, so that no thread sees the old term as valid again
        self._until = until
        self.holder = self._me
        if lapsed and now < until:
            metrics.TERMS.inc()
            self._began()

    def _end(self) -> None:
        self._until = float("-inf")

    def _tell(self) -> None:
        leads = self.term() is not None
        if leads != self._told:
            if leads:
                logger.info("this operator leads now")
            else:
                logger.warning("this operator no longer leads: %s", self.standby())
        self._told = leads

    async def _read(self) -> Body:
        try:
            return await self._client.get_lease(self._namespace, self._name)
        except NotFoundError:
            return {"metadata": {"name": self._name, "namespace": self._namespace}}

    async def _write(self, lease: Body, holder: str, duration: float) -> Body:
        spec = written(lease.get("spec") or {}, holder, duration, self._now())
        return await self._client.put_lease(self._namespace, {**lease, **KIND, "spec": spec})
