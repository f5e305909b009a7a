"""Where a server goes when nobody names a host: Nova's weights."""

from __future__ import annotations

import pytest

from tests.simulator.bench import Bench

#: host -> version of qemu
ALIKE = dict.fromkeys(("cmp1", "cmp2", "cmp3"), "6.2.0")


@pytest.mark.parametrize(
    ("sentence", "versions", "others", "goes_to"),
    [
        ("the first of equals", ALIKE, {}, "cmp2"),
        ("the emptiest", ALIKE, {"cmp2": None}, "cmp3"),
        ("a newer hypervisor rather than an empty host", ALIKE | {"cmp2": "6.2.1"}, {"cmp2": None}, "cmp2"),
        ("to the other members", ALIKE, {"cmp3": "soft-affinity"}, "cmp3"),
        ("away from the other members", ALIKE | {"cmp2": "6.2.1"}, {"cmp2": "soft-anti-affinity"}, "cmp3"),
    ],
)
async def test_a_server_goes(
    sentence: str, versions: dict[str, str], others: dict[str, str | None], goes_to: str
) -> None:
    """`others` are servers that are there already, and the policy of the group that they share with it."""
    policies = [policy for policy in others.values() if policy]
    bench = await Bench.open(
        hosts=[{"name": name, "hypervisor": version} for name, version in versions.items()],
        aggregates=[],
        groups=[{"name": policy, "policy": policy} for policy in policies],
    )
    try:
        for host, policy in others.items():
            await bench.server(host, group=policy)
        server = await bench.server("cmp1", group=next(iter(policies), None))
        assert await bench.act(server, "migrate") == (202, None)
        bench.step(5)
        assert (await bench.show(server))["OS-EXT-SRV-ATTR:host"] == goes_to, sentence
    finally:
        await bench.close()


@pytest.mark.parametrize(
    ("setting", "metadata"),
    [
        ("multi_tenancy_isolation", {"filter_tenant_id": "somebody-else"}),
        ("isolated_aggregates", {"trait:CUSTOM_GPU": "required"}),
    ],
)
@pytest.mark.parametrize("enabled", [False, True])
async def test_an_aggregate_keeps_servers_out_only_where_nova_is_set_up_to_ask(
    setting: str, metadata: dict[str, str], enabled: bool
) -> None:
    bench = await Bench.open(
        settings={"nova": {setting: enabled}},
        hosts=[{"name": "cmp1"}, {"name": "big", "memory_gb": 512}, {"name": "cmp3"}],
        aggregates=[{"name": "apart", "hosts": ["big"], "metadata": metadata}],
    )
    try:
        server = await bench.server("cmp1")
        assert await bench.act(server, "migrate") == (202, None)
        bench.step(5)
        assert (await bench.show(server))["OS-EXT-SRV-ATTR:host"] == ("cmp3" if enabled else "big")
    finally:
        await bench.close()
