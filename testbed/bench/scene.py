"""A real Kubernetes API, a simulated cloud and the operator as a process, to measure the cost of the operator."""

from __future__ import annotations

import http.client
import json
import shutil
import ssl
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import yaml

from testbed.bed import CRDS, OPERATOR, Bed
from testbed.kubernetes.cluster import Cluster
from testbed.processes import Supervisor, run_root
from testbed.simulator import SimulatedCloud

GROUP = "/apis/vmferry.dev/v1alpha1"
PATH = f"{GROUP}/namespaces/default/vmmigrations"
PATIENCE = 900.0


class Wish(NamedTuple):
    """A VMMigration to create."""

    name: str
    server_id: str
    target: str | None = None
    #: additional fields of the spec
    spec: Mapping[str, Any] = {}


class Scene:
    """The bed, and a faster client of Kubernetes than kubectl."""

    def __init__(self, bed: Bed, cloud: SimulatedCloud) -> None:
        self.bed = bed
        self.cloud = cloud
        #: the slowest response of /healthz, in seconds
        self.longest_answer = 0.0
        config = yaml.safe_load(bed.cluster.kubeconfig.read_text())
        self._token = config["users"][0]["user"]["token"]
        self._address = urlsplit(bed.cluster.server_url)
        self._local = threading.local()
        self._over = threading.Event()
        threading.Thread(target=self._probe, daemon=True).start()

    def close(self) -> None:
        self._over.set()

    def _probe(self) -> None:
        """Poll /healthz, which is served by the event loop that also renews the Lease."""
        while not self._over.wait(0.05):
            begun = time.monotonic()
            if self.bed.probe("healthz")[0]:
                self.longest_answer = max(self.longest_answer, time.monotonic() - begun)

    def servers(self) -> Iterator[dict[str, Any]]:
        """The servers of all projects, with the fields of a list without details."""
        marker = ""
        while page := self.bed.tenant.call("GET", f"/servers?all_tenants=1&limit=1000{marker}")["servers"]:
            yield from page
            marker = f"&marker={page[-1]['id']}"

    def call(self, method: str, path: str, body: object = None) -> Any:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        try:
            connection = self._connection()
            connection.request(method, path, json.dumps(body) if body else None, headers)
            answer = connection.getresponse()
        except http.client.RemoteDisconnected:
            # the server closes connections that were idle for long
            self._local.connection = None
            if method != "GET":
                raise
            return self.call(method, path)
        text = answer.read()
        gone = method == "DELETE" and answer.status == HTTPStatus.NOT_FOUND
        if answer.status >= 400 and not gone:
            raise ValueError(f"{method} {path}: {answer.status} {text[:500]!r}")
        return json.loads(text)

    def _connection(self) -> http.client.HTTPSConnection:
        """The connection of the current thread."""
        known: http.client.HTTPSConnection | None = getattr(self._local, "connection", None)
        if known is None:
            context = ssl.create_default_context(cafile=str(self.bed.cluster.ca_file))
            known = http.client.HTTPSConnection(str(self._address.hostname), self._address.port, context=context)
            self._local.connection = known
        return known

    def create(self, objects: Sequence[Wish]) -> None:
        def one(wish: Wish) -> None:
            spec: dict[str, Any] = {"server": {"id": wish.server_id}, **wish.spec}
            if wish.target:
                spec["target"] = {"host": wish.target}
            kind = {"apiVersion": "vmferry.dev/v1alpha1", "kind": "VMMigration"}
            self.call("POST", PATH, {**kind, "metadata": {"name": wish.name}, "spec": spec})

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(one, objects))

    def statuses(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        token = ""
        while True:
            page = self.call("GET", f"{PATH}?limit=500{token}")
            found |= {item["metadata"]["name"]: item.get("status", {}) for item in page["items"]}
            if not page["metadata"].get("continue"):
                return found
            token = f"&continue={page['metadata']['continue']}"

    def wait_for(self, met: Callable[[Counter[str]], bool], what: str) -> None:
        end = time.monotonic() + PATIENCE
        while not met(phases := Counter(status.get("phase", "") for status in self.statuses().values())):
            self.bed.supervisor.check(OPERATOR)
            if time.monotonic() > end:
                raise TimeoutError(f"not {what}: {dict(phases)}\n{self.bed.supervisor.log_tail(OPERATOR, 20)}")
            time.sleep(2)

    def peak_mib(self) -> float:
        """The operator's peak memory."""
        return self._memory("VmHWM")

    def resident_mib(self) -> float:
        """The operator's current memory."""
        return self._memory("VmRSS")

    def _memory(self, name: str) -> float:
        status = Path(f"/proc/{self.bed.supervisor.pid(OPERATOR)}/status").read_text()
        return int(status.split(f"{name}:")[1].split()[0]) / 1024


Kind = TypeVar("Kind", bound=Scene)


@contextmanager
def scene(kind: type[Kind], fleet: object, policy: Mapping[str, Any], **config: Any) -> Iterator[Kind]:
    """Run a cloud with this fleet and an operator with this policy and default intervals; `config` is merged in."""
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=run_root()))
    fleet_file = folder / "fleet.yaml"
    # JSON is valid YAML, and takes a hundredth of the time to write
    fleet_file.write_text(json.dumps(fleet))
    supervisor = Supervisor(folder)
    try:
        cloud = SimulatedCloud.start(supervisor, folder, fleet_file)
        bed = Bed(supervisor, folder, Cluster.start(supervisor, folder / "kubernetes", CRDS), cloud)
        bed.install_operator()
        settings = yaml.safe_load(bed.config_file.read_text())
        # the short intervals of the demo and the tests would distort the figures
        del settings["polling"], settings["leaderElection"]
        bed.config_file.write_text(yaml.safe_dump({**settings, "policy": dict(policy), **config}))
        bed.start_operator()
        found = kind(bed, cloud)
        try:
            yield found
        finally:
            found.close()
    finally:
        supervisor.stop_all(grace=0)
        shutil.rmtree(folder)
