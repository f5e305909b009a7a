"""PowerState (R9; R1, R5, R6, R21): every state of Nova for every kind."""

from __future__ import annotations

import pytest

from testbed.build import STATUS, dead_host, question, server, snapshot
from tests.prerequisites.expect import Case, fails, passes, table
from vmferry.cloud.model import ResolvedType
from vmferry.prerequisites import power_state
from vmferry.prerequisites.enums import Name, Reason, Result

LIVE, COLD, EVACUATE = ResolvedType

#: what a real Nova accepts, less a cold migration that would power a running server off (R5)
FITS = {
    "active": {LIVE, EVACUATE},
    "paused": {LIVE},
    "stopped": {COLD, EVACUATE},
    "error": {EVACUATE},
}


@pytest.mark.parametrize("kind", ResolvedType)
@pytest.mark.parametrize("state", STATUS)
def test_R9_R21_every_state_for_every_kind(state: str, kind: ResolvedType) -> None:
    asked = server(vm_state=state)
    finding = power_state.check(question(asked, kind, target=None))
    if kind in FITS.get(state, ()):
        assert finding.result is Result.PASSED
        return
    assert (finding.result, finding.reason) == (Result.FAILED, Reason.STATE_NOT_MIGRATABLE)
    assert STATUS[state] in finding.message and kind in finding.message, "R20: what was found and expected"
    assert finding.remedy and finding.host == "host-a"


@pytest.mark.parametrize("kind", ResolvedType)
@pytest.mark.parametrize("power", [0, 1, 3, 4, 6, 7, 42])
@pytest.mark.parametrize("state", ["active", "paused", "stopped", "error"])
def test_R9_R21_what_the_hypervisor_says_of_the_guest(state: str, power: int, kind: ResolvedType) -> None:
    finding = power_state.check(question(server(vm_state=state, power_state=power), kind, target=None))
    fits = kind in FITS[state] and (kind is EVACUATE or (power in (1, 3) if kind is LIVE else power not in (1, 3)))
    assert (finding.result is Result.PASSED) == fits, finding
    if kind in FITS[state] and not fits:
        assert finding.reason is Reason.STATE_NOT_MIGRATABLE and f"power_state {power}" in finding.message


def test_R5_a_guest_that_is_off_behind_an_active_server_goes_cold_after_a_stop() -> None:
    asked = server(power_state=4)
    assert power_state.check(question(asked, COLD, target=None, stop_if_running=True)).result is Result.PASSED


def test_I35_a_state_that_nobody_knows_is_refused() -> None:
    finding = power_state.check(question(server(vm_state="transmogrified"), target=None))
    assert finding.result is Result.FAILED and "transmogrified" in finding.message


def cold(state: str) -> Case:
    asked = question(server(vm_state=state), COLD, target=None, stop_if_running=True)
    return fails(asked, Reason.STATE_NOT_MIGRATABLE, (STATUS[state],), ())


CASES: dict[str, Case] = {
    "a running server goes cold where the request asks for a graceful stop (R5)": passes(
        question(server(), COLD, target=None, stop_if_running=True), "stopped gracefully first"
    ),
    "a running server is not powered off for Cold without being asked (R5)": fails(
        question(server(), COLD, target=None),
        Reason.STATE_NOT_MIGRATABLE,
        ("ACTIVE", "Cold needs it stopped"),
        ("stopIfRunning: true", "Live"),
        "host-a",
    ),
    "a graceful stop is no answer for a paused server": cold("paused"),
    "a graceful stop is no answer for a failed server": cold("error"),
    "a graceful stop is for Cold only": fails(
        question(server(vm_state="stopped"), LIVE, target=None, stop_if_running=True),
        Reason.STATE_NOT_MIGRATABLE,
        ("SHUTOFF", "Live needs it active or paused"),
        ("Cold",),
    ),
    "Nova's own words of a fault are kept (R20)": fails(
        question(server(vm_state="error", fault="No space left on device"), LIVE, target=None),
        Reason.STATE_NOT_MIGRATABLE,
        ("ERROR", "No space left on device"),
        ("fault",),
    ),
    "a suspended server can only be resumed: Nova stops no suspended server": fails(
        question(server(vm_state="suspended"), COLD, target=None),
        Reason.STATE_NOT_MIGRATABLE,
        ("SUSPENDED",),
        ("resume it",),
    ),
}

#: states in which the first thing to do is the same for Live and Cold
FIRST_STEP = {
    "resized": "confirm or revert",
    "rescued": "unrescue",
    "shelved": "unshelve",
    "shelved_offloaded": "unshelve",
    "building": "wait",
    "soft-delete": "restore",
}


test_it_says = table(power_state.check, Name.POWER_STATE, CASES)


@pytest.mark.parametrize("kind", [LIVE, COLD])
@pytest.mark.parametrize("state", FIRST_STEP)
def test_R20_the_remedy_is_the_first_step_out_of_the_state(state: str, kind: ResolvedType) -> None:
    finding = power_state.check(question(server(vm_state=state), kind, target=None))
    assert FIRST_STEP[state] in (finding.remedy or "")


@pytest.mark.parametrize("state", sorted(set(STATUS) - {"active", "stopped", "error"}))
def test_R20_on_a_failed_host_no_remedy_asks_for_what_only_a_living_host_can_do(state: str) -> None:
    asked = server(vm_state=state)
    finding = power_state.check(question(asked, EVACUATE, snapshot([asked], [dead_host("host-a")]), target=None))
    remedy = finding.remedy or ""
    assert "bring host-a back" in remedy, remedy
    assert "type Live" not in remedy


def test_a_server_on_no_host_is_spoken_of_without_one() -> None:
    asked = server(vm_state="shelved_offloaded", host=None)
    finding = power_state.check(question(asked, EVACUATE, snapshot([asked]), target=None))
    assert "unshelve" in (finding.remedy or "") and "None" not in (finding.remedy or "")


def test_R20_a_fault_that_is_over_is_not_shown() -> None:
    """Nova keeps the last fault of a server after it was repaired."""
    asked = question(server(vm_state="suspended", fault="No space left on device"), LIVE, target=None)
    assert "No space left" not in power_state.check(asked).message
