"""One operator in a storm: the complete real one, with faults between it and Kubernetes, its watch and the cloud."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar
from unittest import mock

from testbed.storm import cloud as clouds
from testbed.storm.cloud import Answer, Client, View, Weather, Wire
from testbed.storm.faults import Kind as Fault
from testbed.storm.kubernetes import Api, Change
from testbed.storm.virtual import SKEW
from vmferry.cloud.actions import Action
from vmferry.cloud.model import Snapshot
from vmferry.cloud.nova import CloudError
from vmferry.cloud.nova.transport import DEADLINE
from vmferry.cloud.observer import Pace
from vmferry.reconcilers.kill_switch import STARTS
from vmferry.resources.catalog import ResourceType
from vmferry.runtime import operator
from vmferry.runtime.config import Config
from vmferry.runtime.key import Key
from vmferry.runtime.kill_switch import KillSwitch
from vmferry.runtime.kube import WRITES_PATIENCE
from vmferry.runtime.kube_api import AlreadyExistsError, ConflictError, InvalidError, KubeError
from vmferry.runtime.reconcile import Reconciler
from vmferry.runtime.store import Body, key_of
from vmferry.runtime.streaks import Streaks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.storm.world import World

T = TypeVar("T")
#: seconds that a request waits if its response never ends
NEVER = math.inf
#: the operator to which the running task belongs
PROCESS: ContextVar[Process] = ContextVar("process")
#: the key of the object that is being reconciled
LOOK: ContextVar[Key | None] = ContextVar("look", default=None)


class Process:
    """An operator process from its start to its end. It may be killed at any effect."""

    def __init__(self, world: World, name: str, config: Config) -> None:
        self.world = world
        self.name = name
        self.config = config
        self.alive = True
        #: the process is frozen until this time
        self.frozen_until = 0.0
        #: error of its wall clock in seconds
        self.skew = 0.0
        #: the number of the effect, counted from now, at which it dies; and whether it dies after that effect or before
        self.dies_at: tuple[int, bool] | None = None
        self.identity = ""
        self._tasks: set[asyncio.Task[Any]] = set()
        #: seconds that the current request waits for its response
        self.waits = 0.0
        self._looks: dict[Key, list[float]] = {}

    # -- life

    def start(self) -> None:
        async def live() -> None:
            PROCESS.set(self)
            SKEW.set(lambda: self.skew)
            wires = {
                service: Wire(self.world.site, service, Between(self), self._sent, self._read)
                for service in ("compute", "identity", "placement")
            }
            user = self.world.site.caller("vmferry").user_id
            client = Client(self._log_in, lambda: clouds.connected(wires, user))
            view = View(client, Pace(**self.config.polling.seconds()), self)
            self.stop = asyncio.Event()
            self.operator = operator.Operator(self.config, view)
            code = await self.operator.run(self.stop)
            if self.alive and not self.stop.is_set():
                self.world.wrong(f"an exception: {self.name} ended by itself with {code}")

        self._main = asyncio.get_running_loop().create_task(live())
        self.adopt(self._main)

    def adopt(self, task: asyncio.Task[Any]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and self.alive and task is self._main:
            self.world.wrong(f"an exception: {self.name} died of {error!r}")

    async def kill(self) -> None:
        """Kill the process like SIGKILL: it has no effect from now on."""
        self.alive = False
        for _ in range(200):
            left = [task for task in self._tasks if not task.done() and task is not asyncio.current_task()]
            if not left:
                return
            for task in left:
                task.cancel()
            await asyncio.sleep(0)
        raise AssertionError(f"{self.name} does not die: {left}")

    def _die_now(self) -> None:
        self.alive = False
        self.world.say(f"{self.name} is killed")
        self.world.bury(self)

    async def _effect(self, *, after: bool) -> None:
        """Kill the process if that is due. Called before and after each effect."""
        if self.dies_at is not None:
            number, dies_after = self.dies_at
            if not after:
                self.dies_at = (number - 1, dies_after)
            if number - (0 if after else 1) <= 0 and dies_after == after:
                self._die_now()
        await self._if_alive()

    async def _if_alive(self) -> None:
        if not self.alive:
            await asyncio.get_running_loop().create_future()

    # -- calls to the cloud

    async def there(self, changes: bool) -> None:
        await self._if_alive()
        await asyncio.sleep(self.world.dice.uniform(0.01, 0.2))
        if self.world.struck(Fault.CLOUD_SLOW):
            await asyncio.sleep(self.world.dice.uniform(1, 15))
        await self._thaw()
        if changes:
            await self._effect(after=False)

    async def _thaw(self) -> None:
        """Wait while the process is frozen."""
        await asyncio.sleep(max(0.0, self.frozen_until - self.world.loop.time()))
        await self._if_alive()

    async def back(self, changes: bool, bounded: bool) -> None:
        if changes:
            await self._effect(after=True)
        wait, self.waits = self.waits, 0.0
        if wait == NEVER and not bounded:
            await asyncio.get_running_loop().create_future()
        wait = min(wait, DEADLINE)
        await asyncio.sleep(wait + self.world.dice.uniform(0.01, 0.2))
        await self._thaw()

    def _sent(self, method: str, path: str, body: Any) -> None:
        self.world.judge.sent(self, LOOK.get(), method, path, body)

    def _read(self, path: str) -> None:
        self.world.judge.read(self, path)

    def _log_in(self) -> None:
        if self.world.struck(Fault.DRIP):
            self.waits = NEVER
            raise CloudError("cannot log in: no whole answer")
        if self.world.on(Fault.CLOUD_REFUSES_LOGIN) or self.world.struck(Fault.CLOUD_DOWN):
            raise CloudError("cannot log in: HTTP 503")

    # -- reconciles

    def looked(self, key: Key) -> None:
        """Count a reconcile of the object, so that the judge can detect a hot loop."""
        now = self.world.loop.time()
        recent = [at for at in self._looks.get(key, []) if at > now - 60]
        self._looks[key] = [*recent, now]
        self.world.judge.looked(key, len(recent) + 1)


class Between(Weather):
    """The faults between an operator and the cloud."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._world = process.world

    def before(self, method: str, route: str) -> Answer | None:
        struck, process = self._world.struck, self._process
        if struck(Fault.CLOUD_DOWN):
            process.waits = self._world.dice.choice([0.0, 5.0, 20.0])
            raise clouds.refused()
        if self._world.on(Fault.CLOUD_REFUSES_LOGIN):
            return Answer(401, {"error": {"code": 401, "message": "The request requires authentication."}}, {})
        if method == "GET":
            if "{id}" not in route and struck(Fault.LISTS_FAIL):
                return self._error()
            if struck(Fault.READS_FAIL):
                process.waits = self._world.dice.choice([0.0, 1.0, 30.0])
                return self._world.dice.choice(
                    [
                        Answer(503, "<html>503 Service Unavailable</html>", {}),
                        Answer(500, {"computeFault": {"code": 500, "message": "Unexpected API Error."}}, {}),
                        Answer(429, {"overLimit": {"code": 429, "message": "slow down"}}, {}),
                        Answer(404, "<html>404 Not Found</html>", {}),
                        Answer(200, "<html>log in</html>", {}),
                        Answer(302, "", {}),
                    ]
                )
            return None
        if struck(Fault.LOST_BEFORE):
            process.waits = self._world.dice.choice([0.0, 60.0])
            raise clouds.reset()
        if struck(Fault.TOO_MANY):
            return Answer(429, {"overLimit": {"code": 429, "message": "This request was rate-limited."}}, {})
        if struck(Fault.ERROR_BEFORE):
            return self._error()
        return None

    def after(self, method: str, route: str, answer: Answer) -> Answer:
        if self._world.struck(Fault.DRIP):
            # a response that the request's deadline ends, or one that hangs in the library, beyond that deadline
            self._process.waits = self._world.dice.choice([DEADLINE, NEVER])
            raise clouds.too_late()
        if method == "GET":
            return answer
        if self._world.struck(Fault.LOST_AFTER):
            self._process.waits = self._world.dice.choice([0.0, 60.0])
            raise clouds.reset()
        if self._world.struck(Fault.ERROR_AFTER):
            return self._error()
        return answer

    def _error(self) -> Answer:
        return self._world.dice.choice(
            [
                Answer(500, {"computeFault": {"code": 500, "message": "Unexpected API Error."}}, {}),
                Answer(502, "<html>502 Bad Gateway</html>", {}),
                Answer(503, {"serviceUnavailable": {"code": 503, "message": "try again"}}, {}),
                Answer(504, "<html>504 Gateway Timeout</html>", {}),
                Answer(307, "", {}),
            ]
        )

    def stale(self, method: str, route: str) -> bool:
        return self._world.struck(Fault.STALE)


class Kube:
    """Replaces `runtime.kube.Kube` for one process."""

    #: only the real watch uses it
    connection = None

    def __init__(self, process: Process) -> None:
        self._process = process
        self._world = process.world
        self._api: Api = process.world.api
        self.writes = Streaks(WRITES_PATIENCE)
        #: calls do not wait, because they are made during a request to the cloud, which is one instant
        self.at_once = False

    @classmethod
    async def connect(cls, kubeconfig: object) -> Kube:
        process = PROCESS.get()
        process.kube = cls(process)  # type: ignore[attr-defined]
        return process.kube  # type: ignore[attr-defined, no-any-return]

    async def close(self) -> None: ...

    async def _call(self, do: Callable[[], T], *, effect: bool = False, status: bool = False) -> T:
        process, world = self._process, self._world
        if self.at_once:
            if world.struck(Fault.KUBE_DOWN) or world.struck(Fault.KUBE_ERROR):
                raise KubeError("cannot reach Kubernetes")
            return do()
        await process._thaw()
        await asyncio.sleep(world.dice.uniform(0.001, 0.03))
        if world.struck(Fault.KUBE_SLOW):
            await asyncio.sleep(world.dice.uniform(1, 14))
        await process._thaw()
        if world.struck(Fault.KUBE_DOWN):
            await asyncio.sleep(world.dice.choice([0.0, 15.0]))
            raise KubeError("cannot reach Kubernetes: TimeoutError")
        if world.struck(Fault.KUBE_ERROR):
            raise KubeError("cannot: 500 etcdserver: leader changed")
        if status and world.struck(Fault.STATUS_INVALID):
            raise InvalidError("cannot: 422 denied by a webhook")
        if effect and world.struck(Fault.KUBE_CONFLICT):
            raise ConflictError("cannot: 409 the object has been modified")
        if effect:
            await process._effect(after=False)
        answer = do()
        if effect:
            await process._effect(after=True)
            if world.struck(Fault.KUBE_LOST):
                await asyncio.sleep(world.dice.choice([0.0, 15.0]))
                raise KubeError("cannot: connection reset by peer")
        await asyncio.sleep(world.dice.uniform(0.001, 0.02))
        await process._thaw()
        return answer

    async def get(self, kind: ResourceType[Any], key: Key) -> Body:
        return await self._call(lambda: self._api.get(key))

    async def pages(
        self, kind: ResourceType[Any], namespaces: Collection[str], selector: str = ""
    ) -> AsyncIterator[tuple[list[Body], int]]:
        yield await self._call(lambda: self._api.list(kind.name))

    async def create(self, kind: ResourceType[Any], body: Body) -> Body:
        return await self._call(lambda: self._create(kind.name, body), effect=True)

    async def create_dry_run(self, kind: ResourceType[Any], body: Body) -> None:
        await self._call(lambda: self._create_dry_run(kind.name, body))

    async def is_terminating(self, namespace: str) -> bool:
        return await self._call(lambda: False)

    def _create_dry_run(self, kind: str, body: Body) -> None:
        self._admit()
        if key_of(kind, body) in self._api.objects:
            raise AlreadyExistsError("already exists")

    def _admit(self) -> None:
        if self._world.on(Fault.CREATES_REFUSED):
            self._world.faults.struck += 1
            raise InvalidError("cannot create: 422 denied request: every object needs the label team")

    def _create(self, kind: str, body: Body) -> Body:
        self._admit()
        new = self._api.create(kind, body)
        self._world.judge.created(new)
        return new

    async def put_status(self, kind: ResourceType[Any], key: Key, version: str, status: Body) -> Body:
        self._world.judge.writes(self._process)
        return await self._call(lambda: self._api.put_status(key, version, status), effect=True, status=True)

    async def put_finalizers(self, kind: ResourceType[Any], key: Key, version: str, finalizers: Sequence[str]) -> Body:
        return await self._call(lambda: self._api.put_finalizers(key, version, finalizers), effect=True)

    async def delete(self, kind: ResourceType[Any], key: Key, uid: str, version: str | None = None) -> Body | None:
        return await self._call(lambda: self._api.delete(key, uid, version), effect=True)

    async def get_lease(self, namespace: str, name: str) -> Body:
        return await self._call(lambda: self._api.get_lease(namespace, name))

    async def put_lease(self, namespace: str, body: Body) -> Body:
        return await self._call(lambda: self._api.put_lease(namespace, body), effect=True)

    async def delete_lease(self, namespace: str, name: str, uid: str, version: str) -> None:
        await self._call(lambda: self._api.delete_lease(namespace, name, uid, version), effect=True)

    async def get_config_map(self, namespace: str, name: str) -> dict[str, str]:
        return await self._call(lambda: self._api.get_config_map(name))

    async def document(self, path: str) -> Body:
        return await self._call(dict)

    async def create_event(self, namespace: str, body: Body) -> None:
        await self._call(lambda: self._world.event(body))


class Watch:
    """Replaces `runtime.watch.Watch`: delivers events with delays, losses and duplicates."""

    def __init__(
        self,
        kinds: object,
        namespaces: object,
        credentials: object,
        on_event: Callable[..., None],
        selector: str = "",
    ) -> None:
        self._on_event = on_event
        self.down = Streaks(WRITES_PATIENCE)
        self._process = PROCESS.get()
        self._world = self._process.world
        self._news: asyncio.Queue[Change] = asyncio.Queue()
        self.ended = asyncio.Event()
        self.alive = True

    def start(self) -> None:
        self._world.api.watchers.append(self._news.put_nowait)
        self._task = asyncio.get_running_loop().create_task(self._run())

    def restart(self) -> None:
        self._list()

    async def stop(self) -> None:
        self._task.cancel()

    async def _run(self) -> None:
        """Deliver events forever. A watch that was broken lists all objects, which does not report deletions."""
        world = self._world
        await asyncio.sleep(world.dice.uniform(0.01, 1))
        while True:
            if world.on(Fault.WATCH_AWAY):
                world.faults.struck += 1
                await asyncio.sleep(world.faults.left(Fault.WATCH_AWAY, world.now))
                while not self._news.empty():
                    self._news.get_nowait()
                self._list()
            try:
                async with asyncio.timeout(5):
                    change = await self._news.get()
            except TimeoutError:
                continue
            if world.on(Fault.WATCH_AWAY):
                continue
            slow = world.struck(Fault.WATCH_SLOW)
            await asyncio.sleep(world.dice.uniform(2, 20) if slow else world.dice.uniform(0.001, 0.05))
            await self._process._thaw()
            for _ in range(2 if world.struck(Fault.WATCH_TWICE) else 1):
                self._on_event(change.body["kind"], change.type, change.body)

    def _list(self) -> None:
        for body in list(self._world.api.objects.values()):
            self._on_event(body["kind"], None, self._world.api.get(_key(body)))


def _key(body: Body) -> Key:
    metadata = body["metadata"]
    return Key(body["kind"], metadata.get("namespace", ""), metadata["name"])


class Switch(KillSwitch):
    """The kill switch, read synchronously: a request to the cloud is one instant in a storm."""

    def against(self, action: Action, snapshot: Callable[[], Snapshot]) -> Callable[[], str | None]:
        kube = PROCESS.get().kube  # type: ignore[attr-defined]

        def ask() -> str | None:
            if not isinstance(action, STARTS):
                return None
            kube.at_once = True
            try:
                self.read().send(None)
            except StopIteration as end:
                found: str | None = end.value.against_action(action, snapshot())
                return found
            finally:
                kube.at_once = False
            raise AssertionError("the switch waits")

        return ask


class Probe(Reconciler):
    """Reports reconciles and their unexpected exceptions to the judge."""

    def _held(self, key: Key, action: Action) -> Callable[[], str | None]:
        """Called during a request, but in the same thread, so it must not wait for the event loop."""
        return lambda: self._held_now(key, action)

    async def reconcile(self, key: Key) -> None:
        process = PROCESS.get()
        process.looked(key)
        token = LOOK.set(key)
        try:
            await super().reconcile(key)
        except (CloudError, KubeError):
            raise
        except Exception as error:
            process.world.wrong(f"an exception: {key}: a look ends in {error!r}", error)
            raise
        finally:
            LOOK.reset(token)


class _NoServer:
    """Replaces the health server, which a storm does not use."""

    def __init__(self, *_: object) -> None: ...

    async def start(self) -> int:
        return 0

    async def stop(self) -> None: ...


def _name() -> str:
    return PROCESS.get().name


@contextmanager
def installed() -> Iterator[None]:
    """Replace the parts of the operator that would use the network."""
    parts = {"Kube": Kube, "Watch": Watch, "KillSwitch": Switch, "Reconciler": Probe, "HealthServer": _NoServer}
    with ExitStack() as stack:
        for name, part in parts.items():
            stack.enter_context(mock.patch.object(operator, name, part))
        stack.enter_context(mock.patch.object(operator, "identity", _name))
        yield
