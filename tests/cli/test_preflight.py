"""`vmferry preflight` as a process against the simulated cloud: verdicts, exit statuses, errors, start-up."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from testbed.processes import Supervisor, run_root
from testbed.simulator import SimulatedCloud
from vmferry.simulator.__main__ import LAB

OPERATOR = Path(__file__).resolve().parents[2] / "operator"
SECRET = "hunter2-is-secret"
NO_ID = "00000000-0000-0000-0000-000000000000"
HOSTILE = "evil\x1b[2J\x07"


class Lab:
    """A cloud with a fleet of its own, and the command beside it."""

    def __init__(self, cloud: SimulatedCloud, folder: Path) -> None:
        self.cloud = cloud
        self.folder = folder
        self.config = folder / "operator.yaml"
        policy = {
            "sharedStorage": [{"name": "lab", "aggregates": ["cluster1"]}],
            "tolerateUnknown": ["OperatingSystem", "CPUModel"],
        }
        entry = {"name": "vmferry", "cloudsFile": str(cloud.clouds_yaml)}
        self.config.write_text(yaml.safe_dump({"cloud": entry, "policy": policy}))

    def run(self, *args: str, config: bool = True) -> subprocess.CompletedProcess[str]:
        where = ["--config", str(self.config)] if config else []
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("OS_", "VMFERRY_"))}
        return subprocess.run(
            [sys.executable, "-m", "vmferry", "preflight", *where, *args],
            capture_output=True,
            text=True,
            timeout=300,
            env={**environment, "PYTHONPATH": str(OPERATOR)},
        )


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    folder = Path(tempfile.mkdtemp(prefix="tests-preflight-", dir=run_root()))
    fleet = yaml.safe_load(LAB.read_text())
    plain = {"flavor": "m1.small", "image": "cirros"}
    fleet["servers"] = [
        {"name": "web-1", "host": "cmp1", **plain},
        {"name": "off", "host": "cmp1", "state": "stopped", **plain},
        {"name": "twin", "host": "cmp2", **plain},
        {"name": "twin", "host": "cmp2", **plain},
        {"name": HOSTILE, "host": "cmp3", "locked": True, "locked_reason": HOSTILE, **plain},
    ]
    file = folder / "fleet.yaml"
    file.write_text(yaml.safe_dump(fleet))
    supervisor = Supervisor(folder)
    try:
        yield Lab(SimulatedCloud.start(supervisor, folder, file), folder)
    finally:
        supervisor.stop_all()
        shutil.rmtree(folder)


@pytest.mark.simulator
@pytest.mark.parametrize(
    ("args", "status", "said"),
    [
        pytest.param(["web-1", "--project", "admin"], 0, "OK -> cmp2", id="a running server can be moved"),
        pytest.param(["off", "--project", "admin"], 0, "Cold", id="a stopped server is moved cold"),
        pytest.param(["--host", "cmp1"], 0, "2 servers: 2 OK", id="all on a host can be moved"),
        pytest.param(["--host", "cmp4"], 0, "no servers", id="a host without servers stands in nobody's way"),
        pytest.param(["--host", "cmp3"], 1, "BLOCKED Locked", id="a locked server is blocked"),
        pytest.param(["--all"], 1, "5 servers: 4 OK, 1 blocked", id="one of the fleet is blocked"),
        pytest.param(
            ["web-1", "--project", "admin", "--target", "cmp1"], 0, "on cmp1 already", id="it is on the target"
        ),
        pytest.param(
            ["web-1", "--project", "admin", "--target", "cmp4"], 1, "HypervisorMismatch", id="the target is newer"
        ),
        pytest.param(
            ["web-1", "--project", "admin", "--target", "cmp4", "--os-upgrade"], 0, "OK -> cmp4", id="one way is fine"
        ),
        pytest.param(
            ["web-1", "--project", "admin", "--type", "cold"], 1, "StateNotMigratable", id="cold needs it stopped"
        ),
        pytest.param(
            ["web-1", "--project", "admin", "--type", "Cold", "--stop-if-running"], 0, "OK", id="it may be stopped"
        ),
        pytest.param(["web-1", "--project", "admin", "--target", "cmp9"], 1, "HostNotFound", id="no such target"),
        pytest.param([NO_ID], 2, f"the cloud has no server {NO_ID}", id="no such server"),
        pytest.param(["ghost", "--project", "admin"], 2, "no server is named ghost", id="no server of this name"),
        pytest.param(["twin", "--project", "admin"], 2, "2 servers are named twin", id="a name that two share"),
        pytest.param(
            ["ghost", HOSTILE, "--project", "admin"],
            2,
            "1 blocked, 1 unknown",
            id="unknown wins over blocked",
        ),
    ],
)
def test_verdicts_and_exit_statuses(lab: Lab, args: list[str], status: int, said: str) -> None:
    done = lab.run(*args)
    assert (done.returncode, said in done.stdout) == (status, True), done.stdout + done.stderr
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.simulator
@pytest.mark.parametrize(
    ("args", "said"),
    [
        pytest.param([], "exactly one of the three", id="no server was named"),
        pytest.param(["--all", "--host", "cmp1"], "exactly one of the three", id="two ways to name servers"),
        pytest.param(["web-1"], "--project is needed", id="a name without its project"),
        pytest.param(["--all", "--project", "admin"], "--project goes with", id="a project without a name"),
        pytest.param(["--all", "--type", "Teleport"], "Teleport", id="no such type"),
        pytest.param(["--all", "--type", "Live", "--stop-if-running"], "--stop-if-running", id="stopping is for cold"),
        pytest.param(["--host", "cmp9"], "the cloud has no host cmp9", id="no such host"),
        pytest.param(["--all", "--cloud", "nimbus"], "nimbus", id="no such cloud"),
        pytest.param(["--all", "--config", "/nowhere/operator.yaml"], "/nowhere/operator.yaml", id="no such file"),
        pytest.param(["--all", "--output-file", "/nowhere/report"], "No such file", id="no such folder for the report"),
    ],
)
def test_what_cannot_be_told_is_2_and_says_why(lab: Lab, args: list[str], said: str) -> None:
    done = lab.run(*args)
    assert (done.returncode, said in done.stderr, done.stdout) == (2, True, ""), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.simulator
def test_a_wrong_password_is_not_told(lab: Lab) -> None:
    clouds = yaml.safe_load(lab.cloud.clouds_yaml.read_text())
    clouds["clouds"]["vmferry"]["auth"]["password"] = SECRET
    file = lab.folder / "wrong.yaml"
    file.write_text(yaml.safe_dump(clouds))
    done = lab.run("--all", "--clouds-file", str(file))
    assert done.returncode == 2 and "cannot log in" in done.stderr
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.simulator
def test_a_cloud_that_does_not_answer_is_2(lab: Lab) -> None:
    clouds = yaml.safe_load(lab.cloud.clouds_yaml.read_text())
    clouds["clouds"]["vmferry"]["auth"]["auth_url"] = "http://127.0.0.1:9/identity/v3"
    file = lab.folder / "silent.yaml"
    file.write_text(yaml.safe_dump(clouds))
    done = lab.run("--all", "--clouds-file", str(file))
    assert done.returncode == 2 and "cannot log in" in done.stderr and not done.stdout


@pytest.mark.simulator
def test_formats_to_a_file(lab: Lab) -> None:
    report = lab.folder / "report"
    done = lab.run("--all", "--output", "json", "--output-file", str(report), "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
    assert json.loads(report.read_text())["summary"]["exitStatus"] == 1
    done = lab.run("--all", "--output", "junit", "--output-file", str(report))
    assert "1 blocked" in done.stderr
    assert ElementTree.fromstring(report.read_text()).get("failures") == "1"
    assert [path.name for path in lab.folder.glob("*unfinished")] == []


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        pytest.param(
            "import vmferry.cli.run", ("kopf", "kubernetes", "aiohttp"), id="preflight works without Kubernetes"
        ),
        pytest.param(
            "import vmferry.__main__", ("kopf", "kubernetes", "openstack", "pydantic"), id="--help imports little"
        ),
    ],
)
def test_start_up(code: str, absent: tuple[str, ...]) -> None:
    code = f"import sys; {code}; print([name for name in {absent!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(OPERATOR)},
    )
    assert done.stdout.strip() == "[]"
