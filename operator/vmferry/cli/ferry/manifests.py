"""Converts command lines to manifests. Pure; the result is the same for the cluster and for `--dry-run=client`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from pydantic import ValidationError

from vmferry.cli.ferry.kube import FIELD_MANAGER, FerryError, Kind
from vmferry.cli.select import is_id
from vmferry.planning.breaker import CLOUD
from vmferry.reconcilers.owned import CLASS
from vmferry.resources.base import API_VERSION, format_duration, format_time
from vmferry.resources.hostmaintenance import HostMaintenance
from vmferry.resources.vmmigration import VMMigration
from vmferry.resources.words import MigrationType, Priority
from vmferry.runtime.kube_api import Body

#: the operator's `resumeMarks`
RESUME_MARKS = "vmferry-resume"
#: maximum length of a name before its suffix
_NAME_LENGTH = 50
#: maximum length of a host name that becomes an object's name as it is; Kubernetes allows 253 characters
_HOST_LENGTH = 200
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


@dataclass(frozen=True, slots=True)
class Attested:
    """An attestation that a host is dead: by whom, and when."""

    host: str
    at: datetime
    by: str | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """The fields of a VMMigration; None leaves a field to its default."""

    server: str
    type: MigrationType
    project: str | None = None
    host: str | None = None
    stop_if_running: bool = False
    timeout: timedelta | None = None
    priority: Priority | None = None
    os_upgrade: bool = False
    preflight_only: bool = False
    #: the operator class of the object
    class_: str | None = None
    start_before: datetime | None = None
    attestation: Attested | None = None


@dataclass(frozen=True, slots=True)
class Drain:
    """The fields of a HostMaintenance; None leaves a field unchanged."""

    host: str
    reason: str | None = None
    target: str | None = None
    max_parallel: int | None = None
    return_vms: bool | None = None
    preflight_only: bool = False
    #: the operator class of the object
    class_: str | None = None


def server_ref(text: str, project: str | None) -> dict[str, str]:
    """Parse SERVER: a UUID, `project/name`, or with --project a name. Raises FerryError."""
    if is_id(text.lower()):
        if project is not None:
            raise FerryError(f"{text} is an id: --project goes with a name only")
        return {"id": text.lower()}
    if project is not None:
        return {"name": text, "project": project}
    before, slash, name = text.partition("/")
    if not (slash and before and name):
        raise FerryError(f"{text!r} is no server id: name its project, as PROJECT/{text.strip('/') or 'NAME'}")
    return {"name": name, "project": before}


def migration_name(ref: dict[str, str], kind: MigrationType, suffix: str) -> str:
    """Return a unique name for each request, because a server may be moved more than once."""
    base = dns_name(ref["name"]) if "name" in ref else ref["id"][:8]
    return f"{base}-{kind.lower()}-{suffix}"


def dns_name(text: str) -> str:
    """Convert text to a valid object name (RFC 1123) that resembles it."""
    clean = re.sub(r"[^a-z0-9.-]+", "-", text.lower())[:_NAME_LENGTH]
    labels = [label.strip("-") for label in clean.split(".")]
    return ".".join(label for label in labels if label) or "unnamed"


def maintenance_name(host: str, class_: str | None = None) -> str:
    """Return the host's name if it is a valid object name; else add a hash, because `rack_1` and `rack-1` are two
    hosts."""
    fits = _SUBDOMAIN.fullmatch(host) and len(host) <= _HOST_LENGTH
    digest = sha256(host.encode(errors="surrogatepass")).hexdigest()[:10]
    name = host if fits else f"{dns_name(host)}-{digest}"
    return f"{name}-{class_}" if class_ else name


def migration(wish: Move, *, name: str | None, namespace: str | None, suffix: str) -> Body:
    """Return a VMMigration with only the requested fields. Raises FerryError."""
    ref = server_ref(wish.server, wish.project)
    spec: Body = {"server": ref, "type": str(wish.type)}
    if wish.host is not None:
        spec["target"] = {"host": wish.host}
    if wish.stop_if_running:
        spec["stopIfRunning"] = True
    if wish.timeout is not None:
        spec["timeout"] = format_duration(wish.timeout)
    if wish.preflight_only:
        spec["preflightOnly"] = True
    if wish.priority is not None:
        spec["priority"] = str(wish.priority)
    if wish.os_upgrade:
        spec["osUpgrade"] = True
    if wish.start_before is not None:
        spec["startBefore"] = format_time(wish.start_before)
    if wish.attestation is not None:
        by = {"by": wish.attestation.by} if wish.attestation.by else {}
        spec["attestation"] = {"host": wish.attestation.host, **by, "at": format_time(wish.attestation.at)}
    metadata: Body = {"name": name or migration_name(ref, wish.type, suffix)}
    if wish.class_ is not None:
        metadata["labels"] = {CLASS: wish.class_}
    if namespace is not None:
        metadata["namespace"] = namespace
    return _checked(VMMigration, metadata, spec)


def maintenance(wish: Drain, existing: Body | None = None) -> Body:
    """Return a HostMaintenance that drains the host. If it is already enabled, it keeps the fields that we applied
    earlier."""
    spec: Body = {}
    if existing is not None and existing["spec"].get("enabled", True):
        spec = owned_spec(existing)
    spec |= {"host": existing["spec"]["host"] if existing else wish.host, "enabled": True}
    if wish.reason is not None:
        spec["reason"] = wish.reason
    if wish.target is not None:
        spec["target"] = {"host": wish.target}
    if wish.max_parallel is not None:
        spec["maxParallel"] = wish.max_parallel
    if wish.preflight_only:
        spec["preflightOnly"] = True
    elif existing is not None and existing["spec"].get("preflightOnly"):
        # Set regardless of the owner of the field: a requested drain must not remain a preflight. If another manager
        # owns the field, the API server reports the conflict.
        spec["preflightOnly"] = False
    if wish.return_vms is not None:
        spec["returnVMs"] = wish.return_vms
    return _checked(HostMaintenance, _metadata(wish.host, wish.class_, existing), spec)


def release(host: str, existing: Body | None = None, class_: str | None = None) -> Body:
    """Return the HostMaintenance switched off. It keeps the fields that we applied earlier, or `returnVMs` would be
    lost."""
    spec = owned_spec(existing) if existing else {}
    spec |= {"host": existing["spec"]["host"] if existing else host, "enabled": False}
    return _checked(HostMaintenance, _metadata(host, class_, existing), spec)


def _metadata(host: str, class_: str | None, existing: Body | None) -> Body:
    if existing is not None:
        name, class_ = str(existing["metadata"]["name"]), class_of(existing)
    else:
        name = maintenance_name(host, class_)
    return {"name": name, **({"labels": {CLASS: class_}} if class_ else {})}


def class_of(body: Body) -> str | None:
    """The operator class of an object."""
    label: str | None = (body["metadata"].get("labels") or {}).get(CLASS)
    return label


def find_maintenance(host: str, bodies: Iterable[Body], class_: str | None = None) -> Body | None:
    """Find the maintenance of a host. Of several, prefer the one with the host's name, else the oldest, as the operator
    does.

    Raises FerryError if it is ambiguous: there are maintenances of several operator classes, or an object with the
    host's name is for another host.
    """
    listed = sorted(bodies, key=lambda body: (body["metadata"].get("creationTimestamp", ""), body["metadata"]["name"]))
    if class_ is not None:
        listed = [body for body in listed if class_of(body) == class_]
    named = next((body for body in listed if body["metadata"]["name"] == host), None)
    mine = [body for body in listed if host in (body["spec"]["host"], _status(body).get("host"))]
    if len(classes := {class_of(body) or "" for body in mine}) > 1:
        words = ", ".join(sorted(filter(None, classes)))
        raise FerryError(
            f"several operators have a HostMaintenance for the host {host}: name one with --class ({words})"
        )
    if mine:
        return named if named in mine else mine[0]
    if named is None:
        return None
    if is_id(named["spec"]["host"].lower()) and "host" not in _status(named):
        return named  # its UUID is not resolved to a host yet
    raise FerryError(
        f"HostMaintenance {host} is for the host {host_of(named)}: say {host_of(named)} if you mean that one"
    )


def find_named(name: str, bodies: Iterable[Body]) -> Body | None:
    """Find the object of that name, for reading only."""
    return next((body for body in bodies if body["metadata"]["name"] == name), None)


def _status(body: Body) -> Body:
    status = body.get("status")
    return status if isinstance(status, dict) else {}


def host_of(body: Body) -> str:
    """The service host of a HostMaintenance, from its status if possible."""
    return str(_status(body).get("host") or body["spec"]["host"])


def resume_mark(host: str | None, now: datetime, namespace: str) -> Body:
    """The ConfigMap that closes the breaker of a host, or of all hosts (`vmferry.reconcilers.breaker_resume`)."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": RESUME_MARKS, "namespace": namespace},
        "data": {host or CLOUD: format_time(now)},
    }


def rivals(body: Body, bodies: Iterable[Body]) -> list[str]:
    """The names of other enabled maintenances, which would keep the host in maintenance."""
    return sorted(
        other["metadata"]["name"]
        for other in bodies
        if other["metadata"]["name"] != body["metadata"]["name"]
        and other["spec"]["host"] == body["spec"]["host"]
        and other["spec"].get("enabled", True)
    )


def owned_spec(body: Body) -> Body:
    """The part of the spec that we applied: server-side apply removes fields that their manager omits."""
    for entry in body["metadata"].get("managedFields") or ():
        if entry.get("manager") == FIELD_MANAGER and entry.get("operation") == "Apply" and not entry.get("subresource"):
            return _owned(entry.get("fieldsV1", {}).get("f:spec", {}), body["spec"])
    return {}


def _owned(fields: Body, value: Body) -> Body:
    owned: Body = {}
    for key, below in fields.items():
        field = key.removeprefix("f:")
        if not key.startswith("f:") or field not in value:
            continue
        inner = value[field]
        deeper = any(key.startswith("f:") for key in below)
        owned[field] = _owned(below, inner) if deeper and isinstance(inner, dict) else inner
    return owned


def _checked(kind: Kind, metadata: Body, spec: dict[str, Any]) -> Body:
    """Validate an object with its model, so that an invalid manifest is neither sent nor printed. Raises FerryError."""
    body = {"apiVersion": API_VERSION, "kind": kind.KIND, "metadata": metadata, "spec": spec}
    try:
        kind.read(body)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise FerryError(f"{field}: {first['msg'].removeprefix('Value error, ')}") from error
    return body
