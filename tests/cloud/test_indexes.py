"""An index that follows what changed says what one made anew says."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from testbed.build import index_migrations, index_servers, migration, server
from vmferry.cloud.indexes import reindex_migrations, reindex_servers
from vmferry.cloud.model import (
    Migration,
    Server,
)

HOSTS = ("a", "b", "c", None)


def test_servers_by_host_follow_every_change() -> None:
    for seed in range(50):
        dice = Random(seed)
        servers: dict[str, Server] = {}
        by_host: Mapping[str, tuple[str, ...]] = {}
        for _ in range(20):
            names = dice.sample([f"web-{n}" for n in range(12)], dice.randint(0, 4))
            there = [server(name=name, host=dice.choice(HOSTS), locked=dice.random() < 0.5) for name in names]
            gone = set(dice.sample(sorted(servers), dice.randint(0, min(2, len(servers)))))
            changed = {one.id: None if one.id in gone else one for one in there} | dict.fromkeys(gone)
            by_host = reindex_servers(by_host, servers, changed)
            servers |= {server_id: one for server_id, one in changed.items() if one is not None}
            servers = {server_id: one for server_id, one in servers.items() if server_id not in gone}
            anew = index_servers(servers)
            assert {host: sorted(ids) for host, ids in by_host.items()} == {h: sorted(ids) for h, ids in anew.items()}


def test_migrations_by_server_follow_every_change() -> None:
    for seed in range(50):
        dice = Random(seed)
        migrations: dict[str, Migration] = {}
        by_server: Mapping[str, tuple[Migration, ...]] = {}
        for _ in range(20):
            numbers = dice.sample(range(1, 15), dice.randint(0, 4))
            news = {
                one.uuid: one
                for one in (
                    migration(server(name=f"web-{n % 4}"), n, status=dice.choice(("running", "completed")))
                    for n in numbers
                )
            }
            lost = dice.sample(sorted(migrations), dice.randint(0, min(2, len(migrations))))
            by_server = reindex_migrations(by_server, news.values(), [migrations[uuid] for uuid in lost])
            migrations = {uuid: one for uuid, one in {**migrations, **news}.items() if uuid not in lost}
            assert by_server == index_migrations(migrations)
