"""Leases of hosts (coordination.k8s.io/v1): of all that might change a host, one may (I32).

The record is as client-go's leader election writes it, and its rules are kept (`lease_record`), so others may take
part.

`kubernetes.aio.leaderelection` is not used. One step of it could be called without its loop, but it takes a Lease of
a server that cannot be reached for one that others hold, writes at every step, writes the local time as UTC, reads
the wall clock, and cannot give a Lease back.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256

from vmferry.reconcilers.reads import HostLease
from vmferry.resources.base import GROUP
from vmferry.runtime.kube_api import ConflictError, KubeError, NotFoundError
from vmferry.runtime.lease_record import KIND, LeaseClient, Seen, written
from vmferry.runtime.store import Body

#: seconds that a record holds
DURATION = 120
HOST = f"{GROUP}/host"

#: a DNS subdomain, which an object's name has to be
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")

logger = logging.getLogger(__name__)


def lease_name(host: str) -> str:
    """`vmferry-host-node-1`; with a hash where the host's own name does not do, so that no two hosts share a name."""
    if _NAME.fullmatch(host) and len(host) <= 63:
        return f"vmferry-host-{host}"
    safe = re.sub(r"[^a-z0-9]+", "-", host.lower())[:50].strip("-")
    return "-".join(filter(None, ("vmferry-host", safe, sha256(host.encode()).hexdigest()[:10])))


class HostLeases:
    """The Leases in one namespace."""

    def __init__(
        self,
        client: LeaseClient,
        namespace: str,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._now = now
        self._seen = Seen(clock)

    async def take(self, host: str, holder: str) -> HostLease:
        """Take the host's Lease if it is free or has expired, or keep it. Raises KubeError."""
        name = lease_name(host)
        try:
            lease = await self._client.get_lease(self._namespace, name)
        except NotFoundError:
            lease = {"metadata": {"name": name, "namespace": self._namespace, "annotations": {HOST: host}}}
            self._seen.forget(name)
        record: Body = lease.get("spec") or {}
        current = record.get("holderIdentity") or None
        if current == holder and self._seen.age(name, record) < DURATION / 3:
            return HostLease(host, None)
        if current not in (None, holder):
            unchanged = self._seen.unchanged(name, record)
            if unchanged < (record.get("leaseDurationSeconds") or DURATION):
                return HostLease(host, current)
            logger.warning("the Lease of %s has expired in the hands of %s", host, current)
        try:
            spec = written(record, holder, DURATION, self._now())
            kept = await self._client.put_lease(self._namespace, {**lease, **KIND, "spec": spec})
        except ConflictError:
            return HostLease(host, await self._who_else(name, holder))
        except NotFoundError as error:
            missing = KubeError(f"is the namespace {self._namespace} there? {error}")
            missing.code = error.code
            raise missing from error
        self._seen.note(name, kept["spec"])
        return HostLease(host, None)

    async def give_back(self, host: str, holder: str) -> None:
        """Free the host's Lease, if it is this holder's. Raises KubeError."""
        name = lease_name(host)
        self._seen.forget(name)
        try:
            lease = await self._client.get_lease(self._namespace, name)
            if (lease.get("spec") or {}).get("holderIdentity") == holder:
                metadata = lease["metadata"]
                await self._client.delete_lease(self._namespace, name, metadata["uid"], metadata["resourceVersion"])
        except (NotFoundError, ConflictError) as error:
            logger.info("the Lease of %s is not ours any more: %s", host, error)

    async def _who_else(self, name: str, holder: str) -> str | None:
        """Who was faster."""
        try:
            record: Body = (await self._client.get_lease(self._namespace, name)).get("spec") or {}
        except NotFoundError as error:
            raise KubeError(f"the Lease was there a moment ago: {error}") from error
        current = record.get("holderIdentity") or None
        if current == holder:
            return None
        self._seen.unchanged(name, record)
        return current or "somebody"
