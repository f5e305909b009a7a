"""The operator's configuration: one YAML file; every key is optional, an unknown one is an error that says which.

    cloud: {name: mycloud, cloudsFile: /etc/vmferry/clouds.yaml}
    namespaces: [migrations]        # empty: all
    policy:
      sharedStorage: [{name: nfs-1, aggregates: [rack-1]}]
      operatingSystems: [{system: Ubuntu 22.04, aggregates: [rack-1]}, {system: Ubuntu 24.04, hosts: [host-9]}]
      guestCPU: [{mode: Custom, model: Skylake-Server-IBRS, aggregates: [rack-1]}]
      limits: {perSource: 2, perTarget: 2, total: 10}
      maintenance: {maxHostsPerCluster: 1, headroomPercent: 10, namespace: migrations}

A few places can be given by the environment, where a container needs that: see `load.ENVIRONMENT`.
"""

from vmferry.runtime.config.errors import ConfigError
from vmferry.runtime.config.load import ENVIRONMENT, load, parse
from vmferry.runtime.config.schema import EVERY_ADDRESS, JITTER, Config, Health, LeaderElection, Log, LogFormat

__all__ = [
    "ENVIRONMENT",
    "EVERY_ADDRESS",
    "JITTER",
    "Config",
    "ConfigError",
    "Health",
    "LeaderElection",
    "Log",
    "LogFormat",
    "load",
    "parse",
]
