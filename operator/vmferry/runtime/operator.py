"""The operator as a process: starts all parts, and stops them in an order that loses nothing."""

from __future__ import annotations

import asyncio
import gc
import logging
import re
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from vmferry import __version__
from vmferry.cloud.nova import NovaClient
from vmferry.cloud.observer import Observer, Pace
from vmferry.reconcilers.breaker_resume import Marks
from vmferry.reconcilers.decision import Event, EventType
from vmferry.reconcilers.event_reasons import EventReason
from vmferry.reconcilers.kind import Kinds
from vmferry.reconcilers.rows import KINDS
from vmferry.runtime.allocator import limit_arenas
from vmferry.runtime.classes import selector
from vmferry.runtime.cloud import Cloud
from vmferry.runtime.config import Config
from vmferry.runtime.definitions import Definitions
from vmferry.runtime.elector import Elector, identity
from vmferry.runtime.events import tell_of_operator
from vmferry.runtime.gc_tuning import CollectorTuning
from vmferry.runtime.health import Health
from vmferry.runtime.host_lease import HostLeases
from vmferry.runtime.key import Key
from vmferry.runtime.kill_switch import KillSwitch
from vmferry.runtime.kube import WRITES_SILENCE, Kube
from vmferry.runtime.kube_api import KubeError
from vmferry.runtime.leader_fence import LeaderFence
from vmferry.runtime.metrics import definitions as metrics
from vmferry.runtime.metrics.collect import MetricsCollector
from vmferry.runtime.metrics.requests import cloud_call, cloud_login
from vmferry.runtime.probe_server import HealthServer
from vmferry.runtime.queue import Lane, WorkQueue
from vmferry.runtime.reconcile import Reconciler
from vmferry.runtime.resume_marks import ResumeMarks
from vmferry.runtime.resync import Resync
from vmferry.runtime.store import Body, Store, key_of, version_of
from vmferry.runtime.streaks import Streaks
from vmferry.runtime.triggers import Triggers
from vmferry.runtime.view_age import ViewAge
from vmferry.runtime.watch import Watch
from vmferry.runtime.workers import work

#: seconds after which a thread that parses OpenStack responses yields to the event loop; with Python's default of 5 ms
#: each of the dozens of steps of a reconcile could wait that long
SWITCH_SECONDS = 0.0005
#: seconds for which all reconciles may fail before the operator becomes unready
FAILING_PATIENCE = 60.0

logger = logging.getLogger(__name__)


async def run(config: Config) -> int:
    """Run until SIGTERM or SIGINT and return the exit code. Raises KubeError or OSError if it cannot start."""
    limit_arenas()
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.callbacks.append(CollectorTuning())
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    client = NovaClient(
        config.cloud.name, clouds_yaml=config.cloud.clouds_file, on_request=cloud_call, logged_in=cloud_login
    )
    # a worker blocks at most one thread with a request that hangs; the other threads stay free for polls
    health = Health()
    observer = Observer(
        client,
        Pace(**config.polling.seconds()),
        threads=config.workers + 8,
        stuck_after=config.policy.stuck_after,
        beat=health.beat,
    )
    return await Operator(config, observer, health=health).run(stop)


class Operator:
    """One operator; `run` may be called once."""

    def __init__(
        self,
        config: Config,
        cloud: Cloud,
        kinds: Kinds = KINDS,
        health: Health | None = None,
    ) -> None:
        self._config = config
        self._cloud = cloud
        self._kinds = kinds
        self.health = health or Health()
        self.queue: WorkQueue[Key] = WorkQueue(
            most_routine=max(1, config.workers // 2), waited=metrics.QUEUE_WAIT.observe
        )
        policy = config.policy
        limits = policy.limits
        self._waker = Triggers(
            self.queue,
            lambda: cloud.snapshot.servers_by_host,
            next_up=lambda: self.store.next_up(cloud.snapshot, limits),
        )
        self.store = Store(kinds, self._waker, policy.breaker)
        self._collector = MetricsCollector(self.store, self.queue, cloud, self.health, policy)
        self._failing = Streaks(FAILING_PATIENCE, failures=3, silence=WRITES_SILENCE)
        #: the port of the health endpoints, once they are served
        self.port: int | None = None

    async def run(self, stop: asyncio.Event) -> int:
        """Run until `stop` is set and return 0, or until an essential part fails and return 1."""
        config = self._config
        kube = await Kube.connect(config.kubeconfig)
        server = HealthServer(self.health, config.health.address, config.health.port, self._collector.collect)
        try:
            self.port = await server.start()
            logger.info("vmferry %s; health on %s port %s", __version__, config.health.address, self.port)
            return await self._work(kube, stop)
        finally:
            await server.stop()
            await kube.close()

    async def _work(self, kube: Kube, stop: asyncio.Event) -> int:
        config = self._config
        policy = config.policy
        ours = selector(config.class_)

        async def set_back(message: str) -> None:
            watch.restart()
            event = Event(EventReason.KUBERNETES_SET_BACK, message, EventType.WARNING)
            await tell_of_operator(kube, config.namespace, config.leader_election.name, event, datetime.now(UTC))

        resync = Resync(self._kinds, config.namespaces, kube, self.store, self.queue, self.health, ours, set_back)
        self._suspect = resync.suspect
        watch = Watch(self._kinds, config.namespaces, kube.connection, self._on_event, ours)
        elector = self._elector(kube)
        fence = LeaderFence(kube, elector.term if elector else lambda: 0)
        switch = KillSwitch(kube, config.namespace, config.stop_switch, self._look_at_all, resync.soon)
        marks = ResumeMarks(kube, config.namespace, config.resume_marks, self._resume)
        reconciler = Reconciler(
            kinds=self._kinds,
            store=self.store,
            queue=self.queue,
            kube=fence,
            cloud=self._cloud,
            leases=HostLeases(fence, config.namespace),
            triggers=self._waker,
            policy=policy,
            switch=switch,
            suspect=resync.suspect,
        )
        definitions = Definitions(kube.document, lambda: kube.writes.failing)
        self._check_health(resync, elector, watch, kube, definitions)
        self._cloud.subscribe(self._waker.changed)
        await self._cloud.start()
        listing = asyncio.create_task(resync.run(config.resync), name="resync")
        stopping = asyncio.create_task(stop.wait(), name="stop")
        ending = asyncio.create_task(watch.ended.wait(), name="watch ended")
        workers: list[asyncio.Task[None]] = []
        age = ViewAge(lambda: self._cloud.snapshot, config.policy.max_view_age)
        loops = [asyncio.create_task(age.run(), name="view age")]
        try:
            # Capacity can only be counted once all objects are known; and kopf, which scans only once, needs the kinds.
            first = asyncio.create_task(resync.listed.wait(), name="first list")
            await asyncio.wait([first, listing, stopping], return_when=asyncio.FIRST_COMPLETED)
            first.cancel()
            if not stop.is_set() and not listing.done():
                await switch.refresh()
                await marks.read()
                loops.append(asyncio.create_task(switch.run(self.health.beat), name="stop switch"))
                loops.append(asyncio.create_task(definitions.run(), name="definitions"))
                loops.append(asyncio.create_task(marks.run(), name="resume marks"))
                watch.start()
                self.health.alive_if("watch", lambda: None if watch.alive else "it has ended")
                for number in range(config.workers):
                    name = f"worker {number}"
                    workers.append(
                        asyncio.create_task(
                            work(name, self.queue, reconciler.reconcile, self.health, self._failing), name=name
                        )
                    )
                if elector is not None:
                    loops.append(asyncio.create_task(elector.run(self.health.beat), name="leader election"))
                parts = [listing, stopping, ending, *workers, *loops]
                await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            return self._verdict(stop, [listing, ending, *workers, *loops])
        finally:
            logger.info("stopping: running reconciles may finish within %s s", config.grace.total_seconds())
            self.queue.close()
            unwatching = asyncio.create_task(watch.stop(), name="unwatch")
            if workers:
                _, late = await asyncio.wait(workers, timeout=config.grace.total_seconds())
                for task in late:
                    logger.warning(
                        "%s did not finish in time; the next start goes on from the records", task.get_name()
                    )
                    task.cancel()
            # keep the Lease until no reconcile is running any more
            rest: list[asyncio.Task[Any]] = [listing, stopping, ending, *loops]
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, *workers, return_exceptions=True)
            if elector is not None:
                await self._release(elector)
            await unwatching
            await self._cloud.stop()
            logger.info("stopped")

    def _elector(self, kube: Kube) -> Elector | None:
        chosen = self._config.leader_election
        if not chosen.enabled:
            metrics.LEADER.set(1)
            return None
        elector = Elector(
            kube,
            self._config.namespace,
            chosen.name,
            identity(),
            duration=chosen.lease_duration.total_seconds(),
            renew_deadline=chosen.renew_deadline.total_seconds(),
            retry_period=chosen.retry_period.total_seconds(),
            began=self._look_at_all,
        )
        metrics.LEADER.set_function(lambda: elector.term() is not None)
        return elector

    async def _release(self, elector: Elector) -> None:
        """Release the Lease, so that the next leader need not wait for it to expire."""
        try:
            async with asyncio.timeout(self._config.leader_election.retry_period.total_seconds()):
                await elector.release()
        except (KubeError, TimeoutError) as error:
            logger.warning("the Lease is not released and will expire: %s", str(error) or "no answer in time")

    def _resume(self, marks: Marks) -> None:
        """Apply changed resume marks: a person has closed a breaker, or withdrawn that."""
        self.store.history.set_marks(marks)
        self._look_at_all()

    def _look_at_all(self) -> None:
        """Queue all objects: a term has begun, or the kill switch or the resume marks have changed."""
        for kind in self._kinds:
            for key in self.store.keys(kind):
                self.queue.add(key, Lane.PATIENT if self.store.rests(key) else Lane.ROUTINE)

    def _on_event(self, kind: str, type_: str | None, body: Body) -> None:
        """Put the object of a watch event into the store, and queue it if the store did not know that state."""
        key = key_of(kind, body)
        if type_ is None:  # the object existed when the watch was started or restarted
            self._suspect(kind, body)
        if type_ == "DELETED":
            self.store.remove(key, version_of(body))
            self.queue.add(key)
        elif self.store.put(kind, body):
            self.queue.add(key)
        metrics.WATCHED.labels(kind).inc()
        if self.store.freed(self._cloud.snapshot):
            self._waker.freed()

    def _check_health(
        self, resync: Resync, elector: Elector | None, watch: Watch, kube: Kube, definitions: Definitions
    ) -> None:
        """Register the readiness checks: ready means that the operator can do its work.

        No check contains text of a server or proxy: see `trouble`.
        """
        if elector is not None:
            self.health.say(elector.standby)
        longest = self._config.policy.max_view_age

        def view() -> str | None:
            snapshot = self._cloud.snapshot
            age = snapshot.age(datetime.now(UTC))
            if age is not None and age <= longest:
                return None
            seen = "it was never read whole" if age is None else f"the view is {int(age.total_seconds())} s old"
            if snapshot.trouble is None:
                return seen
            return f"{seen}: {trouble_class(snapshot.trouble)}"

        self.health.ready_if("cloud", view)
        self.health.ready_if("kubernetes", lambda: resync.trouble)
        self.health.ready_if("watch", watch.down.trouble)
        self.health.ready_if("definitions", lambda: definitions.trouble)
        self.health.ready_if("writes", kube.writes.trouble)
        self.health.ready_if("reconciles", self._failing.trouble)

    def _verdict(self, stop: asyncio.Event, parts: Sequence[asyncio.Task[Any]]) -> int:
        for part in parts:
            if part.done() and not stop.is_set():
                error = part.exception()
                logger.critical("%s ended, which must not happen", part.get_name(), exc_info=error)
                return 1
        return 0


def trouble_class(trouble: str) -> str:
    """A summary of an OpenStack error for `/readyz`, which needs no login. The log has the full text."""
    what = "cannot log in" if trouble.startswith("cannot log in") else "the cloud cannot be read"
    status = re.search(r"\bHTTP (\d{3})\b", trouble)
    return f"{what} (HTTP {status[1]})" if status else what


__all__ = ["KubeError", "Operator", "run"]
