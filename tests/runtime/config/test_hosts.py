"""What the configuration says of hosts that the cloud does not report: operating systems and the guests' CPU."""

from __future__ import annotations

from typing import Any

import pytest

from vmferry.cloud.model import GuestCPUMode, OperatingSystem
from vmferry.policy import GuestCPUOf, SystemOf
from vmferry.runtime.config import ConfigError, parse

ERRORS: dict[str, tuple[Any, str]] = {
    "a system without its version": (
        {"operatingSystems": [{"system": "Ubuntu", "hosts": ["a"]}]},
        "policy.operatingSystems[0].system: 'Ubuntu' is no distribution with its version",
    ),
    "a system of nobody": (
        {"operatingSystems": [{"system": "Ubuntu 22.04"}]},
        "policy.operatingSystems[0]: name at least one host or aggregate",
    ),
    "a key that does not exist": (
        {"operatingSystems": [{"system": "Ubuntu 22.04", "host": "a"}]},
        "policy.operatingSystems[0].host: no such key",
    ),
    "a mode that does not exist": (
        {"guestCPU": [{"mode": "host-model", "hosts": ["a"]}]},
        "policy.guestCPU[0].mode: Input should be 'HostModel', 'HostPassthrough' or 'Custom'",
    ),
    "a custom CPU without its model": (
        {"guestCPU": [{"mode": "Custom", "hosts": ["a"]}]},
        "policy.guestCPU[0]: a model goes with mode Custom",
    ),
    "a model without the mode Custom": (
        {"guestCPU": [{"mode": "HostModel", "model": "Haswell", "hosts": ["a"]}]},
        "policy.guestCPU[0]: a model goes with mode Custom",
    ),
    "a CPU of nobody": (
        {"guestCPU": [{"mode": "HostModel"}]},
        "policy.guestCPU[0]: name at least one host or aggregate",
    ),
}


@pytest.mark.parametrize(("policy", "message"), ERRORS.values(), ids=ERRORS.keys())
def test_an_error_names_its_field(policy: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse({"policy": policy}, {})
    assert message in str(caught.value)


def test_what_is_said_of_hosts_becomes_the_policys_rules() -> None:
    rules = parse(
        {
            "policy": {
                "operatingSystems": [
                    {"system": "Ubuntu 22.04.5 LTS", "aggregates": ["r1"]},
                    {"system": "ubuntu 24.04", "hosts": ["a", "b"]},
                ],
                "guestCPU": [{"mode": "Custom", "model": "Haswell", "hosts": ["a"]}],
            }
        },
        {},
    ).policy
    assert rules.operating_systems == (
        SystemOf(system=OperatingSystem("Ubuntu", "22.04"), aggregates=frozenset({"r1"})),
        SystemOf(system=OperatingSystem("Ubuntu", "24.04"), hosts=frozenset({"a", "b"})),
    )
    assert rules.guest_cpu == (GuestCPUOf(frozenset({"a"}), mode=GuestCPUMode.CUSTOM, model="Haswell"),)
