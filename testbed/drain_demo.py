"""The demo's drains: two hosts, one after the other. The first has a server of each kind that the cloud supports.

cmp3 has an older CPU than cmp1 and cmp2, so its servers can go to both, but running servers cannot return. cmp1 and
cmp2 have the same CPU, so the servers of cmp1 go to cmp2 and return.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from testbed.bed import OPERATOR_NAMESPACE, Bed
from testbed.shown import DemoError, Shown, heading, say

Status = dict[str, Any]


class DrainDemo(Shown):
    def __init__(self, bed: Bed) -> None:
        super().__init__(bed)
        #: server ids by name
        self.ids: dict[str, str] = {}
        #: names of the servers that were on cmp1 before its drain
        self.before: set[str] = set()

    def seed(self) -> None:
        """Boot the servers; `_ready` waits for them."""
        tenant = self.tenant
        pair, trio = (tenant.create_group(name, "anti-affinity") for name in ("pair", "trio"))
        say(
            "booting servers of many kinds on cmp3: running, powered off, locked, one of an anti-affinity pair,\n"
            "   and one of a trio whose others have both hosts that it could go to"
        )
        for name, host, group in (
            ("app-1", "cmp3", None),
            ("app-2", "cmp3", None),
            ("batch-1", "cmp3", None),
            ("audit-1", "cmp3", None),
            ("pair-1", "cmp1", pair),
            ("pair-2", "cmp3", pair),
            ("trio-1", "cmp1", trio),
            ("trio-2", "cmp2", trio),
            ("trio-3", "cmp3", trio),
        ):
            self.ids[name] = tenant.boot(name, host, group=group, wait=False)
        if self.bed.cloud.name == "simulator":
            self.ids["vol-1"] = tenant.boot("vol-1", "cmp3", volume_gb=10, wait=False)
            say("   and one that boots from a volume")
        else:
            say("   no volumes: this Nova has no Cinder")
        say("   no local disks to copy: all hosts share one storage")

    def run(self) -> None:
        self._ready()
        self._checked()
        self._drained()
        self._next_in_line()
        self._returned()

    def _ready(self) -> None:
        for server in self.ids.values():
            self.tenant.wait_for_status(server, "ACTIVE")
        self.tenant.stop(self.ids["batch-1"])
        self.tenant.lock(self.ids["audit-1"], "quarterly audit")

    # ---- cmp3: all kinds of servers, blockers, two target hosts

    def _checked(self) -> None:
        heading("Drain, checked first: the whole host, every server, all blockers at once; nothing is touched")
        self.apply("drain.yaml")
        status = self._until("cmp3", "checked", lambda s: s.get("phase") == "Checked" and len(s["blockers"]) == 2)
        for move in status["moves"]:
            waits = f" ({move['message']})" if move.get("message") else ""
            say(f"   would go {move['type']:<5} {move['name']:<8} -> {move['targetHost']}{waits}")
        self._say_blockers(status)
        if {move["targetHost"] for move in status["moves"]} != {"cmp1", "cmp2"}:
            raise _wrong("the plan does not use both hosts", status)
        if self.tenant.service("cmp3")["status"] != "enabled":
            raise _wrong("a mere check has touched the host", status)

    def _drained(self) -> None:
        heading("Drain: everything that can move does; who cannot is named, and holds nobody back")
        self._patch("cmp3", preflightOnly=False)
        status = self._until("cmp3", "blocked by two", lambda s: s.get("phase") == "Blocked")
        self._say_blockers(status)
        if {one["name"] for one in status["blockers"]} != {"audit-1", "trio-3"}:
            raise _wrong("other blockers were expected", status)
        say("now somebody unlocks audit-1 and deletes trio-3; the drain goes on by itself")
        self.tenant.unlock(self.ids["audit-1"])
        self.tenant.delete(self.ids.pop("trio-3"))
        self._until("cmp3", "drained", lambda s: s.get("phase") == "InMaintenance")
        self.kubectl("wait", "--for=condition=Drained", "hm/cmp3", "--timeout=60s")
        self._cloud_agrees_that_it_is_empty("cmp3", "replace DIMM 4")
        self.kubectl("get", "hm")
        self.kubectl("get", "vmm", "-n", OPERATOR_NAMESPACE, "-l", "vmferry.dev/maintenance=cmp3")

    def _cloud_agrees_that_it_is_empty(self, host: str, reason: str) -> None:
        service, here = self.tenant.service(host), self._servers_on(host)
        if here or service["status"] != "disabled" or reason not in service["disabled_reason"]:
            raise _wrong(f"the cloud does not agree: {here}", service)
        say(f"   the cloud agrees: no server on {host}; disabled: {service['disabled_reason']}")

    # ---- cmp1: queued behind cmp3, then drained and released with its servers

    def _next_in_line(self) -> None:
        heading("The next host waits until this one is given back; then its servers leave, and return")
        # the remaining servers of the two groups occupy the only hosts that servers of cmp1 could go to
        self.tenant.delete(*(self.ids.pop(name) for name in ("pair-1", "pair-2", "trio-1", "trio-2")))
        self.apply("maintenance.yaml")
        self._until("cmp1", "queued", lambda s: s.get("phase") == "Queued")
        self.before = self._servers_on("cmp1")
        self._patch("cmp3", enabled=False)
        self._until("cmp3", "released", lambda s: s.get("phase") == "Released")
        service = self.tenant.service("cmp3")
        if service["status"] != "enabled":
            raise _wrong("cmp3 was not given back", service)
        say("   the cloud agrees: cmp3 is enabled again")
        self._until("cmp1", "drained", lambda s: s.get("phase") == "InMaintenance")
        self._cloud_agrees_that_it_is_empty("cmp1", "new firmware")

    def _returned(self) -> None:
        self._patch("cmp1", enabled=False)
        status = self._until("cmp1", "released", lambda s: s.get("phase") == "Released")
        service, here = self.tenant.service("cmp1"), self._servers_on("cmp1")
        if here != self.before or service["status"] != "enabled" or service["disabled_reason"]:
            raise _wrong(f"not as it was: {sorted(here)} instead of {sorted(self.before)}", status)
        say(f"   the cloud agrees: cmp1 is enabled and has its servers again: {', '.join(sorted(here))}")
        self.kubectl("get", "hm")

    # ---- shared

    def _servers_on(self, host: str) -> set[str]:
        """The names of the servers of all projects on the host."""
        found = self.tenant.call("GET", f"/servers/detail?all_tenants=1&host={host}")["servers"]
        return {server["name"] for server in found if server["OS-EXT-SRV-ATTR:host"] == host}

    def _patch(self, name: str, **spec: object) -> None:
        self.kubectl("patch", "hm", name, "--type=merge", "-p", json.dumps({"spec": spec}))

    def _until(self, name: str, what: str, met: Callable[[Status], bool], seconds: float = 120) -> Status:
        """Print each change of the maintenance's state until `met` is true."""
        last = ""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = json.loads(self.kubectl("get", "hm", name, "-o", "json", show=False))
            status: Status = found.get("status", {})
            line = _line(name, status)
            if line != last:
                say(line)
                last = line
            # only a status that belongs to the current spec counts
            if status.get("observedGeneration") == found["metadata"]["generation"] and met(status):
                return status
            time.sleep(0.5)
        raise _wrong(f"{name} is not {what} after {seconds:.0f} s", status)

    def _say_blockers(self, status: Status) -> None:
        for one in status["blockers"]:
            say(f"   cannot go     {one['name']:<8} {one['prerequisite']} {one['reason']}: {one['message']}")
            say(f"                          what to do: {one['remedy']}")


def _line(name: str, status: Status) -> str:
    counts = status.get("progress") or {}
    told = " ".join(f"{word} {counts[word]}" for word in ("moved", "moving", "waiting", "blocked") if word in counts)
    ready: Status = next((one for one in status.get("conditions", []) if one["type"] == "Ready"), {})
    why = f"   {ready['message']}" if status.get("phase") in ("Queued", "Released") else ""
    return f"   {name} {status.get('phase', '-'):<13} {told}{why}".rstrip()


def _wrong(what: str, seen: Status) -> DemoError:
    return DemoError(f"{what}: {json.dumps(seen, indent=1)}")
