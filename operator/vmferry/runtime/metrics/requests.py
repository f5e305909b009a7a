"""Records the requests of the OpenStack and Kubernetes clients in the metrics."""

from __future__ import annotations

from vmferry.cloud.nova import Login
from vmferry.runtime.metrics import definitions as metrics


def cloud_call(service: str, operation: str, code: int | None, seconds: float) -> None:
    """Record one request to OpenStack; a `cloud.nova.session.OnRequest`."""
    answered = metrics.NO_ANSWER if code is None else str(code)
    metrics.CLOUD_REQUESTS.labels(service, operation, answered).inc()
    metrics.CLOUD_SECONDS.labels(service, operation).observe(seconds)


def cloud_login(login: Login) -> None:
    """Record a login: whether the TLS certificate was verified."""
    metrics.CLOUD_UNVERIFIED.set(not login.verified)


def kubernetes_call(verb: str, resource: str, code: int | None, seconds: float) -> None:
    """Record one request to the Kubernetes API."""
    answered = metrics.NO_ANSWER if code is None else str(code)
    metrics.KUBERNETES_REQUESTS.labels(verb, resource, answered).inc()
    metrics.KUBERNETES_SECONDS.labels(verb, resource).observe(seconds)
