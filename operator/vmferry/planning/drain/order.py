"""The order of a drain's moves (R26): the owner's priority first, then the order that uses the limits best.

Within one priority, the targets alternate, so that the limit of one target does not delay the others. For each target
the biggest copy comes first, so that the longest moves do not remain for the end; in each round too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from vmferry.cloud.model import ResolvedType
from vmferry.planning.drain.choice import ServerToPlace
from vmferry.planning.storage_class import storage_class
from vmferry.prerequisites.check import Question
from vmferry.prerequisites.server_lock import PRIORITY_KEY
from vmferry.resources.words import StorageClass

#: priorities by metadata value, in lower case; any other value, or none, counts as `normal`
_RANKS = {"high": 0, "normal": 1, "low": 2}
_MIB_PER_GIB = 1024


def copied_mib(question: Question) -> int:
    """MiB that a move copies: memory, and disks that are not on shared storage; an evacuation copies nothing."""
    server = question.server
    if question.type is ResolvedType.EVACUATE:
        return 0
    local = storage_class(server, question.source, question.policy) in (StorageClass.EPHEMERAL_LOCAL, None)
    return server.flavor.memory_mb + (server.local_disk_gb * _MIB_PER_GIB if local else 0)


def in_turn(placed: Iterable[ServerToPlace]) -> list[ServerToPlace]:
    """All servers that have a target, in the order in which they should start."""

    def size(one: ServerToPlace) -> tuple[int, str, str]:
        return -copied_mib(one.question), one.server.name, one.server.id

    queues: defaultdict[tuple[int, str], list[ServerToPlace]] = defaultdict(list)
    for one in placed:
        rank = _RANKS.get(one.server.metadata.get(PRIORITY_KEY, ""), 1)
        queues[rank, one.target or ""].append(one)
    turns = [
        (rank, turn, size(one), one)
        for (rank, _), queue in queues.items()
        for turn, one in enumerate(sorted(queue, key=size))
    ]
    return [one for *_, one in sorted(turns, key=lambda entry: entry[:3])]
