"""Against the real API server: ways that lead to it, credentials that end, and what readiness says of both.

Each is tried with the operator itself, because its calls and kopf's watches are two clients: one that works hides that
the other does not.
"""

from __future__ import annotations

import asyncio
import importlib.util
import ipaddress
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from testbed.kubernetes.cluster import Cluster
from testbed.processes import free_port
from tests.runtime.fakes import FakeCloud, Record
from tests.runtime.test_kubernetes import create, running, until
from vmferry.cli.ferry.kube_client import connect
from vmferry.resources.vmmigration import VMMigration
from vmferry.runtime import definitions, kube, operator, watch
from vmferry.runtime.kube import Kube
from vmferry.runtime.kube_api import KubeError
from vmferry.runtime.operator import Operator

pytestmark = pytest.mark.kubernetes

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def account(cluster: Cluster) -> Path:
    cluster.kubectl_run("apply", "--filename", ROOT / "manifests/operator/rbac.yaml")
    return cluster.service_account_kubeconfig("vmferry-system", "vmferry", cluster.run_dir / "vmferry.kubeconfig")


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    name = f"ways-{uuid.uuid4().hex[:8]}"
    cluster.kubectl_run("create", "namespace", name)
    yield name
    cluster.kubectl_run("delete", "namespace", name, "--wait=false")


@pytest.fixture
async def admin(cluster: Cluster) -> AsyncIterator[Kube]:
    made = await Kube.connect(cluster.kubeconfig)
    yield made
    await made.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes minutes counts after a second; watches end, and begin anew, every two."""
    monkeypatch.setattr(watch, "PATIENCE", 1.0)
    monkeypatch.setattr(kube, "WRITES_PATIENCE", 1.0)
    monkeypatch.setattr(operator, "FAILING_PATIENCE", 1.0)
    monkeypatch.setattr(definitions, "SOON", 0.2)
    monkeypatch.setattr(definitions, "LATER", 0.2)
    monkeypatch.setattr(definitions, "CONFIRM", 0.2)
    original = watch.settings

    def settings() -> Any:
        chosen = original()
        chosen.watching.server_timeout = 2
        return chosen

    monkeypatch.setattr(watch, "settings", settings)


class Bastion:
    """A TCP forwarder and a CONNECT proxy, which knows the API server under the name `kubernetes` only."""

    def __init__(self, cluster: Cluster) -> None:
        self._target = urlsplit(cluster.server_url)
        self.asked: list[str] = []

    async def forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, out = await asyncio.open_connection("127.0.0.1", self._target.port)
        await asyncio.gather(_pump(reader, out), _pump(there, writer))

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.asked.append(head.split()[1])
        if not head.startswith("CONNECT kubernetes:"):
            writer.write(b"HTTP/1.1 403 Forbidden\r\n\r\n")
            writer.close()
            return
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await self.forward(reader, writer)

    async def socks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """SOCKS 5 without a login (RFC 1928)."""
        _, methods = await reader.readexactly(2)
        await reader.readexactly(methods)
        writer.write(b"\x05\x00")
        *_, kind = await reader.readexactly(4)
        if kind == 3:
            (length,) = await reader.readexactly(1)
            host = (await reader.readexactly(length)).decode()
        else:
            host = str(ipaddress.ip_address(await reader.readexactly(4 if kind == 1 else 16)))
        port = int.from_bytes(await reader.readexactly(2), "big")
        self.asked.append(f"{host}:{port}")
        writer.write(b"\x05\x00\x00\x01" + bytes(6))
        await self.forward(reader, writer)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def listening(handler: Any, address: str) -> AsyncIterator[int]:
    port = free_port()
    server = await asyncio.start_server(handler, address, port)
    try:
        yield port
    finally:
        server.close()


def changed(account: Path, path: Path, cluster: dict[str, Any], user: dict[str, Any] | None = None) -> Path:
    """A copy of the kubeconfig with other entries."""
    config = json.loads(account.read_text())
    config["clusters"][0]["cluster"].update(cluster)
    if user is not None:
        config["users"][0]["user"] = user
    path.write_text(json.dumps(config))
    return path


async def works(found: Operator, cloud: FakeCloud, admin: Kube, namespace: str) -> None:
    """Calls and watches: an object that is created now is acted on at once."""
    await until(lambda: found.health._beats.get("worker 0") is not None, "the workers")
    before = len(cloud.acted)
    await create(admin, namespace, f"web-{uuid.uuid4().hex[:6]}")
    await until(lambda: len(cloud.acted) > before, "the move: the watch does not show it", 30)
    assert [why for why in found.health.unready() if not why.startswith("cloud")] == []


def says(found: Operator, *words: str) -> bool:
    return all(any(one in why for why in found.health.unready()) for one in words)


def lists(kubeconfig: Path, namespace: str) -> int:
    """By kubectl ferry."""
    return len(connect(str(kubeconfig), None).list(VMMigration, namespace))


async def test_a_tunnel_with_the_servers_name(
    cluster: Cluster, account: Path, namespace: str, admin: Kube, tmp_path: Path
) -> None:
    """127.0.0.2 is no name of the certificate."""
    cloud, bastion = FakeCloud(Record()), Bastion(cluster)
    async with listening(bastion.forward, "127.0.0.2") as port:
        server = f"https://127.0.0.2:{port}"
        there = changed(account, tmp_path / "kubeconfig", {"server": server, "tls-server-name": "kubernetes"})
        async with running(there, namespace, cloud) as found:
            await works(found, cloud, admin, namespace)
            assert await asyncio.to_thread(lists, there, namespace) == 1


async def test_a_proxy_of_the_kubeconfig(
    cluster: Cluster, account: Path, namespace: str, admin: Kube, tmp_path: Path
) -> None:
    """Only the proxy can resolve the name."""
    cloud, bastion = FakeCloud(Record()), Bastion(cluster)
    async with listening(bastion.connect, "127.0.0.1") as port:
        server = f"https://kubernetes:{urlsplit(cluster.server_url).port}"
        there = changed(account, tmp_path / "kubeconfig", {"server": server, "proxy-url": f"http://127.0.0.1:{port}"})
        async with running(there, namespace, cloud) as found:
            await works(found, cloud, admin, namespace)
            assert await asyncio.to_thread(lists, there, namespace) == 1
    assert set(bastion.asked) == {f"kubernetes:{urlsplit(cluster.server_url).port}"}


@pytest.mark.usefixtures("impatient")
async def test_a_proxy_that_refuses_is_named(cluster: Cluster, account: Path, namespace: str, tmp_path: Path) -> None:
    bastion = Bastion(cluster)
    async with listening(bastion.connect, "127.0.0.1") as port:
        url = f"http://user:hunter2@127.0.0.1:{port}"
        there = changed(account, tmp_path / "kubeconfig", {"server": "https://elsewhere:6443", "proxy-url": url})
        async with running(there, namespace, FakeCloud(Record())) as found:
            await until(lambda: says(found, "kubernetes: the proxy refuses with HTTP 403"), "the reason")
            assert "hunter2" not in str(found.health.unready())


@pytest.mark.parametrize(("scheme", "name"), [("socks5", "127.0.0.1"), ("socks5h", "kubernetes")])
async def test_a_socks_proxy_of_the_kubeconfig(
    scheme: str, name: str, cluster: Cluster, account: Path, namespace: str, admin: Kube, tmp_path: Path
) -> None:
    """Watch, calls and plug-in. With `socks5h` only the proxy can resolve the name."""
    cloud, bastion = FakeCloud(Record()), Bastion(cluster)
    server = f"{name}:{urlsplit(cluster.server_url).port}"
    async with listening(bastion.socks, "127.0.0.1") as port:
        entries = {"server": f"https://{server}", "proxy-url": f"{scheme}://127.0.0.1:{port}"}
        there = changed(account, tmp_path / "kubeconfig", entries)
        async with running(there, namespace, cloud) as found:
            await works(found, cloud, admin, namespace)
            calls = len(bastion.asked)
            assert await asyncio.to_thread(lists, there, namespace) == 1
            assert len(bastion.asked) > calls, "the plug-in goes another way"
    assert set(bastion.asked) == {server}


async def test_a_socks_proxy_without_what_it_needs_is_one_sentence(
    account: Path, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: None if "socks" in name else find(name))
    there = changed(account, tmp_path / "kubeconfig", {"proxy-url": "socks5://127.0.0.1:1"})
    with pytest.raises(KubeError, match=r"pip install 'vmferry\[socks\]'"):
        connect(str(there), None)
    with pytest.raises(KubeError, match=r"pip install 'vmferry\[socks\]'"):
        await Kube.connect(there)


class Token:
    """A token of the operator's ServiceAccount that can be revoked, as a plug-in or a file hands it out."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self._cluster = cluster
        self._secret = ""
        self.file = folder / "token"
        self.calls = folder / "calls"
        self.program = folder / "plug-in"
        self.program.write_text(
            f"""#!/bin/sh
echo . >> {self.calls}
echo '{{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
 "status": {{"expirationTimestamp": "2099-01-01T00:00:00Z", "token": "'$(cat {self.file})'"}}}}'
"""
        )
        self.program.chmod(0o755)
        self.issue()

    def issue(self) -> None:
        self._secret = f"token-{uuid.uuid4().hex[:6]}"
        where = ("--namespace", "vmferry-system")
        self._cluster.kubectl_run("create", "secret", "generic", self._secret, *where)
        bound = ("--bound-object-kind=Secret", f"--bound-object-name={self._secret}")
        self.file.write_text(self._cluster.kubectl_run("create", "token", "vmferry", *where, *bound))

    def revoke(self) -> None:
        """The API server remembers for some 10 s that it was good."""
        self._cluster.kubectl_run("delete", "secret", self._secret, "--namespace", "vmferry-system")

    @property
    def plug_in(self) -> dict[str, Any]:
        command = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(self.program)}
        return {"exec": {**command, "interactiveMode": "Never"}}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("by", ["plug-in", "file"])
async def test_credentials_that_are_revoked_are_renewed(
    by: str, cluster: Cluster, account: Path, namespace: str, admin: Kube, tmp_path: Path
) -> None:
    token, cloud = Token(cluster, tmp_path), FakeCloud(Record())
    user = token.plug_in if by == "plug-in" else {"tokenFile": str(token.file)}
    there = changed(account, tmp_path / "kubeconfig", {}, user)
    async with running(there, namespace, cloud) as found:
        await works(found, cloud, admin, namespace)
        token.revoke()
        await until(lambda: says(found, "watch: ", "HTTP 401: the credentials are not accepted"), "minutes of 401")
        token.issue()
        await until(lambda: not says(found, "HTTP 401"), "other credentials")
        await works(found, cloud, admin, namespace)
    if by == "plug-in":
        assert len(token.calls.read_text().splitlines()) >= 2


@pytest.mark.usefixtures("impatient")
async def test_a_watch_that_is_forbidden_is_named(
    cluster: Cluster, account: Path, namespace: str, admin: Kube, tmp_path: Path
) -> None:
    """Lists and writes work, so nothing but the watch itself can tell."""
    role = next(
        one
        for one in yaml.safe_load_all((ROOT / "manifests/operator/rbac.yaml").read_text())
        if one["kind"] == "ClusterRole" and "vmmigrations" in str(one)
    )
    less = json.loads(json.dumps(role).replace('"watch"', '"get"'))
    cloud = FakeCloud(Record())
    try:
        cluster.kubectl_run("apply", "--filename", "-", input=json.dumps(less))
        async with running(account, namespace, cloud) as found:
            await until(lambda: says(found, "watch of vmmigrations", "HTTP 403"), "the reason")
            cluster.kubectl_run("apply", "--filename", "-", input=json.dumps(role))
            await until(lambda: not says(found, "watch of"), "a watch")
            await works(found, cloud, admin, namespace)
    finally:
        cluster.kubectl_run("apply", "--filename", "-", input=json.dumps(role))


@pytest.mark.usefixtures("impatient")
async def test_definitions_that_are_older_are_named(
    cluster: Cluster, account: Path, namespace: str, admin: Kube
) -> None:
    whole = (ROOT / "crds/vmmigrations.yaml").read_text()
    older = yaml.safe_load(whole)
    del older["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]["attempts"]
    cloud = FakeCloud(Record())
    try:
        cluster.kubectl_run("apply", "--filename", "-", input=yaml.safe_dump(older))
        async with running(account, namespace, cloud) as found:
            await create(admin, namespace, "web")
            await until(lambda: says(found, "VMMigration.status.attempts is unknown", "kubectl apply"), "the reason")
            await until(lambda: says(found, "writes: update vmmigrations/status: HTTP 400"), "the writes")
            await until(lambda: says(found, "reconciles: all reconciles fail: HTTP 400"), "the reconciles")
            assert not cloud.acted, "what cannot be written is not done"
            cluster.kubectl_run("apply", "--filename", "-", input=whole)
            await until(lambda: bool(cloud.acted), "the move", 90)
            await until(
                lambda: not says(found, "definitions") and not says(found, "writes") and not says(found, "reconciles"),
                "readiness",
            )
    finally:
        cluster.kubectl_run("apply", "--filename", "-", input=whole)
