"""The operator's whole process between a cloud that lies, a hostile tenant and strangers at its port.

After each attack the same things must hold: no planted secret anywhere, every line of the log is JSON, no action was
sent twice or to another host, the memory stayed below the chart's limit, the Lease was kept, and the operator works
again once the cloud does.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from testbed.bed import OPERATOR, Bed, merge
from testbed.kubernetes.cluster import Cluster
from testbed.processes import Supervisor, wait_for
from testbed.simulator import SimulatedCloud
from tests.cloud.samples import SERVER
from tests.e2e.conftest import Player
from tests.runtime.test_hostile_logs import HOSTILE
from tests.security.encodings import ENCODINGS, traces
from tests.security.lying_cloud import (
    Lie,
    LyingCloud,
    Request,
    Wire,
    bomb,
    deep,
    drip,
    endless_body,
    endless_pages,
    lying_cloud,
    many,
    passed_on_then,
    redirect,
)
from vmferry.cloud.model import Part

pytestmark = [pytest.mark.simulator, pytest.mark.kubernetes]

NAMESPACE = "security"
PASSWORD = 'S3CRET-pa"ss\\word/of&x%41 Zq9Zq9'
#: MiB: `resources.limits.memory` of the chart
LIMIT = 512
#: a kubelet restarts a container after so many failed probes in a row
FAILURE_THRESHOLD = 3
#: parts of the shared view, of which each is polled by itself
PARTS = len(Part)
#: a poll tries once more after a broken connection
TRIES = 2
#: seconds that an attack goes on
SPAN = 6.0
ANY_READ = r"/(compute|placement)/.*"
ACTION = r"/compute/.*/servers/.*/action"


class Attacked:
    """An operator, the lying cloud that it is led to, and what has been seen of it."""

    def __init__(self, bed: Bed, cloud: LyingCloud, temporary: Path) -> None:
        self.bed = bed
        self.cloud = cloud
        self.temporary = temporary
        self.player = Player(bed, NAMESPACE)
        self.answers: list[str] = []
        self.peak = 0.0

    @property
    def log(self) -> str:
        return self.bed.supervisor.log(OPERATOR).read_text(encoding="utf-8")

    def watch(self, seconds: float) -> None:
        """Look on for so long: the probes have to answer all the while."""
        pid = self.bed.supervisor.pid(OPERATOR)
        assert pid is not None
        process = psutil.Process(pid)
        end = time.monotonic() + seconds
        failures = 0
        while time.monotonic() < end:
            self.peak = max(self.peak, process.memory_info().rss / 2**20)
            code, text = self.bed.probe("healthz")
            failures = 0 if code == 200 else failures + 1
            assert failures < FAILURE_THRESHOLD, f"the liveness probe: {code} {text}"
            self.answers += [text, self.bed.probe("readyz")[1]]
            time.sleep(0.1)
        self.answers.append(self.bed.probe("metrics")[1])

    def metrics(self, name: str) -> dict[str, float]:
        """The samples of one metric, by their labels."""
        lines = re.findall(rf"^{name}\{{(.*)\}} (\S+)$", self.bed.probe("metrics")[1], re.MULTILINE)
        return {labels: float(value) for labels, value in lines}

    def failed_polls(self) -> Counter[str]:
        """Requests of the shared view that have ended without what was asked for, by operation."""
        failed: Counter[str] = Counter()
        for labels, number in self.metrics("vmferry_cloud_requests_total").items():
            code, operation = (re.search(rf'{name}="([^"]*)"', labels) for name in ("code", "operation"))
            if code and operation and not code[1].startswith("2") and "{" not in operation[1]:
                failed[operation[1]] += int(number)
        return failed

    def recovers(self) -> None:
        """The cloud behaves again: of each part one poll may still fail, that which was under way; the next one brings
        the view."""
        ended, failed = time.time(), self.failed_polls()
        # whoever hangs at an answer that drips is given up by the client's own deadline
        wait_for(
            lambda: (
                len(read_at := self.metrics("vmferry_cloud_view_timestamp_seconds")) >= PARTS
                and min(read_at.values()) > ended
                and self.bed.probe("readyz")[0] == 200
            ),
            240,
            "the view to be read anew",
        )
        late = self.failed_polls() - failed
        assert max(late.values(), default=0) <= TRIES, f"polls that began after the attack have failed: {late}"

    def everything(self) -> dict[str, str]:
        """All that somebody can read, by where."""
        kubectl = self.bed.cluster.kubectl_run
        kinds = "vmmigrations,hostmaintenances,events.events.k8s.io,leases"
        found = {
            "the log": self.log,
            "probes and metrics": "\n".join(self.answers),
            "objects and Events": kubectl("get", kinds, "-A", "-o", "json"),
            "described": kubectl("describe", "vmmigrations", "-A"),
        }
        for path in self.temporary.rglob("*"):
            if path.is_file():
                found[str(path)] = path.read_bytes().decode("utf-8", "replace")
        return found

    def judge(self) -> None:
        """Everything that must hold whatever was tried."""
        assert self.cloud.stranger.requests == [], "something went to another host"
        self._judge_actions()
        tokens = {one.headers.get("X-Auth-Token", "") for one in self.cloud.requests} - {""}
        assert tokens
        secrets = [*traces(PASSWORD), *tokens, *(token[:20] for token in tokens)]
        for where, text in self.everything().items():
            assert not [secret for secret in secrets if secret in text], where
        for line in self.log.splitlines():
            assert {"time", "level", "message"} <= json.loads(line).keys(), line
        assert "Traceback (most recent call last)" not in self.log, "an answer makes a fault of ours"
        assert "\\u001b" not in self.everything()["objects and Events"], "something steers a terminal"
        assert self.peak < LIMIT
        assert "no longer leads" not in self.log, "the Lease was lost"

    def _judge_actions(self) -> None:
        """An action is sent again only after Nova's records were read, which show that the first had no effect."""
        looked_up: set[str] = set()
        sent: set[str] = set()
        for one in list(self.cloud.requests):
            if one.method == "GET" and (match := re.search(r"instance_uuid=([0-9a-f-]{36})", one.target)):
                looked_up.add(match[1])
            if one.method == "POST" and b"os-migrateLive" in one.body:
                server = one.path.split("/")[-2]
                assert server not in sent or server in looked_up, "sent again without a look"
                sent.add(server)
                looked_up.discard(server)
        for server in sent:
            assert len(self.player.records(server)) <= 1, "moved twice"


@pytest.fixture(scope="module")
def attacked(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    run_dir = tmp_path_factory.mktemp("security")
    temporary = run_dir / "tmp"
    temporary.mkdir()
    fleet = yaml.safe_load((Path(__file__).parents[2] / "operator/vmferry/simulator/fleets/lab.yaml").read_text())
    fleet["users"] = [{"name": "admin", "password": PASSWORD, "project": "admin", "roles": ["admin"]}]
    (run_dir / "fleet.yaml").write_text(yaml.safe_dump(fleet))
    cluster.kubectl_run("create", "namespace", NAMESPACE)
    supervisor = Supervisor(run_dir)
    with ExitStack() as stack:
        stack.callback(supervisor.stop_all)
        simulator = SimulatedCloud.start(supervisor, run_dir, run_dir / "fleet.yaml")
        cloud = stack.enter_context(lying_cloud(simulator.url))
        bed = Bed(supervisor, run_dir, cluster, simulator)
        ours = run_dir / "lying.yaml"
        ours.write_text(simulator.clouds_yaml.read_text().replace(simulator.url, cloud.url))
        here: dict[str, Any] = {"namespaces": [NAMESPACE], "policy": {"maintenance": {"namespace": NAMESPACE}}}
        config = {"cloud": {"cloudsFile": str(ours)}, "log": {"format": "json"}, "policy": {"maxViewAge": "20s"}}
        # as the chart has it: what is short for other tests is no promise
        config["leaderElection"] = {"leaseDuration": "15s", "renewDeadline": "10s", "retryPeriod": "2s"}
        bed.install_operator(**merge(here, config))
        stack.enter_context(set_in_environment("TMPDIR", str(temporary)))
        bed.start_operator()
        yield Attacked(bed, cloud, temporary)


@contextmanager
def set_in_environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name) if before is None else os.environ.update({name: before})


def echo_in_every_encoding(status: int) -> Lie:
    """A fault that repeats the password and the request's token, each time in another encoding."""
    encodings = itertools.cycle(ENCODINGS.values())

    def lie(request: Request, wire: Wire) -> None:
        encode = next(encodings)
        text = f"blocked by policy: {encode(request.headers.get('X-Auth-Token') or PASSWORD)} {encode(PASSWORD)}"
        fault = {"error" if "/identity" in request.target else "conflictingRequest": {"code": status, "message": text}}
        wire.answer(status, {"Content-Type": "application/json"}, json.dumps(fault).encode())

    return lie


def echo_as_text(request: Request, wire: Wire) -> None:
    """As a load balancer shows the request that it could not hand on."""
    shown = "\r\n".join(f"{name}: {value}" for name, value in request.headers.items()).encode() + request.body
    # the beginning of a page is what is shown of it
    wire.answer(502, {"Content-Type": "text/html"}, b"<pre>" + PASSWORD.encode() + b" upstream failed: " + shown)


STEERING = {"X-OpenStack-Request-Id": "req-\x1b]0;pwn\x07\x1b[31mX"}
NO_DATE = {"Date": "Fri, 27 Nov 99999 16:00:00 +9999"}
LONG = {"X-OpenStack-Request-Id": "y" * 5000}


def bad_headers(cloud: LyingCloud, odd: Mapping[str, str]) -> Lie:

    def lie(request: Request, wire: Wire) -> None:
        status, headers, body = cloud._asked(request)
        wire.answer(status, {**headers, **odd}, body)

    return lie


#: what is answered, to which requests: method, path
LIES: dict[str, Callable[[LyingCloud], list[tuple[Lie, str, str]]]] = {
    "reads are redirected to a stranger": lambda cloud: [(redirect(f"{cloud.stranger.url}/x", 302), "GET", ANY_READ)],
    "actions are redirected to a stranger": lambda cloud: [(redirect(f"{cloud.stranger.url}/x"), "POST", ACTION)],
    "actions are done, and redirected to themselves": lambda cloud: [
        (
            passed_on_then(cloud, lambda request, wire: redirect(cloud.url + request.target)(request, wire)),
            "POST",
            ACTION,
        )
    ],
    "logins are redirected to a stranger": lambda cloud: [
        (redirect(f"{cloud.stranger.url}/v3/auth/tokens"), "POST", "/identity/.*"),
        (echo_in_every_encoding(401), "GET", ANY_READ),
    ],
    "actions are refused in the request's own words": lambda cloud: [(echo_in_every_encoding(409), "POST", ACTION)],
    "reads are refused in the request's own words": lambda cloud: [(echo_in_every_encoding(403), "GET", ANY_READ)],
    "logins are refused in the request's own words": lambda cloud: [
        (echo_in_every_encoding(400), "POST", "/identity/.*"),
        (echo_in_every_encoding(401), "GET", ANY_READ),
    ],
    "everything is answered by a proxy's page": lambda cloud: [(echo_as_text, ".*", ANY_READ)],
    "packed answers that are large": lambda cloud: [(bomb(), "GET", ANY_READ)],
    "large errors": lambda cloud: [(bomb(300, 500), ".*", ANY_READ)],
    "endless answers": lambda cloud: [(endless_body(), "GET", ANY_READ)],
    "endless pages": lambda cloud: [(endless_pages("servers", SERVER), "GET", ANY_READ)],
    "deep answers": lambda cloud: [(deep(), ".*", ANY_READ)],
    "answers of millions of values": lambda cloud: [(many(10_000_000), "GET", ANY_READ)],
    "headers that nobody sends": lambda cloud: [(bad_headers(cloud, NO_DATE | LONG), ".*", ANY_READ)],
    "request ids that steer a terminal": lambda cloud: [(bad_headers(cloud, STEERING), ".*", ANY_READ)],
    "actions that are done at no date": lambda cloud: [(bad_headers(cloud, NO_DATE), "POST", ACTION)],
    "answers that drip": lambda cloud: [(drip(1.0), ".*", ANY_READ)],
    "heads that drip": lambda cloud: [(drip(1.0, "head"), ".*", ANY_READ)],
}


@pytest.mark.parametrize("sentence", LIES)
def test_a_lying_cloud_does_no_harm(attacked: Attacked, sentence: str) -> None:
    cloud, player = attacked.cloud, attacked.player
    server = player.boot("cmp1")
    cloud.requests.clear()
    attacked.peak = 0.0
    reads = [(lie, method, path) for lie, method, path in LIES[sentence](cloud) if method != "POST" or path != ACTION]
    for lie, method, path in LIES[sentence](cloud):
        cloud.lie(lie, method=method, path=path)
    name = player.apply(server, type="Live", target={"host": "cmp2"}, retries=0)
    if not reads:
        wait_for(lambda: cloud.seen("POST", ACTION), 240, "the move to be asked for")
    attacked.watch(SPAN)
    cloud.behave()
    attacked.recovers()
    if sentence == "endless pages":
        first, next_ = (
            [one for one in cloud.seen("GET", ".*/servers/detail") if ("marker=" in one.target) is marked]
            for marked in (False, True)
        )
        assert len(next_) <= len(first), "the same page is read more than twice"
    if sentence == "actions are done, and redirected to themselves":
        moves = [one for one in cloud.seen("POST", ACTION) if b"os-migrateLive" in one.body]
        assert len(moves) == 1, "what was done was asked for again"
    if reads:
        player.finished(name)
    else:
        player.wait(name, "ended", lambda s: s.get("phase") in ("Succeeded", "Failed", "Blocked"))
    attacked.watch(1)
    attacked.judge()


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_tenant_does_no_harm(attacked: Attacked, text: str) -> None:
    """Who locks a server may give any reason, and it is shown to others."""
    player = attacked.player
    server = player.boot("cmp1")
    reason = text.replace("\x00", "").encode("utf-8", "replace").decode()[:255]
    player.bed.tenant.lock(server, f"{reason} password: hunter2hunter2")
    status = player.blocked(player.apply(server, type="Live"))
    player.bed.tenant.unlock(server)
    attacked.watch(0.5)
    attacked.judge()
    assert "hunter2hunter2" not in json.dumps(status) + "".join(attacked.everything().values())
    shown = "".join(one["message"] for one in status["conditions"])
    assert shown.isprintable(), "something steers a terminal"


def test_strangers_at_the_port_do_no_harm(attacked: Attacked) -> None:
    """Hundreds of connections, each with most of 800 kB of headers and never the end."""
    port = attacked.bed.health_port
    held: list[socket.socket] = []
    chunk = b"X: " + b"x" * 7990 + b"\r\n"

    def send(one: socket.socket) -> None:
        with suppress(OSError):
            one.sendall(b"GET /healthz HTTP/1.1\r\n" + chunk * 100)

    for _ in range(400):
        one = socket.create_connection(("127.0.0.1", port), timeout=60)
        held.append(one)
        threading.Thread(target=send, args=(one,), daemon=True).start()
    attacked.watch(SPAN)
    for one in held:
        one.close()
    attacked.judge()
