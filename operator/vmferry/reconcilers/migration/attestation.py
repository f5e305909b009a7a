"""`type: Evacuate` attests that a particular host was dead at a particular moment (I12, I38).

The attested host is the host that the spec names, or else the server's host at the first reconcile. It is kept in the
status and does not follow the server. Any contradiction ends the request: the server is on another host, or the host
is alive or was alive after that moment. So no request ever waits for a host to die.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from vmferry.cloud.model import Detail, Host, Part
from vmferry.reconcilers import conditions as c
from vmferry.reconcilers.clock_skew import TOLERANCE, is_ahead
from vmferry.reconcilers.migration.reasons import MigrationReason
from vmferry.reconcilers.migration.scope import POLL, MigrationDecision, MigrationScope
from vmferry.reconcilers.reads import ReadServer
from vmferry.resources.base import clip, format_time
from vmferry.resources.vmmigration import AttestationView
from vmferry.resources.words import MigrationType, Phase

#: a request first reconciled later than this after its creation may have been made when the server was elsewhere
_AT_ONCE = timedelta(seconds=60)
#: Kubernetes truncates creation times to whole seconds
_SECOND = timedelta(seconds=1)
#: Nova's names of the instance actions that can change a server's host
_RELOCATES = frozenset({"create", "evacuate", "live-migration", "migrate", "resize", "revertResize", "unshelve"})


def attests_unseen(scope: MigrationScope) -> bool:
    """Whether an evacuation has no attested host yet, in spec or status, so it attests the server's current host."""
    spec = scope.spec
    return spec.type is MigrationType.EVACUATE and spec.attestation is None and scope.status.attestation is None


def contradiction(scope: MigrationScope) -> MigrationDecision | str | None:
    """What contradicts the attestation; None if nothing does; or a decision that first reads missing facts.

    Writes the attestation to the status. A preflight keeps none.
    """
    if scope.spec.type is not MigrationType.EVACUATE or scope.spec.preflight_only:
        scope.status.attestation = None
        return None
    server = scope.server
    assert server is not None
    problem = _keep(scope)
    if problem is not None:
        return problem
    kept = scope.status.attestation
    assert kept is not None
    if server.host != kept.host:
        where = f"on {server.host}" if server.host else "on no host"
        return f"the request attests that {kept.host} is dead, and the server is {where}"
    if scope.source is None:
        return None
    if scope.source.service.up and not _read_since(scope, kept.at):
        return _wait_for_a_newer_view(scope, scope.source.name)
    return _alive(scope.source, kept)


def _read_since(scope: MigrationScope, moment: datetime) -> bool:
    """Whether the shared view of the hosts was read after the request was made: an older view may miss a host that died
    in between."""
    read_at = scope.snapshot.read_at.get(Part.HOSTS)
    return read_at is not None and read_at > moment + _SECOND


def _wait_for_a_newer_view(scope: MigrationScope, host: str) -> MigrationDecision:
    message = f"the compute service of {host} was last read before the request was made; it is read again"
    if scope.conditions.get(c.PREREQUISITES_MET) is None:
        scope.conditions.set(c.PREREQUISITES_MET, None, MigrationReason.CLOUD_VIEW_STALE, message)
    scope.progressing(MigrationReason.CLOUD_VIEW_STALE, message)
    return scope.decide(scope.status.phase or Phase.PENDING, requeue_after=POLL)


def _keep(scope: MigrationScope) -> MigrationDecision | str | None:
    """Write the attestation to the status, once; the returned text states why that is impossible."""
    named, kept = scope.spec.attestation, scope.status.attestation
    if named is not None:
        if named.at is not None and is_ahead(named.at, scope.now):
            return f"spec.attestation.at is in the future: {format_time(named.at)}"
        found = scope.snapshot.find_host(named.host)
        name = found.name if found else clip(named.host, 255)
        moment = named.at or (kept.at if kept is not None and kept.host == name else _moment(scope))
        scope.status.attestation = AttestationView(host=name, at=moment)
        return None
    if kept is not None:
        return None
    server = scope.server
    assert server is not None
    if server.host is None:
        return "the server is on no host, so the request attests no host to be dead"
    late = _seen_too_late(scope, server.host)
    if late is None:
        scope.status.attestation = AttestationView(host=clip(server.host, 255), at=_moment(scope))
    return late


def _moment(scope: MigrationScope) -> datetime:
    """When the attestation was made: at the object's creation, or now if the object became an evacuation later."""
    created = scope.obj.metadata.creation_timestamp
    return min(created, scope.now) if created is not None and not scope.seen_before else scope.now


def _seen_too_late(scope: MigrationScope, host: str) -> MigrationDecision | str | None:
    """Whether the server may have been on another host when the request was made."""
    if scope.seen_before:
        before = scope.obj.status.source_host
        return f"the server was on {before} when it was last checked, and is on {host}" if before != host else None
    created = scope.obj.metadata.creation_timestamp
    if created is None or scope.now - created <= _AT_ONCE:
        return None
    detail = scope.world.answer(ReadServer)
    if detail is None or detail.actions is None or not scope.has_fresh_detail():
        return scope.needs(actions=True)
    if not _may_have_moved(detail, created - TOLERANCE):
        return None
    return (
        f"the request was made at {format_time(created)} and is first reconciled now; the server may have been on "
        "another host then"
    )


def _may_have_moved(detail: Detail, since: datetime) -> bool:
    acted = any(
        action.action in _RELOCATES and (action.started_at is None or action.started_at >= since)
        for action in detail.actions or ()
    )
    return acted or any(_touched(m.updated_at or m.created_at, since) for m in detail.migrations)


def _touched(text: str, since: datetime) -> bool:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return True
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) >= since


def _alive(host: Host, kept: AttestationView) -> str | None:
    service = host.service
    if service.up:
        return f"{host.name} is not dead: its compute service is up"
    witness = next((fact for fact in host.facts.responding if fact.value), None)
    if witness is not None:
        return f"{host.name} may not be dead: it responds, according to {witness.origin}"
    if service.last_seen is not None and service.last_seen - kept.at > TOLERANCE:
        return (
            f"{host.name} was attested dead at {format_time(kept.at)}, and its compute service reported after that, at "
            f"{format_time(service.last_seen)}"
        )
    return None
