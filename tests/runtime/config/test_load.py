"""The configuration: defaults are the policy's, and every error names its field."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from vmferry.cloud.model import GuestCPUMode, OperatingSystem
from vmferry.cloud.observer import Pace
from vmferry.policy import Breaker, GuestCPUOf, Limits, Maintenance, Policy, StoragePool, SystemOf
from vmferry.runtime.config import ConfigError, load, parse

ROOT = Path(__file__).parents[3]

ERRORS: dict[str, tuple[Any, str]] = {
    "an unknown key at the top": ({"polcy": {}}, "configuration: polcy: no such key"),
    "an unknown key deep down": ({"policy": {"limits": {"perSorce": 1}}}, "policy.limits.perSorce: no such key"),
    "an unknown key in a list": (
        {"policy": {"sharedStorage": [{"name": "a", "host": []}]}},
        "policy.sharedStorage[0].host: no such key",
    ),
    "the Python name of a key": ({"policy": {"host_down_for": "1m"}}, "policy.host_down_for: no such key"),
    "a duration without a unit": ({"policy": {"recheck": 30}}, "policy.recheck: 30 is not a duration"),
    "a duration of nothing": ({"resync": "0s"}, "resync: must be longer than 0s"),
    "a limit below one": ({"policy": {"limits": {"total": 0}}}, "policy.limits.total: Input should be greater"),
    "no bandwidth at all": ({"policy": {"bandwidth": 0}}, "policy.bandwidth: Input should be greater"),
    "a prerequisite that does not exist": (
        {"policy": {"tolerateUnknown": ["CPUModell"]}},
        "policy.tolerateUnknown[0]: Input should be 'PowerState'",
    ),
    "I14: not knowing whether data would be lost": (
        {"policy": {"tolerateUnknown": ["Storage"]}},
        "policy.tolerateUnknown: Storage cannot be tolerated",
    ),
    "a part of the view that is always too old": (
        {"policy": {"maxViewAge": "10s"}, "polling": {"resources": "3s"}},
        "polling.hosts must be shorter than policy.maxViewAge, 10s",
    ),
    "more headroom than makes sense": (
        {"policy": {"maintenance": {"headroomPercent": 91}}},
        "policy.maintenance.headroomPercent: Input should be less than or equal to 90",
    ),
    "I20: one look instead of two": (
        {"policy": {"maintenance": {"settle": "0s"}}},
        "policy.maintenance.settle: must be longer than 0s",
    ),
    "I32: a host that is looked at too seldom to keep its Lease": (
        {"policy": {"maintenance": {"verifyEvery": "2m"}}},
        "policy.maintenance.verifyEvery: must be at most 1m20s",
    ),
    "moves of a maintenance where nobody looks": (
        {"namespaces": ["a"], "policy": {"maintenance": {"namespace": "b"}}},
        "namespaces must contain b, policy.maintenance.namespace",
    ),
    "the same, with the operator's own namespace": (
        {"namespaces": ["a"], "namespace": "home"},
        "namespaces must contain home, policy.maintenance.namespace",
    ),
    "I32: a standby that takes over before the leader stops": (
        {"leaderElection": {"leaseDuration": "10s"}},
        "leaderElection: leaseDuration must be longer than renewDeadline",
    ),
    "I32: a leader that has no second try": (
        {"leaderElection": {"renewDeadline": "10s", "retryPeriod": "9s"}},
        "leaderElection: renewDeadline must be longer than 1.2 times retryPeriod",
    ),
    "a kill switch that no ConfigMap can be": ({"stopSwitch": "STOP"}, "stopSwitch: String should match pattern"),
    "a maintenance that is a list": (
        {"namespace": "home", "policy": {"maintenance": []}},
        "policy.maintenance: Input should be a valid dictionary",
    ),
    "a port out of range": ({"health": {"port": 70000}}, "health.port: Input should be less than or equal to 65535"),
    "a namespace that cannot be": ({"namespaces": ["Team A"]}, "namespaces[0]: String should match"),
    "a level that does not exist": ({"log": {"level": "loud"}}, "log.level: Input should be 'debug'"),
    "a section that is a list": ({"cloud": []}, "cloud: Input should be a valid dictionary"),
    "no mapping at all": (["cloud"], "must be a mapping"),
}


@pytest.mark.parametrize(("data", "message"), ERRORS.values(), ids=ERRORS.keys())
def test_an_error_names_its_field(data: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(data, {})
    assert message in str(caught.value)


def test_all_errors_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse({"a": 1, "policy": {"b": 2}, "workers": 0}, {})
    assert len(str(caught.value).splitlines()) == 3


def test_the_defaults_are_those_of_the_policy_and_of_the_observer() -> None:
    config = parse({}, {})
    assert config.policy == Policy()
    assert Pace(**config.polling.seconds()) == Pace()


def test_every_rule_can_be_set() -> None:
    config = parse(
        {
            "policy": {
                "sharedStorage": [{"name": "nfs", "hosts": ["a"], "aggregates": ["r"]}],
                "localUnlessShared": True,
                "limits": {"perSource": 3, "perTarget": 4, "total": 5},
                "bandwidth": 6,
                "tolerateUnknown": ["CPUModel"],
                "maxViewAge": "1m",
                "hostDownFor": "2m",
                "timeoutBase": "3m",
                "timeoutPerGiB": "4m",
                "stopTimeout": "5m",
                "recheck": "6m",
                "retryBackoff": "7m",
                "progressEvery": "8m",
                "recordGrace": "9m",
                "ttlAfterFinished": "10m",
                "expireAfter": "11m",
                "stuckAfter": "12m",
                "operatingSystems": [{"system": "Ubuntu 22.04", "hosts": ["a"]}],
                "guestCPU": [{"mode": "HostModel", "hosts": ["a"]}],
                "breaker": {"attempts": 7, "hosts": 8, "window": "13s", "pause": "14s"},
                "maintenance": {
                    "maxHostsPerCluster": 2,
                    "headroomPercent": 15,
                    "settle": "11s",
                    "verifyEvery": "12s",
                    "namespace": "moves",
                },
            }
        },
        {},
    )
    spans = [
        "max_view_age",
        "host_down_for",
        "timeout_base",
        "timeout_per_gib",
        "stop_timeout",
        "recheck",
        "retry_backoff",
        "progress_every",
        "record_grace",
        "ttl_after_finished",
        "expire_after",
        "stuck_after",
    ]
    wanted: dict[str, Any] = {name: timedelta(minutes=n) for n, name in enumerate(spans, start=1)} | {
        "shared_storage": (StoragePool("nfs", frozenset("a"), frozenset("r")),),
        "local_unless_shared": True,
        "limits": Limits(3, 4, 5),
        "breaker": Breaker(7, 8, timedelta(seconds=13), timedelta(seconds=14)),
        "bandwidth": 6,
        "tolerate_unknown": frozenset({"CPUModel"}),
        "operating_systems": (SystemOf(frozenset("a"), system=OperatingSystem("Ubuntu", "22.04")),),
        "guest_cpu": (GuestCPUOf(frozenset("a"), mode=GuestCPUMode.HOST_MODEL),),
        "maintenance": Maintenance(2, 15, timedelta(seconds=11), timedelta(seconds=12), "moves"),
    }
    assert config.policy == Policy(**wanted)
    assert wanted.keys() == Policy.__dataclass_fields__.keys(), "every rule"


def test_the_environment_wins_over_the_file() -> None:
    config = parse({"health": {"port": 1}}, {"VMFERRY_HEALTH_PORT": "9", "VMFERRY_CLOUDS_FILE": "/c", "OTHER": "x"})
    assert (config.health.port, config.cloud.clouds_file) == (9, Path("/c"))


NAMESPACES: dict[str, tuple[Any, dict[str, str], tuple[str, str]]] = {
    "nobody says anything": ({}, {}, ("vmferry-system", "vmferry-system")),
    "the Pod tells its own": ({}, {"POD_NAMESPACE": "pod"}, ("pod", "pod")),
    "the environment overrules the Pod": ({}, {"POD_NAMESPACE": "pod", "VMFERRY_NAMESPACE": "set"}, ("set", "set")),
    "the file names one for the moves": (
        {"policy": {"maintenance": {"namespace": "moves"}}},
        {"POD_NAMESPACE": "pod"},
        ("pod", "moves"),
    ),
    "the file names all": (
        {"namespaces": ["moves"], "namespace": "file", "policy": {"maintenance": {"namespace": "moves"}}},
        {},
        ("file", "moves"),
    ),
}


@pytest.mark.parametrize(("data", "environment", "wanted"), NAMESPACES.values(), ids=NAMESPACES.keys())
def test_the_namespaces_of_leases_and_of_moves(data: Any, environment: dict[str, str], wanted: tuple[str, str]) -> None:
    config = parse(data, environment)
    assert (config.namespace, config.policy.maintenance.namespace) == wanted


@pytest.mark.parametrize(("text", "message"), [(None, "cannot be read"), ("a: [", "is not YAML")])
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "config.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    assert str(caught.value).startswith(f"{path}: {message}")


def test_the_example_is_good(tmp_path: Path) -> None:
    import yaml

    manifest = yaml.safe_load((ROOT / "manifests/operator/configuration.yaml").read_text())
    path = tmp_path / "config.yaml"
    path.write_text(manifest["data"]["config.yaml"])
    assert load(path, {}).cloud.name == "openstack"
