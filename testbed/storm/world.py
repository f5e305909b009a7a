"""A storm: one simulated cloud, one Kubernetes API, up to two operators, and random events.

A storm is determined by its seed. Its events are drawn in advance as a list, so that a storm can be repeated without
some of them.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import traceback
from collections.abc import Collection, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import Any

from testbed.storm import process as operators
from testbed.storm.cloud import SimulatedClock, Site
from testbed.storm.draw import Plan, draw
from testbed.storm.faults import Faults, Kind
from testbed.storm.happening import Happening
from testbed.storm.kubernetes import Api
from testbed.storm.process import PROCESS, Process
from testbed.storm.rules import Judge, is_open
from testbed.storm.virtual import Loop, moment, patched
from vmferry.resources.base import format_time
from vmferry.runtime.kube_api import ConflictError
from vmferry.runtime.store import Body
from vmferry.simulator import fleet

#: seconds in which events happen, and seconds after that within which everything must finish
STORMY = 300.0
CALM = 2400.0
#: seconds without any change after which the storm ends
STILL = 400.0
#: seconds without any change after which no status may be written any more: a status write that is not urgent may be
#: deferred for five minutes, and until the reconcile after that
QUIET = 350.0
#: rules that hold even after etcd was restored; the others may be violated, because what was done since the snapshot
#: is forgotten and done again
AFTER_A_RESTORE = ("I44", "an exception", "a hot loop", "stuck", "I12", "I31", "I32")
#: number of violations after which a storm ends early
ENOUGH = 20


@dataclass
class Result:
    """The result of a storm."""

    seed: int
    happenings: int
    faults: int
    moves: int
    wrongs: list[str]
    log: list[str] = field(repr=False)

    @property
    def rules(self) -> set[str]:
        """The rules that were violated: `I3`, `stuck` ..."""
        return {rule_of(wrong) for wrong in self.wrongs}


def rule_of(wrong: str) -> str:
    return wrong.split(":", 1)[0]


class World:
    """The simulated cloud, the Kubernetes API and the operators of one storm."""

    def __init__(self, plan: Plan, loop: Loop, until: Collection[str] = ()) -> None:
        self.loop = loop
        self._until = until
        self.plan = plan
        self.config = plan.config
        self.dice = Random(f"{plan.seed}/world")
        self.faults = Faults()
        self.log: list[str] = []
        self.wrongs: list[str] = []
        self.broken_groups: set[str] = set()
        self.site = Site(fleet.build(plan.fleet, clock=SimulatedClock(loop)))
        self.api = Api(lambda: format_time(moment(loop)))
        self.judge = Judge(self)
        self.api.status_written = self._status_written
        self.api.gone = self.judge.gone
        self.api.complain = self.wrong
        self.processes: list[Process] = []
        #: number of status writes
        self.written = 0
        self._started = 0
        self._events: set[str] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self.enough = asyncio.Event()
        self._outside = contextvars.copy_context()

    # -- time and log

    def moment(self) -> datetime:
        """The true time."""
        return moment(self.loop)

    @property
    def now(self) -> float:
        """Seconds since the start of the storm."""
        return self.loop.time() - 1000.0

    def say(self, line: str) -> None:
        self.log.append(f"{self.now:7.1f}s {line}")

    def wrong(self, what: str, error: BaseException | None = None) -> None:
        if self.judge.forgives and rule_of(what) not in AFTER_A_RESTORE:
            return
        self.say(f"WRONG {what}")
        self.wrongs.append(what)
        if len(self.wrongs) >= ENOUGH or rule_of(what) in self._until:
            self.enough.set()
        if error is not None:
            places = traceback.extract_tb(error.__traceback__)[-6:]
            self.say("  at " + ", ".join(f"{place.filename.rsplit('/', 1)[-1]}:{place.lineno}" for place in places))

    def struck(self, kind: Kind) -> bool:
        return self.faults.strikes(kind, self.now)

    def on(self, kind: Kind) -> bool:
        return self.faults.on(kind, self.now)

    def leader(self) -> str | None:
        return self.api.holder(self.config.namespace, self.config.leader_election.name)

    def event(self, body: Body) -> None:
        name = body["metadata"]["name"]
        if name in self._events:
            raise ConflictError("exists")
        self._events.add(name)
        self.say(f"event {body['regarding']['name']}: {body['reason']}: {body['note'][:200]}")

    def _status_written(self, key: Any, before: Body, body: Body) -> None:
        self.written += 1
        self.judge.status_written(key, before, body)
        writer = PROCESS.get(None)
        if key.kind == "VMMigration" and writer is not None:
            self.judge.common_cause.status_written(writer.name, key, body)

    # -- operators

    def start_operator(self) -> Process:
        self._started += 1
        process = Process(self, f"operator-{self._started}", self.config)
        self.processes.append(process)
        self.say(f"{process.name} starts")
        process.start()
        return process

    def alive(self) -> list[Process]:
        return [process for process in self.processes if process.alive]

    def bury(self, process: Process) -> None:
        """End the tasks of an operator that was killed, and start a new one after a while."""
        self.spawn(self._bury(process, self.dice.choice([0.5, 5.0, 20.0, 90.0])))

    def bury_later(self, process: Process) -> None:
        """Wait for an operator that got SIGTERM to end, then start a new one."""

        async def wait() -> None:
            await asyncio.wait([process._main], timeout=40)
            process.alive = False
            await self._bury(process, 1)

        self.spawn(wait())

    async def _bury(self, process: Process, away: float) -> None:
        await process.kill()
        await asyncio.sleep(away)
        if not self.alive():
            self.start_operator()

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Run the coroutine as a task that belongs to no operator."""
        task = self._outside.copy().run(self.loop.create_task, coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._spawned)

    def _spawned(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error

    # -- the storm

    async def run(self, happenings: Collection[Happening]) -> None:
        storm, enough = (self.loop.create_task(one) for one in (self._storm(happenings), self.enough.wait()))
        await asyncio.wait([storm, enough], return_when=asyncio.FIRST_COMPLETED)
        if storm.done():
            storm.result()

    async def _storm(self, happenings: Collection[Happening]) -> None:
        self.spawn(self._each_second())
        self.start_operator()
        for happening in sorted(happenings, key=lambda one: one.at):
            await asyncio.sleep(max(0.0, happening.at - self.now))
            told = happening.do(self)
            if told is not None:
                self.say(f"-- {told}")
        await asyncio.sleep(max(0.0, STORMY - self.now))
        self._becalm()
        await self._until_still()
        for what in self.judge.at_the_end():
            if what not in self.wrongs:
                self.wrong(what)
        for process in self.alive():
            await process.kill()

    def _becalm(self) -> None:
        self.say("-- the storm is over")
        self.faults.end_all(self.now)
        self.api.switch = None
        for process in self.alive():
            process.skew, process.frozen_until, process.dies_at = 0.0, 0.0, None
        if not self.alive():
            self.start_operator()

    async def _until_still(self) -> None:
        """Wait until nothing has changed for `STILL` seconds, at most for `CALM` seconds."""
        end, seen, still_since, written = self.now + CALM, "", self.now, self.written
        while self.now < end and self.now - still_since < STILL:
            await asyncio.sleep(5)
            state = self._state()
            if state != seen:
                seen, still_since = state, self.now
            if self.now - still_since <= QUIET:
                written = self.written
        # an object that waits for Nova or for a dead host may update its status from time to time
        waits = any(is_open(m) for m in self.site.cloud.migrations.values()) or any(
            map(self.judge.waits_for_a_dead_host, self.api.objects.values())
        )
        if self.now >= end:
            self.wrong("stuck: there is no end of changes")
        elif self.written > written and not waits:
            self.wrong(f"small talk: {self.written - written} statuses written while nothing changed")

    def _state(self) -> str:
        """The state whose changes count as changes; it does not contain messages and times."""
        parts = [
            (str(key), body.get("status", {}).get("phase"), body["metadata"].get("finalizers"))
            for key, body in self.api.objects.items()
        ]
        cloud = self.site.cloud
        hosts = [(h.name, cloud.is_up(h), h.disabled, h.forced_down, len(h.knobs)) for h in cloud.hosts.values()]
        servers = [(s.id, s.host, s.status, s.task_state) for s in cloud.servers.values()]
        return repr((parts, hosts, servers, [(m.uuid, m.status) for m in cloud.migrations.values()]))

    async def _each_second(self) -> None:
        while True:
            self.site.cloud.clock.run_due()
            self.judge.see()
            self.api.collect()
            await asyncio.sleep(1)


@contextmanager
def world_of(plan: Plan, until: Collection[str] = ()) -> Iterator[World]:
    """A world with its own event loop. At the end all of its tasks are cancelled."""
    logging.disable(logging.CRITICAL)
    loop = Loop()

    def make(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(coroutine, loop=loop, **options)
        process = PROCESS.get(None)
        if process is not None:
            process.adopt(task)
        return task

    loop.set_task_factory(make)
    asyncio.set_event_loop(loop)
    try:
        with patched(loop, plan.seed), operators.installed():
            try:
                yield World(plan, loop, until)
            finally:
                for _ in range(200):
                    for task in (left := asyncio.all_tasks(loop)):
                        task.cancel()
                    if not left:
                        break
                    loop.run_until_complete(asyncio.sleep(0))
    finally:
        asyncio.set_event_loop(None)
        loop.close()
        logging.disable(logging.NOTSET)


def storm(seed: int, *, without: Collection[int] = (), until: Collection[str] = ()) -> Result:
    """Run one storm.

    `without` contains the numbers of events to leave out. The violation of a rule in `until` ends the storm.
    """
    plan = draw(seed)
    chosen = [h for n, h in enumerate(plan.happenings) if n not in without]
    with world_of(plan, until) as world:
        try:
            world.loop.run_until_complete(world.run(chosen))
        except Exception as error:  # an error of the storm itself is recorded in the log before it is raised
            world.wrong(f"the storm ended in {error!r}", error)
            raise
    return Result(seed, len(chosen), world.faults.struck, world.judge.moves_asked, world.wrongs, world.log)
