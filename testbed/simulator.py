"""The simulated cloud as a lab: a separate process, accessed over HTTP like any cloud."""

from __future__ import annotations

import json
import os
import shutil
import sys
import urllib.request
from pathlib import Path
from typing import Any

from testbed.processes import Supervisor, plain_environment, wait_for

_PROJECT = Path(__file__).resolve().parent.parent
_PROCESS = "simulator"
#: the file of the control API's token, beside clouds.yaml
_TOKEN = "control-token"


class SimulatedCloud:
    """Implements `testbed.cloud.CloudLab`; what only a simulator can do goes through `control`."""

    def __init__(self, supervisor: Supervisor, url: str, clouds_yaml: Path) -> None:
        """Connect to a running simulator; `start` creates one."""
        self._supervisor = supervisor
        self._clouds_yaml = clouds_yaml
        self.url = url

    @classmethod
    def start(
        cls,
        supervisor: Supervisor,
        run_dir: Path,
        fleet: Path | None = None,
        *,
        speed: float | None = None,
        port: int = 0,
        address: str = "127.0.0.1",
    ) -> SimulatedCloud:
        """Serve the fleet file (default: the four hosts of the real lab) and wait until it responds.

        `speed` is simulated seconds per second; 0 is a clock that only `step` moves; None keeps the file's value.
        Raises ProcessDiedError with the errors of the fleet file, TimeoutError.
        """
        folder = run_dir / _PROCESS
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)
        clouds_yaml, ready = folder / "clouds.yaml", folder / "url"
        token = clouds_yaml.with_name(_TOKEN)
        command: list[str | Path] = [
            sys.executable,
            "-m",
            "vmferry.simulator",
            "--port",
            str(port),
            "--address",
            address,
        ]
        command += ["--clouds-yaml", clouds_yaml, "--url-file", ready, "--token-file", token]
        command += ["--fleet", fleet] if fleet is not None else []
        command += ["--speed", str(speed)] if speed is not None else []
        path = os.pathsep.join([str(_PROJECT / "operator"), *filter(None, [os.environ.get("PYTHONPATH")])])
        supervisor.start(_PROCESS, command, env={**plain_environment(), "PYTHONPATH": path})
        try:
            url = wait_for(
                lambda: ready.read_text().strip() if ready.exists() else "",
                180,  # loading ten thousand servers takes a while on a busy machine
                "the simulator's address",
                lambda: supervisor.check(_PROCESS),
            )
        except BaseException:
            supervisor.stop(_PROCESS)
            raise
        return cls(supervisor, url, clouds_yaml)

    @property
    def name(self) -> str:
        return "simulator"

    @property
    def clouds_yaml(self) -> Path:
        return self._clouds_yaml

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(self.control("GET", "/state")["hosts"])

    def stop(self) -> None:
        self._supervisor.stop(_PROCESS)

    def kill_compute(self, host: str) -> None:
        self.control("POST", f"/hosts/{host}/kill")

    def start_compute(self, host: str) -> None:
        self.control("POST", f"/hosts/{host}/start")
        if self.control("GET", "/clock")["speed"] == 0:
            self.step(1)
        wait_for(lambda: self.control("GET", "/state")["hosts"][host]["alive"], 30, f"nova-compute of {host} to be up")

    def forget_guest(self, server_id: str) -> None:
        """Does nothing: a deleted server leaves no guest behind on a simulated host."""

    def knob(self, host: str, **values: float | bool | None) -> None:
        self.control("PUT", f"/hosts/{host}/knobs", values)

    def reset_knobs(self) -> None:
        self.control("DELETE", "/knobs")

    # ---- only possible with a simulator

    def step(self, seconds: float) -> None:
        """Move the cloud's clock forward; all events that become due have happened when this returns."""
        self.control("POST", "/clock", {"step": seconds})

    def settings(self, **changes: Any) -> None:
        """Change settings: `durations={"live_copy": 0}`, `nova={"service_down_time": 2}`, `token_lifetime=5`."""
        self.control("PATCH", "/settings", changes)

    def fault(self, **fault: Any) -> None:
        """Order a `vmferry.simulator.faults.Fault`: method, path, status, delay, drop, truncate, stale, times …"""
        self.control("POST", "/faults", fault)

    def clear_faults(self) -> None:
        self.control("DELETE", "/faults")

    def requests(self) -> dict[str, int]:
        """The number of requests per route, such as `GET /compute/v2.1/servers/detail`, since `forget_requests`."""
        counts: dict[str, int] = self.control("GET", "/requests")["requests"]
        return counts

    def last_requests(self) -> dict[str, float]:
        """The time of each route's last request, in seconds since 1970."""
        times: dict[str, float] = self.control("GET", "/requests")["last"]
        return times

    def forget_requests(self) -> None:
        self.control("DELETE", "/requests")

    def control(self, method: str, path: str, body: object = None) -> Any:
        """Send a request to the control API. Raises ValueError with its response if it refuses."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"X-Control-Token": self._clouds_yaml.with_name(_TOKEN).read_text()}
        request = urllib.request.Request(f"{self.url}/_control{path}", data=data, headers=headers, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _KeepErrors())
        with opener.open(request, timeout=30) as answer:
            text = answer.read().decode()
            if answer.status >= 400:
                raise ValueError(f"{method} {path}: {answer.status} {text}")
        return json.loads(text) if text else None


class _KeepErrors(urllib.request.HTTPErrorProcessor):
    """Returns responses with status 400 or above instead of raising."""

    def http_response(self, request: Any, response: Any) -> Any:
        return response

    https_response = http_response
