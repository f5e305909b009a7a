"""A kubeconfig that is none: one clean line from the operator and from the plug-in, without a token in it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from vmferry.cli.ferry.edge import connect
from vmferry.cli.ferry.kube import FerryError
from vmferry.runtime.kube import Kube, KubeError

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
    with pytest.raises(FerryError) as of_plug_in:
        connect(str(path), "a")
    with pytest.raises(KubeError) as of_operator:
        asyncio.run(Kube.connect(path))
    for error in (of_plug_in, of_operator):
        said = str(error.value)
        assert said.startswith("no way to Kubernetes: ") and said.isprintable() and SECRET not in said, said
