"""The operator as a process: how it begins, what it needs, how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import yaml

from testbed.kubernetes.cluster import Cluster
from testbed.processes import free_ports, wait_for
from vmferry import __version__

ROOT = Path(__file__).parents[2]
#: MiB; the promise for an idle operator
IDLE_MEMORY = 200
PASSWORD = "s3cret-password"


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / "operator")}


def vmferry(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vmferry", *map(str, arguments)]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=300)


@contextmanager
def operator(tmp_path: Path, kubeconfig: Path) -> Iterator[tuple[subprocess.Popen[bytes], int, Path]]:
    """A running operator whose cloud does not answer; its health port and its log."""
    health, nothing = free_ports(2)
    clouds = tmp_path / "clouds.yaml"
    auth = {
        "auth_url": f"http://127.0.0.1:{nothing}/v3",
        "username": "admin",
        "password": PASSWORD,
        "project_name": "admin",
        "user_domain_id": "default",
        "project_domain_id": "default",
    }
    clouds.write_text(yaml.safe_dump({"clouds": {"dead": {"auth": auth, "region_name": "RegionOne"}}}))
    config = tmp_path / "config.yaml"
    cloud = {"name": "dead", "cloudsFile": str(clouds)}
    log = {"level": "debug"}
    config.write_text(yaml.safe_dump({"cloud": cloud, "health": {"port": health}, "log": log}))
    told = tmp_path / "log"
    command = [sys.executable, "-m", "vmferry", "operator", "--config", str(config), "--kubeconfig", str(kubeconfig)]
    with told.open("wb") as out:
        process = subprocess.Popen(command, env=environment(), stdout=out, stderr=subprocess.STDOUT)
    try:
        yield process, health, told
    finally:
        process.kill()
        process.wait()


def get(port: int, path: str) -> tuple[int, str]:
    """Status and text; 0 while nobody answers."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def test_the_version_is_told() -> None:
    assert vmferry("version").stdout.strip() == __version__


def test_a_wrong_configuration_is_named_and_ends_it(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("policy: {limit: {}}")
    done = vmferry("operator", "--config", path)
    assert done.returncode == 2
    assert f"{path}: policy.limit: no such key" in done.stderr


def test_without_a_way_to_kubernetes_it_ends_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("")
    done = vmferry("operator", "--config", path, "--kubeconfig", tmp_path / "nothing")
    assert done.returncode == 1
    assert "no way to Kubernetes" in done.stderr


@pytest.mark.kubernetes
def test_a_dead_cloud_makes_it_unready_but_not_sick_and_it_ends_when_asked(cluster: Cluster, tmp_path: Path) -> None:
    with operator(tmp_path, cluster.kubeconfig) as (process, port, log):

        def settled() -> bool:
            assert process.poll() is None, log.read_text()
            code, text = get(port, "/readyz")
            return code == 503 and "cloud: it was never read whole: " in text and "kubernetes" not in text

        wait_for(settled, 240, "an operator that lacks its cloud only")
        assert get(port, "/healthz") == (200, "ok\n")
        wait_for(
            lambda: 'vmferry_cloud_view_timestamp_seconds{part="servers"} 0.0' in get(port, "/metrics")[1],
            10,
            "the metrics",
        )
        memory = psutil.Process(process.pid).memory_info().rss / 2**20
        assert memory < IDLE_MEMORY
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        lines = log.read_text().splitlines()
        assert PASSWORD not in log.read_text()
    assert json.loads(lines[-1])["message"] == "stopped"
    assert all(json.loads(line)["level"] for line in lines)
    print(f"idle: {memory:.0f} MiB")
