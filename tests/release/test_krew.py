"""The krew manifest, of the archives of several machines."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from string import Template

import pytest
import yaml

from release import krew
from vmferry import __version__

PLACES = {"HOMEPAGE": "https://vmferry.example", "ARCHIVES": "https://vmferry.example/a"}


def put(folder: Path, *platforms: str, version: str = __version__) -> None:
    for one in platforms:
        (folder / f"kubectl-ferry-{version}-{one}.tar.gz").write_bytes(one.encode())


def test_there_is_a_platform_for_each_archive_of_this_version(tmp_path: Path) -> None:
    put(tmp_path, "linux-amd64", "darwin-arm64")
    put(tmp_path, "linux-arm64", version="0.0.9")
    krew.write(tmp_path)
    manifest = yaml.safe_load(Template((tmp_path / "ferry.yaml").read_text()).substitute(PLACES))
    spec = manifest["spec"]
    assert (manifest["kind"], manifest["metadata"]["name"]) == ("Plugin", "ferry"), "krew takes the file's name for it"
    assert re.fullmatch(r"v\d+\.\d+\.\d+", spec["version"]) and len(spec["shortDescription"]) <= 50
    found = {tuple(one["selector"]["matchLabels"].values()): one for one in spec["platforms"]}
    assert found.keys() == {("linux", "amd64"), ("darwin", "arm64")}
    for (os, arch), one in found.items():
        assert one["uri"] == f"https://vmferry.example/a/kubectl-ferry-{__version__}-{os}-{arch}.tar.gz"
        assert one["sha256"] == hashlib.sha256(f"{os}-{arch}".encode()).hexdigest() and one["bin"] == "kubectl-ferry"
    assert krew.PYTHON in spec["caveats"]


def test_what_no_archive_is_there_for_is_not_made_up(tmp_path: Path) -> None:
    put(tmp_path, "linux-amd64", version="0.0.9")
    with pytest.raises(krew.KrewError, match="no archive"):
        krew.write(tmp_path)


def test_all_commands_are_named() -> None:
    text = (krew.ROOT / "manifests/krew/ferry.yaml").read_text()
    for name in (
        "live",
        "cold",
        "evacuate",
        "move",
        "targets",
        "preflight",
        "drain",
        "release",
        "status",
        "why",
        "cancel",
    ):
        assert re.search(rf"\b{name}\b", text), name
