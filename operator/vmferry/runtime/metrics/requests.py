"""Counts the requests of the two clients, by the names that `metrics` has."""

from __future__ import annotations

from vmferry.cloud.nova import Login
from vmferry.runtime.metrics import definitions as metrics


def cloud_call(service: str, operation: str, code: int | None, seconds: float) -> None:
    """One request of the client to OpenStack; see `cloud.nova.session.OnRequest`."""
    answered = metrics.NO_ANSWER if code is None else str(code)
    metrics.CLOUD_REQUESTS.labels(service, operation, answered).inc()
    metrics.CLOUD_SECONDS.labels(service, operation).observe(seconds)


def cloud_login(login: Login) -> None:
    """After each login."""
    metrics.CLOUD_UNVERIFIED.set(not login.verified)


def kubernetes_call(verb: str, resource: str, code: int | None, seconds: float) -> None:
    """One request to the Kubernetes API."""
    answered = metrics.NO_ANSWER if code is None else str(code)
    metrics.KUBERNETES_REQUESTS.labels(verb, resource, answered).inc()
    metrics.KUBERNETES_SECONDS.labels(verb, resource).observe(seconds)
