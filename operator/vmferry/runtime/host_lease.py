"""Leases of hosts (coordination.k8s.io/v1): only the holder of a host's Lease may change the host (I32).

The record has the format and the rules of client-go's leader election (`lease_record`), so other programs can take
part.

`kubernetes.aio.leaderelection` is not used. One step of it could be called without its loop, but if the API server
cannot be reached it treats the Lease as held by another process. It also writes at every step, writes the local time as
UTC, reads the wall clock, and cannot release a Lease.
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

#: seconds after which an unchanged record has expired
DURATION = 120
HOST = f"{GROUP}/host"

#: a DNS subdomain, the required format of object names
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")

logger = logging.getLogger(__name__)


def lease_name(host: str) -> str:
    """The name of the host's Lease, such as `vmferry-host-node-1`.

    If the host's name is too long or not valid in an object name, it is converted and a hash keeps the names unique.
    """
    if _NAME.fullmatch(host) and len(host) <= 63:
        return f"vmferry-host-{host}"
    safe = re.sub(r"[^a-z0-9]+", "-", host.lower())[:50].strip("-")
    return "-".join(filter(None, ("vmferry-host", safe, sha256(host.encode()).hexdigest()[:10])))


class HostLeases:
    """The host Leases in one namespace."""

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
        """Take the host's Lease if it is free or has expired, or renew it. Raises KubeError."""
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
        """Release the host's Lease if `holder` holds it. Raises KubeError."""
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
        """The holder that won a write conflict; None if it is `holder` itself."""
        try:
            record: Body = (await self._client.get_lease(self._namespace, name)).get("spec") or {}
        except NotFoundError as error:
            raise KubeError(f"the Lease was there a moment ago: {error}") from error
        current = record.get("holderIdentity") or None
        if current == holder:
            return None
        self._seen.unchanged(name, record)
        return current or "somebody"
