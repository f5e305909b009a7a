"""The demo: a person's `kubectl` commands, run on real parts, with their output."""

from __future__ import annotations

import json
import time
from typing import Any

from testbed.drain_demo import DrainDemo
from testbed.shown import DemoError, Shown, heading, say

NAMESPACE = "migrations"
#: the servers of the VMMigrations in manifests/demo, and their initial hosts
SERVERS = {"web-1": "cmp1", "db-1": "cmp2", "legacy-1": "cmp4", "cache-1": "cmp3"}


class Demo(Shown):
    def migration(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", "vmm", name, "-n", NAMESPACE, "-o", "json", show=False))
        return found

    def seed(self, *names: str) -> None:
        """Boot the named `SERVERS`; db-1 is powered off, legacy-1 is locked."""
        tenant = self.tenant
        ids = {name: tenant.boot(name, SERVERS[name], flavor="m1.small", wait=False) for name in names}
        for server_id in ids.values():
            tenant.wait_for_status(server_id, "ACTIVE")
        if "db-1" in ids:
            tenant.stop(ids["db-1"])
        if "legacy-1" in ids:
            tenant.lock(ids["legacy-1"], "monthly audit")

    def wait(self, name: str, seconds: float = 120) -> dict[str, Any]:
        """Print each change of the migration's state until it has finished or is blocked."""
        last = ""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            obj = self.migration(name)
            status = obj.get("status", {})
            progress = status.get("progress", {}).get("percent")
            line = (
                f"   {status.get('phase', '-'):<10} {status.get('type', '-'):<8} "
                f"{status.get('sourceHost', '-')} -> {status.get('targetHost', '-')}"
                + (f"  {progress} %" if progress is not None else "")
            )
            if line != last:
                say(line)
                last = line
            if status.get("completedAt") or status.get("phase") == "Blocked":
                return obj
            time.sleep(0.5)
        raise DemoError(f"{name} did not come to an end within {seconds:.0f} s: {last.strip()}")

    def succeeded(self, name: str, kind: str, source: str) -> dict[str, Any]:
        obj = self.wait(name)
        status = obj["status"]
        if status["phase"] != "Succeeded" or status["type"] != kind:
            raise DemoError(f"{name}: {json.dumps(status, indent=1)}")
        server = self.tenant.server(status["server"]["id"])
        if server is None or server["OS-EXT-SRV-ATTR:host"] in (None, source):
            raise DemoError(f"{name}: the cloud says that the server is on {server and server['OS-EXT-SRV-ATTR:host']}")
        say(f"   the cloud agrees: {server['name']} is {server['status']} on {server['OS-EXT-SRV-ATTR:host']}")
        return obj

    # -- the parts

    def live(self) -> None:
        heading("Live: a running server, to a named host, with its progress")
        self.bed.cloud.knob("cmp1", live_seconds=10)
        self.apply("live.yaml")
        seen = self.succeeded("web-1", "Live", "cmp1")
        self.bed.cloud.reset_knobs()
        self.kubectl("get", "vmm", "web-1", "-n", NAMESPACE)
        self.kubectl("wait", "--for=condition=Succeeded", "vmm/web-1", "-n", NAMESPACE)
        if not seen["status"].get("progress"):
            raise DemoError("no progress was seen")

    def cold(self) -> None:
        heading("Cold: a powered-off server, to a host that the operator picks")
        self.apply("cold.yaml")
        obj = self.succeeded("db-1", "Cold", "cmp2")
        for target in obj["status"]["eligibleTargets"]:
            say(f"   {target['rank']}. {target['host']}: {target['message']}")

    def evacuate(self) -> None:
        heading("Evacuate: the host of a server fails")
        say("booting cache-1 on cmp3, which is in service again")
        self.seed("cache-1")
        say("killing nova-compute on cmp3, waiting until the cloud sees it")
        self.bed.cloud.kill_compute("cmp3")
        self.tenant.wait_for_service("cmp3", "down")
        self.apply("evacuate.yaml")
        self.until_unblocked("cache-1")
        self.succeeded("cache-1", "Evacuate", "cmp3")

    def until_unblocked(self, name: str) -> None:
        """Wait until the migration is no longer blocked: a host counts as failed only after some time without
        heartbeats."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            status = self.migration(name).get("status", {})
            if status.get("phase") not in (None, "Blocked"):
                return
            time.sleep(0.5)
        raise DemoError(f"{name} stays blocked: {json.dumps(status, indent=1)}")

    def refused(self) -> None:
        heading("Refused: several prerequisites are not met, and all are told at once")
        self.apply("refused.yaml")
        status = self.wait("legacy-1")["status"]
        failed = [p for p in status["prerequisites"] if p["result"] == "Failed"]
        for p in status["prerequisites"]:
            say(f"   {p['result']:<8} {p['name']:<18} {p['message']}")
            if p["result"] == "Failed":
                say(f"   {'':<8} {'':<18} what to do: {p['remedy']}")
        names = {p["name"] for p in failed}
        missing = {"PowerState", "ServerLock", "TargetHost", "OperatingSystem", "HypervisorVersion"} - names
        if status["phase"] != "Blocked" or missing:
            raise DemoError(f"expected more failed prerequisites, {missing} did not fail")

    def run(self) -> None:
        say("booting servers for the migrations")
        self.kubectl("create", "namespace", NAMESPACE, show=False)
        drain = DrainDemo(self.bed)
        # cache-1 boots later, on the first host that was drained, and is evacuated from there
        self.seed(*(name for name in SERVERS if name != "cache-1"))
        drain.seed()
        self.live()
        self.cold()
        drain.run()
        self.evacuate()
        self.refused()
        heading("All together")
        self.kubectl("get", "vmm", "-n", NAMESPACE)
        self.kubectl("get", "events", "-n", NAMESPACE, "--sort-by=.metadata.creationTimestamp")
