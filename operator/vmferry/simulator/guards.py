"""The checks of Nova's decorators before an action: the lock, and the states from which the action may start."""

from __future__ import annotations

from vmferry.simulator.errors import ConflictError
from vmferry.simulator.model import Caller, Server


def require_unlocked(server: Server, caller: Caller) -> None:
    """Only an administrator may act on a locked server. Raises ConflictError."""
    if server.locked_by and not caller.is_admin:
        raise ConflictError(f"Instance {server.id} is locked")


def require_state(server: Server, action: str, *vm_states: str, task: str | None = None) -> None:
    """Require one of these vm_states and this task (usually None). Raises ConflictError for the first mismatch."""
    if vm_states and server.vm_state not in vm_states:
        raise ConflictError.state(action, server.id, "vm_state", server.vm_state)
    if server.task_state != task:
        raise ConflictError.state(action, server.id, "task_state", server.task_state)
