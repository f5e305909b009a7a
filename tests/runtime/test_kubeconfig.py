"""A kubeconfig that is none: one clean line from the operator and from the plug-in, without a token in it."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vmferry.cli.ferry.kube_client import connect
from vmferry.runtime.kube import Kube
from vmferry.runtime.kube_api import KubeError

SECRET = "hunter2-is-secret"
_CONTEXT = "current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\n"
FILES: dict[str, bytes] = {
    "no UTF-8": b"\xff\xfe\0",
    "a NUL": b"a: \0",
    "no YAML, with a token": f"token: {SECRET}: x".encode(),
    "a list": b"[1]",
    "a word": b"x",
    "nothing": b"",
    "very deep": b"[" * 1000,
    "a month that does not exist": b"a: 2020-99-99",
    "contexts that are a word": b"contexts: x\ncurrent-context: a",
    "contexts that are numbers": b"contexts: [1]\ncurrent-context: a",
    "a context without its own": b"contexts: [{name: a}]\ncurrent-context: a",
    "a server that is a number": f"{_CONTEXT}clusters: [{{name: c, cluster: {{server: 5}}}}]\n".encode(),
    "a user without its own, with a token": (
        f"{_CONTEXT}clusters: [{{name: c, cluster: {{server: 'https://x'}}}}]\nusers: [{{name: u, token: {SECRET}}}]\n"
    ).encode(),
}


@pytest.mark.parametrize("sentence", FILES)
def test_what_is_no_kubeconfig_is_told_so(sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_bytes(FILES[sentence])
    with pytest.raises(KubeError) as of_plug_in:
        connect(str(path), "a")
    with pytest.raises(KubeError) as of_operator:
        asyncio.run(Kube.connect(path))
    for error in (of_plug_in, of_operator):
        said = str(error.value)
        assert said.startswith("no way to Kubernetes: ") and said.isprintable() and SECRET not in said, said


KEY = "-----BEGIN PRIVATE KEY-----\nS3CRETS3CRETS3CRET\n-----END PRIVATE KEY-----\n"

KEYS = """
import base64, os, pathlib, signal, sys, tempfile, yaml
from vmferry.redaction import redact
folder = pathlib.Path(sys.argv[1])
tempfile.tempdir = str(folder / "tmp")
if sys.argv[3] != "memory":
    del os.memfd_create
data = base64.b64encode(sys.argv[4].encode()).decode()
path = folder / "kubeconfig"
path.write_text(yaml.safe_dump({
    "current-context": "a",
    "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
    "clusters": [{"name": "a", "cluster": {"server": "https://127.0.0.1:1", "certificate-authority-data": data}}],
    "users": [
        {"name": "a", "user": {"client-certificate-data": data, "client-key-data": data, "token": "t0k-en-S3CRET"}}
    ],
}))
if sys.argv[2] == "kubectl ferry":
    from kubernetes import client
    client.ApiClient = lambda configuration: configuration
    from vmferry.cli.ferry.kube_client import connect
    configuration = connect(str(path), None)._objects.api_client
    names = configuration.ssl_ca_cert, configuration.cert_file, configuration.key_file
else:
    from vmferry.runtime.access import Keeper, load
    keeper = Keeper(lambda context: load(str(path), context))
    names = keeper.access.ca_path, keeper.access.certificate_path, keeper.access.private_key_path
for name in names:
    assert pathlib.Path(name).read_text() == sys.argv[4]
    assert pathlib.Path(name).read_text() == sys.argv[4], "each connection reads it again"
for secret in ("t0k-en-S3CRET", data):
    assert "S3CRET" not in redact(f"it says {secret}") and data not in redact(f"it says {data}")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("who", ["operator", "kubectl ferry"])
def test_no_key_outlives_a_process_that_is_killed(tmp_path: Path, who: str) -> None:
    (tmp_path / "tmp").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", KEYS, str(tmp_path), who, "memory", KEY], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert list((tmp_path / "tmp").iterdir()) == []


def test_where_there_is_no_memory_for_files_the_next_start_clears_them(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    for _ in range(2):
        command = [sys.executable, "-c", KEYS, str(tmp_path), "operator", "folder", KEY]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == -signal.SIGKILL, done.stderr
        (left,) = (tmp_path / "tmp").iterdir()
        assert str(done.returncode) and left.stat().st_mode & 0o777 == 0o700
        assert [file.stat().st_mode & 0o777 for file in left.iterdir()] == [0o600]
