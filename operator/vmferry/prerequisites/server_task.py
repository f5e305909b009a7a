"""ServerTask (R18, I3): the server has no task, no pending resize and no other migration.

For Evacuate, only another evacuation counts: everything else on the dead host has ended with it (I15).
"""

from __future__ import annotations

from vmferry.cloud.model import NOVA_TYPE, Migration, MigrationStage, ResolvedType, nothing_to_confirm
from vmferry.prerequisites.check import Finding, Question, failed, passed
from vmferry.prerequisites.enums import Name, Reason
from vmferry.prerequisites.moves import Moves
from vmferry.prerequisites.stuck import stuck


def _failed(reason: Reason, message: str, remedy: str, host: str | None) -> Finding:
    return failed(Name.SERVER_TASK, reason, message, remedy, host)


def check(question: Question) -> Finding:
    server = question.server
    records = question.snapshot.migrations_by_server.get(server.id, ())
    other = next((m for m in records if m.open and _matters(m, question) and not nothing_to_confirm(m, server)), None)
    evacuate = question.type is ResolvedType.EVACUATE
    leftover = next((m for m in records if nothing_to_confirm(m, server)), None)
    if leftover is not None and question.type is ResolvedType.COLD:
        # Nova confirms the first record that it finds in this status (`migration_get_by_instance_and_status`)
        return _failed(
            Reason.LEFTOVER_RECORD,
            f"{leftover.type} {leftover.uuid} of this server was never ended ({leftover.status}, but the server is "
            f"{server.status}); Nova would confirm it instead of a new cold migration",
            "ask for type Live; or set the status of that record to error in Nova's database, which has no call for it",
            server.host,
        )
    pending = server.vm_state == "resized" or (other is not None and other.stage is MigrationStage.FINISHED)
    found = stuck(
        server,
        [m for m in records if m.open and _matters(m, question)],
        question.snapshot.cloud_time(question.now),
        question.policy.stuck_after,
    )
    if found is not None and (not evacuate or found.reason is Reason.LEFTOVER_RECORD):
        return _failed(found.reason, found.message, found.remedy, server.host)
    if pending and not evacuate:
        return _failed(
            Reason.RESIZE_PENDING,
            "a resize or cold migration waits for its confirmation",
            f"`openstack server resize confirm {server.id}`, or revert it",
            server.host,
        )
    if other is not None:
        return _failed(
            Reason.TASK_IN_PROGRESS,
            f"{other.type} {other.uuid} of this server is {other.status}",
            "wait until it has ended",
            server.host,
        )
    if server.id in Moves.of(question.moves).servers:
        return _failed(
            Reason.TASK_IN_PROGRESS,
            "another VMMigration is moving this server",
            "wait until that one has ended, or delete it",
            server.host,
        )
    if server.task_state is not None and evacuate:
        return passed(Name.SERVER_TASK, f"the failed host was busy with {server.task_state}; that has ended with it")
    if server.task_state is not None:
        return _failed(
            Reason.TASK_IN_PROGRESS,
            f"Nova is busy with the server: {server.task_state}",
            "wait until the task has ended",
            server.host,
        )
    return passed(Name.SERVER_TASK, "idle")


def _matters(migration: Migration, question: Question) -> bool:
    if question.type is ResolvedType.EVACUATE:
        return migration.type == NOVA_TYPE[ResolvedType.EVACUATE]
    return True
