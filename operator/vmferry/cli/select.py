"""Selection of the servers that a command line names."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from vmferry.cloud.model import Server, Snapshot
from vmferry.cloud.similar_names import did_you_mean

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class SelectionError(Exception):
    """The selection is not possible; the message explains what to do instead."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What the command line selects; exactly one of `servers`, `hosts` and `everything` is set."""

    #: ids, or names within `project`
    servers: tuple[str, ...] = ()
    #: name or id
    project: str | None = None
    #: service host names or hypervisor UUIDs
    hosts: tuple[str, ...] = ()
    everything: bool = False

    @property
    def ids(self) -> tuple[str, ...]:
        """The servers that are selected by id."""
        return tuple(text for text in self.servers if is_id(text))


def is_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None


def select(selection: Selection, snapshot: Snapshot) -> tuple[list[Server], dict[str, str]]:
    """Find the selected servers.

    Returns the servers, each once, and a message for each text of `selection.servers` that matches no single server.
    Raises SelectionError for an unknown host.
    """
    if selection.everything:
        return list(snapshot.servers.values()), {}
    if selection.hosts:
        ids = {server_id for text in selection.hosts for server_id in _on(text, snapshot)}
        return [snapshot.servers[server_id] for server_id in ids], {}
    servers: dict[str, Server] = {}
    missing: dict[str, str] = {}
    for text in selection.servers:
        meant = _meant(text, selection.project, snapshot)
        if isinstance(meant, Server):
            servers[meant.id] = meant
        else:
            missing[text] = meant
    return list(servers.values()), missing


def _on(text: str, snapshot: Snapshot) -> Collection[str]:
    host = snapshot.find_host(text)
    doubt = None if host else snapshot.find_doubt(text)
    name = host.name if host else doubt.name if doubt else text
    if host is None and doubt is None and name not in snapshot.servers_by_host:
        hint = did_you_mean(text, snapshot.hosts)
        raise SelectionError(f"the cloud has no host {text}: {hint}see `openstack compute service list`")
    return snapshot.servers_by_host.get(name, ())


def _meant(text: str, project: str | None, snapshot: Snapshot) -> Server | str:
    """The server, or a message that explains why it was not found."""
    if is_id(text):
        return snapshot.servers.get(text) or f"the cloud has no server {text}"
    ambiguous = snapshot.ambiguous_project(project or "")
    if ambiguous is not None:
        return ambiguous
    candidates = snapshot.find_servers(text, project or "")
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        return snapshot.not_found(text, project or "")
    ids = ", ".join(sorted(s.id for s in candidates)[:10])
    return f"{len(candidates)} servers are named {text} in {project}; give one id of: {ids}"
