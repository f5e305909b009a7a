"""Writes a survey to the status: counts, blockers and moves, in lists of bounded length (R28)."""

from __future__ import annotations

from datetime import datetime

from vmferry.prerequisites.stuck import left_over
from vmferry.reconcilers import conditions as c
from vmferry.reconcilers.maintenance.reasons import MaintenanceReason
from vmferry.reconcilers.maintenance.scope import MaintenanceScope
from vmferry.reconcilers.maintenance.survey import Survey
from vmferry.reconcilers.owned_migrations import OwnedMigration, Purpose
from vmferry.resources.base import clip
from vmferry.resources.hostmaintenance import (
    MAX_BLOCKERS,
    MAX_LEFTOVERS,
    MAX_MOVES,
    Blocker,
    LeftoverRecord,
    MaintenanceProgress,
    Move,
)
from vmferry.resources.words import MoveState

#: minimum number of finished moves for an estimate
_ENOUGH = 2


def write_survey(scope: MaintenanceScope, survey: Survey) -> None:
    """Write the progress, blockers, moves and the condition PrerequisitesMet."""
    status, before = scope.status, scope.status.progress
    status.progress = MaintenanceProgress(
        total=survey.total,
        moved=len(survey.moved),
        moving=len(survey.moving),
        waiting=len(survey.waiting) + len(survey.planned),
        blocked=len(survey.blocked) + len(survey.astray),
        staying=len(survey.staying),
        percent=len(survey.moved) * 100 // survey.to_leave if survey.to_leave else 100,
        estimated_end=estimated_end(scope, survey),
    )
    if scope.admitted:
        same = before is not None and _moved(before) == _moved(status.progress)
        status.progress.last_change_at = (before.last_change_at if before and same else None) or scope.now
    status.blockers = [
        Blocker(
            server=clip(one.server.id, 64),
            name=clip(one.server.name, 255) or one.server.id,
            prerequisite=clip(one.hindrance.prerequisite, 64),
            reason=clip(one.hindrance.reason, 64),
            message=clip(one.hindrance.message, 512),
            remedy=clip(one.hindrance.remedy, 512) if one.hindrance.remedy else None,
        )
        for one in [*survey.blocked, *survey.astray][:MAX_BLOCKERS]
    ]
    status.leftover_records = [
        LeftoverRecord(
            migration=clip(record.uuid, 64),
            server=clip(record.server_id, 64),
            message=clip(left_over(record).message, 512),
            remedy=clip(left_over(record).remedy, 512),
        )
        for record in survey.leftovers[:MAX_LEFTOVERS]
    ]
    write_moves(scope, survey)
    if (blocker := survey.first_blocker()) is not None:
        scope.conditions.set(c.PREREQUISITES_MET, False, *blocker)
    else:
        scope.conditions.set(
            c.PREREQUISITES_MET,
            True,
            MaintenanceReason.ALL_PASSED,
            "every server that has to leave passes its prerequisites",
        )


def _moved(progress: MaintenanceProgress) -> tuple[int, int, int]:
    """The counts that change when a server begins to move or has left."""
    return progress.moved, progress.moving, progress.total - progress.staying


def write_moves(scope: MaintenanceScope, survey: Survey) -> None:
    scope.status.moves = _moves(scope, survey)[:MAX_MOVES]


def _moves(scope: MaintenanceScope, survey: Survey) -> list[Move]:
    """The moves in order of interest to a user: moving, failed, waiting, planned, moved."""
    failed = [child for child in scope.this_round() if child.over and not child.succeeded]
    last_failed = {child.server_id: child for child in sorted(failed, key=lambda child: child.number)}
    busy = {child.server_id for child, _ in survey.moving} | survey.moved.keys()
    done = sorted(survey.moved.values(), key=lambda child: (-_at(child), child.server_id))
    return [
        *(move_of(scope, child, MoveState.MOVING) for child, _ in survey.moving),
        *(move_of(scope, child, MoveState.FAILED) for child in last_failed.values() if child.server_id not in busy),
        *(
            Move(
                server=one.server.id,
                name=clip(one.server.name, 255) or one.server.id,
                type=one.child.type if one.child else None,
                target_host=one.child.target_host if one.child else None,
                migration=f"{one.child.namespace}/{one.child.name}" if one.child else None,
                state=MoveState.WAITING,
                message=clip(one.message, 512),
            )
            for one in survey.waiting
            if one.child is None or not one.child.over
        ),
        *(
            Move(
                server=planned.departure.server.id,
                name=clip(planned.departure.server.name, 255) or planned.departure.server.id,
                type=planned.departure.type,
                target_host=planned.target,
                state=MoveState.PLANNED,
                message=clip(why, 512) if why else None,
            )
            for planned in survey.planned
            for why in [planned.waits or survey.limited.get(planned.departure.server.id)]
        ),
        *(move_of(scope, child, MoveState.MOVED) for child in done),
    ]


def move_of(scope: MaintenanceScope, child: OwnedMigration, state: MoveState, message: str | None = None) -> Move:
    server = scope.snapshot.servers.get(child.server_id)
    words = message or (child.message if state is MoveState.FAILED else None)
    return Move(
        server=child.server_id,
        name=clip(server.name, 255) or child.server_id if server else child.server_id,
        type=child.type,
        target_host=child.target_host,
        migration=f"{child.namespace}/{child.name}",
        state=state,
        message=clip(words, 512) if words else None,
    )


def estimated_end(scope: MaintenanceScope, survey: Survey) -> datetime | None:
    """The estimated end by the pace of the moves so far. It changes only when a move ends, so it adds no writes."""
    rest = len(survey.moving) + len(survey.waiting) + len(survey.planned)
    done = [
        child
        for child in scope.this_round()
        if child.succeeded and child.purpose is Purpose.DRAIN and child.started_at is not None
    ]
    if len(done) < _ENOUGH or rest == 0:
        return None
    begun = min(child.started_at for child in done if child.started_at is not None)
    last = max(child.completed_at for child in done if child.completed_at is not None)
    end = last + (last - begun) / len(done) * rest
    return end if end > scope.now else None


def _at(child: OwnedMigration) -> float:
    return child.completed_at.timestamp() if child.completed_at else 0.0
