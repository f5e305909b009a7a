"""The ended attempts in a VMMigration's status: the history from which the breakers are computed (I37)."""

from __future__ import annotations

from vmferry.cloud.model import ResolvedType
from vmferry.planning.breaker import EndedAttempt
from vmferry.prerequisites.check import BrokenServer
from vmferry.reconcilers.migration.attempts import DELETED, REFUSED, SERVER_GONE, counts, ended_by_others, succeeded
from vmferry.resources.vmmigration import VMMigration


def ended_attempts(obj: VMMigration) -> tuple[EndedAttempt, ...]:
    """Oldest first, without evacuations, which a breaker neither counts nor holds."""
    server = obj.status.server
    if server is None:
        return ()
    return tuple(
        EndedAttempt(
            migration=obj.key,
            number=one.number,
            server_id=server.id,
            server_name=server.name,
            type=one.type,
            source=one.source_host,
            target=one.target_host,
            started_at=one.started_at,
            ended_at=one.ended_at,
            succeeded=succeeded(one),
            left_in_error=one.failure.left_in_error if one.failure else False,
            cause=one.failure.cause if one.failure else None,
            message=one.message or "",
            begun=one.state != REFUSED,
            by_people=one.stop_reason == DELETED or ended_by_others(one),
        )
        for one in obj.status.attempts
        if one.ended_at is not None
        and one.type is not ResolvedType.EVACUATE
        and counts(one)
        and one.state != SERVER_GONE
    )


def broken_server(attempt: EndedAttempt) -> BrokenServer:
    return BrokenServer(
        by=f"VMMigration {attempt.migration}",
        attempt=attempt.number,
        type=attempt.type,
        source=attempt.source,
        target=attempt.target,
        at=attempt.ended_at,
        message=attempt.message,
    )
