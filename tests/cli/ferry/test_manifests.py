"""From command lines to manifests."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.cli.ferry.bodies import WEB, applied, hm
from vmferry.cli.ferry import manifests
from vmferry.cli.ferry.arguments import parser
from vmferry.cli.ferry.kube import FerryError
from vmferry.cli.ferry.manifests import Drain
from vmferry.resources.words import MigrationType

SERVERS: dict[str, tuple[str, str | None, dict[str, str] | str]] = {
    "a UUID": (WEB, None, {"id": WEB}),
    "a UUID in capitals": (WEB.upper(), None, {"id": WEB}),
    "project and name": ("shop/web-1", None, {"name": "web-1", "project": "shop"}),
    "a name with a slash, after its project": ("shop/web/1", None, {"name": "web/1", "project": "shop"}),
    "a name with --project": ("web-1", "shop", {"name": "web-1", "project": "shop"}),
    "a name with a slash and --project": ("a/b", "shop", {"name": "a/b", "project": "shop"}),
    "a UUID with --project": (WEB, "shop", "--project goes with a name only"),
    "a name alone": ("web-1", None, "'web-1' is no server id: name its project, as PROJECT/web-1"),
    "a project without a name": ("shop/", None, "as PROJECT/shop"),
    "nothing": ("", None, "as PROJECT/NAME"),
}


@pytest.mark.parametrize("sentence", SERVERS)
def test_a_server_is_named_by(sentence: str) -> None:
    text, project, expected = SERVERS[sentence]
    if isinstance(expected, str):
        with pytest.raises(FerryError, match=expected):
            manifests.server_ref(text, project)
    else:
        assert manifests.server_ref(text, project) == expected


NAMES = {
    "web-1": "web-1",
    "Web 1": "web-1",
    "cmp1.example.com": "cmp1.example.com",
    "_x_": "x",
    "-a-.-b-": "a.b",
    "...": "unnamed",
    "日本": "unnamed",
    "a" * 99: "a" * 50,
}


@pytest.mark.parametrize("text", NAMES)
def test_the_name_of_an_object_is_one_that_kubernetes_takes(text: str) -> None:
    assert manifests.dns_name(text) == NAMES[text]


def test_a_made_up_name_says_which_server_and_how() -> None:
    assert manifests.migration_name({"id": WEB}, MigrationType.LIVE, "x") == f"{WEB[:8]}-live-x"
    assert manifests.migration_name({"name": "Web 1", "project": "p"}, MigrationType.COLD, "x") == "web-1-cold-x"


#: what we applied before, the spec as it is, what is asked for now, the spec that is applied
DRAINS: dict[str, tuple[list[str], dict[str, Any], Drain, dict[str, Any]]] = {
    "one that is on keeps what we said": (
        ["host", "enabled", "reason", "target.host"],
        {"reason": "DIMM", "target": {"host": "cmp9"}, "maxParallel": 2},
        Drain("cmp1", max_parallel=5),
        {"host": "cmp1", "enabled": True, "reason": "DIMM", "target": {"host": "cmp9"}, "maxParallel": 5},
    ),
    "one that is on does not take over what others said": (
        ["host", "enabled"],
        {"ignoreHeadroom": True, "reason": "theirs"},
        Drain("cmp1"),
        {"host": "cmp1", "enabled": True},
    ),
    "a new round forgets the last one": (
        ["host", "enabled", "reason", "target.host"],
        {"enabled": False, "reason": "DIMM", "target": {"host": "cmp9"}},
        Drain("cmp1", reason="PSU"),
        {"host": "cmp1", "enabled": True, "reason": "PSU"},
    ),
    "a preflight becomes a drain": (
        ["host", "enabled", "preflightOnly", "reason"],
        {"preflightOnly": True, "reason": "DIMM"},
        Drain("cmp1"),
        {"host": "cmp1", "enabled": True, "reason": "DIMM", "preflightOnly": False},
    ),
    "what was said is unsaid": (
        ["host", "enabled", "returnVMs"],
        {"returnVMs": True},
        Drain("cmp1", return_vms=False),
        {"host": "cmp1", "enabled": True, "returnVMs": False},
    ),
    "the host keeps the name that it was given": (
        [],
        {"host": "cmp1"},
        Drain("0a-uuid"),
        {"host": "cmp1", "enabled": True},
    ),
}


@pytest.mark.parametrize("sentence", DRAINS)
def test_a_drain_of_a_host_that_has_a_maintenance(sentence: str) -> None:
    before, spec, wish, expected = DRAINS[sentence]
    existing = hm(name="upkeep", spec=spec, managedFields=applied(*before))
    body = manifests.maintenance(wish, existing)
    assert (body["metadata"], body["spec"]) == ({"name": "upkeep"}, expected)


def test_a_release_keeps_what_we_said_or_nothing_would_return() -> None:
    spec = {"returnVMs": True, "reason": "DIMM", "maxParallel": 2, "migration": {"retries": 2, "timeout": "1h"}}
    ours = applied("host", "enabled", "returnVMs", "migration.timeout")
    body = manifests.release("cmp1", hm(spec=spec, managedFields=ours))
    assert body["spec"] == {"host": "cmp1", "enabled": False, "returnVMs": True, "migration": {"timeout": "1h"}}
    assert manifests.release("cmp1")["spec"] == {"host": "cmp1", "enabled": False}


UUID = "3f0f4c5a-9b5e-4a51-8f3a-5c1f0f5c2b11"
OLD, NEW = "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"
FOUND: dict[str, tuple[list[Any], str | None]] = {
    "the one for the host": ([hm(name="a", spec={"host": "cmp2"}), hm(name="b")], "b"),
    "the one that found the host by its UUID": ([hm({"host": "cmp1"}, name="a", spec={"host": "0a-uuid"})], "a"),
    "the one of that name, whose host nobody has found yet": ([hm(name="cmp1", spec={"host": UUID})], "cmp1"),
    "the one for the host rather than one that only has its name": (
        [hm(name="cmp1", spec={"host": "cmp2"}), hm(name="b")],
        "b",
    ),
    "the older one of two for the host": (
        [hm(name="a", creationTimestamp=NEW), hm(name="b", creationTimestamp=OLD)],
        "b",
    ),
    "the one of that name of two for the host": (
        [hm(name="cmp1", creationTimestamp=NEW), hm(name="b", creationTimestamp=OLD)],
        "cmp1",
    ),
    "none": ([hm(name="a", spec={"host": "cmp2"})], None),
    "that of the class which was named": (
        [hm(name="a"), hm(name="b", labels={"vmferry.dev/class": "two"})],
        "b",
    ),
}
REFUSED_FINDS: dict[str, tuple[list[Any], str]] = {
    "one of that name for another host": ([hm(name="cmp1", spec={"host": "cmp2"})], "is for the host cmp2"),
    "one of that name that found another host by its UUID": (
        [hm({"host": "cmp2"}, name="cmp1", spec={"host": "0a-uuid"})],
        "is for the host cmp2",
    ),
    "those of two operators": (
        [hm(name="a"), hm(name="b", labels={"vmferry.dev/class": "two"})],
        "name one with --class",
    ),
}


@pytest.mark.parametrize("sentence", FOUND)
def test_of_the_maintenances_it_finds(sentence: str) -> None:
    bodies, expected = FOUND[sentence]
    found = manifests.find_maintenance("cmp1", bodies, "two" if "class" in sentence else None)
    assert (found["metadata"]["name"] if found else None) == expected


@pytest.mark.parametrize("sentence", REFUSED_FINDS)
def test_it_never_takes(sentence: str) -> None:
    bodies, words = REFUSED_FINDS[sentence]
    with pytest.raises(FerryError, match=words):
        manifests.find_maintenance("cmp1", bodies)


HOSTS = {
    "a plain one": "cmp1",
    "with an underscore": "rack_1",
    "which it folds to": "rack-1",
    "in capitals": "CMP-1",
    "capitalised": "Cmp_1",
    "small": "cmp-1",
    "55 characters, the first": "prod-openstack-frankfurt-zone-a-compute-hypervisor-0001",
    "55 characters, the second": "prod-openstack-frankfurt-zone-a-compute-hypervisor-0002",
    "255 characters": "h" * 255,
    "255 others": "h" * 254 + "i",
    "fully qualified": "cmp1.az1.example.org",
    "two dots": "cmp1..example",
    "no letter that fits": "日本",
}


def test_no_two_hosts_share_the_name_of_a_maintenance() -> None:
    names = {manifests.maintenance_name(host, class_) for host in HOSTS.values() for class_ in (None, "two")}
    assert len(names) == 2 * len(HOSTS)
    for name in names:
        assert len(name) <= 253
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", name), name
    assert manifests.maintenance_name("cmp1.az1.example.org") == "cmp1.az1.example.org"


def test_what_is_made_for_a_class_carries_its_label_and_a_release_keeps_it() -> None:
    body = manifests.maintenance(Drain("cmp1", class_="two"))
    assert body["metadata"] == {"name": "cmp1-two", "labels": {"vmferry.dev/class": "two"}}
    again = manifests.release("cmp1", {**body, "metadata": {**body["metadata"], "managedFields": []}})
    assert again["metadata"] == body["metadata"]
    move = manifests.migration(
        manifests.Move("p/web-1", MigrationType.LIVE, class_="two"), name=None, namespace="n", suffix="x"
    )
    assert move["metadata"]["labels"] == {"vmferry.dev/class": "two"}


def test_what_no_server_would_take_is_not_even_printed() -> None:
    with pytest.raises(FerryError, match=r"spec\.maxParallel: .* less than or equal to 100"):
        manifests.maintenance(Drain("cmp1", max_parallel=1000))
    with pytest.raises(FerryError, match=r"spec\.host"):
        manifests.maintenance(Drain("a b"))


REFUSED: dict[str, tuple[str, str]] = {
    "a command that there is not": ("teleport web-1", "invalid choice: 'teleport'"),
    "no command": ("", "required: COMMAND"),
    "a graceful stop of a live migration": ("live a/b --stop-if-running", "unrecognized arguments: --stop-if-running"),
    "a timeout that is no duration": ("live a/b --timeout soon", "'soon' is not a duration"),
    "an unknown priority": ("live a/b --priority urgent", "choose from Low, Normal, High"),
    "an unknown format": ("status -o xml", "choose from wide, name, yaml, json"),
    "both ways of waiting": ("drain cmp1 --wait --watch", "not allowed with"),
    "a shortened option": ("drain cmp1 --max 4", "unrecognized arguments: --max"),
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_the_command_line_refuses(sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    line, words = REFUSED[sentence]
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(line.split())
    assert ended.value.code == 2
    assert words in capsys.readouterr().err.replace("'Low', 'Normal', 'High'", "Low, Normal, High").replace(
        "'wide', 'name', 'yaml', 'json'", "wide, name, yaml, json"
    )


@pytest.mark.parametrize("line", ["-n x --context c status", "status -n x --context c", "-n x status --context c"])
def test_the_options_of_kubectl_stand_before_or_after_the_command(line: str) -> None:
    args = parser().parse_args(line.split())
    assert (args.namespace, args.context, args.kubeconfig) == ("x", "c", None)


def test_every_command_tells_its_exit_statuses(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("live", "drain", "targets", "why"):
        with pytest.raises(SystemExit):
            parser().parse_args([command, "--help"])
        assert "1    failed, blocked, or refused" in capsys.readouterr().out
