"""The krew manifest, filled in as a release does."""

from __future__ import annotations

import re
from pathlib import Path
from string import Template

import yaml

from vmferry import __version__

FILE = Path(__file__).resolve().parents[3] / "manifests/krew/ferry.yaml"


def test_the_krew_manifest_is_one_once_it_is_filled_in() -> None:
    text = "".join(line for line in FILE.read_text().splitlines(keepends=True) if not line.startswith("#"))
    names = set(re.findall(r"\$\{(\w+)\}", text))
    sums = {name: "0" * 64 for name in names if name.startswith("SHA256_")}
    known = {"VERSION": __version__, "HOMEPAGE": "https://vmferry.example", "ARCHIVES": "https://vmferry.example/a"}
    manifest = yaml.safe_load(Template(text).substitute(known | sums))
    spec = manifest["spec"]
    assert manifest["metadata"]["name"] == FILE.stem, "krew takes the file's name for the plug-in's"
    assert re.fullmatch(r"v\d+\.\d+\.\d+", spec["version"]) and len(spec["shortDescription"]) <= 50
    platforms = [one["selector"]["matchLabels"] for one in spec["platforms"]]
    assert len({(one["os"], one["arch"]) for one in platforms}) == len(platforms) == len(sums)
    for one in spec["platforms"]:
        labels = one["selector"]["matchLabels"]
        assert one["uri"].endswith(f"{__version__}-{labels['os']}-{labels['arch']}.tar.gz") and one["bin"]
