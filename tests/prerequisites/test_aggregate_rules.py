"""Rules of aggregates: whom Nova may refuse by metadata, and that such hosts come behind all others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from testbed.build import flavor, host, question, server, snapshot
from vmferry.cloud.model import Aggregate, Server, Snapshot
from vmferry.planning.drain.plan import Departure, DrainPlan, plan_drain
from vmferry.planning.request import NO_OTHERS, Request
from vmferry.planning.targets import assess
from vmferry.policy import Policy
from vmferry.prerequisites import aggregate_rules, availability_zone
from vmferry.prerequisites.check import Question
from vmferry.prerequisites.enums import Result
from vmferry.resources.words import MigrationType

WEB = server()
GPU = server(flavor=flavor(extra_specs={"trait:CUSTOM_GPU": "required"}))
IMAGE = server(image_properties={"os_distro": "windows"}, image_id="i")

#: metadata of an aggregate of the target, of one of the source, the server, and what the rule is about (None: it goes)
CASES: dict[str, tuple[dict[str, str], dict[str, str], Server, str | None]] = {
    "no rule": ({"availability_zone": "nova", "vmferry:os_version": "Ubuntu 22.04"}, {}, WEB, None),
    "for another project": ({"filter_tenant_id": "p-vip"}, {}, WEB, "other projects"),
    "for the server's project": ({"filter_tenant_id": "p-shop"}, {}, WEB, None),
    "for several projects": ({"filter_tenant_id": "p-vip, p-shop"}, {}, WEB, None),
    "for several projects, by suffixes": ({"filter_tenant_id": "p-vip", "filter_tenant_id2": "p-shop"}, {}, WEB, None),
    "by a suffix alone": ({"filter_tenant_id_3": "p-vip"}, {}, WEB, "other projects"),
    "its own host is for other projects as well: the filter is off": (
        {"filter_tenant_id": "p-vip"},
        {"filter_tenant_id": "p-bank"},
        WEB,
        None,
    ),
    "its project has an aggregate, the target is outside": (
        {"ssd": "true"},
        {"filter_tenant_id": "p-shop"},
        WEB,
        "own",
    ),
    "isolated by a trait": ({"trait:CUSTOM_GPU": "required"}, {}, WEB, "CUSTOM_GPU"),
    "isolated by a trait that the flavor requires": ({"trait:CUSTOM_GPU": "required"}, {}, GPU, None),
    "a trait that is not required isolates nothing": ({"trait:CUSTOM_GPU": "yes"}, {}, WEB, None),
    "its own host is isolated by it as well": (
        {"trait:CUSTOM_GPU": "required"},
        {"trait:CUSTOM_GPU": "required"},
        WEB,
        None,
    ),
    "for other flavors": ({"instance_type": "m1.huge"}, {}, WEB, "other flavors"),
    "for its flavor among others": ({"instance_type": "m1.huge, m1.medium"}, {}, WEB, None),
    "for other images": ({"os_distro": "ubuntu"}, {}, IMAGE, "os_distro"),
    "for images like its own": ({"os_distro": "windows,ubuntu"}, {}, IMAGE, None),
    "its own host is for other images as well": ({"os_distro": "ubuntu"}, {"os_distro": "suse"}, IMAGE, None),
    "a host that is full by number": ({"max_instances_per_host": "0"}, {}, WEB, "allows 0 servers"),
    "a host that is not": ({"max_instances_per_host": "7"}, {}, WEB, None),
    "a number that is none": ({"max_instances_per_host": "many"}, {}, WEB, None),
}


def ask(theirs: dict[str, str], ours: dict[str, str], of: Server) -> Question:
    def within(name: str, metadata: dict[str, str]) -> Any:
        aggregate = Aggregate(1, f"agg-{name}", None, frozenset({name}), metadata)
        return host(name, aggregates=(aggregate,), traits=frozenset({"CUSTOM_GPU"}))

    view = snapshot([of], hosts=[within("host-a", ours), within("host-b", theirs), host("host-c")])
    return question(of, view=view)


@pytest.mark.parametrize("sentence", CASES)
def test_R21_whom_a_rule_of_an_aggregate_keeps_out(sentence: str) -> None:
    theirs, ours, of, about = CASES[sentence]
    asked = ask(theirs, ours, of)
    found = aggregate_rules.may_refuse(asked)
    assert (found is None) == (about is None) and (about or "") in (found or ""), found
    finding = availability_zone.check(asked)
    assert finding.result is Result.PASSED, "whether Nova asks for it is told nowhere"
    assert (found is None) or found in finding.message
    # the emptier host has the name that comes first, and still comes last
    eligible = assess(replace(asked, target=None), None).eligible
    if about is not None and about != "own":
        assert [one.host for one in eligible] == ["host-c", "host-b"]
        assert "behind the others" in eligible[1].message


def planned_for(leaving: list[Departure], view: Snapshot) -> DrainPlan:
    return plan_drain(leaving, view, Policy(), question().now, NO_OTHERS, ignore_headroom=False)


def test_R8_a_drain_takes_such_a_host_only_when_no_other_has_room() -> None:
    vip = Aggregate(1, "vip", None, frozenset({"host-b"}), {"filter_tenant_id": "p-vip"})
    servers = [server(name=f"web-{n}", flavor=flavor(memory_mb=24_000)) for n in range(4)]
    hosts = [host("host-a"), host("host-b", aggregates=(vip,)), host("host-c")]
    leaving = [Departure(one, Request(MigrationType.LIVE, attested=None), question(one).type) for one in servers]
    plan = planned_for(leaving, snapshot(servers, hosts))
    assert sorted(one.target for one in plan.planned) == ["host-b", "host-b", "host-c", "host-c"]
    few = planned_for(leaving[:2], snapshot(servers[:2], hosts))
    assert [one.target for one in few.planned] == ["host-c", "host-c"]


def test_what_one_server_learnt_of_a_host_counts_for_the_others() -> None:
    one = server()
    for behind, target in ((frozenset[str](), "host-b"), (frozenset({"host-b"}), "host-c")):
        leaving = [Departure(one, Request(MigrationType.LIVE, attested=None), question(one).type, behind=behind)]
        plan = planned_for(leaving, snapshot([one]))
        assert [planned.target for planned in plan.planned] == [target]
