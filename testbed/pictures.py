"""`make pictures`: screens of `kubectl ferry` with a real Kubernetes API, the operator and the simulated cloud.

Each picture shows the terminal right after its command or, with `--watch`, while the command runs.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from testbed.bed import ROOT, Bed
from testbed.demo import NAMESPACE
from testbed.kubernetes.install import install
from testbed.processes import Supervisor, run_root
from testbed.shown import MANIFESTS, say
from testbed.svg import svg
from testbed.terminal import Terminal

FOLDER = ROOT / "docs" / "pictures"
PROMPT = "$ "
#: size of the screen; as many columns as fit a page
COLUMNS, LINES = 110, 60
#: duration of a live migration's copy
_LIVE_SECONDS = 16


class Studio:
    """Takes pictures of a bash on a bed, with kubectl and the plug-in on its PATH."""

    def __init__(self, bed: Bed, folder: Path) -> None:
        self._bed, self._folder = bed, folder
        bin_dir = bed.run_dir / "bin"
        bin_dir.mkdir()
        (bin_dir / "kubectl").symlink_to(install() / "kubectl")
        plugin = bin_dir / "kubectl-ferry"
        plugin.write_text(
            f'#!/bin/sh\nPYTHONPATH={ROOT / "operator"} exec {sys.executable} -m vmferry.cli.ferry "$@"\n'
        )
        plugin.chmod(0o755)
        self._environment = {
            "PATH": f"{bin_dir}:{os.defpath}",
            "HOME": str(bed.run_dir),
            "KUBECONFIG": str(bed.cluster.kubeconfig),
            "PS1": PROMPT,
            "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def take(
        self, name: str, command: str, *, until: Callable[[list[str]], bool] | None = None, columns: int = COLUMNS
    ) -> None:
        """Type the command, wait until it ends (or `until` holds for the screen), and write the picture."""
        bash = ["bash", "--noprofile", "--norc", "--noediting", "-i"]
        terminal = Terminal(bash, self._environment, columns=columns, lines=LINES)
        try:
            terminal.until(lambda lines: lines == [PROMPT.rstrip()], "the prompt")
            terminal.type(command + "\n")
            terminal.until(
                until or (lambda lines: len(lines) > 1 and lines[-1] == PROMPT.rstrip()), f"`{command}`", seconds=180
            )
            if until is None:  # remove the next prompt from the picture
                terminal.screen.erase_in_line(2)
            picture = svg(terminal.screen, f"{command}")
        finally:
            terminal.close()
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / f"{name}.svg").write_text(picture, encoding="utf-8")
        say(f"pictures: {self._folder / name}.svg")


def take_all(bed: Bed, folder: Path) -> None:
    """Take pictures of a refusal, the eligible hosts of a server, a live migration, a drain, and the status of all."""
    tenant, kubectl = bed.tenant, bed.cluster.kubectl_run
    legacy = tenant.boot("legacy-1", "cmp4", flavor="m1.small")
    tenant.lock(legacy, "monthly audit")
    servers = {name: tenant.boot(name, "cmp1", flavor="m1.small", wait=False) for name in ("web-1", "web-2", "db-7")}
    servers |= {f"app-{n}": tenant.boot(f"app-{n}", "cmp1", flavor="m1.small", wait=False) for n in range(1, 6)}
    for server in servers.values():
        tenant.wait_for_status(server, "ACTIVE")
    tenant.lock(servers["db-7"], "backup is running")
    bed.cloud.knob("cmp1", live_seconds=_LIVE_SECONDS)
    kubectl("create", "namespace", NAMESPACE)
    kubectl("config", "set-context", "--current", f"--namespace={NAMESPACE}")
    studio = Studio(bed, folder)

    kubectl("apply", "-f", MANIFESTS / "refused.yaml")
    kubectl("wait", "--for=jsonpath={.status.phase}=Blocked", "vmm/legacy-1", "-n", NAMESPACE, "--timeout=60s")
    studio.take("why", "kubectl ferry why legacy-1")
    studio.take("targets", "kubectl ferry targets web-1 --project admin")
    studio.take("live", "kubectl ferry live admin/web-2 --host cmp2 --watch", until=half_copied)
    studio.take("drain", "kubectl ferry drain cmp1 --reason 'replace DIMM 4' --watch", until=half_drained)
    studio.take("status", "kubectl ferry status -A")


def half_copied(lines: list[str]) -> bool:
    """Whether the progress bar of a migration is near the middle."""
    return any((match := re.search(r"\] +(\d+)%", line)) and 35 <= int(match[1]) <= 80 for line in lines)


def half_drained(lines: list[str]) -> bool:
    """Whether a drain's frame shows moved, moving and blocked servers."""
    text = "\n".join(lines)
    return bool(re.search(r"\b[3-9] of \d+ moved, [1-9] moving", text)) and "blocked " in text


def main() -> int:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    run_dir = Path(tempfile.mkdtemp(prefix="pictures-", dir=run_root()))
    supervisor = Supervisor(run_dir)
    try:
        bed = Bed.start("simulator", supervisor, run_dir)
        bed.install_operator(policy={"limits": {"perSource": 3, "perTarget": 2}})
        bed.start_operator()
        take_all(bed, folder)
    finally:
        supervisor.stop_all()
        shutil.rmtree(run_dir)
    return 0


if __name__ == "__main__":
    sys.exit(main())
