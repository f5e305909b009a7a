"""The chart's switches, and combinations of them in which every two settings meet."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

CLOUDS = "clouds: {openstack: {auth: {auth_url: 'https://keystone.example.com/v3'}}}\n"
PEERS = [{"podSelector": {"matchLabels": {"app": "prometheus"}}}]

#: switch: setting: its values
SWITCHES: dict[str, dict[str, dict[str, Any]]] = {
    "cloud": {
        "default": {},
        "existing": {"cloud": {"existingSecret": "clouds"}},
        "inline": {"cloud": {"cloudsYaml": CLOUDS, "caCert": "PEM"}},
    },
    "crds": {
        "kept": {},
        "deleted": {"crds": {"keep": False}, "uninstallCheck": {"enabled": False}},
        "none": {"crds": {"install": False}},
    },
    "pods": {
        "plain": {},
        "rich": {
            "image": {"digest": "sha256:" + "0" * 64},
            "imagePullSecrets": [{"name": "regcred"}],
            "env": [{"name": "HTTPS_PROXY", "value": "http://proxy.example.com:3128"}],
            "podAnnotations": {"example.com/a": "b"},
            "podLabels": {"team": "cloud"},
            "nodeSelector": {"kubernetes.io/os": "linux"},
            "tolerations": [{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}],
            "affinity": {"podAntiAffinity": {}},
            "priorityClassName": "system-cluster-critical",
        },
    },
    "network": {
        "open": {"networkPolicy": {"enabled": False}},
        "policy": {},
        "peers": {"networkPolicy": {"ingressFrom": PEERS, "egressPorts": [443, 5000]}},
    },
    "monitoring": {
        "none": {},
        "all": {
            "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
            "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
            "dashboard": {"enabled": True},
        },
    },
    "people": {
        "default": {},
        "all": {"userRoles": {"aggregate": {"edit": True, "admin": True}}, "fullnameOverride": "ferry"},
        "none": {"userRoles": {"create": False}, "serviceAccount": {"create": False, "name": "someone"}},
    },
    "config": {
        "default": {},
        "unelected": {"replicas": 1, "config": {"leaderElection": {"enabled": False}}},
        "set": {
            "config": {
                "namespaces": ["migrations"],
                "policy": {
                    "bandwidth": 4,
                    "ttlAfterFinished": "24h",
                    "maintenance": {"namespace": "migrations"},
                    "operatingSystems": [{"system": "Ubuntu 22.04", "aggregates": ["rack-1"]}],
                    "sharedStorage": [{"name": "nfs-1", "hosts": ["cmp1"]}],
                },
            }
        },
    },
}


def _pairwise() -> list[dict[str, str]]:
    """Greedy: each combination is the one of all that brings most new pairs; few enough to try every one."""
    names = list(SWITCHES)
    everything = [dict(zip(names, settings, strict=True)) for settings in itertools.product(*SWITCHES.values())]
    pairs = {id(c): set(itertools.combinations(c.items(), 2)) for c in everything}
    missing = set().union(*pairs.values())
    chosen: list[dict[str, str]] = []
    while missing:
        best = max(everything, key=lambda c: len(pairs[id(c)] & missing))
        chosen.append(best)
        missing -= pairs[id(best)]
    return chosen


COMBINATIONS = _pairwise()


def values_of(combination: Mapping[str, str]) -> dict[str, Any]:
    """The values of a combination; no two switches set the same one."""
    chosen: dict[str, Any] = {}
    for switch, setting in combination.items():
        values = SWITCHES[switch][setting]
        assert not values.keys() & chosen.keys()
        chosen |= values
    return chosen
