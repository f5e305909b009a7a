"""The state of a cordon is a field of its own; what version 0.1 wrote, which had none, is read as it was meant."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from testbed.build import NOW
from testbed.storm.kubernetes import Api
from tests.reconcilers.maintenance import test_drain_traps as traps
from tests.reconcilers.test_not_now import test_a_cordon_and_its_end_outlast_a_rate_limit_and_say_so as rate_limited
from vmferry.cloud.actions import Refused
from vmferry.reconcilers.maintenance.scope import remember_cordon
from vmferry.resources.hostmaintenance import HostMaintenanceStatus
from vmferry.resources.words import CordonAnswer, CordonState
from vmferry.runtime.key import Key
from vmferry.runtime.store import Body

REFUSED = Refused(403, "no", "req-1")


@pytest.fixture
def without_the_field(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every status is stored as version 0.1 wrote it."""
    put_status = Api.put_status

    def as_before(self: Api, key: Key, version: str, status: Body) -> Body:
        if "cordon" in status:
            new = ("state", "answer", "message")
            status = {**status, "cordon": {k: v for k, v in status["cordon"].items() if k not in new}}
        return put_status(self, key, version, status)

    monkeypatch.setattr(Api, "put_status", as_before)


@pytest.mark.parametrize(
    "life",
    [
        pytest.param(lambda: traps.test_a_cordon_that_is_refused_is_asked_for_now_and_then(REFUSED), id="refused"),
        pytest.param(
            lambda: traps.test_an_uncordon_that_is_refused_is_asked_for_now_and_then(REFUSED), id="its end is refused"
        ),
        pytest.param(traps.test_our_own_uncordon_is_not_somebody_else, id="taken back"),
        pytest.param(rate_limited, id="rate limited"),
    ],
)
@pytest.mark.usefixtures("without_the_field")
def test_a_maintenance_of_the_version_before_goes_on(life: Callable[[], None]) -> None:
    life()


@pytest.mark.parametrize(
    ("condition", "state", "answer"),
    [
        (("False", "Cordoning"), CordonState.REQUESTED, None),
        (("False", "CloudRefused"), CordonState.REQUESTED, CordonAnswer.REFUSED),
        (("False", "NotNow"), CordonState.REQUESTED, CordonAnswer.NOT_NOW),
        (("True", "Cordoned"), CordonState.HELD, None),
        (("True", "Uncordoning"), CordonState.UNDOING, None),
        (("True", "CloudRefused"), CordonState.UNDOING, CordonAnswer.REFUSED),
        (("True", "NotNow"), CordonState.UNDOING, CordonAnswer.NOT_NOW),
        (("Unknown", "FactUnknown"), CordonState.REQUESTED, None),
    ],
)
def test_the_state_is_read_from_the_condition_once(
    condition: tuple[str, str], state: CordonState, answer: CordonAnswer | None
) -> None:
    word, reason = condition
    cordoned = {"type": "Cordoned", "status": word, "reason": reason, "message": "m", "lastTransitionTime": NOW}
    cordon = {"serviceID": "7", "disabledReason": "ours", "requestedAt": NOW}
    status = HostMaintenanceStatus.model_validate({"conditions": [cordoned], "cordon": cordon})
    remember_cordon(status)
    assert status.cordon is not None
    assert (status.cordon.state, status.cordon.answer) == (state, answer)
    assert status.cordon.message == ("m" if answer else None)
    status.conditions[0].status, status.conditions[0].reason = "False", "Released"
    remember_cordon(status)
    assert status.cordon.state is state, "a condition is for people and programs; it decides nothing any more"
