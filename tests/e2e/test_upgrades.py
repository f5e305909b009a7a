"""A half upgraded fleet (R22, R23): cmp4 has the newer system and the newer qemu, on both clouds."""

from __future__ import annotations

from tests.e2e.conftest import Player


def failed(status: dict[str, object]) -> dict[str, str]:
    found = status["prerequisites"]
    assert isinstance(found, list)
    return {p["name"]: p["reason"] for p in found if p["result"] == "Failed"}


def test_R22_forward_only_where_planned_and_never_back(player: Player) -> None:
    server = player.boot("cmp1")
    ordinary = player.apply(server, type="Live", target={"host": "cmp4"})
    assert failed(player.blocked(ordinary)) == {
        "OperatingSystem": "OSMismatch",
        "HypervisorVersion": "HypervisorMismatch",
    }
    player.kubectl("delete", "vmm", ordinary, "--timeout=240s")

    planned = player.apply(server, type="Live", target={"host": "cmp4"}, osUpgrade=True)
    status = player.finished(planned)
    assert player.tenant.host_of(server) == "cmp4"
    assert status["attempts"][0]["crossing"] == {"source": "Ubuntu 22.04", "target": "Ubuntu 24.04"}

    back = player.apply(server, type="Live", target={"host": "cmp1"}, osUpgrade=True)
    found = player.blocked(back)
    assert failed(found) == {"OperatingSystem": "NotReturnable", "HypervisorVersion": "HypervisorTooOld"}
    (system,) = [p for p in found["prerequisites"] if p["name"] == "OperatingSystem"]
    assert f"{player.namespace}/{planned}" in system["message"], "who remembers it"
    assert player.tenant.host_of(server) == "cmp4"


def test_R22_what_was_crossed_is_remembered_over_a_restart(player: Player) -> None:
    server = player.boot("cmp1")
    player.finished(player.apply(server, target={"host": "cmp4"}, osUpgrade=True))
    player.bed.kill_operator()
    player.bed.start_operator()
    back = player.apply(server, type="Live", target={"host": "cmp2"})
    assert failed(player.blocked(back))["OperatingSystem"] == "NotReturnable"
