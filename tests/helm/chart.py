"""Runs the testbed's own helm on the chart."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from helm.generate import CHART
from testbed.kubernetes.install import install

NAMESPACE = "vmferry-system"
Objects = list[dict[str, Any]]


class HelmError(RuntimeError):
    """helm ended with an error; the message is what it wrote to stderr."""


def helm(home: Path, *args: str | Path, values: Mapping[str, Any] | None = None, kubeconfig: Path | None = None) -> str:
    """Run helm with its files below `home` and return its output. Raises HelmError."""
    command = [str(install() / "helm"), *map(str, args)]
    if values is not None:
        command += ["--values", "-"]
    env = {
        **os.environ,
        **{f"HELM_{name}_HOME": str(home / name) for name in ("CACHE", "CONFIG", "DATA")},
        # a file that does not exist: what needs no server must not find one
        "KUBECONFIG": str(kubeconfig or home / "none"),
    }
    given = "" if values is None else yaml.safe_dump(dict(values))
    done = subprocess.run(command, input=given, env=env, capture_output=True, text=True)
    if done.returncode != 0:
        raise HelmError(done.stderr.strip())
    return done.stdout


def render(home: Path, values: Mapping[str, Any], release: str = "vmferry", namespace: str = NAMESPACE) -> Objects:
    """The objects that the chart makes of `values`."""
    text = helm(home, "template", release, CHART, "--namespace", namespace, values=values)
    return [found for found in yaml.safe_load_all(text) if found is not None]


def one(objects: Objects, kind: str, name: str | None = None) -> dict[str, Any]:
    """The only object of that kind (and name)."""
    (found,) = (o for o in objects if o["kind"] == kind and name in (None, o["metadata"]["name"]))
    return found
