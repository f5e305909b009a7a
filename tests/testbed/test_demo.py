"""README's first command, in the shell of somebody who has exported everything that `make up` prints."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from testbed import __main__ as testbed
from testbed.processes import plain_environment

#: what `make up` prints for a person's shell
EXPORTED = set(re.findall(r"\b([A-Z_]+)=\{", inspect.getsource(testbed.up)))
RUN = "import sys, pathlib; from testbed import __main__ as t; t.run_dir = lambda _: pathlib.Path(sys.argv[1]); "


def exports(folder: Path) -> dict[str, str]:
    """They lead to a cloud and a cluster that are not there any more."""
    (folder / "clouds.yaml").write_text("clouds: {vmferry: {auth: {auth_url: 'http://127.0.0.1:1/v3'}}}")
    (folder / "kubeconfig").write_text("{apiVersion: v1, kind: Config, current-context: gone}")
    values = {"OS_CLIENT_CONFIG_FILE": str(folder / "clouds.yaml"), "OS_CLOUD": "vmferry"}
    values |= {"KUBECONFIG": str(folder / "kubeconfig"), "PATH": f"{folder}:{os.environ['PATH']}"}
    assert values.keys() == EXPORTED | {"OS_CLOUD"}
    return values


def test_no_export_reaches_a_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in exports(tmp_path).items():
        monkeypatch.setenv(name, value)
    assert plain_environment().keys() & exports(tmp_path).keys() == {"PATH"}


@pytest.mark.simulator
@pytest.mark.kubernetes
def test_the_demo_works_where_everything_was_exported(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o700)
    done = subprocess.run(
        [sys.executable, "-c", RUN + "sys.exit(t.demo('simulator'))", str(tmp_path / "run")],
        env={**os.environ, **exports(tmp_path)},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert done.stdout.rstrip().endswith("demo: ok")
