"""The breaker (I37, R46): after failures with a common cause, no further moves start from a host, or in the cloud.

It is a pure function of the ended attempts, which the statuses of all VMMigrations record, so the result survives a
restart or a change of leader. For each source host, and for the cloud as a whole:

    closed --(failures in a row)--> open --(pause)--> one trial move --success--> closed
                                     ^                               --failure--> open, twice the pause

A failure counts if it left its server in ERROR, or if it has a cause that can be compared with that of other failures.
A success ends only the row of failures of its own type (Live or Cold): successful moves of powered-off servers prove
nothing about the network that live migrations need. Evacuations are neither counted nor held back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from vmferry.cloud.model import ResolvedType
from vmferry.policy import LONGEST_PAUSE
from vmferry.policy import Breaker as Rules
from vmferry.prerequisites.check import PlannedMove

#: names the breaker of the whole cloud in the resume ConfigMap, where `kubectl ferry resume` without a host sets it
CLOUD = "cloud"
#: a row is forgotten this long after its last failure: by then the fault may be repaired, and nothing has tested it
FORGOTTEN = timedelta(days=2)
#: Nova first ends the migration record, and sets its server to ERROR some seconds later
SETTLES = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class EndedAttempt:
    """A finished attempt that was requested from Nova."""

    #: `namespace/name` of the VMMigration
    migration: str
    number: int
    server_id: str
    server_name: str
    type: ResolvedType
    source: str
    target: str
    started_at: datetime
    ended_at: datetime
    succeeded: bool
    #: whether the server was in ERROR afterwards
    left_in_error: bool = False
    #: the cloud's error text without names and numbers, equal for equal causes; None: no sign of a common cause
    cause: str | None = None
    #: the cloud's error text
    message: str = ""
    #: Nova had begun to work on it, so the server may change to ERROR shortly after the end
    begun: bool = True
    #: a person aborted it or deleted the VMMigration, so that its outcome is no failure of the cloud
    by_people: bool = False

    @property
    def broke(self) -> bool:
        """It left its server in ERROR, and no person had ended it."""
        return self.left_in_error and not self.by_people

    @property
    def counts(self) -> bool:
        return not self.succeeded and not self.by_people and (self.left_in_error or self.cause is not None)

    def may_break(self, now: datetime) -> bool:
        """It has just failed in Nova, and Nova may still set the server to ERROR."""
        failed = self.begun and not (self.succeeded or self.by_people or self.left_in_error)
        return failed and now - self.ended_at < SETTLES

    @property
    def order(self) -> tuple[datetime, str, int]:
        return self.ended_at, self.migration, self.number


@dataclass(frozen=True, slots=True)
class OpenBreaker:
    """An open breaker: no move starts from the host, or in the cloud, until a trial succeeds or a person closes it."""

    #: None: the breaker of the whole cloud
    host: str | None
    #: when the last failure of the row ended
    since: datetime
    #: from this time on, one trial move may start
    trial_at: datetime
    #: the failures that opened it and those since, oldest first
    failures: tuple[EndedAttempt, ...]
    #: number of trial moves that have failed
    failed_trials: int = 0
    #: types whose trial move succeeded while the trial of another type is still due
    proven: frozenset[ResolvedType] = frozenset()

    @property
    def name(self) -> str:
        return self.host or "the cloud"

    def message(self) -> str:
        """The text for people; it stays the same until another attempt ends."""
        last = self.failures[-1]
        hosts = len({one.source for one in self.failures})
        where = f"from {self.host}" if self.host else f"from {hosts} hosts"
        broken = sum(one.broke for one in self.failures)
        harm = f"{broken} of them left the server in ERROR" if broken else "all failed the same way"
        tried = ""
        if self.failed_trials:
            tried = f"trial moves that failed since: {self.failed_trials}. "
        command = f"kubectl ferry resume {self.host}" if self.host else "kubectl ferry resume"
        return (
            f"the breaker of {self.name} is open: {len(self.failures)} attempts in a row {where} failed, {harm}; "
            f"the last one, {last.server_name} to {last.target}: {last.message or last.cause}. {tried}"
            f"One trial move may start at {self.trial_at:%Y-%m-%dT%H:%M:%SZ}; "
            f"`{command}` lets all of them start at once"
        )


@dataclass(frozen=True, slots=True)
class Hold:
    """Why a move may not start now."""

    message: str
    #: when the hold may end by itself; None: when a move in flight ends
    until: datetime | None = None
    #: False: no breaker is open, but the end of a move in flight may open one
    open: bool = True


@dataclass(frozen=True, slots=True)
class Breakers:
    """The breakers of the cloud and of all hosts, computed from the ended attempts."""

    cloud: OpenBreaker | None = None
    #: open breakers by host
    hosts: Mapping[str, OpenBreaker] = field(default_factory=dict)
    #: by host: failures in a row that are too few to open its breaker
    rows: Mapping[str, tuple[EndedAttempt, ...]] = field(default_factory=dict)
    #: `policy.breaker.attempts`
    attempts: int = Rules().attempts
    #: by key of the resume ConfigMap: why its mark is unusable
    unusable: Mapping[str, str] = field(default_factory=dict)

    def all(self) -> tuple[OpenBreaker, ...]:
        """All open breakers, the cloud's first, including those that are forgotten by now."""
        return (*((self.cloud,) if self.cloud else ()), *self.hosts.values())

    def open(self, now: datetime) -> tuple[OpenBreaker, ...]:
        """The open breakers that are not forgotten, the cloud's first."""
        return tuple(one for one in self.all() if not _forgotten(one.failures, now))

    def concerning(self, source: str, type_: ResolvedType, now: datetime) -> tuple[OpenBreaker, ...]:
        """The open breakers that apply to a move of this type from this host."""
        if type_ is ResolvedType.EVACUATE:
            return ()
        return tuple(one for one in self.open(now) if one.host in (None, source) and type_ not in one.proven)

    def against(self, source: str, type_: ResolvedType, now: datetime, moves: Iterable[PlannedMove]) -> Hold | None:
        """Why a move of this type may not start from this host, or None. `moves` are the other moves in flight."""
        if type_ is ResolvedType.EVACUATE:
            return None
        for breaker in self.concerning(source, type_, now):
            if now < breaker.trial_at:
                return Hold(self._message(breaker), breaker.trial_at)
            trial = _trial(breaker, moves)
            if trial is not None:
                where = f"{trial.source_host} to {trial.target_host}"
                return Hold(f"{self._message(breaker)}. A trial move from {where} is in flight")
        return self._careful(source, now, moves)

    def _careful(self, source: str, now: datetime, moves: Iterable[PlannedMove]) -> Hold | None:
        """Hold further moves if the moves in flight could already open the breaker by failing."""
        row = self.rows.get(source, ())
        if _forgotten(row, now):
            return None
        turning = [one for one in row if one.may_break(now)]
        failed = sum(one.broke for one in row) + len(turning)
        if not failed:
            return None
        flying = sum(move.source_host == source and move.type is not ResolvedType.EVACUATE for move in moves)
        if failed + flying < self.attempts:
            return None
        return Hold(
            f"attempts from {source} that have just failed: {failed}, moves in flight: {flying}; the next one starts "
            "when it is known how these have left their servers",
            min(one.ended_at for one in turning) + SETTLES if turning else None,
            open=False,
        )

    def rests_on(self, migration: str, now: datetime) -> bool:
        """Whether this VMMigration (`namespace/name`) records a failure on which a breaker or a row depends."""
        known = [one.failures for one in self.open(now)]
        known += [row for row in self.rows.values() if not _forgotten(row, now)]
        return any(one.migration == migration and one.counts for failures in known for one in failures)

    def _message(self, breaker: OpenBreaker) -> str:
        problem = self.unusable.get(breaker.host or CLOUD) or self.unusable.get(CLOUD)
        return f"{breaker.message()}. {problem}" if problem else breaker.message()


def _trial(breaker: OpenBreaker, moves: Iterable[PlannedMove]) -> PlannedMove | None:
    """The trial move: decided after the breaker opened, and still in flight."""
    return next(
        (
            move
            for move in moves
            if move.decided_at >= breaker.since
            and breaker.host in (None, move.source_host)
            and move.type is not ResolvedType.EVACUATE
            and move.type not in breaker.proven
        ),
        None,
    )


def _forgotten(failures: Sequence[EndedAttempt], now: datetime) -> bool:
    return not failures or now - failures[-1].ended_at > FORGOTTEN


# ---- computing a breaker from the ended attempts


def judge(attempts: Iterable[EndedAttempt], host: str | None, rules: Rules) -> OpenBreaker | tuple[EndedAttempt, ...]:
    """The open breaker of one host (None: the cloud), or its failures in a row, computed from those attempts."""
    state = _State(host, rules)
    for attempt in sorted(attempts, key=lambda one: one.order):
        state.take(attempt)
    return state.result()


class _State:
    """The state of one breaker while the ended attempts are replayed in order."""

    def __init__(self, host: str | None, rules: Rules) -> None:
        self._host = host
        self._rules = rules
        # the cloud's breaker needs more failures than a host's, and failures from several hosts
        self._needed = rules.attempts if host else rules.attempts + 1
        self._hosts = 1 if host else rules.hosts
        self._window = None if host else rules.window
        self._reset()

    def _reset(self) -> None:
        #: failures in a row; while the breaker is open: those that opened it, and later ones
        self._failures: list[EndedAttempt] = []
        #: when it opened, and when its next trial move is due
        self._opened: tuple[datetime, datetime] | None = None
        self._failed_trials = 0
        self._types: set[ResolvedType] = set()
        self._proven: set[ResolvedType] = set()

    def take(self, attempt: EndedAttempt) -> None:
        if self._failures and attempt.ended_at - self._failures[-1].ended_at > FORGOTTEN:
            self._reset()
        if self._opened is None:
            self._while_closed(attempt)
        else:
            self._while_open(attempt, self._opened[0])

    def result(self) -> OpenBreaker | tuple[EndedAttempt, ...]:
        if self._opened is None:
            return tuple(self._failures)
        return OpenBreaker(
            self._host,
            *self._opened,
            tuple(self._failures),
            self._failed_trials,
            frozenset(self._proven),
        )

    def _while_closed(self, attempt: EndedAttempt) -> None:
        if attempt.succeeded:
            self._failures = [one for one in self._failures if one.type is not attempt.type]
        elif attempt.counts or attempt.begun:
            self._failures.append(attempt)
            common = self._common(attempt) if attempt.counts else []
            if common:
                self._failures = common
                self._types = {one.type for one in common}
                self._opened = attempt.ended_at, attempt.ended_at + self._rules.pause

    def _while_open(self, attempt: EndedAttempt, since: datetime) -> None:
        in_flight_before = attempt.started_at < since
        if attempt.succeeded:
            # an attempt that began before proves nothing: it may have passed the fault before it occurred
            if not in_flight_before:
                self._proven.add(attempt.type)
                if self._types <= self._proven:
                    self._reset()
        elif attempt.counts:
            self._failures.append(attempt)
            if not in_flight_before:
                self._proven.discard(attempt.type)
                self._failed_trials += 1
                self._opened = since, attempt.ended_at + self._pause()

    def _pause(self) -> timedelta:
        # twenty doublings of even one second exceed the longest pause
        doubled: timedelta = self._rules.pause * 2 ** min(self._failed_trials, 20)
        return min(doubled, LONGEST_PAUSE)

    def _common(self, newest: EndedAttempt) -> list[EndedAttempt]:
        """Those of the failures in a row that share a cause, if they are enough to open the breaker, else none."""
        recent = [
            one for one in self._failures if self._window is None or newest.ended_at - one.ended_at <= self._window
        ]
        errors = [one for one in recent if one.broke]
        alike = [one for one in recent if one.counts and one.cause is not None and one.cause == newest.cause]
        several = min(self._needed, 2)
        if len({one.server_id for one in alike}) < several or len({one.target for one in alike}) < several:
            alike = []  # one server, or one target, that fails again and again is no common cause
        for found in (errors, alike):
            if len(found) >= self._needed and len({one.source for one in found}) >= self._hosts:
                return found
        return []
