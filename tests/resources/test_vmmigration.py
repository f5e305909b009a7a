"""The model of VMMigration reads what the API server stores and writes what it accepts."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from testbed.build import NOW, ident
from tests.examples import examples
from vmferry.cloud.model import ResolvedType
from vmferry.prerequisites.enums import Name, Result
from vmferry.resources.base import Condition, Model
from vmferry.resources.vmmigration import (
    Attempt,
    EligibleTarget,
    GracefulStop,
    IneligibleTargets,
    PrerequisiteView,
    ProgressView,
    ServerView,
    VMMigration,
    VMMigrationStatus,
    attempt_state,
)
from vmferry.resources.words import MigrationType, OnTimeout, Phase, Priority, StorageClass

TIMES = st.integers(0, 10**6).map(lambda ago: NOW - timedelta(seconds=ago))
WORDS = st.text(st.characters(codec="utf-8"), max_size=20)


def optional(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


def some(model: type[Model], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(fields).map(lambda drawn: model(**drawn))


STATUSES = some(
    VMMigrationStatus,
    observed_generation=optional(st.integers(-1, 9)),
    phase=optional(st.sampled_from(Phase)),
    conditions=st.lists(
        some(
            Condition,
            type=st.sampled_from(["Ready", "Succeeded"]),
            status=st.sampled_from(["True", "False", "Unknown"]),
            observed_generation=optional(st.integers(0, 9)),
            last_transition_time=TIMES,
            reason=st.sampled_from(["AllPassed", "Locked"]),
            message=WORDS,
        ),
        max_size=2,
    ),
    type=optional(st.sampled_from(ResolvedType)),
    server=optional(some(ServerView, id=WORDS, name=WORDS, state=WORDS)),
    storage=optional(st.sampled_from(StorageClass)),
    source_host=optional(WORDS),
    target_host=optional(WORDS),
    prerequisites=st.lists(
        some(
            PrerequisiteView,
            name=st.sampled_from(Name),
            result=st.sampled_from(Result),
            reason=optional(WORDS),
            host=optional(WORDS),
            message=WORDS,
            remedy=optional(WORDS),
        ),
        max_size=2,
    ),
    eligible_targets=st.lists(some(EligibleTarget, host=WORDS, rank=st.integers(1, 10), message=WORDS), max_size=2),
    ineligible_targets=st.lists(
        some(IneligibleTargets, reason=WORDS, hosts=st.integers(1, 99), example=WORDS, message=optional(WORDS)),
        max_size=2,
    ),
    progress=optional(
        some(
            ProgressView,
            percent=st.integers(0, 100),
            memory_remaining_bytes=st.integers(0, 2**62),
            disk_remaining_bytes=st.integers(0, 2**62),
            updated_at=optional(TIMES),
        )
    ),
    graceful_stop=optional(some(GracefulStop, requested_at=TIMES, start_requested_at=optional(TIMES))),
    attempts=st.lists(
        some(
            Attempt,
            number=st.integers(1, 25),
            type=st.sampled_from(ResolvedType),
            source_host=WORDS,
            target_host=WORDS,
            state=WORDS.map(attempt_state),
            previous_migration_id=st.integers(0, 2**40),
            migration_id=optional(WORDS),
            request_id=optional(WORDS),
            started_at=TIMES,
            ended_at=optional(TIMES),
            stop_requested_at=optional(TIMES),
            confirm_requested_at=optional(TIMES),
            stop_reason=optional(WORDS),
            message=optional(WORDS),
        ),
        max_size=2,
    ),
    started_at=optional(TIMES),
    completed_at=optional(TIMES),
)


@examples(40)
@given(STATUSES)
def test_I2_I3_a_status_comes_back_as_it_was_written(status: VMMigrationStatus) -> None:
    stored = json.loads(json.dumps(status.to_json()))
    assert VMMigrationStatus.model_validate(stored) == status
    assert VMMigrationStatus.model_validate(stored).to_json() == stored


def body(spec: dict[str, Any], **over: Any) -> dict[str, Any]:
    return {
        "apiVersion": "vmferry.dev/v1alpha1",
        "kind": "VMMigration",
        "metadata": {"name": "web-1", "namespace": "migrations", "uid": "u-1", "generation": 3},
        "spec": {"server": {"id": ident("web-1")}, **spec},
        **over,
    }


def test_what_is_left_out_has_its_documented_default() -> None:
    spec = VMMigration.read(body({})).spec
    assert (spec.type, spec.on_timeout, spec.priority, spec.retries) == (
        MigrationType.AUTO,
        OnTimeout.ABORT,
        Priority.NORMAL,
        2,
    )
    assert not (spec.stop_if_running or spec.preflight_only or spec.paused or spec.os_upgrade)
    assert (spec.target, spec.timeout, spec.ttl_after_finished) == (None, None, None)


def test_a_spec_is_read_in_the_words_of_kubernetes() -> None:
    spec = VMMigration.read(
        body({"type": "Live", "target": {"host": "host-b"}, "timeout": "1h30m", "onTimeout": "ForceComplete"})
    ).spec
    assert spec.target is not None and spec.target.host == "host-b"
    assert (spec.timeout, spec.on_timeout) == (timedelta(minutes=90), OnTimeout.FORCE_COMPLETE)
    assert spec.to_json()["timeout"] == "1h30m"


def test_a_field_of_a_newer_version_is_ignored() -> None:
    read = VMMigration.read(body({"warpFactor": 9}, status={"phase": "Queued", "shields": "up"}))
    assert read.status.phase is Phase.QUEUED and "shields" not in read.status.to_json()


def test_absent_is_absent_and_never_null() -> None:
    assert "null" not in json.dumps(VMMigrationStatus(phase=Phase.PENDING).to_json())


REFUSED: dict[str, dict[str, Any]] = {
    "no UUID": {"server": {"id": "web-1"}},
    "a UUID in capitals": {"server": {"id": ident("web-1").upper()}},
    "an unknown type": {"type": "Teleport"},
    "negative retries": {"retries": -1},
    "more retries than attempts are kept": {"retries": 20},
    "a timeout that is no duration": {"timeout": "soon"},
    "a timeout beyond all time": {"timeout": "9999999999999999999h"},
    "a host name with a blank": {"target": {"host": "host b"}},
    "a host name with a slash": {"target": {"host": "../host"}},
    "a target without a host": {"target": {}},
    "a list for a server": {"server": []},
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_R35_what_slips_past_admission_is_one_kind_of_error(sentence: str) -> None:
    with pytest.raises(ValidationError):
        VMMigration.read(body(REFUSED[sentence]))


def test_an_object_names_itself() -> None:
    read = VMMigration.read(body({}))
    assert read.key == "migrations/web-1"
    assert read.reference() == {
        "apiVersion": "vmferry.dev/v1alpha1",
        "kind": "VMMigration",
        "namespace": "migrations",
        "name": "web-1",
        "uid": "u-1",
    }


def test_only_the_last_attempt_can_be_open() -> None:
    common: dict[str, Any] = {
        "type": ResolvedType.LIVE,
        "source_host": "a",
        "target_host": "b",
        "state": "x",
        "started_at": NOW,
    }
    over, running = Attempt(number=1, ended_at=NOW, **common), Attempt(number=2, **common)
    assert VMMigrationStatus().open_attempt is None
    assert VMMigrationStatus(attempts=[over]).open_attempt is None
    assert VMMigrationStatus(attempts=[over, running]).open_attempt == running
