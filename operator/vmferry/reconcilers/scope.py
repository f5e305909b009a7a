"""The data that the steps of a reconcile share, for any kind: the facts, and the status being written."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Generic, Protocol, Self, TypeVar

from vmferry.policy import Policy
from vmferry.reconcilers import conditions as c
from vmferry.reconcilers.conditions import Conditions
from vmferry.reconcilers.decision import Event, EventType
from vmferry.reconcilers.world import World
from vmferry.resources.base import Condition, Metadata, clip
from vmferry.resources.documented import ReasonWord


class Reported(Protocol):
    """The part of a status that every kind has."""

    observed_generation: int | None
    conditions: list[Condition]

    def model_copy(self, *, deep: bool = False) -> Self: ...


Status = TypeVar("Status", bound=Reported)


class State(Enum):
    """Whether the object continues without intervention, as Ready, Reconciling and Stalled report it."""

    #: continues without intervention
    PROGRESSING = "progressing"
    #: not finished, but needs intervention to continue
    STALLED = "stalled"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Summary:
    """The result of a reconcile."""

    state: State
    reason: ReasonWord
    message: str


class Scope(Generic[Status]):
    """A single reconcile. `status` is a private copy; steps change it and end the reconcile by returning a decision."""

    def __init__(self, metadata: Metadata, reported: Status, world: World, now: datetime, policy: Policy) -> None:
        self._metadata = metadata
        self._reported = reported
        self.world = world
        self.snapshot = world.snapshot
        self.now = now
        self.policy = policy
        self.status = reported.model_copy(deep=True)
        self.conditions = Conditions(self.status.conditions, metadata.generation, now)
        self.events: list[Event] = []
        #: None: the conditions stay as they are
        self.summary: Summary | None = None

    @property
    def deleting(self) -> bool:
        return self._metadata.deletion_timestamp is not None

    @property
    def reported(self) -> bool:
        """Whether the status describes the current spec."""
        return self._reported.observed_generation == self._metadata.generation and bool(self._reported.conditions)

    def event(self, reason: ReasonWord, message: str, *, warning: bool = False) -> None:
        self.events.append(Event(reason, clip(message), EventType.WARNING if warning else EventType.NORMAL))

    def event_once(self, reason: ReasonWord, message: str, *, warning: bool = False) -> None:
        """Add an Event, unless Ready already has this reason."""
        before = self.conditions.get(c.READY)
        if before is None or before.reason != reason:
            self.event(reason, message, warning=warning)

    def progressing(self, reason: ReasonWord, message: str) -> None:
        """The object continues without intervention."""
        self.summary = Summary(State.PROGRESSING, reason, message)

    def stalled(self, reason: ReasonWord, message: str) -> None:
        """The object needs intervention, and continues automatically after that."""
        self.summary = Summary(State.STALLED, reason, message)

    def ready(self, reason: ReasonWord, message: str) -> None:
        self.summary = Summary(State.READY, reason, message)

    def failed(self, reason: ReasonWord, message: str) -> None:
        self.summary = Summary(State.FAILED, reason, message)

    def summarise(self) -> None:
        """Set Ready, Reconciling and Stalled once, at the end of a reconcile (R33)."""
        if self.summary is None:
            return
        state, reason, message = self.summary.state, self.summary.reason, self.summary.message
        self.conditions.set(c.READY, state is State.READY, reason, message)
        for type_, true in (
            (c.RECONCILING, state is State.PROGRESSING),
            (c.STALLED, state in (State.STALLED, State.FAILED)),
        ):
            if true:
                self.conditions.set(type_, True, reason, message)
            else:
                self.conditions.drop(type_)
