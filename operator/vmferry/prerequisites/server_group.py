"""ServerGroup (R18, I25): affinity and anti-affinity hold before, during and after the move.

Nova checks them twice, in its scheduler and again on the target, and the rules here match it (R21):

- anti-affinity: fewer than `max_server_per_host` other members on the target, including members on their way to it
  or from it.
- affinity: another member must be on the target. Nova counts the server's own host among the group's hosts, so it
  never moves the last members on one host to a new host: a group on a single host stays there.
- a policy that is already violated does not forbid a move that does not violate it further.
- soft policies never forbid anything; `planning.targets` ranks hosts by them.

Stricter than Nova: two members of one group are never in flight together.
"""

from __future__ import annotations

from vmferry.cloud.model import (
    CONTRADICTORY,
    NOVA_TYPE,
    Migration,
    MigrationStage,
    ResolvedType,
    ServerGroup,
    nothing_to_confirm,
)
from vmferry.prerequisites.check import Finding, Question, failed, passed, unknown
from vmferry.prerequisites.enums import Name, Reason
from vmferry.prerequisites.moves import Moves

_NAME = Name.SERVER_GROUP
_COPYING = (MigrationStage.IN_FLIGHT, MigrationStage.UNKNOWN)


def check(question: Question) -> Finding:
    group, target = question.group, question.target
    assert target is not None
    if group is None:
        return passed(_NAME, "in no server group", target.name)
    if group.policy == CONTRADICTORY:
        return unknown(
            _NAME,
            f"Nova lists the server in several server groups ({group.name}); which of them holds is unknown",
            f"delete the group that is wrong: {group.id}",
            target.name,
        )
    if group.policy.startswith("soft-"):
        return passed(
            _NAME, f"{group.policy} of group {group.name} is a preference: it counts in the rank", target.name
        )
    hidden = question.snapshot.hides(group.members)
    if hidden:
        return unknown(
            _NAME,
            f"{len(hidden)} members of the {group.policy} group {group.name} are in a cell that Nova cannot reach: "
            "where they are is unknown",
            "bring that cell back; or tolerateUnknown: [ServerGroup], and Nova decides alone",
            target.name,
        )
    if (moving := _in_flight(question, group)) is not None:
        return failed(
            _NAME,
            Reason.AFFINITY_CONFLICT,
            f"{_title(question, moving)} of the same {group.policy} group {group.name} is on its way: "
            "its members move one after another",
            "wait: it continues when that move has ended",
            target.name,
            waits=True,
        )
    if group.policy == "anti-affinity":
        return _apart(question, group, target.name)
    if group.policy == "affinity":
        return _together(question, group, target.name)
    return passed(_NAME, f"group {group.name} has the policy {group.policy}, which forbids no move", target.name)


def others_on(question: Question, host: str) -> frozenset[str]:
    """Ids of the other members of the server's group that are on the host or in flight to it."""
    group, snapshot = question.group, question.snapshot
    if group is None:
        return frozenset()
    others = group.members - {question.server.id}
    there = {one for one in others if (found := snapshot.servers.get(one)) is not None and found.host == host}
    records = {m.server_id for one in others for m in _open(question, one) if m.target_host == host}
    decided = {move.server_id for move in Moves.of(question.moves).by_target.get(host, ())}
    return frozenset(there | records | (decided & others))


def _apart(question: Question, group: ServerGroup, target: str) -> Finding:
    # a cold migration that waits for its confirmation may still be reverted, so Nova counts its source too
    others = group.members - {question.server.id}
    leaving = {m.server_id for one in others for m in _open(question, one) if m.source_host == target}
    found = others_on(question, target) | leaving
    if len(found) < group.max_server_per_host:
        return passed(_NAME, f"anti-affinity of group {group.name} holds on {target}", target)
    names = ", ".join(sorted(_title(question, one) for one in found)[:3])
    return failed(
        _NAME,
        Reason.AFFINITY_CONFLICT,
        f"{target} has {len(found)} other members of the anti-affinity group {group.name} ({names}), "
        f"{group.max_server_per_host} may be on one host",
        f"choose a host without members of {group.name}",
        target,
    )


def _together(question: Question, group: ServerGroup, target: str) -> Finding:
    others = group.members - {question.server.id}
    hosts = [found.host for one in others if (found := question.snapshot.servers.get(one)) is not None and found.host]
    if hosts.count(target) > 0 and hosts.count(target) >= hosts.count(question.server.host or ""):
        return passed(_NAME, f"{target} holds other members of the affinity group {group.name}", target)
    elsewhere = sorted(set(hosts) - {question.server.host})
    if hosts.count(target) > 0:
        return failed(
            _NAME,
            Reason.AFFINITY_CONFLICT,
            f"{target} holds fewer of the affinity group {group.name} than {question.server.host}, where it is",
            f"move those on {', '.join(elsewhere)} to {question.server.host}",
            target,
        )
    remedy = f"choose {' or '.join(elsewhere)}, or " if elsewhere else ""
    return failed(
        _NAME,
        Reason.AFFINITY_CONFLICT,
        f"{target} holds no other member of the affinity group {group.name}, and Nova moves its members to no other "
        "host than those that do",
        f"{remedy}delete the group if it is no longer needed: `openstack server group delete {group.id}`",
        target,
    )


def _in_flight(question: Question, group: ServerGroup) -> str | None:
    """Another member that is moving now, requested by anybody, or None."""
    others = group.members - {question.server.id}
    moving = others & Moves.of(question.moves).servers
    moving |= {one for one in others for m in _open(question, one) if m.stage in _COPYING and _alive(question, m)}
    return min(moving, default=None)


def _alive(question: Question, migration: Migration) -> bool:
    """Whether the migration can still make progress; except for evacuations, it ends with a dead source host."""
    source = question.snapshot.hosts.get(migration.source_host or "")
    evacuation = migration.type == NOVA_TYPE[ResolvedType.EVACUATE]
    return evacuation or source is None or source.service.up


def _open(question: Question, server_id: str) -> list[Migration]:
    snapshot = question.snapshot
    server = snapshot.servers.get(server_id)
    return [m for m in snapshot.migrations_by_server.get(server_id, ()) if m.open and not nothing_to_confirm(m, server)]


def _title(question: Question, server_id: str) -> str:
    found = question.snapshot.servers.get(server_id)
    return found.name if found is not None else server_id
