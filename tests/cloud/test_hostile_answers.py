"""Whatever a cloud answers, a read ends in the model's own types or in a `CloudError` that says what was wrong.

A small simulated cloud is asked by the real client; something in each answer is then replaced, dropped or doubled.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.build import index_migrations, index_servers
from testbed.storm.cloud import Answer, Client, Site, Weather, Wire, connected
from testbed.storm.draw import draw_fleet
from tests.examples import examples
from vmferry.cloud.contradictions import doubtful_hosts
from vmferry.cloud.model import Service, index_groups
from vmferry.cloud.nova import CloudError, NovaClient
from vmferry.cloud.nova.parse import join_hosts
from vmferry.cloud.nova.well_typed import check
from vmferry.simulator import fleet

#: what stands somewhere in an answer instead of what belongs there
JUNK: list[Any] = [
    None, True, False, 0, -1, 2**63, -(2**70), 10**400, 1.5, float("nan"), float("inf"), "", " ", "\x00", "\ud800",
    "\x1b[2J", "{{ x }}", "UNKNOWN", "teleporting", "9999-99-99T99:99:99Z", "0001-01-01T00:00:00+23:59", "a" * 5000,
    [], {}, [None], [[]], [{}], {"id": None}, {"": {}}, {"a": [1]},
]  # fmt: skip


class Mangled(Wire):
    """Answers with something wrong in them."""

    dice: Random | None = None

    def request(self, *words: Any, **options: Any) -> Answer:
        answer = super().request(*words, **options)
        if self.dice is None:
            return answer
        return Answer(answer.status_code, mangle(copy.deepcopy(answer.json()), self.dice), answer.headers)


def mangle(body: Any, dice: Random) -> Any:
    """One to three things are not what they were."""
    for _ in range(dice.randint(1, 3)):
        places = list(_places(body))
        if not places or dice.random() < 0.02:
            return dice.choice(JUNK)
        where, key = dice.choice(places)
        if dice.random() < 0.3:
            del where[key]
        elif isinstance(where, list) and dice.random() < 0.2:
            where.append(copy.deepcopy(where[key]))
        else:
            where[key] = copy.deepcopy(dice.choice(JUNK))
    return body


def _places(part: Any) -> Iterator[tuple[Any, Any]]:
    pairs = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    for key, inner in pairs:
        yield part, key
        yield from _places(inner)


@cache
def site() -> Site:
    """With servers, groups, migrations that run and ended, and what was asked of them."""
    made = Site(fleet.build(draw_fleet(Random(5))))
    for number, server in enumerate(list(made.cloud.servers.values())[:4]):
        body = {"os-migrateLive": {"host": None, "block_migration": "auto"}} if number % 2 else {"migrate": None}
        made.ask("somebody", "compute", "POST", f"/servers/{server.id}/action", (), body)
        made.cloud.clock.step(1)
    return made


def client(dice: Random | None) -> NovaClient:
    wires = {
        service: Mangled(site(), service, Weather(), lambda *_: None)
        for service in ("compute", "identity", "placement")
    }
    for wire in wires.values():
        wire.dice = dice
    made = Client(lambda: None, lambda: connected(wires, "us"))
    made.connect()
    return made


def hosts(of: NovaClient) -> Any:
    """As the observer joins them."""
    services: list[Service] = of.services()
    hypervisors = of.hypervisors()
    resources, doubtful = of.resources([one.id for one in hypervisors]), doubtful_hosts(services, hypervisors)
    return join_hosts(services, hypervisors, of.aggregates(), resources, doubtful)


def indexed(of: NovaClient) -> Any:
    """As the observer indexes what it read."""
    servers, migrations, groups = of.servers()[0], of.migrations(), of.server_groups()
    index_servers({one.id: one for one in servers})
    index_migrations({one.uuid: one for one in migrations})
    index_groups(groups)
    return servers


def a_server() -> str:
    return next(iter(site().cloud.servers))


def a_host() -> str:
    return next(iter(site().cloud.hosts))


READS: dict[str, Callable[[NovaClient], Any]] = {
    "servers": lambda of: of.servers()[0],
    "server": lambda of: of.server(a_server()),
    "migrations": lambda of: of.migrations(),
    "server_migrations": lambda of: of.server_migrations(a_server()),
    "actions": lambda of: of.actions(a_server()),
    "progress": lambda of: of.progress(list(site().cloud.servers)[1], 2),
    "services": lambda of: of.services(),
    "hypervisors": lambda of: of.hypervisors(),
    "aggregates": lambda of: of.aggregates(),
    "server_groups": lambda of: of.server_groups(),
    "projects": lambda of: of.projects(),
    "host_look": lambda of: of.host_look(a_host())[1],
    "hosts": hosts,
    "indexed": indexed,
}


@pytest.mark.parametrize("name", READS)
def test_an_answer_as_it_should_be_is_read(name: str) -> None:
    check(READS[name](client(None)))


@examples(400)
@given(st.sampled_from(sorted(READS)), st.integers(0, 2**32))
def test_I35_whatever_is_wrong_in_an_answer_the_read_fails_by_name_or_brings_what_it_promises(
    name: str, seed: int
) -> None:
    with suppress(CloudError):
        check(READS[name](client(Random(seed))))
