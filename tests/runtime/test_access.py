"""Where the API server is and how to be let in: what a kubeconfig, a Pod and the environment say."""

from __future__ import annotations

import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from vmferry.cli.ferry.kube_client import _configuration
from vmferry.runtime.access import AHEAD, PAUSE, READ_AGAIN, Access, AccessError, Keeper, load, proxy_of

API = "https://10.96.0.1:443"
PROXY = "http://proxy.example:3128"

#: the address of the API server, the environment, the proxy
PROXIES: dict[str, tuple[str, dict[str, str], str | None]] = {
    "nothing is set": (API, {}, None),
    "an https address takes HTTPS_PROXY": (API, {"HTTPS_PROXY": PROXY}, PROXY),
    "the small spelling counts, too": (API, {"https_proxy": PROXY}, PROXY),
    "HTTP_PROXY is for http": (API, {"HTTP_PROXY": PROXY}, None),
    "a proxy without a scheme is an http one": (API, {"HTTPS_PROXY": "proxy.example:3128"}, PROXY),
    "its CIDR is exempt": (API, {"HTTPS_PROXY": PROXY, "NO_PROXY": ".svc,10.0.0.0/8"}, None),
    "another CIDR is not": (API, {"HTTPS_PROXY": PROXY, "NO_PROXY": "192.168.0.0/16"}, PROXY),
    "its address is exempt": (API, {"HTTPS_PROXY": PROXY, "NO_PROXY": "10.96.0.1"}, None),
    "its domain is exempt": (
        "https://api.corp.example:6443",
        {"HTTPS_PROXY": PROXY, "NO_PROXY": ".corp.example"},
        None,
    ),
    "an IPv6 CIDR is exempt": ("https://[fd00:1::1]:443", {"HTTPS_PROXY": PROXY, "no_proxy": "fd00::/8"}, None),
    "everything is exempt": (API, {"HTTPS_PROXY": PROXY, "NO_PROXY": "*"}, None),
    "loopback needs no exemption": ("https://127.0.0.1:6443", {"HTTPS_PROXY": PROXY}, None),
    "nor does its name": ("https://localhost:6443", {"HTTPS_PROXY": PROXY}, None),
}


@pytest.mark.parametrize(("server", "environment", "proxy"), PROXIES.values(), ids=PROXIES.keys())
def test_the_proxy_of_the_environment(server: str, environment: dict[str, str], proxy: str | None) -> None:
    assert proxy_of(server, environment) == proxy


def kubeconfig(folder: Path, user: dict[str, Any], **cluster: Any) -> str:
    path = folder / "kubeconfig"
    path.write_text(
        json.dumps(
            {
                "current-context": "here",
                "contexts": [
                    {"name": name, "context": {"cluster": "c", "user": "u", "namespace": "team"}}
                    for name in ("here", "there")
                ],
                "clusters": [{"name": "c", "cluster": {"server": "https://192.0.2.1:6443", **cluster}}],
                "users": [{"name": "u", "user": user}],
            }
        )
    )
    return str(path)


def plug_in(folder: Path, status: dict[str, Any]) -> dict[str, Any]:
    program = folder / "plug-in"
    answer = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}
    program.write_text(f"#!/bin/sh\necho '{json.dumps(answer)}'\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(program)}}


def test_a_kubeconfig_says_server_name_and_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    path = kubeconfig(tmp_path, {"token": "t"}, **{"tls-server-name": "kubernetes", "proxy-url": "http://bastion:1"})
    found = load(path)
    assert (found.server_name, found.proxy, found.authorization) == ("kubernetes", "http://bastion:1", "Bearer t")
    assert (found.context, found.namespace, found.in_file) == ("here", "team", False)
    path = kubeconfig(tmp_path, {"token": "t"})
    assert load(path).proxy == PROXY


def test_a_token_file_wins_and_is_read_without_its_newline(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("new\n")
    found = load(kubeconfig(tmp_path, {"token": "old", "tokenFile": "token"}))
    assert (found.authorization, found.in_file) == ("Bearer new", True)


def test_a_plug_in_says_when_its_token_expires(tmp_path: Path) -> None:
    found = load(kubeconfig(tmp_path, plug_in(tmp_path, {"token": "t", "expirationTimestamp": "2026-03-02T12:00:00Z"})))
    assert found.authorization == "Bearer t"
    assert found.expires == datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize("status", [{}, {"clientCertificateData": "x"}])
def test_a_plug_in_that_gives_nothing_is_an_error(status: dict[str, str], tmp_path: Path) -> None:
    """The library would go on as nobody, and everything would be forbidden for a reason that nobody sees."""
    with pytest.raises(AccessError, match="the exec plug-in of the kubeconfig gave no credentials"):
        load(kubeconfig(tmp_path, plug_in(tmp_path, status)))


def test_in_a_pod_no_proxy_is_asked_for_the_api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("token", "t\n"), ("ca.crt", "x"), ("namespace", "team\n")):
        (tmp_path / name).write_text(value)
    monkeypatch.setattr("kubernetes.config.incluster_config.SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr("kubernetes.config.incluster_config.SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    monkeypatch.setenv("NO_PROXY", ".svc,.cluster.local")
    found = load()
    assert (found.server, found.proxy, found.authorization) == ("https://10.96.0.1:443", None, "Bearer t")
    assert (found.namespace, found.in_file) == ("team", True)
    assert _configuration(Keeper(lambda _: found)).proxy is None, "nor by the generated client"


class World:
    """A clock, and what is loaded."""

    def __init__(self, first: Access) -> None:
        self.seconds = 1000.0
        self.next: Access | Exception = first
        self.contexts: list[str | None] = []
        self.keeper = Keeper(self._load, clock=lambda: self.seconds, now=self._now)

    def _now(self) -> datetime:
        return datetime(2026, 3, 2, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def _load(self, context: str | None) -> Access:
        self.contexts.append(context)
        if isinstance(self.next, Exception):
            raise self.next
        return self.next

    def in_seconds(self, seconds: float) -> datetime:
        return self._now() + timedelta(seconds=seconds)

    def token(self, name: str, **over: Any) -> Access:
        return Access(**{"server": API, "authorization": f"Bearer {name}", "context": "here", **over})


def test_what_expires_is_renewed_before_that() -> None:
    world = World(Access(API))
    world = World(world.token("one", expires=world.in_seconds(900)))
    world.next = world.token("two", expires=world.in_seconds(1800))
    world.seconds += 900 - AHEAD - 1
    assert world.keeper.fresh().authorization == "Bearer one"
    world.seconds += 2
    assert world.keeper.fresh().authorization == "Bearer two"
    assert world.contexts == [None, "here"], "the context that was current at first"


def test_what_expires_soon_is_not_renewed_at_each_request() -> None:
    world = World(Access(API))
    world = World(world.token("one", expires=world.in_seconds(30)))
    for _ in range(14):
        world.seconds += 1
        world.keeper.fresh()
    assert len(world.contexts) == 1
    world.next = world.token("two", expires=world.in_seconds(-5))
    for _ in range(int(PAUSE) * 2):
        world.seconds += 1
        world.keeper.fresh()
    assert len(world.contexts) <= 1 + 2, "a plug-in that hands out what has expired is not asked all the time"


def test_a_file_that_somebody_renews_is_read_again_every_minute() -> None:
    world = World(Access(API))
    world = World(world.token("one", in_file=True))
    world.next = world.token("two", in_file=True)
    world.seconds += READ_AGAIN - 1
    assert world.keeper.fresh().authorization == "Bearer one"
    world.seconds += 1
    assert world.keeper.fresh().authorization == "Bearer two"


def test_what_cannot_be_renewed_stays_in_use() -> None:
    world = World(Access(API))
    world = World(world.token("one", in_file=True))
    world.next = AccessError("the disk is gone")
    world.seconds += READ_AGAIN
    assert world.keeper.fresh().authorization == "Bearer one"


def test_what_is_refused_is_read_again_at_once_but_not_all_the_time() -> None:
    world = World(Access(API))
    one = world.token("one")
    world = World(one)
    assert world.keeper.other_than(one) is None, "there is nothing else"
    world.next = world.token("two")
    assert world.keeper.other_than(one) is None
    assert len(world.contexts) == 2
    world.seconds += PAUSE
    two = world.keeper.other_than(one)
    assert two is not None
    assert two.authorization == "Bearer two"
    assert world.keeper.other_than(one) is two, "somebody else has asked already"


def test_it_never_goes_over_to_another_cluster() -> None:
    world = World(Access(API))
    one = world.token("one")
    world = World(one)
    world.next = Access("https://192.0.2.9:6443", authorization="Bearer other", context="here")
    with pytest.raises(AccessError, match=r"another API server now: restart to use https://192\.0\.2\.9:6443"):
        world.keeper.other_than(one)
    assert world.keeper.access is one
